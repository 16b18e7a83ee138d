"""Filters, their erasure, and networks resumed behind a layer."""

from functools import partial

import other_conventions as conventions
import pytest
import torch
from small_networks import with_habit
from torch import nn

from srgame.errors import InputError
from srgame.filters import (
    ABLATIONS,
    Filters,
    Resumable,
    ResumeError,
    calls_of,
    donor,
    erased,
    evaluating,
    filters_of,
    last_feature_layer,
    resume,
    run,
)
from srgame.networks import HAN, RRDBNet, SRResNet, adapted

TOLERANCE = 1e-5  # of the largest pixel: float32 rounding, since convolutions differ with the batch

SMALL = {
    "srresnet": SRResNet(features=8, blocks=2),
    "srresnet-x2": SRResNet(scale=2, features=8, blocks=1),
    "rrdbnet": RRDBNet(features=8, blocks=1, growth=4),
    "rrdbnet-x2": RRDBNet(scale=2, features=8, blocks=1, growth=4),
    "han": HAN(groups=2, blocks=1, features=8, reduction=4),
}
EVERY_LAYER = [(name, layer) for name, network in SMALL.items() for layer in filters_of(network).layers]


def some(filters: Filters, rows: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, len(filters), generator=torch.Generator().manual_seed(seed)) < 0.5


def lr_batch(rows: int) -> torch.Tensor:
    return torch.rand(rows, 3, 10, 12, generator=torch.Generator().manual_seed(1))


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_filters_are_numbered_layer_by_layer(small: SRResNet) -> None:
    filters = filters_of(small, ["conv_hr", "body.0.conv1"])
    assert filters == Filters(("body.0.conv1", "conv_hr"), (8, 8))
    assert filters.frame().iloc[[0, 7, 8]].to_numpy().tolist() == [
        ["body.0.conv1", 0],
        ["body.0.conv1", 7],
        ["conv_hr", 0],
    ]


def test_all_conv_layers_are_there_by_default() -> None:
    with torch.device("meta"):
        assert len(filters_of(SRResNet())) == 2691
        assert len(filters_of(RRDBNet())) == 13571


def test_an_unknown_layer_names_the_nearest(small: SRResNet) -> None:
    with pytest.raises(InputError, match=r"'body\.0\.conv3'.*body\.0\.conv2"):
        filters_of(small, ["body.0.conv3"])


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_erasing_leaves_nothing_behind(small: SRResNet, ablation: str) -> None:
    before, lr, filters = weights_of(small), lr_batch(2), filters_of(small)
    expected = small(lr)
    with erased(small, filters_of(small, ["conv_first"]), some(filters_of(small, ["conv_first"]), 2), ablation):
        assert not torch.equal(small(lr), expected)
    assert torch.equal(small(lr), expected)
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())
    assert not any(module._forward_hooks for module in small.modules())
    assert len(filters) > 0


def test_the_network_is_restored_when_the_body_raises(small: SRResNet) -> None:
    filters, lr = filters_of(small), lr_batch(1)
    expected = small(lr)
    with pytest.raises(ZeroDivisionError), erased(small, filters, some(filters, 1)):
        raise ZeroDivisionError
    assert torch.equal(small(lr), expected)


class Adapted(nn.Sequential):
    """A network whose train() and eval() do more than set modes, as in networks with adapters."""

    merged = False

    def train(self, mode: bool = True) -> "Adapted":
        self.merged = not mode
        super().train(mode)
        return self


def test_evaluating_is_over_when_its_body_raises() -> None:
    network = Adapted(nn.Dropout(), nn.Sequential(nn.Dropout()))
    network[1].training = False
    with pytest.raises(ZeroDivisionError), evaluating(network):
        assert network.merged and not any(module.training for module in network.modules())
        raise ZeroDivisionError
    assert not network.merged
    assert [module.training for module in network.modules()] == [True, True, False, True]


def test_each_item_of_the_batch_has_its_own_row(small: SRResNet) -> None:
    filters, lr = filters_of(small), lr_batch(3)
    present = some(filters, 3)
    with erased(small, filters, present):
        together = small(lr)
    for item in range(3):
        with erased(small, filters, present[item : item + 1]):
            torch.testing.assert_close(small(lr[item : item + 1])[0], together[item], rtol=0, atol=TOLERANCE)


