"""PixelDP: the certificate by differential privacy (Lecuyer et al. 2018, reference [18] of the paper)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import log_ndtr, ndtr

from noiseproof.certificates.base import Array, Certificate, Flat
from noiseproof.noises import Gaussian, Noise
from noiseproof.numerics.logarithms import log_ratio
from noiseproof.numerics.search import FINE, largest_within, maximise

__all__ = ["AnalyticPixelDP", "PixelDP"]


@dataclass(frozen=True)
class PixelDP(Certificate):
    """The largest radius over all (e, delta) of the classical Gaussian mechanism, in l2.

        L = sup over 0 < e <= min(1, log(p1 / p2) / 2) of sigma e / sqrt(2 log(1.25 / delta(e))),
        delta(e) = (p1 - e^{2e} p2) / (1 + e^e).

    Proof. If the noise is (e, delta)-differentially private under shifts up to L, then p(x') <= e^e p(x) + delta for
    every class, and with x and x' exchanged. So at x' the top class has at least e^-e (p1 - delta), every other class
    at most e^e p2 + delta, and the former is larger if p1 > e^{2e} p2 + (1 + e^e) delta, that is, if delta < delta(e).
    Gaussian noise is (e, delta)-differentially private for L = sigma e / sqrt(2 log(1.25 / delta)) and **e <= 1**
    (Dwork and Roth 2014, Theorem A.1).

    A search that ignores e <= 1 returns larger radii, which are not proven. The maximum is found by golden-section
    search, not on a grid.
    """

    noises: ClassVar[tuple[type[Noise], ...]] = (Gaussian,)

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Maximise over e."""
        assert isinstance(noise, Gaussian)  # noqa: S101 - checked by `radius`

        def shift(e: Array) -> Array:
            delta = _tolerable_delta(p1, p2, e)
            with np.errstate(divide="ignore"):
                return np.asarray(e / np.sqrt(2.0 * (np.log(1.25) - np.log(delta))))

        highest = np.minimum(1.0, _largest_epsilon(p1, p2))
        return noise.sigma * maximise(shift, np.zeros_like(p1), highest, golden_steps=FINE)[0]


@dataclass(frozen=True)
class AnalyticPixelDP(Certificate):
    """PixelDP by the analytic Gaussian mechanism (Balle and Wang 2018, Theorem 8), which is exact for every e >= 0.

    With mu = L / sigma, Gaussian noise is (e, delta)-differentially private under shifts up to L if and only if
    delta >= Phi(mu/2 - e/mu) - e^e Phi(-mu/2 - e/mu), so

        L = sigma sup over e of max{mu : Phi(mu/2 - e/mu) - e^e Phi(-mu/2 - e/mu) <= delta(e)},

    with delta(e) as in `PixelDP`. It exceeds the paper's Rényi bound at (0.6, 0.4), for example.

    Proof: that of `PixelDP`, with this mechanism in place of the classical one.

    Near ties it approaches the tight radius of `NeymanPearson`, and the rounding of a difference of two probabilities
    could take it beyond (by 2e-11 relative at p1 - p2 = 2e-6). No valid radius exceeds the tight one, so the result is
    limited to it.
    """

    noises: ClassVar[tuple[type[Noise], ...]] = (Gaussian,)

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Maximise over e, and for every e over mu."""
        assert isinstance(noise, Gaussian)  # noqa: S101 - checked by `radius`
        # e = 0, where delta is the total variation, gives 2 Phi^-1((1 + (p1-p2)/2) / 2); the search begins there.
        largest = np.minimum(_largest_epsilon(p1, p2), _LARGEST_EPSILON)
        found = noise.sigma * maximise(lambda e: _largest_mu(p1, p2, e), np.zeros_like(p1), largest)[0]
        return np.minimum(found, 0.5 * noise.quantile_gap(p1, p2))


_LARGEST_EPSILON = 300.0
"""Where p2 is below p1 e^-600; any e gives a valid radius."""


def _largest_epsilon(p1: Array, p2: Array) -> Array:
    """Beyond this e, p1 < e^{2e} p2, so that no delta >= 0 is possible."""
    return 0.5 * log_ratio(p1, p2)


def _tolerable_delta(p1: Array, p2: Array, e: Array) -> Array:
    """delta(e) = (p1 - e^{2e} p2) / (1 + e^e), with p1 - e^{2e} p2 = (p1 - p2) - p2 (e^{2e} - 1)."""
    return np.asarray(np.maximum(((p1 - p2) - p2 * np.expm1(2.0 * e)) / (1.0 + np.exp(e)), 0.0))


def _gaussian_delta(e: Array, mu: Array) -> Array:
    """Phi(mu/2 - e/mu) - e^e Phi(-mu/2 - e/mu)."""
    return np.asarray(ndtr(mu / 2.0 - e / mu) - np.exp(e + log_ndtr(-mu / 2.0 - e / mu)))


def _largest_mu(p1: Array, p2: Array, e: Array) -> Array:
    delta = _tolerable_delta(p1, p2, e)
    mu = np.zeros_like(delta)
    search = delta > 1e-300
    if search.any():
        found, wanted = e[search], delta[search]
        mu[search] = largest_within(
            lambda mu, e: _gaussian_delta(e, mu),
            wanted,
            np.full_like(found, 1e-12),
            np.full_like(found, 100.0),
            (found,),
        )
    return mu
