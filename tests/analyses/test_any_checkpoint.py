"""Recipes measure checkpoints of your own, and label them by file name."""

from importlib import import_module
from pathlib import Path

import audit_confound
import audit_equity_vs_generalization
import audit_targets
import families
import fig1_overview
import fig5_visual
import pandas as pd
import pytest
import tab6
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from safetensors.torch import save_file

from srgame.cli.loading import specified
from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.report import recipe as recipes

FIGURES = {
    "fig2_erasure": {},
    "fig3_csm": {"size": 4},
    "fig4_cosine": {"layers": ("body.0",)},
    "fig9_responses": {"layers": ("body.0", "conv_hr")},
    "fig10_17": {},
}
AUDITS = {
    "audit_eq6": {"evaluations": 30},
    "audit_equity": {},
    "audit_erasure": {},
    "audit_interactions": {"chosen_pairs": 3, "evaluations": 40},
    "audit_submodularity": {"draws": 3},
}


def tiny() -> SRResNet:
    return SRResNet(features=4, blocks=1)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    torch.save(tiny().state_dict(), tmp_path / "mine.pth")
    save_file(tiny().state_dict(), tmp_path / "theirs.safetensors")
    return str(tmp_path / "mine.pth"), str(tmp_path / "theirs.safetensors")


@pytest.mark.filterwarnings("ignore:.*carries no checksum")
@pytest.mark.parametrize("name", list(FIGURES))
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("without_pictures")
def test_a_checkpoint_is_labelled_by_its_file_and_no_strategy_is_called_missing(
    name: str, count: int, files: tuple[str, str], tmp_path: Path
) -> None:
    recipe, stem = import_module(name), tmp_path / "figures" / name
    networks = files[:count]
    settings = recipe.SMOKE | {"networks": networks, "network": (f"{__name__}:tiny",)} | FIGURES[name]
    figure = recipes.make(stem, recipe.measure, recipe.draw, recipes.defaults(recipe.measure) | settings)
    frame = pd.read_csv(stem.with_suffix(".csv"))
    labels = ["mine", "theirs"][:count]
    strategies = [strategy for strategy in frame["strategy"].dropna().unique() if strategy not in ("HR", "bicubic")]
    assert strategies == labels and frame["reason"].isna().all()
    assert [name for name in frame["checkpoint"].dropna().unique() if name] == list(networks)
    assert f"{count} network" in figure.get_suptitle() and "not in the zoo" not in figure.get_suptitle()
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    assert all(label in words for label in labels) and "dropout" not in words


@pytest.mark.filterwarnings("ignore:.*carries no checksum")
@pytest.mark.parametrize("name", list(AUDITS))
def test_an_audit_takes_files(name: str, files: tuple[str, str]) -> None:
    recipe = import_module(name)
    frame = recipe.measure(**recipe.SMOKE | {"networks": files, "network": (f"{__name__}:tiny",)} | AUDITS[name])
    assert frame["strategy"].unique().tolist() == ["mine", "theirs"] and (frame["reason"] == "").all()
    assert frame["checkpoint"].unique().tolist() == list(files) and (frame["seed"] == 0).all()
    figure, answer = recipe.draw(frame), recipe.found(frame)
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    assert "mine" in answer and "theirs" in answer and "not in the zoo" not in words
    assert "mine" in words and "theirs" in words


@pytest.mark.filterwarnings("ignore:.*carries no checksum")
def test_the_overview_and_the_crops_of_several_families_take_files(files: tuple[str, str]) -> None:
    mine = {"network": (f"{__name__}:tiny",)}
    overview = fig1_overview.measure(networks=files, **mine, **fig1_overview.SMOKE)
    assert set(overview["strategy"].dropna()) == {"bicubic", "mine", "theirs"} and not overview["reason"].any()
    assert (
        "mine" in fig1_overview.found(overview)
        and "2 networks"
        in fig1_overview.draw(overview)
        .findobj(lambda artist: isinstance(artist, Text) and "(a)" in artist.get_text())[0]
        .get_text()
    )
    crops = fig5_visual.measure(networks=(files[0], "small-x4-eats-0"), network=("auto",), **fig5_visual.SMOKE)
    assert crops.groupby("family", sort=False)["strategy"].unique().map(list).to_dict() == {
        "1 network": ["HR", "bicubic", "mine"],
        "small-x4": ["HR", "bicubic", "eats"],
    }
    fig5_visual.draw(crops)


@pytest.mark.filterwarnings("ignore:.*carries no checksum")
def test_equity_and_generalization_of_files_are_points_of_networks_trained_to_the_end(files: tuple[str, str]) -> None:
    settings = audit_equity_vs_generalization.SMOKE | {"networks": files, "network": (f"{__name__}:tiny",)}
    frame = audit_equity_vs_generalization.measure(**settings)
    assert frame["strategy"].tolist() == ["mine", "theirs"] and frame["steps"].isna().all()
    assert "2 networks are too few" in audit_equity_vs_generalization.found(frame)
    assert audit_equity_vs_generalization.draw(frame).get_suptitle()


