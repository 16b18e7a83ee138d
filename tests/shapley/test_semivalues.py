"""Contributions by coalition size, Banzhaf values and leave-one-out against definitions and textbook games."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from games import (
    Counting,
    FormulaGame,
    SolvedGame,
    additive,
    cubic,
    glove,
    heavy,
    humped,
    quadratic,
    saturating,
    saturating_groups,
    unanimity,
    voting,
    worths_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import SRResNet
from srgame.shapley.exact import exact_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.semivalues import Contributions, leave_one_out, marginal_contributions
from srgame.shapley.until import Until

GAMES = {"saturating": saturating(6, 0), "cubic": cubic(7, 1), "glove": glove(2, 4), "apex": voting([3, 1, 1, 1, 1], 4)}


def contributions_by_definition(game: FormulaGame) -> np.ndarray:
    """The mean of v(S ∪ i) − v(S) over the coalitions S of each size, one by one."""
    worths, mean = worths_of(game), np.zeros((game.players, game.players))
    for i in range(game.players):
        others = [player for player in range(game.players) if player != i]
        for size in range(game.players):
            joined = [frozenset(members) for members in combinations(others, size)]
            mean[i, size] = np.mean([worths[members | {i}] - worths[members] for members in joined])
    return mean


@pytest.mark.parametrize("name", GAMES)
def test_exact_contributions_are_what_the_definition_says(name: str) -> None:
    game = GAMES[name]
    exact = marginal_contributions(game)
    np.testing.assert_allclose(exact.by_size().value, contributions_by_definition(game), rtol=0, atol=1e-12)
    assert exact.ended == "exact" and exact.evaluations == 2**game.players and exact.by_size().relative_stderr == 0


@pytest.mark.parametrize("name", GAMES)
def test_the_mean_over_sizes_is_the_shapley_value(name: str) -> None:
    exact = marginal_contributions(GAMES[name])
    np.testing.assert_allclose(exact.by_size().value.mean(1), exact_shapley(GAMES[name]).value, rtol=0, atol=1e-12)
    np.testing.assert_allclose(exact.shapley().value, exact_shapley(GAMES[name]).value, rtol=0, atol=1e-12)


def test_textbook_banzhaf_values() -> None:
    apex = marginal_contributions(voting([3, 1, 1, 1, 1], quota=4)).banzhaf()
    np.testing.assert_allclose(apex.value, [14 / 16, 2 / 16, 2 / 16, 2 / 16, 2 / 16], atol=1e-12)
    majority = marginal_contributions(voting([1] * 5, quota=3)).banzhaf()
    np.testing.assert_allclose(majority.value, [6 / 16] * 5, atol=1e-12)
    needed = marginal_contributions(unanimity(5, [0, 3, 4])).banzhaf()
    np.testing.assert_allclose(needed.value, [1 / 4, 0, 0, 1 / 4, 1 / 4], atol=1e-12)
    council = marginal_contributions(voting([7] * 5 + [1] * 10, quota=39)).banzhaf()
    np.testing.assert_allclose(council.value[[0, 5]], [848 / 2**14, 84 / 2**14], atol=1e-12)


@given(seed=st.integers(0, 1000), players=st.integers(2, 7))
@settings(deadline=None, max_examples=20)
def test_in_a_quadratic_game_banzhaf_is_shapley_and_both_are_the_mean_of_first_and_last(
    seed: int, players: int
) -> None:
    found = marginal_contributions(quadratic(players, seed))
    by_size = found.by_size().value
    np.testing.assert_allclose(found.banzhaf().value, found.shapley().value, atol=1e-10)
    np.testing.assert_allclose((by_size[:, 0] + by_size[:, -1]) / 2, found.shapley().value, atol=1e-10)
    np.testing.assert_allclose(np.diff(by_size, 2), 0, atol=1e-9)


def test_leave_one_out_is_the_last_contribution() -> None:
    game = saturating(7, 2)
    drops = leave_one_out(game)
    np.testing.assert_allclose(drops, contributions_by_definition(game)[:, -1], atol=1e-12)
    np.testing.assert_allclose(marginal_contributions(game).leave_one_out(), drops, atol=1e-12)
    assert leave_one_out(unanimity(5, [0, 3])).tolist() == [1, 0, 0, 1, 0]
    assert leave_one_out(FormulaGame(4, lambda p: p.amax(1))).tolist() == [0, 0, 0, 0]


def places_asked(players: int, replicates: int, seed: int, dummies: int = 0) -> np.ndarray:
    """The place of every player in each permutation of each replicate, from the coalitions that the game was asked."""
    base, alive = saturating(players, 0), [False] * players + [True] * dummies
    game = Counting(FormulaGame(players + dummies, lambda p: base.worth(p[:, :players])), dummies=alive)
    until = Until(evaluations=2 + replicates * players * (players - 1))
    assert marginal_contributions(game, until=until, seed=seed).ended == "evaluations"
    asked = torch.cat([rows for rows in game.asked if len(rows) > 2])[:, :players]  # without v(∅) and v(N)
    return (~asked).reshape(replicates, players, players - 1, players).sum(2).numpy()


@given(seed=st.integers(0, 2**32), players=st.integers(8, 14), dummies=st.integers(0, 2))
@settings(deadline=None, max_examples=20)
def test_in_a_replicate_everybody_comes_once_at_every_place(seed: int, players: int, dummies: int) -> None:
    places = places_asked(players, 1, seed, dummies)[0]
    for line in (*places, *places.T):
        assert sorted(line) == list(range(players))


def test_each_permutation_of_a_replicate_is_evenly_random() -> None:
    """Three players have each of their 6 permutations equally often in the third one, and 4 players in the first."""
    places = places_asked(9, 1500, 0)
    for permutation, some, count in ((2, [1, 4, 7], 6), (0, [0, 3, 5, 8], 24)):
        drawn = places[:, permutation, some].argsort(1)
        _, counts = np.unique(drawn, axis=0, return_counts=True)
        assert len(counts) == count
        assert np.abs(counts / 1500 - 1 / count).max() < 4 * (1 / count / 1500) ** 0.5


@pytest.mark.parametrize("game", [saturating(9, 0), cubic(9, 1), glove(3, 6)])
def test_the_mean_of_many_replicates_approaches_the_exact_contributions(game: FormulaGame) -> None:
    exact = marginal_contributions(game)
    sampled = marginal_contributions(game, until=Until(evaluations=30_000), seed=2)
    assert len(sampled.replicates) > 10 and sampled.evaluations <= 30_000 and sampled.ended == "evaluations"
    for quantity in ("by_size", "shapley", "banzhaf"):
        known, found = getattr(exact, quantity)(), getattr(sampled, quantity)()
        assert np.all(np.abs(found.value - known.value) <= 4.5 * found.stderr + 1e-12)
        assert found.stderr.max() < 0.05 * np.ptp(known.value)
    np.testing.assert_allclose(sampled.by_size().value.mean(1), sampled.shapley().value, atol=1e-12)
    total = exact.grand - exact.empty
    assert sampled.shapley().value.sum() == pytest.approx(total, abs=1e-9)
    np.testing.assert_allclose(sampled.by_size().stderr[:, [0, -1]], 0, atol=1e-12)


@pytest.mark.parametrize("family", [saturating_groups, cubic, humped])
def test_shapley_values_of_64_players_come_with_honest_errors(family: Callable[[int, int], SolvedGame]) -> None:
    game = family(64, 0)
    covered = []
    for seed in range(4):
        found = marginal_contributions(game, until=Until(evaluations=2 + 10 * 64 * 63), seed=seed).shapley()
        low, high = found.interval()
        covered.append((low <= game.shapley) & (game.shapley <= high))
    assert found.replicates == 10 and 0.9 < np.mean(covered) < 0.995


def test_intervals_cover_the_exact_contributions_about_as_often_as_they_say() -> None:
    game = saturating(8, 3)
    exact = marginal_contributions(game)
    covered = []
    for seed in range(60):
        sampled = marginal_contributions(game, until=Until(evaluations=250 + 12 * 56), seed=seed)
        for quantity in ("by_size", "banzhaf"):
            low, high = getattr(sampled, quantity)().interval()
            known = getattr(exact, quantity)().value
            covered.append(((low - 1e-12 <= known) & (known <= high + 1e-12))[..., 1:-1])
    assert 0.92 < np.mean(np.concatenate([c.ravel() for c in covered])) < 0.98


def test_eq_6_holds_where_returns_diminish_and_fails_where_players_need_each_other() -> None:
    diminishing = marginal_contributions(saturating(6, 0))
    assert set(diminishing.players()["eq6"]) == {"held"}
    together = marginal_contributions(unanimity(4, [0, 1, 2]))
    assert together.players()["eq6"].tolist() == ["violated"] * 3 + ["held"]
    evenly = marginal_contributions(additive([1 / 3, 2 / 7, -0.1]))
    assert set(evenly.players()["eq6"]) == {"held"}  # equal but for rounding


def test_eq_6_is_open_where_the_errors_do_not_tell() -> None:
    replicates = np.array([[[1.0, 2.0], [4.0, 2.0], [0.0, 2.0]], [[3.1, 2.0], [4.2, 2.0], [0.1, 2.0]]])
    found = Contributions(replicates, 0.0, 0.0, 12, "seconds")
    assert found.players(0.8)["eq6"].tolist() == ["open", "held", "violated"]


WEIGHTS = [0.5, -2.0, 1.0, 0.25, 1.5, -1.0, 0.75, 2.5, -0.5, 1.25, 3.0, -1.5]
A_DOZEN = Until(evaluations=2 + 12 * 12 * 11)


def test_no_error_is_zero_by_luck_and_eq_6_is_not_decided_on_one() -> None:
    """Replicates miss the heavy coalition, agree on all players, and used to say that Eq. 6 holds."""
    game = heavy(WEIGHTS)
    exact, covered = marginal_contributions(game), {"by_size": [], "shapley": [], "banzhaf": []}
    truth = exact.players()["eq6"]
    for seed in range(20):
        found = marginal_contributions(game, until=A_DOZEN, seed=seed)
        eq6 = found.players()["eq6"]
        assert ((eq6 == truth) | (eq6 == "open")).all()
        for quantity, each in covered.items():
            low, high = getattr(found, quantity)().interval()
            known = getattr(exact, quantity)().value
            each.append(((low - 1e-9 <= known) & (known <= high + 1e-9)).mean())
    assert set(truth) == {"held", "violated"}
    assert np.mean(covered["shapley"]) > 0.95 and np.mean(covered["banzhaf"]) > 0.95
    assert np.mean(covered["by_size"]) > 0.8  # at a single size, the coalition is worth more than the rule of three has


def test_contributions_that_agree_have_the_error_of_the_rule_of_three_unless_they_are_certain() -> None:
    found = marginal_contributions(additive(WEIGHTS), until=A_DOZEN)
    for estimate in (found.shapley(), found.banzhaf()):
        low, high = estimate.interval()
        np.testing.assert_allclose(estimate.value, WEIGHTS, rtol=1e-9)
        np.testing.assert_allclose((high - low) / 2, 3 / 12 * 3.0, rtol=1e-9)  # 3.0: the largest contribution
    by_size, first = found.by_size().stderr, found.semivalue(np.eye(12)[0])
    assert (by_size[:, 1:-1] > 0.1).all() and by_size[:, [0, -1]].max() < 1e-12 and first.stderr.max() < 1e-12


def test_contributions_that_agree_have_the_pooled_error_of_those_that_do_not() -> None:
    class WithDummy(FormulaGame):
        dummies = torch.tensor([False] * 12 + [True])

    game = WithDummy(13, lambda p: saturating(6, 0).worth(p[:, :6]) + p[:, 6:12] @ torch.arange(1.0, 7.0).double())
    found = marginal_contributions(game, until=A_DOZEN).shapley()
    np.testing.assert_allclose(found.stderr[6:12], np.sqrt(np.mean(found.stderr[:6] ** 2)), rtol=1e-9)
    assert found.stderr[:6].min() > 0 and found.stderr[12] == 0


def test_contributions_agree_up_to_the_rounding_of_the_game() -> None:
    class Rounded(FormulaGame):
        rounding = float(np.finfo(np.float32).eps)

    game = Rounded(12, lambda p: (p.float() @ torch.tensor(WEIGHTS) / 3 + 9).double())
    assert marginal_contributions(game, until=A_DOZEN).shapley().stderr.min() > 0.05


def test_a_symmetric_game_ends_at_a_tolerance_with_an_error() -> None:
    found = marginal_contributions(additive([1.0] * 12), until=Until(tolerance=0.01))
    assert found.ended == "tolerance" and len(found.replicates) == 12 and found.shapley().stderr.min() > 0.1


def test_frames_have_a_row_for_each_player_and_size() -> None:
    found = marginal_contributions(saturating(9, 0), until=Until(evaluations=500))
    frame = found.frame()
    assert frame.columns.tolist() == ["player", "size", "contribution", "stderr", "low", "high"] and len(frame) == 81
    cell = frame[(frame["player"] == 4) & (frame["size"] == 7)].iloc[0]
    assert cell["contribution"] == found.by_size().value[4, 7] and cell["stderr"] == found.by_size().stderr[4, 7]
    players = found.players()
    np.testing.assert_array_equal(players["banzhaf"], found.banzhaf().value)
    assert players["player"].tolist() == list(range(9)) and (players["low"] <= players["shapley"]).all()


def test_dummies_contribute_nothing_and_are_not_counted() -> None:
    base = saturating(9, 0)
    game = FormulaGame(11, lambda p: base.worth(p[:, [0, 1, 2, 3, 5, 6, 7, 8, 10]]))
    dummies = [k in (4, 9) for k in range(11)]

    class WithDummies(FormulaGame):
        dummies = torch.tensor([k in (4, 9) for k in range(11)])

    found = marginal_contributions(WithDummies(11, game.worth), until=Until(evaluations=500))
    expected = marginal_contributions(base, until=Until(evaluations=500))
    np.testing.assert_array_equal(found.replicates[:, ~np.array(dummies)], expected.replicates)
    assert not found.replicates[:, dummies].any() and found.replicates.shape[2] == 9

    class OnlyDummies(FormulaGame):
        dummies = torch.ones(2, dtype=torch.bool)

    nothing = marginal_contributions(OnlyDummies(2, lambda p: 0 * p.sum(1)))
    assert nothing.shapley().value.tolist() == nothing.leave_one_out().tolist() == [0, 0]


def test_a_replicate_depends_on_seed_and_number_only() -> None:
    game = saturating(9, 0)
    short, long = (marginal_contributions(game, until=Until(evaluations=2 + n * 72), seed=3) for n in (2, 6))
    np.testing.assert_array_equal(short.replicates, long.replicates[:2])
    other = marginal_contributions(game, until=Until(evaluations=2 + 2 * 72), seed=4)
    assert not np.array_equal(short.replicates, other.replicates)


@pytest.mark.parametrize("players", [1, 2, 5, 7])
def test_few_players_are_enumerated_so_that_no_error_bar_is_zero_by_luck(players: int) -> None:
    found = marginal_contributions(saturating(players, 0), until=Until(tolerance=0.5))
    assert found.ended == "exact" and found.evaluations == 2**players


def test_contributions_of_a_networks_filters(small: SRResNet, photographs: Pairs) -> None:
    game = RestorationGame(small, filters_of(small, ["body.0.conv1"]), photographs)
    exact = marginal_contributions(game)
    np.testing.assert_allclose(exact.shapley().value, exact_shapley(game).value, atol=1e-9)
    np.testing.assert_allclose(exact.leave_one_out(), leave_one_out(game), atol=1e-6)


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="21 players have"):
        marginal_contributions(saturating(21, 0))
    with pytest.raises(InputError, match=r"100 evaluations are fewer than one replicate takes \(112\)"):
        marginal_contributions(saturating(11, 0), until=Until(evaluations=100))
