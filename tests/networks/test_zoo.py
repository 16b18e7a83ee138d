"""The shipped networks match zoo.csv."""

import os

import pytest

from srgame.data.pairs import load_pairs
from srgame.evaluation.evaluate import bicubic, evaluate
from srgame.networks import load_network, scale_of, zoo


def test_there_is_a_network_to_begin_with() -> None:
    assert "srresnet-x4-bicubic" in zoo()


@pytest.mark.parametrize("name", [name for name, row in zoo().items() if row["degradation"] == "bicubic"])
def test_a_network_trained_on_bicubic_images_beats_bicubic_on_photographs(name: str) -> None:
    network = load_network(name)
    pairs = load_pairs("photographs", scale=scale_of(network), crop=160)
    gain = evaluate(network, pairs)["psnr_y"] - evaluate(bicubic(scale_of(network)), pairs)["psnr_y"]
    assert gain.min() > 0 and gain.mean() > 0.5


@pytest.mark.skipif("SRGAME_DATA" not in os.environ, reason="$SRGAME_DATA names no folder of image sets")
@pytest.mark.parametrize(("name", "row"), zoo().items(), ids=zoo())
def test_psnr_on_set5_is_what_zoo_csv_says(name: str, row: dict[str, str]) -> None:
    network = load_network(name)
    pairs = load_pairs("Set5", scale=scale_of(network))
    own, baseline = (evaluate(r, pairs)["psnr_y"].mean() for r in (network, bicubic(scale_of(network))))
    assert own == pytest.approx(float(row["psnr_y_set5"]), abs=1e-3)
    assert baseline == pytest.approx(float(row["bicubic_y_set5"]), abs=1e-3)
    assert row["degradation"] != "bicubic" or own > baseline + 1
