"""What a contact sheet says about a degradation."""

import numpy as np
import pytest

from srgame.data.degradations.testing import SETTINGS, steps_of
from srgame.data.degradations.training import DEGRADATIONS
from srgame.data.pairs import load_pairs
from srgame.report.sheets import in_words


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_every_step_of_a_training_degradation_has_a_line(degradation: str) -> None:
    hr = load_pairs(images=1, crop=32).hr[0][None]
    lines = []
    for seed in range(20):
        _, (plan,) = DEGRADATIONS[degradation](hr, np.random.default_rng(seed), 4)
        lines += (own := in_words(plan))
        assert len(own) == max(1, len(plan)) and all(own)
        for step, drawn in plan.items():
            if step.startswith("jpeg"):
                assert f"JPEG, quality {drawn['quality']}" in own
    assert not [line for line in lines if "{" in line or "nan" in line]


def test_the_settings_of_the_tests_are_described_by_their_numbers() -> None:
    assert in_words(steps_of("b+n+j")) == [
        "blur, gaussian 21×21, σ 2.00",
        "bicubic downsampling, 4 times",
        "noise, σ 20.0/255",
        "JPEG, quality 50",
    ]
    assert {name: len(steps_of(name)) for name in SETTINGS} == {name: 1 + len(SETTINGS[name]) for name in SETTINGS}
