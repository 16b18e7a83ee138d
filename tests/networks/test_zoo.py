"""The shipped networks match zoo.csv."""

import os
import re
from functools import lru_cache
from pathlib import Path

import pytest

from srgame.data.pairs import Pairs, load_pairs
from srgame.evaluation.evaluate import bicubic, evaluate
from srgame.networks import load_network, scale_of, zoo

# the first network of each family: of one family, all are of one architecture, and their files are tested by sha256
FIRST = {re.sub(r"(-x\d+)-.*$", r"\1", name): name for name in reversed(list(zoo()))}.values()


def test_there_is_a_network_to_begin_with() -> None:
    assert "srresnet-x4-bicubic" in zoo()


@pytest.mark.parametrize("name", [name for name, row in zoo().items() if row["degradation"] == "bicubic"])
def test_a_network_trained_on_bicubic_images_beats_bicubic_on_photographs(name: str) -> None:
    network = load_network(name)
    pairs = load_pairs("photographs", scale=scale_of(network), crop=160)
    gain = evaluate(network, pairs)["psnr_y"] - evaluate(bicubic(scale_of(network)), pairs)["psnr_y"]
    assert gain.min() > 0 and gain.mean() > 0.5


@pytest.mark.skipif("SRGAME_DATA" not in os.environ, reason="$SRGAME_DATA names no folder of image sets")
@pytest.mark.parametrize("name", FIRST)
def test_psnr_on_set5_is_what_zoo_csv_says(name: str) -> None:
    network, row = load_network(name), zoo()[name]
    own, baseline = evaluate(network, _set5(scale_of(network)))["psnr_y"].mean(), _bicubic_on_set5(scale_of(network))
    assert own == pytest.approx(float(row["psnr_y_set5"]), abs=1e-3)
    assert baseline == pytest.approx(float(row["bicubic_y_set5"]), abs=1e-3)
    assert row["degradation"] != "bicubic" or own > baseline + 1


@pytest.mark.parametrize("name", zoo())
def test_a_file_is_the_one_that_zoo_csv_lists(name: str) -> None:
    load_network(name)  # refuses a file with another sha256


def test_the_zoo_is_small_and_has_the_log_of_each_training() -> None:
    """Four trainings were made before logs were kept."""
    root = Path(__file__).parents[2]
    files = [*root.glob("srgame/networks/zoo/*.safetensors"), *root.glob("analyses/zoo/*.safetensors")]
    assert {path.stem for path in files} == set(zoo())
    assert sum(path.stat().st_size for path in files) <= 40 * 2**20
    without = set(zoo()) - {path.stem for path in root.glob("analyses/logs/*.csv")}
    variants = ("eats-hr", "eats-unsharpened", "original-unsharpened")
    assert without == {"srresnet-x4-bicubic", *(f"small-x4-{variant}-0" for variant in variants)}


@lru_cache
def _set5(scale: int) -> Pairs:
    return load_pairs("Set5", scale=scale)


@lru_cache
def _bicubic_on_set5(scale: int) -> float:
    return float(evaluate(bicubic(scale), _set5(scale))["psnr_y"].mean())
