"""Pair interactions against the definition, textbook games, axioms and closed forms."""

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
    interaction_by_definition,
    quadratic,
    saturating,
    saturating_groups,
    unanimity,
    voting,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import erased, filters_of
from srgame.networks import SRResNet
from srgame.shapley import interactions
from srgame.shapley.exact import exact_shapley
from srgame.shapley.interactions import PairInteractions, pair_interactions
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until
from srgame.shapley.values import Estimate, mean_of

EITHER = ["shapley", "banzhaf"]
GAMES = {"saturating": saturating(6, 0), "cubic": cubic(7, 1), "glove": glove(2, 4), "apex": voting([3, 1, 1, 1, 1], 4)}


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


@pytest.mark.parametrize("index", EITHER)
@pytest.mark.parametrize("name", GAMES)
def test_exact_interactions_are_what_the_definition_says(name: str, index: str) -> None:
    game = GAMES[name]
    exact = pair_interactions(game, index=index)
    np.testing.assert_allclose(
        exact.value, upper(interaction_by_definition(game, index == "banzhaf")), rtol=0, atol=1e-12
    )
    assert exact.ended == "exact" and exact.evaluations == 2**game.players and exact.relative_stderr == 0


LARGER = {"saturating": saturating(8, 0), "glove": glove(3, 5), "apex": voting([3, 1, 1, 1, 1, 1, 1, 1], 6)}


@pytest.mark.parametrize("index", EITHER)
@pytest.mark.parametrize("name", LARGER)
def test_the_mean_of_many_replicates_approaches_the_exact_interactions(name: str, index: str) -> None:
    game = Counting(LARGER[name])
    pairs = [(0, 1), (2, 4), (3, 1)]
    exact = pair_interactions(game, pairs, index=index)
    game.asked.clear()
    sampled = pair_interactions(game, pairs, until=Until(evaluations=4_000), index=index, seed=1)
    assert sampled.ended == "evaluations"
    np.testing.assert_array_less(np.abs(sampled.value - exact.value), 4.5 * sampled.stderr + 1e-12)
    assert sampled.stderr.max() < 0.1
    assert sampled.evaluations == sum(map(len, game.asked)) <= 4_000


def test_two_who_are_useful_only_together_interact_by_all_that_they_are_worth() -> None:
    assert pair_interactions(unanimity(2, [0, 1])).value.tolist() == [1]
    one_needs_the_other = pair_interactions(unanimity(6, [1, 4])).matrix()
    assert one_needs_the_other[1, 4] == pytest.approx(1) and np.nansum(np.abs(one_needs_the_other)) == pytest.approx(2)
    three = pair_interactions(unanimity(5, [0, 1, 2])).matrix()
    assert three[0, 1] == three[1, 2] == pytest.approx(1 / 2)  # 1 / (t − 1) for t of them (Grabisch & Roubens 1999)


def test_two_who_are_interchangeable_interact_negatively() -> None:
    either = FormulaGame(4, lambda p: p[:, :2].amax(1) + p[:, 2])
    matrix = pair_interactions(either).matrix()
    assert matrix[0, 1] == pytest.approx(-1) and np.nansum(np.abs(matrix)) == pytest.approx(2)


