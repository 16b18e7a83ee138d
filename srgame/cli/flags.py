"""The flags that all verbs of `srgame probe` share."""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Compared:
    """The networks that are compared, on which images, and where results go."""

    checkpoints: tyro.conf.Positional[tuple[str, ...]] = ("srresnet-x4-bicubic",)
    """Names of the zoo, or checkpoint files; several are compared."""
    network: tuple[str, ...] = ("auto",)
    """Of checkpoint files: the architecture, or module:function that builds it (this imports that code), one for all or
    one for each; auto: read off the weights."""
    dataset: str = "photographs"
    """photographs (embedded), a folder, a file, or a set in the folder that $SRGAME_DATA names."""
    images: int | None = None
    """Only the first so many images."""
    device: str = "cpu"
    """Where to compute: cpu or cuda."""
    output: Path = Path("srgame-output")
    """The folder for results."""
