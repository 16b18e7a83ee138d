"""Does the gain grow with the share of layers in which EATS erases, or with the weight of a pull that erases nothing?

In most cells of Table 6, the gain over Original grows with the share. Here, small RRDBNets ×4 are trained with λ = 0.1
and erase in a share of their layers (in float32). Others erase nothing, and their λ is the same share of 0.1; these,
and the Original that they are compared with, are trained in bfloat16: as small-rrdbnet-x4-pull-w0.1-0 in zoo.csv, but
for --strategy, --eats-weight and --bfloat16. The weights of these six are not in the zoo.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from ablation_tables import BY_SHARE, ORIGINAL, SHARES
from jaxtyping import Float
from matplotlib.figure import Figure
from printed import cells, judged, printed_in, signed
from zoo_names import LOGS, RRDBNET, family_title

from srgame.report.recipe import INPUTS, run
from srgame.report.style import BLUE, GREEN, styled

PRINTED, ERASED, PULLED = "printed", "erased in this share of the layers", "nothing erased, this share of the weight"
COLOURS = {PRINTED: "black", ERASED: GREEN, PULLED: BLUE}
IN_BFLOAT16 = (ORIGINAL, *(f"pull-w{share / 1000:g}" for share in SHARES.values()))
TRAINED = {  # by series, the logs of Original and of each share
    ERASED: [BY_SHARE[variant] for variant in (ORIGINAL, *SHARES)],
    PULLED: [f"{RRDBNET}-bf16-{kind}-0" for kind in IN_BFLOAT16],
}
STEPS = 6000
DATASET, SETTINGS = "Set5", ("clean", "b+n")  # what the logs hold
SMOKE: dict[str, Any] = {}


def measure() -> pd.DataFrame:
    """One row per series, degradation and share: the printed gains, and those at the end of training, from the logs.

    Columns: series; degradation; share (%), of the layers or of the weight 0.1; gain over Original (dB of RGB, mean
    over the whole images of Set5).
    """
    frame = pd.DataFrame(_gains(), columns=["series", "degradation", "share", "gain"])
    logs = [LOGS / f"{name}.csv" for names in TRAINED.values() for name in names]
    frame.attrs[INPUTS] = [printed_in("table6"), *logs]
    return frame


def _gains() -> Iterator[tuple[str, str, int, float]]:
    for series, psnr in _psnr().items():
        for gains, share in zip(psnr[1:] - psnr[0], SHARES.values(), strict=True):
            yield from ((series, setting, share, gain) for setting, gain in zip(SETTINGS, gains, strict=True))


def _psnr() -> dict[str, Float[np.ndarray, "network setting"]]:
    """By series, the PSNR of Original and of each share."""
    columns = [f"psnr_rgb_{setting}" for setting in SETTINGS]
    printed = cells(6).loc[DATASET][[ORIGINAL, *SHARES]]
    trained = {
        series: np.array([pd.read_csv(LOGS / f"{name}.csv").set_index("step").loc[STEPS, columns] for name in names])
        for series, names in TRAINED.items()
    }
    return {PRINTED: printed.loc[list(SETTINGS)].to_numpy().T} | trained


def found(frame: pd.DataFrame) -> str:
    """The gains, by series and degradation."""
    parts = [
        f"{series}, {setting}: {', '.join(signed(gain) for gain in each['gain'])}"
        for (series, setting), each in frame.groupby(["series", "degradation"], sort=False)
    ]
    shares = ", ".join(f"{share}%" for share in SHARES.values())
    return f"Gains over Original on {DATASET} (dB) with {shares} (one training each): {'; '.join(parts)}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether erasing in all layers gains more than erasing in fewest, in the trained networks."""
    erased = frame[frame["series"] == ERASED].groupby("degradation")["gain"]
    return judged(erased.last() > erased.first())


def draw(frame: pd.DataFrame) -> Figure:
    """Gain against share: a panel per degradation, a line per series."""
    with styled():
        figure = Figure(figsize=(7.2, 3.0))
        panels = figure.subplots(1, len(SETTINGS), sharey=True, squeeze=False)[0]
        for setting, panel in zip(SETTINGS, panels, strict=True):
            for series, each in frame[frame["degradation"] == setting].groupby("series", sort=False):
                panel.plot(each["share"], each["gain"], "o-", color=COLOURS[str(series)], markersize=4, label=series)
            panel.axhline(0, color="black", linewidth=0.6)
            panel.set(title=f"{DATASET}, {setting}", xlabel="share of the layers, or of the weight 0.1 (%)")
        panels[0].set_ylabel("gain over Original (dB)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(COLOURS))
        figure.suptitle(
            f"Table 6, and a {family_title(RRDBNET)}:\nλ = 0.1 and erasing in a share of the layers, or a share of "
            "λ = 0.1 and no erasing; RGB",
            fontsize=8,
        )
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
