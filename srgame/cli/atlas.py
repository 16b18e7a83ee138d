"""`srgame atlas`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from srgame.cli.flags import (
    SETTINGS,
    Crop,
    Dataset,
    Networks,
    Output,
    RealHR,
    RealLR,
    flat,
    stop,
)

Degradations = Annotated[tuple[str, ...], arg(help=f"one or more of {SETTINGS}; the page switches between them.")]
Layers = Annotated[
    tuple[str, ...],
    arg(
        help="conv layers, as `srgame layers` lists them, or: all; by default the first, one in the middle and the "
        "last feature layer. NAME:input stands for the channels that a layer receives."
    ),
]
Folders = Annotated[
    tuple[Path, ...],
    arg(
        name="from",
        help="folders of earlier runs of `srgame shapley`, `interactions`, `evaluate` and `probe`: what they measured "
        "of these networks is shown, and not measured again.",
    ),
]


def atlas(
    networks: Networks,
    images: Dataset,
    output: Output,
    layers: Layers = (),
    crop: Crop = 96,
    degradations: Degradations = ("clean",),
    lr: RealLR = None,
    hr: RealHR = None,
    from_: Folders = (),
    seconds: float = 300.0,
    tolerance: float = 0.02,
    interacting: int = 12,
    megabytes: float = 15.0,
) -> None:
    """Make a page on which you browse the filters of one or more networks in a browser.

    The page shows each filter's feature map, Shapley value, response, cosine, interactions, and what the restored image
    loses without it. Two or more networks are compared side by side. Writes atlas.html, which opens from disk without a
    network, its numbers in atlas.csv, and atlas.json into the output folder.

    Args:
        seconds: time for measuring: Shapley values and interactions share what is left after all else is measured.
        tolerance: stop a game when the largest standard error is at most this share of the range of its values.
        interacting: number of filters, those with the largest Shapley values, between which interactions are measured;
            in front of a linear end of the network, all of a layer are measured.
        megabytes: largest size of the page; its maps are shrunk to fit.
    """
    from srgame.atlas.measure import Sample, measured
    from srgame.atlas.page import page_of
    from srgame.atlas.stored import Stored
    from srgame.cli.comparison import labels, real_pairs
    from srgame.cli.loading import architectures_of, conventions_of, loaded
    from srgame.devices import available
    from srgame.files import ensure_writable
    from srgame.provenance import provenance
    from srgame.report.results import save_results
    from srgame.shapley.until import Until

    real = real_pairs(lr, hr, dataset=images.dataset)
    folder = ensure_writable(output.output)
    stored = Stored.read(from_)
    names = labels(networks.checkpoints)
    architectures = architectures_of(networks.network, len(names))
    conventions = conventions_of(networks.convention, networks.conventions, len(names))
    each = zip(names, networks.checkpoints, architectures, conventions, strict=True)
    models = {
        label: loaded(name, architecture, networks.scale, networks.strict, convention).to(available(output.device))
        for label, name, architecture, convention in each
    }
    made = measured(
        models,
        layers,
        Sample(images.dataset, images.images, crop, images.subfolders, real),
        degradations,
        stored=stored,
        until=Until(tolerance, evaluations=100_000),
        seconds=seconds,
        interacting=interacting,
        progress=True,
    )
    stored.warn_of_unused()
    settings = flat(
        networks,
        images,
        output,
        layers=layers,
        crop=crop,
        degradations=degradations,
        lr=lr,
        hr=hr,
        **{"from": [str(path) for path in from_]},
        seconds=seconds,
        tolerance=tolerance,
        interacting=interacting,
        megabytes=megabytes,
    )
    source = provenance(settings, weights=made.weights, missing=made.missing)
    page = page_of(made, source, megabytes).encode()
    written = save_results(folder, {"atlas": made.frame()}, source, {".html": page})
    if made.missing:
        print(f"not measured ({len(made.missing)}): {'; '.join(made.missing[:3])} …")
        advice = "" if made.interrupted else "; allow more --seconds, or name fewer layers or degradations"
        print(f"the page lists all{advice}")
    print("written:", *written)
    if made.interrupted:
        stop("what was measured so far is in the page")
