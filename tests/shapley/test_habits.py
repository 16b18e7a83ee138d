"""Networks with habits of published code: they edit their input, look at the batch, set attributes, call layers again.

Right is what the definition gives: a fresh copy of the network, of the image, and one coalition a run.
"""

import math
import warnings
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from small_networks import HABITS, small, with_habit
from torch import Tensor, fx, nn

from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import calls_of, filters_of
from srgame.metrics import mse, psnr
from srgame.shapley.exact import exact_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.training.strategies import EATS


def random_images(count: int, height: int, width: int) -> tuple[Tensor, ...]:
    return tuple(torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)))


PAIRS = Pairs(("a", "b"), random_images(2, 8, 8), random_images(2, 32, 32))
COALITIONS = torch.rand(5, 6, generator=torch.Generator().manual_seed(1)) < 0.5
CHANNELS = range(6)


def zeroed(response: Tensor, channels: list[int], axis: int = 1) -> Tensor:
    return response.index_fill(axis, torch.tensor(channels, dtype=torch.long), 0)


def slow_worths(
    name: str,
    module: str,
    coalitions: Tensor,
    erase: Callable[[Tensor, list[int]], Tensor] = zeroed,
    is_input: bool = False,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """-MSE by the definition: for each coalition and image, a fresh network with one hook of our own."""
    worths = []
    for row in coalitions:
        absent = (~row).nonzero().flatten().tolist()
        errors = []
        for lr, hr in zip(PAIRS.lr, PAIRS.hr, strict=True):
            network = with_habit(name).to(precision)
            layer = network.get_submodule(module)
            if is_input:
                layer.register_forward_pre_hook(lambda _, given, gone=absent: (erase(given[0], gone),))
            else:
                layer.register_forward_hook(lambda _, __, response, gone=absent: erase(response, gone))
            with torch.no_grad():
                errors.append(-mse(network(lr[None].clone().to(precision)).float(), hr[None]))
        worths.append(torch.cat(errors).mean())
    return torch.stack(worths)


def quiet_game(name: str, layer: str, **how: object) -> RestorationGame:
    network = with_habit(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RestorationGame(network, filters_of(network, [layer]), PAIRS, "-mse", **how)


@pytest.mark.filterwarnings("ignore:coalitions are evaluated one by one", "ignore:the norm")
@pytest.mark.parametrize("layer", ["head", "body"])
@pytest.mark.parametrize("name", HABITS)
def test_worths_are_those_of_the_definition(name: str, layer: str) -> None:
    if name == "Windows" and layer == "body":
        pytest.skip("it has no second conv")
    if name == "NamedAsOurs":
        layer = {"head": "layers", "body": "network"}[layer]
    game = quiet_game(name, layer)
    before = deepcopy(PAIRS)
    torch.testing.assert_close(game(COALITIONS), slow_worths(name, layer, COALITIONS), rtol=1e-5, atol=1e-8)
    assert torch.equal(game(COALITIONS), game(COALITIONS))
    assert all(map(torch.equal, (*before.lr, *before.hr), (*PAIRS.lr, *PAIRS.hr)))
    if name not in ("BatchOfOne", "BatchCoupled"):
        cut = game.images.cut  # resumed, one way or the other
        assert cut.at_cut or "_Replayer" in type(cut.tail).__name__


@pytest.mark.parametrize("name", ["EditsInputTwice", "Checked", "Recursive"])
def test_gradients_are_slopes(name: str) -> None:
    presences = torch.rand(3, 6, generator=torch.Generator().manual_seed(2))
    game, step = quiet_game(name, "head"), 1e-2
    for image, hr in enumerate(PAIRS.hr):
        gradient = game.gradient(presences, image)
        for player in (0, 4):
            change = torch.zeros(6)
            change[player] = step
            ends = [game.images.on(image)(presences + sign * change) for sign in (1, -1)]
            up, down = (-mse(sr.detach(), hr[None]) for sr in ends)
            torch.testing.assert_close(gradient[:, player], (up - down) / (2 * step), rtol=2e-2, atol=2e-6)


def test_a_game_without_gradients_is_an_error_that_names_the_remedy() -> None:
    with pytest.raises(InputError, match=r"cannot be differentiated.*permutations"):
        quiet_game("OverwritesGates", "body").gradient(torch.ones(1, 6), 0)


@pytest.mark.filterwarnings("ignore:coalitions are evaluated one by one")
@pytest.mark.parametrize("name", ["BatchCoupled", "BatchOfOne"])
def test_gradients_are_those_of_one_row_a_run(name: str) -> None:
    presences = torch.rand(3, 6, generator=torch.Generator().manual_seed(2))
    game = quiet_game(name, "body")
    alone = torch.cat([game.gradient(row[None], 0) for row in presences])
    assert torch.equal(game.gradient(presences, 0), alone)
    assert alone.abs().max() > 0


def test_a_batch_that_matters_is_said_and_enumeration_gives_phi() -> None:
    network = with_habit("BatchCoupled")
    game = RestorationGame(network, filters_of(network, ["body"]), PAIRS, "-mse")
    with pytest.warns(UserWarning, match="one by one.*its batch"):
        values = exact_shapley(game).value
    everyone = torch.tensor([[bool(number >> player & 1) for player in CHANNELS] for number in range(64)])
    worth = dict(
        zip(map(tuple, everyone.tolist()), slow_worths("BatchCoupled", "body", everyone).tolist(), strict=True)
    )
    for player in CHANNELS:
        phi = 0.0
        for row in everyone[~everyone[:, player]].tolist():
            having = tuple(present or other == player for other, present in enumerate(row))
            phi += (worth[having] - worth[tuple(row)]) / (6 * math.comb(5, sum(row)))
        assert values[player] == pytest.approx(phi, rel=1e-3, abs=1e-8)


def test_a_network_of_one_image_at_a_time_is_evaluated_so() -> None:
    network = with_habit("BatchOfOne")
    game = RestorationGame(network, filters_of(network, ["body"]), PAIRS, "-mse")
    with pytest.warns(UserWarning, match="one by one.*one image at a time"):
        game(COALITIONS)


@pytest.mark.parametrize("name", ["Plain", "Checked"])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16, torch.float64])
def test_a_network_runs_in_its_own_precision(name: str, precision: torch.dtype) -> None:
    network = with_habit(name).to(precision)
    game = RestorationGame(network, filters_of(network, ["body"]), PAIRS, "-mse")
    expected = slow_worths(name, "body", COALITIONS, precision=precision)
    torch.testing.assert_close(game(COALITIONS), expected, rtol=1e-2, atol=1e-5)
    assert game.images.recorded[0][0].dtype == precision


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_worth_that_is_no_number_is_an_error_with_the_images_name(value: float) -> None:
    network = with_habit("Plain")

    def payoff(sr: Tensor, hr: Tensor) -> Tensor:
        return (
            torch.where(torch.arange(len(sr)) == 1, value, psnr(sr, hr))
            if hr.equal(PAIRS.hr[1][None])
            else psnr(sr, hr)
        )

    game = RestorationGame(network, filters_of(network, ["body"]), PAIRS, payoff)
    with pytest.raises(InputError, match=rf"'b' is {value}"):
        game(COALITIONS)
    network.tail.bias.data[0] = math.nan
    with pytest.raises(InputError, match="'a' is nan"):
        RestorationGame(network, filters_of(network, ["body"]), PAIRS)(COALITIONS)


