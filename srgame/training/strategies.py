"""What training minimises: a strategy holds the network and returns its losses by name; their sum is minimised.

What a strategy returns without a gradient is only watched. It draws what it needs from the generator of the step, so
that a resumed run repeats an uninterrupted one; all processes that train together draw the same.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from srgame.data.images import resize, upsample
from srgame.errors import InputError, chosen
from srgame.filters import Filters, donor, erased, filters_of, resume
from srgame.metrics import quantized
from srgame.training import processes

Losses = dict[str, Tensor]
LR = Float[Tensor, "b 3 h w"]
HR = Float[Tensor, "b 3 H W"]
Target = Literal["bicubic", "clean bicubic", "hr"]
Teaches = Literal["all", "layer", "disruptor"]
Erase = Literal["one", "one per layer", "none"]


@runtime_checkable
class Strategy(Protocol):
    """A way to train `network`."""

    network: nn.Module

    def __call__(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses: ...


class Original(nn.Module):
    """L1 to the HR image."""

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses:
        sr = self.network(lr)
        return {"original": F.l1_loss(sr, hr), "to_bicubic": _watched(sr, _bicubic(lr, hr))}


class Dropout(nn.Module):
    """L1 to the HR image, each input channel of the last conv dropped with probability `p` (Kong et al. 2022).

    The paper has p = 0.5 for SRResNet and 0.7 for RRDBNet; Reflash Dropout's own files have them the other way round.
    """

    network: nn.Module

    def __init__(self, network: nn.Module, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise InputError(f"a channel is dropped with a probability between 0 and 1, not {p}")
        self.network = network
        self.p = p
        self.last = filters_of(network).layers[-1]

    def forward(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses:
        def drop(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            everyone = rng.random((processes.count(), *inputs[0].shape[:2]))
            kept = torch.from_numpy(everyone[processes.rank()] >= self.p).to(inputs[0])
            return (inputs[0] * kept[:, :, None, None] / (1 - self.p), *inputs[1:])

        hook = self.network.get_submodule(self.last).register_forward_pre_hook(drop)
        try:
            return {"original": F.l1_loss(self.network(lr), hr)}
        finally:
            hook.remove()


def _bicubic(lr: LR, hr: HR) -> HR:
    return upsample(lr, hr.shape[-1] // lr.shape[-1])


def _clean_bicubic(lr: LR, hr: HR) -> HR:
    return _bicubic(quantized(resize(hr, *lr.shape[-2:])), hr)


TARGETS: dict[str, Callable[[LR, HR], HR]] = {
    "bicubic": _bicubic,
    "clean bicubic": _clean_bicubic,
    "hr": lambda _, hr: hr,
}


@dataclass(frozen=True)
class Erasure:
    """Filters of one layer erased, each replaced by its disruptor, another filter's response (paper, Eq. 2 and 3)."""

    filters: Filters  # all of the layer
    gone: tuple[int, ...]
    disruptors: tuple[int, ...]

    def __call__(self, network: nn.Module) -> AbstractContextManager[None]:
        """While open, `network` responds with the disruptors in place of the erased filters."""
        present = torch.ones(1, len(self.filters), dtype=torch.bool)
        present[0, list(self.gone)] = False
        donors = np.arange(len(self.filters))
        donors[list(self.gone)] = self.disruptors
        return erased(network, self.filters, present, partial(donor, donors=donors.tolist()))


