"""Certificates by f-divergences: the generalisation of Lemma 1 (Dvijotham et al. 2020)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

import numpy as np

from noiseproof.certificates.base import Certificate, Flat
from noiseproof.certificates.lemma1 import lemma1
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise

__all__ = [
    "ChiSquared",
    "Divergence",
    "FDivergence",
    "Hellinger",
    "KullbackLeibler",
    "RenyiOrder",
    "TotalVariation",
    "by_chi_squared",
    "by_hellinger",
    "by_kullback_leibler",
    "by_total_variation",
]


class Divergence(ABC):
    """A divergence D, between class distributions and between the noise and its shifted copy."""

    @abstractmethod
    def least(self, p1: Flat, p2: Flat) -> Flat:
        """Return the minimum of D(Q || P) over all Q with another most probable class than P, or a tie.

        For an f-divergence it is that of the convex problem

            D* = min over q of p1 f(q / p1) + p2 f(q / p2) + rest f((1 - 2q) / rest),   rest = 1 - p1 - p2.
        """

    @abstractmethod
    def max_shift(self, noise: Noise, divergence: Flat) -> Flat:
        """Return the largest shift of the noise, in its norm, with D at most `divergence`."""


@dataclass(frozen=True)
class RenyiOrder(Divergence):
    """The Rényi divergence of one order, an increasing function of the f-divergence of f(x) = (x^a - 1) / (a (a-1)).

    Args:
        order: a > 0; 1 is the Kullback-Leibler divergence.

    Raises:
        InvalidInputError: the order is not finite or not > 0.
    """

    order: float

    def __post_init__(self) -> None:
        if not 0.0 < self.order < np.inf:
            raise InvalidInputError("order", required="finite and > 0", got=repr(self.order), remedy="2 is usual.")

    def least(self, p1: Flat, p2: Flat) -> Flat:
        """Return the bound of Lemma 1."""
        return lemma1(p1, p2, np.full_like(p1, self.order))

    def max_shift(self, noise: Noise, divergence: Flat) -> Flat:
        """Return `Noise.max_shift` at this order."""
        return noise.max_shift(divergence, np.full_like(divergence, self.order))


class _OfOrder(Divergence):
    """A divergence that is an increasing function of a Rényi divergence, which is compared in its place."""

    @property
    @abstractmethod
    def renyi(self) -> RenyiOrder:
        """The Rényi divergence."""

    def least(self, p1: Flat, p2: Flat) -> Flat:
        return self.renyi.least(p1, p2)

    def max_shift(self, noise: Noise, divergence: Flat) -> Flat:
        return self.renyi.max_shift(noise, divergence)


@dataclass(frozen=True)
class KullbackLeibler(_OfOrder):
    """KL(Q || P), f(x) = x log x: the Rényi divergence of order 1."""

    @property
    def renyi(self) -> RenyiOrder:
        """Order 1."""
        return RenyiOrder(1.0)


@dataclass(frozen=True)
class ChiSquared(_OfOrder):
    """chi^2(Q || P) = e^{D_2} - 1, f(x) = (x - 1)^2; D_2 is compared in its place."""

    @property
    def renyi(self) -> RenyiOrder:
        """Order 2."""
        return RenyiOrder(2.0)


@dataclass(frozen=True)
class Hellinger(_OfOrder):
    """H^2(Q, P) = 1 - e^{-D_{1/2} / 2}, f(x) = (sqrt x - 1)^2 / 2; D_{1/2} is compared in its place."""

    @property
    def renyi(self) -> RenyiOrder:
        """Order 1/2."""
        return RenyiOrder(0.5)


@dataclass(frozen=True)
class TotalVariation(Divergence):
    """TV(Q, P), f(x) = |x - 1| / 2."""

    def least(self, p1: Flat, p2: Flat) -> Flat:
        """Return (p1 - p2) / 2, the least probability that must move from class 1 to class 2 for a tie."""
        return np.asarray(0.5 * (p1 - p2))

    def max_shift(self, noise: Noise, divergence: Flat) -> Flat:
        """Return Q((1 + D) / 2) - Q((1 - D) / 2): a shift of a symmetric unimodal coordinate by t has TV 2 F(t/2) - 1.

        F is the distribution function of one coordinate and Q its quantile function. Among all shifts of one norm, that
        of a single coordinate has the largest total variation, as in the proof of the tight certificate.
        """
        # Less the rounding of these two numbers near 1/2, which would otherwise be certified.
        least = np.maximum(divergence - 4.0 * np.finfo(np.float64).eps, 0.0)
        return noise.quantile_gap(0.5 + 0.5 * least, 0.5 - 0.5 * least)


@dataclass(frozen=True)
class FDivergence(Certificate):
    """The largest shift whose divergence is below the smallest one that can change the most probable class.

    Proof: as for `Renyi`, with this divergence in place of D_a. The proof needs the data processing inequality, which
    holds for every f-divergence and every Rényi divergence.

    `Renyi` maximises over the order, so it is never worse than one order; `NeymanPearson` is never worse than any
    divergence.

    Args:
        divergence: KullbackLeibler(), ChiSquared(), Hellinger(), TotalVariation() or RenyiOrder(a).
    """

    divergence: Divergence

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Return the largest shift with a divergence of at most `divergence.least(p1, p2)`."""
        return self.divergence.max_shift(noise, self.divergence.least(p1, p2))


by_kullback_leibler = partial(FDivergence, KullbackLeibler())
by_chi_squared = partial(FDivergence, ChiSquared())
by_hellinger = partial(FDivergence, Hellinger())
by_total_variation = partial(FDivergence, TotalVariation())
"""The divergences that the registry names."""
