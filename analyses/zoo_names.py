"""Names of networks in the zoo, and of the families that they belong to.

FAMILY-STRATEGY is a network, FAMILY-STRATEGY-SEED one of several seeds, trained with second-order degradations.
FAMILY-STRATEGY-SEED-stepSTEPS is the same network earlier in training; tables leave it out.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from srgame.networks import zoo
from srgame.report.style import STRATEGIES

LOGS = Path(__file__).with_name("logs")  # of trainings: NAME.csv
NOT_THERE = "not in the zoo: "
ON_THE_WAY = "-step"
PAPERS = "srresnet-x4"  # the paper's SRResNet ×4, of one seed
SMALL = "small-x4"  # half as wide and half as deep, of several seeds
READINGS = "readings-x4"  # readings of EATS and their controls, see readings.py
RRDBNET = "rrdbnet-x4"
KNOWN = {  # a family in words, and its number of blocks
    SMALL: ("small SRResNet ×4 (32 features, 8 blocks)", 8),
    READINGS: ("small SRResNet ×4 (32 features, 8 blocks)", 8),
    PAPERS: ("SRResNet ×4", 16),
    RRDBNET: ("RRDBNet ×4", 23),
}


def shipped(family: str) -> tuple[str, ...]:
    """The networks of `family` in the zoo that are trained to the end."""
    return tuple(name for name in zoo() if strategy_of(name, family))


def along_training(family: str) -> tuple[str, ...]:
    """The networks of `family` in the zoo, including checkpoints during training."""
    return tuple(name for name in zoo() if strategy_of(name, family, on_the_way=True))


def first_of_each(family: str, networks: Sequence[str] | None = None) -> tuple[str, ...]:
    """The network with the lowest seed of each strategy of `family`, among `networks` or in the zoo."""
    by_strategy: dict[str, tuple[int, str]] = {}
    for name in shipped(family) if networks is None else networks:
        strategy, seed = strategy_of(name, family) or ("", 0)
        by_strategy[strategy] = min((seed, name), by_strategy.get(strategy, (seed, name)))
    return tuple(by_strategy[strategy][1] for strategy in STRATEGIES if strategy in by_strategy)


def strategy_of(name: str, family: str, on_the_way: bool = False) -> tuple[str, int] | None:
    """The strategy and seed in a name; None for other names and, by default, for checkpoints during training."""
    ended = name.partition(ON_THE_WAY)[0] if on_the_way else name
    parts = re.fullmatch(rf"{re.escape(family)}-({'|'.join(STRATEGIES)})(?:-(\d+))?", ended)
    return (parts[1], int(parts[2] or 0)) if parts else None


def family_named(name: str) -> str:
    """The family of a network named FAMILY-STRATEGY…; other names are returned as they are."""
    return re.sub(rf"-({'|'.join(STRATEGIES)})(-\d+)?({ON_THE_WAY}\d+)?$", "", name)


def family_title(family: str) -> str:
    """A family in words."""
    return KNOWN[family][0] if family in KNOWN else family