def test_a_network_that_explodes_without_filters_is_said_to() -> None:
    network = small("srresnet-x4")
    with torch.no_grad():
        network.conv_last.weight *= 1e6
    game = RestorationGame(network, filters_of(network, ["conv_hr"]), load_pairs("photographs", images=1, crop=16))
    with pytest.warns(UserWarning, match="far outside"):
        game.images.cut  # noqa: B018


def test_tracing_leaves_the_attributes_of_a_network_as_they_were() -> None:
    network = with_habit("SetsAttributes")
    before = {name: dict(vars(module)) for name, module in network.named_modules()}
    tensors = {name: value.clone() for name, value in network.state_dict().items()}
    game = RestorationGame(network, filters_of(network, ["body"]), PAIRS, "-mse")
    game(COALITIONS)
    assert isinstance(network.mean, Tensor) and isinstance(network.seen, Tensor)
    assert not any(isinstance(value, fx.Proxy) for module in network.modules() for value in vars(module).values())
    assert {name: set(vars(module)) for name, module in network.named_modules()} == {
        n: set(v) for n, v in before.items()
    }
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in tensors.items())


def test_payoffs_and_ablations_may_edit_what_they_are_given() -> None:
    def payoff(sr: Tensor, hr: Tensor) -> Tensor:
        return -sr.sub_(hr.mul_(1.0)).square_().flatten(1).mean(1).double()

    def nothing(response: Tensor) -> Tensor:
        return response.zero_()

    before = deepcopy(PAIRS)
    network = with_habit("Plain")
    game = RestorationGame(network, filters_of(network, ["body"]), PAIRS, payoff, nothing)
    torch.testing.assert_close(game(COALITIONS), slow_worths("Plain", "body", COALITIONS), rtol=1e-5, atol=1e-8)
    assert all(map(torch.equal, (*before.lr, *before.hr), (*PAIRS.lr, *PAIRS.hr)))


