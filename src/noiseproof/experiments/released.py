"""What the paper's released code computed where the text has Clopper-Pearson and Lemma 1: it proves nothing.

Kept to show what of the printed numbers it explains. No bound of the package: nothing can be certified with it.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln, pdtr

from noiseproof.bounds.base import Interval, Table

__all__ = ["released_radius", "sison_glaz"]

Widths = Int[np.ndarray, " images"]

_ORDERS = np.linspace(1.01, 2.0, 100)
"""Of the Rényi divergence, those that the released code tries."""


def released_radius(votes: Table, passed: float) -> Float[np.ndarray, " images"]:
    """Return the radius in sigma of the released code; 0 where its intervals overlap.

        sqrt(2 max_a -ln(1 - p1 - p2 + 2 M_{1-a}(p1, p2)) / a),   a = 1.01, 1.02, ..., 2

    over Sison-Glaz intervals as they are: p2 may exceed 1 - p1. Where it exceeds p1 itself the formula gives numbers that
    mean nothing, up to infinity for p1 = 0 and p2 = 1, which is what 99 of 100 votes come to at .05 here; whether its
    library returned such intervals is not known, so none of them counts as robust.

    Args:
        votes: (images, k) of one phase.
        passed: what its interval is passed for alpha: .95 in the released code, .05 after it was mended.
    """
    found = sison_glaz(votes, alpha=passed)
    p1, p2 = found.p1_lower[:, None], found.p2_upper[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (0.5 * (p1 ** (1.0 - _ORDERS) + p2 ** (1.0 - _ORDERS))) ** (1.0 / (1.0 - _ORDERS))
        radius = np.sqrt(2.0 * (-np.log(1.0 - p1 - p2 + 2.0 * mean) / _ORDERS).max(-1))
    return np.where(found.p1_lower > found.p2_upper, radius, 0.0)


def sison_glaz(votes: Table, *, alpha: float) -> Interval:
    """Return the simultaneous intervals for multinomial proportions by Sison and Glaz (1995), which are not exact.

    For counts N_j a c is sought for which a multinomial with the *observed* frequencies stays within c of all counts
    with probability 1 - alpha; the interval for p_j is [N_j - c, N_j + c + 2 d] / n, with d < 1 an interpolation.
    The probability is approximated (Levin's truncated Poisson form with an Edgeworth expansion), and the observed
    frequencies stand for the true ones, which fails where they are extreme: 100 of 100 votes give p1_lower = 1, and
    with it an infinite radius.

    Args:
        votes: (images, k) of one phase.
        alpha: what the intervals are to miss at most, and do not hold.
    """
    n = votes.sum(-1)
    c, overshoot = _half_widths(votes, 1.0 - alpha)
    runner_up, winner = np.moveaxis(np.partition(votes, -2, axis=-1)[..., -2:], -1, 0)
    return Interval(
        prediction=votes.argmax(-1),
        p1_lower=np.maximum(winner - c, 0) / n,
        p2_upper=np.minimum((runner_up + c + 2.0 * overshoot) / n, 1.0),
    )


def _half_widths(votes: Table, confidence: float) -> tuple[Widths, Float[np.ndarray, " images"]]:
    """The first c >= 0 with coverage(c + 1) > confidence for every image, and the interpolation between c and c + 1.

    The approximation is not monotone in c, so the first crossing is found by counting up, as the released code does.
    """
    found, overshoot = np.zeros(len(votes), dtype=np.int64), np.zeros(len(votes))
    several = (votes > 0).sum(-1) > 1
    overshoot[~several] = confidence  # a single class leaves nothing to vary: coverage is 1 from the start
    searched = np.flatnonzero(several)
    cells, before, pending, c = _Cells(votes[searched]), np.zeros(searched.size), np.ones(searched.size, dtype=bool), 0
    while pending.any():
        c += 1
        now = np.where(c >= cells.n, 1.0, cells.coverage(c))  # no count can be farther than n away
        crossed = pending & (now > confidence)
        found[searched[crossed]] = c - 1
        overshoot[searched[crossed]] = (confidence - before[crossed]) / (now[crossed] - before[crossed])
        pending &= ~crossed
        before = now
        if pending.sum() < 0.5 * searched.size:  # forget the finished ones now and then
            searched, before = searched[pending], before[pending]
            cells, pending = _Cells(votes[searched]), np.ones(searched.size, dtype=bool)
    return found, overshoot


class _Cells:
    """The classes with votes of several images. The others have X_j = 0 surely and drop out."""

    def __init__(self, votes: Table) -> None:
        self.images, self.n = len(votes), votes.sum(-1)
        self.image, klass = np.nonzero(votes)
        # What a cell contributes depends on its count and n alone, and few pairs differ.
        scale = int(self.n.max()) + 1 if self.images else 1
        pairs, self.place = np.unique(votes[self.image, klass] * scale + self.n[self.image], return_inverse=True)
        self.counts, self.totals = (part.astype(np.float64) for part in np.divmod(pairs, scale))
        self.log_poisson_at_mean = self.n * np.log(self.n) - self.n - gammaln(self.n + 1)

    def coverage(self, c: int) -> Float[np.ndarray, " images"]:
        """P(all |X_j - N_j| <= c) for X multinomial with n trials and probabilities N_j / n, approximately."""
        mean = self.counts
        first, last = np.maximum(mean - c, 0.0), np.minimum(mean + c, self.totals)
        inside = _poisson_between(first, last, mean)

        def factorial_moment(r: int) -> Float[np.ndarray, " distinct"]:
            """E[Y (Y-1) .. (Y-r+1)] of a Poisson variable truncated to [first, last]."""
            missing = _poisson_between(first - r, first - 1, mean) - _poisson_between(last - r + 1, last, mean)
            return np.asarray(mean**r * (1.0 + missing / inside))

        m1, m2, m3, m4 = (factorial_moment(r) for r in (1, 2, 3, 4))
        variance = m2 + m1 - m1**2
        third = m3 + m2 * (3 - 3 * m1) + m1 - 3 * m1**2 + 2 * m1**3
        fourth = m4 + m3 * (6 - 4 * m1) + m2 * (7 - 12 * m1 + 6 * m1**2) + m1 - 4 * m1**2 + 6 * m1**3 - 3 * m1**4

        spread = self._total(variance)
        skewness = self._total(third) / spread**1.5
        kurtosis = (self._total(fourth) - 3 * self._total(variance**2)) / spread**2
        x = (self.n - self._total(m1)) / np.sqrt(spread)
        edgeworth = (
            1.0
            + skewness * (x**3 - 3 * x) / 6
            + kurtosis * (x**4 - 6 * x**2 + 3) / 24
            + skewness**2 * (x**6 - 15 * x**4 + 45 * x**2 - 15) / 72
        )
        density = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi * spread) * edgeworth
        return np.asarray(np.exp(self._total(np.log(inside)) - self.log_poisson_at_mean) * density)

    def _total(self, values: Float[np.ndarray, " distinct"]) -> Float[np.ndarray, " images"]:
        """Sum over the classes of every image."""
        return np.asarray(np.bincount(self.image, weights=values[self.place], minlength=self.images))


def _poisson_between(
    first: Float[np.ndarray, " distinct"], last: Float[np.ndarray, " distinct"], mean: Float[np.ndarray, " distinct"]
) -> Float[np.ndarray, " distinct"]:
    """P(first <= Y <= last) for Y Poisson; 0 where the range is empty."""
    up_to = np.where(last >= 0, pdtr(np.maximum(last, 0), mean), 0.0)
    before = np.where(first >= 1, pdtr(np.maximum(first - 1, 0), mean), 0.0)
    return np.where(last >= first, up_to - before, 0.0)
