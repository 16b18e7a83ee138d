"""Shapley values of a game's players: exact for a few of them, sampled for any number, with honest error bars.

The Shapley value φ of a player is its marginal contribution v(S ∪ i) − v(S), averaged over all orders in which the
players can join, S being those who came before (paper, Eq. 1).
"""

import math
from dataclasses import dataclass
from time import monotonic

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int
from scipy import stats
from tqdm import tqdm

from srgame.coalitions import MOST, among, played_out
from srgame.coalitions import active_players as _active
from srgame.coalitions import played as _played
from srgame.coalitions import prefixes as _prefixes
from srgame.errors import InputError
from srgame.game import Game
from srgame.until import SCHEDULE, Effort, Until

PerPlayer = Float64[np.ndarray, " player"]

FEW = 5  # players whose coalitions are as few as those of four units, which could agree by luck
MANY = 10  # players: with more, a quadratic game is solved by far fewer coalitions than all
PROOFS = 4  # random orders that must agree
ROUNDING = 1e-5  # of the largest value: what float32 leaves of −mse lies an order of magnitude below
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
    """The Shapley values, without sampling error: of any number of players if the game is quadratic, else of up to 20.

    A game is quadratic if players interact in pairs only: −mse is, for the filters in front of a linear tail. Then one
    order and its reverse give the values, whichever order, and so do each player's first and last contribution. Of more
    than 10 players, four random orders and those contributions must agree within 1e-5 of the largest value, room for
    float32 rounding and little else; otherwise all 2ⁿ coalitions are played. Raises InputError for more than 20 players
    whose game is not quadratic.
    """
    active = _active(game)
    if len(active) <= MANY:
        return _from_all_coalitions(game)
    values, disagreement = _as_if_quadratic(game, active)
    if disagreement <= ROUNDING:
        return values
    if len(active) > MOST:
        raise InputError(
            f"{len(active)} players have 2^{len(active)} coalitions, too many to play all, and the game is not "
            f"quadratic (orders disagree by {disagreement:.1g} of the largest value): sample instead (sampled_shapley)"
        )
    return _from_all_coalitions(game)


def _from_all_coalitions(game: Game) -> ShapleyValues:
    """The definition: marginal contributions, averaged over the coalitions of a size and then over sizes."""
    everything = played_out(game)
    n, worth = len(everything.active), everything.worth
    weight = np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)])
    value = np.zeros(game.players)
    for place, player in enumerate(everything.active):
        size, contribution = everything.changes(place)
        value[player] = weight[size] @ contribution
    return ShapleyValues(value, np.zeros(game.players), worth[0], worth[-1], 0, len(worth), ended="exact")


def _as_if_quadratic(game: Game, active: Int[np.ndarray, " active"]) -> tuple[ShapleyValues, float]:
    """The values if the game is quadratic, and how far it is from that, as a share of the largest value.

    A synergy of three or more players counts half for each of them in the mean of first and last contribution, but in a
    pair of orders only for those who come first or last among them: so the two disagree, however few such synergies.
    """
    alone = among(game, active, np.eye(len(active), dtype=bool))
    missing = among(game, active, ~np.eye(len(active), dtype=bool))
    nobody, everybody = among(game, active, np.array([[False], [True]]).repeat(len(active), 1))
    worth = _played(game, np.concatenate([[nobody, everybody], alone, missing]))
    ends, (first, last) = worth[:2], np.split(worth[2:], 2)
    expected = np.zeros(game.players)
    expected[active] = (first - ends[0] + ends[1] - last) / 2
    pairs = [_unit(game, active, ends, np.random.default_rng([0, k]), antithetic=True) for k in range(PROOFS)]
    value, largest = np.mean(pairs, axis=0), np.abs([expected, *pairs]).max()
    disagreement = float(np.abs(pairs - expected).max() / largest) if largest > 0 else 0.0
    played = len(worth) + PROOFS * 2 * (len(active) - 1)
    return ShapleyValues(value, np.zeros(game.players), ends[0], ends[1], 0, played, ended="exact"), disagreement


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


def _mean(units: list[PerPlayer]) -> tuple[PerPlayer, PerPlayer]:
    """Mean and standard error over independent units; a single unit tells nothing of its error."""
    stacked = np.stack(units)
    if len(units) == 1:
        return stacked[0], np.full(stacked.shape[1], math.inf)
    return stacked.mean(0), stacked.std(0, ddof=1) / math.sqrt(len(units))


def _precision(value: PerPlayer, stderr: PerPlayer) -> float:
    worst, spread = stderr.max(), np.ptp(value)
    return 0.0 if worst == 0 else float(worst / spread) if spread > 0 else math.inf
