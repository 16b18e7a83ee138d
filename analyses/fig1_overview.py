"""Figure 1: are a few filters active and the others idle, and does EATS restore degraded images better?

The paper's layer is the 2nd of 16 blocks; in small networks, the 1st of 8 blocks is as deep. The paper shows filters
10, 29 and 43; here a rule chooses them: the strongest, the median and the weakest filter of each network.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from crops import bare
from families import (
    AUTO,
    Architectures,
    Checkpoints,
    architecture_of_each,
    colours_in,
    family_of,
    identified,
    in_order,
    layer_title,
    load_each,
    measured_in_each,
    missing_strategies,
    sample_title,
)
from intervals import mean_interval
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure
from printed import eats_over, judged
from psnr_tables import offsets
from rasters import LINE, extremes, picture_of, raster
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d
from zoo_names import SMALL, family_title, shipped

from srgame.data.images import Image
from srgame.data.lazy import LRImages, lr_images
from srgame.evaluation.benchmark import BASELINE, benchmark
from srgame.probes.equity import effective_players
from srgame.probes.features import features
from srgame.probes.responses import channel_responses
from srgame.report.recipe import run
from srgame.report.style import GREY, styled

NETWORKS = shipped(SMALL)
COLUMNS = [
    "part", "strategy", "checkpoint", "layer", "filter", "mean_abs", "stderr", "rank", *LINE,
    "dataset", "degradation", "image", "psnr", "sample", "reason",
]  # fmt: skip
RANKS = ("strongest", "median", "weakest")
IDLE = 10  # % of the strongest filter's response: `response_summary` calls filters below it inhibited

SMOKE = {
    "dataset": "photographs", "images": 2, "crop": 32,
    "restored": "photographs", "degradations": ("clean", "b+n"), "restored_crop": 48,
}  # fmt: skip


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    family: str = SMALL,
    layer: str = "body.0",
    dataset: str = "unseen109",
    images: int | None = 100,
    crop: int | None = 64,
    restored: str = "Set5",
    degradations: tuple[str, ...] = ("all",),
    restored_crop: int | None = None,
) -> pd.DataFrame:
    """Responses, maps of three filters, and PSNR: rows of the parts "response", "map" and "psnr".

    "response": a row per filter of each strategy's first network: mean_abs (mean |response| over `images` images),
    stderr, rank ("strongest", "median", "weakest" or none). "map": a row per line of the first LR image (rank "LR") and
    of the three filters' responses to it (rasters.py). "psnr": a row per network, bicubic upsampling included, image of
    `restored` and setting: psnr (RGB, dB). Further columns: strategy, checkpoint, layer, sample, reason.
    """
    lr = lr_images(dataset, images=images, crop=crop)
    about = identified(networks, family)
    missing = missing_strategies(networks, [columns["strategy"] for columns in about.values()], shipped(family))
    built = architecture_of_each(networks, network)
    firsts = {name: {key: about[name][key] for key in ("strategy", "checkpoint")} for name in _first_of_each(about)}
    architectures = [built[name] for name in firsts] or AUTO
    responses = measured_in_each(firsts, family, partial(_responses, lr=lr, layer=layer), missing, architectures)
    first = raster(next(iter(lr)).permute(1, 2, 0).numpy()).assign(part="map", rank="LR", reason="")
    psnr = _psnr(about, load_each(networks, network), restored, degradations, restored_crop)
    whole = pd.concat([responses, first, psnr], ignore_index=True).reindex(columns=COLUMNS)
    whole["sample"] = (whole["part"] != "map").map({True: sample_title(dataset, len(lr), crop), False: ""})
    return whole.astype({"filter": "Int64", "line": "Int64"})


def _first_of_each(about: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The checkpoint with the lowest seed of each strategy."""
    firsts: dict[str, str] = {}
    for name in sorted(about, key=lambda name: int(about[name]["seed"])):
        firsts.setdefault(about[name]["strategy"], name)
    return list(firsts.values())


def _responses(network: nn.Module, lr: LRImages, layer: str) -> pd.DataFrame:
    """Each filter's response, and the maps of three."""
    responses = channel_responses(network, lr, [layer]).assign(part="response")
    chosen = ranked(responses["mean_abs"].to_numpy())
    responses["rank"] = responses["filter"].map({channel: rank for rank, channel in chosen.items()})
    maps = _maps(network, next(iter(lr)), layer, list(chosen.values()))
    maps["rank"] = maps["filter"].map({channel: rank for rank, channel in chosen.items()})
    return pd.concat([responses, maps], ignore_index=True)


