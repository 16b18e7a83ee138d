"""Public checkpoints: each layout of names loads as it was saved."""

import re

import pytest
import torch
import torch.nn.functional as F
from small_networks import assert_same_images, images, saved, small
from torch import nn

from srgame.errors import InputError
from srgame.networks import HAN, RRDBNet, SRResNet, load_network

THEIR_NAMES = {
    ("srresnet", "BasicSR and KAIR's MSRResNet1"): {},
    ("srresnet", "BasicSR before 2020"): {r"^body": "recon_trunk", r"^conv_hr": "HRconv"},
    ("rrdbnet", "Real-ESRGAN"): {},
    ("rrdbnet", "ESRGAN"): {
        r"^body\.(\d+)\.rdb": r"RRDB_trunk.\1.RDB",
        r"^conv_body": "trunk_conv",
        r"^conv_up": "upconv",
        r"^conv_hr": "HRconv",
    },
    ("rrdbnet", "ESRGAN's first release"): {
        r"^conv_first": "model.0",
        r"^body\.(\d+)\.rdb(\d\.conv\d)": r"model.1.sub.\1.RDB\2.0",
        r"^conv_body": "model.1.sub.2",
        r"^conv_up1": "model.3",
        r"^conv_up2": "model.6",
        r"^conv_hr": "model.8",
        r"^conv_last": "model.10",
    },
    ("han", "ours"): {},
}


def under_their_names(network: nn.Module, names: dict[str, str]) -> dict[str, torch.Tensor]:
    weights = network.state_dict()
    for ours, theirs in names.items():
        weights = {re.sub(ours, theirs, name): tensor for name, tensor in weights.items()}
    return weights


@pytest.mark.parametrize(("name", "whose"), THEIR_NAMES)
@pytest.mark.parametrize("named", [True, False])
def test_a_public_layout_loads_as_it_was_saved(name, whose, named, tmp_path):
    network = small(f"{name}-x4")
    path = saved(under_their_names(network, THEIR_NAMES[name, whose]), tmp_path / "weights.pth")
    loaded = load_network(path, network=name if named else None)
    assert_same_images(loaded, network)
    assert not loaded.training
    assert all(p.requires_grad and p.device.type == "cpu" for p in loaded.parameters())


@pytest.mark.parametrize(("rgb_range", "name"), [(255.0, "han"), (1.0, "han-lite")])
def test_a_public_han_restores_as_with_its_mean_shifts(rgb_range, name, tmp_path):
    network, lr = small("han-x4"), images(2, 5, 7)
    mean = rgb_range * torch.tensor([0.4488, 0.4371, 0.4040])
    identity = torch.eye(3)[:, :, None, None]
    shifts = {"sub_mean.weight": identity, "sub_mean.bias": -mean, "add_mean.weight": identity, "add_mean.bias": mean}
    weights = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("rgb_")} | shifts
    loaded = load_network(saved(weights, tmp_path / "model_best.pt"), name)

    network.rgb_mean.zero_()
    with torch.no_grad():
        expected = F.conv2d(network(F.conv2d(rgb_range * lr, identity, -mean)), identity, mean)
        torch.testing.assert_close(loaded(lr) * rgb_range, expected, rtol=1e-4, atol=1e-4)


def test_a_mean_shift_that_does_more_is_not_dropped(tmp_path):
    weights = small("han-x4").state_dict()
    weights["sub_mean.weight"], weights["sub_mean.bias"] = 2 * torch.eye(3)[:, :, None, None], -torch.ones(3)
    with pytest.raises(InputError, match=r"'.*model.pt' holds weights that HAN does not have: 'sub_mean.weight'"):
        load_network(saved(weights, tmp_path / "model.pt"))


def test_kair_msrresnet0_is_named_as_another_network(tmp_path):
    names = {f"model.1.sub.{block}.res.{conv}.weight": torch.ones(8, 8, 3, 3) for block in (0, 1) for conv in (0, 2)}
    path = saved(names | {"model.0.weight": torch.ones(8, 3, 3, 3)}, tmp_path / "kair.pth")
    for network in (None, "srresnet"):
        with pytest.raises(InputError, match=r"'.*kair.pth' .* KAIR's MSRResNet0, not srresnet .*module:function"):
            load_network(path, network)


@pytest.mark.parametrize(
    ("build", "scales", "settings"),
    [
        (SRResNet, (2, 3, 4), {"blocks": 3, "features": 12}),
        (RRDBNet, (2, 4), {"blocks": 3, "features": 12, "growth": 5}),
        (HAN, (2, 3, 4, 8), {"groups": 2, "blocks": 3, "features": 12, "reduction": 5}),
    ],
)
def test_the_settings_are_read_from_the_shapes(build, scales, settings, tmp_path):
    for scale in scales:
        network = build(scale, **settings)
        assert_same_images(load_network(saved(network.state_dict(), tmp_path / "x"), scale=scale), network)
