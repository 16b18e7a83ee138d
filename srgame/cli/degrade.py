"""`srgame degrade`."""

from pathlib import Path

from tyro.conf import Positional

from srgame.cli.flags import ImageSet, Sharpen, Subfolders, TrainingDegradation, stop
from srgame.errors import InputError


def degrade(
    data: Positional[ImageSet],
    output: Path,
    degradation: TrainingDegradation = "second-order",
    scale: int = 4,
    sharpen: Sharpen = False,
    subfolders: Subfolders = False,
    patches: int | None = None,
    patch: int | None = None,
    crop: int | None = None,
    workers: int = 0,
    seed: int = 0,
) -> None:
    """Write the LR images that a training on an image set sees, or the patches of a whole training.

    Without --patches: writes one LR image per HR image, and a manifest of all random numbers. With --patches: writes
    that number of LR and HR patches into lr.npy and hr.npy, for `srgame train --patches`. The same command resumes
    after an interruption.

    Args:
        output: folder for the LR images and manifest.json, or for the patches and patches.json.
        degradation: how LR images are made; second-order:blur, resize, noise and jpeg apply only these steps of
            second-order.
        scale: scale from the LR to the HR images.
        patches: number of patches to write, for example 32,000; each is cut from a random crop of a random image.
        patch: side of an HR patch, in pixels; None: 128.
        crop: side of the HR crop that is degraded and from which a patch is cut, in pixels; None: 400.
        workers: number of processes that make patches; 0: this process alone.
        seed: seed of all random numbers.
    """
    if patches is None:
        if given := [name for name, value in {"patch": patch, "crop": crop, "workers": workers}.items() if value]:
            raise InputError(f"--{given[0]} needs --patches: leave it out, or give --patches a number")
        from srgame.data.degradations.folder import degrade_set

        try:
            written = degrade_set(data, output, degradation, scale, sharpen, seed, subfolders)
        except KeyboardInterrupt:
            stop("the same command resumes")
        print(f"written: {len(written) - 1} LR images, {written[-1]}")
        return
    from srgame.data.images import image_paths
    from srgame.data.lazy import LazyImages
    from srgame.training.patch_store import write_patches
    from srgame.training.patches import Patches

    if workers < 0:
        raise InputError(f"--workers is 0 or more, not {workers}")
    images = LazyImages(image_paths(data, subfolders))
    crops = Patches(images, degradation, scale, patch or 128, 8, 400 if crop is None else crop, sharpen, seed)
    try:
        manifest = write_patches(crops, patches, output, workers, progress=True)
    except KeyboardInterrupt:
        stop("the same command resumes")
    print(f"written: {patches:,} patches, {manifest}")
