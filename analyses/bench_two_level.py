"""Would gradients make sampling cheaper? A two-level estimator beside antithetic orders, from measured variances.

With presences between 0 and 1 the worth of a coalition has a gradient, one number for every player from one backward
pass. Its mean over coalitions (each player there with one random probability) is biased; the mean of what a player
really contributes minus its gradient, in fewer coalitions and their complements, makes up for that. The best split of
the work between the two levels costs (σ₁√c₁ + σ₂√c₂)² for a variance of 1, an order and its reverse cost σ²c: what is
reported is the ratio of the two, in measured seconds.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from srgame.filters import Filters, filters_of
from srgame.game import RestorationGame
from srgame.metrics import payoff_named
from srgame.networks import load_network
from srgame.pairs import Pairs, load_pairs
from srgame.recipe import run
from srgame.style import BLUE, GREY, ORANGE, styled

PerPlayer = Float[Tensor, " player"]


def measure(
    network: str = "srresnet-x4-bicubic",
    layers: tuple[str, ...] = ("conv_first", "body.2.conv1", "body.8.conv2", "body.14.conv1", "conv_hr", "all"),
    payoffs: tuple[str, ...] = ("psnr", "-mse"),
    crop: int = 40,
    units: int = 12,
    units_of_all: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per layer (or all of them, as one game) and payoff.

    Columns: layer, payoff, players; seconds and variance (the sum over players) of a unit of orders, of gradients, of
    corrections; gain, the cost of orders over that of the two levels at equal variance; bias, the root mean square over
    players of the correction, relative to that of φ.
    """
    model, pairs = load_network(network), load_pairs("photographs", images=1, crop=crop)
    rows = []
    for layer in layers:
        filters = filters_of(model, None if layer == "all" else [layer])
        for payoff in payoffs if layer != "all" else payoffs[:1]:
            found = _levels(model, filters, pairs, payoff, units_of_all if layer == "all" else units, seed)
            rows.append({"layer": layer, "payoff": payoff, "players": len(filters)} | found)
    return pd.DataFrame(rows)


def _levels(network: nn.Module, filters: Filters, pairs: Pairs, payoff: str, units: int, seed: int) -> dict[str, float]:
    game = RestorationGame(network, filters, pairs, payoff)
    worth = _differentiable(game)
    kinds: dict[str, Callable[[np.random.Generator], PerPlayer]] = {
        "orders": lambda rng: _orders(game, rng),
        "gradients": lambda rng: _gradients(worth, game.players, rng),
        "corrections": lambda rng: _corrections(game, worth, rng),
    }
    row: dict[str, float] = {}
    means = {}
    for name, unit in kinds.items():
        count = units * 20 if name == "gradients" else units
        unit(np.random.default_rng([seed, 10**6]))  # the first one pays for what is made once
        start = perf_counter()
        values = torch.stack([unit(np.random.default_rng([seed, k])) for k in range(count)])
        row[f"{name}_s"] = (perf_counter() - start) / count
        row[f"{name}_variance"] = values.var(0).sum().item()
        means[name] = values.mean(0)
    levels = sum((row[f"{name}_variance"] * row[f"{name}_s"]) ** 0.5 for name in ("gradients", "corrections")) ** 2
    row["gain"] = row["orders_variance"] * row["orders_s"] / levels
    row["bias"] = (means["corrections"].square().mean() / means["orders"].square().mean()).sqrt().item()
    return row


def _orders(game: RestorationGame, rng: np.random.Generator) -> PerPlayer:
    """The mean marginal contribution in a random order and its reverse."""
    order = torch.from_numpy(rng.permutation(game.players))
    total = torch.zeros(game.players, dtype=torch.float64)
    for one in (order, order.flip(0)):
        place = one.argsort()
        total[one] += game(place < torch.arange(game.players + 1)[:, None]).diff()
    return total / 2


def _gradients(worth: Callable[[Tensor], Tensor], players: int, rng: np.random.Generator) -> PerPlayer:
    """The mean gradient at a random coalition and at its complement."""
    present = torch.from_numpy(rng.random(players) < rng.random())
    return (_gradient(worth, present) + _gradient(worth, ~present)) / 2


def _corrections(game: RestorationGame, worth: Callable[[Tensor], Tensor], rng: np.random.Generator) -> PerPlayer:
    """What each player contributes less its gradient, in a random coalition and in its complement."""
    present = torch.from_numpy(rng.random(game.players) < rng.random())
    total = torch.zeros(game.players, dtype=torch.float64)
    for coalition in (present, ~present):
        switched = coalition ^ torch.eye(game.players, dtype=torch.bool)
        worths = game(torch.cat([coalition[None], switched]))
        contribution = (worths[1:] - worths[0]) * torch.where(coalition, -1, 1)
        total += contribution - _gradient(worth, coalition)
    return total / 2


def _gradient(worth: Callable[[Tensor], Tensor], present: Tensor) -> PerPlayer:
    presence = present.float().requires_grad_()
    (gradient,) = torch.autograd.grad(worth(presence), presence)
    return gradient.double()


def _differentiable(game: RestorationGame) -> Callable[[Tensor], Tensor]:
    """The worth of a vector of presences between 0 and 1: each response is multiplied by its filter's presence."""
    hr, live = (
        game.pairs.hr[0][None],
        [value.clone() if isinstance(value, Tensor) else value for value in game.recorded[0]],
    )
    payoff = payoff_named(game.payoff)

    def worth(presence: Tensor) -> Tensor:
        parts = presence.split(game.filters.widths)
        hooks = [
            game.cut.tail.get_submodule(layer).register_forward_hook(lambda _, __, out, p=part: out * p[:, None, None])
            for layer, part in zip(game.filters.layers, parts, strict=True)
        ]
        try:
            return payoff(game.cut.tail(*live), hr)[0]
        finally:
            for hook in hooks:
                hook.remove()

    return worth


def draw(frame: pd.DataFrame) -> Figure:
    """The gain in each game: below 1, an order and its reverse are cheaper."""
    with styled():
        figure = Figure(figsize=(5.2, 2.6))
        panel = figure.subplots()
        names = frame["layer"] + " (" + frame["players"].astype(str) + "), " + frame["payoff"]
        colours = np.where(frame["gain"] > 1, BLUE, ORANGE)
        panel.barh(names[::-1], frame["gain"][::-1], color=colours[::-1])
        panel.axvline(1, color=GREY, linewidth=0.8)
        for place, gain in enumerate(frame["gain"][::-1]):
            text = "solved by one pair of orders" if gain < 1e-6 else f"{gain:.2f}"
            panel.annotate(text, (max(gain, 0.03), place), (3, 0), textcoords="offset points", va="center")
        panel.set_xscale("log")
        panel.set_xlim(0.03, 30)  # a game that one pair of orders solves has no place on it
        panel.set_xlabel("cost of antithetic orders / cost of two levels, at equal variance")
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw)
