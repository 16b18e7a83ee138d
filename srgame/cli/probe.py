"""The verbs of `srgame probe`: what the channels of networks do, side by side in one table and one picture.

As in cli.py, a verb's signature is its flags, and what it needs is imported when it runs.
"""

from typing import Annotated, Literal

import tyro

from srgame.cli.flags import Compared

app = tyro.extras.SubcommandApp()

What = Annotated[Compared, tyro.conf.arg(name="")]
Layers = Annotated[
    tuple[str, ...],
    tyro.conf.arg(help="named layers of the network: NAME for its response, NAME:input for what it is given."),
]
Layer = Annotated[
    str, tyro.conf.arg(help="whose features: NAME for a layer's response, NAME:input for what it is given.")
]
Crop = Annotated[
    int | None,
    tyro.conf.arg(help="only the middle so many pixels of each image file, on each side; None for whole images."),
]
AsLR = Annotated[
    str | None,
    tyro.conf.arg(help="how LR images are made of the dataset's: clean, blur, noise …; None: they are LR as they are."),
]
Setting = Annotated[str, tyro.conf.arg(help="clean, blur, noise, jpeg, b+n, b+j, n+j or b+n+j.")]
Sets = Annotated[
    tuple[str, ...],
    tyro.conf.arg(help="degradations of the dataset (clean, blur …), or image sets that are LR as they are."),
]
Method = Literal["integrated-gradients", "conductance"]


@app.command
def responses(what: What, layers: Layers = ("body.1", "conv_hr"), crop: Crop = 96, degradation: AsLR = None) -> None:
    """How strongly the channels of a layer respond, and how sparsely (paper, Fig. 1 and 9)."""
    flags = dict(locals())
    from srgame.cli.comparison import Comparison
    from srgame.probes.responses import channel_responses, response_summary
    from srgame.report.probe_figures import response_plot

    networks = Comparison(**flags)
    frame = networks.frame(lambda network: channel_responses(network, networks.lr(network, degradation, crop), layers))
    networks.save("responses", frame, response_summary(frame, ("checkpoint", "layer")), response_plot(frame))


@app.command
def cosine(what: What, layers: Layers = ("body.1", "body.13"), crop: Crop = 96, degradation: AsLR = None) -> None:
    """How alike the channels of a layer are: the cosine of each pair (paper, Fig. 4, 7 and 8)."""
    flags = dict(locals())
    from srgame.cli.comparison import Comparison
    from srgame.probes.cosine import channel_cosine, cosine_summary
    from srgame.report.probe_figures import cosine_matrices

    networks = Comparison(**flags)
    frame = networks.frame(lambda network: channel_cosine(network, networks.lr(network, degradation, crop), layers))
    networks.save("cosine", frame, cosine_summary(frame, ("checkpoint", "layer")), cosine_matrices(frame))


@app.command
def salience(what: What, layers: Layers = ("conv_last:input",), crop: Crop = 96, degradation: AsLR = None) -> None:
    """Where each channel matters to the SR image's edges: channel salience maps (CSM; paper, Fig. 3).

    The maps and features of the first image are written to salience_maps.csv.
    """
    flags = dict(locals())
    from srgame.cli.comparison import Comparison
    from srgame.probes.salience import channel_salience, salience_maps, salience_summary
    from srgame.report.probe_figures import salience_mosaics

    networks = Comparison(**flags)
    frame = networks.frame(lambda network: channel_salience(network, networks.lr(network, degradation, crop), layers))
    maps = networks.frame(
        lambda network: salience_maps(network, next(iter(networks.lr(network, degradation, crop))), layers)
    )
    summary = salience_summary(frame, ("checkpoint", "layer"))
    networks.save("salience", frame, summary, salience_mosaics(frame, maps), salience_maps=maps)


@app.command
def lam(
    what: What,
    window: int = 16,
    corner: tuple[int, int] | None = None,
    steps: int = 50,
    sigma: float = 1.2,
    crop: Crop = 64,
    degradation: AsLR = None,
) -> None:
    """From which LR pixels a window of the SR image is restored: local attribution maps and their diffusion index.

    Args:
        window: its side, in SR pixels.
        corner: its first row and column, by default such that it lies in the middle.
        steps: of the path from the blurred image to the image.
        sigma: of the Gaussian blur that the path begins with, in LR pixels.
    """
    flags = dict(locals())
    from srgame.cli.comparison import Comparison
    from srgame.probes.lam import lam, lam_summary
    from srgame.report.probe_figures import lam_maps

    networks = Comparison(**flags)
    frame = networks.frame(
        lambda network: lam(network, networks.lr(network, degradation, crop), window, corner, steps, sigma)
    )
    networks.save("lam", frame, lam_summary(frame, ("checkpoint", "image")), lam_maps(frame))


