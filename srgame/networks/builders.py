"""Networks that srgame does not know: built by a function of yours, or by spandrel."""

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srgame.errors import InputError
from srgame.networks.loading import renamings, sources_of, tensors_of
from srgame.networks.weights import Weights, few, note

FORMS = "'module:function', 'file.py:function'"


def is_function(network: str | None) -> bool:
    """Whether this names a function that builds a network, not a network by its own name."""
    return network is not None and ":" in network


def built_by(function: str, scale: int | None = None, **settings: int) -> nn.Module:
    """The network that "module:function" or "file.py:function" returns, called with `scale` if it takes one.

    Imports that code: the module from the current folder or where Python finds it, the file with its own folder on
    Python's path.
    """
    source, _, name = function.rpartition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # for its authors: one for each conv with the old weight_norm
            with torch.random.fork_rng(devices=[]):  # code that is imported may draw or seed
                module = _from_file(Path(source)) if source.endswith(".py") else _from_module(source)
            build = getattr(module, name)
            if scale is not None and "scale" in inspect.signature(build).parameters:
                settings["scale"] = scale
            built = build(**settings)
    except Exception as error:  # the caller's own code, which may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"network '{function}' cannot be built ({reason}): give {FORMS} with a module that can be imported from "
            "here, or a file, and a function that needs no argument"
        ) from error
    if not isinstance(built, nn.Module):
        raise InputError(
            f"network '{function}' is of type {type(built).__name__}: let the function return a torch.nn.Module"
        )
    return built


def by_spandrel(weights: Weights, path: Path) -> nn.Module:
    """The network with these weights, of the architecture that spandrel finds from their names and shapes.

    Raises InputError if spandrel is not installed, knows no such architecture, or the network restores no images.
    """
    try:
        import spandrel
    except Exception as error:  # a torchvision of another version than torch's raises RuntimeError
        raise InputError(
            f"spandrel cannot be imported ({error}): pip install 'srgame[spandrel]', with a torchvision that fits torch"
        ) from error
    ways = [{new: weights[name] for new, name in way.items()} for way in renamings(weights)]
    known = [way for way in ways if any(arch.detect(way) for arch in spandrel.MAIN_REGISTRY.architectures("detection"))]
    if not known:
        raise InputError(f"spandrel knows no architecture with the weights in '{path}': give {FORMS}")
    try:
        with torch.random.fork_rng(devices=[]):
            model = spandrel.ModelLoader().load_from_state_dict(dict(known[0]))
    except Exception as error:  # each architecture has a loader of its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"spandrel cannot load '{path}' ({reason}): give {FORMS}") from error
    what = f"'{path}' is a network of spandrel's architecture {model.architecture.name}"
    channels = (model.input_channels, model.output_channels)
    if not isinstance(model, spandrel.ImageModelDescriptor) or channels not in ((3, 3), (1, 1)):
        raise InputError(f"{what}, which does not map an image of 3 channels, or of 1, to one: give an SR network")
    if unused := known[0].keys() - set(sources_of(tensors_of(model.model), known[0]).values()):
        note(f"{what}, which does not use {few(sorted(unused))}, or not unchanged")
    return _Spandrel(model)


class _Spandrel(nn.Module):
    """A network of spandrel, with what spandrel does around it: padding to the size it needs, choice of its output.

    Unlike spandrel's own call, it has gradients and does not clamp.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.net: nn.Module = model.model
        self.scale: int = model.scale
        self._call: Callable[[nn.Module, Tensor], Tensor] = model._call_fn
        self._size = model.size_requirements

    def forward(self, lr: Tensor) -> Tensor:
        if self._size.none:
            return self._call(self.net, lr)
        height, width = lr.shape[-2:]
        right, below = self._size.get_padding(width, height)
        inside = (0, min(right, width - 1), 0, min(below, height - 1))  # reflection can at most double an image
        padded = nn.functional.pad(lr, inside, "reflect")
        padded = nn.functional.pad(padded, (0, right - inside[1], 0, below - inside[3]), "replicate")
        return self._call(self.net, padded)[..., : height * self.scale, : width * self.scale]


def _from_module(module: str) -> Any:
    _put_first(Path.cwd())
    importlib.invalidate_caches()
    return importlib.import_module(module)


def _from_file(path: Path) -> Any:
    """The module in a file, under a name that no other module has."""
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file '{path}'")
    _put_first(path.parent)
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    name = path.stem if loaded is None else ".".join(path.with_suffix("").parts[1:]).replace(".", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # every file that ends in .py has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pickle and dataclasses look for it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _put_first(folder: Path) -> None:
    """Puts a folder first on Python's path, as `python -m` does; processes started later inherit that."""
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
