"""The SR images of a whole image set, as PNG files."""

from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from srgame.data.images import to_bytes
from srgame.data.lazy import LRImages
from srgame.data.written import Manifest, png_paths, write_png
from srgame.errors import InputError
from srgame.evaluation.tiling import Tiled
from srgame.files import lock
from srgame.networks import identity_of

MANIFEST = "restored.json"


def restore_images(
    network: nn.Module,
    images: LRImages,
    folder: Path,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    progress: bool = False,
) -> list[Path]:
    """Writes the SR image of each LR image into `folder`, as a PNG with the name of its file; returns their paths.

    Images too large for memory are restored in tiles (`Tiled`). After an interruption the same call resumes: images
    that are there already are not restored again.

    Raises InputError if two images differ in their suffix only, if `folder` holds the images themselves, SR images of
    other weights, settings or LR images, or other PNGs of these names, if it is in use or not writable, and if an SR
    image has values that are not finite.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     [path.name for path in restore_images(network, srgame.lr_images(images=2, crop=16), Path(folder))]
    ['astronaut.png', 'chelsea.png']
    """
    targets = png_paths(images.paths, folder)
    run = identity_of(network, folder / MANIFEST) | {"degradation": images.degradation, "scale": images.scale}
    run |= {"crop": images.crop, "tile": tile, "overlap": overlap}
    with lock(folder):
        try:
            Manifest(folder / MANIFEST, run, images.paths, targets)
            _restore(Tiled(network, tile, overlap), images, targets, progress)
        except OSError as error:
            raise InputError(
                f"SR images cannot be written to '{folder}' ({error.strerror}): free space, and run it again"
            ) from error
    return targets


def _restore(restore: Tiled, images: LRImages, targets: list[Path], progress: bool) -> None:
    """Writes the SR images that are not there yet."""
    for path, target in zip(tqdm(images.paths, "images", disable=not progress), targets, strict=True):
        if not target.exists():
            with torch.inference_mode():
                sr = restore(images.read(path)[None])[0].cpu()
            if not sr.isfinite().all():
                raise InputError(f"the SR image of '{path}' has values that are not finite: it is not written")
            write_png(target, to_bytes(sr))
