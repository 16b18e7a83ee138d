"""Networks of other conventions on the command line: each flag, and the blind-SR systems in every verb."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import other_conventions
import pandas as pd
import pytest
from small_networks import saved

from srgame.cli.flags import Convention
from srgame.cli.loading import arguments_of
from srgame.errors import InputError

Run = Callable[..., tuple[int, str]]

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
def srgame(srgame: Callable[..., tuple[int, str, str]], tmp_path: Path) -> Run:
    """Runs a verb on a network of other_conventions in this process: exit status, and what it printed."""

    def run(verb: str, name: str, *words: object) -> tuple[int, str]:
        path = saved(getattr(other_conventions, name)().state_dict(), tmp_path / f"{name}.pth")
        status, *printed = srgame(*verb.split(), path, "--network", f"other_conventions:{name}", *words)
        return status, "".join(printed)

    return run


@pytest.mark.filterwarnings("default")
def test_each_flag_gives_the_scores_of_the_plain_twin(srgame: Run, tmp_path: Path) -> None:
    images = ["--images", "1", "--crop", "32", "--degradations", "clean"]
    scores = {}
    for name, flags in {"plain": [], **FLAGS}.items():
        status, printed = srgame("evaluate", name, *flags, *images, "--output", tmp_path / name)
        assert status == 0 and "PSNR is" not in printed
        scores[name] = pd.read_csv(tmp_path / name / "benchmark.csv")["psnr_y"]
    for name in FLAGS:
        np.testing.assert_allclose(scores[name], scores["plain"], atol=1e-3)


@pytest.mark.filterwarnings("default")
def test_a_convention_that_was_not_told_is_remarked_on_with_the_flag(srgame: Run, tmp_path: Path) -> None:
    words = ["--images", "1", "--crop", "32", "--degradations", "clean", "--output", tmp_path / "out"]
    status, printed = srgame("evaluate", "in_bytes", *words)
    assert status == 0 and "in_bytes.pth" in printed and "--range 255" in printed
    status, printed = srgame("evaluate", "in_bytes", "--range", "255", *words)
    assert status == 2 and "weights" in printed  # the folder holds the scores of another convention


@pytest.mark.filterwarnings("default")
def test_enlarged_input_takes_a_scale(srgame: Run, tmp_path: Path) -> None:
    words = ["--images", "1", "--crop", "32", "--evaluations", "60", "--layers", "body", "--output", tmp_path / "out"]
    status, printed = srgame("shapley", "enlarged_first", "--upsampled-input", *words)
    assert status == 2 and "--scale" in printed
    status, printed = srgame("shapley", "enlarged_first", "--scale", "4", *words)
    assert status == 2 and "enlarges 1 times, not 4" in printed and "--upsampled-input" in printed
    status, printed = srgame("shapley", "enlarged_first", "--upsampled-input", "--scale", "4", *words)
    settings = json.loads((tmp_path / "out" / "shapley.json").read_text())["settings"]
    assert status == 0 and settings["upsampled_input"] is True and settings["scale"] == 4
    assert settings["range"] == "1"


@pytest.mark.filterwarnings("default")
def test_a_denoiser_plays_at_scale_1(srgame: Run, tmp_path: Path) -> None:
    images = ["--images", "1", "--crop", "24", "--output", tmp_path]
    status, printed = srgame("evaluate", "denoiser", "--degradations", "noise", "jpeg", "blur", *images)
    assert status == 0 and "scale 1" in printed
    assert len(pd.read_csv(tmp_path / "benchmark.csv")) == 6
    words = ["--degradation", "noise", "--layers", "body", *images]
    assert srgame("shapley", "denoiser", "--evaluations", "64", *words)[0] == 0
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
def test_blind_sr_systems_run_through_every_verb(srgame: Run, name: str, verb: str, tmp_path: Path) -> None:
    flags, layer = BLIND[name]
    words = verb.replace("LAYER", layer).split()
    number = 2 if words[0] == "probe" else 1
    if verb != "layers":
        words += ["--output", str(tmp_path / "out")]
    status, printed = srgame(" ".join(words[:number]), name, *words[number:], *flags)
    assert status == 0, printed
    for path in (tmp_path / "out").glob("*.csv"):
        numbers = pd.read_csv(path).select_dtypes("number").filter(regex="^(shapley|value|psnr|attribution)")
        assert np.isfinite(numbers.to_numpy()).all()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "verb",
    [
        "probe responses --layers LAYER --images 1 --crop 16",
        "probe cosine --layers LAYER --images 1 --crop 16",
        "probe salience --layers LAYER --images 1 --crop 16",
        "probe ddr --layer LAYER --images 2 --count 6 --side 16 --sets clean noise --seeds 0",
        "probe srga --layer LAYER --images 2 --count 6 --side 16 --sets noise",
        "probe equity --layers LAYER --images 1 --crop 16",
        "probe attributions --layers LAYER --images 1 --crop 16 --steps 2",
    ],
)
def test_the_restorer_of_ikc_is_probed(srgame: Run, verb: str, tmp_path: Path) -> None:
    flags, layer = BLIND["sftmd"]
    words = verb.replace("LAYER", layer).split()
    status, printed = srgame(" ".join(words[:2]), "sftmd", *words[2:], *flags, "--output", tmp_path / "out")
    assert status == 0, printed
    assert any((tmp_path / "out").glob("*.csv"))


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
