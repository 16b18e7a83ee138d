"""Games whose images are sums: found where they are, solved like any game, and never seen where they are not."""

from time import sleep

import numpy as np
import pytest
import torch
from scipy import stats
from small_networks import small
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.filters import filters_of
from srgame.metrics import OF_MSE, PAYOFFS, psnr_of
from srgame.shapley import additive
from srgame.shapley.additive import AdditiveGame, additive_shapley, additive_tail
from srgame.shapley.exact import exact_shapley
from srgame.shapley.interactions import pair_interactions
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until
from srgame.shapley.values import Estimate, mean_of


def sums(players: int, images: int, payoff: str = "psnr") -> AdditiveGame:
    """Players add random images, which shrink the distance between f(∅) and HR in part."""
    rng = torch.Generator().manual_seed(players)
    terms = torch.randn(images, players + 1, 40, generator=rng, dtype=torch.float64)
    terms[:, 0] = -0.4 * terms[:, 1:].sum(1) + 0.1 * terms[:, 0]
    return AdditiveGame(terms @ terms.mT / 40, OF_MSE[PAYOFFS[payoff]])


def test_psnr_of_sums_agrees_with_all_coalitions_within_its_errors() -> None:
    game = sums(players=17, images=2)
    exact, found = exact_shapley(game), additive_shapley(game, Until(rms_tolerance=1e-3))
    assert np.abs((found.value - exact.value) / found.stderr).max() < 4
    assert found.relative_rms <= 1e-3 and found.ended == "additive tail"
    assert found.value.sum() == pytest.approx(exact.grand - exact.empty, rel=1e-12)


def test_the_squared_error_of_sums_is_solved_exactly() -> None:
    game = sums(players=17, images=2, payoff="-mse")
    exact, found = exact_shapley(game), additive_shapley(game)
    np.testing.assert_allclose(found.value, exact.value, rtol=1e-10)
    assert found.relative_stderr < 1e-12


@pytest.mark.parametrize("players", [8, 17])
def test_the_deviation_between_images_is_that_of_games_on_one_image_each(players: int) -> None:
    game, until = sums(players, images=3), Until(rms_tolerance=0.005)
    alone = [additive_shapley(AdditiveGame(gram[None], game.of_mse), until).value for gram in game.grams]
    spread, found = np.std(alone, axis=0, ddof=1), additive_shapley(game, until)
    np.testing.assert_allclose(found.between, spread, rtol=0, atol=0.05 * spread.max())
    np.testing.assert_array_equal(found.frame()["between_images"], found.between)
    assert np.isnan(additive_shapley(sums(players, images=1), until).between).all()


def test_intervals_have_the_degrees_of_freedom_of_the_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    estimates: list[Estimate] = []

    def recorded(replicates: np.ndarray) -> Estimate:
        estimates.append(mean_of(replicates))
        return estimates[-1]

    monkeypatch.setattr(additive, "mean_of", recorded)
    found = additive_shapley(sums(players=17, images=1), Until(rms_tolerance=1.0))
    freedom = estimates[-1].freedom
    assert found.replicates == 12 and freedom is not None and freedom < 10.9
    low, high = found.interval()
    np.testing.assert_allclose((high - low) / 2, stats.t(freedom).ppf(0.975) * found.stderr, rtol=1e-9)


def test_standard_errors_are_as_large_as_the_deviations() -> None:
    game = sums(players=17, images=1)
    exact = exact_shapley(game).value
    found = [additive_shapley(game, Until(rms_tolerance=1.0), seed=seed) for seed in range(12)]
    scores = np.stack([(each.value - exact) / each.stderr for each in found])
    assert 0.8 < np.sqrt(np.mean(scores**2)) < 1.35  # Student's t over 12 replicates: 1.11


def strong() -> nn.Module:
    """An SRResNet whose filters change the image by more than float32 rounding."""
    network = small("srresnet-x2")
    for weights in network.parameters():
        weights.data *= 6
    return network


def photographs() -> Pairs:
    rng = torch.Generator().manual_seed(0)
    lr = torch.rand(2, 3, 6, 5, generator=rng)
    hr = nn.functional.interpolate(lr, scale_factor=2, mode="bicubic") + 0.05 * torch.randn(2, 3, 12, 10, generator=rng)
    return Pairs(("a", "b"), tuple(lr), tuple(hr))


