"""Cosines of responses against their definition, and what must not change them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from slow_responses import IMAGES, LAYERS, by_hand
from small_networks import with_filters

from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.probes.cosine import channel_cosine, cosine_matrix, cosine_summary, cosines


def test_cosine_is_the_mean_cosine_of_each_pair(small: SRResNet) -> None:
    frame = channel_cosine(small, IMAGES, LAYERS)
    assert len(frame) == 2 * 8 * 7 / 2
    responses = [by_hand(small, image) for image in IMAGES]
    for _, row in frame.iterrows():
        values, correlations = [], []
        for response in responses:
            a, b = (response[row["layer"]][row[which]].double().flatten() for which in ("filter", "partner"))
            values.append(float(a @ b / (a.norm() * b.norm())))
            correlations.append(np.corrcoef(a, b)[0, 1])
        assert row["cosine"] == pytest.approx(np.mean(values), abs=1e-6)
        assert row["cosine_size"] == pytest.approx(np.abs(values).mean(), abs=1e-6)
        assert row["correlation"] == pytest.approx(np.mean(correlations), abs=1e-5)
        assert row["correlation_size"] == pytest.approx(np.abs(correlations).mean(), abs=1e-5)


def test_the_summary_is_taken_over_the_matrix_off_its_diagonal(small: SRResNet) -> None:
    frame = channel_cosine(small, IMAGES, LAYERS)
    of_one = frame[frame["layer"] == "conv_hr"]
    summary = cosine_summary(frame).set_index("layer").loc["conv_hr"]
    off_diagonal = cosine_matrix(of_one)[~np.eye(8, dtype=bool)]
    assert summary["mean_abs"] == pytest.approx(np.abs(off_diagonal).mean())
    matrix = cosine_matrix(of_one, "correlation")
    assert summary["correlation"] == pytest.approx(np.abs(matrix[~np.eye(8, dtype=bool)]).mean())
    assert summary["alike"] == pytest.approx((np.abs(off_diagonal) > 0.5).mean())
    assert np.array_equal(cosine_matrix(of_one), cosine_matrix(of_one).T)


@given(st.integers(0, 4), st.floats(1e-25, 1e25))
def test_cosine_ignores_the_scale_of_a_response(channel: int, factor: float) -> None:
    response = torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    scaled = response.clone()
    scaled[:, channel] *= factor
    torch.testing.assert_close(cosines(scaled), cosines(response), rtol=0, atol=1e-5)


@given(st.floats(-1e3, 1e3))
def test_an_offset_changes_cosines_but_no_correlation(offset: float) -> None:
    response = torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(cosines(response + offset, centred=True), cosines(response, centred=True))
    assert (cosines(response + 100.0) > 0.99).all() and (cosines(response, centred=True) < 0.5).any()


@given(st.permutations(range(5)))
def test_cosine_follows_a_permutation_of_channels_and_ignores_one_of_pixels(order: list[int]) -> None:
    response = torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(cosines(response[:, order]), cosines(response)[order][:, order])
    torch.testing.assert_close(cosines(response.flip(2, 3)), cosines(response))


def test_dead_and_constant_filters_have_cosine_0() -> None:
    network = with_filters(
        torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]), torch.tensor([0.0, 3, 0, 0, 3])
    )
    frame = channel_cosine(network, IMAGES, ["0"])
    idle = frame["filter"].isin([0, 1, 4]) | frame["partner"].isin([0, 1, 4])
    assert (frame.loc[idle, ["cosine", "correlation"]] == 0).all(axis=None)
    assert (frame.loc[~idle, "cosine"] > 0.5).all()


def test_a_layer_of_one_filter_has_no_pairs() -> None:
    with pytest.raises(InputError, match="'0'"):
        channel_cosine(with_filters(torch.ones(1, 3), torch.zeros(1)), IMAGES, ["0"])
