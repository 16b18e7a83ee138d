"""Deep degradation representations (DDR; Liu et al. 2021): do a network's features tell degradations apart?

The features of crops under several degradations are reduced to principal components and, for display, to two dimensions
by t-SNE. The Calinski–Harabasz index (CHI), with the degradation as label, measures how far apart the clusters are: the
lower, the better the network generalizes. t-SNE depends on its seed, so its CHI is given for several seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.manifold import TSNE
from sklearn.metrics import calinski_harabasz_score
from torch import nn

from srgame.data.images import Image
from srgame.errors import InputError
from srgame.probes.principal import flattened, principal_scores


def ddr(
    network: nn.Module,
    sets: Mapping[str, Iterable[Image]],
    layer: str = "conv_last:input",
    components: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
) -> pd.DataFrame:
    """One row per space and crop: space (pca, t-sne 0, t-sne 1 …), set, image, x, y, chi (the space's).

    x and y are the first two principal components, or the coordinates of t-SNE; the CHI of pca is that of all
    components. All crops must have the same size.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> sets = {name: srgame.load_pairs(degradation=name, crop=32).lr for name in ("clean", "noise")}
    >>> ddr(network, sets, seeds=())["set"].value_counts().to_dict()
    {'clean': 4, 'noise': 4}
    """
    if len(sets) < 2:
        raise InputError(f"clusters cannot be compared if the number of sets is {len(sets)}: give at least two sets")
    counts: dict[str, int] = dict.fromkeys(sets, 0)

    def counting(name: str) -> Iterable[Image]:
        for image in sets[name]:
            counts[name] += 1
            yield image

    everything = chain.from_iterable(counting(name) for name in sets)
    scores = principal_scores(flattened(network, everything, layer), components)
    if min(counts.values()) < 2:
        raise InputError(
            f"each set needs at least two crops; there are {', '.join(f'{n} of {name}' for name, n in counts.items())}"
        )
    labels = np.repeat(list(counts), list(counts.values()))
    image = np.concatenate([np.arange(count) for count in counts.values()])
    spaces = {"pca": scores} | {f"t-sne {seed}": _plane(scores, seed) for seed in seeds}
    frames = [
        pd.DataFrame({"space": space, "set": labels, "image": image, "x": points[:, 0], "y": points[:, 1]}).assign(
            chi=float(calinski_harabasz_score(points, labels))
        )
        for space, points in spaces.items()
    ]
    return pd.concat(frames, ignore_index=True)


def ddr_summary(points: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """One row per group and kind of space: kind (pca, t-sne), spaces, chi (mean over seeds) and chi_std."""
    spaces = points.drop_duplicates([*by, "space"])
    kinds = spaces.assign(kind=spaces["space"].str.split().str[0]).groupby([*by, "kind"], sort=False)
    return kinds["chi"].agg(spaces="size", chi="mean", chi_std="std").reset_index()


def _plane(scores: Float[np.ndarray, "n k"], seed: int) -> Float[np.ndarray, "n 2"]:
    perplexity = min(30.0, (len(scores) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, init="random", random_state=seed).fit_transform(scores))
