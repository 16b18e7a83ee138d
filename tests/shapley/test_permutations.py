"""Shapley values against textbook games, axioms, all permutations, a closed form, and captum."""

import math
from dataclasses import dataclass
from itertools import permutations
from time import monotonic, sleep

import numpy as np
import pytest
import torch
from captum.attr import ShapleyValueSampling
from games import (
    Counting,
    FormulaGame,
    additive,
    airport,
    cubic,
    glove,
    humped,
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
from srgame.filters import filters_of
from srgame.networks import SRResNet
from srgame.shapley.control_variates import explained, regressed
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import Grouped
from srgame.shapley.low_precision import NEGLIGIBLE
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.regression import Regression
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.sampler import ActiveValues
from srgame.shapley.until import Effort, Errors, Until
from srgame.shapley.values import ShapleyValues, heavy_tails, mean_of

TEXTBOOK = {
    "glove": (glove(1, 2), [2 / 3, 1 / 6, 1 / 6]),
    "airport": (airport([1, 2, 4]), [1 / 3, 1 / 3 + 1 / 2, 1 / 3 + 1 / 2 + 2]),
    "apex": (voting([3, 1, 1, 1, 1], quota=4), [3 / 5, 1 / 10, 1 / 10, 1 / 10, 1 / 10]),
    "security council": (voting([7] * 5 + [1] * 10, quota=39), [0.19627] * 5 + [0.001865] * 10),
    "unanimity": (unanimity(5, [0, 3, 4]), [1 / 3, 0, 0, 1 / 3, 1 / 3]),
    "additive": (additive([1.0, -2.0, 0.5]), [1, -2, 0.5]),
}
RANDOM = [saturating(6, 0), quadratic(6, 1), glove(2, 4)]


def over_all_permutations(game: FormulaGame) -> np.ndarray:
    """The definition: the mean marginal contribution over all n! permutations."""
    value = np.zeros(game.players)
    for permutation in permutations(range(game.players)):
        present = torch.zeros(1, game.players, dtype=torch.bool)
        before = game(present).item()
        for player in permutation:
            present[0, player] = True
            after = game(present).item()
            value[player] += after - before
            before = after
    return value / math.factorial(game.players)


def total(game: FormulaGame) -> float:
    everyone = torch.ones(1, game.players, dtype=torch.bool)
    return (game(everyone) - game(~everyone)).item()


@pytest.mark.parametrize("name", TEXTBOOK)
def test_textbook_values(name: str) -> None:
    game, known = TEXTBOOK[name]
    np.testing.assert_allclose(exact_shapley(game).value, known, rtol=2e-4, atol=1e-12)


@pytest.mark.parametrize("game", RANDOM)
def test_exact_values_are_the_mean_over_all_permutations(game: FormulaGame) -> None:
    exact = exact_shapley(game)
    np.testing.assert_allclose(exact.value, over_all_permutations(game), rtol=0, atol=1e-12)
    assert exact.evaluations == 2**game.players and exact.ended == "exact" and exact.relative_stderr == 0


@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.parametrize("game", RANDOM)
def test_the_mean_of_many_replicates_approaches_the_exact_values(game: FormulaGame, antithetic: bool) -> None:
    exact = exact_shapley(game).value
    sampled = sampled_shapley(game, until=Until(evaluations=2_500), antithetic=antithetic)
    assert np.all(np.abs(sampled.value - exact) <= 4.5 * sampled.stderr + 1e-12)
    assert sampled.stderr.max() < 0.1 * np.abs(exact).max()


@given(seed=st.integers(0, 2**32), players=st.integers(1, 12), antithetic=st.booleans())
@settings(deadline=None, max_examples=15)
def test_values_add_up(seed: int, players: int, antithetic: bool) -> None:
    game = saturating(players, seed % 1000)
    sampled = sampled_shapley(game, until=Until(evaluations=200), seed=seed, antithetic=antithetic)
    assert abs(sampled.value.sum() - total(game)) < 1e-9
    assert abs(exact_shapley(game).value.sum() - total(game)) < 1e-9


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=6)
def test_axioms_of_the_exact_values(seed: int) -> None:
    first, second = saturating(5, seed), quadratic(5, seed)
    both = FormulaGame(5, lambda p: 2 * first.worth(p) - 3 * second.worth(p))
    value = {name: exact_shapley(g).value for name, g in {"a": first, "b": second, "both": both}.items()}
    np.testing.assert_allclose(value["both"], 2 * value["a"] - 3 * value["b"], atol=1e-11)  # additivity

    twins = FormulaGame(5, lambda p: first.worth(torch.cat([p[:, :1] + p[:, 1:2], 0 * p[:, :1], p[:, 2:]], 1)))
    np.testing.assert_allclose(*exact_shapley(twins).value[:2], atol=1e-12)  # symmetry

    ignored = FormulaGame(5, lambda p: first.worth(p * torch.tensor([1, 1, 0, 1, 1])))
    assert abs(exact_shapley(ignored).value[2]) < 1e-12  # dummy


