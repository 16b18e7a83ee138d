"""The restoration game: the network, its filters and the images become a game."""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from commands import memory_for
from torch import Tensor, fx, nn

from srgame.data.images import upsample
from srgame.data.pairs import Pairs, load_pairs, toward_bicubic
from srgame.errors import InputError
from srgame.filters import Resumable, erased, filters_of, resume
from srgame.metrics import l1, mse, psnr
from srgame.networks import SRResNet
from srgame.shapley.game import Game, Grouped
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until


def some(players: int, rows: int = 5) -> Tensor:
    return torch.rand(rows, players, generator=torch.Generator().manual_seed(0)) < 0.5


def slow_worth(network: nn.Module, game: RestorationGame, present: Tensor, payoff: str) -> float:
    """The definition: one whole run per image, one coalition at a time."""
    worths = []
    for lr, hr in zip(game.pairs.lr, game.pairs.hr, strict=True):
        with torch.inference_mode(), erased(network, game.filters, present[None]):
            error = network(lr[None])[0].double() - hr.double()
        mean_square = error.square().mean()
        worths.append({"psnr": -10 * mean_square.log10(), "-mse": -mean_square, "-l1": -error.abs().mean()}[payoff])
    return torch.stack(worths).mean().item()


@pytest.mark.parametrize("payoff", ["psnr", "-mse", "-l1"])
@pytest.mark.parametrize("layers", [["body.1.conv1"], ["conv_first", "body.1.conv2", "conv_last"]])
def test_worth_is_the_mean_payoff_of_whole_runs(
    small: SRResNet, photographs: Pairs, payoff: str, layers: list[str]
) -> None:
    game = RestorationGame(small, filters_of(small, layers), photographs, payoff)
    coalitions = some(game.players)
    expected = [slow_worth(small, game, row, payoff) for row in coalitions]
    worth = game(coalitions)
    assert isinstance(game, Game) and worth.dtype == torch.float64
    torch.testing.assert_close(worth, torch.tensor(expected).double(), rtol=1e-5, atol=1e-7)


def test_images_of_different_sizes_play_together(small: SRResNet) -> None:
    pairs = load_pairs("photographs", images=2, crop=40)
    mixed = Pairs(pairs.names, (pairs.lr[0], pairs.lr[1][:, :6]), (pairs.hr[0], pairs.hr[1][:, :24]))
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), mixed)
    coalitions = some(game.players)
    alone = [
        RestorationGame(small, game.filters, Pairs((n,), (a,), (b,))) for n, a, b in zip(*_parts(mixed), strict=True)
    ]
    torch.testing.assert_close(game(coalitions), (alone[0](coalitions) + alone[1](coalitions)) / 2)
    assert game.per_image(coalitions).shape == (2, 5)


def test_the_batch_does_not_matter(small: SRResNet, photographs: Pairs) -> None:
    filters = filters_of(small, ["body.0.conv1"])
    coalitions = some(len(filters), 7)
    worths = [RestorationGame(small, filters, photographs, batch=batch)(coalitions) for batch in (1, 3, 7)]
    torch.testing.assert_close(worths[0], worths[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(worths[0], worths[2], rtol=0, atol=1e-6)


def test_a_game_with_the_bicubic_target_pays_for_being_like_bicubic(small: SRResNet, photographs: Pairs) -> None:
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), toward_bicubic(photographs), "-l1")
    everyone = torch.ones(1, game.players, dtype=torch.bool)
    with torch.inference_mode():
        distances = [(small(lr[None]) - upsample(lr[None], 4)).abs().double().mean() for lr in photographs.lr]
    torch.testing.assert_close(-game(everyone)[0], torch.stack(distances).mean(), rtol=1e-5, atol=0)


def test_filters_that_equal_their_ablation_are_dummies(photographs: Pairs) -> None:
    network = SRResNet(features=6, blocks=1).eval()
    for dead in (1, 4):
        network.body[0].conv1.weight.data[dead] = 0
        network.body[0].conv1.bias.data[dead] = 0
    game = RestorationGame(network, filters_of(network, ["body.0.conv1", "conv_hr"]), photographs)
    assert game.dummies.nonzero().flatten().tolist() == [1, 4]
    assert not RestorationGame(network, filters_of(network), photographs).dummies.any()


