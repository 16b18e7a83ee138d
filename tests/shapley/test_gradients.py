"""Values from gradients and their corrections, against games that are solved and the definition."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from games import FormulaGame, cubic, quadratic, saturating, saturating_groups
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import erased, filters_of
from srgame.networks import SRResNet
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import Differentiable
from srgame.shapley.gradients import NODES, PAIRS, PILOT, multilevel_shapley, replicate_cost
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until

ONE_REPLICATE = Until(evaluations=2000)


@dataclass(frozen=True)
class Smooth:
    """A game with a gradient, by autograd."""

    game: FormulaGame

    @property
    def players(self) -> int:
        return self.game.players

    def __call__(self, coalitions: Tensor) -> Tensor:
        return self.game(coalitions)

    def gradient(self, presences: Tensor) -> Tensor:
        rows = presences.double().requires_grad_()
        (slope,) = torch.autograd.grad(self.game.worth(rows).sum(), rows)
        return slope


@dataclass(frozen=True)
class Watched(Smooth):
    """A game that records the coalitions and presences that it is asked about."""

    coalitions: list[Tensor] = field(default_factory=list)
    presences: list[Tensor] = field(default_factory=list)

    def __call__(self, coalitions: Tensor) -> Tensor:
        self.coalitions.append(coalitions)
        return super().__call__(coalitions)

    def gradient(self, presences: Tensor) -> Tensor:
        self.presences.append(presences)
        return super().gradient(presences)

    def corrected(self) -> list[Tensor]:
        """The players whose contributions were evaluated, for each coalition and each complement."""
        asked = [rows for rows in self.coalitions if len(rows) > 2]  # without the empty and the grand coalition
        return [(rows[1:] ^ rows[0]).nonzero()[:, 1] for rows in asked]


def test_one_replicate_solves_a_quadratic_game_of_any_size() -> None:
    game = quadratic(200, 0)
    found = multilevel_shapley(Smooth(game), until=ONE_REPLICATE)
    np.testing.assert_allclose(found.value, game.shapley, rtol=1e-6, atol=1e-5)
    assert found.replicates == 1


@pytest.mark.parametrize("game", [cubic(40, 1), saturating_groups(40, 2, groups=10)])
def test_the_mean_of_many_replicates_approaches_the_values(game: FormulaGame) -> None:
    found = multilevel_shapley(Smooth(game), until=Until(evaluations=30_000), seed=1)
    assert np.abs((found.value - game.shapley) / found.stderr).max() < 4.5
    assert found.relative_stderr < 0.02


def test_gradients_that_tell_nothing_are_corrected() -> None:
    """What a step is worth has gradient 0 everywhere but the value of a vote."""
    steps = FormulaGame(9, lambda p: (p.sum(1) >= 4.5).double() + 0 * p.sum(1))
    found = multilevel_shapley(Smooth(steps), until=Until(evaluations=80_000))
    assert np.abs(found.value - 1 / 9).max() < 4.5 * found.stderr.max() < 0.12


def test_permutations_take_over_where_gradients_mislead() -> None:
    """A steep sigmoid: the worth is flat in most coalitions, and the slope says nothing of the step."""
    weights = torch.rand(16, generator=torch.Generator().manual_seed(0)).double()
    steep = FormulaGame(16, lambda p: torch.sigmoid(60 * (p @ weights - weights.sum() / 2)))
    until = Until(evaluations=40_000)
    found, permutations = multilevel_shapley(Smooth(steep), until=until), sampled_shapley(steep, until=until)
    assert found.variance_reduction["gradients"] < 1 and "gradients" not in found.used
    assert found.evaluations <= 40_000 and found.replicates > 0.6 * permutations.replicates
    np.testing.assert_allclose(found.value, exact_shapley(steep).value, rtol=0, atol=5 * found.stderr.max())
    few = multilevel_shapley(Smooth(steep), until=Until(evaluations=100 + 8 * replicate_cost(16)))
    assert few.used == ("gradients",) and few.replicates == 8  # too little is left for permutations


@given(seed=st.integers(0, 2**32), players=st.integers(2, 30))
@settings(max_examples=12)
def test_values_add_up(seed: int, players: int) -> None:
    game = saturating(players, 3)
    found = multilevel_shapley(Smooth(game), until=ONE_REPLICATE, seed=seed)
    assert found.value.sum() == pytest.approx(found.grand - found.empty)


def test_gradients_pay_where_many_play() -> None:
    found = multilevel_shapley(Smooth(cubic(900, 1, triples=900)), until=Until(evaluations=16_000))
    assert found.replicates >= PILOT and found.variance_reduction["gradients"] > 2


def test_work_goes_where_the_variance_is() -> None:
    """Where gradients say nothing, one pair of coalitions is enough, in which everybody is corrected."""
    weights = torch.rand(300, generator=torch.Generator().manual_seed(0)).double()
    smooth, steps = (
        Watched(FormulaGame(300, worth)) for worth in (lambda p: (p @ weights) ** 3, lambda p: (p @ weights).floor())
    )
    of_a_pair = 2 * len(NODES)  # gradients, of the coalition and its complement
    for game in (smooth, steps):
        multilevel_shapley(game, until=Until(evaluations=2 + (PILOT + 1) * replicate_cost(300)))
    after_pilot = [len(game.presences) - PILOT * PAIRS * of_a_pair for game in (smooth, steps)]
    assert after_pilot[0] >= PAIRS * of_a_pair and after_pilot[1] == of_a_pair
    assert [sorted(players.tolist()) for players in steps.corrected()[-2:]] == [list(range(300))] * 2


def test_filters_of_a_whole_network_get_their_values(photographs: Pairs) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = SRResNet(features=2, blocks=1).eval()
        for weights in network.parameters():
            torch.nn.init.normal_(weights, std=0.3)
    game = RestorationGame(
        network, filters_of(network, ["conv_first", "body.0.conv1", "conv_hr", "conv_last"]), photographs
    )
    found = multilevel_shapley(game, until=Until(evaluations=3_000))
    exact = exact_shapley(game).value
    assert np.abs(exact).min() > 1e-8
    assert np.abs((found.value - exact) / found.stderr).max() < 4.5
    assert np.isfinite(found.between).all()


@pytest.mark.parametrize("ablation", ["zero", "mean", "noise", "donor"])
def test_a_network_s_gradient_is_the_slope_of_its_worth(small: SRResNet, photographs: Pairs, ablation: str) -> None:
    """Central differences in float64, at presences between 0 and 1."""
    network = SRResNet(features=4, blocks=1).double().eval()
    pairs = Pairs(
        photographs.names, *(tuple(x.double() for x in images) for images in (photographs.lr, photographs.hr))
    )
    game = RestorationGame(network, filters_of(network, ["conv_first", "conv_hr"]), pairs, "-mse", ablation)
    part, rng = game.parts[1], torch.Generator().manual_seed(0)
    presences = torch.rand(1, game.players, generator=rng)
    assert isinstance(part, Differentiable)

    def worth(presences: Tensor) -> Tensor:
        lr = pairs.lr[1].expand(len(presences), *pairs.lr[1].shape)
        with erased(network, game.filters, presences, game.images.ablation):
            return game.payoff(network(lr), pairs.hr[1][None])

    with torch.inference_mode():
        step = 1e-4 * torch.eye(game.players).double()
        slopes = (worth(presences.double() + step) - worth(presences.double() - step)) / 2e-4
    torch.testing.assert_close(part.gradient(presences)[0], slopes, rtol=1e-3, atol=1e-8)


def test_a_game_without_a_gradient_is_refused() -> None:
    with pytest.raises(InputError, match="no gradient: sample permutations instead"):
        multilevel_shapley(saturating(8, 0), until=ONE_REPLICATE)


def test_a_gradient_that_is_not_finite_is_refused() -> None:
    root = FormulaGame(4, lambda p: (p[:, 0] - p[:, 0]).sqrt() + p.sum(1))
    with pytest.raises(InputError, match="no finite gradient"):
        multilevel_shapley(Smooth(root), until=ONE_REPLICATE)


def test_corrected_players_are_drawn_by_the_size_of_their_gradients() -> None:
    """Half of a player's chance is that of all others, half is its gradient's share; no chance exceeds 1."""
    weights = torch.linspace(0, 1, 300).double() ** 6
    share = (1 / 300 + weights / weights.sum()).numpy()
    chance = share * 75 / 2  # each of the four pairs of a replicate corrects 75 players
    while (chance > 1).any():
        sure = chance >= 1
        chance = np.where(sure, 1, share * (75 - sure.sum()) / share[~sure].sum())
    draws = []
    for seed in range(5):
        game = Watched(FormulaGame(300, lambda p: p @ weights))
        multilevel_shapley(game, until=Until(evaluations=2 + PILOT * replicate_cost(300)), seed=seed)
        draws += game.corrected()[::2]  # the complement of a coalition has the same players
    assert len(draws) == 5 * PILOT * PAIRS
    for players in draws:
        assert len(set(players.tolist())) == len(players) and abs(len(players) - 75) <= 1
    often = np.bincount(torch.cat(draws).numpy(), minlength=300) / len(draws)
    np.testing.assert_allclose(often, chance, atol=4.5 * 0.5 / len(draws) ** 0.5)
