"""The difference between two accuracies on the same images: its coverage by exact enumeration."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from noiseproof.errors import InvalidInputError
from noiseproof.evaluation import paired_difference

Interval = Callable[[int, int, int], tuple[float, float]]
GRID = (0.005, 0.02, 0.1, 0.3)


def of(n: int, only_first: int, only_second: int) -> tuple[float, float, float]:
    """The difference for a table whose other images both get right."""
    first, second = np.ones(n, bool), np.ones(n, bool)
    second[:only_first] = False
    first[only_first : only_first + only_second] = False
    return paired_difference(first, second)


def covered(n: int, only_first: float, only_second: float, interval: Interval) -> float:
    """Exact probability that the interval contains the difference of two probabilities; tails below 1e-9 left out."""
    likely = [
        range(*(int(each) for each in (binom.isf(1 - 1e-9, n, p), binom.isf(1e-9, n, p) + 1)))
        for p in (only_first, only_second)
    ]
    total = 0.0
    for b, c in itertools.product(*likely):
        if b + c <= n:
            lower, upper = interval(n, b, c)
            if lower <= only_first - only_second <= upper:
                total += binom.pmf(b, n, only_first) * binom.pmf(c, n - b, only_second / (1.0 - only_first))
    return total


def ours(n: int, b: int, c: int) -> tuple[float, float]:
    return of(n, b, c)[1:]


def too_narrow(n: int, b: int, c: int) -> tuple[float, float]:
    difference, lower, upper = of(n, b, c)
    return difference + 0.8 * (lower - difference), difference + 0.8 * (upper - difference)


def test_coverage_on_both_sides_of_95_percent() -> None:
    found = [covered(200, one, other, ours) for one, other in itertools.product(GRID[:3], GRID[:3])]
    assert min(found) > 0.944
    assert np.median(found) < 0.965
    assert min(covered(200, one, other, too_narrow) for one, other in ((0.02, 0.1), (0.1, 0.1))) < 0.91, "a mutant"


def test_by_hand() -> None:
    difference, lower, upper = of(100, 12, 5)
    assert difference == pytest.approx(0.07)
    reach = 1.959964 * np.sqrt(12.5 + 5.5 - 7.0**2 / 102) / 102
    assert (lower, upper) == pytest.approx((7 / 102 - reach, 7 / 102 + reach), rel=1e-6)
    assert of(100, 5, 12) == pytest.approx((-difference, -upper, -lower)), "the other way round"
    assert of(1, 1, 0)[2] == 1.0, "no difference is larger than 1"


@pytest.mark.parametrize(
    ("first", "second", "confidence", "what"),
    [
        (np.ones(3, bool), np.ones(2, bool), 0.95, "for the 3 images"),
        (np.ones(0, bool), np.ones(0, bool), 0.95, "at least one"),
        (np.ones(3, bool), np.ones(3, bool), 1.0, "confidence"),
    ],
)
def test_what_cannot_be_compared(first: np.ndarray, second: np.ndarray, confidence: float, what: str) -> None:
    with pytest.raises(InvalidInputError, match=what):
        paired_difference(first, second, confidence)
