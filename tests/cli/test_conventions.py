"""Networks of other conventions on the command line: each flag, and the blind-SR systems in every verb."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import other_conventions
import pandas as pd
import pytest
import twins
from small_networks import saved
from torch import nn

from srgame.cli.flags import Convention
from srgame.cli.loading import arguments_of, conventions_of
from srgame.data.images import to_bytes
from srgame.data.pairs import load_pairs
from srgame.data.written import write_png
from srgame.errors import InputError

Run = Callable[..., tuple[int, str]]
Command = Callable[..., tuple[int, str, str]]

FLAGS = {
    "in_bytes": ["--range", "255"],
    "signed": ["--range=-1..1"],
    "signed_output": ["--output-range=-1..1"],
    "shifted": ["--mean", *map(str, other_conventions.MEAN)],
    "bgr": ["--channels", "bgr"],
    "several": ["--output-index", "sr", "-1"],
    "coded": ["--extra-input", "10", "1xhxw=0"],
}
BLIND = {
    "sftmd": (["--extra-input", "10=0.1"], "body.0.conv1"),
    "ikc": (["--output-index", "-1", "0"], "predictor.0"),
    "dan": (["--output-index", "0", "-1"], "down"),
}


@pytest.fixture
def run_on(srgame: Command, tmp_path: Path) -> Run:
    """Runs a verb on a network of other_conventions in this process: exit status, and what it printed."""

    def run(verb: str, name: str, *words: object) -> tuple[int, str]:
        path = saved(getattr(other_conventions, name)().state_dict(), tmp_path / f"{name}.pth")
        status, *printed = srgame(*verb.split(), path, "--network", f"other_conventions:{name}", *words)
        return status, "".join(printed)

    return run


@pytest.mark.filterwarnings("default")
def test_each_flag_gives_the_scores_of_the_plain_twin(run_on: Run, tmp_path: Path) -> None:
    images = ["--images", "1", "--crop", "32", "--degradations", "clean"]
    scores = {}
    for name, flags in {"plain": [], **FLAGS}.items():
        status, printed = run_on("evaluate", name, *flags, *images, "--output", tmp_path / name)
        assert status == 0 and "PSNR is" not in printed
        scores[name] = pd.read_csv(tmp_path / name / "benchmark.csv")["psnr_y"]
    for name in FLAGS:
        np.testing.assert_allclose(scores[name], scores["plain"], atol=1e-3)


@pytest.mark.filterwarnings("default")
def test_a_convention_that_was_not_told_is_remarked_on_with_the_flag(run_on: Run, tmp_path: Path) -> None:
    words = ["--images", "1", "--crop", "32", "--degradations", "clean", "--output", tmp_path / "out"]
    status, printed = run_on("evaluate", "in_bytes", *words)
    assert status == 0 and "in_bytes.pth" in printed and "--range 255" in printed
    status, printed = run_on("evaluate", "in_bytes", "--range", "255", *words)
    assert status == 2 and "weights" in printed  # the folder holds the scores of another convention


@pytest.fixture
def real(tmp_path: Path) -> list[object]:
    """The flags of two real pairs, whose LR images are noisy."""
    pairs = load_pairs(degradation="n+j", images=2, crop=100)
    for kind, images in (("lr", pairs.lr), ("hr", pairs.hr)):
        (tmp_path / kind).mkdir()
        for name, image in zip(pairs.names, images, strict=True):
            write_png(tmp_path / kind / f"{name}.png", to_bytes(image))
    return ["--lr", tmp_path / "lr", "--hr", tmp_path / "hr"]


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(
    "verb",
    [
        "evaluate",
        "shapley --evaluations 40 --layers body",
        "interactions --evaluations 40 --layers body --filters 0 1",
        "probe attributions --layers body --steps 2 --methods integrated-gradients",
        "probe equity --layers body --scores responses",
    ],
)
def test_the_users_own_pairs_are_remarked_on_by_name(
    run_on: Run, real: list[object], tmp_path: Path, verb: str, told: bool
) -> None:
    number = 2 if verb.startswith("probe") else 1
    words = [*verb.split()[number:], *real, *(["--range", "255"] if told else []), "--output", tmp_path / "out"]
    status, printed = run_on(" ".join(verb.split()[:number]), "in_bytes", *words)
    assert status == 0
    assert ("in_bytes.pth': on the middle of astronaut, chelsea, its PSNR" in printed) == (not told)
    assert ("give --range 255" in printed) == (not told)


@pytest.mark.filterwarnings("default")
def test_the_pairs_of_a_set_are_remarked_on_unless_it_is_embedded(
    run_on: Run, real: list[object], tmp_path: Path
) -> None:
    words = ["--images", "1", "--crop", "64", "--output", tmp_path / "out"]
    for sets, times in ((["photographs"], 1), (["Nowhere", tmp_path / "hr", "photographs"], 2)):
        status, printed = run_on("evaluate", "in_bytes", *words, "--degradations", "n+j", "--sets", *sets)
        assert status == 0 and printed.count("on the middle of astronaut, its PSNR") == times


@pytest.mark.filterwarnings("default")
def test_enlarged_input_takes_a_scale(run_on: Run, tmp_path: Path) -> None:
    words = ["--images", "1", "--crop", "32", "--evaluations", "60", "--layers", "body", "--output", tmp_path / "out"]
    status, printed = run_on("shapley", "enlarged_first", "--upsampled-input", *words)
    assert status == 2 and "--scale" in printed
    status, printed = run_on("shapley", "enlarged_first", "--scale", "4", *words)
    assert status == 2 and "enlarges 1 times, not 4" in printed and "--upsampled-input" in printed
    status, printed = run_on("shapley", "enlarged_first", "--upsampled-input", "--scale", "4", *words)
    settings = json.loads((tmp_path / "out" / "shapley.json").read_text())["settings"]
    assert status == 0 and settings["upsampled_input"] is True and settings["scale"] == 4
    assert settings["range"] == "1"


@pytest.mark.filterwarnings("default")
def test_a_denoiser_plays_at_scale_1(run_on: Run, tmp_path: Path) -> None:
    images = ["--images", "1", "--crop", "24", "--output", tmp_path]
    status, printed = run_on("evaluate", "denoiser", "--degradations", "noise", "jpeg", "blur", *images)
    assert status == 0 and "scale 1" in printed
    assert len(pd.read_csv(tmp_path / "benchmark.csv")) == 6
    words = ["--degradation", "noise", "--layers", "body", *images]
    assert run_on("shapley", "denoiser", "--evaluations", "64", *words)[0] == 0
    assert len(pd.read_csv(tmp_path / "shapley.csv")) == 6


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", BLIND)
@pytest.mark.parametrize(
    "verb",
    [
        "shapley --layers LAYER --evaluations 80 --images 1 --crop 32",
        "interactions --layers LAYER --evaluations 80 --images 1 --crop 32",
        "layers",
        "evaluate --degradations clean b+n+j --images 1 --crop 128 --tile 24 --overlap 2",
        "probe lam --images 1 --crop 16 --steps 2",
    ],
)
def test_blind_sr_systems_run_through_every_verb(run_on: Run, name: str, verb: str, tmp_path: Path) -> None:
    flags, layer = BLIND[name]
    words = verb.replace("LAYER", layer).split()
    number = 2 if words[0] == "probe" else 1
    if verb != "layers":
        words += ["--output", str(tmp_path / "out")]
    status, printed = run_on(" ".join(words[:number]), name, *words[number:], *flags)
    assert status == 0, printed
    for path in (tmp_path / "out").glob("*.csv"):
        numbers = pd.read_csv(path).select_dtypes("number").filter(regex="^(shapley|value|psnr|attribution)")
        assert np.isfinite(numbers.to_numpy()).all()


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("without_pictures")
def test_calls_of_a_recurrent_network_are_listed_played_and_probed(run_on: Run, tmp_path: Path) -> None:
    status, printed = run_on("layers", "dan", *BLIND["dan"][0])
    assert status == 0 and "2x (restorer.head@1 to restorer.head@2)" in printed
    words = [*BLIND["dan"][0], "--images", "1", "--crop", "32", "--output", tmp_path, "--layers"]
    status, printed = run_on("probe responses", "dan", *words, "restorer.head")
    assert status == 2 and "runs 2 times per image" in printed and "restorer.head@1 to restorer.head@2" in printed
    calls = ["restorer.head@1", "restorer.head@2"]
    verbs = {"probe salience": [], "probe attributions": ["--steps", "2"], "shapley": ["--evaluations", "80"]}
    for verb, options in {"probe responses": [], **verbs}.items():
        assert run_on(verb, "dan", *options, *words, *calls)[0] == 0
        table = pd.read_csv(tmp_path / f"{verb.split()[-1]}.csv")
        assert table["layer"].unique().tolist() == calls


TWINS = {"sftmd": (*BLIND["sftmd"], "tail:input"), "one_channel": (["--channels", "y"], "body", "tail:input")}


def of_luma() -> nn.Module:
    return twins.case("one_channel")[1]


def knowing() -> nn.Module:
    return twins.case("sftmd")[1]


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("one_channel", "evaluate --degradations clean --images 1 --crop 32"),
        ("one_channel", "shapley --layers LAYER --evaluations 80 --images 1 --crop 32"),
        ("one_channel", "interactions --layers LAYER --evaluations 80 --images 1 --crop 32"),
        ("sftmd", "probe responses --layers LAYER INPUT --images 1 --crop 16"),
        ("sftmd", "probe cosine --layers LAYER --images 1 --crop 16"),
        ("one_channel", "probe salience --layers LAYER --images 1 --crop 16"),
        ("one_channel", "probe lam --images 1 --crop 16 --steps 2"),
        ("sftmd", "probe ddr --layer LAYER --images 2 --count 6 --side 16 --sets clean noise --seeds 0"),
        ("sftmd", "probe srga --layer LAYER --images 2 --count 6 --side 16 --sets noise"),
        ("sftmd", "probe equity --layers LAYER --images 1 --crop 16"),
        ("sftmd", "probe attributions --layers LAYER --images 1 --crop 16 --steps 2"),
    ],
)
def test_every_verb_writes_the_numbers_of_the_plain_twin(srgame: Command, name: str, verb: str, tmp_path: Path) -> None:
    flags, layer, inputs = TWINS[name]
    twin = {"sftmd": knowing, "one_channel": of_luma}[name]
    networks = {
        f"other_conventions:{name}": (getattr(other_conventions, name)(), flags),
        f"test_conventions:{twin.__name__}": (twin(), []),
    }
    words = verb.replace("LAYER", layer).replace("INPUT", inputs).split()
    frames: dict[str, list[pd.DataFrame]] = {}
    for number, (network, (built, told)) in enumerate(networks.items()):
        path, out = saved(built.state_dict(), tmp_path / "same.pth"), tmp_path / str(number)
        at = 2 if words[0] == "probe" else 1
        status, _, error = srgame(*words[:at], path, *words[at:], "--network", network, *told, "--output", out)
        assert status == 0, error
        for table in sorted(out.glob("*.csv")):
            frames.setdefault(table.name, []).append(pd.read_csv(table))
    assert frames
    for own, right in frames.values():
        if "space" in right:  # t-SNE magnifies rounding
            own, right = (frame[frame["space"] == "pca"] for frame in (own, right))
        columns = [c for c in right if not c.endswith("_reduction") and c not in ("rank", "weights", "seconds")]
        pd.testing.assert_frame_equal(own[columns], right[columns], rtol=5e-3, atol=5e-4)


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("without_pictures")
def test_checkpoints_of_several_conventions_are_compared_in_one_command(srgame: Command, tmp_path: Path) -> None:
    told = {
        "plain": "",
        "in_bytes": "range=255",
        "signed_output": "output-range=-1..1",
        "shifted": "mean=" + ",".join(map(str, other_conventions.MEAN)),
        "bgr": "channels=bgr",
        "several": "output-index=sr,-1",
        "coded": "extra-input=10,1xhxw=0",
    }
    paths = [saved(getattr(other_conventions, name)().state_dict(), tmp_path / f"{name}.pth") for name in told]
    words = [*paths, "--network", *(f"other_conventions:{name}" for name in told), "--conventions", *told.values()]
    status, _, notes = srgame("evaluate", *words, "--images", 1, "--crop", 32, "--output", tmp_path / "scores")
    assert status == 0 and "its PSNR" not in notes
    scores = pd.read_csv(tmp_path / "scores" / "benchmark.csv").query("checkpoint != 'bicubic'")
    by_name = scores.pivot_table(index="checkpoint", columns="degradation", values="psnr_y")
    assert set(by_name.index) == set(told)
    np.testing.assert_allclose(by_name, np.tile(by_name.loc["plain"], (len(told), 1)), atol=1e-3)
    images = ["--images", 1, "--crop", 32, "--layers", "body", "--output", tmp_path]
    status, _, notes = srgame("probe", "responses", *words, *images)
    assert status == 0 and "its PSNR" not in notes
    sizes = pd.read_csv(tmp_path / "responses.csv").pivot_table(index="checkpoint", columns="filter", values="mean_abs")
    np.testing.assert_allclose(sizes, np.tile(sizes.loc["plain"], (len(told), 1)), rtol=1e-4)
    settings = json.loads((tmp_path / "responses.json").read_text())["settings"]
    assert settings["conventions"] == list(told.values()) and settings["range"] == "1"


def test_conventions_differ_from_the_flags_of_all() -> None:
    common = Convention(range="255", clamp=True)
    assert conventions_of(common, (), 2) == [common, common]
    assert conventions_of(common, ["channels=y"], 2) == [replace(common, channels="y")] * 2
    own = ["", "range=-1..1 mean=0.4,0.3,0.2 upsampled-input output-index=0,-1"]
    told = Convention(range="-1..1", clamp=True, mean=(0.4, 0.3, 0.2), upsampled_input=True, output_index=("0", "-1"))
    assert conventions_of(common, own, 2) == [common, told]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["", "", ""], "3 values for 2 checkpoints"),
        (["colour=y"], "'colour': choose one of range, output-range, channels"),
        (["clamp=yes"], "'clamp=yes': write clamp"),
        (["range"], "'range': write range=VALUE"),
        (["mean=0.4,much"], "'mean=0.4,much'"),
    ],
)
def test_a_text_that_is_no_convention_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        conventions_of(Convention(), texts, 2)


def test_flags_are_the_arguments_of_the_adapter() -> None:
    assert arguments_of(Convention(), None) == {}
    told = arguments_of(Convention(range="-0.5..0.5", output_range="255", channels="y", mean=(0.5,), clamp=True), 4)
    assert (told["value_range"], told["output_range"], told["upsampled_input"]) == ((-0.5, 0.5), (0, 255), None)
    assert (told["channels"], told["mean"], told["clamp"]) == ("y", (0.5,), True)
    told = arguments_of(Convention(upsampled_input=True, output_index=("sr", "-1"), extra_input=("10",)), 3)
    assert (told["value_range"], told["output_range"], told["upsampled_input"]) == ((0, 1), None, 3)
    assert (told["output"], told["extra_inputs"]) == (("sr", -1), ("10",))
    with pytest.raises(InputError, match="'ten'"):
        arguments_of(Convention(range="ten"), None)