@pytest.mark.parametrize("players", [16, 64])
@pytest.mark.parametrize("family", [quadratic, cubic])
def test_one_replicate_solves_quadratic_and_cubic_games(family: Callable[[int, int], SolvedGame], players: int) -> None:
    game = family(players, 0)
    replicate = pair_interactions(game, until=Until(evaluations=2 + players * (players + 1)))
    assert replicate.replicates == 1 and np.isinf(replicate.stderr).all()
    np.testing.assert_allclose(
        replicate.matrix()[~np.eye(players, dtype=bool)], off_diagonal(game.interaction), atol=1e-9
    )


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix[~np.eye(len(matrix), dtype=bool)]


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=6)
def test_axioms_of_the_exact_interactions(seed: int) -> None:
    first, second = saturating(5, seed), cubic(5, seed)
    both = FormulaGame(5, lambda p: 2 * first.worth(p) - 3 * second.worth(p))
    expected = 2 * pair_interactions(first).value - 3 * pair_interactions(second).value
    np.testing.assert_allclose(pair_interactions(both).value, expected, atol=1e-11)  # additivity

    twins = FormulaGame(5, lambda p: first.worth(torch.cat([p[:, :1] + p[:, 1:2], 0 * p[:, :1], p[:, 2:]], 1)))
    matrix = pair_interactions(twins).matrix()
    np.testing.assert_allclose(matrix[0, 2:], matrix[1, 2:], atol=1e-12)  # symmetry

    ignored = FormulaGame(5, lambda p: first.worth(p * torch.tensor([1, 1, 0, 1, 1])))
    np.testing.assert_allclose(np.delete(pair_interactions(ignored).matrix()[2], 2), 0, atol=1e-12)  # dummy


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=6)
def test_an_interaction_is_what_the_one_gains_from_the_other(seed: int) -> None:
    """Recursion: I(ij) is the Shapley value of i where j is always there, less its value where j never is."""
    game = saturating(5, seed)
    there = FormulaGame(4, lambda p: game.worth(torch.cat([p, torch.ones_like(p[:, :1])], 1)))
    away = FormulaGame(4, lambda p: game.worth(torch.cat([p, torch.zeros_like(p[:, :1])], 1)))
    gained = exact_shapley(there).value - exact_shapley(away).value
    np.testing.assert_allclose(pair_interactions(game, [(i, 4) for i in range(4)]).value, gained, atol=1e-12)


@pytest.mark.parametrize("index", EITHER)
def test_intervals_cover_the_exact_interactions_about_as_often_as_they_say(index: str) -> None:
    game = saturating(7, 3)
    pairs = list(combinations(range(0, 7, 2), 2))
    exact = pair_interactions(game, pairs, index=index).value
    cost = 2 * (1 + 4 + 6)
    covered = []
    for seed in range(80):
        low, high = pair_interactions(
            game, pairs, until=Until(evaluations=20 * cost), index=index, seed=seed
        ).interval()
        covered.append((low <= exact) & (exact <= high))
    assert 0.90 < np.mean(covered) < 0.98


def test_all_pairs_of_64_players_come_with_honest_errors() -> None:
    game = saturating_groups(64, 0)
    sampled = pair_interactions(game, until=Until(evaluations=12 * (2 + 64 * 65)))
    low, high = sampled.interval()
    exact = upper(game.interaction)
    assert sampled.replicates == 12 and 0.9 < np.mean((low <= exact) & (exact <= high)) < 0.999


def test_errors_are_honest_too_where_all_pairs_err_alike() -> None:
    game = humped(64, 0)
    covered = []
    for seed in range(80):
        sampled = pair_interactions(game, [(3, 50)], until=Until(evaluations=8 * 16), seed=seed)
        low, high = sampled.interval()
        covered.append(low <= game.interaction[3, 50] <= high)
    assert 0.88 < np.mean(covered) < 0.99


WEIGHTS = [0.5, -2.0, 1.0, 0.25, 1.5, -1.0, 0.75, 2.5, -0.5, 1.25, 3.0, -1.5]


def test_no_error_is_zero_by_luck() -> None:
    """Replicates miss the heavy coalition, agree on all pairs, and used to claim that no players interact."""
    game = heavy(WEIGHTS)
    exact, covered = pair_interactions(game).value, []
    for seed in range(20):
        found = pair_interactions(game, until=Until(evaluations=12 * 2 * (1 + 12 + 66)), seed=seed)
        low, high = found.interval()
        covered.append((low <= exact) & (exact <= high))
    assert np.abs(exact).min() > 0.03 and np.mean(covered) > 0.95


def test_replicates_that_agree_on_all_pairs_have_the_error_of_the_rule_of_three() -> None:
    found = pair_interactions(additive(WEIGHTS), [(0, 1), (2, 7)], until=Until(evaluations=12 * 2 * (1 + 4 + 2)))
    low, high = found.interval()
    assert found.replicates == 12 and np.abs(found.value).max() < 1e-12
    np.testing.assert_allclose((high - low) / 2, 3 / 12 * 2.5, rtol=1e-9)  # 2.5: the largest contribution of the four


