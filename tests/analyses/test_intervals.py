"""Intervals of the analyses against textbooks, simulated trainings and the counts that luck gives."""

import numpy as np
import pytest
from intervals import correlated, decided_by_luck, in_words, luck_in_words, mean_interval, paired_interval, proportion
from scipy import stats


def test_intervals_are_textbook() -> None:
    assert proportion(5, 10)[1:] == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Wilson
    assert mean_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2, -0.4841, 4.4841), abs=1e-3)
    assert correlated(np.arange(3.0), np.arange(3.0))[0] == pytest.approx(1)
    assert in_words(correlated(np.arange(2.0), np.arange(2.0))) == "unknown"
    assert in_words(correlated(np.arange(3.0), -np.arange(3.0))) == "−1.00"
    assert in_words((0.5, -0.25, 0.75)) == "+0.50\N{NO-BREAK SPACE}(−0.25\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}+0.75)"


@pytest.mark.parametrize(("seeds", "images"), [(8, 30), (3, 5), (2, 20)])
def test_an_interval_over_seeds_covers_as_often_as_it_says(seeds: int, images: int) -> None:
    """Training has an effect that all images share; drawn 2,000 times."""
    rng = np.random.default_rng(0)
    of_images = rng.normal(0, 0.3, images)  # the same images in every drawing: the interval is over seeds
    covered = 0
    for _ in range(2000):
        noise = rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 0.1, (seeds, images))
        _, low, high = paired_interval(0.2 + noise + of_images)
        covered += low <= 0.2 + of_images.mean() <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_the_interval_of_one_seed_is_over_images() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, (1, 40))
    expected = stats.ttest_1samp(differences[0], 0).confidence_interval()
    assert paired_interval(differences)[1:] == pytest.approx((expected.low, expected.high))
    assert np.isnan(paired_interval(np.ones((1, 1)))[1:]).all()


def test_the_interval_of_several_seeds_does_not_depend_on_the_spread_of_images() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, (3, 20))
    wide = differences + np.linspace(-5, 5, 20)
    assert paired_interval(wide) == pytest.approx(paired_interval(differences))


def test_swapped_seeds_are_counted_like_measured_ones() -> None:
    differences = np.array([[0.20, 0.21, 0.19], [0.1, 0.1, -0.09], [-0.3, 0.3, 0.3]])
    counts = decided_by_luck(differences)
    by_hand = [
        sum(stats.ttest_1samp(cell * np.array(signs), 0).pvalue < 0.05 for cell in differences)
        for signs in ((1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1))
    ]
    assert counts == by_hand == [1, 1, 0, 1]
    assert decided_by_luck(-differences) == counts
    assert luck_in_words(counts) == "0 to 1 decided after swapping the strategies in some seeds"
    assert luck_in_words([7, 2, 2]).startswith("2 decided after")


def test_among_strategies_that_do_not_differ_the_first_count_is_the_largest_as_often_as_any_other() -> None:
    rng = np.random.default_rng(0)
    first = [
        int(np.argmax(decided_by_luck(rng.normal(0, 1, (1, 3)) + rng.normal(0, 0.3, (30, 3))))) for _ in range(400)
    ]
    assert np.bincount(first, minlength=4)[1:] / 400 == pytest.approx(np.full(3, 0.25), abs=0.1)