def test_the_error_of_a_regressed_mean_is_that_of_an_intercept() -> None:
    rng = np.random.default_rng(0)
    controls, slope = rng.normal(0.3, 1, (26, 2, 5)), rng.normal(size=(2, 5))
    means = 1 + np.einsum("udp,dp->up", controls, slope) + 0.1 * rng.normal(size=(26, 5))
    found, alone = regressed(means, controls), mean_of(means - explained(means, controls))
    for player in range(5):
        design = np.column_stack([np.ones(26), controls[:, :, player]])
        inflation = math.sqrt(26 * np.linalg.inv(design.T @ design)[0, 0])
        assert inflation > 1.01
        assert found.stderr[player] == pytest.approx(alone.stderr[player] * inflation, rel=1e-6)
        assert found.value[player] == alone.value[player]


@pytest.mark.parametrize("players", [6, 7, 64])
def test_one_antithetic_pair_solves_a_quadratic_game(players: int) -> None:
    game = quadratic(players, 0)
    pair = sampled_shapley(game, until=Until(evaluations=2 * players), regression=False)
    assert pair.replicates == 1
    np.testing.assert_allclose(pair.value, game.shapley, rtol=0, atol=1e-10)


def test_one_antithetic_pair_solves_minus_mse_in_front_of_the_linear_tail(small: SRResNet, photographs: Pairs) -> None:
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), photographs, "-mse")
    pair = sampled_shapley(game, until=Until(evaluations=2 * game.players))
    assert pair.replicates == 1
    np.testing.assert_allclose(pair.value, exact_shapley(game).value, rtol=0, atol=1e-6 * np.ptp(pair.value))
    plain = sampled_shapley(game, until=Until(evaluations=2 * game.players), antithetic=False)
    assert np.abs(plain.value - pair.value).max() > 1e-3 * np.ptp(pair.value)


def test_sampled_values_of_a_networks_filters_agree_with_the_exact_ones(small: SRResNet, photographs: Pairs) -> None:
    game = RestorationGame(small, filters_of(small, ["body.0.conv1"]), photographs)
    exact = exact_shapley(game).value
    sampled = sampled_shapley(game, until=Until(evaluations=500))
    assert np.all(np.abs(sampled.value - exact) <= 5 * sampled.stderr + 1e-9)
    assert sampled.relative_stderr < 0.05


def test_captums_sampling_agrees(small: SRResNet, photographs: Pairs) -> None:
    game = RestorationGame(small, filters_of(small, ["body.0.conv1"]), next(iter(photographs)))
    everyone = torch.ones(1, game.players)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sampling = ShapleyValueSampling(lambda present: game(present > 0.5))
        outside = sampling.attribute(everyone, n_samples=100, perturbations_per_eval=game.players)
    exact = exact_shapley(game).value
    np.testing.assert_allclose(outside[0].numpy(), exact, atol=0.1 * np.ptp(exact))


def test_a_replicate_depends_on_seed_and_number_only() -> None:
    game = Counting(saturating(6, 0))
    sampled_shapley(game, until=Until(evaluations=2 + 10 * 4), seed=5)
    longer = Counting(saturating(6, 0))
    sampled_shapley(longer, until=Until(evaluations=2 + 10 * 9), seed=5)
    other = Counting(saturating(6, 0))
    sampled_shapley(other, until=Until(evaluations=2 + 10 * 9), seed=6)
    assert [rows.tolist() for rows in game.asked] == [rows.tolist() for rows in longer.asked[:5]]
    assert [rows.tolist() for rows in longer.asked] != [rows.tolist() for rows in other.asked]


