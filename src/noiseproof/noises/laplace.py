"""Laplace noise, for certificates in l1 (the paper, Theorem 3)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from noiseproof.noises.base import Array, Noise, positive
from noiseproof.numerics.logarithms import log_ratio
from noiseproof.perturbations.norms import Norm
from noiseproof.randomness import RandomSource

if TYPE_CHECKING:
    import mpmath

__all__ = ["Laplace", "laplace_divergence"]


@dataclass(frozen=True)
class Laplace(Noise):
    """Laplace(0, scale) on every pixel, for certificates against l1 perturbations.

    Args:
        scale: lambda, in units of a pixel in [0, 1]; the standard deviation is sqrt(2) lambda.

    Raises:
        InvalidInputError: scale is not a finite number > 0.
    """

    scale: float

    norm: ClassVar[Norm] = Norm.L1

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", positive("scale", self.scale, "lambda of a pixel's noise"))

    def draw(self, like: Float[Tensor, "*shape"], source: RandomSource) -> Float[Tensor, "*shape"]:
        """Return the scaled difference of two independent exponential variables, which has a Laplace distribution."""
        return source.exponential(like).sub_(source.exponential(like)).mul_(self.scale)

    def max_shift(self, divergence: Array, order: Array) -> Array:
        """Return lambda t for the t with D_a(t) = D.

        D_a(t) is the divergence between Laplace(0, 1) and its copy shifted by t (as in the paper):

            D_a(t) = log(a / (2a-1) e^((a-1) t) + (a-1) / (2a-1) e^(-a t)) / (a-1),      D_1(t) = t + e^-t - 1.

        In d dimensions the divergences of the coordinates add. D_a is convex with D_a(0) = 0: for a > 1 as the
        logarithm of a sum of exponentials, for a < 1 because the overlap of log-concave densities is log-concave
        (Prékopa). So it is superadditive: among all shifts of one l1 norm, that of a single coordinate has the largest
        divergence.
        """
        divergence, order = np.broadcast_arrays(divergence, order)
        finite = np.isfinite(divergence) & (divergence > 0.0)
        shifts = np.where(divergence > 0.0, divergence, 0.0)  # right where it is zero, infinite, or the order is
        search = finite & np.isfinite(order)
        D, a = divergence[search], order[search]
        if D.size:
            shifts[search] = _invert(D, a)
        return self.scale * shifts

    def cumulative(self, x: "mpmath.mpf") -> "mpmath.mpf":
        """Return e^(x / lambda) / 2 for x < 0, and 1 - e^(-x / lambda) / 2 otherwise."""
        import mpmath

        tail = mpmath.exp(-abs(x) / self.scale) / 2
        return tail if x < 0 else 1 - tail

    def quantile_gap(self, p1: Array, p2: Array) -> Array:
        """Return lambda (Q(p1) - Q(p2)), with Q(p) = ln 2p for p <= 1/2 and -ln 2(1-p) otherwise."""
        # ln p1 - ln p2 where both lie below the median, ln(1-p2) - ln(1-p1) where both lie above, else through it
        below, above = p1 <= 0.5, p2 >= 0.5
        half = np.full(p1.shape, 0.5)
        upper = log_ratio(np.where(above, 1.0 - p2, half), np.where(below, half, 1.0 - p1))
        lower = log_ratio(np.where(below, p1, half), np.where(above, half, p2))
        return np.asarray(self.scale * (upper + lower))


def _invert(divergence: Array, order: Array) -> Array:
    """The t > 0 with D_a(t) = D, from below: Newton's method on sqrt(D_a), which is nearly linear in t near 0."""
    # D_a(t) <= t, and near 0 D_a(t) is a t^2 / 2: a start of the right order of magnitude for small and large D.
    t = divergence + np.sqrt(2.0 * divergence / order)
    root = np.sqrt(divergence)
    for _ in range(_NEWTON_STEPS):
        value = np.sqrt(laplace_divergence(t, order))
        step = (value - root) * 2.0 * value / _slope(t, order)
        t = np.maximum(t - step, divergence)
        if (np.abs(step) <= 1e-15 * t).all():
            break
    # t = D is always valid, since D_a(t) <= t: it is returned where Newton's method has not converged.
    return np.where(laplace_divergence(t, order) > divergence * (1.0 + 1e-12), divergence, t)


_NEWTON_STEPS = 12
"""Enough for 1e-15 at any divergence between 1e-30 and 1e3 and any order (tests); fewer would only shorten radii."""


def _slope(t: Array, a: Array) -> Array:
    """D_a'(t) = a t r / (1 + (1-a) t r) with r = (1 - e^-x) / x, x = (2a-1) t."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        tr = t * _expm1_ratio(-(2.0 * a - 1.0) * t)
        return np.where(np.isinf(tr), a / np.abs(1.0 - a), a * tr / (1.0 + (1.0 - a) * tr))


def laplace_divergence(t: Array, order: Array) -> Array:
    """Rényi divergence of a finite order a > 0 between Laplace(0, 1) and its copy shifted by t >= 0.

    Each of three forms is accurate in its range: a quadrature of the second divided difference where all exponents are
    small, and two closed forms, one for orders near 1/2 and one for the rest. Both arrays have one shape.
    """
    value = np.empty(t.shape)
    small = (order + 1.0) * t < _SMALL
    value[small] = _near_zero(t[small], order[small])
    value[~small] = _away_from_zero(t[~small], order[~small])
    return value


_SMALL = 2.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


def _near_zero(t: Array, a: Array) -> Array:
    """Return a K log1p(y) / y, y = a (a-1) K, K = integral over s in [0, t] of e^(-a s) (e^((2a-1) s) - 1) / (2a-1)."""
    s = 0.5 * t[..., None] * (_NODES + 1.0)
    exponent = (2.0 * a - 1.0)[..., None] * s
    inner = s * _expm1_ratio(exponent)
    K = 0.5 * t * ((np.exp(-a[..., None] * s) * inner) @ _WEIGHTS)
    y = a * (a - 1.0) * K
    return np.asarray(a * K * np.where(y == 0.0, 1.0, np.log1p(y) / np.where(y == 0.0, 1.0, y)))


def _away_from_zero(t: Array, a: Array) -> Array:
    kl = t + np.expm1(-t)
    exponent = (2.0 * a - 1.0) * t
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # each form is used in its range only
        # Orders around 1/2: log F / (a-1) with F = e^(-a t) (1 + a (e^((2a-1) t) - 1) / (2a-1)).
        middle = (np.log1p(a * t * _expm1_ratio(np.where(a < 0.75, exponent, 0.0))) - a * t) / (a - 1.0)
        # The rest: the larger exponential taken out; both logarithms are small where a is near 1.
        rest = np.log1p((1.0 - a) / (2.0 * a - 1.0)) + np.log1p((a - 1.0) / a * np.exp(-exponent))
        outer = t + rest / (a - 1.0)
    return np.asarray(np.where(a == 1.0, kl, np.where(a < 0.75, middle, outer)))


def _expm1_ratio(x: Array) -> Array:
    """(e^x - 1) / x, and 1 at 0."""
    return np.asarray(np.where(x == 0.0, 1.0, np.expm1(x) / np.where(x == 0.0, 1.0, x)))