def ranked(sizes: Float[np.ndarray, " channel"]) -> dict[str, int]:
    """The strongest, the median (the stronger of two) and the weakest filter."""
    order = np.argsort(-sizes, kind="stable")
    return dict(zip(RANKS, (int(order[place]) for place in (0, (len(order) - 1) // 2, -1)), strict=True))


def _maps(network: nn.Module, image: Image, layer: str, channels: Sequence[int]) -> pd.DataFrame:
    (responses,) = features(network, [image], [layer], lambda response: response[0].cpu())
    response = responses[layer]
    size = (min(64, response.shape[1]), min(64, response.shape[2]))
    maps = adaptive_avg_pool2d(response[list(channels)], size).numpy()
    bounds = extremes(maps)
    frames = [
        raster(picture[..., None], *bounds).assign(part="map", layer=layer, filter=channel)
        for channel, picture in zip(channels, maps, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)


def _psnr(
    about: Mapping[str, Mapping[str, Any]],
    networks: Mapping[str, nn.Module],
    restored: str,
    degradations: Sequence[str],
    crop: int | None,
) -> pd.DataFrame:
    scores = benchmark(networks, [restored], degradations, crop=crop).scores
    trained = {name: columns["strategy"] for name, columns in about.items()}
    return pd.DataFrame(
        {
            "part": "psnr",
            "strategy": scores["checkpoint"].map(trained | {BASELINE: BASELINE}),
            "checkpoint": scores["checkpoint"].where(scores["checkpoint"] != BASELINE, ""),
            "psnr": scores["psnr_rgb"].round(4),
            "reason": "",
        }
        | {name: scores[name] for name in ("dataset", "degradation", "image")}
    )


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    responses = _relative(frame)
    middle = [f"{rows.median():.0f}% ({name})" for name, rows in responses.groupby("strategy", sort=False)["size"]]
    over = gains_over_bicubic(frame)
    parts = []
    for strategy in in_order(over["strategy"]):
        mean = over[over["strategy"] == strategy].groupby("degradation")["gain"].mean()
        middle_gain, least, most = (f"{gain:+.2f}".replace("-", "−") for gain in (mean.mean(), mean.min(), mean.max()))
        parts.append(f"{strategy} {middle_gain} dB ({least} to {most})")
    restored = over["dataset"].iloc[0] if len(over) else ""
    return (
        f"The median filter responds with {', '.join(middle)} of the strongest filter's size. "
        f"PSNR on {restored} over bicubic, mean of the settings: {', '.join(parts)}."
    )


def verdict(frame: pd.DataFrame) -> str:
    """Whether EATS makes the median filter respond more, relative to the strongest, and restores images better."""
    middle = _relative(frame).groupby("strategy")["size"].median()
    return judged([*eats_over(middle), *eats_over(gains_over_bicubic(frame).groupby("strategy")["gain"].mean())])


def _relative(frame: pd.DataFrame) -> pd.DataFrame:
    """Filters with `size` and `half`, half of its 95% interval, both in % of the network's strongest filter."""
    rows = frame[frame["part"] == "response"]
    strongest = rows.groupby("checkpoint")["mean_abs"].transform("max") / 100
    return rows.assign(size=rows["mean_abs"] / strongest, half=1.96 * rows["stderr"] / strongest)


def gains_over_bicubic(frame: pd.DataFrame) -> pd.DataFrame:
    """PSNR over bicubic upsampling by strategy, setting and image, mean over the seeds of a strategy."""
    cell = ["dataset", "degradation", "image"]
    means = frame[frame["part"] == "psnr"].groupby(["strategy", *cell], sort=False)["psnr"].mean().reset_index()
    baseline = means[means["strategy"] == BASELINE].set_index(cell)["psnr"].rename("baseline")
    own = means[means["strategy"] != BASELINE].join(baseline, on=cell)
    return own.assign(gain=own["psnr"] - own["baseline"])


def draw(frame: pd.DataFrame) -> Figure:
    """(a) A row per strategy: responses of its filters, and maps of three; (b) PSNR under the settings, and gains."""
    there = in_order(frame.loc[(frame["part"] == "response") & frame["mean_abs"].notna(), "strategy"])
    with styled():
        figure = Figure(figsize=(7.2, 0.75 + 1.4 * max(1, len(there)) + 2.2))
        grid = figure.add_gridspec(2, 1, height_ratios=[0.4 + 1.4 * max(1, len(there)), 2.2])
        _activity(figure.add_subfigure(grid[0]), frame, there)
        _restoration(figure.add_subfigure(grid[1]), frame, there)
    return figure


def _activity(part: SubFigure, frame: pd.DataFrame, there: list[str]) -> None:
    layer = str(frame["layer"].dropna().iloc[0]) if there else ""
    family = family_of(frame)
    sample = frame["sample"].dropna().iloc[0]
    title = f"(a) {family_title(family)}, {layer_title(layer, family)}"
    part.suptitle(f"{title}\nresponses to {sample}; maps of the first", fontsize=8)
    grid = part.add_gridspec(max(1, len(there)), 5, width_ratios=[0.85, 2.6, 1, 1, 1])
    maps = frame[frame["part"] == "map"]
    image = part.add_subplot(grid[:, 0])
    bare(image)
    image.imshow(picture_of(maps[maps["rank"] == "LR"]), interpolation="nearest")
    image.set_title("LR image", fontsize=7)
    colours = colours_in(frame[frame["strategy"].isin(there)])
    for place, strategy in enumerate(there):
        rows = _relative(frame[frame["strategy"] == strategy])
        panel = part.add_subplot(grid[place, 1])
        bars(panel, rows, colours[strategy])
        panel.set_title(f"{strategy}: {_evenness(rows)}", fontsize=7, color=colours[strategy])
        panel.set_xlabel("filter, sorted; bold: its number" if strategy == there[-1] else "", fontsize=6.5)
        for column, rank in enumerate(RANKS, 2):
            own = maps[(maps["strategy"] == strategy) & (maps["rank"] == rank)]
            _map(part.add_subplot(grid[place, column]), own, rank)


def _evenness(rows: pd.DataFrame) -> str:
    idle = int((rows["size"] < IDLE).sum())
    return f"{effective_players(rows['mean_abs']):.1f} of {len(rows)} effective, {idle} below {IDLE}%"


def bars(panel: Axes, rows: pd.DataFrame, colour: str) -> None:
    """The sizes of the filters' responses, sorted; those whose maps are shown are labelled with their numbers."""
    rows = rows.sort_values("size", ascending=False, kind="stable").reset_index(drop=True)
    shown = rows["rank"].notna()
    shades = [colour if own else to_rgba(colour, 0.45) for own in shown]
    panel.bar(rows.index, rows["size"], width=0.85, color=shades, yerr=rows["half"], error_kw={"linewidth": 0.6})
    for row in rows[shown].reset_index(names="place").to_dict("records"):
        top, number = row["size"] + np.nan_to_num(row["half"]) + 3, f"{row['filter']:.0f}"
        panel.text(row["place"], top, number, ha="center", fontsize=6.5, fontweight="bold", color=colour)
    panel.axhline(IDLE, color=GREY, linestyle="--", linewidth=0.8)
    panel.set_xlim(-0.8, len(rows) - 0.2)
    panel.set_ylim(0, 125)
    panel.set_yticks([0, 50, 100])
    panel.set_xticks([])
    panel.tick_params(labelsize=6.5)
    panel.set_ylabel("mean |response|\n(% of strongest)", fontsize=7)


def _map(panel: Axes, rows: pd.DataFrame, rank: str) -> None:
    bare(panel)
    extreme = float(rows["high"].iloc[0])
    panel.imshow(picture_of(rows, 1)[..., 0], cmap="RdBu_r", vmin=-extreme, vmax=extreme, interpolation="nearest")
    panel.set_title(f"{rank} ({rows['filter'].iloc[0]:.0f})", fontsize=7, pad=2)
    if rank == RANKS[1]:
        panel.set_xlabel(f"red, blue: ±{extreme:.2g}", fontsize=6.5, labelpad=2)


def _restoration(part: SubFigure, frame: pd.DataFrame, there: list[str]) -> None:
    psnr, over = frame[frame["part"] == "psnr"], gains_over_bicubic(frame)
    settings, images = list(psnr["degradation"].unique()), psnr["image"].nunique()
    dataset = psnr["dataset"].iloc[0]
    level, gain = part.add_subplot(1, 2, 1), part.add_subplot(1, 2, 2)
    colours = colours_in(frame[frame["strategy"].isin(there)]) | {BASELINE: "black"}
    shifts = offsets((BASELINE, *there))
    for strategy in (BASELINE, *there):
        colour, place = colours[strategy], np.arange(len(settings)) + shifts[strategy]
        own = psnr[psnr["strategy"] == strategy].groupby("degradation")["psnr"].mean().reindex(settings)
        level.plot(place, own, "o", color=colour, markersize=3.5, label=strategy)
        if strategy != BASELINE:
            by_setting = over[over["strategy"] == strategy].groupby("degradation")["gain"]
            mean, low, high = np.array([mean_interval(by_setting.get_group(s).to_numpy()) for s in settings]).T
            gain.plot(place, mean, "o", color=colour, markersize=3.5)
            gain.vlines(place, low, high, color=colour, linewidth=1)
    gain.axhline(0, color="black", linewidth=0.6)
    level.set_ylabel("PSNR (RGB, dB)")
    gain.set_ylabel("PSNR − bicubic's (dB)")
    level.set_title(f"mean of {images} images", fontsize=7)
    gain.set_title("95% intervals over images", fontsize=7)
    for panel in (level, gain):
        panel.set_xticks(range(len(settings)), settings, fontsize=7)
    part.suptitle(f"(b) {dataset} under the test settings (b: blur, n: noise, j: JPEG)", fontsize=8)
    part.legend(loc="outside lower center", ncols=len(there) + 1, fontsize=7)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
