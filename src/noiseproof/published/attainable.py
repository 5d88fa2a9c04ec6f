"""Which radii n votes can give at level alpha: sigma Phi^-1 of the Clopper-Pearson bounds of whole counts."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import betainc, betaincc, ndtr, ndtri
from scipy.stats import binom

from noiseproof.bounds.base import require_alpha
from noiseproof.errors import require_count
from noiseproof.noises import Gaussian
from noiseproof.published.printed import Printed, Rounding

__all__ = ["ALPHAS", "Attainable", "attainable_counts", "counts_within", "largest_radius"]

ALPHAS = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.025, 0.05, 0.1)
"""The levels that are tried where radii do not fit the stated one."""

_SLACK = 2e-7
"""Relative error of others' arithmetic that is accepted: that of float32 is 6e-8."""

Array = Float[np.ndarray, " rows"]
Counts = Int[np.ndarray, " rows"]


@dataclass(frozen=True)
class Attainable:
    """The counts of the winning class that a column of radii or probabilities may come from.

    Attributes:
        rounding: how the numbers were shortened: that under which the fewest are unattainable, to the nearest if equal.
        first: the smallest count that gives each number.
        last: the largest one; below `first` where no count of n gives it.
    """

    rounding: Rounding
    first: Counts
    last: Counts

    @property
    def fits(self) -> Bool[np.ndarray, " rows"]:
        """Whether any count gives each number."""
        return self.first <= self.last


def largest_radius(sigma: float, samples: int, alpha: float) -> float:
    """Return sigma Phi^-1(alpha^(1/n)), the radius of n unanimous votes: no larger one can be certified.

    Args:
        sigma: standard deviation of the Gaussian noise, in pixel units.
        samples: n.
        alpha: failure probability of the one-sided bound.

    Raises:
        InvalidInputError: an argument outside its domain.
    """
    _require(sigma, samples, alpha)
    return float(-sigma * ndtri(-math.expm1(math.log(alpha) / samples)))  # from 1 - p1, which has all its digits


def counts_within(low: Array, high: Array, samples: int, alpha: float) -> tuple[Counts, Counts]:
    """Return the first and the last count k of n whose lower confidence bound lies in [low, high).

    The Clopper-Pearson bound of k is the p with P(Bin(n, p) >= k) = alpha, so it is at least `low` if and only if
    P(Bin(n, low) >= k) <= alpha. No table of all n bounds is made, so that n may be large. The last count is below the
    first one where there is none.

    Args:
        low: probabilities in [0, 1].
        high: probabilities in [0, 1].
        samples: n.
        alpha: failure probability of the one-sided bound.
    """
    return _smallest(low, samples, alpha), _smallest(high, samples, alpha) - 1


def attainable_counts(printed: Printed, sigma: float | None, samples: int, alpha: float) -> Attainable:
    """Return the counts that printed radii, or printed probabilities, may come from.

    A radius is sigma Phi^-1(p1) with p1 the one-sided Clopper-Pearson lower bound of a count k of n at level alpha
    (Cohen et al. 2019, CERTIFY). So a printed radius has to be within half a unit of its last digit of one of these
    values, or, if all of them were rounded down or up, within a unit on one side. Numbers of 0 and below claim nothing:
    they count as fitting. Errors of a relative 2e-7 are accepted.

    Args:
        printed: radii in pixel units; probabilities p1 if sigma is None.
        sigma: standard deviation of the Gaussian noise, in pixel units.
        samples: n.
        alpha: failure probability of the one-sided bound.

    Raises:
        InvalidInputError: an argument outside its domain.
    """
    _require(1.0 if sigma is None else sigma, samples, alpha)
    value, place = np.unique(printed.value, return_inverse=True)
    unit = np.zeros_like(value)
    unit[place] = printed.unit
    shown, found = Printed(value, unit), []
    for rounding in Rounding:
        low, high = (np.asarray(each) for each in _probabilities(shown, rounding, sigma))
        first, last = counts_within(low, high, samples, alpha)
        last = np.where((value <= 0.0) & (last < first), first, last)
        found.append(Attainable(rounding, first[place], last[place]))
    return max(found, key=lambda each: int(each.fits.sum()))


def _probabilities(printed: Printed, rounding: Rounding, sigma: float | None) -> tuple[Array, Array]:
    """The smallest and the largest p1 that each number may stand for."""
    low, high = printed.interval(rounding)
    if sigma is None:
        return np.clip(low - _SLACK, 0.0, 1.0), np.clip(high + _SLACK, 0.0, 1.0)
    slack = _SLACK * (sigma + np.abs(printed.value))
    return ndtr(np.maximum(low - slack, 0.0) / sigma), ndtr(np.maximum(high + slack, 0.0) / sigma)


def _smallest(p: Array, samples: int, alpha: float) -> Counts:
    """The smallest k with P(Bin(n, p) >= k) <= alpha; n + 1 where there is none."""
    k = np.clip(binom.isf(alpha, samples, p), -1, samples).astype(np.int64) + 1
    while (high := (k > 0) & (_tail(k - 1, samples, p) <= alpha)).any():  # SciPy's quantile may be off by one
        k = k - high
    while (low := (k <= samples) & (_tail(k, samples, p) > alpha)).any():
        k = k + low
    return k


def _tail(k: Counts, samples: int, p: Array) -> Array:
    """P(Bin(n, p) >= k), from the smaller of p and 1 - p."""
    inside = (k > 0) & (k <= samples)
    a = np.where(inside, k, 1)
    tail = np.where(p < 0.5, betainc(a, samples - a + 1, p), betaincc(samples - a + 1, a, 1.0 - p))
    return np.where(inside, tail, np.where(k <= 0, 1.0, 0.0))


def _require(sigma: float, samples: int, alpha: float) -> None:
    Gaussian(sigma)
    require_count("samples", samples, 1, "100000 is usual.")
    require_alpha(alpha)