@pytest.mark.parametrize("ablation", ["zero", "mean", "noise", "donor"])
@pytest.mark.parametrize("payoff", ["psnr", "-mse"])
def test_the_layer_in_front_of_the_last_conv_is_additive(ablation: str, payoff: str) -> None:
    network = strong()
    game = RestorationGame(network, filters_of(network, ["conv_hr"]), photographs(), payoff, ablation)
    additive = additive_tail(game)
    coalitions = torch.rand(32, game.players, generator=torch.Generator().manual_seed(5)) < 0.5
    torch.testing.assert_close(additive(coalitions), game(coalitions), rtol=0, atol=1e-5)
    expected = exact_shapley(game).value
    np.testing.assert_allclose(additive_shapley(additive).value, expected, rtol=0, atol=1e-3 * np.ptp(expected))


@pytest.mark.parametrize(("layer", "payoff"), [("body.0.conv2", "psnr"), ("conv_first", "-mse"), ("conv_hr", "-l1")])
def test_other_layers_and_payoffs_are_not(layer: str, payoff: str) -> None:
    network = strong()
    assert additive_tail(RestorationGame(network, filters_of(network, [layer]), photographs(), payoff)) is None


def test_interactions_of_sums_are_those_of_all_coalitions() -> None:
    network = strong()
    for payoff in ("psnr", "-mse"):
        game = RestorationGame(network, filters_of(network, ["conv_hr"]), photographs(), payoff)
        exact, found = pair_interactions(game), pair_interactions(game, until=Until(tolerance=0.01))
        assert found.ended == "additive tail" and found.evaluations < 40 < exact.evaluations
        room = 5 * found.stderr + 1e-4 * np.ptp(exact.value)
        assert (np.abs(found.value - exact.value) <= room).all()


def test_interactions_of_sums_say_how_their_sampling_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    network, payoff = strong(), AdditiveGame.__call__
    game, calls = RestorationGame(network, filters_of(network, ["conv_hr"]), photographs()), []

    def interrupted(sums: AdditiveGame, coalitions: Tensor) -> Tensor:
        calls.append(coalitions)
        if len(calls) == 3 * 6:  # a replicate asks for none, one and both of the pair, twice
            raise KeyboardInterrupt
        return payoff(sums, coalitions)

    def slow(sums: AdditiveGame, coalitions: Tensor) -> Tensor:
        sleep(0.01)
        return payoff(sums, coalitions)

    pairs = [(0, 1), (2, 3)]
    assert pair_interactions(game, pairs, until=Until(evaluations=100)).ended == "additive tail"
    monkeypatch.setattr(AdditiveGame, "__call__", slow)
    assert pair_interactions(game, pairs, until=Until(seconds=0.5)).ended == "seconds"
    monkeypatch.setattr(AdditiveGame, "__call__", interrupted)
    found = pair_interactions(game, pairs, until=Until(tolerance=1e-9))
    assert (found.ended, found.replicates) == ("interrupted", 2)


def test_squared_errors_of_sums_interact_without_an_error() -> None:
    network = strong()
    game = RestorationGame(network, filters_of(network, ["conv_hr"]), photographs(), "-mse")
    found = pair_interactions(game, [(0, 1), (2, 3)], until=Until(tolerance=0.01))
    assert found.replicates == 12 and found.stderr.max() < 1e-9 * np.abs(found.value).max()


def test_filters_whose_effect_is_rounding_are_not_solved() -> None:
    network = small("srresnet-x2")
    with torch.no_grad():
        network.conv_last.weight *= 1e-2
    assert additive_tail(RestorationGame(network, filters_of(network, ["conv_hr"]), photographs())) is None


class Synergy(nn.Module):
    """Its first two filters add something only together."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        features = self.features(lr)
        together = features[:, :1] * features[:, 1:2]
        return nn.functional.pixel_shuffle(self.last(features) + 1e-4 * together, 2)


def test_a_small_synergy_is_seen() -> None:
    torch.manual_seed(0)
    network = Synergy()
    assert additive_tail(RestorationGame(network, filters_of(network, ["features"]), photographs())) is None


def test_sampling_of_sums_ends_at_the_limit_of_seconds() -> None:
    found = additive_shapley(sums(players=17, images=1), Until(seconds=1e-9))
    assert (found.ended, found.replicates) == ("seconds", 2)


def test_psnr_of_a_squared_error_is_psnr() -> None:
    assert psnr_of(torch.tensor([1e-3, 0.0], dtype=torch.float64)).tolist() == [pytest.approx(30.0), 100.0]
