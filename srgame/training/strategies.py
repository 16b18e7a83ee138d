"""Training strategies: each defines the losses that training minimises. EATS, the paper's strategy, is one of them.

A strategy holds the network and returns `Losses` for a batch of patches. It draws random numbers from the generator of
the step only, so a resumed run repeats an uninterrupted one; processes that train together draw the same numbers.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from srgame.data.images import resize, upsample
from srgame.errors import InputError, check_counts, chosen
from srgame.filters import Filters, Resumable, ResumeError, copy_for, donor, erased, filters_of, resume, run
from srgame.metrics import quantized
from srgame.training import processes

LR = Float[Tensor, "b 3 h w"]
HR = Float[Tensor, "b 3 H W"]
Target = Literal["bicubic", "clean bicubic", "hr"]
Teaches = Literal["all", "layer", "disruptor"]
Erase = Literal["one", "one per layer", "none"]


@dataclass(frozen=True)
class Losses:
    """The losses of a batch by name: training minimises the sum of the first; the others are only logged."""

    minimised: dict[str, Tensor]
    watched: dict[str, Tensor] = field(default_factory=dict)

    def total(self) -> Tensor:
        """The sum that training minimises."""
        return torch.stack(list(self.minimised.values())).sum()

    def logged(self) -> dict[str, Tensor]:
        """All of them, without gradients."""
        return {name: loss.detach() for name, loss in (self.minimised | self.watched).items()}


@runtime_checkable
class Strategy(Protocol):
    """A way to train `network`.

    A strategy with options has them in `settings`, a dict of numbers, texts and lists by name. One with an optimiser of
    its own has it in `inner_optimiser`: the loop saves and restores its state.
    """

    network: nn.Module

    def __call__(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses: ...


class Original(nn.Module):
    """Minimises L1 to the HR image, and nothing else.

    >>> import numpy as np
    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> strategy = Original(network)
    >>> losses = strategy(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32), np.random.default_rng(0))
    >>> sorted(losses.minimised)
    ['original']
    """

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses:
        sr = run(self.network, lr)
        return Losses({"original": F.l1_loss(sr, hr)}, {"to_bicubic": _distance(sr, _bicubic(lr, hr))})


class Dropout(nn.Module):
    """Minimises L1 to the HR image; drops each input channel of the last conv with probability `p` (Kong et al. 2022).

    The paper gives p = 0.5 for SRResNet and 0.7 for RRDBNet; the files of Reflash Dropout give the reverse.

    Raises InputError if `p` is not in [0, 1).

    >>> import numpy as np
    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> strategy = Dropout(network)
    >>> losses = strategy(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32), np.random.default_rng(0))
    >>> sorted(losses.minimised)
    ['original']
    """

    network: nn.Module

    def __init__(self, network: nn.Module, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise InputError(f"the dropout probability must be in [0, 1), not {p}")
        self.network = network
        self.p = p
        self.settings = {"p": p}
        self.last = filters_of(network).layers[-1]

    def forward(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses:
        def drop(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            numbers = rng.random((processes.count(), *inputs[0].shape[:2]))  # of all processes, as each of them draws
            mask = torch.from_numpy(numbers[processes.rank()] >= self.p).to(inputs[0])
            return (inputs[0] * mask[:, :, None, None] / (1 - self.p), *inputs[1:])

        hook = self.network.get_submodule(self.last).register_forward_pre_hook(drop)
        try:
            return Losses({"original": F.l1_loss(run(self.network, lr), hr)})
        finally:
            hook.remove()


def _bicubic(lr: LR, hr: HR) -> HR:
    return upsample(lr, hr.shape[-1] // lr.shape[-1])


def _clean_bicubic(lr: LR, hr: HR) -> HR:
    return _bicubic(quantized(resize(hr, *lr.shape[-2:])), hr)


def _hr(lr: LR, hr: HR) -> HR:
    return hr


TARGETS: dict[str, Callable[[LR, HR], HR]] = {
    "bicubic": _bicubic,
    "clean bicubic": _clean_bicubic,
    "hr": _hr,
}


@dataclass(frozen=True)
class Erasure:
    """Filters of one layer to erase, and for each the disruptor whose response replaces its own (paper, Eq. 2, 3)."""

    filters: Filters  # all filters of the layer
    gone: tuple[int, ...]
    disruptors: tuple[int, ...]

    def __call__(self, network: nn.Module) -> AbstractContextManager[None]:
        """While open, the disruptors respond in place of the erased filters of `network`."""
        present = torch.ones(1, len(self.filters), dtype=torch.bool)
        present[0, list(self.gone)] = False
        donors = np.arange(len(self.filters))
        donors[list(self.gone)] = self.disruptors
        return erased(network, self.filters, present, partial(donor, donors=donors.tolist()))


class EATS(nn.Module):
    """Erase and awaken (paper, Algorithm 1): minimises two L1 losses.

    The first is the distance of the network's SR image to the HR image. The second, the awakening loss, is the distance
    of the erased network's SR image to bicubic upsampling. Each step draws a layer and `count` of its filters to erase;
    the response of another filter, the disruptor, replaces that of each erased one (Eq. 2, 3). The defaults follow the
    paper's text. Each choice that the text leaves open is an option; a set of options is a reading of EATS:

    - `weight`: the factor of the awakening loss.
    - `target`: what the erased network is trained towards. "bicubic" upsamples the degraded LR image; "clean bicubic"
      upsamples the HR image after bicubic downsampling to 8 bits; "hr" is the HR image itself.
    - `teaches`: the weights that the awakening loss trains: "all", those of the drawn "layer", or of the "disruptor".
    - `erase`: "one" erases in one drawn layer; "one per layer" erases in every layer; "none" draws as "one" does but
      erases nothing, so the intact network is trained towards the target. This is the control of the reading.

    Layers are drawn from `layers`, by default from all conv layers with more than `count` filters; `ratio` is the share
    of them that takes part, evenly spread over depth (Table 6).

    Raises InputError for a ratio outside (0, 1], a negative or infinite weight, an unknown option, and if no layer has
    more than `count` filters.

    >>> import numpy as np
    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> strategy = EATS(network)
    >>> losses = strategy(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32), np.random.default_rng(0))
    >>> sorted(losses.minimised)
    ['awaken', 'original']
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
        check_counts(count=count)
        if not 0 < ratio <= 1:
            raise InputError(f"the ratio of layers must be in (0, 1], not {ratio}")
        if not 0 <= weight < math.inf:
            raise InputError(f"the weight of the awakening loss must be finite and at least 0, not {weight}")
        filters = filters_of(network, layers)
        wide = [layer for layer, width in zip(filters.layers, filters.widths, strict=True) if width > count]
        if not wide:
            raise InputError(f"no layer has more than {count} filters: erase fewer")
        self.network = network
        self.count = count
        self.weight = weight
        self.target = chosen("target", target, TARGETS)
        self.teaches = chosen("value of teaches", teaches, {kind: kind for kind in get_args(Teaches)})
        self.erase = chosen("value of erase", erase, {kind: kind for kind in get_args(Erase)})
        self.layers = [wide[math.floor(i / ratio)] for i in range(max(1, round(len(wide) * ratio)))]
        self.settings = {"layers": self.layers, "ratio": ratio, "count": count, "weight": weight}
        self.settings |= {"target": target, "teaches": teaches, "erase": erase}
        self._cuts: dict[tuple[str, ...], Resumable] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cuts": {}}  # a copy, or another process, cuts its own network

    def forward(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses:
        sr, sr_erased = self._sr_images(lr, self.erasures(rng))
        erases = self.erase != "none"
        minimised = {
            "original": F.l1_loss(sr, hr),
            "awaken" if erases else "pull": self.weight * F.l1_loss(sr_erased, self.target(lr, hr)),
        }
        watched = {"erasure": _distance(sr, sr_erased)} if erases else {}
        return Losses(minimised, watched | {"to_bicubic": _distance(sr, _bicubic(lr, hr))})

    def erasures(self, rng: np.random.Generator) -> tuple[Erasure, ...]:
        """The erasures of a training step: one in a drawn layer, or one in every layer."""
        layers = self.layers if self.erase == "one per layer" else [str(rng.choice(self.layers))]
        return tuple(self._erasure(layer, rng) for layer in layers)

    def _erasure(self, layer: str, rng: np.random.Generator) -> Erasure:
        filters = filters_of(self.network, [layer])
        permutation = rng.permutation(len(filters))
        gone, others = permutation[: self.count], permutation[self.count :]
        return Erasure(filters, tuple(gone.tolist()), tuple(rng.choice(others, self.count).tolist()))

    def _sr_images(self, lr: LR, erasures: Sequence[Erasure]) -> tuple[HR, HR]:
        """The SR images of the network and of the erased network; the latter's gradient reaches taught weights only."""
        network = self.network
        with ExitStack() as stack:
            if self.teaches == "all" and self.erase == "none":
                sr = sr_erased = run(network, lr)
            elif self.teaches == "all":  # all that comes before the erased layers is computed once
                cut = self._cut(tuple(erasure.filters.layers[0] for erasure in erasures))
                live = cut.head(copy_for(network, lr))
                sr = cut.tail(*cut.copies(live))
                for erasure in erasures:
                    stack.enter_context(erasure(cut.tail))
                sr_erased = cut.tail(*cut.copies(live))
            else:
                sr = run(network, lr)
                for erasure in erasures if self.erase != "none" else ():
                    stack.enter_context(erasure(network))
                weights = _frozen_except(network, {e.filters.layers[0]: self._taught(e) for e in erasures})
                sr_erased = torch.func.functional_call(network, weights, (copy_for(network, lr),))
        return sr, sr_erased

    def _cut(self, layers: tuple[str, ...]) -> Resumable:
        """The network cut behind these layers, traced the first time it is needed."""
        if layers not in self._cuts:
            try:
                self._cuts[layers] = resume(self.network, layers)
            except ResumeError as error:
                warnings.warn(f"both passes run the whole network, since it cannot be resumed: {error}", stacklevel=2)
                self._cuts[layers] = Resumable.whole(self.network)
        return self._cuts[layers]

    def _taught(self, erasure: Erasure) -> Sequence[int]:
        """The filters of the layer that the awakening loss trains."""
        return erasure.disruptors if self.teaches == "disruptor" else range(len(erasure.filters))


class BicubicPull(EATS):
    """EATS without erasures: minimises L1 to the HR image and, `weight` times, L1 to bicubic upsampling.

    It is the control of EATS: the difference between the two is the effect of the erasures.

    >>> import numpy as np
    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> strategy = BicubicPull(network)
    >>> losses = strategy(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32), np.random.default_rng(0))
    >>> sorted(losses.minimised)
    ['original', 'pull']
    """

    def __init__(self, network: nn.Module, weight: float = 1.0, target: Target = "bicubic") -> None:
        super().__init__(network, weight=weight, target=target, erase="none")


class DIL(nn.Module):
    """Causality-based training (Li et al. 2023, serial first-order form): Reptile over types of distortion.

    A batch holds as many patches of each of `types` types, one type after the other. Each step copies the weights θ to
    a task network, which takes one step of Adam (β₁ = 0) on the patches of each type in turn, in a random order, with
    the L1 distance to the HR image as its loss. The loss of the strategy is ½‖θ − θ_task‖², whose gradient θ − θ_task
    is DIL's meta-gradient. `rate` is the learning rate of the task network; the moments of its Adam are carried over
    from step to step, as in the authors' code. Processes that train together average each of its gradients.

    Raises InputError for fewer than two types, a rate that is not above 0, and a batch that types cannot share evenly.

    >>> import numpy as np
    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> strategy = DIL(network, types=2)
    >>> losses = strategy(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32), np.random.default_rng(0))
    >>> sorted(losses.minimised)
    ['meta']
    """

    network: nn.Module

    def __init__(self, network: nn.Module, types: int = 5, rate: float = 1e-4) -> None:
        super().__init__()
        if types < 2:
            raise InputError(f"DIL needs at least 2 types of distortion, not {types}")
        if not 0 < rate < math.inf:
            raise InputError(f"the learning rate of the task network must be finite and above 0, not {rate}")
        self.network = network
        self.settings = {"types": types, "rate": rate}
        self.types = types
        self._task = {name: value.detach().clone().requires_grad_() for name, value in _trained(network).items()}
        self.inner_optimiser = torch.optim.Adam(self._task.values(), lr=rate, betas=(0.0, 0.999))

    def forward(self, lr: LR, hr: HR, rng: np.random.Generator) -> Losses:
        if len(lr) % self.types:
            raise InputError(f"{self.types} types of distortion cannot share a batch of {len(lr)} patches evenly")
        weights = _trained(self.network)
        for name, value in weights.items():
            self._task[name].data = value.detach().clone()
        parts = list(zip(lr.chunk(self.types), hr.chunk(self.types), strict=True))
        distances = [self._descend(*parts[drawn]) for drawn in rng.permutation(self.types)]
        original, to_bicubic = torch.stack(distances).mean(0)
        moved = [(value - self._task[name].detach()).square().sum() / 2 for name, value in weights.items()]
        return Losses({"meta": torch.stack(moved).sum()}, {"original": original, "to_bicubic": to_bicubic})

    def _descend(self, lr: LR, hr: HR) -> Float[Tensor, "2"]:
        """Takes a step of the task network; returns the distances of its images, before the step, to HR and Bic."""
        sr = torch.func.functional_call(self.network, self._task, (copy_for(self.network, lr),))
        loss = F.l1_loss(sr, hr)
        self.inner_optimiser.zero_grad()
        loss.backward()
        for value in self._task.values():
            value.grad = None if value.grad is None else processes.mean_of_all(value.grad)
        self.inner_optimiser.step()
        torch.clear_autocast_cache()  # autocast would go on with the weights from before the step
        return torch.stack([loss.detach(), _distance(sr, _bicubic(lr, hr))])


def _trained(network: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in network.named_parameters() if value.requires_grad}


def _frozen_except(network: nn.Module, taught: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The weights of `network`, detached except for the `taught` filters of each layer."""
    weights = {name: value.detach() for name, value in network.named_parameters()}
    for layer, filters in taught.items():
        module = network.get_submodule(layer)
        for name, value in module.named_parameters(recurse=False):
            axis = 1 if isinstance(module, nn.ConvTranspose2d) and name == "weight" else 0
            mask = torch.zeros(value.shape[axis], dtype=torch.bool, device=value.device)
            mask[list(filters)] = True
            mask = mask.view([-1 if dimension == axis else 1 for dimension in range(value.ndim)])
            weights[f"{layer}.{name}"] = torch.where(mask, value, value.detach())
    return weights


def _distance(a: HR, b: HR) -> Tensor:
    """The mean absolute difference, without a gradient."""
    return F.l1_loss(a.detach(), b.detach())


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "original": Original,
    "dropout": Dropout,
    "eats": EATS,
    "bicubic-pull": BicubicPull,
    "dil": DIL,
}
