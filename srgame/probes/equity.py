"""How equally filters share: the Gini coefficient, the entropy and the effective number of players of any score.

All depend on the scores' sizes only, not on their signs or unit: the share of filter i is |sᵢ| / Σ|s|. If all scores
are 0, all shares are equal.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from srgame.errors import InputError


def shares(scores: ArrayLike) -> Float[np.ndarray, " player"]:
    """|sᵢ| / Σ|s|."""
    size = np.abs(np.asarray(scores, dtype=np.float64)).ravel()
    if not size.size or not np.isfinite(size).all():
        raise InputError("shares need at least one score, and finite scores: look for NaN or infinity in them")
    largest = size.max()
    return size / largest / (size / largest).sum() if largest else np.full(size.shape, 1 / size.size)


def gini(scores: ArrayLike) -> float:
    """Σ(2i − n − 1)·x₍ᵢ₎ / nΣx of the sorted sizes x: 0 for equal shares, (n − 1)/n if one takes all.

    >>> gini([1, 1, 1, 1]), gini([1, 0, 0, 0])
    (0.0, 0.75)
    """
    ordered = np.sort(shares(scores))
    n = len(ordered)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / n)


def effective_players(scores: ArrayLike) -> float:
    """exp of the shares' entropy: n for equal shares, 1 if one takes all.

    >>> effective_players([1, 1, 1, 1]), effective_players([1, 0, 0, 0])
    (4.0, 1.0)
    """
    share = shares(scores)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def entropy(scores: ArrayLike) -> float:
    """The shares' entropy divided by its largest possible value, ln n: 1 for equal shares, 0 if one takes all.

    >>> entropy([1, 1, 1, 1]), entropy([1, 0, 0, 0])
    (1.0, 0.0)
    """
    n = np.size(np.asarray(scores))
    return float(np.log(effective_players(scores)) / np.log(n)) if n > 1 else 1.0


def equity(scores: pd.DataFrame, score: str, by: Sequence[str] = ("layer",)) -> pd.DataFrame:
    """One row per group of filters: the columns `by`, players, gini, entropy, effective, effective_share.

    The measures are those of the column `score`. `effective` is the effective number of players, `effective_share` that
    number divided by the number of players.

    >>> scores = pd.DataFrame({"layer": ["a", "a", "b", "b"], "salience": [3, 3, 5, 0]})
    >>> equity(scores, "salience")[["layer", "gini", "effective"]].to_numpy().tolist()
    [['a', 0.0, 2.0], ['b', 0.5, 1.0]]
    """
    rows = []
    for keys, group in scores.groupby(list(by), sort=False):
        values = group[score].to_numpy()
        effective = effective_players(values)
        measures = {"players": len(values), "gini": gini(values), "entropy": entropy(values), "effective": effective}
        rows.append(dict(zip(by, keys, strict=True)) | measures | {"effective_share": effective / len(values)})
    return pd.DataFrame(rows)
