"""Cooperative games: what each coalition of players is worth. In a restoration game the players are filters."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.devices import disable_onednn, full_float32, out_of_memory
from srgame.errors import InputError
from srgame.filters import (
    Ablation,
    Filters,
    Presences,
    Resumable,
    ResumeError,
    ablation_named,
    erased,
    evaluating,
    resume,
)
from srgame.metrics import Payoff, payoff_named
from srgame.shapley.until import check_time

Coalitions = Bool[Tensor, "coalition player"]
Worth = Float[Tensor, " coalition"]

LR_PIXELS = {"cpu": 2**10, "cuda": 2**18}  # in one batch of coalitions: on a CPU it must fit into the cache


@runtime_checkable
class Game(Protocol):
    """The worth, in float64, of each coalition of `players` players; row c has True for the players in coalition c.

    A game may have further attributes. `dummies`: "player" booleans, True for players that never change the worth of a
    coalition. `parts`: games of the same players whose mean this game is; a sampler may evaluate them one by one.
    `low_precision`, which the parts may have too: the same game in faster and less exact arithmetic, or None.
    `rounding`: the relative rounding error of a worth that is computed in less than float64.
    """

    @property
    def players(self) -> int: ...

    def __call__(self, coalitions: Coalitions) -> Worth: ...


@runtime_checkable
class Differentiable(Game, Protocol):
    """A game whose worth is defined, and smooth, for presences between 0 and 1 too."""

    def gradient(self, presences: Float[Tensor, "row player"]) -> Float64[Tensor, "row player"]:
        """The derivative of the worth by each presence, at each row of presences."""
        ...


class RestorationGame:
    """The mean payoff, over `pairs`, of the images that `network` restores without the filters outside a coalition.

    payoff: one of metrics.PAYOFFS, or a function of (sr, hr) that returns a float64 number per image.
    ablation: what replaces the response of an erased filter, as in `erased`.
    batch: the number of coalitions in one run of the network, by default a number that suits the device; it is halved
        if memory runs out.
    bfloat16: True adds a low-precision game, which computes convolutions in bfloat16.

    All layers before the filters' first layer are computed once per image, and their responses stay on the device. If
    the network cannot be resumed there, every coalition takes a run of the whole network, and a warning says so. The
    values of PSNR lie within 1e-6 dB of those in float64, whatever the batch.

    Raises InputError if the network's images do not have the size of `pairs.hr`, and if memory does not hold one run of
    the network, or the responses before the first layer.
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
    ) -> None:
        self.filters = filters
        self.pairs = pairs
        self.payoff = payoff_named(payoff)
        self.ablation = ablation_named(ablation)
        self.batch = batch
        self.bfloat16 = bfloat16
        self.device = next(network.parameters()).device
        try:
            self._prepare(network)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if not disable_onednn(error):
                raise InputError(
                    f"memory does not hold what the network responds to {len(pairs)} images: crop them, take fewer, or "
                    "free memory"
                ) from error
            self._prepare(network)

    @property
    def players(self) -> int:
        return len(self.filters)

    @property
    def rounding(self) -> float:
        """The relative rounding error of the images."""
        return float(torch.finfo(self.pairs.hr[0].dtype).eps)

    def __call__(self, coalitions: Coalitions) -> Worth:
        return self.per_image(coalitions).mean(0)

    def per_image(self, coalitions: Coalitions) -> Float[Tensor, "image coalition"]:
        """The payoff on each image alone."""
        return torch.stack([self.worth(coalitions, image) for image in range(len(self.pairs))])

    @property
    def parts(self) -> list[Game]:
        """The game on each image alone."""
        return [_Part(self, range(image, image + 1)) for image in range(len(self.pairs))]

    @property
    def low_precision(self) -> Game | None:
        """The game in bfloat16, if there is one."""
        return _Part(self, range(len(self.pairs))).low_precision

    @torch.inference_mode()
    def worth(self, coalitions: Coalitions, image: int, low_precision: bool = False) -> Worth:
        """The payoff on one image; `low_precision` computes convolutions in bfloat16."""
        recorded, hr = self.recorded[image], self.pairs.hr[image][None].to(self.device)
        device, low_precision = (
            self.device.type,
            low_precision and bool(torch.backends.mkldnn.enabled),
        )  # without it that is no faster

        def evaluated(part: Presences) -> Worth:
            sr = self._restored(self.cut, recorded, part)
            with torch.autocast(device, enabled=False):
                return self.payoff(sr.float() if low_precision else sr, hr)

        with torch.autocast(device, torch.bfloat16, enabled=low_precision):
            return self._in_batches(coalitions, image, evaluated)

    def gradient(self, presences: Float[Tensor, "row player"], image: int) -> Float64[Tensor, "row player"]:
        """The derivative of the payoff on one image by each presence, as `erased` has it between 0 and 1."""
        hr = self.pairs.hr[image][None].to(self.device)
        recorded = tuple(live.clone() if isinstance(live, Tensor) else live for live in self.recorded[image])

        def by_presence(rows: Float[Tensor, "row player"]) -> Float64[Tensor, "row player"]:
            rows = rows.float().requires_grad_()
            (slope,) = torch.autograd.grad(self.payoff(self._restored(self.cut, recorded, rows), hr).sum(), rows)
            return slope.double()

        return self._in_batches(presences, image, by_presence)

    def _in_batches(self, rows: Presences, image: int, evaluated: Callable[[Tensor], Tensor]) -> Tensor:
        """The result of `evaluated` for all rows, in batches that are halved if memory runs out."""
        batch = self.batch or max(1, LR_PIXELS[self.device.type] // self.pairs.lr[image][0].numel())
        batch = min(batch, len(rows))

        def timely(part: Tensor) -> Tensor:
            check_time()
            return evaluated(part)

        while True:
            try:
                with full_float32():
                    return torch.cat([timely(part).cpu() for part in torch.split(rows, batch)])
            except Exception as error:
                if not out_of_memory(error):
                    raise
                lost = disable_onednn(error)
                if batch == 1 and not lost:
                    raise InputError(
                        f"memory does not hold one run of the network on '{self.pairs.names[image]}': "
                        "crop the images, or free memory"
                    ) from error
                self.batch = batch = max(1, batch // 2)

    @torch.inference_mode()
    def _prepare(self, network: nn.Module) -> None:
        """Cuts the network, and computes the responses before the cut once."""
        with evaluating(network), full_float32():
            self.cut = self._cut(network)
            self.recorded = [self.cut.head(lr[None].to(self.device)) for lr in self.pairs.lr]
            self.dummies = self._dummies()

    def _restored(self, cut: Resumable, recorded: tuple[Any, ...], present: Presences) -> Tensor:
        live = [_repeated(value, len(present)) for value in recorded]
        with evaluating(cut.tail), erased(cut.tail, self.filters, present, self.ablation):
            sr: Tensor = cut.tail(*live)
        return sr

    def _cut(self, network: nn.Module) -> Resumable:
        """The network cut before the filters' first layer, tested on the first image; or else the whole network."""
        lr, hr = self.pairs.lr[0][None].to(self.device), self.pairs.hr[0]
        probe = torch.rand(3, self.players, generator=torch.Generator().manual_seed(0)) < 0.5
        whole = Resumable.whole(network)

        def restored(cut: Resumable, *recorded: Any) -> Tensor:
            return self._in_batches(probe, 0, lambda part: self._restored(cut, recorded, part))

        expected = restored(whole, lr)
        if expected.shape[1:] != hr.shape:
            sizes = (f"{image.shape[-1]}×{image.shape[-2]}" for image in (lr, expected, hr))
            raise InputError(
                "the network makes {1} pixels of {0}, where the HR image has {2}: wrong scale?".format(*sizes)
            )
        if not torch.equal(restored(whole, lr), expected):
            warnings.warn("the network's images differ from run to run, and so will all values", stacklevel=4)
            return whole
        try:
            cut = resume(network, self.filters.layers)
            difference = (restored(cut, *cut.head(lr)) - expected).abs().max().item()
            if difference > 1e-4 * expected.abs().max().item():
                raise ResumeError(f"its images would differ by {difference:.1g}")
        except (ResumeError, RuntimeError) as error:
            if out_of_memory(error):
                raise
            warnings.warn(
                f"every coalition takes a whole run, since the network cannot be resumed: {error}", stacklevel=4
            )
            return whole
        return cut

    def _dummies(self) -> Bool[Tensor, " player"]:
        """The filters at the cut whose response equals their ablation on every image."""
        dummies = {
            layer: torch.zeros(width, dtype=torch.bool)
            for layer, width in zip(self.filters.layers, self.filters.widths, strict=True)
        }
        for layer, *responses in zip(self.cut.at_cut, *self.recorded, strict=False):
            dummies[layer] = torch.stack(
                [_never_differ(response, self.ablation(response)) for response in responses]
            ).all(0)
        return torch.cat(list(dummies.values()))


@dataclass(frozen=True)
class Grouped:
    """A game whose players are groups of the players of another game; a group is present or absent as a whole."""

    game: Game
    groups: Sequence[Sequence[int]]

    @property
    def players(self) -> int:
        return len(self.groups)

    @property
    def rounding(self) -> float | None:
        return getattr(self.game, "rounding", None)

    @property
    def low_precision(self) -> Game | None:
        low_precision = getattr(self.game, "low_precision", None)
        return None if low_precision is None else Grouped(low_precision, self.groups)

    @property
    def parts(self) -> list[Game]:
        return [Grouped(part, self.groups) for part in getattr(self.game, "parts", [])]

    def __call__(self, coalitions: Coalitions) -> Worth:
        """The worth of the players in the groups that are present; players in no group are always present."""
        everyone = torch.ones(len(coalitions), self.game.players, dtype=torch.bool)
        for group, present in zip(self.groups, coalitions.T, strict=True):
            everyone[:, list(group)] = present[:, None]
        return self.game(everyone)


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


def _repeated(value: Any, count: int) -> Any:
    """A recorded tensor for a batch of `count` coalitions, without a copy; what is no tensor stays as it is."""
    return value.expand(count, *value.shape[1:]) if isinstance(value, Tensor) else value


def _never_differ(a: Float[Tensor, "1 c *space"], b: Float[Tensor, "1 c *space"]) -> Bool[Tensor, " c"]:
    return (a == b)[0].flatten(1).all(1).cpu()