def test_evaluations_are_counted_and_never_exceeded() -> None:
    for limit in (30, 57, 100):
        game = Counting(saturating(8, 0))
        values = sampled_shapley(game, until=Until(evaluations=limit))
        assert values.evaluations == sum(map(len, game.asked)) <= limit < values.evaluations + 14
        assert values.ended == "evaluations"


def test_reversed_permutations_are_dropped_where_the_pilot_shows_that_they_lose() -> None:
    until = Until(evaluations=2 + 30 * 126)
    hump, group = (
        sampled_shapley(humped(64, 0, 0.5), until=until, regression=False),
        sampled_shapley(saturating_groups(64, 0), until=until, regression=False),
    )
    assert hump.variance_reduction["antithetic"] < 0.6 and "antithetic" not in hump.used
    assert group.variance_reduction["antithetic"] > 1.5 and "antithetic" in group.used
    for game, values in ((humped(64, 0, 0.5), hump), (saturating_groups(64, 0), group)):
        assert values.variance_reduction["control_variates"] > 1.2 and "control_variates" in values.used
        assert np.abs(values.value.sum() - total(game)) < 1e-9
        assert (np.abs(values.value - game.shapley) < 5 * values.stderr).all()


def test_control_variates_lower_the_true_error() -> None:
    game, errors = saturating_groups(24, 1), {}
    for replicates in (23, 24):  # the regression is tried from 24 on
        values = [
            sampled_shapley(game, until=Until(evaluations=2 + replicates * 46), seed=seed, regression=False)
            for seed in range(20)
        ]
        errors[replicates] = np.mean([(v.value - game.shapley) ** 2 for v in values])
    assert errors[24] < 0.8 * errors[23]


@dataclass(frozen=True)
class Mean:
    """The mean of two games, which says so."""

    parts: tuple[FormulaGame, FormulaGame]
    players: int = 16

    def __call__(self, coalitions: torch.Tensor) -> torch.Tensor:
        return torch.stack([part(coalitions) for part in self.parts]).mean(0)


def test_parts_have_their_own_permutations_and_their_spread_is_not_part_of_the_error() -> None:
    first, second = saturating_groups(16, 0), saturating_groups(16, 1)
    game = Mean((first, second))
    values = sampled_shapley(game, until=Until(evaluations=2 + 200 * 30))
    expected = (first.shapley + second.shapley) / 2
    assert (np.abs(values.value - expected) < 5 * values.stderr).all()
    spread = np.abs(first.shapley - second.shapley) / 2**0.5
    assert np.abs(values.between - spread).max() < 0.05 * spread.max()
    assert values.frame()["between_images"].tolist() == values.between.tolist()
    alone = sampled_shapley(first, until=Until(evaluations=2 + 20 * 30))
    assert np.isnan(alone.between).all()
    same = sampled_shapley(Mean((first, first)), until=Until(evaluations=2 + 200 * 30))
    assert np.median(same.between) < 0.02 * np.ptp(first.shapley)


def test_owen_values_are_the_mean_over_permutations_that_keep_unions_together() -> None:
    game, unions = cubic(6, 0), [[0, 3], [1, 2, 5], [4]]
    values = sampled_shapley(game, until=Until(evaluations=5_000), unions=unions)
    expected, count = np.zeros(6), 0
    for permutation in permutations(range(6)):
        places = [[permutation.index(player) for player in union] for union in unions]
        if all(max(place) - min(place) == len(place) - 1 for place in places):
            worth = game(torch.tril(torch.ones(6, 6, dtype=torch.bool))[:, np.argsort(permutation)]).numpy()
            expected[list(permutation)] += np.diff(worth, prepend=game(torch.zeros(1, 6, dtype=torch.bool)).item())
            count += 1
    assert count == 6 * 2 * 6
    assert (np.abs(values.value - expected / count) < 5 * values.stderr + 1e-9).all()
    assert np.abs(expected / count - game.shapley).max() > 10 * values.stderr.max()
    quotient = exact_shapley(Grouped(game, unions)).value
    np.testing.assert_allclose([expected[union].sum() / count for union in unions], quotient, atol=1e-9)
    with pytest.raises(InputError, match="each is in exactly one of them"):
        sampled_shapley(game, until=Until(evaluations=100), unions=[[0, 1], [1, 2, 3, 4, 5]])