def test_rows_that_do_not_match_the_batch_are_an_error(small: SRResNet) -> None:
    filters = filters_of(small)
    with (
        pytest.raises(InputError, match=r"\b3 rows.*\b2\b"),
        erased(small, filters, some(filters, 3)),
    ):
        small(lr_batch(2))


def test_zero_ablation_equals_zero_weights_and_bias(small: SRResNet) -> None:
    filters, lr = filters_of(small, ["body.1.conv1"]), lr_batch(1)
    present = some(filters, 1)
    with erased(small, filters, present, "zero"):
        restored = small(lr)
    zeroed = _copy(small)
    layer = zeroed.get_submodule("body.1.conv1")
    layer.weight.data[~present[0]] = 0
    layer.bias.data[~present[0]] = 0
    torch.testing.assert_close(restored, zeroed(lr), rtol=0, atol=TOLERANCE)


def test_replacing_a_response_by_anothers_equals_copying_its_weights_and_bias(small: SRResNet) -> None:
    lr = lr_batch(2)
    for layer in filters_of(small).layers:
        filters = filters_of(small, [layer])
        donors = list(range(len(filters)))
        donors[1] = 2
        present = torch.arange(len(filters))[None] != 1
        with erased(small, filters, present, partial(donor, donors=donors)):
            restored = small(lr)
        copied = _copy(small)
        conv = copied.get_submodule(layer)
        conv.weight.data[1], conv.bias.data[1] = conv.weight[2], conv.bias[2]
        torch.testing.assert_close(restored, copied(lr), rtol=0, atol=TOLERANCE)


def test_donors_form_one_cycle_and_no_filter_is_its_own() -> None:
    response = torch.arange(16.0)[None, :, None, None].expand(1, 16, 2, 2)
    donors = donor(response)[0, :, 0, 0].long().tolist()
    visited = [0]
    while len(visited) < 16:
        visited.append(donors[visited[-1]])
    assert sorted(visited) == list(range(16)) and donors[visited[-1]] == 0
    assert donor(response, seed=1)[0, :, 0, 0].long().tolist() != donors


def test_a_single_filter_has_no_donor() -> None:
    with pytest.raises(InputError, match="one filter has no donor"):
        donor(torch.rand(1, 1, 4, 4))


@pytest.mark.parametrize("ablation", ["mean", "noise"])
def test_mean_and_noise_keep_a_channels_level(ablation: str) -> None:
    response = (
        torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5, 20])[:, None, None]
    )
    replaced = ABLATIONS[ablation](response)
    sigma = response.std((2, 3), correction=0)
    if ablation == "mean":
        assert torch.allclose(replaced.mean((2, 3)), response.mean((2, 3)), rtol=1e-5)
        assert replaced.std((2, 3)).max() < 1e-5
    else:
        assert ((replaced.mean((2, 3)) - response.mean((2, 3))).abs() < 4 * sigma / 2000**0.5).all()
        assert torch.allclose(replaced.std((2, 3)), sigma, rtol=0.1)


def test_an_unknown_ablation_is_an_error(small: SRResNet) -> None:
    filters = filters_of(small)
    with (
        pytest.raises(InputError, match=r"'gone'.*zero, mean, noise, donor"),
        erased(small, filters, some(filters, 1), "gone"),
    ):
        pass


@pytest.mark.parametrize(("name", "layer"), EVERY_LAYER)
def test_a_resumed_network_equals_a_whole_run(name: str, layer: str) -> None:
    network = SMALL[name].eval()
    cut = resume(network, [layer])
    assert cut.at_cut == (layer,)
    filters, lr = filters_of(network, [layer]), lr_batch(1)
    _assert_same_restorations(network, cut, filters, lr)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_resumes_behind_several_layers(name: str) -> None:
    network = SMALL[name].eval()
    layers = filters_of(network).layers
    some_layers = [layers[1], layers[3], layers[-1]]
    _assert_same_restorations(network, resume(network, some_layers), filters_of(network, some_layers), lr_batch(1))


def test_what_does_not_depend_on_the_layer_is_not_in_the_tail(small: SRResNet) -> None:
    tail = resume(small, ["body.1.conv1"]).tail
    assert set(filters_of(tail).layers) == {"body.1.conv2", "upconv1", "upconv2", "conv_hr", "conv_last"}