def test_replicates_that_agree_on_some_pairs_have_the_pooled_error_of_the_others() -> None:
    game = FormulaGame(12, lambda p: saturating(6, 0).worth(p[:, :6]) + p[:, 6:] @ torch.arange(1.0, 7.0).double())
    found = pair_interactions(game, until=Until(evaluations=12 * 2 * (1 + 12 + 66)))
    alone = found.pairs.max(1) >= 6
    assert np.abs(found.value[alone]).max() < 1e-12 < found.stderr[~alone].min()
    np.testing.assert_allclose(found.stderr[alone], np.sqrt(np.mean(found.stderr[~alone] ** 2)), rtol=1e-9)


def test_replicates_agree_up_to_the_rounding_of_the_game() -> None:
    class Rounded(FormulaGame):
        rounding = float(np.finfo(np.float32).eps)

    of_weights = torch.tensor(WEIGHTS)
    game = Rounded(12, lambda p: (p.float() @ of_weights / 3 + 9).double())
    found = pair_interactions(game, [(0, 1), (2, 7)], until=Until(evaluations=12 * 2 * (1 + 4 + 2)))
    assert 0 < np.abs(found.value).max() < 1e-6 and found.stderr.min() > 0.05


def test_a_game_without_interactions_ends_at_a_tolerance_with_an_error() -> None:
    found = pair_interactions(additive(WEIGHTS), until=Until(tolerance=0.01))
    assert found.ended == "tolerance" and found.replicates == 12 and found.stderr.min() > 0.1
    assert "more than their range" in repr(found)


def test_intervals_have_the_degrees_of_freedom_of_heavy_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    estimates: list[Estimate] = []

    def recorded(replicates: np.ndarray) -> Estimate:
        estimates.append(mean_of(replicates))
        return estimates[-1]

    skewed = FormulaGame(12, lambda p: torch.exp(1.5 * p @ torch.tensor(WEIGHTS).double()))
    monkeypatch.setattr(interactions, "mean_of", recorded)
    found = pair_interactions(skewed, [(0, 1)], until=Until(evaluations=12 * 8), seed=1)
    freedom = estimates[-1].freedom
    assert found.replicates == 12 and freedom is not None and freedom < 8
    low, high = found.interval()
    np.testing.assert_allclose((high - low) / 2, stats.t(freedom).ppf(0.975) * found.stderr, rtol=1e-12)


def test_a_replicate_depends_on_seed_and_number_only() -> None:
    def asked(replicates: int, seed: int) -> list[object]:
        game = Counting(saturating(9, 0))
        pair_interactions(game, [(0, 5)], until=Until(evaluations=8 * replicates), seed=seed)
        return [rows.tolist() for rows in game.asked]

    assert asked(3, 5) == asked(9, 5)[: len(asked(3, 5))] and asked(3, 5) != asked(3, 6)


def test_chosen_pairs_cost_only_what_they_need_and_keep_their_order() -> None:
    game = quadratic(64, 0)
    pairs = [(40, 2), (7, 40), (2, 63)]
    some = pair_interactions(game, pairs, until=Until(evaluations=2 * (1 + 4 + 3)))
    assert some.replicates == 1 and some.evaluations == 16
    np.testing.assert_allclose(some.value, [game.interaction[pair] for pair in pairs], atol=1e-9)
    frame = some.frame()
    assert frame.columns.tolist() == ["filter", "partner", "interaction", "stderr", "low", "high"]
    assert frame[["filter", "partner"]].to_numpy().tolist() == [list(pair) for pair in pairs]
    matrix = some.matrix()
    assert matrix[2, 40] == matrix[40, 2] == some.value[0] and np.isfinite(matrix).sum() == 6


def test_dummies_interact_with_nobody_and_are_never_sampled() -> None:
    base = cubic(20, 0)
    game = Counting(FormulaGame(23, lambda p: base.worth(p[:, 3:])), dummies=[True] * 3 + [False] * 20)
    sampled = pair_interactions(game, until=Until(evaluations=1000))
    expected = np.zeros((23, 23))
    expected[3:, 3:] = base.interaction
    np.testing.assert_allclose(sampled.value, upper(expected), atol=1e-9)
    assert torch.cat(game.asked)[:, :3].all() and sampled.stderr[0] == 0
    nobody = pair_interactions(Counting(additive([1.0, 0.0, 0.0]), dummies=[False, True, True]))
    assert nobody.value.tolist() == [0, 0, 0] and nobody.ended == "exact"


