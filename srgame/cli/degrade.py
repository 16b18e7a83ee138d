"""`srgame degrade`."""

from pathlib import Path
from typing import Literal, get_args

from tyro.conf import Positional

from srgame.cli.flags import ImageSet, Sharpen, Subfolders, TrainingDegradation, stop
from srgame.errors import InputError

TestSetting = Literal["clean", "blur", "noise", "jpeg", "b+n", "b+j", "n+j", "b+n+j", "all"]


def degrade(
    data: Positional[ImageSet],
    output: Path,
    degradation: TrainingDegradation | TestSetting = "second-order",
    scale: int = 4,
    sharpen: Sharpen = False,
    subfolders: Subfolders = False,
    patches: int | None = None,
    patch: int | None = None,
    crop: int | None = None,
    workers: int = 0,
    sheet: int = 4,
    seed: int = 0,
) -> None:
    """Degrade an image set: write the LR images of a training or of a test, or the patches of a whole training.

    Without --patches: writes one LR image per HR image, and a manifest of all random numbers. With --patches: writes
    that number of LR and HR patches into lr.npy and hr.npy, for `srgame train --patches`. The same command resumes
    after an interruption. Beside the folder OUTPUT, it draws a contact sheet, OUTPUT-sheet.png: HR images, LR images,
    and under each LR image the parameters of its degradation.

    Args:
        output: folder for the LR images and manifest.json, or for the patches and patches.json.
        degradation: how LR images are made: a degradation of training (second-order:blur, resize, noise and jpeg apply
            only these steps of second-order), a setting of the tests (clean to b+n+j), or all: the eight settings of
            the tests, each in a folder of its own in OUTPUT.
        scale: scale from the LR to the HR images.
        patches: number of patches to write, for example 32,000; each is cut from a random crop of a random image.
        patch: side of an HR patch, in pixels; None: 128.
        crop: side of the HR crop that is degraded and from which a patch is cut, in pixels; None: 400.
        workers: number of processes that make patches; 0: this process alone.
        sheet: number of images, or patches, on the contact sheet; 0: no sheet.
        seed: seed of all random numbers.
    """
    if sheet < 0:
        raise InputError(f"--sheet is 0 or more, not {sheet}")
    if patches is None:
        if given := [name for name, value in {"patch": patch, "crop": crop, "workers": workers}.items() if value]:
            raise InputError(f"--{given[0]} needs --patches: leave it out, or give --patches a number")
        _degrade_images(data, output, degradation, scale, sharpen, subfolders, sheet, seed)
        return
    if degradation in get_args(TestSetting):
        raise InputError(f"patches are for training, and '{degradation}' is for tests: leave out --patches")
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
    written = [str(manifest)]
    if sheet:
        from srgame.report.sheets import save_sheet, sheet_of_patches

        written.append(str(save_sheet(output, sheet_of_patches(output, sheet))))
    print(f"written: {patches:,} patches, {' '.join(written)}")


def _degrade_images(
    data: str, output: Path, degradation: str, scale: int, sharpen: bool, subfolders: bool, sheet: int, seed: int
) -> None:
    """Writes the LR images of each degradation, and the contact sheet."""
    from srgame.data.degradations.folder import degrade_set
    from srgame.data.degradations.testing import SETTINGS
    from srgame.data.images import image_paths
    from srgame.report.sheets import save_sheet, sheet_of_images

    folders = {name: output / name for name in SETTINGS} if degradation == "all" else {degradation: output}
    written: list[Path] = []
    try:
        for name, folder in folders.items():
            *images, manifest = degrade_set(data, folder, name, scale, sharpen, seed, subfolders)
            written += images
    except KeyboardInterrupt:
        stop("the same command resumes")
    files = [manifest if len(folders) == 1 else output]
    if sheet:
        shown = image_paths(data, subfolders)[:sheet]
        files.append(save_sheet(output, sheet_of_images(shown, folders)))
    print(f"written: {len(written)} LR images, {' '.join(map(str, files))}")
