"""Do the paper's tables agree with each other, with its text, with published numbers and with bicubic upsampling?

Every finding is computed from reported/*.csv. Statements that are not numbers of a table, such as the training data
named in a caption, are not checked.
"""

from collections.abc import Iterator
from typing import Any

import gains
import pandas as pd
from gains import BELOW, GAINS, NOISE, TABLES, beside_bicubic, correlation, slope
from matplotlib.figure import Figure
from printed import cells, judged, number, printed, printed_in

from srgame.report.recipe import INPUTS, run
from srgame.report.style import styled

HALF_A_DIGIT = 0.00005 + 1e-9  # dB, of four printed decimals
Finding = dict[str, Any]
SHADES = {"agrees": "#DCEAF4", "differs": "#FBE6BF", "found": "#EFEFEF"}
NETWORKS = {1: "SRResNet ×4", 2: "RRDBNet ×4", 3: "SRResNet ×2", 4: "RRDBNet ×2", 5: "HAN ×4"}
AGAINST = ("among the tables", "between tables and text", "with published numbers", "with bicubic upsampling")
SMOKE = {"sets": ("photographs",), "images": 1}


def measure(sets: tuple[str, ...] = ("Set5", "Set14"), images: int | None = None, seed: int = 0) -> pd.DataFrame:
    """One row per finding: where, claim, printed, found, tolerance, unit, verdict, sentence.

    The verdict is "agrees" if the printed number, or what follows from it, is within `tolerance` of the number found,
    else "differs"; it is "found" if nothing was printed. Bicubic upsampling is measured on the first `images` images of
    each of `sets` (default: all).
    """
    measured = gains.measure(sets, images, seed)
    parts = [_improvements(), _copies(), _prose(), _consistent(), _ablations(), _beside_bicubic(measured)]
    parts += [_published(), _scales(), _correlations(measured)]
    frame = pd.DataFrame([finding for part in parts for finding in part])
    frame.attrs[INPUTS] = [printed_in(name) for name in ("table?", "prose", "reflash")]
    return frame


def _finding(
    where: str, claim: str, printed: float | None, found: float, unit: str, sentence: str, tolerance: float = 0.0
) -> Finding:
    verdict = "found" if printed is None else "agrees" if abs(printed - found) <= tolerance + 1e-9 else "differs"
    numbers = {"printed": printed, "found": round(found, 4), "tolerance": tolerance, "unit": unit}
    return {"where": where, "claim": claim, **numbers, "verdict": verdict, "sentence": sentence}


def _improvements() -> Iterator[Finding]:
    off = [(c["eats"] - c["original"] - c["improvement"]).abs() for c in map(cells, NETWORKS)]
    equal, total = sum(int((o < HALF_A_DIGIT).sum()) for o in off), sum(map(len, off))
    sentence = f"{equal} of {total} Improvement cells equal EATS − Original."
    yield _finding("Tables 1–5", "Improvement is EATS − Original", total, equal, "cells", sentence)


def _copies() -> Iterator[Finding]:
    set5 = cells(3).loc["Set5"]
    same = int((set5.loc["clean"].to_numpy() == set5.loc["blur"].to_numpy()).sum())
    sentence = (
        f"In Table 3, {same} of the {set5.shape[1]} rows of Set5 have the same PSNR for clean and for blurred images."
    )
    yield _finding("Table 3, Set5", "blur changes PSNR: equal cells", 0, same, "cells", sentence)
    excess = number(set5.loc["jpeg", "original"]) - number(set5.loc["clean", "original"])
    sentence = f"In Table 3 on Set5, Original restores JPEG images {excess:+.4f} dB better than clean ones."
    yield _finding("Table 3, Set5", "Original: rise from clean to jpeg", 0, max(excess, 0.0), "dB", sentence)
    for table, column in ((6, "eats"), (7, "eats-1-filter")):
        off = (cells(table)[column] - cells(2)["eats"]).abs()
        place: Any = off.idxmax()
        there, here = number(cells(2)["eats"][place]), number(cells(table)[column][place])
        sentence = (
            f"Table {table} repeats {int((off < HALF_A_DIGIT).sum())} of {len(off)} EATS cells of Table 2; "
            f"on {place[0]}, {place[1]}, it prints {here:.4f} for {there:.4f}."
        )
        claim = f"EATS as in Table 2: {place[0]}, {place[1]}"
        yield _finding(f"Table {table}", claim, here, there, "dB", sentence, HALF_A_DIGIT)
    for table in (6, 7):
        own = cells(table)["original"]
        srresnet, rrdbnet = (int((own == cells(other)["original"]).sum()) for other in (1, 2))
        sentence = (
            f"Original of Table {table} equals SRResNet's in {srresnet} and RRDBNet's in {rrdbnet} of {len(own)} "
            "cells: the appendix's list says SRResNet, the caption RRDBNet."
        )
        yield _finding(f"Table {table}", "list: “on SRResNet”", len(own), srresnet, "cells", sentence)