class Branching(nn.Module):
    """A network that torch.fx cannot trace, and whose one call cannot be recorded: it counts the images."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.other = nn.Identity(), nn.Identity()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.before(lr) if len(lr) == 1 else self.other(lr)
        return F.interpolate(self.conv(x) if lr.mean() > 0 else lr, scale_factor=4)


def test_a_network_that_cannot_be_resumed_is_run_whole_and_says_so_once(photographs: Pairs) -> None:
    network, coalitions = Branching(), some(3)
    game = RestorationGame(network, filters_of(network), photographs, "-mse")
    with pytest.warns(UserWarning, match="every coalition takes a whole run.*cannot trace.*other modules") as warned:
        game(coalitions)
    assert len(warned) == 1
    expected = [slow_worth(network, game, row, "-mse") for row in coalitions]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(game(coalitions), torch.tensor(expected).double(), rtol=1e-5, atol=1e-8)


class BatchBound(nn.Module):
    """A network whose own arithmetic remembers the batch it was traced with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        batch = lr.shape[0]
        x = self.conv1(lr)
        return F.interpolate(self.conv2(x.reshape(batch, 4, 6, 6)), scale_factor=4)


def test_a_wrong_resumption_is_noticed_and_not_used(photographs: Pairs) -> None:
    network, coalitions = BatchBound(), some(4)
    game = RestorationGame(network, filters_of(network, ["conv1"]), photographs, "-mse")
    game(coalitions)
    assert not isinstance(game.images.cut.tail, fx.GraphModule)  # but replayed
    expected = [slow_worth(network, game, row, "-mse") for row in coalitions]
    torch.testing.assert_close(game(coalitions), torch.tensor(expected).double(), rtol=1e-5, atol=1e-8)


class Random(nn.Module):
    """A network whose images are never the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        return F.interpolate(self.conv(lr), scale_factor=4) + torch.rand(1)


def test_a_random_network_is_noticed(photographs: Pairs) -> None:
    with pytest.warns(UserWarning, match="differ from run to run"):
        RestorationGame(Random(), filters_of(Random()), photographs)(some(3))


def test_a_network_of_another_scale_is_refused(photographs: Pairs) -> None:
    network = SRResNet(scale=2, features=4, blocks=1)
    with pytest.raises(InputError, match=r"6×6 pixels into 12×12, .* 24×24"):
        RestorationGame(network, filters_of(network), photographs)(some(len(filters_of(network))))


def test_unknown_payoffs_are_named(small: SRResNet, photographs: Pairs) -> None:
    with pytest.raises(InputError, match="unknown payoff 'ssim': choose one of psnr, -mse, -l1"):
        RestorationGame(small, filters_of(small), photographs, "ssim")


def test_payoffs_take_functions(small: SRResNet, photographs: Pairs) -> None:
    filters, coalitions = filters_of(small, ["conv_hr"]), some(8)
    named = RestorationGame(small, filters, photographs, "-mse")
    own = RestorationGame(small, filters, photographs, lambda sr, hr: -mse(sr, hr))
    assert torch.equal(named(coalitions), own(coalitions))
    assert psnr(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)).item() == 100
    assert l1(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)).item() == 1


def _parts(pairs: Pairs) -> tuple[tuple[str, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    return pairs.names, pairs.lr, pairs.hr


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError(), RuntimeError("can't allocate memory")])
def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    small: SRResNet, photographs: Pairs, error: Exception
) -> None:
    def hungry(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        if len(sr) > 3:
            raise error
        return psnr(sr, hr)

    filters = filters_of(small, ["conv_hr"])
    coalitions = torch.rand(20, len(filters)) < 0.5
    game = RestorationGame(small, filters, photographs, hungry, batch=16)
    expected = RestorationGame(small, filters, photographs, psnr, batch=2)
    assert torch.equal(game(coalitions), expected(coalitions)) and game.images.batch == 2

    def starved(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        raise error

    with pytest.raises(InputError, match="memory does not hold one run of the network on 'astronaut': crop the images"):
        RestorationGame(small, filters, photographs, starved)(coalitions)

    def broken(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        RestorationGame(small, filters, photographs, broken)(coalitions)


@pytest.mark.parametrize("where", ["head", "tail"])
def test_memory_that_ends_as_a_game_is_made_is_a_sentence(
    small: SRResNet, photographs: Pairs, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A head's responses to all images stay; a tail that memory does not hold is not mistaken for one it cannot cut."""

    def starved(*_: object) -> None:
        raise RuntimeError("can't allocate memory")

    def starving(network: nn.Module, layers: tuple[str, ...]) -> Resumable:
        cut = resume(network, layers)
        getattr(cut, where).register_forward_pre_hook(starved)
        return cut

    monkeypatch.setattr("srgame.shapley.coalition_images.resume", starving)
    with warnings.catch_warnings(), pytest.raises(InputError, match="memory does not hold"):
        warnings.simplefilter("error")
        RestorationGame(small, filters_of(small, ["conv_hr"]), photographs)(some(8))


