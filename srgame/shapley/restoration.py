"""Restoration games: the players are filters, and a coalition is worth what its restored images are."""

import html
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import Ablation, Filters, Presences, ablation_named, differentiating
from srgame.metrics import Payoff, payoff_named
from srgame.shapley.coalition_images import CoalitionImages
from srgame.shapley.game import Coalitions, Game, Worth, as_coalitions


class RestorationGame:
    """The mean payoff, over `pairs`, of the images that `network` restores without the filters outside a coalition.

    payoff: one of metrics.PAYOFFS, or a function of (sr, hr) that returns a float64 number per image.
    ablation: what replaces the response of an erased filter, as in `erased`.
    batch: the number of coalitions in one run of the network, by default a number that suits the device; it is halved
        if memory runs out, and 1, with a warning, if the network's images depend on what else is in the batch.
    bfloat16: True adds a low-precision game, which computes convolutions in bfloat16.
    at: "activation" erases the response behind the norm and the activation that follow a layer (`activations`).

    The first evaluation runs the network to find out how it can be resumed (its warnings say what it found). All layers
    before the filters' first layer are computed once per image, and their responses stay on the device. If the network
    cannot be resumed there, every coalition takes a run of the whole network. The values of PSNR lie within 1e-6 dB of
    those in float64, whatever the batch. The network gets copies of the images, which it may edit.

    The first evaluation raises InputError if the network's images do not have the size of `pairs.hr`, and if memory
    does not hold the responses before the first layer; every evaluation does if memory does not hold one run of the
    network, and if a worth is not a finite number.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> game = RestorationGame(network, srgame.filters_of(network, ["conv_hr"]), pairs)
    >>> game
    <Game of 4 filters (conv_hr) on 1 images>
    >>> game([[True, True, True, True], [True, False, True, False]]).shape  # in dB: of all, and of filters 0 and 2
    torch.Size([2])
    """

    def __init__(
        self,
        network: nn.Module,
        filters: Filters,
        pairs: Pairs,
        payoff: str | Payoff = "psnr",
        ablation: str | Ablation = "zero",
        batch: int | None = None,
        bfloat16: bool = False,
        at: Literal["output", "activation"] = "output",
    ) -> None:
        self.filters = filters
        self.pairs = pairs
        self.payoff = payoff_named(payoff)
        self.bfloat16 = bfloat16
        self.images = CoalitionImages(network, filters, pairs, ablation_named(ablation), batch, at)

    @property
    def players(self) -> int:
        return len(self.filters)

    def __repr__(self) -> str:
        layers = f"{self.filters.layers[0]}{' …' * (len(self.filters.layers) > 1)}"
        return f"<Game of {self.players} filters ({layers}) on {len(self.pairs)} images>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{self.filters.frame().to_html(max_rows=10)}"

    @property
    def rounding(self) -> float:
        """The relative rounding error of the images."""
        return float(torch.finfo(self.pairs.hr[0].dtype).eps)

    def __call__(self, coalitions: Any) -> Worth:
        return self.per_image(coalitions).mean(0)

    def per_image(self, coalitions: Any) -> Float[Tensor, "image coalition"]:
        """The payoff on each image alone; `coalitions` may be an array or nested lists too, as in `as_coalitions`."""
        coalitions = as_coalitions(coalitions, self.players)
        return torch.stack([self.worth(coalitions, image) for image in range(len(self.pairs))])

    @property
    def parts(self) -> list[Game]:
        """The game on each image alone."""
        return [_Part(self, range(image, image + 1)) for image in range(len(self.pairs))]

    @property
    def low_precision(self) -> Game | None:
        """The game in bfloat16, if there is one."""
        return _Part(self, range(len(self.pairs))).low_precision

    @property
    def dummies(self) -> Bool[Tensor, " player"]:
        """The filters that are never called, or whose response at the cut equals its ablation on every image."""
        return self.images.dummies

    @torch.inference_mode()
    def worth(self, coalitions: Coalitions, image: int, low_precision: bool = False) -> Worth:
        """The payoff on one image; `low_precision` computes convolutions in bfloat16."""
        restored, device = self.images.on(image), self.images.device.type
        low_precision = low_precision and bool(torch.backends.mkldnn.enabled)  # without it that is no faster

        def evaluated(part: Presences) -> Worth:
            sr = restored(part)
            with torch.autocast(device, enabled=False):
                return self._paid(sr.float() if low_precision else sr, image)

        with torch.autocast(device, torch.bfloat16, enabled=low_precision):
            return self._finite(self.images.in_batches(coalitions, image, evaluated), image)

    def gradient(self, presences: Float[Tensor, "row player"], image: int) -> Float64[Tensor, "row player"]:
        """The derivative of the payoff on one image by each presence, as `erased` has it between 0 and 1."""
        restored = self.images.on(image)

        def by_presence(rows: Float[Tensor, "row player"]) -> Float64[Tensor, "row player"]:
            rows = rows.float().requires_grad_()
            with differentiating():
                worths = self._paid(restored(rows), image)
                (slope,) = torch.autograd.grad(worths.sum(), rows)
            return slope.double()

        return self._finite(self.images.in_batches(presences, image, by_presence), image)

    def _paid(self, sr: Tensor, image: int) -> Worth:
        """The payoff of SR images; a payoff may edit what it is given."""
        self.images.check_size(sr, image)
        return self.payoff(sr, self.pairs.hr[image][None].to(self.images.device).clone())

    def _finite(self, values: Tensor, image: int) -> Tensor:
        """The worths or gradients of one image; raises InputError if one is not a finite number."""
        wrong = values[~values.isfinite()]
        if len(wrong):
            raise InputError(
                f"the payoff on '{self.pairs.names[image]}' is {wrong[0]:g} in {len(wrong)} of {values.numel()} "
                "values: the network's output or the payoff is not finite there; leave the image out, or choose "
                "another payoff or ablation"
            )
        return values


@dataclass(frozen=True)
class _Part:
    """The game on some of its images, in bfloat16 if `is_low_precision`."""

    game: RestorationGame
    images: range
    is_low_precision: bool = False

    @property
    def players(self) -> int:
        return self.game.players

    @property
    def rounding(self) -> float:
        return self.game.rounding

    @property
    def low_precision(self) -> Game | None:
        return replace(self, is_low_precision=True) if self.game.bfloat16 and not self.is_low_precision else None

    def __call__(self, coalitions: Coalitions) -> Worth:
        return torch.stack([self.game.worth(coalitions, image, self.is_low_precision) for image in self.images]).mean(0)

    def gradient(self, presences: Float[Tensor, "row player"]) -> Float64[Tensor, "row player"]:
        return torch.stack([self.game.gradient(presences, image) for image in self.images]).mean(0)
