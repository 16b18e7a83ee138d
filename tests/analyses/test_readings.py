"""Readings of EATS: how near they are to the printed gains, what erasing adds, and where their losses lead."""

import audit_claims
import audit_minimiser
import audit_readings
import audit_readings_logs
import numpy as np
import pandas as pd
import pytest
import table_files
import torch
from intervals import mean_interval
from printed import cells
from readings import kind_of
from torch import Tensor, nn

from srgame.data.images import upsample
from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.evaluation.evaluate import evaluate
from srgame.networks import load_network


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("readings-x4-w0.1-2", ("w0.1", 2)),
        ("readings-x4-pull-w0.1-0", ("pull-w0.1", 0)),
        ("each-layer-w0.1-1", ("each-layer-w0.1", 1)),
        ("readings-x4-original-0", ("original", 0)),
        ("small-x4-eats-0", None),
        ("readings-x4-w0.5-0", None),
    ],
)
def test_a_name_tells_the_reading_and_the_seed(name: str, known: tuple[str, int] | None) -> None:
    assert kind_of(name) == known


@pytest.fixture
def gains() -> pd.DataFrame:
    """λ = 0.1 with the printed gains plus 0.02 dB, two seeds that differ by 0.1 dB, and controls 0.03 dB below."""
    printed = cells(1)
    rows = [
        {"kind": kind, "seed": seed, "dataset": dataset, "degradation": setting, "image": f"{dataset}{image}"}
        | {"gain": row["eats"] - row["original"] + 0.02 + 0.1 * (seed - 0.5) + shift + 0.01 * image, "over": over}
        for (dataset, setting), row in printed.iterrows()
        for seed in (0, 1)
        for image in (-1, 1)
        for kind, shift, over in (("w0.1", 0.0, 0.03 + 0.01 * seed + 0.02 * image), ("pull-w0.1", -0.03, np.nan))
    ]
    return pd.DataFrame(rows)


def test_a_reading_is_as_far_from_the_printed_gains_as_its_cells(gains: pd.DataFrame) -> None:
    table = audit_readings.by_kind(gains).set_index("kind")
    assert table.loc["w0.1", "rms_eats"] == pytest.approx(0.02)
    assert table.loc["pull-w0.1", "rms_eats"] == pytest.approx(0.01)
    assert table.loc["w0.1", "r_eats"] == pytest.approx(1)
    assert table.loc["w0.1", "cells"] == len(cells(1))


def test_what_erasing_adds_has_intervals_over_seeds_and_over_images(gains: pd.DataFrame) -> None:
    row = audit_readings.by_kind(gains).set_index("kind").loc["w0.1"]
    mean, low, high = mean_interval(np.array([0.03, 0.04]))
    assert row[["over", "seeds_low", "seeds_high"]].to_list() == pytest.approx([mean, low, high])
    assert row["images_high"] - row["over"] == pytest.approx(row["over"] - row["images_low"])
    assert row["images_low"] < 0.035 < row["images_high"]


def test_the_nearest_reading_is_one_that_erases(gains: pd.DataFrame) -> None:
    assert audit_readings.nearest(gains)["kind"].to_list() == ["w0.1"]
    assert "λ = 0.1: 0.02 dB" in audit_readings.found(gains)
    assert "Its control, which erases nothing, is 0.01 dB away" in audit_readings.found(gains)
    assert "+0.035 dB" in audit_readings.found(gains)


def test_images_without_printed_gains_have_a_picture_too(gains: pd.DataFrame) -> None:
    notes = [text.get_text() for text in audit_readings.draw(gains).axes[2].texts]
    assert len(notes) == 2 and notes[1].startswith("gains in 40 of 40, r = 1.00")
    assert not audit_readings.draw(gains.assign(dataset="photographs")).axes[2].texts


def test_a_gain_is_a_difference_of_evaluations() -> None:
    frame = audit_readings.measure(**{**audit_readings.SMOKE, "degradations": ("clean",), "images": 1})
    row = frame[(frame["kind"] == "w0.1") & (frame["seed"] == 1)].iloc[0]
    pairs = load_pairs("photographs", "clean", 4, 1, 48)
    psnr = {
        kind: evaluate(load_network(f"readings-x4-{kind}-1"), pairs)["psnr_rgb"].iloc[0]
        for kind in ("original", "w0.1", "pull-w0.1")
    }
    assert row["gain"] == pytest.approx(psnr["w0.1"] - psnr["original"])
    assert row["over"] == pytest.approx(psnr["w0.1"] - psnr["pull-w0.1"])


def test_a_reading_that_teaches_some_weights_erases_but_has_no_control() -> None:
    names = tuple(f"readings-x4-{kind}-0" for kind in ("original", "layer", "w1", "pull-w1"))
    frame = audit_readings.measure(names, sets=("photographs",), degradations=("clean",), images=1, crop=48)
    over = frame.set_index("kind")["over"]
    assert np.isnan(over["layer"]) and not np.isnan(over["w1"])
    assert set(audit_readings.nearest(frame)["kind"]) == {"layer", "w1"}


def test_without_original_there_is_no_gain() -> None:
    with pytest.raises(InputError, match="that of seed 0 too"):
        audit_readings.measure(networks=("readings-x4-w0.1-0",), sets=("photographs",), images=1, crop=32)


