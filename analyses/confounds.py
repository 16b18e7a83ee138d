"""The gain of EATS against bicubic − Original: what audit_confound and audit_confound_srresnet share.

The points are those of audit_gains, but for networks that were trained alike and measured here; and EATS is compared
with the control that is trained towards bicubic upsampling without erasing anything. Two differences that share
Original correlate for that reason alone; Dropout's gain shows how much.
"""

import pandas as pd
import psnr_tables
from audited import NETWORKS, family_in, gain_against_bicubic, headed
from families import AUTO, Architectures, Checkpoints, empty, group_named
from intervals import correlated
from matplotlib.figure import Figure
from printed import UNKNOWN
from psnr_tables import NONE, SET_COLOURS, SETS, offsets

from srgame.report.style import styled

SMOKE = {"sets": ("photographs",), "degradations": ("clean", "blur", "b+n", "jpeg"), "images": 2, "crop": 32}
GAIN, BELOW, PULL = ("eats", "original"), ("bicubic", "original"), ("eats", "bicubic-pull")
DROPOUT = ("dropout", "original")


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    sets: tuple[str, ...] = SETS,
    degradations: tuple[str, ...] = ("all",),
    images: int = 5,
    crop: int = 128,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per set and degradation, in dB of RGB: dataset, degradation, gain, below, over_pull, dropout.

    gain is EATS − Original and over_pull EATS − BicubicPull, both with _low and _high, the ends of a 95% interval
    (`paired_interval`: over seeds if there are several, otherwise over images); below is bicubic − Original, dropout
    Dropout − Original; reason says why a number is missing.

    A file takes the part of the strategy that its name states, as eats.safetensors or eats/weights.safetensors does.
    """
    table = psnr_tables.measure(1, family_in(networks), networks, network, sets, degradations, images, crop, seed)
    rgb = table[table["colour"] == "rgb"].set_index(["dataset", "degradation"])
    settings = f"{group_named(networks)}: first {images} images of each set, crops of {crop} px; 8-bit RGB."
    return _cells(rgb).assign(settings=settings).reset_index()


def _cells(rgb: pd.DataFrame) -> pd.DataFrame:
    level = rgb[rgb["against"] == NONE].pivot(columns="strategy", values="psnr").reindex(rgb.index.unique())
    level = level.reindex(columns=BELOW)
    gain, pull = (_difference(rgb, *pair) for pair in (GAIN, PULL))
    ends = {f"{name}_{end}": of[end] for name, of in (("gain", gain), ("over_pull", pull)) for end in ("low", "high")}
    numbers = {"gain": gain["psnr"], "below": level[BELOW[0]] - level[BELOW[1]], "over_pull": pull["psnr"]}
    numbers["dropout"] = _difference(rgb, *DROPOUT)["psnr"]
    reasons = [" ".join(dict.fromkeys(filter(None, pair))) for pair in zip(gain["reason"], pull["reason"], strict=True)]
    return pd.DataFrame(numbers | ends).assign(reason=reasons)


def _difference(rgb: pd.DataFrame, strategy: str, against: str) -> pd.DataFrame:
    """The rows of one difference; empty ones with the reason if the networks do not have both strategies."""
    rows = rgb[(rgb["strategy"] == strategy) & (rgb["against"] == against)].reindex(rgb.index.unique())
    return rows.fillna({"reason": "" if rows["strategy"].notna().any() else f"not measured: {strategy} − {against}"})


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    known = frame.dropna(subset=["gain", "below"])
    if known.empty:
        return "Original and EATS were not both measured: nothing to correlate."
    if len(known) < 4:
        return f"{len(known)} cells are too few to correlate the gain of EATS with bicubic − Original: 4 are needed."
    r, low, high = correlated(known["below"].to_numpy(), known["gain"].to_numpy())
    apart = (known["gain"] - known["below"]).abs().mean()
    sentence = (
        f"The gain of EATS correlates with bicubic − Original: r = {r:.3f} ({low:.3f} to {high:.3f} if the "
        f"{len(known)} cells were independent), mean absolute difference {apart:.2f} dB"
    )
    both = known.dropna(subset="dropout")
    if len(both):
        shared, _, _ = correlated(both["below"].to_numpy(), both["dropout"].to_numpy())
        other = (both["dropout"] - both["below"]).abs().mean()
        sentence += f" (the gain of Dropout: r = {shared:.2f}, {other:.2f} dB)".replace("-", "−")
    pull = frame["over_pull"].dropna()
    mean = f"{pull.mean():+.2f} dB".replace("-", "−") if len(pull) else "unknown"
    return f"{sentence}. EATS − BicubicPull is {mean}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether EATS gains more than BicubicPull, or, if that was not measured, than bicubic upsampling."""
    known = frame.dropna(subset=["gain", "below"])
    if known.empty:
        return UNKNOWN
    left = known["over_pull"].fillna(known["gain"] - known["below"])
    return "differs" if left.mean() < 0.1 * known["gain"].abs().mean() else "agrees so far"


def draw(frame: pd.DataFrame) -> Figure:
    """Left, the gain of EATS against bicubic − Original; right, EATS against BicubicPull."""
    with styled():
        figure = Figure(figsize=(7.2, 3.4))
        left, right = figure.subplots(1, 2)
        known = frame.dropna(subset=["gain", "below"])
        gain_against_bicubic(left, known.rename(columns={"gain_low": "low", "gain_high": "high"}))
        left.set_title("line: the two are equal")
        pulled = frame.dropna(subset="over_pull")
        settings, shifts = list(frame["degradation"].unique()), offsets(list(frame["dataset"].unique()))
        for dataset, rows in pulled.groupby("dataset", sort=False):
            error = [rows["over_pull"] - rows["over_pull_low"], rows["over_pull_high"] - rows["over_pull"]]
            colour = SET_COLOURS.get(str(dataset), "black")
            place = rows["degradation"].map(settings.index) + shifts[str(dataset)]
            right.errorbar(place, rows["over_pull"], error, fmt="o", markersize=3, elinewidth=1, color=colour)
        right.set_xticks(range(len(settings)), settings)
        handles, labels = left.get_legend_handles_labels()
        right.axhline(0, color="black", linewidth=0.6)
        right.set(ylabel="EATS − BicubicPull (dB)", title="against the pull alone")
        if pulled.empty:
            reason = next((reason for reason in frame["reason"].dropna() if "pull" in reason), "not measured")
            empty(right, reason)
            right.set_title("against the pull alone")
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)))
    return headed(figure, "The gain of EATS against bicubic upsampling, and against a control without erasures", frame)
