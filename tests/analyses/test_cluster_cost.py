"""The plan on paper: its counts beside a whole run's, its hours beside the formula written out."""

import cluster_cost
import numpy as np
import pytest
import torch
from cluster_cost import Plan, flop_of_convs, flop_per_pixel
from small_networks import images, small
from torch.utils.flop_counter import FlopCounterMode

from srgame.filters import filters_of, resume


@pytest.mark.parametrize("name", ["srresnet-x4", "rrdbnet-x4", "han-x2"])
def test_a_resumed_run_computes_what_the_counter_counts_in_it(name: str) -> None:
    network = small(name)
    per_pixel, lr = flop_per_pixel(network), images(1, 8, 12)
    for layer in filters_of(network).layers[::5]:
        cut = resume(network, [layer])
        live = cut.head(lr)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            cut.tail(*live)
        assert per_pixel[layer] * 8 * 12 == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_a_conv_takes_two_flop_for_each_weight_and_pixel() -> None:
    network = small("srresnet-x4")
    of_conv = flop_of_convs(network)
    assert of_conv["conv_first"] == 2 * network.conv_first.weight.numel()
    assert of_conv["conv_last"] == 2 * network.conv_last.weight.numel() * 4**2


def test_hours_are_the_formula_written_out() -> None:
    plan = Plan(np.array([4, 6]), np.array([3e12, 1e12]), np.array([1e12, 0.0]), 1e12, overhead=0.5, handing=2.0)
    assert plan.hours(1) == pytest.approx((4 * 3 + 1 + 6 * 1 + 0) / 3600)
    assert plan.hours(2) == pytest.approx(((4 * (3 + 1) + 6 * 1) / 2 + 4 + 2 * 2) / 3600)
    assert plan.hours(100) == pytest.approx((10 * 0.5 + 4 + 100 * 2) / 3600)  # the client is what takes longest


def test_the_smallest_plan_tells_measured_from_projected(monkeypatch: pytest.MonkeyPatch) -> None:
    travelled = {"client and scheduler per replicate": 0.01, "bytes once per worker": 1e7}
    rows = [cluster_cost._row("measured", name, value, "") for name, value in travelled.items()]
    monkeypatch.setattr(cluster_cost, "_overheads", lambda *_: rows)  # no processes for a test
    frame = cluster_cost.measure(**cluster_cost.SMOKE)
    kinds = frame.groupby("quantity")["kind"].unique()
    assert set(kinds["hours"]) == {"projected"} and set(kinds["GPU sustains"]) == {"assumed"}
    figure = cluster_cost.draw(frame.replace("", np.nan))
    assert "projected" in figure.get_suptitle() and " h on " not in figure.get_suptitle()
    assert cluster_cost.found(frame.replace("", np.nan)).startswith("Projected, not measured")
    assert any("projected" in panel.get_title() for panel in figure.axes)
