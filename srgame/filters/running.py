"""Running a network: in eval mode, on a copy of its images, with errors that say what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srgame.devices import device_of, out_of_memory
from srgame.errors import InputError


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Puts `network` into eval mode; on exit each module returns to its own mode, also after an error."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        network.train(modes[0][1])  # some networks override train(), and undo there what eval() did
        for module, mode in modes:
            module.training = mode


def copy_for(network: nn.Module, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """A copy of the images on the network's device and in its precision; gradients flow through it."""
    kinds = {weights.dtype for weights in network.parameters() if weights.is_floating_point()}
    kind = kinds.pop() if len(kinds) == 1 else images.dtype  # a network of several casts by itself
    return images.to(device_of(network), kind).clone()


def run(network: nn.Module, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k H W"]:
    """The SR images of a batch of LR images: every network is run through here, except a resumed one.

    A network may edit what it is given, so it gets a copy. Images of a network in half precision are returned in
    float32. Raises InputError, with the images' size, if the network fails or does not return images.
    """
    height, width = images.shape[-2:]
    try:
        sr = network(copy_for(network, images))
    except Exception as error:  # foreign code may raise anything
        if isinstance(error, InputError) or out_of_memory(error):
            raise
        raise InputError(
            f"the network fails on {len(images)} image(s) of {width}×{height} pixels ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(sr, Tensor):
        raise InputError(f"the network returns a {type(sr).__name__}, not SR images: adapt it, so that it returns them")
    return whole_precision(sr)


def whole_precision(sr: Tensor) -> Tensor:
    """The images in float32 if they are in half precision."""
    return sr.float() if sr.dtype in (torch.float16, torch.bfloat16) else sr


@contextmanager
def differentiating() -> Iterator[None]:
    """Raises InputError, instead of torch's error, if a network cannot be differentiated while this is open."""
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise InputError(
            "the network cannot be differentiated, because its code computes without gradients or overwrites values "
            f"that they need (torch: {str(error).partition('. Hint')[0]}): choose a method without gradients, such as "
            "Shapley values from permutations"
        ) from error