@app.command
def ddr(
    what: What,
    sets: Sets = ("clean", "blur", "noise"),
    layer: Layer = "conv_last:input",
    count: int = 100,
    side: int = 32,
    components: int = 50,
    seeds: tuple[int, ...] = (0, 1, 2),
) -> None:
    """Whether features tell degradations apart: deep degradation representations and the Calinski–Harabasz index.

    Args:
        count: at most so many crops of each set.
        side: of a crop, in LR pixels.
        components: principal components, of which the index is taken, and from which t-SNE starts.
        seeds: of t-SNE.
    """
    flags = dict(locals())
    from srgame.cli.comparison import Comparison
    from srgame.probes.ddr import ddr, ddr_summary
    from srgame.report.probe_figures import ddr_planes

    networks = Comparison(**flags)
    frame = networks.frame(
        lambda network: ddr(network, networks.patches(network, sets, side, count), layer, components, seeds)
    )
    networks.save("ddr", frame, ddr_summary(frame, ("checkpoint",)), ddr_planes(frame))


@app.command
def srga(
    what: What,
    reference: str = "clean",
    sets: Sets = ("blur", "noise", "jpeg"),
    layer: Layer = "conv_last:input",
    count: int = 300,
    side: int = 32,
    components: int = 300,
) -> None:
    """How far the deepest features move when images do: the generalization assessment index SRGA.

    Args:
        reference: the set that others are compared with; named as those are.
        count: at most so many patches of each set.
        side: of a patch, in LR pixels.
        components: principal components of each set's features.
    """
    flags = dict(locals())
    from srgame.cli.comparison import Comparison
    from srgame.probes.srga import srga
    from srgame.report.probe_figures import srga_bars

    networks = Comparison(**flags)
    frame = networks.frame(
        lambda network: srga(
            network,
            networks.patches(network, (reference,), side, count)[reference],
            networks.patches(network, sets, side, count),
            layer,
            components,
        )
    )
    networks.save("srga", frame, frame, srga_bars(frame))


@app.command
def equity(
    what: What,
    layers: Layers = ("conv_hr",),
    scores: tuple[Literal["responses", "salience", "shapley", Method], ...] = ("responses", "salience"),
    seconds: float = 45.0,
    crop: Crop = 96,
    degradation: Setting = "clean",
) -> None:
    """How equally filters share: Gini, normalised entropy and effective number of players, for any score of filters.

    In the place of a checkpoint there may be a csv with scores, as `srgame shapley` and the other probes write it.

    Args:
        scores: mean size of responses, salience, Shapley values φ of PSNR, captum's attributions of PSNR.
        seconds: for the Shapley values of each layer.
    """
    flags = dict(locals())
    from srgame.cli.comparison import Comparison
    from srgame.probes.equity import equity
    from srgame.probes.scores import filter_scores, read_scores
    from srgame.report.probe_figures import lorenz_curves
    from srgame.shapley.until import Until

    networks = Comparison(**flags)
    until = Until(tolerance=0.02, seconds=seconds)
    frame = networks.frame(
        lambda network: filter_scores(network, networks.pairs(network, degradation, crop), layers, scores, until),
        read_scores,
    )
    networks.save("equity", frame, equity(frame, "value", ("checkpoint", "score", "layer")), lorenz_curves(frame))


@app.command
def attributions(
    what: What,
    layers: Layers = ("conv_hr",),
    methods: tuple[Method, ...] = ("integrated-gradients", "conductance"),
    payoff: Literal["psnr", "-mse", "-l1"] = "psnr",
    steps: int = 50,
    crop: Crop = 96,
    degradation: Setting = "clean",
) -> None:
    """captum's attributions summed per channel: comparators to Shapley values, in the same unit.

    Args:
        methods: integrated-gradients of a layer's response; conductance, as the image grows from black.
        payoff: what an SR image is worth: PSNR in dB, or a negative error.
        steps: of the path.
    """
    flags = dict(locals())
    from srgame.cli.comparison import Comparison
    from srgame.probes.attributions import attribution_summary, compared_attributions
    from srgame.report.probe_figures import attribution_plot

    networks = Comparison(**flags)
    frame = networks.frame(
        lambda network: compared_attributions(
            network, networks.pairs(network, degradation, crop), layers, methods, payoff, steps
        )
    )
    summary = attribution_summary(frame, ("checkpoint", "method", "layer"))
    networks.save("attributions", frame, summary, attribution_plot(frame, "dB" if payoff == "psnr" else ""))
