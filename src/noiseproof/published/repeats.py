"""Equal counts of many images: more of them than independent noise allows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betainc, betaln
from scipy.stats import binom

__all__ = ["EqualCounts", "equal_counts", "most_probable"]

_LEVEL = 1e-6
"""A smaller p-value is called suspicious."""

Counts = Int[np.ndarray, " rows"]


@dataclass(frozen=True)
class EqualCounts:
    """The most surprising value of a column, by how many images share it.

    Attributes:
        images: N, the images with a count.
        shared: how many of them share the value.
        row: the first row with the value.
        p_value: upper bound of the probability that independent noise gives any value so often.
    """

    images: int
    shared: int
    row: int
    p_value: float

    @property
    def suspicious(self) -> bool:
        """Whether the p-value is below 1e-6."""
        return self.p_value < _LEVEL

    def __str__(self) -> str:
        verdict = "more than independent noise allows" if self.suspicious else "as independent noise may"
        return f"{self.shared} of {self.images} share a value, p = {self.p_value:.2g}: {verdict}"


def most_probable(first: Counts, last: Counts, samples: int) -> Float[np.ndarray, " rows"]:
    """Return the largest probability, over all p, that Bin(n, p) lies in [first, last].

    The derivative in p is n P(Bin(n-1, p) = first - 1) - n P(Bin(n-1, p) = last). It has one zero, where

        (p / (1 - p))^(last - first + 1) = C(n-1, first - 1) / C(n-1, last),

    and p = 1 gives probability 1 if last = n, p = 0 if first = 0.
    """
    n, ends = samples, (first <= 0) | (last >= samples)
    a, b = np.where(ends, 1, first), np.where(ends, 1, last)
    log_odds = (_log_binomial(n - 1, a - 1) - _log_binomial(n - 1, b)) / (b - a + 1) if n > 1 else np.zeros(len(a))
    p = 1.0 / (1.0 + np.exp(-log_odds))
    inside = betainc(a, n - a + 1, p) - betainc(b + 1, np.maximum(n - b, 1), p)
    return np.where(ends, 1.0, np.clip(inside, 0.0, 1.0))


def equal_counts(first: Counts, last: Counts, samples: int) -> EqualCounts | None:
    """Test whether more images share a value than independent noise allows, whatever their probabilities are.

    The statistic is the number X of images that share a value: a count, or a printed number that stands for the counts
    from `first` to `last`. With independent noise, image i has the value with probability at most q, `most_probable`, so X
    is stochastically at most Binomial(N, q). There are at most n + 1 values, one at least for each being a count, so by
    the union bound

        P(any value has so small a tail) <= (n + 1) min over values of P(Bin(N, q) >= X).

    The counts must be those of a class that was chosen by other votes, as in CERTIFY of Cohen et al. (2019). A small
    p-value says that the noise of the images is not independent, or that results were copied; a large one says nothing:
    images of different probabilities share noise without equal counts. Unanimous votes have q = 1 and never count.

    Args:
        first: smallest count that each image may have.
        last: largest one, at least `first`.
        samples: n.

    Returns:
        The value with the smallest tail, or None without images.
    """
    if not len(first):
        return None
    values, rows, shared = np.unique(np.stack([first, last], axis=1), axis=0, return_index=True, return_counts=True)
    tails = np.asarray(binom.sf(shared - 1, len(first), most_probable(values[:, 0], values[:, 1], samples)))
    least = int(np.argmin(tails))
    p_value = min(1.0, (samples + 1) * float(tails[least]))
    return EqualCounts(len(first), int(shared[least]), int(rows[least]), p_value)


def _log_binomial(n: int, k: Counts) -> Float[np.ndarray, " rows"]:
    """The logarithm of C(n, k), for 0 <= k <= n."""
    return np.asarray(-betaln(n - k + 1, k + 1) - np.log(n + 1.0))
