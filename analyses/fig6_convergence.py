"""Figure 6: what does training with EATS converge to, in losses, effect of an erasure and distance to bicubic?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import judged
from zoo_names import LOGS, SMALL, family_title, strategy_of

from srgame.errors import InputError
from srgame.report.recipe import INPUTS, run
from srgame.report.style import STRATEGIES, styled

QUANTITIES = ("original", "awaken", "pull", "erasure", "to_bicubic", "psnr_y")  # names in the logs


def logged(family: str = SMALL) -> tuple[str, ...]:
    """The networks of a family whose training logs are in analyses/logs."""
    return tuple(path.stem for path in sorted(LOGS.glob(f"{family}-*.csv")))


def last_step() -> int:
    """The last step in any of the logs; 0 without logs."""
    return max((int(pd.read_csv(LOGS / f"{name}.csv")["step"].max()) for name in logged()), default=0)


SMOKE = {"last": 4000}


def measure(family: str = SMALL, networks: tuple[str, ...] = logged(), last: int = last_step()) -> pd.DataFrame:
    """One row per network, logged step up to `last` and quantity: checkpoint, strategy, seed, step, quantity, value.

    Values are means over the steps since the previous row (losses: per value in [0, 1]).
    Raises InputError for a network without a log.
    """
    frames = []
    for name in networks:
        path = LOGS / f"{name}.csv"
        strategy, seed = strategy_of(name, family) or ("", 0)
        if not strategy or not path.exists():
            raise InputError(f"'{name}' is no {family}-STRATEGY-SEED with a log '{path.name}' in analyses/logs")
        log = pd.read_csv(path)
        shown = [quantity for quantity in QUANTITIES if quantity in log]
        tidy = log[log["step"] <= last].melt("step", shown, "quantity", "value")
        frames.append(tidy.assign(checkpoint=name, strategy=strategy, seed=seed))
    if not frames:
        raise InputError("--networks is empty: name networks whose logs are in analyses/logs")
    columns = ["checkpoint", "strategy", "seed", "step", "quantity", "value"]
    frame = pd.concat(frames, ignore_index=True)[columns].dropna()
    frame.attrs[INPUTS] = [LOGS / f"{name}.csv" for name in networks]
    return frame


def found(frame: pd.DataFrame) -> str:
    """The distances at the end of training, mean over the networks of each strategy, in a sentence."""
    same = frame.replace({"quantity": {"pull": "to_bicubic"}}).sort_values("step")
    ends = same.groupby(["quantity", "strategy", "checkpoint"], sort=False)["value"].last()
    last = ends.groupby(["quantity", "strategy"], sort=False).mean()
    parts = []
    for quantity, name in (("erasure", "‖f − f′‖"), ("to_bicubic", "‖f − Bic‖")):
        own = [f"{strategy} {last[quantity, strategy]:.4f}" for strategy in STRATEGIES if (quantity, strategy) in last]
        parts += [f"{name} {', '.join(own)}"] if own else []
    return f"At the end of training, mean absolute differences of values in [0, 1]: {'; '.join(parts)}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether an erasure changes the image less than half as much at the end as at the start of each training."""
    changes = frame[frame["quantity"] == "erasure"].sort_values("step").groupby("checkpoint")["value"]
    return judged(changes.last() < changes.first() / 2)


def draw(frame: pd.DataFrame) -> Figure:
    """Losses; distances to the erased network and to bicubic; and PSNR."""
    ends = frame.groupby("strategy")["step"].max()
    with styled():
        figure = Figure(figsize=(7.2, 2.7))
        losses, distances, quality = figure.subplots(1, 3)
        _curves(losses, frame, {"original": "-", "awaken": "--"})
        _curves(distances, frame, {"to_bicubic": "-", "pull": "-", "erasure": ":"})
        _curves(quality, frame, {"psnr_y": "-"})
        losses.set_title("losses: L_ori (—)\nand L_awa (- -)")
        distances.set_title("distances: ‖f − Bic‖₁ (—)\nand ‖f − f′‖₁ (···)")
        quality.set_title("PSNR on clean Set5\n(Y, dB)")
        for panel in (losses, distances):
            panel.set_yscale("log")
        shown = [name for name in STRATEGIES if name in ends]
        handles = [losses.plot([], [], color=STRATEGIES[name], linewidth=2)[0] for name in shown]
        labels = [f"{name} ({ends[name]:,} steps)" for name in shown]
        figure.legend(handles, labels, loc="outside lower center", ncols=len(shown))
        family = str(frame["checkpoint"].iloc[0]).split(f"-{frame['strategy'].iloc[0]}")[0]
        figure.suptitle(
            f"Training of {family_title(family)}; a point is the mean of the steps since the previous one", fontsize=8
        )
    return figure


def _curves(panel: Axes, frame: pd.DataFrame, lines: dict[str, str]) -> None:
    for (strategy, _, quantity), rows in frame.groupby(["strategy", "checkpoint", "quantity"], sort=False):
        if quantity in lines:
            panel.plot(
                rows["step"] / 1000,
                rows["value"],
                lines[str(quantity)],
                color=STRATEGIES[str(strategy)],
                linewidth=1.2,
            )
    panel.set_xlabel("thousand steps")
    panel.set_xlim(left=0)
    panel.tick_params(labelsize=6)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
