"""Figure 1: are a few channels active and the others idle, and does EATS restore degraded images better?

The paper's layer is the 2nd of 16 blocks; that of small networks lies as deep, the 1st of 8. The paper shows channels
10, 29 and 43; here they are chosen by rule: of each network the strongest, the median and the weakest.
"""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from audited import mean_interval
from crops import bare
from families import family_of, layer_title, probed, sample_title
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure
from printed import eats_over, judged
from psnr_tables import COLOURS, OFFSETS, WIDTH
from rasters import LINE, extremes, picture_of, raster
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d
from zoo_names import SMALL, family_title, first_of_each, missing_networks, shipped, strategy_of

from srgame.data.images import Image
from srgame.data.lazy import LRImages, lr_images
from srgame.evaluation.benchmark import BASELINE, benchmark
from srgame.networks import load_network
from srgame.probes.equity import effective_players
from srgame.probes.features import features
from srgame.probes.responses import channel_responses
from srgame.report.recipe import run
from srgame.report.style import GREY, STRATEGIES, styled

COLUMNS = [
    "part", "strategy", "network", "layer", "filter", "mean_abs", "stderr", "rank", *LINE,
    "dataset", "degradation", "image", "psnr", "sample", "reason",
]  # fmt: skip
RANKS = ("strongest", "median", "weakest")
IDLE = 10  # % of the strongest channel's response: what `response_summary` calls inhibited lies below

SMOKE = {
    "dataset": "photographs", "images": 2, "crop": 32,
    "restored": "photographs", "degradations": ("clean", "b+n"), "restored_crop": 48,
}  # fmt: skip


def measure(
    networks: tuple[str, ...] = shipped(SMALL),
    family: str = SMALL,
    layer: str = "body.0",
    dataset: str = "unseen109",
    images: int | None = 100,
    crop: int | None = 64,
    restored: str = "Set5",
    degradations: tuple[str, ...] = ("all",),
    restored_crop: int | None = None,
) -> pd.DataFrame:
    """Responses, maps of a few channels, and PSNR: rows of the parts "response", "map" and "psnr".

    Of each strategy's first seed, a row per channel: mean_abs, stderr (its mean size over `images` images and the
    standard error), rank ("strongest", "median", "weakest" or none); and of the first image a row per line of the LR
    image (rank "LR") and of those channels' responses (rasters.py). Of all networks and bicubic upsampling, a row per
    image of `restored` and setting: psnr (RGB, dB). Further columns: strategy, network, layer, sample, reason.
    """
    lr = lr_images(dataset, images=images, crop=crop)
    responses = probed(first_of_each(family, networks), family, lambda network: _responses(network, lr, layer))
    first = raster(next(iter(lr)).permute(1, 2, 0).numpy()).assign(part="map", rank="LR", reason="")
    psnr = _psnr(networks, family, restored, degradations, restored_crop)
    whole = pd.concat([responses, first, psnr], ignore_index=True).reindex(columns=COLUMNS)
    whole["sample"] = (whole["part"] != "map").map({True: sample_title(dataset, len(lr), crop), False: ""})
    return whole.astype({"filter": "Int64", "line": "Int64"})


def _responses(network: nn.Module, lr: LRImages, layer: str) -> pd.DataFrame:
    """Each channel's response, and the maps of three."""
    responses = channel_responses(network, lr, [layer]).assign(part="response")
    chosen = ranked(responses["mean_abs"].to_numpy())
    responses["rank"] = responses["filter"].map({channel: rank for rank, channel in chosen.items()})
    maps = _maps(network, next(iter(lr)), layer, list(chosen.values()))
    maps["rank"] = maps["filter"].map({channel: rank for rank, channel in chosen.items()})
    return pd.concat([responses, maps], ignore_index=True)


