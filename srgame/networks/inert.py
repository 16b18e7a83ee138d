"""Stand-ins for what training code stores with weights, such as settings and dates: it is skipped, never executed."""

from typing import Any, Self


class Inert:
    """Stands for an object of a file: takes any arguments and any state, and keeps none of them."""

    __slots__ = ()

    def __new__(cls, *_: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def emptied(*_: Any) -> dict[Any, Any]:
    """A plain dict, to be filled with what was in a defaultdict."""
    return {}


_OBJECTS = {
    "argparse": "Namespace",
    "builtins": "bool bytes dict float frozenset int list range slice str tuple",
    "datetime": "date datetime time timedelta timezone",
    "numpy": "dtype ndarray bool_ float16 float32 float64 int8 int16 int32 int64 uint8",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "types": "SimpleNamespace",
}
_DICTS = {
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
}


def inert_types() -> list[Any]:
    """For `torch.serialization.safe_globals`: what is called in place of each harmless name in a pickle.

    The names lead to stand-ins, not to the libraries' own functions, so a file reaches no code of numpy or pathlib,
    whatever arguments it passes. All other names are refused by torch.
    """
    objects = [(Inert, f"{module}.{name}") for module, names in _OBJECTS.items() for name in names.split()]
    dicts = [(dict, f"{module}.{name}") for module, names in _DICTS.items() for name in names.split()]
    return [*objects, *dicts, (emptied, "collections.defaultdict")]
