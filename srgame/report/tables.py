"""Tidy frames as text for a terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from srgame.probes.profiles import SAMPLING
from srgame.shapley.until import DOZEN
from srgame.shapley.values import AGREED, HEAVY_TAILS

ROUNDING = 1e-5  # relative standard errors below this are those of rounding
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SMALL = 0.01  # of a unit: if no value is larger, all are printed in units of a power of ten
ADVICE = {"tolerance": "ask for a smaller tolerance", "rms tolerance": "ask for a smaller tolerance"}
ADVICE |= {"evaluations": "allow more evaluations", "seconds": "allow more seconds", "interrupted": "let it run longer"}
FACTORS = {"antithetic": "antithetic permutations", "control_variates": "control variates"}
SCORES = {"psnr_rgb": "PSNR, RGB (dB)", "psnr_y": "PSNR, Y (dB)", "ssim_y": "SSIM, Y"}
WIDEST = 34  # characters of the first column of profile_table
QUANTITIES = {
    "psnr_y": "PSNR, Y (dB)",
    "psnr_rgb": "PSNR, RGB (dB)",
    "ssim_y": "SSIM, Y",
    "worth": "worth of the layer",
    "mean_abs": "mean |response|",
    "sparsity": "sparsity of responses",
    "inhibited": "share of filters inhibited",
    "responses_effective_share": "share effective in |response|",
    "salience_effective_share": "share effective in salience",
    "mean_cosine": "mean |cosine|",
    "shapley_gini": "Gini of φ",
    "shapley_effective_share": "share effective in φ",
    "harmful": "share with φ < 0",
}
ADDITIVE = "additive tail"  # what ended the sampling of games of sums


def shapley_table(values: pd.DataFrame, unit: str, confidence: float, most: int = 20) -> str:
    """The first and last players of each layer by rank, as text; `values` is a frame of network_values.

    Values below SMALL are printed in units of a power of ten.
    """
    lines: list[str] = []
    is_joint = values["layer"].nunique() > 1 and values["rank"].is_unique  # games of their own repeat the ranks
    for _, frame in values.groupby("layer", sort=False):
        lines += _layer(frame.sort_values("rank"), unit, confidence, most, is_joint)
        if not is_joint:
            lines += _how(frame, confidence)
    if is_joint:
        lines += ["", "one game of all layers", *_total(values, unit), *_how(values, confidence)]
    if len(values) > 1:
        lines += ["", "a sum of φ is not what removing filters together costs: `srgame prune` measures that"]
    return "\n".join(lines)


def _layer(ranked: pd.DataFrame, unit: str, confidence: float, most: int, is_joint: bool) -> list[str]:
    layer, scale = ranked["layer"].iloc[0], _Scale.of(ranked["shapley"], unit)
    player = "layer" if layer == "all layers" else "filter"
    names = ranked["filter"].astype(str)
    width = max(6, *names.str.len())
    half = scale.scaled(ranked["high"] - ranked["low"]) / 2
    columns = zip(ranked["rank"], names, scale.scaled(ranked["shapley"]), half, strict=True)
    rows = [f"{rank:5}  {name:>{width}}  {value:+12.5f}  ± {error:.5f}" for rank, name, value, error in columns]
    if len(rows) > most:
        rows[most * 3 // 4 : -most // 4] = [f"       … {len(rows) - most} more in the csv"]
    head = f" rank  {player:>{width}}  {scale.headed('φ'):>12}  ± {confidence:.0%} interval"
    total = [f"φ of this layer add up to {scale.written(ranked['shapley'].sum())}"]
    return [f"\n{layer}", head, *rows, *(total if is_joint else _total(ranked, unit))]


def _total(values: pd.DataFrame, unit: str) -> list[str]:
    how = values.iloc[0]
    scale = _Scale.of(pd.Series([how["grand"], how["empty"]]), "")
    grand, empty, worth = (scale.scaled(worth) for worth in (how["grand"], how["empty"], how["grand"] - how["empty"]))
    unit = f"{scale.power} {unit}".strip()
    return [f"all φ add up to v(all) − v(none) = {grand:.4f} − {empty:.4f} = {worth:.4f} {unit}".rstrip()]


def _how(values: pd.DataFrame, confidence: float) -> list[str]:
    """How the values of one game were computed, and what to beware of."""
    how = values.iloc[0]
    return [_effort(how, "φ"), *_caution(how, confidence), *_flags(values), *_variance_reduction(how)]


@dataclass(frozen=True)
class _Scale:
    """The power of ten in which small values are printed."""

    exponent: int
    unit: str

    @classmethod
    def of(cls, values: "pd.Series[float]", unit: str) -> "_Scale":
        largest = float(values.abs().max())
        return cls(math.floor(math.log10(largest)) if 0 < largest < SMALL else 0, unit)

    @property
    def power(self) -> str:
        return "10" + str(self.exponent).translate(SUPERSCRIPT) if self.exponent else ""

    def scaled(self, values: Any) -> Any:
        return values / 10.0**self.exponent

    def headed(self, symbol: str) -> str:
        unit = f"{self.power} {self.unit}".strip()
        return f"{symbol} ({unit})" if unit else symbol

    def written(self, value: float) -> str:
        return f"{self.scaled(value):.5f} {self.power} {self.unit}".strip().replace("  ", " ")


def _effort(how: pd.Series, symbol: str) -> str:
    if how["ended"] == ADDITIVE:
        return (
            f"solved: additive tail, from {how['evaluations']:,} evaluations; largest standard error "
            f"{how['relative_stderr']:.3%} of the range of {symbol}"
        )
    error = how["relative_stderr"]
    size = f"{error:.2%} of" if error <= 1 else "more than"
    reached = f"largest standard error {size} the range of {symbol}; " if math.isfinite(error) else ""
    return (
        f"{how['evaluations']:,} evaluations in {how['replicates']} independent replicates; "
        f"{reached}ended by: {how['ended']}"
    )


def _caution(how: pd.Series, confidence: float) -> list[str]:
    """A warning if there are too few replicates for a standard error, or for intervals."""
    if math.isinf(how["stderr"]):
        count = "one replicate" if how["replicates"] == 1 else f"{how['replicates']} replicates"
        return [f"{count}: no error yet; {_advice(how)}"]
    if how["relative_stderr"] > ROUNDING and 0 < how["replicates"] < DOZEN:
        return [f"fewer than {DOZEN} replicates: intervals of {confidence:.0%} may be too narrow; {_advice(how)}"]
    return []


def _flags(values: pd.DataFrame) -> list[str]:
    """Warnings of players whose errors the replicates may understate."""
    heavy, agreed = ((values["flag"] == flag).sum() for flag in (HEAVY_TAILS, AGREED))
    count, lines = len(values), []
    if heavy:
        lines.append(
            f"rare large contributions: intervals may be too narrow ({heavy} of {count}); {_advice(values.iloc[0])}"
        )
    if agreed:
        lines.append(f"all replicates agree on {agreed} of {count}: effects rarer than the replicates can be missed")
    return lines


def _advice(how: pd.Series) -> str:
    return ADVICE.get(how["ended"], "sample more")


def _variance_reduction(how: pd.Series) -> list[str]:
    """The factors by which the variance is reduced, of those that were measured."""
    used = str(how["used"]).split()
    factors = [
        f"{name} ×{how[f'{key}_reduction']:.2f} ({'' if key in used else 'not '}used)"
        for key, name in FACTORS.items()
        if pd.notna(how[f"{key}_reduction"])
    ]
    lines = [f"variance reduced by: {', '.join(factors)}"] if factors else []
    if pd.notna(ratio := how.get("low_precision_reduction")):
        verdict = "used" if "low_precision" in used else "too much, so not used"
        lines.append(
            f"rounding of bfloat16: {1 / ratio if ratio else math.inf:.2%} of the variance of permutations ({verdict})"
        )
    return lines


def interaction_table(pairs: pd.DataFrame, unit: str, confidence: float, most: int = 8) -> str:
    """The most co-adapted and most interchangeable pairs of one layer, and the number of each kind, as text."""
    how, ranked = pairs.iloc[0], pairs.sort_values("interaction", ascending=False)
    scale = _Scale.of(ranked["interaction"], unit)
    half = scale.scaled(ranked["high"] - ranked["low"]) / 2
    columns = zip(ranked["filter"], ranked["partner"], scale.scaled(ranked["interaction"]), half, strict=True)
    rows = [f"{player:6}  {partner:7}  {value:+12.6f}  ± {error:.6f}" for player, partner, value, error in columns]
    if len(rows) > 2 * most:
        rows[most:-most] = [f"        … {len(rows) - 2 * most:,} more in the csv"]
    together, either = (ranked["low"] > 0).sum(), (ranked["high"] < 0).sum()
    return "\n".join(
        [
            f"\n{how['layer']}",
            f"filter  partner  {scale.headed('I'):>12}  ± {confidence:.0%} interval",
            *rows,
            f"of {len(pairs):,} pairs {together:,} are co-adapted (I > 0), "
            f"{either:,} interchangeable (I < 0), {len(pairs) - together - either:,} undecided",
            _effort(how, "I"),
            *(_caution(how, confidence) if how["replicates"] == 1 else []),
        ]
    )


def profile_table(differences: pd.DataFrame, unit: str, confidence: float) -> str:
    """The quantities of each network and layer, and their differences from the first network, as text.

    `differences` is a frame of profile_differences.
    """
    names = list(differences["checkpoint"].unique())
    widths = [max(9, len(name)) for name in names]
    heads = [f"{name:>{width}}" for name, width in zip(names, widths, strict=True)]
    heads += [f"{f'difference {number} - 1':>30}" for number in range(2, len(names) + 1)]
    lines: list[str] = []
    for layer, of_layer in differences.groupby("layer", sort=False):
        lines += ["", f"{layer!s:{WIDEST}}" + "  ".join(heads)]
        for quantity, rows in of_layer.groupby("quantity", sort=False):
            own = rows.set_index("checkpoint").reindex(names)
            cells = [f"{value:>{width}.4g}" for value, width in zip(own["value"], widths, strict=True)]
            cells += [_with_interval(row) for row in own.iloc[1:].to_dict("records")]
            lines.append(f"{_quantity(str(quantity), unit):{WIDEST}}" + "  ".join(cells))
    if len(names) > 1:
        lines += [
            "",
            f"in brackets: {confidence:.0%} intervals of paired differences over the images; *: of the sampling error",
            "Filters of separately trained networks do not correspond by number: compare their distributions.",
        ]
    return "\n".join(lines)


def _quantity(name: str, unit: str) -> str:
    text = QUANTITIES[name]
    return f"{text} ({unit})" if name == "worth" and unit else text


def _with_interval(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["difference"]):
        return f"{'':>30}"
    star = "*" if row["over"] == SAMPLING else ""
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:+.3g}, {row['high']:+.3g}]{star}"
    return f"{row['difference']:+.3g}{interval}".rjust(30)


def removal_table(losses: pd.DataFrame, count: int, ranking: Sequence[str], held_out: Sequence[str]) -> str:
    """What sums of scores say about the removal of `count` filters, and what it costs, as text."""
    row = losses[losses["removed"] == count].iloc[0]
    return "\n".join(
        [
            f"on the images that rank the filters ({', '.join(ranking)}):",
            f"  sum of φ                 {row['sum_shapley']:+9.4f} dB",
            f"  sum of leave-one-out     {row['sum_leave-one-out']:+9.4f} dB",
            f"  real loss of PSNR        {row['loss']:+9.4f} dB",
            f"on held-out images ({', '.join(held_out)}):",
            f"  real loss of PSNR        {row['held_out_loss']:+9.4f} dB",
            "The sums do not predict a joint removal: φ is a mean over all coalitions, and leave-one-out removes one.",
        ]
    )


def score_table(scores: pd.DataFrame, missing: Mapping[str, str]) -> str:
    """The mean scores of each image set, as text: a line per checkpoint, a column per degradation."""
    blocks = [_set(str(dataset), rows) for dataset, rows in scores.groupby("dataset", sort=False)]
    blocks += [f"\n{dataset}: not measured, {reason}" for dataset, reason in missing.items()]
    return "\n".join(blocks)


def _set(dataset: str, rows: pd.DataFrame) -> str:
    settings, names = rows["degradation"].unique(), rows["checkpoint"].unique()
    width = max(14, *map(len, names))
    lines = [f"\n{dataset}: {rows['image'].nunique()} images{_too_small(rows)}"]
    for score, title in SCORES.items():
        means = rows.groupby(["checkpoint", "degradation"])[score].mean()
        digits = 4 if score.startswith("ssim") else 2
        lines.append(f"{title:{width}}" + "".join(f"{setting:>8}" for setting in settings))
        for name in names:
            cells = (f"{means[name, setting]:8.{digits}f}" for setting in settings)
            lines.append(f"{name:{width}}" + "".join(cells))
    return "\n".join(lines)


def _too_small(rows: pd.DataFrame) -> str:
    """How many images each mean leaves out, if any; empty if all have all scores."""
    scored = {
        title.split(",")[0]: int(rows.groupby("image")[score].count().gt(0).sum()) for score, title in SCORES.items()
    }
    if min(scored.values()) == rows["image"].nunique():
        return ""
    counts = ", ".join(f"{title} of {count}" for title, count in scored.items())
    return f" ({counts}; the others are too small for it once the border is cut)"
