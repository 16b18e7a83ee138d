"""Exact Shapley values of quadratic games, and games that are nearly quadratic and must be told apart."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from games import (
    Counting,
    FormulaGame,
    cubic,
    present_without,
    quadratic,
    saturating_groups,
    unanimity,
    voting,
)

from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.filters import erased, filters_of
from srgame.networks import SRResNet
from srgame.shapley.exact import PAIRS, exact_shapley
from srgame.shapley.restoration import RestorationGame


@pytest.mark.parametrize("players", [11, 12, 64])
def test_a_quadratic_game_of_any_number_of_players_is_solved_exactly(players: int) -> None:
    game = quadratic(players, 0)
    exact = exact_shapley(game)
    np.testing.assert_allclose(exact.value, game.shapley, rtol=0, atol=1e-10)
    assert exact.evaluations == (2**players if players <= 12 else 2 + 2 * players + 2 * PAIRS)
    assert exact.ended == "exact" and exact.relative_stderr == 0


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("excess", [1e-4, 1.0])
def test_a_single_small_synergy_of_three_among_64_players_is_noticed(seed: int, excess: float) -> None:
    base = quadratic(64, seed)
    triple = torch.randperm(64, generator=torch.Generator().manual_seed(seed))[:3]
    worth = excess * np.abs(base.shapley).max()
    with pytest.raises(InputError, match=r"64 players have .* and the game is not quadratic"):
        exact_shapley(FormulaGame(64, lambda p: base.worth(p) + worth * p[:, triple].prod(1)))


@pytest.mark.parametrize("large", [1e6, 1e9])
def test_a_large_player_does_not_hide_a_synergy_of_small_ones(large: float) -> None:
    def worth(p: torch.Tensor) -> torch.Tensor:
        return large * p[:, 0] + 5 * p[:, 1] * p[:, 2] * p[:, 3]

    with pytest.raises(InputError, match=r"30 players have .* not quadratic"):
        exact_shapley(FormulaGame(30, worth))
    expected = [large, 5 / 3, 5 / 3, 5 / 3, *[0] * 9]
    np.testing.assert_allclose(exact_shapley(FormulaGame(13, worth)).value, expected, rtol=0, atol=1e-14 * large)


def test_a_large_player_does_not_hide_a_threshold() -> None:
    weights = torch.randn(14, generator=torch.Generator().manual_seed(0)).double()
    small = FormulaGame(14, lambda p: (p[:, 1:] @ weights[1:]).relu())
    game = FormulaGame(14, lambda p: 3e5 * p[:, 0] + small.worth(p))
    expected = exact_shapley(FormulaGame(13, lambda p: (p @ weights[1:]).relu()))
    assert expected.evaluations == exact_shapley(small).evaluations / 2 == 2**13
    np.testing.assert_allclose(exact_shapley(game).value, [3e5, *expected.value], rtol=0, atol=1e-9)
    with pytest.raises(InputError, match=r"30 players have .* not quadratic"):
        exact_shapley(FormulaGame(30, lambda p: game.worth(p[:, :14])))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_who_is_there_without_others_is_noticed(size: int) -> None:
    for seed in range(20):
        with pytest.raises(InputError, match=r"24 players have .* not quadratic"):
            exact_shapley(present_without(24, seed, size, size))


def test_float32_rounding_is_no_synergy() -> None:
    """A game that says that it rounds is taken for quadratic in spite of it; one that does not is not."""
    base = quadratic(40, 0)
    rough = FormulaGame(40, lambda p: base.worth(p).float().double())
    with pytest.raises(InputError, match="not quadratic"):
        exact_shapley(rough)
    values = exact_shapley(Rounding(rough)).value
    np.testing.assert_allclose(values, base.shapley, rtol=0, atol=1e-4)


@dataclass(frozen=True)
class Rounding:
    """A game that says that it rounds as float32 does."""

    game: FormulaGame
    rounding: float = 2.0**-23

    @property
    def players(self) -> int:
        return self.game.players

    def __call__(self, coalitions: torch.Tensor) -> torch.Tensor:
        return self.game(coalitions)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_worth_that_is_no_number_is_not_taken_for_quadratic() -> None:
    with pytest.raises(InputError, match="not quadratic"):
        exact_shapley(FormulaGame(30, lambda p: p.sum(1) / (1 - p[:, 0] * (1 - p[:, 1]))))


RARE = {  # games in which nearly all orders agree, and in which small coalitions say nothing of large ones
    "apex": (voting([40] + [1] * 41, quota=41), 42),
    "near dictator": (voting([1e6] + [1] * 29, quota=1e6 + 1), 30),
    "unanimity of three": (unanimity(40, [2, 17, 33]), 40),
    "cubic": (cubic(30, 0, triples=1), 30),
    "saturating": (saturating_groups(40, 0), 40),
}


@pytest.mark.parametrize("name", RARE)
def test_games_that_are_not_quadratic_are_told_apart(name: str) -> None:
    game, players = RARE[name]
    with pytest.raises(InputError, match=f"{players} players have .* is not quadratic .* sample instead"):
        exact_shapley(game)


def test_a_game_that_is_not_quadratic_is_played_out_up_to_20_players() -> None:
    game = saturating_groups(13, 0, size=5)
    exact = exact_shapley(game)
    np.testing.assert_allclose(exact.value, game.shapley, rtol=0, atol=1e-10)
    assert exact.evaluations == 2**13


def test_dummies_are_left_out_of_a_quadratic_game() -> None:
    base = quadratic(30, 0)
    game = Counting(FormulaGame(33, lambda p: base.worth(p[:, 3:])), dummies=[True] * 3 + [False] * 30)
    exact = exact_shapley(game)
    np.testing.assert_allclose(exact.value, [0, 0, 0, *base.shapley], rtol=0, atol=1e-10)
    assert torch.cat(game.asked)[:, :3].all() and exact.evaluations == sum(map(len, game.asked))


@pytest.fixture(scope="module")
def network() -> SRResNet:
    """A random network of 24 filters in each layer."""
    network = SRResNet(features=24, blocks=1).eval()
    rng = torch.Generator().manual_seed(0)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.1, generator=rng)
    return network


@pytest.mark.parametrize("ablation", ["zero", "mean", "noise", "donor"])
def test_minus_mse_of_24_filters_in_front_of_a_linear_tail_is_solved_as_the_gram_matrix_says(
    network: SRResNet, ablation: str
) -> None:
    pairs = load_pairs("photographs", degradation="b+j", images=2, crop=16)
    game = RestorationGame(network, filters_of(network, ["conv_hr"]), pairs, "-mse", ablation)
    exact = exact_shapley(game)
    assert exact.evaluations == 2 + 2 * 24 + 2 * PAIRS and np.abs(exact.value).max() > 1e-6
    np.testing.assert_allclose(exact.value, gram_shapley(network, game), rtol=0, atol=1e-5 * np.abs(exact.value).max())


def test_minus_mse_of_a_layer_further_in_is_not_taken_for_quadratic(network: SRResNet) -> None:
    pairs = load_pairs("photographs", images=1, crop=16)
    with pytest.raises(InputError, match=r"24 players have .* not quadratic"):
        exact_shapley(RestorationGame(network, filters_of(network, ["body.0.conv1"]), pairs, "-mse"))


def gram_shapley(network: SRResNet, game: RestorationGame) -> np.ndarray:
    """The closed form, from whole runs: with SR(S) = base + Σ cᵢ, φᵢ = (2⟨cᵢ, HR − base⟩ − Σⱼ⟨cᵢ, cⱼ⟩) / pixels."""
    n, values = game.players, []
    rows = torch.cat([torch.zeros(1, n, dtype=torch.bool), torch.eye(n, dtype=torch.bool)])
    for lr, hr in zip(game.pairs.lr, game.pairs.hr, strict=True):
        with torch.inference_mode(), erased(network, game.filters, rows, game.images.ablation):
            base, *alone = network(lr.expand(len(rows), *lr.shape)).double().flatten(1).numpy()
        contributions = np.stack(alone) - base
        missing = hr.double().flatten().numpy() - base
        values.append((2 * contributions @ missing - (contributions @ contributions.T).sum(1)) / hr.numel())
    return np.mean(values, axis=0)
