"""Tidy frames as text for a terminal."""

import math
from collections.abc import Mapping

import pandas as pd

from srgame.shapley.values import ROUNDING

DOZEN = 12  # with fewer replicates, intervals cover the true value too rarely (analyses/bench_coverage.py)
FACTORS = {"antithetic": "antithetic permutations", "control_variates": "control variates"}
SCORES = {"psnr_rgb": "PSNR, RGB (dB)", "psnr_y": "PSNR, Y (dB)", "ssim_y": "SSIM, Y"}


def shapley_table(values: pd.DataFrame, unit: str, confidence: float, most: int = 20) -> str:
    """The first and last filters of each layer by rank, as text; `values` is a frame of network_values."""
    by_layer = values.groupby("layer", sort=False)
    return "\n".join(_layer(str(layer), frame.sort_values("rank"), unit, confidence, most) for layer, frame in by_layer)


def _layer(layer: str, ranked: pd.DataFrame, unit: str, confidence: float, most: int) -> str:
    how = ranked.iloc[0]
    half = (ranked["high"] - ranked["low"]) / 2
    columns = zip(ranked["rank"], ranked["filter"], ranked["shapley"], half, strict=True)
    rows = [f"{rank:5}  {player!s:>6}  {value:+12.5f}  ± {error:.5f}" for rank, player, value, error in columns]
    if len(rows) > most:
        rows[most * 3 // 4 : -most // 4] = [f"       … {len(rows) - most} more in the csv"]
    worth = how["grand"] - how["empty"]
    return "\n".join(
        [
            f"\n{layer}",
            f" rank  filter  {f'φ ({unit})' if unit else 'φ':>12}  ± {confidence:.0%} interval",
            *rows,
            f"all φ add up to v(all) − v(none) = {how['grand']:.4f} − {how['empty']:.4f} = {worth:.4f} {unit}",
            _effort(how, "φ"),
            *_caution(how, confidence),
            *_variance_reduction(how),
        ]
    )


def _effort(how: pd.Series, symbol: str) -> str:
    return (
        f"{how['evaluations']:,} evaluations in {how['replicates']} independent replicates; "
        f"largest standard error {how['relative_stderr']:.2%} of the range of {symbol}; ended by: {how['ended']}"
    )


def _caution(how: pd.Series, confidence: float) -> list[str]:
    """A warning if there are too few replicates for a standard error, or for intervals."""
    if how["replicates"] == 1:
        return ["a single replicate has no standard error: allow more evaluations"]
    if how["relative_stderr"] > ROUNDING and how["replicates"] < DOZEN:
        return [
            f"fewer than {DOZEN} replicates: intervals of {confidence:.0%} may be too narrow; allow more evaluations"
        ]
    return []


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
    half = (ranked["high"] - ranked["low"]) / 2
    columns = zip(ranked["filter"], ranked["partner"], ranked["interaction"], half, strict=True)
    rows = [f"{player:6}  {partner:7}  {value:+12.6f}  ± {error:.6f}" for player, partner, value, error in columns]
    if len(rows) > 2 * most:
        rows[most:-most] = [f"        … {len(rows) - 2 * most:,} more in the csv"]
    together, either = (ranked["low"] > 0).sum(), (ranked["high"] < 0).sum()
    return "\n".join(
        [
            f"\n{how['layer']}",
            f"filter  partner  {f'I ({unit})' if unit else 'I':>12}  ± {confidence:.0%} interval",
            *rows,
            f"of {len(pairs):,} pairs {together:,} are co-adapted (I > 0), "
            f"{either:,} interchangeable (I < 0), {len(pairs) - together - either:,} undecided",
            _effort(how, "I"),
            *(_caution(how, confidence) if how["replicates"] == 1 else []),
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
