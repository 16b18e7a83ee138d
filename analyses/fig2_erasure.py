"""Figure 2: what does erasing a filter, and awakening it, do to a real patch in a real network?

The picture shows one step of training with EATS in a trained network: a patch degraded as in training, and an erasure
drawn as in training. Of many erasures it is the one whose effect on the first network is the median.
"""

import math
from collections.abc import Mapping
from textwrap import fill

import numpy as np
import pandas as pd
import torch
from crops import bare
from families import (
    AUTO,
    Architectures,
    Checkpoints,
    colours_in,
    family_of,
    in_order,
    loaded,
    missing_strategies,
    named,
    reason_of,
)
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from rasters import LINE, extremes, picture_of, raster
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from zoo_names import NOT_THERE, PAPERS, family_title, first_of_each, strategy_of

from srgame.data.images import image_paths, read_rgb, upsample
from srgame.probes.features import listening
from srgame.report.probe_figures import mosaic
from srgame.report.recipe import run
from srgame.report.style import GREY, ORANGE, SKY, styled
from srgame.training.patches import Patches
from srgame.training.strategies import EATS

TRAINED = {"original": "trained with L_ori alone", "eats": "trained with EATS"}
SHOWN = tuple(TRAINED)
NETWORKS = tuple(name for name in first_of_each(PAPERS) if (strategy_of(name, PAPERS) or ("",))[0] in SHOWN)
CROP = 160  # HR pixels of the stored crops in which training draws patches
LOSSES = ["original", "awaken", "erasure", "to_bicubic"]
PICTURES = ["picture", "filter", *LINE]
GRADIENTS = ["gradient_erased", "gradient_others"]
COLUMNS = ["strategy", "checkpoint", "draw", "layer", "erased", "donor"]
COLUMNS += [*LOSSES, *GRADIENTS, *PICTURES, "sample", "reason"]
LEAST = 1e-6  # end of the logarithmic axis: smaller values are drawn here

STRIPS = {
    "original": "L_ori = ‖f − HR‖",
    "awaken": "L_awa = ‖f′ − Bic‖",
    "to_bicubic": "‖f − Bic‖",
    "erasure": "‖f − f′‖",
}
BLOCK = 3.0  # inches that a diagram is high
SIDE = 0.95  # of a picture
LEFT = {"LR": 0.1, "layer": 1.2, "filter": 2.25, "out": 3.5, "change": 4.78, "target": 6.15}

SMOKE = {"image": "photographs", "patch": 16, "draws": 3}