class EATS(nn.Module):
    """Erase and awaken (paper, Algorithm 1): L1 of the network to the HR image, and of the erased network to bicubic.

    At each step a layer is drawn, and in it `count` filters to erase, each replaced by the response of another one, its
    disruptor (Eq. 2, 3). The defaults are the paper's text; since that does not give the paper's tables, each choice
    that the text leaves open is an option, a reading of EATS:

    - `weight`: the awakening loss counts this much beside the L1 loss to the HR image.
    - `target`: what the erased network is trained towards: "bicubic", upsampling of the degraded LR image; "clean
      bicubic", upsampling of the HR image downsampled (bicubic, 8 bit); or "hr", the HR image itself.
    - `teaches`: the weights that the awakening loss trains: "all", those of the drawn "layer", or of the "disruptor".
    - `erase`: "one" draws a layer and erases in it; "one per layer" erases in every layer; "none" draws as "one" does
      and erases nothing, so that the intact network is trained towards the target: the control of the reading.

    `layers` are the layers to draw from, by default every conv layer of more than `count` filters; `ratio` is the
    share of them that takes part, evenly spread over depth (Table 6).

    Raises InputError for a share outside (0, 1], for a negative or infinite weight, and where no layer has more than
    `count` filters.
    """

    network: nn.Module

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str] | None = None,
        ratio: float = 1.0,
        count: int = 1,
        weight: float = 1.0,
        target: Target = "bicubic",
        teaches: Teaches = "all",
        erase: Erase = "one",
    ) -> None:
        super().__init__()
        if not (0 < ratio <= 1 and count >= 1):
            raise InputError(
                f"a ratio of layers lies in (0, 1] and at least 1 filter is erased, not {ratio} and {count}"
            )
        if not 0 <= weight < math.inf:
            raise InputError(f"the weight of the awakening loss is a finite number from 0 on, not {weight}")
        filters = filters_of(network, layers)
        wide = [layer for layer, width in zip(filters.layers, filters.widths, strict=True) if width > count]
        if not wide:
            raise InputError(f"no layer has more than {count} filters to erase: erase fewer")
        self.network = network
        self.count = count
        self.weight = weight
        self.target = chosen("target", target, TARGETS)
        self.teaches = chosen("kind of weights to teach", teaches, {kind: kind for kind in get_args(Teaches)})
        self.erase = chosen("kind of erasure", erase, {kind: kind for kind in get_args(Erase)})
        self.layers = [wide[math.floor(i / ratio)] for i in range(max(1, round(len(wide) * ratio)))]
        self.resumed = cache(lambda layers: resume(network, layers))

    def forward(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses:
        sr, awakened = self._both(lr, self.erasures(rng))
        erases = self.erase != "none"
        losses = {
            "original": F.l1_loss(sr, hr),
            "awaken" if erases else "pull": self.weight * F.l1_loss(awakened, self.target(lr, hr)),
        }
        watched = {"erasure": _watched(sr, awakened)} if erases else {}
        return losses | watched | {"to_bicubic": _watched(sr, _bicubic(lr, hr))}

    def erasures(self, rng: np.random.Generator) -> tuple[Erasure, ...]:
        """What a training step erases: filters of one layer and their disruptors, or those of every layer."""
        layers = self.layers if self.erase == "one per layer" else [str(rng.choice(self.layers))]
        return tuple(self._erasure(layer, rng) for layer in layers)

    def _erasure(self, layer: str, rng: np.random.Generator) -> Erasure:
        filters = filters_of(self.network, [layer])
        permutation = rng.permutation(len(filters))
        gone, others = permutation[: self.count], permutation[self.count :]
        return Erasure(filters, tuple(gone.tolist()), tuple(rng.choice(others, self.count).tolist()))

    def _both(self, lr: LR, erasures: Sequence[Erasure]) -> tuple[HR, HR]:
        """The SR image, and the erased network's, whose gradient reaches the weights that are taught and no others."""
        network = self.network
        with ExitStack() as stack:
            if self.teaches == "all" and self.erase == "none":
                sr = awakened = network(lr)
            elif self.teaches == "all":  # what lies before the erased layers is computed once
                cut = self.resumed(tuple(erasure.filters.layers[0] for erasure in erasures))
                live = cut.head(lr)
                sr = cut.tail(*live)
                for erasure in erasures:
                    stack.enter_context(erasure(cut.tail))
                awakened = cut.tail(*live)
            else:
                sr = network(lr)
                for erasure in erasures if self.erase != "none" else ():
                    stack.enter_context(erasure(network))
                weights = _detached(network, {e.filters.layers[0]: self._taught(e) for e in erasures})
                awakened = torch.func.functional_call(network, weights, (lr,))
        return sr, awakened

    def _taught(self, erasure: Erasure) -> Sequence[int]:
        return erasure.disruptors if self.teaches == "disruptor" else range(len(erasure.filters))


class BicubicPull(EATS):
    """EATS that erases nothing: L1 to the HR image and, `weight` times, to bicubic upsampling.

    What EATS gains over this control is what its erasures bring.
    """

    def __init__(self, network: nn.Module, weight: float = 1.0, target: Target = "bicubic") -> None:
        super().__init__(network, weight=weight, target=target, erase="none")


def _detached(network: nn.Module, but: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The weights of `network` without gradients, except those of these filters of these layers."""
    weights = {name: value.detach() for name, value in network.named_parameters()}
    for layer, filters in but.items():
        module = network.get_submodule(layer)
        for name, value in module.named_parameters(recurse=False):
            axis = 1 if isinstance(module, nn.ConvTranspose2d) and name == "weight" else 0
            chosen = torch.zeros(value.shape[axis], dtype=torch.bool, device=value.device)
            chosen[list(filters)] = True
            chosen = chosen.view([-1 if dimension == axis else 1 for dimension in range(value.ndim)])
            weights[f"{layer}.{name}"] = torch.where(chosen, value, value.detach())
    return weights


def _watched(a: Any, b: Any) -> Tensor:
    """The mean absolute difference, without a gradient."""
    return F.l1_loss(a.detach(), b.detach())


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "original": Original,
    "dropout": Dropout,
    "eats": EATS,
    "bicubic-pull": BicubicPull,
}
