"""What training minimises: a strategy holds the network and returns its losses by name; their sum is minimised.

What a strategy returns without a gradient is only watched. It draws what it needs from the generator of the step, so
that a resumed run repeats an uninterrupted one; all processes that train together draw the same.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from srgame import processes
from srgame.errors import InputError
from srgame.filters import Absence, Filters, donor, erased, filters_of, resume
from srgame.images import upsample

Losses = dict[str, Tensor]
LR = Float[Tensor, "b 3 h w"]
HR = Float[Tensor, "b 3 H W"]


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


class BicubicPull(nn.Module):
    """L1 to the HR image and L1 to bicubic upsampling, nothing erased: the control that EATS has to beat."""

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses:
        sr = self.network(lr)
        return {"original": F.l1_loss(sr, hr), "pull": F.l1_loss(sr, _bicubic(lr, hr))}


class EATS(nn.Module):
    """Erase and awaken (paper, Algorithm 1): L1 to the HR image, and of the network with erased filters to bicubic.

    A layer is drawn, in it `count` filters to erase and for each another one whose response takes its place (Eq. 2, 3).
    What lies before that layer is computed once for both. `layers` are the layers to draw from, by default every conv
    layer of more than `count` filters, or evenly spread over depth the share `ratio` of them (Table 6); `toward` "hr"
    draws the erased network to the HR image instead, as a control.
    """

    network: nn.Module

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str] | None = None,
        ratio: float = 1.0,
        count: int = 1,
        toward: Literal["bicubic", "hr"] = "bicubic",
    ) -> None:
        super().__init__()
        if not (0 < ratio <= 1 and count >= 1):
            raise InputError(
                f"a ratio of layers lies in (0, 1] and at least 1 filter is erased, not {ratio} and {count}"
            )
        filters = filters_of(network, layers)
        wide = [layer for layer, width in zip(filters.layers, filters.widths, strict=True) if width > count]
        if not wide:
            raise InputError(f"no layer has more than {count} filters to erase: erase fewer")
        self.network = network
        self.count = count
        self.toward = toward
        self.layers = [wide[math.floor(i / ratio)] for i in range(max(1, round(len(wide) * ratio)))]
        self.resumed = cache(lambda layer: resume(network, [layer]))

    def forward(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses:
        filters, present, absent = self.erasure(rng)
        cut = self.resumed(filters.layers[0])
        live = cut.head(lr)
        sr = cut.tail(*live)
        with erased(cut.tail, filters, present, absent):
            sr_erased = cut.tail(*live)
        bicubic = _bicubic(lr, hr)
        return {
            "original": F.l1_loss(sr, hr),
            "awaken": F.l1_loss(sr_erased, bicubic if self.toward == "bicubic" else hr),
            "erasure": _watched(sr, sr_erased),
            "to_bicubic": _watched(sr, bicubic),
        }

    def erasure(self, rng: np.random.Generator) -> tuple[Filters, Bool[Tensor, "1 filter"], Absence]:
        """One drawn as a training step draws it: a layer's filters, who is present, what takes the others' place."""
        filters = filters_of(self.network, [str(rng.choice(self.layers))])
        order = rng.permutation(len(filters))
        gone, others = order[: self.count], order[self.count :]
        donors = np.arange(len(filters))
        donors[gone] = rng.choice(others, self.count)
        present = torch.ones(1, len(filters), dtype=torch.bool)
        present[0, gone] = False
        return filters, present, partial(donor, donors=donors.tolist())


def _bicubic(lr: LR, hr: HR) -> HR:
    return upsample(lr, hr.shape[-1] // lr.shape[-1])


def _watched(a: Any, b: Any) -> Tensor:
    """The mean absolute difference, without a gradient."""
    return F.l1_loss(a.detach(), b.detach())


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "original": Original,
    "dropout": Dropout,
    "eats": EATS,
    "bicubic-pull": BicubicPull,
}
