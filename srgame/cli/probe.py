"""The verbs of `srgame probe`: what the filters of networks do, side by side in one table and one picture."""

from collections.abc import Callable
from typing import Annotated, Literal

import tyro

from srgame.cli.flags import SETTINGS, Dataset, Images, LRImages, Networks, Output, Payoff

LayerNames = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="named layers of the network: NAME for the layer's response, NAME:input for its input, NAME@2 for its "
        "second call."
    ),
]
ScoredLayers = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="layers: NAME for the response, NAME:input for the input, NAME@2 for the second call; by default the last "
        "feature layer."
    ),
]
LayerName = Annotated[
    str,
    tyro.conf.arg(
        help="layer whose features are compared: NAME for its response, NAME:input for its input, NAME@2 for its "
        "second call."
    ),
]
Sets = Annotated[
    tuple[str, ...],
    tyro.conf.arg(help=f"sets to compare: degradations of the dataset ({SETTINGS}), or image sets of LR images."),
]
PatchSide = Annotated[int, tyro.conf.arg(help="side of a patch, in LR pixels.")]
PatchCount = Annotated[int, tyro.conf.arg(help="largest number of patches from each set.")]
PathSteps = Annotated[int, tyro.conf.arg(help="number of steps on the path of integration.")]
Method = Literal["integrated-gradients", "conductance"]

LAM_IMAGES = LRImages(crop=64)


def responses(networks: Networks, images: LRImages, output: Output, layers: LayerNames = ("body.1", "conv_hr")) -> None:
    """Measure how strongly, and how sparsely, the filters of a layer respond (paper, Fig. 1 and 9)."""
    from srgame.cli.comparison import compare, lr_of
    from srgame.probes.responses import channel_responses, response_summary
    from srgame.report.probe_figures import response_plot

    compare(
        "responses",
        lambda network: channel_responses(network, lr_of(images, network), layers),
        lambda frame: response_summary(frame, ("checkpoint", "layer")),
        response_plot,
        networks,
        images,
        output,
        layers=layers,
    )


def cosine(networks: Networks, images: LRImages, output: Output, layers: LayerNames = ("body.1", "body.13")) -> None:
    """Measure how alike the filters of a layer respond: the cosine of each pair (paper, Fig. 4, 7 and 8)."""
    from srgame.cli.comparison import compare, lr_of
    from srgame.probes.cosine import channel_cosine, cosine_summary
    from srgame.report.probe_figures import cosine_matrices

    compare(
        "cosine",
        lambda network: channel_cosine(network, lr_of(images, network), layers),
        lambda frame: cosine_summary(frame, ("checkpoint", "layer")),
        cosine_matrices,
        networks,
        images,
        output,
        layers=layers,
    )


def salience(networks: Networks, images: LRImages, output: Output, layers: LayerNames = ("conv_last:input",)) -> None:
    """Map where each channel matters to the edges of the SR image: channel salience maps (CSM; paper, Fig. 3).

    Also writes the maps and features of the first image to salience_maps.csv.
    """
    from srgame.cli.comparison import compare, lr_of
    from srgame.probes.salience import channel_salience, salience_maps, salience_summary
    from srgame.report.probe_figures import salience_mosaics

    compare(
        "salience",
        {
            "salience": lambda network: channel_salience(network, lr_of(images, network), layers),
            "salience_maps": lambda network: salience_maps(network, next(iter(lr_of(images, network))), layers),
        },
        lambda frame: salience_summary(frame, ("checkpoint", "layer")),
        salience_mosaics,
        networks,
        images,
        output,
        layers=layers,
    )


def lam(
    networks: Networks,
    output: Output,
    images: LRImages = LAM_IMAGES,
    window: int = 16,
    corner: tuple[int, int] | None = None,
    steps: PathSteps = 50,
    sigma: float = 1.2,
) -> None:
    """Find the LR pixels from which a window of the SR image is restored: local attribution maps (LAM).

    Prints the diffusion index, which measures how widely these pixels are spread.

    Args:
        window: side of the window, in SR pixels.
        corner: first row and first column of the window; None: the window lies in the middle of the image.
        sigma: standard deviation of the Gaussian blur at the start of the path, in LR pixels.
    """
    from srgame.cli.comparison import compare, lr_of
    from srgame.probes.lam import lam, lam_summary
    from srgame.report.probe_figures import lam_maps

    compare(
        "lam",
        lambda network: lam(network, lr_of(images, network), window, corner, steps, sigma),
        lambda frame: lam_summary(frame, ("checkpoint", "image")),
        lam_maps,
        networks,
        images,
        output,
        window=window,
        corner=corner,
        steps=steps,
        sigma=sigma,
    )


