"""Recipes measure checkpoints of your own, and label them by file name."""

from importlib import import_module
from pathlib import Path

import families
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file

from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.report import recipe as recipes

LAYERS = {
    "fig3_csm": {"size": 4},
    "fig4_cosine": {"layers": ("body.0",)},
    "fig9_responses": {"layers": ("body.0", "conv_hr")},
}


def tiny() -> SRResNet:
    return SRResNet(features=4, blocks=1)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    torch.save(tiny().state_dict(), tmp_path / "mine.pth")
    save_file(tiny().state_dict(), tmp_path / "theirs.safetensors")
    return str(tmp_path / "mine.pth"), str(tmp_path / "theirs.safetensors")


@pytest.mark.filterwarnings("ignore:.*carries no checksum")
@pytest.mark.parametrize("name", list(LAYERS))
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("without_pictures")
def test_a_checkpoint_is_labelled_by_its_file_and_no_strategy_is_called_missing(
    name: str, count: int, files: tuple[str, str], tmp_path: Path
) -> None:
    recipe, stem = import_module(name), tmp_path / "figures" / name
    networks = files[:count]
    settings = recipe.SMOKE | {"networks": networks, "network": (f"{__name__}:tiny",)} | LAYERS[name]
    figure = recipes.make(stem, recipe.measure, recipe.draw, recipes.defaults(recipe.measure) | settings)
    frame = pd.read_csv(stem.with_suffix(".csv"))
    labels = ["mine", "theirs"][:count]
    assert list(frame["strategy"].unique()) == labels and frame["reason"].isna().all()
    assert [name for name in frame["network"].dropna().unique() if name] == list(networks)
    assert f"{count} network" in figure.get_suptitle() and "not in the zoo" not in figure.get_suptitle()
    titles = " ".join(axes.get_title() for axes in figure.axes)
    assert all(label in titles for label in labels) and "dropout" not in titles


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
