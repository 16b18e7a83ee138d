"""Deep degradation representations against scikit-learn and the definition of the Calinski–Harabasz index."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.metrics import calinski_harabasz_score
from slow_responses import some_images
from small_networks import Points

from srgame.errors import InputError
from srgame.probes.ddr import ddr, ddr_summary

POINTS, LABELS = make_blobs([10, 12], n_features=12, cluster_std=0.05, random_state=0, centers=None)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """DDR of two clusters of points, each an image of 2 × 2 pixels."""
    sets = {
        str(label): [torch.from_numpy(p).float().reshape(3, 2, 2) for p in POINTS[label == LABELS]] for label in (0, 1)
    }
    return ddr(Points(), sets, "same", components=5, seeds=(0, 1))


def test_ddr_has_a_row_per_space_and_crop(frame: pd.DataFrame) -> None:
    assert frame["space"].unique().tolist() == ["pca", "t-sne 0", "t-sne 1"] and len(frame) == 3 * 22


def test_the_index_is_scikit_learns_of_all_principal_components(frame: pd.DataFrame) -> None:
    scores = PCA(5).fit_transform(np.concatenate([POINTS[label == LABELS] for label in (0, 1)]))
    assert frame["chi"].iloc[0] == pytest.approx(calinski_harabasz_score(scores, np.sort(LABELS)), rel=1e-3)
    assert frame["chi"].iloc[0] == pytest.approx(slow_chi(scores, np.sort(LABELS)), rel=1e-3)


def test_the_index_of_t_sne_is_that_of_its_plane(frame: pd.DataFrame) -> None:
    for _, of_space in frame[frame["space"] != "pca"].groupby("space"):
        assert of_space["chi"].iloc[0] == pytest.approx(slow_chi(of_space[["x", "y"]].to_numpy(), of_space["set"]))


def test_the_summary_counts_spaces_of_a_kind(frame: pd.DataFrame) -> None:
    summary = ddr_summary(frame).set_index("kind")
    assert summary.loc["t-sne", "spaces"] == 2 and summary.loc["pca", "chi"] == frame["chi"].iloc[0]


def slow_chi(points: np.ndarray, labels: np.ndarray | pd.Series) -> float:
    """Scatter between clusters over scatter within them, each by its degrees of freedom."""
    kinds = np.unique(labels)
    between, within = 0.0, 0.0
    for kind in kinds:
        cluster = points[np.asarray(labels) == kind]
        between += len(cluster) * ((cluster.mean(0) - points.mean(0)) ** 2).sum()
        within += sum(((point - cluster.mean(0)) ** 2).sum() for point in cluster)
    return float(between / (len(kinds) - 1) / (within / (len(points) - len(kinds))))


def test_ddr_needs_two_sets() -> None:
    with pytest.raises(InputError, match=r"\b1\b"):
        ddr(Points(), {"clean": some_images((2, 2), (2, 2))}, "same")


def test_ddr_needs_two_crops_of_each_set() -> None:
    same = some_images((2, 2), (2, 2))
    with pytest.raises(InputError, match="2 of clean, 1 of blur"):
        ddr(Points(), {"clean": same, "blur": same[:1]}, "same")
