"""What training minimises: a strategy holds the network and returns its losses by name; their sum is minimised.

It draws what it needs from the generator of the step, so that a resumed run repeats an uninterrupted one.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from srgame.filters import donor, erased, filters_of, resume
from srgame.images import upsample

Losses = dict[str, Tensor]


@runtime_checkable
class Strategy(Protocol):
    """A way to train `network`."""

    network: nn.Module

    def __call__(
        self, lr: Float[Tensor, "b 3 h w"], hr: Float[Tensor, "b 3 H W"], rng: np.random.Generator
    ) -> Losses: ...


class Original(nn.Module):
    """L1 to the HR image."""

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: Float[Tensor, "b 3 h w"], hr: Float[Tensor, "b 3 H W"], rng: np.random.Generator) -> Losses:
        return {"original": F.l1_loss(self.network(lr), hr)}


class EATS(nn.Module):
    """Erase and awaken (paper, Algorithm 1): L1 to the HR image, and of the network with one filter erased to bicubic.

    A layer is drawn, in it the filter to erase and another one whose response takes its place (Eq. 2, 3). What lies
    before that layer is computed once for both.
    """

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        filters = filters_of(network)
        self.layers = [layer for layer, width in zip(filters.layers, filters.widths, strict=True) if width > 1]
        self.resumed = cache(lambda layer: resume(network, [layer]))

    def forward(self, lr: Float[Tensor, "b 3 h w"], hr: Float[Tensor, "b 3 H W"], rng: np.random.Generator) -> Losses:
        filters = filters_of(self.network, [str(rng.choice(self.layers))])
        erased_filter, disruptor = rng.choice(len(filters), 2, replace=False)
        donors = np.arange(len(filters))
        donors[erased_filter] = disruptor
        present = lr.new_ones(1, len(filters)).bool()
        present[0, erased_filter] = False

        cut = self.resumed(filters.layers[0])
        live = cut.head(lr)
        sr = cut.tail(*live)
        with erased(cut.tail, filters, present, partial(donor, donors=donors.tolist())):
            sr_erased = cut.tail(*live)
        scale = hr.shape[-1] // lr.shape[-1]
        return {"original": F.l1_loss(sr, hr), "awaken": F.l1_loss(sr_erased, upsample(lr, scale))}


STRATEGIES: dict[str, Callable[[nn.Module], Strategy]] = {"original": Original, "eats": EATS}
