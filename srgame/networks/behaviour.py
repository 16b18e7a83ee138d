"""What a network's code makes of its weights, as a few numbers: stored results belong to these, and to the weights.

The sha256 of the weights stays the same if the code changes, for example the slope of an activation. So a network is
known by its SR image of one small image too. A change that alters that image by less than SAME goes unnoticed.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from srgame.devices import device_of, full_float32
from srgame.errors import InputError
from srgame.filters import evaluating, run
from srgame.networks.adapter import ODD, adapted
from srgame.networks.checkpoints import fingerprint

BEHAVIOUR = "behaviour"  # in the json of stored results, beside "weights"
VALUES = 256  # of an SR image that has thousands
SAME = 1e-4  # of the largest value: images computed on other devices, up to rounding that many layers amplify
COARSE = {"float16": 2e-3, "bfloat16": 1.6e-2}  # the same for networks in half precision: two units of rounding


def identity_of(network: nn.Module, stored: Path | None = None) -> dict[str, str]:
    """The weights (`fingerprint`) and the behaviour (`behaviour_of`) by which stored results know their network.

    `stored` is the json of earlier results. The behaviour there is returned if it is the same up to rounding, and none
    if there is none, as in results of earlier versions. Raises InputError if that json has these weights, but another
    behaviour.
    """
    weights = {"weights": fingerprint(network)}
    known = _read(stored) if stored else {}
    if not known:
        return weights | {BEHAVIOUR: behaviour_of(network)}
    then = known.get(BEHAVIOUR)
    if stored and known.get("weights") == weights["weights"] and not is_same(then, behaviour_of(network)):
        raise InputError(
            f"'{stored.parent}' holds results of another network with the same weights: the code was changed since, "
            "and restores another image: choose another folder, or undo the change"
        )
    return weights if then is None else weights | {BEHAVIOUR: then}


def behaviour_of(network: nn.Module) -> str:
    """The precision of the network and values of its SR image of one small random image, separated by spaces.

    "" if the network restores no image of the sizes that `adapted` tries.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> kind, *values = behaviour_of(network).split()
    >>> kind, len(values)
    ('float32', 256)
    """
    lr = torch.rand(1, 3, *ODD, generator=torch.Generator().manual_seed(0))
    device = device_of(network)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), evaluating(network), full_float32():
        torch.manual_seed(0)  # for networks that add noise
        try:
            sr = _restored(network, lr)
        except InputError:
            return ""
    values = sr.double().cpu().flatten()
    spread = values[torch.linspace(0, len(values) - 1, VALUES).long()]
    return " ".join([_precision(network), *(f"{value:.6g}" for value in spread.tolist())])


def is_same(stored: str | None, current: str) -> bool:
    """Whether two behaviours are the same up to rounding; also if none was stored, as by earlier versions."""
    if stored is None or stored == current:
        return True
    try:
        (kind, then), (own_kind, now) = _numbers(stored), _numbers(current)
    except ValueError:  # what is stored was written by something else
        return False
    if kind != own_kind or len(then) != len(now):
        return False
    largest = np.abs(now[np.isfinite(now)]).max(initial=0)
    return np.allclose(then, now, rtol=0, atol=COARSE.get(kind, SAME) * largest, equal_nan=True)


@torch.inference_mode()
def _restored(network: nn.Module, lr: Float[Tensor, "1 3 h w"]) -> Tensor:
    try:
        return run(network, lr)
    except InputError:
        return run(adapted(network), lr)


def _precision(network: nn.Module) -> str:
    """The coarsest precision of the weights."""
    kinds = {weights.dtype for weights in network.parameters() if weights.is_floating_point()} or {torch.float32}
    return str(max(kinds, key=lambda kind: torch.finfo(kind).eps)).removeprefix("torch.")


def _numbers(behaviour: str) -> tuple[str, np.ndarray[Any, np.dtype[np.float64]]]:
    kind, *values = str(behaviour).split() or [""]
    return kind, np.array(values, dtype=np.float64)


def _read(path: Path) -> dict[str, Any]:
    """The settings in a json; nothing if it is damaged, which those who read all of it report."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        return dict(content.get("settings", content))
    return {}
