"""Gaussian noise, for certificates in l2 (the paper, Theorem 2)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri
from torch import Tensor

from noiseproof.noises.base import Array, Noise, positive
from noiseproof.perturbations.norms import Norm
from noiseproof.randomness import RandomSource

if TYPE_CHECKING:
    import mpmath

__all__ = ["Gaussian"]


@dataclass(frozen=True)
class Gaussian(Noise):
    """N(0, sigma^2) on every pixel, for certificates against l2 perturbations.

    Args:
        sigma: standard deviation, in units of a pixel in [0, 1].

    Raises:
        InvalidInputError: sigma is not a finite number > 0.

    Example:
        >>> Gaussian(sigma=0.25).max_shift(np.array([0.5]), np.array([1.0]))
        array([0.25])
    """

    sigma: float

    norm: ClassVar[Norm] = Norm.L2

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", positive("sigma", self.sigma, "standard deviation of a pixel"))

    @property
    def scale(self) -> float:
        """The standard deviation sigma."""
        return self.sigma

    def draw(self, like: Float[Tensor, "*shape"], source: RandomSource) -> Float[Tensor, "*shape"]:
        """Return sigma times standard normal numbers."""
        return source.normal(like).mul_(self.sigma)

    def max_shift(self, divergence: Array, order: Array) -> Array:
        """Return sigma sqrt(2 D / a); D_a(N(x, sigma^2 I) || N(x', sigma^2 I)) = a |x - x'|^2 / 2 sigma^2 (Lemma 4)."""
        with np.errstate(invalid="ignore"):  # infinity / infinity
            return np.where(np.isinf(divergence), np.inf, self.sigma * np.sqrt(2.0 * divergence / order))

    def cumulative(self, x: "mpmath.mpf") -> "mpmath.mpf":
        """Return Phi(x / sigma)."""
        import mpmath

        return mpmath.ncdf(x / self.sigma)

    def quantile_gap(self, p1: Array, p2: Array) -> Array:
        """Return sigma * (Phi^-1(p1) - Phi^-1(p2)), rounded down: never above the exact value for the given p1 and p2.

        For close quantiles with midpoint m and half distance h, p1 - p2 is the integral of the density,

            2 phi(m) (h + He_2(m) h^3 / 3! + He_4(m) h^5 / 5! + He_6(m) h^7 / 7!) + O((m h)^9),

        with Hermite polynomials He_i. It is solved for h by two Newton steps from the difference of the quantiles.

        Rounding: `ndtri` has a relative error below 1e-15 (tests compare with 50 digits), so the difference of two
        quantiles has an error of 1e-15 times their sizes. Where the series is used, p1 - p2 is exact, and the error of
        m gives phi(m) a relative error of 1e-15 (1 + m^2). Four times these errors is subtracted.
        """
        upper, lower = ndtri(p1), ndtri(p2)
        with np.errstate(invalid="ignore"):
            gap, m = upper - lower, 0.5 * (upper + lower)
            close = gap * np.maximum(np.abs(m), 1.0) < _CLOSE
        far = np.where(
            np.isinf(gap), gap, gap - _ROUNDING * np.where(np.isinf(gap), 0.0, np.abs(upper) + np.abs(lower))
        )
        m, h = np.where(close, m, 0.0), np.where(close, 0.5 * gap, 0.0)
        root = np.exp(0.25 * m * m)  # twice: e^(m^2 / 2) overflows, and where it does p1 - p2 has lost its last digits
        mass = np.where(close, (p1 - p2) * root * root * np.sqrt(np.pi / 2.0), 0.0)  # (p1 - p2) / (2 phi(m))
        third, fifth = (m**2 - 1.0) / 6.0, (m**4 - 6.0 * m**2 + 3.0) / 120.0
        seventh = (m**6 - 15.0 * m**4 + 45.0 * m**2 - 15.0) / 5040.0
        for _ in range(2):
            value = h + third * h**3 + fifth * h**5 + seventh * h**7
            h -= (value - mass) / (1.0 + 3.0 * third * h**2 + 5.0 * fifth * h**4 + 7.0 * seventh * h**6)
        return self.sigma * np.where(close, 2.0 * h * (1.0 - _ROUNDING * (1.0 + m * m)), far)


_CLOSE = 0.05
"""Below this product of gap and midpoint the series is accurate to 1e-15."""

_ROUNDING = 4e-15
"""Subtracted for rounding errors, relative to the quantiles; the median radius loses a part in 1e14."""
