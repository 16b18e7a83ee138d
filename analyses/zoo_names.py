"""Names of networks in the zoo, and of the families that they belong to.

FAMILY-STRATEGY is a network, FAMILY-STRATEGY-SEED one of several seeds, trained with second-order degradations.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from srgame.networks import zoo
from srgame.report.style import STRATEGIES

LOGS = Path(__file__).with_name("logs")  # of trainings: NAME.csv
NOT_THERE = "not in the zoo: "
PAPERS = "srresnet-x4"  # the paper's SRResNet ×4, of one seed
SMALL = "small-x4"  # half as wide and half as deep, of several seeds
READINGS = "readings-x4"  # readings of EATS and their controls, see readings.py
RRDBNET, RRDBNET_X2 = "small-rrdbnet-x4", "small-rrdbnet-x2"
SRRESNET_X2, HAN = "small-srresnet-x2", "small-han-x4"
SHORT = "small-srresnet-x4"  # as SMALL, trained briefly: DIL beside Original
KNOWN = {  # a family in words, and its number of blocks
    SMALL: ("small SRResNet ×4 (32 features, 8 blocks)", 8),
    READINGS: ("small SRResNet ×4 (32 features, 8 blocks)", 8),
    PAPERS: ("SRResNet ×4", 16),
    SHORT: ("small SRResNet ×4 (32 features, 8 blocks)", 8),
    RRDBNET: ("small RRDBNet ×4 (24 features, 1 block)", 1),
    RRDBNET_X2: ("small RRDBNet ×2 (24 features, 1 block)", 1),
    SRRESNET_X2: ("small SRResNet ×2 (24 features, 8 blocks)", 8),
    HAN: ("small light HAN ×4 (16 features, 10 groups of 1 block)", 10),
}
READING, CONTROL = "w0.1", "pull-w0.1"  # the reading of EATS nearest to Table 1, and its control (readings.py)
DIL = "dil"  # causality-based training (Li et al. 2023)
_IN_WORDS = {READING: "EATS (λ = 0.1)", CONTROL: "bicubic-pull (λ = 0.1)", DIL: "DIL"}
TRAINED = (*STRATEGIES, READING, CONTROL, DIL)


def shipped(family: str, strategies: Iterable[str] = STRATEGIES) -> tuple[str, ...]:
    """The networks of `family` in the zoo that are trained by one of these strategies."""
    return tuple(name for name in zoo() if strategy_of(name, family, strategies))


def first_of_each(family: str, networks: Sequence[str] | None = None) -> tuple[str, ...]:
    """The network with the lowest seed of each strategy of `family`, among `networks` or in the zoo."""
    by_strategy: dict[str, tuple[int, str]] = {}
    for name in shipped(family, TRAINED) if networks is None else networks:
        strategy, seed = strategy_of(name, family) or ("", 0)
        by_strategy[strategy] = min((seed, name), by_strategy.get(strategy, (seed, name)))
    return tuple(by_strategy[strategy][1] for strategy in TRAINED if strategy in by_strategy)


def strategy_of(name: str, family: str, strategies: Iterable[str] = TRAINED) -> tuple[str, int] | None:
    """The strategy and seed in a name; None for other names."""
    parts = re.fullmatch(rf"{re.escape(family)}-({'|'.join(map(re.escape, strategies))})(?:-(\d+))?", name)
    return (parts[1], int(parts[2] or 0)) if parts else None


def family_named(name: str) -> str:
    """The family of a network named FAMILY-STRATEGY…; other names are returned as they are."""
    return re.sub(rf"-({'|'.join(map(re.escape, TRAINED))})(-\d+)?$", "", name)


def family_title(family: str) -> str:
    """A family in words."""
    return KNOWN[family][0] if family in KNOWN else family


def strategy_title(strategy: str) -> str:
    """A strategy in words."""
    return _IN_WORDS.get(strategy, strategy)
