"""What the paper's released code (bound.py) computes in place of Clopper-Pearson and Lemma 1: it proves nothing.

It is kept to show which printed numbers it explains. It is no bound of the package: nothing can be certified with it.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import poisson

from noiseproof.bounds.base import Interval, Table

__all__ = ["released_radius", "sison_glaz"]

Images = Float[np.ndarray, " images"]

_ORDERS = np.linspace(1.01, 2.0, 100)
"""Orders of the Rényi divergence over which the released code maximises."""


def released_radius(votes: Table, passed: float) -> Images:
    """Return the radius of the released code in units of sigma; 0 where its intervals overlap.

        sqrt(2 max_a -ln(1 - p1 - p2 + 2 M_{1-a}(p1, p2)) / a),   a = 1.01, 1.02, ..., 2

    This is Lemma 1 with the Sison-Glaz intervals as they are: p2 may exceed 1 - p1. Where p2 exceeds p1, the formula is
    meaningless, up to infinity for p1 = 0 and p2 = 1, which is what 99 of 100 votes give at .05 here. It is not known
    whether its library returned such intervals, so none of them counts as robust.

    Args:
        votes: (images, k) of one phase.
        passed: the argument of its interval in place of alpha: .95 in the released code, .05 in a later commit.
    """
    found = sison_glaz(votes, alpha=passed)
    p1, p2 = found.p1_lower[:, None], found.p2_upper[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (0.5 * (p1 ** (1.0 - _ORDERS) + p2 ** (1.0 - _ORDERS))) ** (1.0 / (1.0 - _ORDERS))
        radius = np.sqrt(2.0 * (-np.log(1.0 - p1 - p2 + 2.0 * mean) / _ORDERS).max(-1))
    return np.where(found.p1_lower > found.p2_upper, radius, 0.0)


def sison_glaz(votes: Table, *, alpha: float) -> Interval:
    """Return the simultaneous intervals for multinomial proportions by Sison and Glaz (1995), which are not exact.

    They are [N_j - c, N_j + c + 2 d] / n for counts N_j, where c is such that a multinomial with the *observed*
    frequencies stays within c of all counts with probability 1 - alpha, and d < 1 interpolates. That probability is
    approximated (Levin's truncated Poisson form with an Edgeworth expansion), and the observed frequencies stand in for
    the true ones. This fails where they are extreme: 100 of 100 votes give p1_lower = 1, and so an infinite radius.

    Args:
        votes: (images, k) of one phase.
        alpha: nominal probability that an interval misses, which is not guaranteed.
    """
    n, (runner_up, winner) = votes.sum(-1), np.sort(votes)[:, -2:].T
    different, place = np.unique(np.sort(votes), axis=0, return_inverse=True)
    c, overshoot = (found[place.ravel()] for found in _half_widths(different, 1.0 - alpha))
    return Interval(
        prediction=votes.argmax(-1),
        p1_lower=np.maximum(winner - c, 0) / n,
        p2_upper=np.minimum((runner_up + c + 2.0 * overshoot) / n, 1.0),
    )


def _half_widths(votes: Table, confidence: float) -> tuple[Int[np.ndarray, " images"], Images]:
    """The first c >= 0 with coverage(c + 1) > confidence for every image, and the interpolation between c and c + 1.

    The approximation is not monotone in c, so the first crossing is found by counting up, as the released code does.
    """
    found, overshoot, before = np.zeros(len(votes), dtype=np.int64), np.zeros(len(votes)), np.zeros(len(votes))
    pending, c = np.arange(len(votes)), 0
    while pending.size:
        rows = votes[pending]
        # A single class leaves nothing to vary, and no count can be farther than n away.
        certain = (np.count_nonzero(rows, axis=-1) == 1) | (c + 1 >= rows.sum(-1))
        now = np.where(certain, 1.0, _coverage(rows, c + 1))
        crossed = now > confidence
        done, last = pending[crossed], before[pending[crossed]]
        found[done], overshoot[done] = c, (confidence - last) / (now[crossed] - last)
        before[pending] = now
        pending, c = pending[~crossed], c + 1
    return found, overshoot


def _coverage(votes: Table, c: int) -> Images:
    """P(all |X_j - N_j| <= c) for X multinomial with n trials and probabilities N_j / n, approximately."""
    n, mean = votes.sum(-1), votes[..., None]
    counts = mean + np.arange(-c, c + 1)  # of Poisson variables with means N_j, truncated to these; 0 where N_j = 0
    weights = np.where(counts <= n[:, None, None], poisson.pmf(counts, mean), 0.0)
    inside = weights.sum(-1)
    weights /= inside[..., None]
    means = (weights * counts).sum(-1)
    variance, third, fourth = ((weights * (counts - means[..., None]) ** power).sum(-1) for power in (2, 3, 4))

    spread = variance.sum(-1)
    skewness = third.sum(-1) / spread**1.5
    kurtosis = (fourth - 3 * variance**2).sum(-1) / spread**2
    x = (n - means.sum(-1)) / np.sqrt(spread)
    edgeworth = (
        1.0
        + skewness * (x**3 - 3 * x) / 6
        + kurtosis * (x**4 - 6 * x**2 + 3) / 24
        + skewness**2 * (x**6 - 15 * x**4 + 45 * x**2 - 15) / 72
    )
    density = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi * spread) * edgeworth
    return np.asarray(np.exp(np.log(inside).sum(-1) - poisson.logpmf(n, n)) * density)