def ddr(
    networks: Networks,
    images: Dataset,
    output: Output,
    sets: Sets = ("clean", "blur", "noise"),
    layer: LayerName = "conv_last:input",
    count: PatchCount = 100,
    side: PatchSide = 32,
    components: int = 50,
    seeds: tuple[int, ...] = (0, 1, 2),
) -> None:
    """Measure how well features separate degradations: deep degradation representations (DDR).

    Prints the Calinski-Harabasz index of the sets.

    Args:
        components: number of principal components from which the index is computed and t-SNE starts.
        seeds: seeds of t-SNE, one picture each.
    """
    from srgame.cli.comparison import compare, patches_of
    from srgame.probes.ddr import ddr, ddr_summary
    from srgame.report.probe_figures import ddr_planes

    compare(
        "ddr",
        lambda network: ddr(network, patches_of(images, network, sets, side, count), layer, components, seeds),
        lambda frame: ddr_summary(frame, ("checkpoint",)),
        ddr_planes,
        networks,
        images,
        output,
        sets=sets,
        layer=layer,
        count=count,
        side=side,
        components=components,
        seeds=seeds,
    )


def srga(
    networks: Networks,
    images: Dataset,
    output: Output,
    reference: str = "clean",
    sets: Sets = ("blur", "noise", "jpeg"),
    layer: LayerName = "conv_last:input",
    count: PatchCount = 300,
    side: PatchSide = 32,
    components: int = 300,
) -> None:
    """Measure how far the deepest features shift from one image set to another: the generalization index SRGA.

    Args:
        reference: set with which the others are compared; it is named as they are.
        components: number of principal components of the features of each set.
    """
    from srgame.cli.comparison import compare, patches_of
    from srgame.probes.srga import srga
    from srgame.report.probe_figures import srga_bars

    compare(
        "srga",
        lambda network: srga(
            network,
            patches_of(images, network, (reference,), side, count)[reference],
            patches_of(images, network, sets, side, count),
            layer,
            components,
        ),
        lambda frame: frame,
        srga_bars,
        networks,
        images,
        output,
        reference=reference,
        sets=sets,
        layer=layer,
        count=count,
        side=side,
        components=components,
    )


def equity(
    networks: Networks,
    images: Images,
    output: Output,
    layers: ScoredLayers = (),
    scores: tuple[Literal["responses", "salience", "shapley", Method], ...] = ("responses", "salience"),
    seconds: float = 45.0,
) -> None:
    """Measure how equally filters share the work: Gini, normalised entropy and effective number of players.

    In place of a checkpoint you may give a csv with scores, which `srgame shapley` or another probe wrote.

    Args:
        scores: scores of the filters: mean size of their responses, their salience, their Shapley values of PSNR, or
            captum's attributions of PSNR.
        seconds: time for the Shapley values of each layer.
    """
    from srgame.cli.comparison import compare, last_layer, pairs_of
    from srgame.probes.equity import equity
    from srgame.probes.scores import filter_scores, read_scores
    from srgame.report.probe_figures import lorenz_curves
    from srgame.shapley.until import Until

    until = Until(tolerance=0.02, seconds=seconds)
    compare(
        "equity",
        lambda network: filter_scores(
            network, pairs := pairs_of(images, network), layers or last_layer(network, pairs), scores, until
        ),
        lambda frame: equity(frame, "value", ("checkpoint", "score", "layer")),
        lorenz_curves,
        networks,
        images,
        output,
        read_scores,
        layers=layers,
        scores=scores,
        seconds=seconds,
    )


def attributions(
    networks: Networks,
    images: Images,
    output: Output,
    layers: ScoredLayers = (),
    methods: tuple[Method, ...] = ("integrated-gradients", "conductance"),
    payoff: Payoff = "psnr",
    steps: PathSteps = 50,
) -> None:
    """Sum captum's attributions per channel, for comparison with Shapley values; both are in the unit of the payoff.

    Args:
        methods: integrated-gradients: from no response of the layer to its response. conductance: through the layer,
            from a black image to the image.
    """
    from srgame.cli.comparison import compare, last_layer, pairs_of
    from srgame.probes.attributions import attribution_summary, compared_attributions
    from srgame.report.probe_figures import attribution_plot

    compare(
        "attributions",
        lambda network: compared_attributions(
            network, pairs := pairs_of(images, network), layers or last_layer(network, pairs), methods, payoff, steps
        ),
        lambda frame: attribution_summary(frame, ("checkpoint", "method", "layer")),
        lambda frame: attribution_plot(frame, "dB" if payoff == "psnr" else ""),
        networks,
        images,
        output,
        layers=layers,
        methods=methods,
        payoff=payoff,
        steps=steps,
    )


PROBES: tuple[Callable[..., None], ...] = (responses, cosine, salience, lam, ddr, srga, equity, attributions)