@pytest.mark.parametrize("players", [2, 5, 7, 8])
def test_few_players_are_enumerated_so_that_no_error_bar_is_zero_by_luck(players: int) -> None:
    sampled = pair_interactions(saturating(players, 0), until=Until(tolerance=0.5))
    np.testing.assert_allclose(sampled.value, upper(interaction_by_definition(saturating(players, 0))), atol=1e-12)
    assert sampled.ended == "exact" and sampled.evaluations == 2**players


def test_an_interruption_keeps_what_was_measured() -> None:
    class Interrupted(Counting):
        def __call__(self, coalitions: torch.Tensor) -> torch.Tensor:
            if len(self.asked) == 4 * 6:  # a replicate asks for none, one and both of the pair, twice
                raise KeyboardInterrupt
            return super().__call__(coalitions)

    found = pair_interactions(Interrupted(saturating(12, 0)), until=Until(tolerance=1e-9))
    assert found.replicates == 4 and found.ended == "interrupted"


def test_interactions_of_a_networks_filters(small: SRResNet, photographs: Pairs) -> None:
    game = RestorationGame(small, filters_of(small, ["body.0.conv1"]), photographs)
    exact = pair_interactions(game)
    sampled = pair_interactions(game, [(0, 1), (2, 5)], until=Until(evaluations=400))
    of_pairs = np.array([exact.matrix()[0, 1], exact.matrix()[2, 5]])
    np.testing.assert_array_less(np.abs(sampled.value - of_pairs), 5 * sampled.stderr)
    assert sampled.stderr.max() < 0.5 * np.ptp(exact.value)


def test_minus_mse_in_front_of_a_linear_tail_interacts_by_overlap(small: SRResNet, photographs: Pairs) -> None:
    """Two filters that draw the same are interchangeable: their interaction is −2⟨cᵢ, cⱼ⟩ / pixels."""
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), photographs, "-mse")
    nobody_and_each = torch.cat([torch.zeros(1, 8, dtype=torch.bool), torch.eye(8, dtype=torch.bool)])
    drawn = []
    for lr in photographs.lr:
        with torch.inference_mode(), erased(small, game.filters, nobody_and_each, game.images.ablation):
            sr = small(lr.expand(9, *lr.shape)).double().flatten(1)
        drawn.append(sr[1:] - sr[0])
    overlap = -2 * np.mean([(c @ c.T / c.shape[1]).numpy() for c in drawn], axis=0)
    np.testing.assert_allclose(pair_interactions(game).value, upper(overlap), atol=1e-5 * np.abs(overlap).max())


REFUSED = {
    "a pair of one": ({"pairs": [(0, 0)]}, r"\(0, 0\) is no pair: name two different players between 0 and 8"),
    "out of range": ({"pairs": [(1, 9)]}, r"\(1, 9\) is no pair"),
    "negative": ({"pairs": [(-1, 2)]}, r"\(-1, 2\) is no pair"),
    "none": ({"pairs": []}, "no pairs, no interactions"),
    "unknown index": ({"index": "shapely"}, "unknown interaction index 'shapely': choose one of shapley, banzhaf"),
    "too few evaluations": (
        {"until": Until(evaluations=91)},
        r"91 evaluations are fewer than one replicate takes \(92\)",
    ),
    "seed": ({"until": Until(evaluations=100), "seed": -1}, "a seed is a whole number from 0 on, not -1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused_in_a_sentence(name: str) -> None:
    arguments, sentence = REFUSED[name]
    with pytest.raises(InputError, match=sentence):
        pair_interactions(saturating(9, 0), **arguments)


def test_games_too_large_or_too_small_are_refused() -> None:
    with pytest.raises(InputError, match="21 players have"):
        pair_interactions(saturating(21, 0), [(0, 1)])
    with pytest.raises(InputError, match="a pair takes two players"):
        pair_interactions(saturating(1, 0))


def test_the_relative_standard_error_is_a_share_of_the_range() -> None:
    found = PairInteractions(
        np.array([1.0, 3.0]), np.array([0.1, 0.02]), 5, np.array([[0, 1], [0, 2]]), 3, 50, "seconds"
    )
    assert found.relative_stderr == pytest.approx(0.05)
