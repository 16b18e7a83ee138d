"""Channel responses against their definition, pixel by pixel."""

import math

import numpy as np
import pytest
import torch
from slow_responses import IMAGES, LAYERS, by_hand
from small_networks import with_filters
from torch import nn

from srgame.networks import SRResNet
from srgame.probes.responses import channel_responses, response_summary


def test_responses_are_the_means_over_pixels_then_images(small: SRResNet) -> None:
    frame = channel_responses(small, IMAGES, LAYERS).set_index(["layer", "filter"])
    responses = [by_hand(small, image) for image in IMAGES]
    for layer in LAYERS:
        for number in range(8):
            expected = slow_statistics([response[layer][number].double().flatten().tolist() for response in responses])
            row = frame.loc[(layer, number)]
            for name, tolerance in TOLERANCES.items():
                assert row[name] == pytest.approx(expected[name], abs=tolerance), name


TOLERANCES = {"mean": 1e-6, "mean_abs": 1e-6, "std": 1e-5, "active": None, "sparsity": 1e-5, "stderr": 1e-6}


def slow_statistics(maps: list[list[float]]) -> dict[str, float]:
    """What a row of the frame says of one filter, whose responses to each image are `maps`."""
    means = [sum(values) / len(values) for values in maps]
    sizes = [sum(map(abs, values)) / len(values) for values in maps]
    squares = [sum(v * v for v in values) / len(values) for values in maps]
    roots = [math.sqrt(len(values)) for values in maps]
    ratios = [sum(map(abs, values)) / math.sqrt(sum(v * v for v in values)) for values in maps]
    hoyer = [(root - ratio) / (root - 1) for root, ratio in zip(roots, ratios, strict=True)]
    return {
        "mean": float(np.mean(means)),
        "mean_abs": float(np.mean(sizes)),
        "std": math.sqrt(np.mean(squares) - np.mean(means) ** 2),
        "active": float(np.mean([np.mean(np.array(values) > 0) for values in maps])),
        "sparsity": float(np.mean(hoyer)),
        "stderr": float(np.std(sizes, ddof=1) / math.sqrt(len(maps))),
    }


@pytest.fixture(scope="module")
def idle() -> nn.Module:
    """A network whose first filter is dead and whose second responds -2 everywhere."""
    return with_filters(torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 0, 0]]), torch.tensor([0.0, -2, 0]))


def test_a_dead_filter_is_sparse_and_a_constant_one_is_not(idle: nn.Module) -> None:
    frame = channel_responses(idle, IMAGES, ["0"])
    np.testing.assert_allclose(frame["sparsity"][:2], [1, 0], atol=1e-6)
    np.testing.assert_allclose(frame["mean_abs"][:2], [0, 2])
    np.testing.assert_allclose(frame["std"][:2], [0, 0], atol=1e-3)
    assert not frame.isna().any(axis=None)


def test_a_dead_filter_is_inhibited(idle: nn.Module) -> None:
    summary = response_summary(channel_responses(idle, IMAGES, ["0"]))
    assert summary["inhibited"].item() == pytest.approx(1 / 3)


def test_one_image_has_no_standard_error(idle: nn.Module) -> None:
    assert channel_responses(idle, IMAGES[:1], ["0"])["stderr"].isna().all()