def _prose() -> Iterator[Finding]:
    table_of = {tuple(printed(f"table{table}").iloc[0][["network", "scale"]]): table for table in TABLES}
    for claim in printed("prose").to_dict("records"):
        table, over, said = table_of[claim["network"], claim["scale"]], claim["over"].capitalize(), claim["psnr"]
        gain = cells(table)["eats"] - cells(table)[claim["over"]]
        place: Any = gain.idxmax()
        most, network = number(gain.max()), NETWORKS[table]
        sentence = (
            f"{network}: the text has EATS at most {said:.2f} dB over {over}, "
            f"the table {most:.4f} dB ({place[0]}, {place[1]})."
        )
        where, what = f"{claim['section']}, Table {table}", f"{network}: EATS − {over}, largest"
        yield _finding(where, what, said, most, "dB", sentence, 0.005)


def _consistent() -> Iterator[Finding]:
    for table in TABLES:
        below = int((cells(table)["eats"] < cells(table)["dropout"]).sum())
        sentence = f"{NETWORKS[table]}: EATS is below Dropout in {below} of {len(cells(table))} cells."
        yield _finding(f"Table {table}", "“consistent”: EATS below Dropout", 0, below, "cells", sentence)


def _ablations() -> Iterator[Finding]:
    ratios = cells(6)
    best = int((ratios.idxmax(axis=1) == "eats").sum())
    sentence = f"Erasing in all layers is not best in {len(ratios) - best} of {len(ratios)} cells of Table 6."
    yield _finding("Table 6", "all layers are best", None, best, "cells", sentence)
    counts = cells(7)
    better = int((counts["eats-3-filters"] > counts["eats-1-filter"]).sum())
    sentence = f"3 filters beat 1 in {better} of {len(counts)} cells of Table 7, where the text explains a “decline”."
    yield _finding("F, Table 7", "“decline”: 3 filters above 1", 0, better, "cells", sentence)


def _beside_bicubic(measured: pd.DataFrame) -> Iterator[Finding]:
    for table in (1, 2):
        of_table = measured[(measured["table"] == table) & (measured["dataset"] == "Set5")].set_index("degradation")
        ours, theirs = (_change(of_table[column]) for column in ("bicubic", "original"))
        sentence = (
            f"{NETWORKS[table]} on Set5: Original gains {theirs:+.2f} dB when blur is added to noise; "
            f"bicubic upsampling, measured, {ours:+.2f} dB."
        )
        yield _finding(f"Table {table}, Set5", "(b+n) − noise, beside bicubic's", theirs, ours, "dB", sentence, 0.5)
    for table in TABLES:
        known = measured[measured["table"] == table].dropna(subset="bicubic")
        above = int((known["bicubic"] > known["original"]).sum())
        over_eats = int((known["bicubic"] > known["original"] + known["gain_eats"]).sum())
        sentence = (
            f"{NETWORKS[table]}: bicubic upsampling, measured on {', '.join(known['dataset'].unique())}, lies above "
            f"Original in {above} and above EATS in {over_eats} of {len(known)} cells."
        )
        yield _finding(f"Table {table}", "bicubic, measured, above Original", None, above, "cells", sentence)


def _change(psnr: pd.Series) -> float:
    """The change of PSNR when blur is added to noise."""
    return number(psnr["b+n"]) - number(psnr[NOISE])


def _published() -> Iterator[Finding]:
    """The difference to Reflash Dropout, which has the same networks, settings and images of Set5."""
    table_of = {"srresnet": 1, "rrdbnet": 2}
    reflash = printed("reflash")
    for row in reflash[reflash["strategy"] == "original"].to_dict("records"):
        table, degradation, theirs = table_of[row["network"]], row["degradation"], row["psnr"]
        ours = number(cells(table).loc[(row["dataset"], degradation), "original"])
        sentence = (
            f"{NETWORKS[table]}, Set5, {degradation}: "
            f"Original is {ours - theirs:+.2f} dB from what Reflash Dropout published."
        )
        claim = f"{degradation}: Original, beside Reflash Dropout's"
        yield _finding(f"Table {table}, Set5", claim, ours, theirs, "dB", sentence, 0.25)


