"""Ablations, and the erasure of filters: an ablation computes what replaces the response of an erased filter."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from srgame.errors import InputError, chosen
from srgame.filters.layers import Filters, Place

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
    ablation's replacement and the filter's own. If a layer is called several times, each call is erased alike.

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
    batch = _Batch()
    with ExitStack() as hooks:
        hooks.callback(network.register_forward_pre_hook(batch.note).remove)
        for layer, rows in zip(filters.layers, torch.split(present, list(filters.widths), dim=1), strict=True):
            place = Place.of(layer)
            module = network.get_submodule(place.module)
            erase = partial(_erase, rows, ablation, place.size, isinstance(module, nn.Linear), batch)
            for handle in _hooked(network, module, place, erase, behind.get(layer, ())):
                hooks.callback(handle.remove)
        yield


Erase = Callable[[Tensor], Tensor]


def _hooked(
    network: nn.Module, module: nn.Module, place: Place, erase: Erase, behind: Sequence[str]
) -> list[RemovableHandle]:
    """The hooks that erase the filters at a place, or behind the modules that follow it there."""
    if place.is_input:
        return [module.register_forward_pre_hook(lambda _, given: (erase(given[0]), *given[1:]))]
    if not behind:
        return [module.register_forward_hook(lambda _, __, response: erase(response))]
    carried: list[Tensor] = []  # the response, as far as it has come

    def start(_: nn.Module, __: Any, response: Tensor) -> None:
        carried[:] = [response]

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


@dataclass
class _Batch:
    """The number of images in the current run of a network."""

    size: int | None = None

    def note(self, _: nn.Module, given: tuple[Any, ...]) -> None:
        """Notes the number of images that the network receives."""
        self.size = next((len(value) for value in given if isinstance(value, Tensor) and value.ndim), None)


def _erase(
    present: Presences, ablation: Ablation, size: int, channels_last: bool, batch: _Batch, response: Tensor
) -> Tensor:
    """The response without the filters that are absent.

    Windows of an image, which lie side by side along the first axis, belong to the image.
    """
    items = len(response) if batch.size is None or len(response) % batch.size else batch.size
    if len(present) not in (1, items):
        raise InputError(f"{len(present)} rows of presences for a batch of {items}: give one row, or one per item")
    if channels_last:
        laid = response.reshape(items, -1, response.shape[-1]).transpose(1, 2)
    elif items < len(response):
        laid = response.unflatten(0, (items, -1)).transpose(1, 2)
    else:
        laid = response
    laid = laid if size == 1 else laid.unflatten(1, (-1, size))
    result = _mixed(present.to(response.device), laid, ablation)
    result = result if size == 1 else result.flatten(1, 2)
    if channels_last or items < len(response):
        result = result.transpose(1, 2).reshape(response.shape)
    return result


def _mixed(present: Presences, response: Tensor, ablation: Ablation) -> Tensor:
    rows = present[(...,) + (None,) * (response.ndim - 2)]
    own = getattr(ablation, "func", ablation) in ABLATIONS.values()
    replacement = ablation(response if own else response.clone())  # foreign code may edit what it is given
    if rows.dtype == torch.bool:
        return torch.where(rows, response, replacement)
    return replacement.lerp(response, rows.to(response.dtype))
