"""What probes read of a layer, and which layers can be read."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from slow_responses import IMAGES, LAYERS, by_hand
from small_networks import SMALL, Foreign
from small_networks import small as small_network

from srgame.data.images import Image
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import SRResNet
from srgame.probes.cosine import channel_cosine
from srgame.probes.features import features, out_of_place
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience


def test_features_are_what_the_layers_respond(small: SRResNet) -> None:
    names = [*LAYERS, "conv_hr:input", "conv_last:input"]
    for image, responses in zip(IMAGES, features(small, iter(IMAGES), names, torch.clone), strict=True):
        for name, expected in by_hand(small, image).items():
            torch.testing.assert_close(responses[name][0], expected)


def test_later_images_run_only_as_far_as_the_last_layer(small: SRResNet) -> None:
    runs: list[int] = []
    handle = small.conv_last.register_forward_hook(lambda *_: runs.append(1))
    list(features(small, IMAGES, ["body.0"], torch.clone))
    handle.remove()
    assert len(runs) == 1


def test_a_reading_that_waits_has_no_hooks(small: SRResNet) -> None:
    reading = features(small, IMAGES, LAYERS, torch.clone)
    next(reading)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in small.modules())


def test_images_are_read_one_at_a_time(small: SRResNet) -> None:
    loaded: list[int] = []

    def images() -> Iterator[Image]:
        for number, image in enumerate(IMAGES):
            loaded.append(number)
            yield image

    reading = features(small, images(), LAYERS, torch.clone)
    next(reading)
    assert loaded == [0]


def test_an_activation_in_place_does_not_overwrite_what_was_read(foreign: Foreign) -> None:
    with torch.no_grad():
        conv = foreign.conv(IMAGES[0][None])
    assert (conv < 0).any()
    response = next(features(foreign, IMAGES, ["conv"], torch.clone))["conv"]
    torch.testing.assert_close(response, conv)
    means = channel_responses(foreign, IMAGES[:1], ["conv"])["mean"].to_numpy()
    np.testing.assert_allclose(means, conv[0].mean((1, 2)), atol=1e-6)


def test_activations_are_in_place_again_after_an_error(foreign: Foreign) -> None:
    with pytest.raises(KeyError), out_of_place(foreign):
        assert not foreign.act.inplace
        raise KeyError
    assert foreign.act.inplace


@pytest.mark.parametrize("name", SMALL)
def test_every_probe_of_filters_works_on_every_network(name: str) -> None:
    network = small_network(name)
    layers = filters_of(network).layers
    wanted = [layers[0], layers[-2], f"{layers[-1]}:input"]
    for probe in (channel_responses, channel_cosine, channel_salience):
        frame = probe(network, IMAGES[:2], wanted)
        assert frame["layer"].unique().tolist() == wanted and np.isfinite(frame.iloc[:, 2:].to_numpy()).all()


BAD_LAYERS = {
    "conv_hrr": r"'conv_hrr'.* conv_hr\b",
    "": "''",
    "conv_hr:output": "'conv_hr:output'.*NAME:input.*NAME@2",
    "lrelu": "'lrelu'.* 4 ",
}


@pytest.mark.parametrize("layer", BAD_LAYERS)
@pytest.mark.parametrize("probe", [channel_responses, channel_cosine, channel_salience])
def test_a_wrong_layer_is_an_error_that_names_the_right_ones(small: SRResNet, probe: object, layer: str) -> None:
    assert callable(probe)
    with pytest.raises(InputError, match=BAD_LAYERS[layer]):
        probe(small, IMAGES, [layer])


FOREIGN_LAYERS = {
    "flat": "'flat'.*1×252",
    "pair": "'pair'.*tuple",
    "twice": "'twice'.* 2 .*twice@1 to twice@2",
    "twice:input": "'twice:input'.* 2 .*twice@1:input to twice@2:input",
    "twice@3": "no 'twice@3'.*'twice' 2 time",
    "twice/2": "write twice instead of 'twice/2'",
    "never": "'never'.* 0 ",
}


@pytest.mark.parametrize("layer", FOREIGN_LAYERS)
def test_a_layer_without_channels_or_with_several_runs_is_an_error(foreign: Foreign, layer: str) -> None:
    with pytest.raises(InputError, match=FOREIGN_LAYERS[layer]):
        channel_responses(foreign, IMAGES, [layer])


@pytest.mark.parametrize("probe", [channel_responses, channel_cosine, channel_salience])
def test_no_image_is_an_error(small: SRResNet, probe: object) -> None:
    assert callable(probe)
    with pytest.raises(InputError, match="no image"):
        probe(small, [], ["conv_hr"])