@pytest.mark.filterwarnings("ignore:.*carries no checksum")
def test_a_file_takes_the_part_that_its_name_states(tmp_path: Path) -> None:
    networks = []
    for name in ("original", "eats", "eats-hr"):
        (tmp_path / name).mkdir()
        save_file(tiny().state_dict(), tmp_path / name / "weights.safetensors")
        networks.append(str(tmp_path / name / "weights.safetensors"))
    built = {"network": (f"{__name__}:tiny",)}
    confound = audit_confound.measure(networks=tuple(networks[:2]), **built, **audit_confound.SMOKE)
    assert confound["gain"].notna().all() and confound["below"].notna().all() and confound["over_pull"].isna().all()
    assert "bicubic-pull" in confound["reason"].iloc[0] and "zoo" not in confound["reason"].iloc[0]
    assert "r = " in audit_confound.found(confound) and audit_confound.draw(confound).get_suptitle()
    targets = audit_targets.measure(networks=tuple(networks), **built, **audit_targets.SMOKE)
    assert set(targets.loc[targets["reason"] == "", "variant"]) == {*list(audit_targets.VARIANTS)[:2]}
    assert not targets["reason"].str.contains("zoo").any()
    with pytest.raises(InputError, match="'mine'"):
        audit_targets.measure(networks=("mine.pth",))
    with pytest.raises(InputError, match="'eats'"):
        tab6.measure(networks=(networks[1],), **built)


def test_a_changed_file_is_measured_anew(files: tuple[str, str], tmp_path: Path) -> None:
    settings, stem = {"networks": files}, tmp_path / "fig0"
    recipes.make(stem, lambda networks: pd.DataFrame({"x": [0]}), lambda frame: Figure(), settings)
    assert recipes.measured_with(settings, stem)
    torch.save(tiny().state_dict(), files[0])
    assert not recipes.measured_with(settings, stem)


def test_networks_of_one_strategy_each_are_labelled_by_it() -> None:
    names = ["small-x4-eats-1", "small-x4-original-0"]
    assert families.named(names, "small-x4") == {"eats": names[0], "original": names[1]}


def test_two_networks_of_one_strategy_are_labelled_by_name() -> None:
    names = ["small-x4-eats-0", "small-x4-eats-1"]
    assert families.named(names, "small-x4") == dict(zip(names, names, strict=True))


def test_networks_of_another_family_name_the_flag_to_give() -> None:
    with pytest.raises(InputError, match="--family small-x4"):
        families.named(["small-x4-eats-0"], "srresnet-x4")


def test_a_strategy_that_was_not_asked_for_is_not_called_missing() -> None:
    def probe(network: object) -> pd.DataFrame:
        return pd.DataFrame({"value": [0]})

    assert list(families.probed(["small-x4-eats-0"], "small-x4", probe)["strategy"]) == ["eats"]
    assert list(families.probed([], "rrdbnet-x4", probe)["strategy"]) == list(families.STRATEGIES)
    with pytest.raises(InputError, match="--networks"):
        families.probed([], "small-x4", probe)


class Bytes(SRResNet):
    """A network for pixel values from 0 to 255, in the order blue, green, red."""

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        return 255 * super().forward(lr.flip(1) / 255).flip(1)


def tiny_bytes() -> SRResNet:
    return Bytes(features=4, blocks=1)


@pytest.mark.filterwarnings("ignore:.*carries no checksum")
def test_a_network_of_another_convention_gives_the_same_figure_once_its_convention_is_named(
    files: tuple[str, str],
) -> None:
    recipe = import_module("fig9_responses")
    settings = recipe.SMOKE | {"networks": files[:1]} | FIGURES["fig9_responses"]
    plain = recipe.measure(**settings, network=(f"{__name__}:tiny",))
    named = recipe.measure(**settings, network=(f"{__name__}:tiny_bytes range=255 channels=bgr",))
    pd.testing.assert_frame_equal(plain, named, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nets.py:build rnge=255", "unknown setting of a convention 'rnge'"),
        ("nets.py:build range=wide", "'wide' is no range of values"),
        ("auto clamp=1", "'clamp=1': write clamp"),
        ("auto scale=big", "'auto scale=big' has scale=big: write a whole number"),
        ("auto upsampled-input", "by which scale images are enlarged"),
    ],
)
def test_a_convention_that_is_none_gets_a_sentence(text: str, error: str) -> None:
    with pytest.raises(InputError, match=error):
        families.load_each(("mine.pth",), (text,))


@pytest.mark.parametrize("space", [" ", "  "])
def test_a_path_with_a_space_is_no_convention(space: str) -> None:
    architecture, scale, convention = specified(f"my nets/edsr x2.py:build{space}scale=2{space}range=255 clamp")
    assert (architecture, scale) == ("my nets/edsr x2.py:build", 2)
    assert (convention.range, convention.clamp, convention.channels) == ("255", True, "rgb")
