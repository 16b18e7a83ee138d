"""Networks of other conventions, transformers and recurrent networks give the numbers of their twins: networks in
plain torch that compute the same images and need none of srgame's help."""

import numpy as np
import pandas as pd
import pytest
import torch
from every_function import FUNCTIONS
from small_networks import with_habit
from torch import Tensor
from twins import case

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.metrics import mse
from srgame.probes.responses import channel_responses
from srgame.probes.salience import salience_maps
from srgame.shapley.exact import exact_shapley
from srgame.shapley.restoration import RestorationGame


def random_images(side: int) -> tuple[Tensor, ...]:
    return tuple(torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0)))


PAIRS = Pairs(("a", "b", "c"), random_images(12), random_images(48))


# The layer of the network, and the layer of the twin.
CASES = {
    "one_channel": ("body", "body"),
    "enlarged_first": ("body", "body"),
    "window8": ("body", "body"),
    "sftmd": ("body.0.conv1", "body.0.conv1"),
    "features": ("fc1", "fc1"),
    "recursive": ("body@2", "second"),
}


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name not in ("multilevel", "evaluate twice")])
@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_the_plain_twin(name: str, function: str) -> None:
    if name == "window8" and function in ("tiles", "reach"):
        pytest.skip("the twin does not say where its windows begin; networks/test_adapter.py tests tiles")
    layers = CASES[name]
    frames = [FUNCTIONS[function](network, PAIRS, layer) for network, layer in zip(case(name), layers, strict=True)]
    own, right = (frame.replace({"layer": {layer: "layer"}}) for frame, layer in zip(frames, layers, strict=True))
    columns = [column for column in right if not str(column).endswith("_reduction") and column != "rank"]
    pd.testing.assert_frame_equal(own[columns], right[columns], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_twin_restores_the_same_images(name: str) -> None:
    network, twin = case(name)
    with torch.inference_mode():
        torch.testing.assert_close(network(torch.stack(PAIRS.lr)), twin(torch.stack(PAIRS.lr)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layer", ["body@1", "body@3", "body@2:input", "body@3:input"])
def test_a_call_is_erased_alone(layer: str) -> None:
    """φ of -MSE by the definition: all coalitions, one run each, a hook of our own that counts the calls."""
    name, _, number = layer.removesuffix(":input").partition("@")
    worths = {}
    for coalition in np.ndindex(*[2] * 6):
        absent = torch.tensor([not present for present in coalition])
        network, calls = with_habit("Recursive"), []

        def erase(values: Tensor, absent: Tensor = absent, calls: list[int] = calls) -> Tensor:
            calls.append(1)
            return values.masked_fill(absent[:, None, None], 0) if len(calls) == int(number) else values

        body = network.get_submodule(name)
        if layer.endswith(":input"):
            body.register_forward_pre_hook(lambda _, given, erase=erase: (erase(given[0]),))
        else:
            body.register_forward_hook(lambda _, __, response, erase=erase: erase(response))
        with torch.no_grad():
            worths[coalition] = -mse(network(PAIRS.lr[0][None].clone()), PAIRS.hr[0][None]).item()
    pairs = next(iter(PAIRS))
    game = RestorationGame(with_habit("Recursive"), filters_of(with_habit("Recursive"), [layer]), pairs, "-mse")
    rows = torch.tensor(list(worths), dtype=torch.bool)
    torch.testing.assert_close(game(rows).double(), torch.tensor(list(worths.values())).double(), rtol=1e-5, atol=1e-8)
    assert exact_shapley(game).value.sum() == pytest.approx(worths[(1,) * 6] - worths[(0,) * 6], rel=1e-3)


def test_a_call_that_does_not_happen_is_refused() -> None:
    network = with_habit("Recursive")
    with pytest.raises(InputError, match=r"no 'body@4': the network calls 'body' 3 time"):
        exact_shapley(RestorationGame(network, filters_of(network, ["body@4"]), PAIRS))
    with pytest.raises(InputError, match=r"'body' runs 3 times per image.*body@1 to body@3"):
        channel_responses(network, PAIRS, ["body"])
    with pytest.raises(InputError, match=r"'body:input' runs 3 times per image.*body@1:input to body@3:input"):
        channel_responses(network, PAIRS, ["body:input"])
    assert filters_of(network, ["body@3", "head", "body@2"]).layers == ("head", "body@2", "body@3")


def test_windows_of_an_image_belong_to_it() -> None:
    """Linear features of windows, which lie along the first axis: statistics over all of them."""
    network, seen = with_habit("Windows"), []
    network.get_submodule("fc").register_forward_hook(lambda _, __, response: seen.append(response.detach()))
    frame = channel_responses(network, PAIRS.lr[:1], ["fc"])
    assert seen[0].shape == (9, 16, 6)  # windows, pixels, features
    np.testing.assert_allclose(frame["mean_abs"], seen[0].abs().mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(frame["std"], seen[0].flatten(0, 1).std(0, correction=0), rtol=5e-3)
    with pytest.raises(InputError, match="'fc' responds with 1 axes of space"):
        salience_maps(network, PAIRS.lr[0], ["fc"])