def test_the_root_mean_square_error_can_end_the_sampling() -> None:
    values = sampled_shapley(cubic(20, 0), until=Until(rms_tolerance=0.01, seconds=60.0))
    assert values.ended == "rms tolerance" and values.relative_rms <= 0.01 < values.relative_stderr


def test_dummies_are_worth_exactly_nothing_and_never_sampled() -> None:
    game = Counting(unanimity(8, [0, 3]), dummies=[False, True, True, *5 * [False]])
    values = sampled_shapley(game, until=Until(evaluations=2000))
    assert values.value[1] == values.value[2] == values.stderr[1] == values.stderr[2] == 0
    assert torch.cat(game.asked)[:, 1:3].all()
    np.testing.assert_allclose(values.value[[0, 3]], 0.5, atol=0.1)
    assert len(game.asked[1]) == 2 * (6 - 1)


@pytest.mark.parametrize("alive", [0, 1])
def test_a_game_of_dummies_needs_no_sampling(alive: int) -> None:
    game = Counting(additive([2.0 * alive, 0.0, 0.0]), dummies=[not alive, True, True])
    values = sampled_shapley(game, until=Until(tolerance=0.1))
    assert values.value.tolist() == [2.0 * alive, 0, 0] and values.ended == "exact" and values.relative_stderr == 0


@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_few_players_are_enumerated_so_that_no_error_bar_is_zero_by_luck(players: int) -> None:
    game = saturating(players, 0)
    values = sampled_shapley(game, until=Until(tolerance=0.5))
    np.testing.assert_allclose(values.value, over_all_permutations(game), atol=1e-12)
    assert values.ended == "exact" and values.evaluations == 2**players


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="a seed is a whole number from 0 on, not -1"):
        sampled_shapley(saturating(8, 0), until=Until(tolerance=0.1), seed=-1)


def test_sampling_ends_when_the_tolerance_is_reached() -> None:
    values = sampled_shapley(saturating(10, 0), until=Until(tolerance=0.01))
    assert values.ended == "tolerance" and 0 < values.relative_stderr <= 0.01
    finer = sampled_shapley(saturating(10, 0), until=Until(tolerance=0.002))
    assert finer.replicates > 2 * values.replicates


def slow(coalitions: torch.Tensor) -> torch.Tensor:
    sleep(0.1)
    return saturating(10, 0)(coalitions)


@dataclass(frozen=True)
class Slow:
    """A game whose worth takes a tenth of a second, on each of its parts."""

    parts: list[FormulaGame]
    players: int = 10

    def __call__(self, coalitions: torch.Tensor) -> torch.Tensor:
        return self.parts[0](coalitions)


@pytest.mark.parametrize(("parts", "seconds", "replicates"), [(1, 0.55, {4, 5, 6}), (4, 0.55, {1})])
def test_seconds_end_the_sampling_within_a_replicate(parts: int, seconds: float, replicates: set[int]) -> None:
    game = Slow([FormulaGame(10, slow)] * parts)
    start = monotonic()
    values = sampled_shapley(game, until=Until(seconds=seconds))
    assert monotonic() - start < seconds + 0.1 * (parts + 2)
    assert values.ended == "seconds" and values.replicates in replicates
    assert np.isinf(values.stderr).all() == (values.replicates == 1)


def test_seconds_that_end_before_the_first_replicate_are_refused() -> None:
    with pytest.raises(InputError, match=r"0.15 seconds end before the first replicate \(18 evaluations\)"):
        sampled_shapley(Slow([FormulaGame(10, slow)] * 4), until=Until(seconds=0.15))


def test_a_tolerance_takes_a_dozen_replicates_and_two_looks() -> None:
    values = sampled_shapley(saturating(10, 0), until=Until(tolerance=10.0))
    assert values.ended == "tolerance" and values.replicates == 12
    errors, rare = Errors(0.01, 0.01), Errors(0.5, 0.5)
    until = Until(tolerance=0.02)
    assert until.reached(Effort(12, 100, 0.0, errors=errors, before=errors), 1) == "tolerance"
    assert until.reached(Effort(11, 100, 0.0, errors=errors, before=errors), 1) is None
    assert until.reached(Effort(12, 100, 0.0, errors=errors, before=rare), 1) is None