class AboveBicubic(nn.Module):
    """Bicubic upsampling, lighter by 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(1))

    def forward(self, lr: Tensor) -> Tensor:
        return upsample(lr, 4) + 0.1 + 0 * self.weights


def test_hr_is_counted_below_the_network_where_that_is_above_bicubic() -> None:
    lr, hr = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 16, 16)
    above, at, below = audit_minimiser._counts(AboveBicubic(), lr, hr)
    assert (above["there"], at["there"], below["there"]) == (hr.numel(), 0, 0)
    assert above["below"] == int((hr < upsample(lr, 4) + 0.1).sum())


@pytest.mark.parametrize("kind", ["layer", "disruptor", "pull-clean", "each-layer-w0.1", "dil"])
def test_the_rule_is_not_held_against_readings_that_differ_in_more_than_the_weight(kind: str) -> None:
    with pytest.raises(InputError, match=f"'readings-x4-{kind}-0' ends in none of original, w0.03"):
        audit_minimiser.measure([f"readings-x4-{kind}-0"])
    assert not any(kind in name for name in audit_minimiser.NETWORKS)


@pytest.mark.parametrize(("side", "predicted"), [("above", 0.4), ("below", 0.6)])
def test_the_rule_predicts_a_quantile_on_either_side(side: str, predicted: float) -> None:
    counts = pd.DataFrame({"values": [10, 10], "there": [4, 6], "below": [1, 3]})
    row = audit_minimiser._summary(counts, 0.2, side)
    assert row["predicted"] == pytest.approx(predicted)
    assert (row["share"], row["observed"]) == (0.5, pytest.approx(0.375))


def test_a_pull_weaker_than_predicted_is_counted_and_so_is_the_range_at_bicubic() -> None:
    rows = [
        {"weight": 0.2, "side": "above", "predicted": 0.4, "observed": 0.45, "low": 0.44, "high": 0.46},
        {"weight": 0.2, "side": "below", "predicted": 0.6, "observed": 0.61, "low": 0.59, "high": 0.63},
        {"weight": 0.2, "side": "at", "predicted": np.nan, "observed": 0.55, "low": 0.5, "high": 0.6},
        {"weight": 0.1, "side": "at", "predicted": np.nan, "observed": 0.56, "low": 0.5, "high": 0.6},
        {"weight": 1.0, "side": "at", "predicted": np.nan, "observed": 0.99, "low": 0.9, "high": 1.0},
    ]
    sentence = audit_minimiser.found(pd.DataFrame(rows).assign(words="λ = 0.2"))
    assert (
        "3.0 percentage points on average over 2 cases with λ below 1, most" in sentence
        and "(45.0% instead of 40.0%)" in sentence
    )
    assert "nearer to the median of HR than predicted in 1 of 2 cases, clearly in 1." in sentence
    assert sentence.endswith("in the predicted range for 1 of 2 networks with λ between 0 and 1.")


def test_logs_are_compared_at_equal_steps_with_the_control() -> None:
    frame = audit_readings_logs.measure()
    over = audit_readings_logs.pairs(frame)
    row = over[(over["kind"] == "w0.1") & (over["seed"] == 0) & (over["step"] == 8000)].iloc[0]
    logs = {
        kind: pd.read_csv(audit_readings_logs.LOGS / f"readings-x4-{kind}-0.csv").set_index("step").loc[8000]
        for kind in ("w0.1", "pull-w0.1")
    }
    assert row["degradation"] == "clean"
    assert row["over"] == pytest.approx(logs["w0.1"]["psnr_rgb_clean"] - logs["pull-w0.1"]["psnr_rgb_clean"])
    assert not set(over["kind"]) & {"disruptor", "layer", "pull-w0.1"}


def test_a_table_is_written_for_pages_and_papers() -> None:
    files = table_files.texts(pd.DataFrame({"dataset": ["a_b"], "setting": ["b+n"], "eats": [-1.234]}))
    assert files[".md"].splitlines()[2] == "| a_b | b+n | −1.23 |"
    assert r"a\_b & b+n & $-$1.23 \\" in files[".tex"]
    assert r"\begin{tabular}{llr}" in files[".tex"]


def test_claims_are_differences_over_seeds() -> None:
    rows = [
        {
            "kind": kind,
            "seed": seed,
            "layer": "body.1",
            "quantity": quantity,
            "value": value + 0.01 * seed * (kind == "w0.1"),
        }
        for seed in (0, 1, 2)
        for kind, value in (("original", 0.3), ("w0.1", 0.2), ("pull-w0.1", 0.25))
        for quantity in audit_claims.QUANTITIES
    ]
    table = audit_claims.differences(pd.DataFrame(rows)).set_index(["difference", "quantity"])
    mean, low, high = mean_interval(np.array([-0.1, -0.09, -0.08]))
    row = table.loc["EATS (λ = 0.1) − Original", "cosine"]
    assert row[["mean", "low", "high"]].to_list() == pytest.approx([mean, low, high])
    assert table.loc["EATS − nothing erased", "cosine"]["mean"] == pytest.approx(-0.04)
    assert f"{len(audit_claims.QUANTITIES)} clearly lower" in audit_claims.found(pd.DataFrame(rows))


def test_centred_responses_have_the_correlation_as_their_cosine() -> None:
    response = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(0)) + 1
    raw, centred = audit_claims._sizes_of_cosines(response)
    r = np.corrcoef(response[0].flatten(1).numpy())
    assert centred.item() == pytest.approx(np.abs(r[np.triu_indices(3, 1)]).mean(), abs=1e-5)
    assert raw > 0.8
