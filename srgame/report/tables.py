"""Tidy frames as text for a terminal."""

import math
from collections.abc import Mapping

import pandas as pd

from srgame.shapley.values import ROUNDING

DOZEN = 12  # units from which on intervals hold as often as they say (analyses/bench_coverage.py)
SCORES = {"psnr_rgb": "PSNR, RGB (dB)", "psnr_y": "PSNR, Y (dB)", "ssim_y": "SSIM, Y"}


def shapley_table(values: pd.DataFrame, unit: str, confidence: float, most: int = 20) -> str:
    """Of each layer of `audit.network_values` its first and last filters by rank, and how well they are known."""
    by_layer = values.groupby("layer", sort=False)
    return "\n".join(_layer(str(layer), frame.sort_values("rank"), unit, confidence, most) for layer, frame in by_layer)


def _layer(layer: str, ranked: pd.DataFrame, unit: str, confidence: float, most: int) -> str:
    how = ranked.iloc[0]
    half = (ranked["high"] - ranked["low"]) / 2
    columns = zip(ranked["rank"], ranked["filter"], ranked["shapley"], half, strict=True)
    rows = [f"{rank:5}  {channel!s:>6}  {value:+12.5f}  ± {error:.5f}" for rank, channel, value, error in columns]
    if len(rows) > most:
        rows[most * 3 // 4 : -most // 4] = [f"       … {len(rows) - most} more in the csv"]
    worth = how["grand"] - how["empty"]
    return "\n".join(
        [
            f"\n{layer}",
            f" rank  filter  {f'φ ({unit})' if unit else 'φ':>12}  ± {confidence:.0%} interval",
            *rows,
            f"all φ add up to v(all) − v(none) = {how['grand']:.4f} − {how['empty']:.4f} = {worth:.4f} {unit}",
            f"{how['evaluations']:,} evaluations in {how['replicates']} independent units; "
            f"largest standard error {how['relative_stderr']:.2%} of the range of φ; ended by: {how['ended']}",
            *_caution(how, confidence),
            *_devices(how),
        ]
    )


def _caution(how: pd.Series, confidence: float) -> list[str]:
    """What units so few do not tell."""
    if how["replicates"] == 1:
        return ["a single unit tells nothing of its error: allow more evaluations"]
    if how["relative_stderr"] > ROUNDING and how["replicates"] < DOZEN:
        return [f"fewer than {DOZEN} units: intervals of {confidence:.0%} may hold less often; allow more evaluations"]
    return []


def _devices(how: pd.Series) -> list[str]:
    """What the devices gain, of those that were measured."""
    names = {"antithetic": "reversed orders", "control_variates": "a regression on places"}
    variance_reduction = [
        f"{name} ×{how[f'{device}_reduction']:.2f} ({'' if device in str(how['used']).split() else 'not '}used)"
        for device, name in names.items()
        if pd.notna(how[f"{device}_reduction"])
    ]
    lines = [f"variance lowered by {', '.join(variance_reduction)}"] if variance_reduction else []
    if pd.notna(times := how.get("low_precision_reduction")):
        used = "used" if "low_precision" in str(how["used"]).split() else "too much, so not used"
        lines.append(f"bfloat16 rounds off {1 / times if times else math.inf:.2%} of the variance of orders ({used})")
    return lines


def interaction_table(pairs: pd.DataFrame, unit: str, confidence: float, most: int = 8) -> str:
    """Of `PairInteractions.frame` the most co-adapted and the most interchangeable pairs, and how many are which."""
    how, ranked = pairs.iloc[0], pairs.sort_values("interaction", ascending=False)
    half = (ranked["high"] - ranked["low"]) / 2
    columns = zip(ranked["first"], ranked["second"], ranked["interaction"], half, strict=True)
    rows = [f"{first:6}  {second:6}  {value:+12.6f}  ± {error:.6f}" for first, second, value, error in columns]
    if len(rows) > 2 * most:
        rows[most:-most] = [f"        … {len(rows) - 2 * most:,} more in the csv"]
    together, either = (ranked["low"] > 0).sum(), (ranked["high"] < 0).sum()
    single = "\na single unit tells nothing of its error: allow more evaluations" if how["replicates"] == 1 else ""
    return "\n".join(
        [
            f"\n first  second  {f'I ({unit})' if unit else 'I':>12}  ± {confidence:.0%} interval",
            *rows,
            f"of {len(pairs):,} pairs {together:,} are co-adapted (I > 0), "
            f"{either:,} interchangeable (I < 0), {len(pairs) - together - either:,} undecided",
            f"{how['evaluations']:,} evaluations in {how['replicates']} independent units; "
            f"largest standard error {how['relative_stderr']:.2%} of the range of I; ended by: {how['ended']}{single}",
        ]
    )


def score_table(scores: pd.DataFrame, missing: Mapping[str, str]) -> str:
    """The mean scores of `benchmarks.Benchmark` by set: a line per checkpoint, a column per degradation."""
    blocks = [_set(str(dataset), rows) for dataset, rows in scores.groupby("dataset", sort=False)]
    blocks += [f"\n{dataset}: not measured, {reason}" for dataset, reason in missing.items()]
    return "\n".join(blocks)


def _set(dataset: str, rows: pd.DataFrame) -> str:
    settings, names = rows["degradation"].unique(), rows["checkpoint"].unique()
    width = max(14, *map(len, names))
    lines = [f"\n{dataset}: {rows['image'].nunique()} images"]
    for score, title in SCORES.items():
        means = rows.groupby(["checkpoint", "degradation"])[score].mean()
        digits = 4 if score.startswith("ssim") else 2
        lines.append(f"{title:{width}}" + "".join(f"{setting:>8}" for setting in settings))
        for name in names:
            cells = (f"{means[name, setting]:8.{digits}f}" for setting in settings)
            lines.append(f"{name:{width}}" + "".join(cells))
    return "\n".join(lines)
