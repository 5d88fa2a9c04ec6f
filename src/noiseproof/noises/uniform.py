"""Uniform noise, for certificates in l1 (Yang et al., "Randomized Smoothing of All Shapes and Sizes", 2020)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from noiseproof.noises.base import Array, Noise, positive
from noiseproof.perturbations.norms import Norm
from noiseproof.randomness import RandomSource

if TYPE_CHECKING:
    import mpmath

__all__ = ["Uniform"]


@dataclass(frozen=True)
class Uniform(Noise):
    """Uniform on [-half_width, half_width] on every pixel, for certificates against l1 perturbations.

    Args:
        half_width: lambda, in units of a pixel in [0, 1]; the standard deviation is lambda / sqrt(3).

    Raises:
        InvalidInputError: half_width is not a finite number > 0.
    """

    half_width: float

    norm: ClassVar[Norm] = Norm.L1

    def __post_init__(self) -> None:
        object.__setattr__(self, "half_width", positive("half_width", self.half_width, "of a pixel's noise"))

    @property
    def scale(self) -> float:
        """The half width lambda."""
        return self.half_width

    def draw(self, like: Float[Tensor, "*shape"], source: RandomSource) -> Float[Tensor, "*shape"]:
        """Map uniform numbers in [0, 1) to [-lambda, lambda)."""
        return source.uniform(like).mul_(2.0 * self.half_width).sub_(self.half_width)

    def max_shift(self, divergence: Array, order: Array) -> Array:
        """Return 2 lambda (1 - e^(-(1-a) D)) for orders a < 1, and 0 for a >= 1.

        A shift d leaves an overlap of prod(1 - |d_i| / 2 lambda) >= 1 - |d|_1 / 2 lambda, and for a < 1 the divergence
        is log(overlap) / (a-1). For a >= 1 every nonzero shift has an infinite divergence.
        """
        below_one = np.where(order < 1.0, 1.0 - order, 0.0)
        with np.errstate(invalid="ignore"):  # 0 * infinity, for orders that are not used
            shift = -np.expm1(-below_one * divergence)
        return 2.0 * self.half_width * np.where(below_one > 0.0, shift, 0.0)

    def cumulative(self, x: "mpmath.mpf") -> "mpmath.mpf":
        """Return (x + lambda) / 2 lambda, clipped to [0, 1]."""
        return min(max((x + self.half_width) / (2 * self.half_width), 0), 1)

    def quantile_gap(self, p1: Array, p2: Array) -> Array:
        """Return 2 lambda (p1 - p2)."""
        return np.asarray(2.0 * self.half_width * (p1 - p2))
