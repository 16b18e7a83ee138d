"""Shapley values of a game's players: exact for a few of them, sampled for any number, with honest error bars.

The Shapley value φ of a player is its marginal contribution v(S ∪ i) − v(S), averaged over all orders in which the
players can join, S being those who came before (paper, Eq. 1).
"""

import math
from dataclasses import dataclass
from time import monotonic

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float64, Int
from scipy import stats
from tqdm import tqdm

from srgame.errors import InputError
from srgame.game import Game
from srgame.until import SCHEDULE, Effort, Until

PerPlayer = Float64[np.ndarray, " player"]

FEW = 5  # players whose coalitions are as few as those of four units, which could agree by luck
BAR = "{percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"


@dataclass(frozen=True)
class ShapleyValues:
    """Shapley values in the unit of the payoff, and how they were found.

    `stderr` is the standard error of `value` over `units` independent units: 0 where a value is exact or all units
    agree, infinite after a single unit. `empty` and `grand` are the worth of nobody and of everybody. `evaluations`
    counts the coalitions that were played, `ended` says what ended the sampling.
    """

    value: PerPlayer
    stderr: PerPlayer
    empty: float
    grand: float
    units: int
    evaluations: int
    ended: str

    @property
    def precision(self) -> float:
        """The largest standard error, as a share of the range of the values."""
        return _precision(self.value, self.stderr)

    def interval(self, confidence: float = 0.95) -> tuple[PerPlayer, PerPlayer]:
        """The ends of each value's own confidence interval (Student's t over the units)."""
        quantile = stats.t.ppf((1 + confidence) / 2, self.units - 1) if self.units > 1 else 1.0
        return self.value - quantile * self.stderr, self.value + quantile * self.stderr

    def frame(self, confidence: float = 0.95) -> pd.DataFrame:
        """One row per player: shapley, stderr, low and high (the interval's ends), rank (1 is the largest)."""
        low, high = self.interval(confidence)
        rank = pd.Series(self.value).rank(ascending=False, method="first").astype(int)
        return pd.DataFrame({"shapley": self.value, "stderr": self.stderr, "low": low, "high": high, "rank": rank})


def exact_shapley(game: Game) -> ShapleyValues:
    """The Shapley values from the worth of all 2ⁿ coalitions. Raises InputError for more than 20 players."""
    active, n = _active(game), len(_active(game))
    if n > 20:
        raise InputError(f"{n} players have 2^{n} coalitions, too many to play all: sample instead (sampled_shapley)")
    code = np.arange(2**n)
    coalitions = (code[:, None] >> np.arange(n)) % 2 == 1
    everyone = np.ones((2**n, game.players), bool)
    everyone[:, active] = coalitions
    worth = _played(game, everyone)
    others = coalitions.sum(1)
    weight = np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)])
    value = np.zeros(game.players)
    for i, player in enumerate(active):
        without = code[~coalitions[:, i]]
        value[player] = weight[others[without]] @ (worth[without | 1 << i] - worth[without])
    return ShapleyValues(value, np.zeros(game.players), worth[0], worth[-1], units=0, evaluations=2**n, ended="exact")


def sampled_shapley(
    game: Game, *, until: Until, seed: int = 0, antithetic: bool = True, progress: bool = False
) -> ShapleyValues:
    """The Shapley values estimated, without bias, from random orders of the players.

    An independent unit is one order and, if `antithetic`, its reverse, whose errors cancel in large part (Mitchell et
    al. 2022); unit k depends on `seed` and k only. The values add up to v(N) − v(∅). Players in `game.dummies` are
    worth exactly 0 and are never sampled. Where only FEW others are left, all their coalitions are played. Ctrl-C ends
    the sampling and keeps what was measured; `progress` shows a bar.

    Raises InputError where `until` allows fewer evaluations than one unit takes.
    """
    if seed < 0:
        raise InputError(f"a seed is a whole number from 0 on, not {seed}")
    start, active = monotonic(), _active(game)
    if len(active) <= FEW and 2 ** len(active) <= (until.evaluations or math.inf):
        return exact_shapley(game)
    nobody, everybody = np.ones((2, game.players), bool)
    nobody[active] = False
    ends = _played(game, np.stack([nobody, everybody]))
    unit_cost = (2 if antithetic else 1) * (len(active) - 1)
    units: list[PerPlayer] = []
    precision, ended = math.inf, None
    with tqdm(total=1.0, disable=not progress, bar_format=BAR, leave=False, miniters=0) as bar:
        while True:
            effort = Effort(len(units), 2 + len(units) * unit_cost, monotonic() - start, precision)
            if ended := until.reached(effort, unit_cost):
                break
            bar.set_postfix_str(f"{len(units)} units, precision {precision:.2%}" if units else "", refresh=False)
            bar.update(until.share_done(effort) - bar.n)
            try:
                units.append(_unit(game, active, ends, np.random.default_rng([seed, len(units)]), antithetic))
            except KeyboardInterrupt:
                if not units:
                    raise
                ended = "interrupted"
                break
            if len(units) in SCHEDULE:
                precision = _precision(*_mean(units))
    if not units:
        raise InputError(f"{until.evaluations} evaluations are fewer than one unit takes ({2 + unit_cost}): allow more")
    return ShapleyValues(*_mean(units), ends[0], ends[1], len(units), 2 + len(units) * unit_cost, ended)


def _unit(
    game: Game,
    active: Int[np.ndarray, " active"],
    ends: Float64[np.ndarray, "2"],
    rng: np.random.Generator,
    antithetic: bool,
) -> PerPlayer:
    """Each player's marginal contribution in one random order, or averaged over that order and its reverse."""
    order = rng.permutation(active)
    orders = [order, order[::-1]] if antithetic else [order]
    worths = _played(game, np.concatenate([_prefixes(order, game.players) for order in orders]))
    contributions = np.zeros(game.players)
    for order, worth in zip(orders, np.split(worths, len(orders)), strict=True):
        contributions[order] += np.diff(worth, prepend=ends[0], append=ends[1]) / len(orders)
    return contributions


def _prefixes(order: Int[np.ndarray, " active"], players: int) -> Bool[np.ndarray, "coalition player"]:
    """The coalitions of the first 1, 2 … all but one players in `order`; who is not in `order` is always there."""
    position = np.full(players, -1)
    position[order] = np.arange(len(order))
    return position < np.arange(1, len(order))[:, None]


def _active(game: Game) -> Int[np.ndarray, " active"]:
    """The players who are not known to be dummies."""
    dummies = getattr(game, "dummies", None)
    return np.arange(game.players) if dummies is None else np.flatnonzero(~np.asarray(dummies))


def _played(game: Game, coalitions: Bool[np.ndarray, "coalition player"]) -> Float64[np.ndarray, " coalition"]:
    return game(torch.from_numpy(coalitions)).numpy()


def _mean(units: list[PerPlayer]) -> tuple[PerPlayer, PerPlayer]:
    """Mean and standard error over independent units; a single unit tells nothing of its error."""
    stacked = np.stack(units)
    if len(units) == 1:
        return stacked[0], np.full(stacked.shape[1], math.inf)
    return stacked.mean(0), stacked.std(0, ddof=1) / math.sqrt(len(units))


def _precision(value: PerPlayer, stderr: PerPlayer) -> float:
    worst, spread = stderr.max(), np.ptp(value)
    return 0.0 if worst == 0 else float(worst / spread) if spread > 0 else math.inf
