"""The paper's certificate: Theorem 2, by Lemma 1, for any noise whose Rényi divergence is known."""

from dataclasses import dataclass

import numpy as np

from noiseproof.certificates.base import Array, Certificate, Flat
from noiseproof.certificates.lemma1 import Lemma1
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise
from noiseproof.numerics.search import COARSE, FINE, maximise

__all__ = ["Renyi"]

_CHUNK = 8192
"""Elements searched at a time: their working arrays stay in the processor's cache (3x faster than all at once)."""


@dataclass(frozen=True)
class Renyi(Certificate):
    """Supremum over orders a of the largest shift whose Rényi divergence is below Lemma 1 (Theorems 2 and 3).

    With Gaussian noise this is line 6 of Algorithm 1, L = sup_a sqrt(-(2 sigma^2 / a) log(1 - 2 M_1 + 2 M_{1-a})).

    Proof. Let P and Q be the distributions of the class at x and at x'. By the data processing inequality D_a(Q || P)
    is at most the divergence between the noise and its copy shifted by x' - x. If the most probable classes differ,
    D_a(Q || P) is at least the bound of Lemma 1 (`lemma1.md`). So they agree if the divergence of the shift is below
    that bound. This holds for every order a > 0: each order gives a valid radius, and an inexact search only shortens
    it.

    Args:
        min_order: the smallest order used. 0 (all orders) is never worse than 1 (the paper's Theorem 2); with Gaussian
            noise they differ by 1e-5 at most, and only where p1 + p2 is small.

    Raises:
        InvalidInputError: min_order is negative or not finite.

    Example:
        >>> from noiseproof.noises import Gaussian
        >>> round(Renyi().radius(Gaussian(sigma=1.0), 0.9, 0.1), 8)
        1.03192956
    """

    min_order: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_order < np.inf:
            raise InvalidInputError(
                "min_order",
                required="a finite order >= 0",
                got=repr(self.min_order),
                remedy="0 uses every order, 1 is the paper's Theorem 2.",
            )

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Maximise over t = a / (1 + a), which maps all orders to (0, 1]; t = 1 is a -> infinity (Theorem 3)."""
        shifts = np.empty(p1.shape)
        for start in range(0, p1.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            shifts[part] = self._search(noise, p1[part], p2[part])
        # Where p1 = 1, Lemma 1 is infinite for orders of 1 and more: any finite divergence is tolerable.
        certain = p1 == 1.0
        unlimited = noise.max_shift(np.full(p1.shape, np.inf), np.ones(p1.shape))
        return np.where(certain, np.maximum(shifts, unlimited), shifts)

    def _search(self, noise: Noise, p1: Flat, p2: Flat, golden_steps: int = COARSE) -> Flat:
        least_divergence = Lemma1(p1, p2)

        def shift(t: Array) -> Array:
            with np.errstate(divide="ignore"):
                order = t / (1.0 - t)
            return noise.max_shift(least_divergence.at(order), order)

        smallest = max(self.min_order / (1.0 + self.min_order), _SMALLEST_T)
        found, settled = maximise(shift, np.full(p1.shape, smallest), np.ones(p1.shape), golden_steps=golden_steps)
        if golden_steps == COARSE and not settled.all():
            sharp = ~settled
            found[sharp] = np.maximum(found[sharp], self._search(noise, p1[sharp], p2[sharp], golden_steps=FINE))
        return found


_SMALLEST_T = 1e-3
"""Orders below 0.001 are left out: the maximum is above 0.7 in every known case, and any order is valid."""
