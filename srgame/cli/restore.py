"""`srgame restore`."""

from srgame.cli.flags import LRImages, Network, Output, stop

IMAGES = LRImages(crop=None)


def restore(
    network: Network,
    output: Output,
    images: LRImages = IMAGES,
    tile: int | None = None,
    overlap: int | None = None,
) -> None:
    """Restore LR images, and write the SR images as PNG files with the same names into the output folder.

    The same command resumes after an interruption. restored.json, in the same folder, records the weights and settings.

    Args:
        tile: side of the largest LR image that is restored at once, in pixels; None: what fits into memory. A larger
            image is restored in overlapping tiles; the result is the same.
        overlap: overlap of the tiles, in LR pixels; None: the reach of the network. A smaller overlap is faster, but
            then the result is an approximation.
    """
    from srgame.cli.loading import loaded
    from srgame.data.lazy import lr_images
    from srgame.devices import available
    from srgame.evaluation.restore import restore_images
    from srgame.files import ensure_writable
    from srgame.networks import scale_of

    device = available(output.device)
    ensure_writable(output.output)
    model = loaded(network.checkpoint, network.network, network.scale, network.strict, network.convention).to(device)
    lr = lr_images(images.dataset, images.degradation, scale_of(model), images.images, images.crop, images.subfolders)
    try:
        written = restore_images(model, lr, output.output, tile=tile, overlap=overlap, progress=True)
    except KeyboardInterrupt:
        stop("the same command resumes")
    print(f"written: {len(written)} SR images to {output.output}")