def ranked(sizes: Float[np.ndarray, " channel"]) -> dict[str, int]:
    """The strongest, the median (the stronger of two) and the weakest channel."""
    order = np.argsort(-sizes, kind="stable")
    return dict(zip(RANKS, (int(order[place]) for place in (0, (len(order) - 1) // 2, -1)), strict=True))


def _maps(network: nn.Module, image: Image, layer: str, channels: Sequence[int]) -> pd.DataFrame:
    (response,) = (heard[layer] for heard in features(network, [image], [layer], lambda response: response[0].cpu()))
    kept = adaptive_avg_pool2d(
        response[list(channels)], (min(64, response.shape[1]), min(64, response.shape[2]))
    ).numpy()
    bounds = extremes(kept)
    frames = [
        raster(picture[..., None], *bounds).assign(part="map", layer=layer, filter=channel)
        for channel, picture in zip(channels, kept, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)


def _psnr(
    networks: Sequence[str], family: str, restored: str, degradations: Sequence[str], crop: int | None
) -> pd.DataFrame:
    scale = int(family.rsplit("-x", 1)[1])
    loaded = {name: load_network(name, scale=scale) for name in networks}
    scores = benchmark(loaded, [restored], degradations, scale, crop=crop).scores
    trained = {name: (strategy_of(name, family) or ("",))[0] for name in networks}
    return pd.DataFrame(
        {
            "part": "psnr",
            "strategy": scores["checkpoint"].map(trained | {BASELINE: BASELINE}),
            "network": scores["checkpoint"].where(scores["checkpoint"] != BASELINE, ""),
            "psnr": scores["psnr_rgb"].round(4),
            "reason": "",
        }
        | {name: scores[name] for name in ("dataset", "degradation", "image")}
    )


def found(frame: pd.DataFrame) -> str:
    """What was found, in a sentence."""
    responses = _relative(frame)
    middle = [f"{rows.median():.0f}% ({name})" for name, rows in responses.groupby("strategy", sort=False)["size"]]
    over = gains_over_bicubic(frame)
    parts = []
    for strategy in (name for name in STRATEGIES if name in set(over["strategy"])):
        mean = over[over["strategy"] == strategy].groupby("degradation")["gain"].mean()
        middle_gain, least, most = (f"{gain:+.2f}".replace("-", "−") for gain in (mean.mean(), mean.min(), mean.max()))
        parts.append(f"{strategy} {middle_gain} dB ({least} to {most})")
    restored = over["dataset"].iloc[0] if len(over) else ""
    return (
        f"The median channel responds with {', '.join(middle)} of the strongest's size. "
        f"PSNR on {restored} over bicubic, mean of the settings: {', '.join(parts)}."
    )


def verdict(frame: pd.DataFrame) -> str:
    """Whether with EATS the median channel responds more, beside the strongest, and degraded images are better."""
    middle = _relative(frame).groupby("strategy")["size"].median()
    return judged([*eats_over(middle), *eats_over(gains_over_bicubic(frame).groupby("strategy")["gain"].mean())])


def _relative(frame: pd.DataFrame) -> pd.DataFrame:
    """Channels with `size` and `half`, the half of its 95% interval, both in % of the network's strongest channel."""
    rows = frame[frame["part"] == "response"]
    strongest = rows.groupby("network")["mean_abs"].transform("max") / 100
    return rows.assign(size=rows["mean_abs"] / strongest, half=1.96 * rows["stderr"] / strongest)


def gains_over_bicubic(frame: pd.DataFrame) -> pd.DataFrame:
    """PSNR over bicubic upsampling by strategy, setting and image, the mean over a strategy's seeds."""
    cell = ["dataset", "degradation", "image"]
    means = frame[frame["part"] == "psnr"].groupby(["strategy", *cell], sort=False)["psnr"].mean().reset_index()
    baseline = means[means["strategy"] == BASELINE].set_index(cell)["psnr"].rename("baseline")
    own = means[means["strategy"] != BASELINE].join(baseline, on=cell)
    return own.assign(gain=own["psnr"] - own["baseline"])


def draw(frame: pd.DataFrame) -> Figure:
    """(a) A row per strategy: its channels' responses, and maps of three; (b) PSNR under the settings, and gains."""
    there = [name for name in STRATEGIES if (frame["strategy"].eq(name) & frame["part"].eq("response")).any()]
    with styled():
        figure = Figure(figsize=(7.2, 0.75 + 1.4 * max(1, len(there)) + 2.2))
        grid = figure.add_gridspec(2, 1, height_ratios=[0.4 + 1.4 * max(1, len(there)), 2.2])
        _activity(figure.add_subfigure(grid[0]), frame, there)
        _restoration(figure.add_subfigure(grid[1]), frame, there)
        lines = [fill(found(frame), WIDTH), missing_networks(frame["reason"].dropna())]
        figure.suptitle("\n".join(filter(None, lines)), fontsize=8)
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
    for place, strategy in enumerate(there):
        rows = _relative(frame[frame["strategy"] == strategy])
        panel = part.add_subplot(grid[place, 1])
        bars(panel, rows, STRATEGIES[strategy])
        panel.set_title(f"{strategy}: {_evenness(rows)}", fontsize=7, color=STRATEGIES[strategy])
        panel.set_xlabel("channel, sorted; bold: its number" if strategy == there[-1] else "", fontsize=6.5)
        for column, rank in enumerate(RANKS, 2):
            own = maps[(maps["strategy"] == strategy) & (maps["rank"] == rank)]
            _map(part.add_subplot(grid[place, column]), own, rank)


def _evenness(rows: pd.DataFrame) -> str:
    idle = int((rows["size"] < IDLE).sum())
    return f"{effective_players(rows['mean_abs']):.1f} of {len(rows)} effective, {idle} below {IDLE}%"


def bars(panel: Axes, rows: pd.DataFrame, colour: str) -> None:
    """The sizes of channels' responses, sorted; the channels whose maps are shown bear their numbers."""
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
    for strategy in (BASELINE, *there):
        colour, place = COLOURS[strategy], np.arange(len(settings)) + OFFSETS[strategy]
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
    part.suptitle(f"(b) {dataset} ×4 under the test settings (b: blur, n: noise, j: JPEG)", fontsize=8)
    part.legend(loc="outside lower center", ncols=len(there) + 1, fontsize=7)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
