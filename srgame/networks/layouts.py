"""Our networks, and the names that public checkpoints give to their weights."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from srgame.errors import InputError
from srgame.networks.han import HAN, han_lite
from srgame.networks.rrdbnet import RRDBNet
from srgame.networks.srresnet import SRResNet
from srgame.networks.weights import Weights

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "srresnet": SRResNet,
    "rrdbnet": RRDBNet,
    "han": HAN,
    "han-lite": han_lite,
}


@dataclass(frozen=True)
class Layout:
    """How to recognise a network's weights, rename them to our names, and derive the network's settings from them."""

    mark: str  # a regular expression that matches a weight of this network, and of no other
    names: Callable[[Weights], Weights]
    settings: Callable[[Weights], dict[str, int]]


def _srresnet_names(weights: Weights) -> Weights:
    """Renames the weights of BasicSR's MSRResNet, now and before 2020, and of KAIR's MSRResNet1."""
    if _count(weights, r"model\.1\.sub\.(\d+)\.res\."):
        raise InputError(
            "it is KAIR's MSRResNet0, not srresnet (it has a conv after the body, a long skip and no image residual): "
            "give network='module:function' for a function that builds it"
        )
    return _renamed(weights, {r"recon_trunk\.": "body.", r"HRconv\.": "conv_hr."})


def _srresnet_settings(weights: Weights) -> dict[str, int]:
    features = _size(weights, "conv_first.weight")
    step = math.isqrt(_size(weights, "upconv1.weight") // max(features, 1))
    scale = 4 if "upconv2.weight" in weights else step
    return {"scale": scale, "features": features, "blocks": _count(weights, r"body\.(\d+)\.")}


def _rrdbnet_names(weights: Weights) -> Weights:
    """Renames the weights of BasicSR and Real-ESRGAN, of ESRGAN, and of ESRGAN's first release (`model.N`)."""
    return _renamed(
        weights,
        {
            r"(?:RRDB_trunk|model\.1\.sub)\.(\d+)\.RDB(\d\.conv\d)(?:\.0)?": r"body.\1.rdb\2",
            r"(?:trunk_conv|model\.1\.sub\.\d+)\.(?=weight|bias)": "conv_body.",
            r"upconv(?=\d\.)": "conv_up",
            r"HRconv\.": "conv_hr.",
            r"model\.0\.": "conv_first.",
            r"model\.3\.": "conv_up1.",
            r"model\.6\.": "conv_up2.",
            r"model\.8\.": "conv_hr.",
            r"model\.10\.": "conv_last.",
        },
    )


def _rrdbnet_settings(weights: Weights) -> dict[str, int]:
    return {
        "scale": {12: 2, 48: 1}.get(_size(weights, "conv_first.weight", axis=1), 4),
        "features": _size(weights, "conv_first.weight"),
        "blocks": _count(weights, r"body\.(\d+)\."),
        "growth": _size(weights, "body.0.rdb1.conv1.weight"),
    }


def _han_names(weights: Weights) -> Weights:
    """Turns the 1×1 convs `sub_mean` and `add_mean` of the public HAN into our buffers of mean colour and range.

    If they do more than subtract and add one colour, they keep their names, and loading then fails.
    """
    mean, identity = weights.get("add_mean.bias", torch.zeros(0)), torch.eye(3)[:, :, None, None]
    shifts = {
        "sub_mean.weight": identity,
        "sub_mean.bias": -1.0 * mean,
        "add_mean.weight": identity,
        "add_mean.bias": mean,
    }
    if not all(name in weights and torch.equal(weights[name], value) for name, value in shifts.items()):
        return weights
    rgb_range = torch.tensor(255.0 if mean.max() > 1 else 1.0)
    others = {name: tensor for name, tensor in weights.items() if name not in shifts}
    return others | {"rgb_mean": mean[:, None, None] / rgb_range, "rgb_range": rgb_range}


def _han_settings(weights: Weights) -> dict[str, int]:
    features = _size(weights, "head.0.weight")
    thrice = _size(weights, "tail.0.0.weight") == 9 * features
    return {
        "scale": 3 if thrice else 2 ** _count(weights, r"tail\.0\.(\d+)\.weight"),
        "groups": _count(weights, r"body\.(\d+)\.body\."),
        "blocks": _count(weights, r"body\.0\.body\.(\d+)\.body\."),
        "features": features,
        "reduction": features // max(_size(weights, "body.0.body.0.body.3.conv_du.0.weight"), 1),
    }


LAYOUTS = {
    "srresnet": Layout(
        r"((body|recon_trunk)\.\d+\.conv1|model\.1\.sub\.\d+\.res\.0)\.", _srresnet_names, _srresnet_settings
    ),
    "rrdbnet": Layout(
        r"(body\.\d+\.rdb|RRDB_trunk\.\d+\.RDB|model\.1\.sub\.\d+\.RDB)1\.conv1\.", _rrdbnet_names, _rrdbnet_settings
    ),
    "han": Layout(r"la\.gamma$", _han_names, _han_settings),
}


def _renamed(weights: Weights, substitutions: dict[str, str]) -> Weights:
    """The weights under new names: in each name, the first expression that matches its start is substituted."""

    def ours(name: str) -> str:
        return next(
            (re.sub(old, new, name, count=1) for old, new in substitutions.items() if re.match(old, name)), name
        )

    result = {ours(name): tensor for name, tensor in weights.items()}
    if len(result) < len(weights):
        raise InputError("it has two names for one weight")
    return result


def _size(weights: Weights, name: str, axis: int = 0) -> int:
    """The length of an axis of a weight; 0 if there is none."""
    shape = weights[name].shape if name in weights else ()
    return shape[axis] if axis < len(shape) else 0


def _count(weights: Weights, numbered: str) -> int:
    """The number of different matches of the group of a regular expression."""
    return len({match[1] for name in weights if (match := re.match(numbered, name))})