def test_gradients_flow_through_both_parts(small: SRResNet) -> None:
    lr = lr_batch(2)
    small(lr).square().sum().backward()
    expected = {name: weights.grad.clone() for name, weights in small.named_parameters()}
    small.zero_grad()
    cut = resume(small, ["body.1.conv1"])
    cut.tail(*cut.head(lr)).square().sum().backward()
    for name, weights in small.named_parameters():
        torch.testing.assert_close(weights.grad, expected[name])
    small.zero_grad()


class Gated(nn.Module):
    """What torch.fx cannot trace: a branch on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.sum() > 0 else x


class Twice(nn.Module):
    """A layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.conv(x))


class Constant(nn.Module):
    """A parameter that is used after the layer, through an operation of its own, and an unrelated branch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.side = nn.Conv2d(3, 3, 1)
        self.gain = nn.Parameter(torch.tensor([[[[2.0]], [[3.0]], [[4.0]]]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * self.gain.exp() + self.side(x)


@pytest.mark.parametrize(("network", "reason"), [(Gated(), "cannot trace"), (Twice(), "exactly once")])
def test_a_network_that_cannot_be_resumed_says_why(network: nn.Module, reason: str) -> None:
    with pytest.raises(ResumeError, match=reason):
        resume(network, ["conv"])


def test_parameters_used_outside_of_layers_stay_in_the_tail() -> None:
    network = Constant()
    _assert_same_restorations(network, resume(network, ["conv"]), filters_of(network, ["conv"]), lr_batch(1))


def _assert_same_restorations(network: nn.Module, cut: Resumable, filters: Filters, lr: torch.Tensor) -> None:
    present = some(filters, 4)
    with torch.inference_mode():
        live = [value.expand(4, *value.shape[1:]) for value in cut.head(lr)]
        with erased(cut.tail, filters, present, "mean"):
            resumed = cut.tail(*live)
        with erased(network, filters, present, "mean"):
            whole = network(lr.expand(4, *lr.shape[1:]))
        assert not torch.equal(whole[0], network(lr)[0])
    torch.testing.assert_close(resumed, whole, rtol=0, atol=TOLERANCE * whole.abs().max().item())


def _copy(network: SRResNet) -> SRResNet:
    copied = SRResNet(features=8, blocks=2).eval()
    copied.load_state_dict(network.state_dict())
    return copied


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (SRResNet(4, features=8, blocks=1), "conv_hr"),
        (SRResNet(4, features=48, blocks=1), "conv_hr"),
        (RRDBNet(4, features=8, blocks=1, growth=4), "conv_hr"),
        (with_habit("Plain"), "body"),  # a pixel shuffle makes the image of what `tail` returns
        (with_habit("Recursive"), "body"),
        (adapted(conventions.window7()), "body"),  # its image is padded, and cropped again
        (adapted(conventions.one_channel(), channels="y"), "body"),  # its image is the luma
        (adapted(conventions.in_bytes(), value_range=255), "body"),
        (adapted(conventions.enlarged_first(), upsampled_input=4), "body"),
    ],
)
def test_the_last_feature_layer_is_the_last_whose_response_is_not_the_image(network: nn.Module, layer: str) -> None:
    assert last_feature_layer(network, lr_batch(1)[0]) == layer


def test_the_calls_of_a_run_are_counted_and_followed() -> None:
    recursive, normed = (calls_of(with_habit(name), lr_batch(2)) for name in ("Recursive", "Normed"))
    assert [recursive.count(layer) for layer in ("head", "body", "tail", "gone")] == [1, 3, 1, 0]
    assert [normed.behind(layer) for layer in ("head", "body", "tail")] == [("act",), ("norm", "act"), ()]


@pytest.mark.parametrize("layer", ["conv/0", "conv/x", "conv:output", "conv@0", "conv@x", "conv:input@2"])
def test_a_layer_that_names_no_filters_is_an_error(layer: str) -> None:
    with pytest.raises(InputError, match=f"'{layer}'.*NAME@2:input/4"):
        filters_of(Twice(), [layer])


def test_a_network_that_fails_is_an_error_with_the_images_size() -> None:
    with pytest.raises(InputError, match=r"12×10.*AssertionError"):
        run(with_habit("BatchOfOne"), lr_batch(2))


def test_a_network_of_computed_weights_can_be_resumed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.utils.weight_norm(nn.Conv2d(4, 3, 3)))
    network(lr_batch(1))  # its weight is then computed from others, and cannot be copied by deepcopy
    assert resume(network, ["0"]).at_cut == ("0",)
