"""The released code's intervals and formula: as published, and shown to prove nothing."""

import numpy as np
import pytest
from scipy.stats import binom

from noiseproof.certificates import separated
from noiseproof.experiments.released import released_radius, sison_glaz

# Counts, lower end of the winner, upper end of the runner-up at alpha = 0.05, computed with 60 digits. In float64
# multinomial_proportions_confint(method="sison-glaz") of statsmodels 0.14 gives the same lower ends, and upper ends that
# differ by at most 3e-8 in relative terms: its factorial moments cancel.
SISON_GLAZ = [
    ([56, 72, 73, 59, 62, 87, 58], 0.145610278372591, 0.20075830363336908),
    ([95, 5, 0], 0.92, 0.09312322751076595),
    ([60, 30, 10], 0.51, 0.4022399625331318),
    ([9000, 600, 400], 0.8945, 0.06564422396806885),
    ([40, 35, 25], 0.3, 0.4591151966515694),
    ([97, 1, 1, 1], 0.95, 0.043447984342737396),
]


@pytest.mark.parametrize(("counts", "lower", "upper"), SISON_GLAZ)
def test_the_intervals_are_the_published_procedure(counts: list[int], lower: float, upper: float) -> None:
    found = sison_glaz(np.array([counts, counts]), alpha=0.05)
    assert found.p1_lower == pytest.approx([lower] * 2, abs=1e-12)
    assert found.p2_upper == pytest.approx([upper] * 2, rel=1e-11)


def test_they_claim_certainty_and_fail_the_enumeration() -> None:
    """100 of 100 votes give p1_lower = 1; and of all outcomes of 13 votes the wrong statements weigh more than alpha."""
    assert sison_glaz(np.array([[100, 0, 0]]), alpha=0.05).p1_lower[0] == 1.0
    first = np.arange(14)
    found = sison_glaz(np.stack([first, 13 - first], 1), alpha=0.05)
    p = np.array([0.9, 0.1])
    own, rival = p[found.prediction], p[1 - found.prediction]
    wrong = (own < found.p1_lower - 1e-15) | (rival > found.p2_upper + 1e-15)
    assert binom.pmf(first, 13, 0.9)[wrong].sum() > 0.05
    assert separated(found.p1_lower, found.p2_upper)[wrong].any(), "of statements that would be issued"


def test_overlapping_intervals_have_no_radius() -> None:
    """99 of 100 votes at .05 come out as [0, 1]: the formula alone would say infinity."""
    assert released_radius(np.array([[99, 1, 0], [100, 0, 0]]), 0.05)[0] == 0.0
    assert released_radius(np.array([[50, 50]]), 0.95).tolist() == [0.0]