def test_a_triple_that_replicates_miss_is_not_solved_by_their_agreement() -> None:
    """With these seeds, a player of the three is never the middle one, so that all replicates agree, and are wrong."""
    game = cubic(20, 3, triples=1)
    for seed in (12, 18, 30, 44):
        values = sampled_shapley(game, until=Until(tolerance=0.02), seed=seed)
        assert values.replicates >= 12
        wrong = np.abs(values.value - game.shapley) > 1e-9
        assert (values.stderr[wrong] > 0.05 * np.abs(values.value - game.shapley)[wrong]).all()


@pytest.mark.parametrize(("needed", "replicates"), [(8, 12), (10, 18)])
def test_no_error_is_zero_by_luck(needed: int, replicates: int) -> None:
    """Of 12 players, `needed` must be there: one of them that was never the last would have had an error of 0."""
    known = np.repeat([1 / needed, 0.0], [needed, 12 - needed])
    agreed, honest = 0, []
    for seed in range(50):
        game = unanimity(12, list(range(needed)))
        values = sampled_shapley(game, until=Until(evaluations=2 + replicates * 22), seed=seed, regression=False)
        agreed += (values.value[:needed] == 0).any()
        assert (values.stderr > 0).all()
        assert set(values.flags[needed:]) == {"agreed"}
        low, high = values.interval()
        flagged = [flag != "" for flag in values.flags]
        honest.append(((low <= known) & (known <= high) | flagged)[:needed].mean())
    assert agreed > 5 and np.mean(honest) > 0.93


def test_a_few_replicates_that_agree_have_the_error_of_the_rule_of_three() -> None:
    values = sampled_shapley(quadratic(20, 0), until=Until(evaluations=2 + 4 * 38))
    half = stats.t(3).ppf(0.975) * values.stderr
    np.testing.assert_allclose(half, 0.75 * np.abs(values.value).max())
    eight = sampled_shapley(quadratic(20, 0), until=Until(evaluations=2 + 40 + 8 * 38))
    assert eight.replicates == 8 and eight.evaluations == 2 + 40 + 8 * 38 and eight.stderr.max() < 1e-9


def test_heavy_tails_are_flagged_and_widen_the_intervals() -> None:
    rng = np.random.default_rng(0)
    normal, skewed = rng.normal(size=(200, 24, 30)), np.exp(1.5 * rng.normal(size=(200, 24, 30)))
    assert np.mean([heavy_tails(run) for run in normal]) < 0.01
    assert np.mean([heavy_tails(run) for run in skewed]) > 0.95
    single = np.concatenate([normal[0][:, :29], np.eye(24)[:, :1]], 1)
    assert heavy_tails(single).tolist() == [False] * 29 + [True]
    assert np.median([mean_of(run).freedom for run in normal]) > 21 > 8 > mean_of(skewed[0]).freedom
    values = sampled_shapley(
        unanimity(12, list(range(10))), until=Until(evaluations=2 + 24 + 12 * 22), regression=False
    )
    assert set(values.flags[:10]) <= {"heavy tails", "agreed"}
    assert values.frame()["flag"].tolist() == list(values.flags)


@pytest.mark.parametrize("players", [16, 64])
def test_ordinary_games_are_rarely_flagged(players: int) -> None:
    for game in (cubic(players, 0), saturating_groups(players, 0)):
        runs = [sampled_shapley(game, until=Until(evaluations=2 + 12 * 2 * (players - 1)), seed=s) for s in range(10)]
        assert np.mean([run.frame()["flag"] == "heavy tails" for run in runs]) < 0.03


def test_an_interruption_keeps_what_was_measured() -> None:
    game = Counting(saturating(6, 0))

    def interrupted(coalitions: torch.Tensor) -> torch.Tensor:
        if len(game.asked) == 5:
            raise KeyboardInterrupt
        return Counting.__call__(game, coalitions)

    class Interrupted(Counting):
        __call__ = staticmethod(interrupted)

    values = sampled_shapley(Interrupted(saturating(6, 0)), until=Until(evaluations=10**6))
    expected = sampled_shapley(saturating(6, 0), until=Until(evaluations=2 + 10 * 4))
    assert values.ended == "interrupted" and values.replicates == 4
    np.testing.assert_array_equal(values.value, expected.value)


