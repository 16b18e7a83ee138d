"""Principal components against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from slow_responses import IMAGES

from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.probes.principal import principal_scores
from srgame.probes.srga import srga


@pytest.mark.parametrize("components", [3, 40])
def test_principal_scores_are_those_of_scikit_learn(components: int) -> None:
    values = np.random.default_rng(0).normal(size=(12, 40_000)).astype(np.float32) * np.linspace(1, 3, 40_000) + 5
    scores = principal_scores((torch.from_numpy(row) for row in values), components)
    expected = PCA(min(components, 12), svd_solver="full").fit_transform(values.astype(np.float64))
    np.testing.assert_allclose(np.abs(scores), np.abs(expected), atol=1e-2)
    np.testing.assert_allclose(scores @ scores.T, expected @ expected.T, rtol=1e-4, atol=1)


def test_features_of_different_sizes_are_an_error(small: SRResNet) -> None:
    with pytest.raises(InputError, match=r"\d+ to \d+ values"):
        srga(small, IMAGES, {})


def test_features_of_a_single_image_are_an_error(small: SRResNet) -> None:
    with pytest.raises(InputError, match="1 images"):
        srga(small, IMAGES[:1], {})
