"""Lemma 1 of the paper: the least Rényi divergence after which another class can be the most probable one."""

import numpy as np

from noiseproof.certificates.base import Array
from noiseproof.numerics.logarithms import log_cosh, log_ratio

__all__ = ["Lemma1", "lemma1"]

_LARGEST_U = 300.0
"""The limit of u, as if p2 were at least p1 exp(-600): it can only shorten a radius, and cosh stays finite."""


def lemma1(p1: Array, p2: Array, order: Array) -> Array:
    """Lower bound of the Rényi divergence of a given order that changes the most probable class (the paper, Lemma 1).

    If argmax q differs from argmax p, then for every order a > 0

        D_a(Q || P) >= -log(1 - 2 M_1(p1, p2) + 2 M_{1-a}(p1, p2)),      M_t(x, y) = ((x^t + y^t) / 2)^(1/t),

    with a = 1 (Kullback-Leibler) and a = infinity as limits. The bound is attained, increases with p1 and decreases
    with p2. Proof: `lemma1.md`.

    With u = ln(p1 / p2) / 2, M_{1-a} = M_1 exp(-X) where X = ln cosh((a-1) u) / (a-1) + ln cosh(u); this form loses no
    digits as p1 - p2 -> 0 or p1 -> 1.

    Args:
        p1: the largest probability, p2 < p1 <= 1.
        p2: the second largest, 0 <= p2 <= 1 - p1.
        order: a in (0, infinity].

    Returns:
        The divergence in nats, of the shape of the arguments; infinite where p1 = 1 and a >= 1.
    """
    return np.where((p1 == 1.0) & (order >= 1.0), np.inf, Lemma1(p1, p2).at(order))


class Lemma1:
    """Lemma 1 as a function of the order; all that does not depend on the order is computed once."""

    def __init__(self, p1: Array, p2: Array) -> None:
        self.u = np.minimum(0.5 * log_ratio(p1, p2), _LARGEST_U)
        self.log_cosh_u = log_cosh(self.u)
        self.both = p1 + p2
        self.rest = np.maximum((1.0 - p1) - p2, 0.0)

    def at(self, order: Array) -> Array:
        """Evaluate at orders in (0, infinity], one per pair."""
        with np.errstate(divide="ignore", invalid="ignore"):
            b = order - 1.0
            v = np.abs(b) * self.u
            # ln cosh(v) = v - ln 2 to all digits for v > 600, and v / b = u there: only b > 0 goes so far.
            first = np.where(v > 600.0, self.u - np.log(2.0) / b, log_cosh(np.minimum(v, 600.0)) / b)
            exponent = np.where(b == 0.0, 0.0, first) + self.log_cosh_u
            lost = -self.both * np.expm1(-exponent)
            near, far = np.log1p(-lost), np.log(self.rest + self.both * np.exp(-exponent))
        # the result is -ln(1 - lost), in the form without cancellation
        return np.asarray(-np.where(lost < 0.5, near, far))