def test_an_interruption_of_the_estimate_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    estimate, looks = Regression.estimate, []

    def interrupted(self: Regression, replicates: np.ndarray) -> ActiveValues:
        looks.append(len(replicates))
        if len(looks) == 2:
            raise KeyboardInterrupt
        return estimate(self, replicates)

    monkeypatch.setattr(Regression, "estimate", interrupted)
    values = sampled_shapley(saturating(12, 0), until=Until(tolerance=1e-9))
    assert values.ended == "interrupted" and values.replicates == looks[1] and np.isfinite(values.stderr).all()


def test_intervals_are_students_t_over_replicates() -> None:
    values = ShapleyValues(
        np.array([1.0, 2.0]), np.array([0.1, 0.0]), 5, empty=0.0, grand=3.0, evaluations=50, ended="seconds"
    )
    low, high = values.interval(0.9)
    assert high[0] - 1 == pytest.approx(0.1 * stats.t(4).ppf(0.95)) and low[1] == high[1] == 2
    assert values.relative_stderr == pytest.approx(0.1) and values.relative_rms == pytest.approx(0.1 / 2**0.5)
    assert values.frame()["rank"].tolist() == [2, 1]


def test_intervals_cover_the_exact_values_about_as_often_as_they_say() -> None:
    game = saturating(6, 3)
    exact = exact_shapley(game).value
    covered = []
    for seed in range(200):
        low, high = sampled_shapley(game, until=Until(evaluations=2 + 10 * 8), seed=seed).interval(0.95)
        covered.append((low <= exact) & (exact <= high))
    assert 0.92 < np.mean(covered) < 0.98


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({}, "would never end"),
        ({"tolerance": 0.0}, "limits are positive"),
        ({"tolerance": float("inf")}, "limit of inf can never"),
        ({"tolerance": 0.1, "seconds": float("nan")}, "limit of nan can never"),
        ({"seconds": -1.0, "evaluations": 5}, "limit of -1.0 can never"),
    ],
)
def test_impossible_limits_are_refused(limits: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Until(**limits)


def test_too_few_evaluations_are_refused() -> None:
    with pytest.raises(InputError, match=r"10 evaluations are fewer than one replicate takes \(16\)"):
        sampled_shapley(saturating(8, 0), until=Until(evaluations=10))


@dataclass(frozen=True)
class Rounded:
    """A game with a low-precision game."""

    fine: Counting
    coarse: Counting

    @property
    def players(self) -> int:
        return self.fine.players

    @property
    def low_precision(self) -> Counting:
        return self.coarse

    def __call__(self, coalitions: torch.Tensor) -> torch.Tensor:
        return self.fine(coalitions)


def rounded(players: int, off: float) -> tuple[Rounded, np.ndarray]:
    """A game, and its values; `off` scales the bias and the noise of its low-precision game."""
    solved = saturating_groups(players, 0)
    bias = torch.linspace(-1, 1, players).double()
    digits = torch.rand(players, generator=torch.Generator().manual_seed(1)).double() * 1e4

    def low_precision(presences: torch.Tensor) -> torch.Tensor:
        return solved.worth(presences) + off * (presences @ bias + torch.sin(presences @ digits))

    return Rounded(Counting(solved), Counting(FormulaGame(players, low_precision))), solved.shapley


def test_a_low_precision_game_that_rounds_little_is_used_and_corrected() -> None:
    """The replicates that evaluate both games remove the bias of the low-precision one; intervals cover."""
    runs, covered = 15, 0.0
    for seed in range(runs):
        game, known = rounded(12, off=0.01)
        values = sampled_shapley(game, until=Until(tolerance=None, evaluations=80 * 22), seed=seed)
        assert "low_precision" in values.used and values.variance_reduction["low_precision"] > 1 / NEGLIGIBLE
        low, high = values.interval()
        covered += ((low <= known) & (known <= high)).mean() / runs
        assert abs(values.value.sum() - (values.grand - values.empty)) < 1e-9
    assert 0.92 < covered < 0.98
    evaluated = [sum(len(asked) for asked in game.asked) for game in (game.fine, game.coarse)]
    assert evaluated[0] < 0.3 * evaluated[1]  # the pilot, and about one replicate in 16


def test_a_low_precision_game_that_rounds_much_is_not_used() -> None:
    game, _ = rounded(16, off=0.2)
    until = Until(tolerance=None, evaluations=40 * 30)
    values, alone = (
        sampled_shapley(game, until=until, regression=False),
        sampled_shapley(game.fine, until=until, regression=False),
    )
    assert "low_precision" not in values.used and values.variance_reduction["low_precision"] < 1 / NEGLIGIBLE
    assert (values.value == alone.value).all() and (values.stderr == alone.stderr).all()
    assert sum(len(asked) for asked in game.coarse.asked) == 2 + 8 * 30  # nobody and everybody, and the pilot


@pytest.mark.parametrize("antithetic", [True, False])
def test_both_kinds_of_permutations_use_low_precision(antithetic: bool) -> None:
    game, known = rounded(16, off=0.01)
    values = sampled_shapley(game, until=Until(tolerance=None, evaluations=400 * 30), antithetic=antithetic)
    assert "low_precision" in values.used and ("antithetic" in values.used) == antithetic
    assert (np.abs(values.value - known) < 4 * values.stderr).all()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_low_precision_game_without_usable_worths_is_not_used() -> None:
    """It has no number for some coalitions, or other players, or only some parts have one."""
    game, _ = rounded(12, off=0.01)
    until = Until(tolerance=None, evaluations=20 * 22)
    alone = sampled_shapley(game.fine, until=until, regression=False)
    broken = FormulaGame(12, lambda presences: game.fine.game.worth(presences) / (presences[:, 0] * presences[:, 1]))
    for odd in (broken, FormulaGame(11, broken.worth)):
        values = sampled_shapley(Rounded(game.fine, Counting(odd)), until=until, regression=False)
        assert "low_precision" not in values.used and (values.value == alone.value).all()
    parts = Parts([game, Rounded(game.fine, None)])
    assert "low_precision" not in sampled_shapley(parts, until=until, regression=False).used


def test_what_is_rounded_off_is_no_difference_between_parts() -> None:
    """Two parts are the same game, and their low-precision games are off by as much, one up and one down."""
    solved = saturating_groups(12, 0)
    tilt = 0.2 * torch.linspace(-1, 1, 12).double()
    low_precision = [FormulaGame(12, lambda p, sign=sign: solved.worth(p) + sign * (p @ tilt)) for sign in (-1, 1)]
    parts = [Rounded(solved, off) for off in low_precision]
    until = Until(tolerance=None, evaluations=50 * 22)
    values, fine = (sampled_shapley(Parts(each), until=until, regression=False) for each in (parts, [solved, solved]))
    assert "low_precision" in values.used and "low_precision" not in fine.used
    assert np.abs(values.between - fine.between).max() < 1e-9


@dataclass(frozen=True)
class Parts:
    """The mean of games."""

    parts: list[FormulaGame | Rounded]
    players: int = 12

    def __call__(self, coalitions: torch.Tensor) -> torch.Tensor:
        return torch.stack([part(coalitions) for part in self.parts]).mean(0)


def test_rounding_in_step_with_contributions_widens_the_errors() -> None:
    """The low-precision game has 19/20 of all synergies, so rounding is large where contributions are."""
    solved = saturating_groups(12, 0)
    linear = torch.from_numpy(solved.shapley)
    low_precision = FormulaGame(12, lambda presences: 0.95 * solved.worth(presences) + 0.05 * (presences @ linear))
    found = [
        sampled_shapley(Rounded(solved, low_precision), until=Until(tolerance=None, evaluations=16 * 22), seed=seed)
        for seed in range(80)
    ]
    assert sum("low_precision" in values.used for values in found) > 30
    errors, stated = (
        np.stack(each) for each in zip(*((v.value - solved.shapley, v.stderr) for v in found), strict=True)
    )
    assert 0.93 < math.sqrt((errors**2).mean() / (stated**2).mean()) < 1.07
