"""The test for equal counts: its largest probabilities, its level by simulation, and what it finds."""

import numpy as np
import pytest
from scipy.stats import binom

from noiseproof.published import equal_counts, most_probable


@pytest.mark.parametrize("n", [1, 2, 9, 40])
def test_the_largest_probability_of_a_range_is_that_of_a_fine_grid(n: int) -> None:
    p = np.linspace(0.0, 1.0, 20_001)
    for first in range(n + 1):
        for last in range(first, n + 1):
            best = (binom.cdf(last, n, p) - binom.cdf(first - 1, n, p)).max()
            found = most_probable(np.array([first]), np.array([last]), n)[0]
            assert best - 1e-12 <= found <= best + 1e-5


def test_independent_noise_is_suspected_no_more_often_than_said() -> None:
    """Even where all images have the same probability, and for the values that come up most often."""
    rng, n, images = np.random.default_rng(0), 20, 40
    for p in (0.5, 0.8, 0.95):
        p_values = []
        for _ in range(1000):
            counts = rng.binomial(n, p, images)
            found = equal_counts(counts, counts, n)
            assert found is not None
            p_values.append(found.p_value)
        for level in (0.05, 0.2):
            assert np.mean(np.array(p_values) <= level) <= level + 3 * np.sqrt(level / 1000)


def test_copied_counts_are_found_and_unanimous_ones_are_not() -> None:
    rng, n = np.random.default_rng(1), 100_000
    counts = rng.binomial(n, rng.beta(3, 0.5, 500))
    found = equal_counts(counts, counts, n)
    assert found is not None
    assert not found.suspicious
    copied = np.where(np.arange(500) < 30, 91_234, counts)
    found = equal_counts(copied, copied, n)
    assert found is not None
    assert found.suspicious
    assert (found.shared, found.row, found.images) == (30, 0, 500)
    unanimous = np.full(500, n)
    found = equal_counts(unanimous, unanimous, n)
    assert found is not None
    assert found.p_value == 1.0
    assert equal_counts(counts[:0], counts[:0], n) is None
