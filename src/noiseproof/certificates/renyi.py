"""The paper's certificate: Lemma 1, and with it Theorem 2, for any noise of known Rényi divergence."""

from dataclasses import dataclass

import numpy as np

from noiseproof.certificates.base import Array, Certificate, Flat
from noiseproof.errors import InvalidInputError
from noiseproof.maximise import COARSE, FINE, maximise
from noiseproof.noises import Noise

__all__ = ["Renyi", "lemma1"]

_CHUNK = 8192
"""Elements searched at a time: their working arrays stay in the processor's cache (3x faster than all at once)."""

_LARGEST_U = 300.0
"""u is cut here, as if p2 were at least p1 exp(-600): that can only shorten a radius, and cosh stays finite."""


def lemma1(p1: Array, p2: Array, order: Array) -> Array:
    """The least Rényi divergence of that order that can move the largest class (the paper, Lemma 1).

    If argmax q differs from argmax p, then for every order a > 0

        D_a(Q || P) >= -log(1 - 2 M_1(p1, p2) + 2 M_{1-a}(p1, p2)),      M_t(x, y) = ((x^t + y^t) / 2)^(1/t),

    with a = 1 (Kullback-Leibler) and a = infinity as limits. Increasing in p1, decreasing in p2.

    With u = ln(p1 / p2) / 2, M_{1-a} = M_1 exp(-X) where X = ln cosh((a-1) u) / (a-1) + ln cosh(u); this form loses no
    digits as p1 - p2 -> 0 or p1 -> 1.

    Args:
        p1: the largest probability, p2 < p1 < 1.
        p2: the second largest, 0 <= p2 <= 1 - p1.
        order: a in (0, infinity].

    Returns:
        The divergence in nats.
    """
    return _Lemma1(p1, p2).at(order)


class _Lemma1:
    """Lemma 1 as a function of the order, with what does not depend on the order computed once."""

    def __init__(self, p1: Array, p2: Array) -> None:
        with np.errstate(divide="ignore", over="ignore"):
            u = 0.5 * np.where(p2 > 0.25 * p1, np.log1p((p1 - p2) / p2), np.log(p1) - np.log(p2))
        self.u = np.minimum(u, _LARGEST_U)
        self.log_cosh_u = _log_cosh(self.u)
        self.both = p1 + p2
        self.rest = np.maximum((1.0 - p1) - p2, 0.0)

    def at(self, order: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            b = order - 1.0
            v = np.abs(b) * self.u
            # ln cosh(v) = v - ln 2 to all digits for v > 600, and v / b = u there: only b > 0 goes so far.
            first = np.where(v > 600.0, self.u - np.log(2.0) / b, _log_cosh(np.minimum(v, 600.0)) / b)
            exponent = np.where(b == 0.0, 0.0, first) + self.log_cosh_u
            near, far = np.log1p(self.both * np.expm1(-exponent)), np.log(self.rest + self.both * np.exp(-exponent))
        divergence: Array = -np.where(exponent < np.log(2.0), near, far)
        return divergence


def _log_cosh(x: Array) -> Array:
    """Return ln cosh x for 0 <= x <= 700 without losing digits near 0."""
    value: Array = np.log1p(2.0 * np.sinh(0.5 * x) ** 2)
    return value


@dataclass(frozen=True)
class Renyi(Certificate):
    """sup over orders a of the largest shift whose Rényi divergence stays below Lemma 1 (Theorems 2 and 3).

    With Gaussian noise this is line 6 of Algorithm 1, L = sup_a sqrt(-(2 sigma^2 / a) log(1 - 2 M_1 + 2 M_{1-a})).
    Lemma 1 holds for every a > 0, so the supremum is taken over all of them; any order searched gives a valid radius.

    Args:
        min_order: the smallest order used. 0 (all orders) is never worse than the paper's Theorem 2, which is 1; they
            differ by 1e-5 at most, and only where p1 + p2 is small.

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
        """Search over t = a / (1 + a), which maps all orders onto (0, 1]; t = 1 is a -> infinity (Theorem 3)."""
        shifts = noise.max_shift(np.full(p1.shape, np.inf), np.ones(p1.shape))  # p1 = 1 tolerates any divergence
        uncertain = np.flatnonzero(p1 < 1.0)
        for start in range(0, uncertain.size, _CHUNK):
            part = uncertain[start : start + _CHUNK]
            shifts[part] = self._search(noise, p1[part], p2[part])
        return shifts

    def _search(self, noise: Noise, p1: Flat, p2: Flat, golden_steps: int = COARSE) -> Flat:
        least_divergence = _Lemma1(p1, p2)

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
"""Orders below 0.001 are left out: the supremum lies above 0.7 in every case known, and any order is valid."""
