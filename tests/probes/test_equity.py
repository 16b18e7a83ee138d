"""Measures of equity: extreme cases, axioms and slow definitions."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgame.errors import InputError
from srgame.probes.equity import effective_players, entropy, equity, gini


@given(st.integers(1, 40), st.floats(1e-300, 1e300))
def test_equal_shares_have_gini_zero(n: int, share: float) -> None:
    scores = [share, -share] * n
    assert gini(scores) == pytest.approx(0, abs=1e-12) and entropy(scores) == pytest.approx(1)
    assert effective_players(scores) == pytest.approx(2 * n)


@given(st.integers(2, 40))
def test_one_takes_all_has_the_largest_gini(n: int) -> None:
    scores = np.eye(1, n)[0] * 7
    assert gini(scores) == pytest.approx((n - 1) / n)
    assert effective_players(scores) == pytest.approx(1) and entropy(scores) == pytest.approx(0, abs=1e-12)


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=20), st.floats(1e-3, 1e3), st.randoms()
)
def test_equity_depends_neither_on_unit_nor_on_permutation(scores: list[float], factor: float, random: object) -> None:
    others = [score * factor for score in reversed(scores)]
    for measure in (gini, entropy, effective_players):
        assert measure(others) == pytest.approx(measure(scores), abs=1e-6)
    assert -1e-12 <= gini(scores) < 1 and 1 - 1e-9 <= effective_players(scores) <= len(scores) + 1e-9


def test_gini_is_half_the_mean_difference_of_all_pairs() -> None:
    scores = [3.0, 1, 4, 1, 5, 9, 2, 6]
    differences = np.mean([abs(a - b) for a in scores for b in scores])
    assert gini(scores) == pytest.approx(differences / (2 * np.mean(scores)))
    shares = np.array(scores) / sum(scores)
    assert effective_players(scores) == pytest.approx(math.prod(s**-s for s in shares))


def test_scores_that_are_all_0_are_equal() -> None:
    assert gini([0, 0, 0]) == 0 and effective_players([0, 0, 0]) == pytest.approx(3)


def test_a_single_score_has_the_largest_entropy() -> None:
    assert entropy([5]) == 1


@pytest.mark.parametrize("scores", [[], [1, math.nan]])
def test_no_score_and_nan_are_errors(scores: list[float]) -> None:
    with pytest.raises(InputError, match="at least one score"):
        gini(scores)


def test_equity_has_a_row_per_group() -> None:
    frame = equity(pd.DataFrame({"layer": list("aab"), "phi": [1.0, -1, 2]}), "phi")
    assert frame["layer"].tolist() == ["a", "b"] and frame["effective"].tolist() == pytest.approx([2, 1])
