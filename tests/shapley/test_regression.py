"""Shapley values by regression on random coalitions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from games import (
    Counting,
    FormulaGame,
    airport,
    cubic,
    glove,
    humped,
    quadratic,
    saturating,
    saturating_groups,
    unanimity,
)

from srgame import Until, exact_shapley, sampled_shapley
from srgame.errors import InputError
from srgame.report.tables import shapley_table
from srgame.shapley.regression import LARGEST, drawn_coalitions, features_of, shapley_of_features
from srgame.shapley.store import Store


def replicates(game: FormulaGame, count: int) -> Until:
    return Until(evaluations=2 + count * 2 * (game.players - 1))


def test_a_coalition_of_each_size_is_drawn_and_each_player_equally_often() -> None:
    drawn = np.stack([drawn_coalitions(key, 7) for key in range(3000)])
    assert (drawn.sum(2) == np.arange(1, 7)).all()
    np.testing.assert_allclose(drawn.mean(0), np.repeat(np.arange(1, 7)[:, None] / 7, 7, axis=1), atol=0.04)
    assert (drawn_coalitions(5, 7) == drawn_coalitions(5, 7)).all()


def test_the_shapley_values_of_features_are_those_of_their_games() -> None:
    players = 5
    known = shapley_of_features(players)
    for feature in range(2 * players + 1):

        def worth(presences: torch.Tensor, feature: int = feature) -> torch.Tensor:
            x = 2 * presences - 1
            z = x.mean(1, keepdim=True)
            return torch.cat([x, x * z**2, z**3], 1)[:, feature]

        np.testing.assert_allclose(exact_shapley(FormulaGame(players, worth)).value, known[:, feature], atol=1e-12)
        coalitions = drawn_coalitions(0, players)
        np.testing.assert_allclose(
            worth(torch.from_numpy(coalitions).double()), features_of(coalitions[None])[0, :, feature]
        )


@pytest.mark.parametrize("game", [saturating(8, 0), unanimity(9, [0, 1, 2, 3]), airport([1.0, 2, 3, 4, 5, 6, 7])])
def test_the_mean_of_many_runs_approaches_the_exact_values(game: FormulaGame) -> None:
    runs = [sampled_shapley(game, until=replicates(game, 8), seed=seed) for seed in range(50)]
    values = np.array([run.value for run in runs])
    assert all(run.used == ("regression",) for run in runs)
    error, stderr = values.mean(0) - exact_shapley(game).value, values.std(0, ddof=1) / 50**0.5
    assert (np.abs(error) < 4.5 * stderr + 1e-12).all()


@pytest.mark.parametrize("game", [cubic(16, 0), saturating_groups(16, 0), glove(5, 7), saturating(12, 0)])
def test_the_error_is_smaller_than_that_of_permutations(game: FormulaGame) -> None:
    known, errors = exact_shapley(game).value, {}
    for regression in (True, False):
        runs = [sampled_shapley(game, until=replicates(game, 16), seed=s, regression=regression) for s in range(12)]
        errors[regression] = np.mean([(run.value - known) ** 2 for run in runs])
    assert errors[True] < 0.6 * errors[False]


@pytest.mark.parametrize("count", [12, 24])
def test_intervals_cover_the_exact_values_about_as_often_as_they_say(count: int) -> None:
    covered = []
    for game in (saturating(6, 0), saturating(16, 0), glove(5, 7), cubic(12, 0), humped(12, 0, 0.5)):
        known = exact_shapley(game).value
        for seed in range(25):
            low, high = sampled_shapley(game, until=replicates(game, count), seed=seed).interval()
            covered.append(np.mean((low <= known) & (known <= high)))
    assert 0.93 < np.mean(covered) < 0.975


def test_few_replicates_leave_no_degrees_of_freedom_and_so_no_error() -> None:
    game = saturating(12, 0)
    values = [sampled_shapley(game, until=replicates(game, count), regression=True) for count in (1, 2, 3)]
    assert np.isinf([run.stderr for run in values[:2]]).all() and np.isfinite(values[2].stderr).all()
    assert ["no error yet" in repr(run) for run in values] == [True, True, False]
    frame = values[1].frame().assign(layer="conv", filter=range(12), replicates=2, evaluations=46, ended="seconds")
    rest = {"empty": 0.0, "grand": 1.0, "relative_stderr": np.inf, "used": "regression"}
    rest |= {f"{name}_reduction": np.nan for name in ("antithetic", "control_variates")}
    printed = shapley_table(frame.assign(**rest), "dB", 0.95)
    assert "2 replicates: no error yet; allow more seconds" in printed and "inf" not in printed.partition("interval")[0]


def test_a_quadratic_game_is_solved_and_confirmed() -> None:
    game = quadratic(20, 0)
    values = sampled_shapley(game, until=Until(tolerance=0.01))
    np.testing.assert_allclose(values.value, game.shapley, atol=1e-9)
    assert set(values.flags or ()) == {"agreed"} and values.stderr.max() < 1e-9


def test_values_add_up_and_dummies_are_never_sampled() -> None:
    game = Counting(unanimity(9, [0, 3]), dummies=[False, True, True, *6 * [False]])
    values = sampled_shapley(game, until=Until(evaluations=2 + 10 * 12))
    assert values.used == ("regression",) and values.value[1] == values.value[2] == 0
    assert torch.cat(game.asked)[:, 1:3].all()
    assert values.value.sum() == pytest.approx(1, abs=1e-9)


def test_permutations_are_drawn_where_regression_does_not_pay() -> None:
    game = saturating(12, 0)
    assert "regression" not in sampled_shapley(game, until=replicates(game, 3)).used
    assert "regression" in sampled_shapley(game, until=replicates(game, 4)).used
    many = FormulaGame(LARGEST + 1, lambda presences: presences.sum(1) ** 2)
    assert "regression" not in sampled_shapley(many, until=replicates(many, 4)).used
    for options in ({"antithetic": True}, {"unions": [[0, 1], list(range(2, 12))]}):
        with pytest.raises(InputError, match="ask for either"):
            sampled_shapley(game, until=replicates(game, 4), regression=True, **options)
    with pytest.raises(InputError, match="at most 256 players, not 257"):
        sampled_shapley(many, until=replicates(many, 4), regression=True)


def test_a_stored_run_goes_on_with_the_same_bits_even_after_a_short_one(tmp_path: Path) -> None:
    game, store = saturating(12, 0), Store(tmp_path)
    short = sampled_shapley(game, until=replicates(game, 2), store=store)
    some = sampled_shapley(game, until=replicates(game, 6), store=store)
    counted = Counting(game)
    more = sampled_shapley(counted, until=replicates(game, 9), store=store)
    fresh = sampled_shapley(game, until=replicates(game, 9))
    assert (short.replicates, some.replicates, more.replicates) == (2, 6, 9)
    np.testing.assert_array_equal(more.value, fresh.value)
    assert sum(map(len, counted.asked)) < more.evaluations - 6 * 22 + 1
