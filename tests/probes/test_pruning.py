"""Removal of filters: scores and losses against their definitions, and networks that lack the filters."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import erased, filters_of
from srgame.networks import SRResNet
from srgame.probes.pruning import SCORES, pruned, removal_drops, removal_scores
from srgame.probes.responses import channel_responses
from srgame.shapley.audit import network_values
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until

UNTIL = Until(evaluations=120)


class Mixed(nn.Module):
    """Layers whose weights lie differently in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(3, 6, 3, padding=1, groups=3)
        self.linear = nn.Linear(6, 8)
        self.up = nn.ConvTranspose2d(8, 4, 4, stride=4, groups=2)
        self.last = nn.Conv2d(4, 3, 1, bias=False)

    def forward(self, lr: Tensor) -> Tensor:
        features = self.linear(self.grouped(lr).relu().permute(0, 2, 3, 1)).relu().permute(0, 3, 1, 2)
        return self.last(self.up(features))


@pytest.fixture(scope="module")
def mixed() -> Mixed:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Mixed().eval()


@pytest.mark.parametrize("layer", ["grouped", "linear", "up", "last"])
@torch.inference_mode()
def test_a_pruned_network_restores_as_if_the_filters_were_erased(mixed: Mixed, layer: str) -> None:
    lr = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    filters, before = filters_of(mixed, [layer]), mixed(lr)
    for removed in ([0], [1, 2], list(range(len(filters)))):
        present = ~torch.isin(torch.arange(len(filters)), torch.tensor(removed))
        with erased(mixed, filters, present[None]):
            expected = mixed(lr)
        found = pruned(mixed, layer, removed)(lr)
        assert torch.equal(found, expected) and not torch.equal(found, before)
    assert torch.equal(mixed(lr), before)


def test_the_norm_of_a_filter_is_the_sum_of_its_weights_sizes(mixed: Mixed, photographs: Pairs) -> None:
    for layer, weights in {
        "grouped": [mixed.grouped.weight[f] for f in range(6)],
        "linear": [mixed.linear.weight[f] for f in range(8)],
        "up": [mixed.up.weight[4 * (f // 2) : 4 * (f // 2) + 4, f % 2] for f in range(4)],
    }.items():
        found = removal_scores(mixed, layer, photographs, until=UNTIL, by=["norm"])["norm"]
        np.testing.assert_allclose(found, [weight.abs().sum().item() for weight in weights], rtol=1e-6)


def test_scores_are_those_of_the_game_and_of_the_probes(small: SRResNet, photographs: Pairs) -> None:
    scores = removal_scores(small, "conv_hr", photographs, until=UNTIL)
    assert scores.columns.tolist() == ["layer", "filter", *SCORES]
    filters = filters_of(small, ["conv_hr"])
    values = network_values(small, filters, photographs, until=UNTIL)
    np.testing.assert_array_equal(scores["shapley"], values["shapley"])
    np.testing.assert_array_equal(scores["response"], channel_responses(small, photographs, ["conv_hr"])["mean_abs"])
    game = RestorationGame(small, filters, photographs)
    one_less = [game([[player != other for other in range(8)]]).item() for player in range(8)]
    np.testing.assert_allclose(scores["leave-one-out"], values["grand"] - one_less, atol=1e-6)


def test_losses_are_those_of_each_order_and_count(small: SRResNet, photographs: Pairs) -> None:
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), photographs)
    orders = np.stack([np.random.default_rng(seed).permutation(8) for seed in range(2)])
    counts = np.array([0, 3, 8])
    everybody = game([[True] * 8]).item()
    expected = [
        np.mean([everybody - game([[p not in order[:count] for p in range(8)]]).item() for order in orders])
        for count in counts
    ]
    np.testing.assert_allclose(removal_drops(game, orders, counts), expected, atol=1e-6)


def test_what_cannot_be_removed_is_refused(small: SRResNet, mixed: Mixed, photographs: Pairs) -> None:
    with pytest.raises(InputError, match="'conv_hr' has no filter 8"):
        pruned(small, "conv_hr", [2, 8])
    for layer in ("conv_hr:input", "conv_hr/2"):
        with pytest.raises(InputError, match=layer):
            removal_scores(small, layer, photographs, until=UNTIL)
    with pytest.raises(InputError, match="'mass'"):
        removal_scores(small, "conv_hr", photographs, until=UNTIL, by=["mass"])
    normed = nn.Sequential(weight_norm(nn.Conv2d(3, 48, 1)), nn.PixelShuffle(4))
    with pytest.raises(InputError, match="weight norm"):
        pruned(normed, "0", [1])
    conv = nn.Conv2d(3, 3, 1)
    with pytest.raises(InputError, match="0, 2"):
        pruned(nn.Sequential(conv, nn.Sequential(), conv), "0", [1])
