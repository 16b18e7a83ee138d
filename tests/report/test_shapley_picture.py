"""What the pictures of Shapley values say in words."""

import numpy as np
import pandas as pd

from srgame.report.figures import NAMED, shapley_bars


def values(phi: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({"layer": "conv_hr", "filter": np.arange(len(phi)), "shapley": phi})
    frame = frame.sort_values("shapley", ascending=False).assign(rank=np.arange(len(phi)) + 1)
    return frame.assign(low=frame["shapley"] - 0.1, high=frame["shapley"] + 0.1)


def test_filters_below_zero_are_named_and_so_is_the_network() -> None:
    figure = shapley_bars(values([0.5, -0.2, 1.0, -0.3]), "dB", "mine; 2 images of Set5, clean")
    assert figure.get_suptitle() == "mine; 2 images of Set5, clean"
    assert [text.get_text() for text in figure.axes[0].texts] == ["below 0: 1, 3"]
    assert not shapley_bars(values([0.5, 0.2]), "dB").axes[0].texts


def test_many_filters_below_zero_are_not_named() -> None:
    assert not shapley_bars(values([-1.0] * (NAMED + 1)), "dB").axes[0].texts
