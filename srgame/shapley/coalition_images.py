"""The SR images of coalitions: what a network restores without the filters outside them."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.devices import device_of, disable_onednn, full_float32, out_of_memory
from srgame.errors import InputError
from srgame.filters import (
    NORMS,
    Ablation,
    Behind,
    Calls,
    Filters,
    Place,
    Presences,
    Resumable,
    ResumeError,
    activations,
    calls_of,
    copy_for,
    erased,
    evaluating,
    resume,
    whole_precision,
)
from srgame.shapley.game import Coalitions
from srgame.shapley.replay import replay
from srgame.shapley.until import check_time

SAME = 1e-4  # of the largest value: images computed in other ways, up to rounding that many layers amplify
ROUNDING = 1e-6  # of the largest value: the same image computed in the same way
FAR = 10.0  # values of an image beyond which a game is said to explode
LR_PIXELS = {"cpu": 2**10, "cuda": 2**18}  # in one batch of coalitions: on a CPU it must fit into the cache


class CoalitionImages:
    """The images that `network` restores without the filters outside a coalition; settings as in `RestorationGame`.

    Its first use cuts the network before the filters' first layer, if it can be resumed there, and records what each
    LR image makes of the layers before the cut.
    """

    def __init__(
        self,
        network: nn.Module,
        filters: Filters,
        pairs: Pairs,
        ablation: Ablation,
        batch: int | None,
        at: Literal["output", "activation"],
    ) -> None:
        self.network, self.filters, self.pairs = network, filters, pairs
        self.ablation, self.batch, self.at = ablation, batch, at
        self.device = device_of(network)

    @property
    def cut(self) -> Resumable:
        """The network resumed behind the first erased layers."""
        return self._prepared.cut

    @property
    def recorded(self) -> Sequence[tuple[Any, ...]]:
        """By image, what the tail of the cut needs."""
        return self._prepared.recorded

    @property
    def dummies(self) -> Bool[Tensor, " player"]:
        """The filters that are never called, or whose response at the cut equals its ablation on every image."""
        return self._prepared.dummies

    @torch.inference_mode()
    def of(self, coalitions: Coalitions, image: int) -> Float[Tensor, "coalition 3 h w"]:
        """The SR image of each coalition, on the CPU."""
        return self._restorations(self.cut, self.recorded[image], coalitions, image)

    def on(self, image: int) -> Callable[[Presences], Float[Tensor, "row 3 h w"]]:
        """One run of the network on an image, as a function of presences, by which SR images have derivatives."""
        return partial(self._restored, self.cut, self.recorded[image])

    def check_size(self, sr: Tensor, image: int) -> None:
        """Raises InputError if an SR image does not have the size of the HR image."""
        hr = self.pairs.hr[image]
        if sr.shape[1:] != hr.shape:
            sizes = (f"{each.shape[-1]}×{each.shape[-2]}" for each in (self.pairs.lr[image], sr, hr))
            raise InputError(
                "the network turns {} pixels into {}, but the HR image has {}: check the scale".format(*sizes)
            )

    def in_batches(
        self, rows: Presences, image: int, evaluated: Callable[[Tensor], Tensor], batch: int | None = None
    ) -> Tensor:
        """The result of `evaluated` for all rows, in batches that are halved if memory runs out."""
        batch = min(batch or self._batch(image), len(rows))

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

    def _batch(self, image: int) -> int:
        """The number of coalitions in one run on an image."""
        return self.batch or max(1, LR_PIXELS[self.device.type] // self.pairs.lr[image][0].numel())

    def _restored(self, cut: Resumable, recorded: Sequence[Any], present: Presences) -> Tensor:
        return self._run(cut, present, *cut.copies(recorded, len(present)))

    def _run(self, cut: Resumable, present: Presences, *inputs: Any) -> Tensor:
        behind: Literal["output"] | Behind = self._behind or "output"
        with evaluating(cut.tail), erased(cut.tail, self.filters, present, self.ablation, behind):
            sr: Tensor = cut.tail(*inputs)
        return whole_precision(sr)

    @cached_property
    def _calls(self) -> Calls:
        """The calls of the network's layers on the first image."""
        with full_float32():
            return calls_of(self.network, self.pairs.lr[0][None])

    @cached_property
    def _behind(self) -> dict[str, tuple[str, ...]]:
        """By layer, the modules behind which it is erased."""
        return activations(self._calls, self.filters.layers) if self.at == "activation" else {}

    @cached_property
    def _prepared(self) -> "_Prepared":
        """The network cut, and what it responds before the cut."""
        while True:
            try:
                with torch.inference_mode(False), torch.no_grad(), evaluating(self.network), full_float32():
                    return self._prepare()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if not disable_onednn(error):
                    raise InputError(
                        f"memory does not hold what the network responds to {len(self.pairs)} images: crop them, take "
                        "fewer, or free memory"
                    ) from error

    def _prepare(self) -> "_Prepared":
        self.check_size(self._calls.sr, 0)
        self._say_what_the_layers_do()
        whole = Resumable.whole(self.network)
        rows = self._some_rows()
        expected = self._restorations(whole, self._recorded(whole, 0), rows, 0, batch=1)
        if (farthest := expected.nan_to_num().abs().max()) > FAR:
            warnings.warn(
                f"without some of its filters, the network's image has values up to {farthest:.2g}, far outside "
                "[0, 1], so a few coalitions may decide all values; clamp the images (--clamp) to bound them",
                stacklevel=2,
            )
        again = self._restorations(whole, self._recorded(whole, 0), rows[:1], 0, batch=1)
        if not torch.equal(again, expected[:1]):
            warnings.warn("the network's images differ from run to run, and so do all values", stacklevel=2)
            cut = whole
        else:
            self._check_batches(whole, rows, expected)
            cut = self._cut(whole, rows, expected)
        recorded = [self._recorded(cut, image) for image in range(len(self.pairs))]
        return _Prepared(cut, recorded, self._dummies(cut, recorded))

    def _recorded(self, cut: Resumable, image: int) -> tuple[Any, ...]:
        """What the tail of the cut needs of an image."""
        lr = copy_for(self.network, self.pairs.lr[image][None])
        try:
            recorded: tuple[Any, ...] = cut.head(lr)
        except Exception as error:  # foreign code may raise anything
            if isinstance(error, InputError | ResumeError) or out_of_memory(error):
                raise
            name, (height, width) = self.pairs.names[image], lr.shape[-2:]
            raise InputError(f"the network fails on '{name}' of {width}×{height} pixels: {error}") from error
        return recorded

    def _some_rows(self) -> Coalitions:
        """A coalition, the grand one and the empty one."""
        some = torch.rand(1, len(self.filters), generator=torch.Generator().manual_seed(0)) < 0.5
        return torch.cat([some, torch.ones_like(some), torch.zeros_like(some)])

    def _restorations(
        self, cut: Resumable, recorded: Sequence[Any], rows: Presences, image: int, batch: int | None = None
    ) -> Tensor:
        """The SR image of each row."""
        return self.in_batches(rows, image, lambda part: self._restored(cut, recorded, part), batch)

    def _say_what_the_layers_do(self) -> None:
        """Warns of layers that are never called, and of zeros that a norm changes."""
        for layer in self.filters.layers:
            if not (self._calls.count(layer) or Place.of(layer).call):  # without this call, a run is an error
                warnings.warn(f"the network never calls '{layer}': its filters are worth 0", stacklevel=2)
            behind = self._calls.behind(layer)
            follows = behind and isinstance(self.network.get_submodule(behind[0]), NORMS)
            if follows and self.at == "output" and not Place.of(layer).is_input:
                warnings.warn(
                    f"the norm '{behind[0]}' follows '{layer}': it turns an erased response into "
                    "another constant; to erase that too, give --at activation (at='activation')",
                    stacklevel=2,
                )

    def _check_batches(self, whole: Resumable, rows: Coalitions, expected: Tensor) -> None:
        """Evaluates one by one, with a warning, if an SR image is not the same in every batch."""
        if self._batch(0) == 1:
            return
        recorded = self._recorded(whole, 0)
        try:
            with_all, with_none = (
                self._restorations(whole, recorded, rows[[0, other]], 0, batch=2) for other in (1, 2)
            )
        except Exception as error:
            if out_of_memory(error):
                raise
            reason = f"the network fails in batches ({type(error).__name__}: {error})"
        else:
            by_others, by_batch = _difference(with_all[:1], with_none[:1]), _difference(with_all, expected[:2])
            if by_others <= ROUNDING and by_batch <= SAME:
                return
            apart = max(by_others, by_batch)
            reason = f"the network's image depends on what else is in its batch (by {apart:.1g} of its largest value)"
        self.batch = 1
        warnings.warn(f"coalitions are evaluated one by one, since {reason}", stacklevel=2)

    def _cut(self, whole: Resumable, rows: Coalitions, expected: Tensor) -> Resumable:
        """The network cut before the filters' first layer and compared with whole runs; or else the whole network."""
        reasons = []
        for way in (resume, lambda network, layers: replay(network, layers, self._batch(0) > 1)):
            try:
                cut = way(self.network, self.filters.layers)
                return self._compared(cut, whole, rows, expected)
            except (ResumeError, RuntimeError, InputError) as error:
                if out_of_memory(error) or "memory does not hold" in str(error):
                    raise
                reasons.append(str(error))
        warnings.warn(
            f"every coalition takes a whole run, since the network cannot be resumed: {'; '.join(reasons)}",
            stacklevel=2,
        )
        return whole

    def _compared(self, cut: Resumable, whole: Resumable, rows: Coalitions, expected: Tensor) -> Resumable:
        """The cut, which makes the same images as whole runs on the first image of each size; or a ResumeError."""
        cut = cut.edits(self._recorded(cut, 0), partial(self._run, cut, rows[:1]))
        sizes = [lr.shape for lr in self.pairs.lr]
        for image in sorted(map(sizes.index, set(sizes))):
            if image:
                expected = self._restorations(whole, self._recorded(whole, image), rows, image, batch=1)
            difference = _difference(self._restorations(cut, self._recorded(cut, image), rows, image), expected)
            if difference > SAME:
                raise ResumeError(f"its images would differ by {difference:.1g} of the largest value")
        return cut

    def _dummies(self, cut: Resumable, recorded: Sequence[Sequence[Any]]) -> Bool[Tensor, " player"]:
        dummies = {
            layer: torch.full((width,), not self._calls.count(layer))
            for layer, width in zip(self.filters.layers, self.filters.widths, strict=True)
        }
        for layer, *responses in zip(cut.at_cut, *recorded, strict=False):
            if layer in dummies and not self._behind and responses[0].ndim > 2:
                dummies[layer] = torch.stack(
                    [_never_differ(response, self.ablation(response.clone())) for response in responses]
                ).all(0)
        return torch.cat(list(dummies.values()))


@dataclass(frozen=True)
class _Prepared:
    """The network of a game, cut, and what its tail needs of each image."""

    cut: Resumable
    recorded: Sequence[tuple[Any, ...]]
    dummies: Bool[Tensor, " player"]


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest difference of two images as a share of the largest value."""
    a, b = a.nan_to_num(), b.nan_to_num()
    return float((a - b).abs().max() / b.abs().max().clamp(min=torch.finfo(b.dtype).tiny))


def _never_differ(a: Float[Tensor, "1 c *space"], b: Float[Tensor, "1 c *space"]) -> Bool[Tensor, " c"]:
    return (a == b)[0].flatten(1).all(1).cpu()