def test_linear_features_play_and_windows_belong_to_their_image() -> None:
    game = quiet_game("Windows", "fc")
    by_channel = lambda response, gone: zeroed(response, gone, -1)  # noqa: E731
    torch.testing.assert_close(
        game(COALITIONS), slow_worths("Windows", "fc", COALITIONS, by_channel), rtol=1e-5, atol=1e-8
    )

    def mean_of_image(response: Tensor, gone: list[int]) -> Tensor:
        means = response.flatten(0, -2).mean(0)
        return torch.where(torch.isin(torch.arange(6), torch.tensor(gone)), means, response)

    game = quiet_game("Windows", "fc", ablation="mean")
    torch.testing.assert_close(
        game(COALITIONS), slow_worths("Windows", "fc", COALITIONS, mean_of_image), rtol=1e-5, atol=1e-8
    )


def test_heads_of_an_attention_play_as_groups_of_channels_that_the_projection_is_given() -> None:
    game = quiet_game("Windows", "proj:input/3")
    coalitions = torch.tensor([[False, True], [True, False], [False, False]])
    heads = lambda given, gone: zeroed(given, [3 * head + i for head in gone for i in range(3)], -1)  # noqa: E731
    expected = slow_worths("Windows", "proj", coalitions, heads, is_input=True)
    assert game.players == 2
    torch.testing.assert_close(game(coalitions), expected, rtol=1e-5, atol=1e-8)


def test_filters_of_a_pixel_shuffle_play_as_groups_of_channels() -> None:
    game = quiet_game("Plain", "tail/16")
    coalitions = torch.tensor([[False, True, True], [True, False, False]])
    colours = lambda r, gone: zeroed(r, [16 * colour + i for colour in gone for i in range(16)])  # noqa: E731
    assert game.players == 3 and game.filters.layers == ("tail/16",)
    torch.testing.assert_close(
        game(coalitions), slow_worths("Plain", "tail", coalitions, colours), rtol=1e-5, atol=1e-8
    )
    with pytest.raises(InputError, match="48 channels of 'tail/7'"):
        filters_of(with_habit("Plain"), ["tail/7"])


def test_erasing_at_the_activation_leaves_nothing_behind_a_norm() -> None:
    with pytest.warns(UserWarning, match="the norm 'norm' follows 'body'"):
        quiet = with_habit("Normed")
        RestorationGame(quiet, filters_of(quiet, ["body"]), PAIRS, "-mse")(COALITIONS)
    network = with_habit("Normed")
    game = RestorationGame(network, filters_of(network, ["body"]), PAIRS, "-mse", at="activation")
    expected = slow_worths("Normed", "tail", COALITIONS, is_input=True)  # what the tail is given is the activation
    torch.testing.assert_close(game(COALITIONS), expected, rtol=1e-5, atol=1e-8)
    assert calls_of(network, PAIRS.lr[0][None]).behind("body") == ("norm", "act")
    network = with_habit("Plain")
    with pytest.raises(InputError, match=r"'body'.*torch.relu"):
        RestorationGame(network, filters_of(network, ["body"]), PAIRS, at="activation")(COALITIONS)


def test_a_layer_that_is_never_called_is_worth_nothing_and_is_named() -> None:
    network = with_habit("Plain")
    network.idle = nn.Conv2d(3, 4, 3)
    game = RestorationGame(network, filters_of(network, ["body", "idle"]), PAIRS, "-mse")
    with pytest.warns(UserWarning, match="never calls 'idle'"):
        assert game.dummies.tolist() == [False] * 6 + [True] * 4


def test_the_constructor_does_not_run_the_network() -> None:
    network = with_habit("Plain")
    network.register_forward_pre_hook(lambda *_: pytest.fail("it ran"))
    RestorationGame(network, filters_of(network, ["body"]), PAIRS)


@pytest.mark.parametrize("name", ["EditsInput", "EditsInputTwice"])
def test_training_leaves_its_batch_and_what_it_resumes_as_they_were(name: str) -> None:
    import numpy as np

    lr, hr = torch.stack(PAIRS.lr), torch.stack(PAIRS.hr)
    before = lr.clone()
    network = with_habit(name)
    losses = EATS(network, layers=["body"], count=2)(lr, hr, np.random.default_rng(0)).minimised
    assert torch.equal(lr, before)
    torch.testing.assert_close(losses["original"], (network(lr.clone()) - hr).abs().mean())