def test_a_game_is_evaluated_in_full_float32(small: SRResNet, photographs: Pairs) -> None:
    seen = []

    def watching(sr: Tensor, hr: Tensor) -> Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return psnr(sr, hr)

    torch.backends.cudnn.allow_tf32 = True
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), photographs, watching)
    game(torch.ones(1, game.players, dtype=torch.bool))
    game.gradient(torch.ones(1, game.players), 0)
    assert seen and not any(seen) and torch.backends.cudnn.allow_tf32


def test_groups_of_players_have_the_parts_of_their_game(small: SRResNet, photographs: Pairs) -> None:
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), photographs)
    groups = [range(0, 3), range(3, game.players)]
    grouped, coalitions = Grouped(game, groups), torch.tensor([[True, False], [False, True]])
    worth = torch.stack([part(coalitions) for part in grouped.parts])
    assert torch.equal(worth.mean(0), grouped(coalitions)) and (worth[0] != worth[1]).all()
    found = sampled_shapley(Grouped(game, [[player] for player in range(game.players)]), until=Until(evaluations=200))
    assert np.isfinite(found.between).all() and found.between.max() > 0


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """A thread that may lose oneDNN."""
    with ThreadPoolExecutor(1) as one:
        one.submit(int).result()
        yield one
    torch.backends.mkldnn.set_flags(_enabled=True)


@pytest.mark.filterwarnings("ignore:memory ended while oneDNN")
def test_batches_are_halved_where_memory_really_ends(small: SRResNet, thread: ThreadPoolExecutor) -> None:
    filters, pairs = filters_of(small, ["conv_hr"]), load_pairs(images=1, crop=96)
    coalitions = torch.rand(512, len(filters), generator=torch.Generator().manual_seed(0)) < 0.5
    expected = RestorationGame(small, filters, pairs, batch=4)(coalitions)
    game = RestorationGame(small, filters, pairs, batch=512)
    with memory_for(2**26):  # a batch of 512 takes more than twice that for the responses of conv_hr alone
        found = thread.submit(game, coalitions).result()
    assert game.images.batch < 512 and (found - expected).abs().max() < 1e-6


@pytest.mark.parametrize("batch", [1, 16])
def test_a_thread_that_lost_onednn_goes_on_without_it(small: SRResNet, thread: ThreadPoolExecutor, batch: int) -> None:
    """When a game is made, and, since batches of 16 are new to it, when it is evaluated."""
    filters, pairs = filters_of(small, ["conv_hr"]), load_pairs(images=1, crop=96)
    coalitions = torch.rand(16, len(filters), generator=torch.Generator().manual_seed(0)) < 0.5
    game = RestorationGame(small, filters, pairs, batch=batch)
    expected = game(coalitions)

    def lose() -> None:
        heap = []
        with memory_for(0):
            with suppress(MemoryError):
                while True:  # until no room for a kernel is left
                    heap.append(bytearray(2**17))
            for channels, side in product(range(8, 48), range(5, 30)):  # each needs a kernel of its own
                nn.Conv2d(channels, 8, 3)(torch.rand(2, channels, side, side + batch))

    with pytest.raises(RuntimeError, match="could not create a primitive"):
        thread.submit(lose).result()
    make = partial(RestorationGame, small, filters, load_pairs(images=1, crop=92), batch=batch)
    made = make() if batch > 1 else None
    with pytest.warns(UserWarning, match="computed without oneDNN"):
        thread.submit(lambda: (made or make())(coalitions)).result()
    assert (thread.submit(game, coalitions).result() - expected).abs().max() < 1e-6


@pytest.mark.usefixtures("thread")
def test_without_onednn_the_low_precision_game_is_the_game(small: SRResNet) -> None:
    """Torch's own bfloat16 convolutions take far longer than its float32 ones."""
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), load_pairs(images=1, crop=32), bfloat16=True)
    coalitions = torch.eye(8, dtype=torch.bool)
    assert (game.worth(coalitions, 0, low_precision=True) != game.worth(coalitions, 0)).any()
    torch.backends.mkldnn.set_flags(_enabled=False)
    assert (game.worth(coalitions, 0, low_precision=True) == game.worth(coalitions, 0)).all()


def test_a_failure_that_comes_back_without_onednn_ends_in_a_sentence(
    small: SRResNet, thread: ThreadPoolExecutor
) -> None:
    def broken(sr: Tensor, hr: Tensor) -> Tensor:
        raise RuntimeError("could not create a primitive")

    pairs = load_pairs(images=1, crop=32)
    game = RestorationGame(small, filters_of(small, ["conv_hr"]), pairs, broken)
    with (
        pytest.warns(UserWarning, match="computed without oneDNN"),
        pytest.raises(InputError, match="does not hold one"),
    ):
        game(torch.eye(8, dtype=torch.bool))