def measure(
    family: str = PAPERS,
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    image: str = "Set5/butterfly_GT.webp",
    degradation: str = "second-order",
    patch: int = 128,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per network and erasure with its losses; and one row per line of the pictures of one erasure.

    Columns: strategy, checkpoint, draw; layer, erased, donor (filters); original, awaken, erasure, to_bicubic: the
    losses of `EATS` (mean absolute differences of values in [0, 1]); gradient_erased and gradient_others: the largest
    size of the awakening loss's gradient on the weights of the erased filter, and of the layer's other filters; picture
    ("LR", "HR", "bicubic" of the patch;
    "before" and "after" of a filter; "f", "f′", and "|f − f′|"), filter, line, low, high, pixels (rasters.py); sample;
    reason.
    """
    source = read_rgb(image_paths(image)[0])
    models, scale = loaded(networks, family, network)
    lr, hr = Patches([source], degradation, scale, patch, 1, max(CROP, patch), sharpen=True, seed=seed)(0)
    checkpoints = named(networks, family)
    frames = [_shared(lr, hr, scale)]
    chosen = 0
    for place, (strategy, model) in enumerate(models.items()):
        losses = _losses(model, lr, hr, draws, seed)
        if not place:
            chosen = int(losses["erasure"].argsort(kind="stable").iloc[(draws - 1) // 2])
        both = pd.concat([losses, _pictures(model, lr, chosen, seed)])
        frames.append(both.assign(strategy=strategy, checkpoint=checkpoints[strategy], reason=""))
    for strategy in (name for name in missing_strategies(networks, models, NETWORKS) if name in SHOWN):
        frames.append(pd.DataFrame([{"strategy": strategy, "reason": f"{NOT_THERE}{family}-{strategy}"}]))
    stem = image_paths(image)[0].stem.removesuffix("_GT")
    sample = f"{patch}×{patch} patch of {stem}, {degradation} degradation and sharpened HR, as in training"
    whole = pd.concat(frames, ignore_index=True)
    whole["sample"] = whole["picture"].isna().map({True: sample, False: ""})  # not in every line of pixels
    whole = whole.reindex(columns=COLUMNS)
    return whole.astype(dict.fromkeys(["draw", "erased", "donor", "filter", "line"], "Int64"))


def _shared(lr: Float[Tensor, "1 3 h w"], hr: Float[Tensor, "1 3 H W"], scale: int) -> pd.DataFrame:
    pictures = {"LR": lr, "HR": hr, "bicubic": upsample(lr, scale)}
    return pd.concat([raster(_shown(picture)).assign(picture=name) for name, picture in pictures.items()])


def _shown(images: Float[Tensor, "1 c h w"]) -> Float[np.ndarray, "h w c"]:
    return images[0].permute(1, 2, 0).numpy()


def _losses(
    network: nn.Module, lr: Float[Tensor, "1 3 h w"], hr: Float[Tensor, "1 3 H W"], draws: int, seed: int
) -> pd.DataFrame:
    """A row per erasure: its layer and filters, the losses of EATS's step with it, and gradients of L_awa."""
    eats, rows = EATS(network), []
    for draw in range(draws):
        drawn = _drawn(eats, draw, seed)
        losses = eats(lr, hr, np.random.default_rng([seed, draw]))
        weight = network.get_submodule(str(drawn["layer"])).get_parameter("weight")
        (gradient,) = torch.autograd.grad(losses.minimised["awaken"], weight)
        of_filter = gradient.abs().flatten(1).amax(1)
        others = np.delete(of_filter.numpy(), int(drawn["erased"]))
        sizes = {"gradient_erased": of_filter[int(drawn["erased"])].item(), "gradient_others": float(others.max())}
        rows.append({"draw": draw} | drawn | {name: loss.item() for name, loss in losses.logged().items()} | sizes)
    return pd.DataFrame(rows).round(dict.fromkeys(LOSSES, 9))


def _drawn(eats: EATS, draw: int, seed: int) -> dict[str, str | int]:
    """The layer, the erased filter, and the donor whose response replaces it."""
    (erasure,) = eats.erasures(np.random.default_rng([seed, draw]))
    return {"layer": erasure.filters.layers[0], "erased": erasure.gone[0], "donor": erasure.disruptors[0]}


@torch.inference_mode()
def _pictures(network: nn.Module, lr: Float[Tensor, "1 3 h w"], draw: int, seed: int) -> pd.DataFrame:
    """The responses of the layer and the SR image, before and after the erasure."""
    eats = EATS(network)
    (erasure,) = eats.erasures(np.random.default_rng([seed, draw]))
    layer = erasure.filters.layers[0]
    before, sr = _run(network, lr, layer)
    with erasure(network):
        after, sr_erased = _run(network, lr, layer)
    change = (sr - sr_erased).abs()
    bounds = extremes(before.numpy())
    frames = [
        raster(_shown(response[:, channel : channel + 1]), *bounds).assign(picture=name, filter=channel)
        for name, response in (("before", before), ("after", after))
        for channel in range(len(erasure.filters))
    ]
    frames += [raster(_shown(image)).assign(picture=name) for name, image in (("f", sr), ("f′", sr_erased))]
    frames.append(raster(_shown(change), 0.0, float(f"{change.max().item():.4g}")).assign(picture="|f − f′|"))
    return pd.concat(frames).assign(draw=draw, **_drawn(eats, draw, seed))


def _run(network: nn.Module, lr: Float[Tensor, "1 3 h w"], layer: str) -> tuple[Tensor, Tensor]:
    responses: list[Tensor] = []
    with listening(network, [layer], lambda _, response: responses.append(response)):
        sr: Tensor = network(lr)
    return adaptive_avg_pool2d(responses[0], min(24, *responses[0].shape[2:])), sr


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    losses = frame[frame["erasure"].notna()]
    middle = losses.groupby("strategy", sort=False)[LOSSES].median()
    changed, awaken, to_bicubic = (
        " and ".join(f"{_number(value)} ({name})" for name, value in middle[loss].items())
        for loss in ("erasure", "awaken", "to_bicubic")
    )
    return (
        f"The median of {losses['draw'].nunique()} erasures changes f by {changed}. "
        f"The median L_awa = ‖f′ − Bic‖ is {awaken}; without an erasure, ‖f − Bic‖ is {to_bicubic}. "
        f"{_gradients(losses)}."
    )


def _gradients(losses: pd.DataFrame) -> str:
    """The largest gradient of L_awa on the erased filter's own weights, and on those of the other filters."""
    largest = losses.groupby("strategy", sort=False)["gradient_others"].max()
    others = " and ".join(f"{_number(value)} ({name})" for name, value in largest.items())
    own = losses["gradient_erased"].max()
    return (
        f"The gradient of L_awa on the erased filter's own weights is {'exactly 0' if own == 0 else _number(own)} in "
        f"all erasures; on those of the layer's other filters it is at most {others}"
    )


def _number(value: float) -> str:
    """Two digits, without an exponent."""
    return np.format_float_positional(value, 2, fractional=False, trim="-")


def draw(frame: pd.DataFrame) -> Figure:
    """A diagram per network: the patch, the layer, the erasure, the outputs and their losses; below, many erasures."""
    colours = colours_in(frame[frame["strategy"].notna()])
    there = [name for name in in_order(colours) if not reason_of(frame, name)]
    with styled():
        figure = Figure(figsize=(7.2, 0.6 + BLOCK * len(there) + 1.65))
        figure.set_layout_engine("none")
        for place, strategy in enumerate(there):
            _Diagram(figure, 0.3 + BLOCK * place).paradigm(frame, strategy, colours[strategy])
        panel = _axes(figure, 1.15, 0.8 + BLOCK * len(there), 5.95, 1.05)
        _strip(panel, frame, {name: colours[name] for name in there})
        sample = frame["sample"].dropna().iloc[0]
        title = f"{family_title(family_of(frame))}; {sample}"
        figure.suptitle(title, fontsize=7.5, y=1 - 0.05 / figure.get_figheight(), va="top")
    return figure


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes placed in inches from the figure's left and top."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / up, width / across, height / up))


class _Diagram:
    """Pictures, arrows and words, placed in inches below `top`."""

    def __init__(self, figure: Figure, top: float) -> None:
        self.figure, self.top = figure, top

    def paradigm(self, frame: pd.DataFrame, strategy: str, colour: str) -> None:
        own = frame[frame["strategy"] == strategy]
        drawn = own[own["picture"].notna()]
        loss = own[own["picture"].isna() & (own["draw"] == drawn["draw"].iloc[0])].iloc[0]
        shared = frame[frame["strategy"].isna()]
        gone, donor = int(loss["erased"]), int(loss["donor"])
        self.head(strategy, loss, colour)
        self.image("LR", 1.08, _picture(shared, "LR"), "LR patch", side=0.75)
        for top, name, image, aim in ((0.5, "before", "f", "HR"), (1.7, "after", "f′", "bicubic")):
            self.layer(top, _stack(drawn, name), gone, donor, f"{loss['layer']}, {name}")
            self.map(
                top, _stack(drawn, name)[gone], drawn, f"filter {gone}" if name == "before" else f"{donor} in its place"
            )
            self.image("out", top, _picture(drawn, image), f"{image}(LR)")
            self.image("target", top, _picture(shared, aim), "HR" if aim == "HR" else "Bic(LR)")
            self.arrow((0.87, 1.25 if top < 1 else 1.65), (1.17, top + SIDE / 2))
            self.arrow((3.22, top + SIDE / 2), (3.48, top + SIDE / 2))
        self.words(0.475, 2.4, "of responses\nred is +, blue −", "0.3", 6)
        self.arrow((2.725, 1.47), (2.725, 1.68), ORANGE)
        self.losses(loss, _picture(drawn, "|f − f′|"))

    def head(self, strategy: str, loss: "pd.Series[float]", colour: str) -> None:
        network = f"{TRAINED[strategy]} ({loss['checkpoint']})" if strategy in TRAINED else strategy
        self.words(0.1, 0.0, f"Network {network}", colour, 8, ha="left")
        gone, donor = int(loss["erased"]), int(loss["donor"])
        erase = f"1. erase: filter {gone} (orange) responds as {donor} (blue)"
        self.words(1.2, 0.18, erase, "0.3", 6.5, ha="left")
        self.words(LEFT["out"] + 0.55, 0.18, "2. awaken: EATS's step lowers L_ori + L_awa", "0.3", 6.5, ha="left")

    def losses(self, loss: "pd.Series[float]", change: Float[np.ndarray, "h w 3"]) -> None:
        right, left = LEFT["target"] - 0.03, LEFT["out"] + SIDE + 0.03
        middle = (left + right) / 2
        amplified = _round(1 / change.max()) if change.any() else 1
        self.image("change", 1.1, amplified * change, f"|f − f′| × {amplified}")
        for top, above, name, value in (
            (0.7, 0.53, "L_ori = ‖f − HR‖", loss["original"]),
            (2.43, 2.47, "L_awa = ‖f′ − Bic‖", loss["awaken"]),
        ):
            self.arrow((left, top), (right, top), "black", "<|-|>")
            self.words(middle, above, f"{name} = {_number(value)}", "black", 7)
        for top in (1.05, 2.1):
            self.arrow((left, top), (LEFT["change"] - 0.03, 1.575 + (top - 1.575) / 2), GREY)
        self.words(middle, 2.08, f"‖f − f′‖ = {_number(loss['erasure'])}", "black", 7)

    def image(
        self, column: str, top: float, pixels: Float[np.ndarray, "h w 3"], title: str, side: float = SIDE
    ) -> None:
        panel = self.panel(column, top, title, side)
        panel.imshow(pixels.clip(0, 1), interpolation="nearest")

    def layer(self, top: float, maps: Float[np.ndarray, "c h w"], gone: int, donor: int, title: str) -> None:
        """All responses of the layer, with those of the erased filter and of its donor outlined."""
        panel = self.panel("layer", top, title, SIDE)
        largest = np.abs(maps).max()
        panel.imshow(mosaic(maps), cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
        height, across = maps.shape[1], math.ceil(math.sqrt(len(maps)))
        pitch = height + max(1, height // 16)
        for channel, colour in ((donor, SKY), (gone, ORANGE)):
            corner = (channel % across * pitch - 1, channel // across * pitch - 1)
            panel.add_patch(Rectangle(corner, height + 1, height + 1, fill=False, edgecolor=colour, linewidth=1.6))

    def map(self, top: float, response: Float[np.ndarray, "h w"], drawn: pd.DataFrame, title: str) -> None:
        panel = self.panel("filter", top, title, SIDE)
        largest = np.abs(_stack(drawn, "before")).max()
        panel.imshow(response, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
        panel.spines[:].set(visible=True, color=ORANGE, linewidth=1.6)

    def panel(self, column: str, top: float, title: str, side: float) -> Axes:
        panel = _axes(self.figure, LEFT[column], self.top + top, side, side)
        bare(panel)
        if top < 1.5:
            panel.set_title(title, fontsize=6.5, pad=2)
        else:
            panel.set_xlabel(title, fontsize=6.5, labelpad=3)
        return panel

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], colour: str = "black", style: str = "-|>"
    ) -> None:
        ends = [self.place(*start), self.place(*end)]
        self.figure.add_artist(
            FancyArrowPatch(*ends, transform=self.figure.transFigure, arrowstyle=style, mutation_scale=6, color=colour)
        )

    def words(self, left: float, top: float, text: str, colour: str, size: float, ha: str = "center") -> None:
        self.figure.text(*self.place(left, top), text, color=colour, fontsize=size, ha=ha, va="top")

    def place(self, left: float, top: float) -> tuple[float, float]:
        across, up = self.figure.get_size_inches()
        return left / across, 1 - (self.top + top) / up


def _picture(rows: pd.DataFrame, name: str) -> Float[np.ndarray, "h w 3"]:
    return picture_of(rows[rows["picture"] == name])


def _stack(rows: pd.DataFrame, name: str) -> Float[np.ndarray, "c h w"]:
    """The responses of the layer, filter by filter."""
    of_channels = rows[rows["picture"] == name].groupby("filter")
    return np.stack([picture_of(lines, 1)[..., 0] for _, lines in of_channels])


def _round(value: float) -> int:
    """The largest of 1, 2, 5, 10, 20 … that is not above `value`."""
    power: int = 10 ** math.floor(math.log10(max(value, 1.0)))
    return power * max(digit for digit in (1, 2, 5) if digit * power <= max(value, 1.0))


def _strip(panel: Axes, frame: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """A dot per erasure, with a ring around the one in the picture."""
    losses = frame[frame["erasure"].notna()]
    for place, (strategy, colour) in enumerate(colours.items()):
        own = losses[(losses["strategy"] == strategy) & losses["picture"].isna()]
        drawn = frame.loc[(frame["strategy"] == strategy) & frame["picture"].notna(), "draw"].iloc[0]
        for line, name in enumerate(STRIPS):
            level = line + (place + 0.5) / len(colours) - 0.5
            jitter = np.random.default_rng(0).uniform(-0.15, 0.15, len(own)) / len(colours) * 2
            values = own[name].clip(lower=LEAST)
            panel.plot(values, level + jitter, ".", color=colour, markersize=3, alpha=0.35, markeredgewidth=0)
            shown = values[own["draw"] == drawn]
            panel.plot(shown, [level], "o", color=colour, markersize=5, markeredgecolor="black", zorder=3)
    panel.set_xscale("log")
    panel.set_yticks(range(len(STRIPS)), list(STRIPS.values()), fontsize=7)
    panel.set_ylim(len(STRIPS) - 0.5, -0.5)
    panel.grid(axis="x")
    panel.tick_params(axis="x", labelsize=6.5)
    panel.set_xlabel("mean absolute difference of values in [0, 1] (0 is drawn at 10⁻⁶)", fontsize=7)
    panel.set_title(f"a dot per erasure; ring: the one above\n{fill(_gradients(losses), 120)}", fontsize=7, loc="left")
    handles = [panel.plot([], [], "o", color=colour, markersize=4, label=name)[0] for name, colour in colours.items()]
    panel.legend(handles=handles, loc="upper left", fontsize=7)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
