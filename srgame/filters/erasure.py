"""Ablations, and the erasure of filters: an ablation computes what replaces the response of an erased filter."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from srgame.errors import InputError, chosen
from srgame.filters.layers import CurrentRun, Filters, Place, as_it_was, channels_first, following

Response = Float[Tensor, "b c *space"]
Presences = Bool[Tensor, "b filter"] | Float[Tensor, "b filter"]
Ablation = Callable[[Response], Response]
Behind = Mapping[str, Sequence[str]]


def zero(response: Response) -> Response:
    """Zeros, as if the filter's weights and bias were 0."""
    return torch.zeros_like(response)


def mean(response: Response) -> Response:
    """Each channel's mean over the image: its level without its structure."""
    return response.mean(dim=tuple(range(2, response.ndim)), keepdim=True).expand_as(response)


def noise(response: Response, seed: int = 0) -> Response:
    """Gaussian noise with each channel's mean and standard deviation; all items of a batch share one pattern."""
    space = tuple(range(2, response.ndim))
    pattern = torch.randn(response.shape[1:], generator=torch.Generator().manual_seed(seed)).to(response)
    variance = response.var(dim=space, keepdim=True, correction=0)
    deviation = torch.where(variance > 0, variance, 1).sqrt() * (variance > 0)  # √0 has no gradient
    return mean(response) + deviation * pattern


def donor(response: Response, seed: int = 0, donors: Sequence[int] | None = None) -> Response:
    """The response of another filter, as in EATS (paper, Eq. 3): channel c becomes channel `donors[c]`.

    By default the donors form one random cycle through all channels. Raises InputError for a layer of one filter.
    """
    width = response.shape[1]
    if donors is None:
        if width == 1:
            raise InputError("a layer of one filter has no donor: choose another ablation")
        cycle = torch.randperm(width, generator=torch.Generator().manual_seed(seed))
        donors = torch.empty_like(cycle).scatter_(0, cycle, cycle.roll(1)).tolist()
    return response[:, donors]


ABLATIONS: dict[str, Ablation] = {"zero": zero, "mean": mean, "noise": noise, "donor": donor}


def ablation_named(ablation: str | Ablation) -> Ablation:
    """The ablation of that name; a function is returned as it is."""
    return ablation if callable(ablation) else chosen("ablation", ablation, ABLATIONS)


@contextmanager
def erased(
    network: nn.Module,
    filters: Filters,
    present: Presences,
    ablation: str | Ablation = "zero",
    at: Literal["output"] | Behind = "output",
) -> Iterator[None]:
    """Erases from `network` the filters whose presence is False; on exit the network is as before, also after an error.

    Row b of `present` applies to item b of the batch; a single row applies to all items. Presences may also be numbers
    from 0 to 1, with respect to which worths can be differentiated: the response is interpolated linearly between the
    ablation's replacement and the filter's own. If a layer is called several times, each call is erased alike; the
    filters of NAME@2 are erased in its second call only. A run without such a call raises InputError.

    at: "output" replaces the layer's own response; with the result of `activations`, the response behind the norm and
        the activation of each layer is replaced.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> import torch
    >>> filters, lr = srgame.filters_of(network, ["conv_hr"]), torch.rand(1, 3, 8, 8)
    >>> present = torch.tensor([[True, False, True, True]])
    >>> before = network(lr)
    >>> with erased(network, filters, present):
    ...     without = network(lr)
    >>> torch.equal(without, before), torch.equal(network(lr), before)
    (False, True)
    """
    ablation = ablation_named(ablation)
    behind: Behind = {} if at == "output" else at
    with ExitStack() as hooks:
        current = hooks.enter_context(following(network, filters.layers))
        for layer, rows in zip(filters.layers, torch.split(present, list(filters.widths), dim=1), strict=True):
            place = Place.of(layer)
            module = network.get_submodule(place.module)
            erase = partial(_erase, rows, ablation, place.size, isinstance(module, nn.Linear), current)
            is_at = partial(current.is_at, layer, place)
            for handle in _hooked(network, module, place, erase, is_at, behind.get(layer, ())):
                hooks.callback(handle.remove)
        yield


Erase = Callable[[Tensor], Tensor]


def _hooked(
    network: nn.Module, module: nn.Module, place: Place, erase: Erase, is_at: Callable[[], bool], behind: Sequence[str]
) -> list[RemovableHandle]:
    """The hooks that erase the filters at a place, or behind the modules that follow it there."""
    if place.is_input:
        return [module.register_forward_pre_hook(lambda _, given: (erase(given[0]), *given[1:]) if is_at() else None)]
    if not behind:
        return [module.register_forward_hook(lambda _, __, response: erase(response) if is_at() else None)]
    carried: list[Tensor] = []  # the response, as far as it has come

    def start(_: nn.Module, __: Any, response: Tensor) -> None:
        carried[:] = [response] if is_at() else []

    def follow(last: bool, _: nn.Module, given: tuple[Any, ...], response: Tensor) -> Tensor | None:
        if not (carried and given and given[0] is carried[0]):  # a call that follows another layer
            return None
        carried[:] = [] if last else [response]
        return erase(response) if last else None

    handles = [module.register_forward_hook(start)]
    for name in behind:
        hook = partial(follow, name == behind[-1])
        handles.append(network.get_submodule(name).register_forward_hook(hook))
    return handles


def _erase(
    present: Presences, ablation: Ablation, size: int, is_last: bool, current: CurrentRun, response: Tensor
) -> Tensor:
    """The response without the filters that are absent."""
    laid = channels_first(response, current.images, is_last)
    if len(present) not in (1, len(laid)):
        raise InputError(f"{len(present)} rows of presences for a batch of {len(laid)}: give one row, or one per item")
    grouped = laid if size == 1 else laid.unflatten(1, (-1, size))
    result = _mixed(present.to(response.device), grouped, ablation)
    return as_it_was(result if size == 1 else result.flatten(1, 2), response, is_last)


def _mixed(present: Presences, response: Tensor, ablation: Ablation) -> Tensor:
    rows = present[(...,) + (None,) * (response.ndim - 2)]
    own = getattr(ablation, "func", ablation) in ABLATIONS.values()
    replacement = ablation(response if own else response.clone())  # foreign code may edit what it is given
    if rows.dtype == torch.bool:
        return torch.where(rows, response, replacement)
    return replacement.lerp(response, rows.to(response.dtype))