def _scales() -> Iterator[Finding]:
    below = (cells(3)["original"] - cells(4)["original"])["Manga109"]
    sentence = f"On Manga109 at ×2, RRDBNet is up to {below.max():.2f} dB below SRResNet ({below.idxmax()})."
    yield _finding(
        "Tables 3 and 4", "Manga109: SRResNet − RRDBNet, Original, largest", None, number(below.max()), "dB", sentence
    )


def _correlations(measured: pd.DataFrame) -> Iterator[Finding]:
    for table in TABLES:
        rows = measured[measured["table"] == table]
        r, more = correlation(rows, "gain_dropout", "gain_eats"), (rows["gain_eats"] - rows["gain_dropout"]).mean()
        sentence = (
            f"{NETWORKS[table]}: over {len(rows)} cells the gains of Dropout and EATS correlate with r = {r:.3f}; "
            f"EATS gains {more:+.3f} dB more on average."
        )
        yield _finding(f"Table {table}", "gains of Dropout and of EATS", None, r, "r", sentence)
    for table in (1, 2):
        rows = beside_bicubic(measured[(measured["table"] == table) & (measured["dataset"] == "Set5")])
        for name, gain in GAINS.items():
            claim = f"gain of {name} and bicubic − Original"
            for unit, value in (("r", correlation(rows, BELOW, gain)), ("slope", slope(rows, BELOW, gain))):
                sentence = (
                    f"{NETWORKS[table]}, Set5, {len(rows)} settings without noise: the gain of {name} against "
                    f"bicubic − Original has {unit} = {value:.2f}."
                )
                where, what = f"Table {table}, Set5", f"{claim}: slope" if unit == "slope" else claim
                yield _finding(where, what, None, value, unit, sentence)


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: how many checks agree, by what a printed number is checked against."""
    checked = frame[frame["verdict"] != "found"]
    agrees, against = checked["verdict"] == "agrees", checked.apply(_against, axis=1)
    parts = [f"{agrees[against == name].sum()} of {(against == name).sum()} {name}" for name in AGAINST]
    return f"Printed or implied numbers agree in {agrees.sum()} of {len(checked)} checks: {', '.join(parts)}."


def _against(row: pd.Series) -> str:
    """What the printed number of a finding is checked against."""
    tables, text, published, bicubic = AGAINST
    if "bicubic" in row["claim"]:
        return bicubic
    if "Reflash" in row["claim"]:
        return published
    of_text = "“" in row["claim"] or ", Table" in row["where"]  # words of the text, or the section that has the number
    return text if of_text else tables


def verdict(frame: pd.DataFrame) -> str:
    """Whether all printed numbers agree."""
    return judged(frame["verdict"] == "agrees")


def draw(frame: pd.DataFrame) -> Figure:
    """A line per finding: the place, the claim, the printed or implied number, the number found, the verdict."""
    with styled():
        figure = Figure(figsize=(6.6, 0.165 * (len(frame) + 2.5)))
        axes = figure.subplots()
        axes.axis("off")
        axes.set_xlim(0, 1)
        axes.set_ylim(len(frame) - 0.4, -1.6)
        places = (0.0, 0.17, 0.715, 0.86, 1.0)
        head = ("where", "what", "printed or implied", "found", "verdict")
        for place, word, align in zip(places, head, ("left", "left", "right", "right", "right"), strict=True):
            axes.text(place, -1.05, word, ha=align, va="center", fontsize=7, fontweight="bold")
        for line, row in enumerate(frame.to_dict("records")):
            axes.axhspan(line - 0.5, line + 0.5, color=SHADES[row["verdict"]], linewidth=0)
            texts = (row["where"], row["claim"], _number(row, "printed"), _number(row, "found"), row["verdict"])
            for place, text, align in zip(places, texts, ("left", "left", "right", "right", "right"), strict=True):
                axes.text(place, line, text, ha=align, va="center", fontsize=6.5)
    return figure


def _number(row: dict[Any, Any], column: str) -> str:
    value, unit = row[column], row["unit"]
    if pd.isna(value):
        return "–"
    text = f"{value:.0f} cells" if unit == "cells" else f"{value:.4f} dB" if unit == "dB" else f"{unit} = {value:.3f}"
    return text.replace("-", "−")


if __name__ == "__main__":
    run(__file__, measure, draw, found)
