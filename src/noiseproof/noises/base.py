"""The interface of an additive noise: samples, the Rényi divergence under a shift, and the quantile function."""

import math
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from noiseproof.errors import InvalidInputError
from noiseproof.perturbations.norms import Norm
from noiseproof.plugins import spec_of
from noiseproof.randomness import Generator, RandomSource, as_source

if TYPE_CHECKING:
    import mpmath

__all__ = ["Noise", "positive"]

Array = Float[np.ndarray, "*shape"]


class Noise(ABC):
    """Independent, identically distributed noise that is added to every pixel (line 3 of Algorithm 1).

    Subclasses are frozen dataclasses with one field: the scale of the noise, in units of a pixel in [0, 1].
    """

    norm: ClassVar[Norm]
    """The norm in which shifts are measured: certificates bound perturbations in this norm."""

    if TYPE_CHECKING:  # a field may be called `scale` itself, which a property here would forbid

        @property
        def scale(self) -> float:
            """The scale: sigma of Gaussian, lambda of Laplace and uniform noise. Samples are proportional to it."""

    @abstractmethod
    def draw(self, like: Float[Tensor, "*shape"], source: RandomSource) -> Float[Tensor, "*shape"]:
        """Draw noise from the random numbers of `source`, with the shape, dtype and device of `like`."""

    @abstractmethod
    def max_shift(self, divergence: Array, order: Array) -> Array:
        """Return the largest R such that every shift of size below R, in `norm`, has a Rényi divergence of at most D.

        Args:
            divergence: D >= 0 in nats; for D = infinity, R is the supremum of the shifts with a finite divergence.
            order: the order a > 0, of the same shape; a = 1 is the Kullback-Leibler divergence.

        Returns:
            R in pixel units, of the same shape.
        """

    @abstractmethod
    def quantile_gap(self, p1: Array, p2: Array) -> Array:
        """Return Q(p1) - Q(p2) for 0 <= p2 < p1 <= 1, with Q the quantile function of one coordinate in pixel units.

        The result exceeds the exact value by a relative 5e-13 at most, which is less than certificates subtract. This
        also holds for small p1 - p2, where the difference of two computed quantiles would lose digits.
        """

    def cumulative(self, x: "mpmath.mpf") -> "mpmath.mpf":  # noqa: ARG002 - noises of others may lack it
        """Return P(z <= x) for one coordinate z, in the working precision of mpmath. The exact sampler needs it.

        Raises:
            InvalidInputError: this noise does not implement it.
        """
        raise InvalidInputError(
            "noise",
            required="one that has `cumulative`, for the exact sampler",
            got=repr(self),
            remedy="Add its distribution function in mpmath, or take the float sampler.",
        )

    @final
    def sample(self, like: Float[Tensor, "*shape"], generator: Generator | None = None) -> Float[Tensor, "*shape"]:
        """Draw independent noise for every element of `like`.

        Args:
            like: a floating-point tensor, of which only shape, dtype and device are used.
            generator: a torch generator on the device of `like`, a NumPy generator, or None for torch's global
                generator.
        """
        return self.draw(like, as_source(generator))

    @final
    def spec(self) -> dict[str, str | float]:
        """Return the noise as plain data: its name and its scale. `NOISES.from_spec` is the inverse."""
        return spec_of(self, re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower())


def positive(name: str, value: object, unit: str) -> float:
    """Return `value` as a float, or raise `InvalidInputError` unless it is a finite number > 0."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type, operator]
        raise InvalidInputError(
            name,
            required=f"a finite number > 0 ({unit})",
            got=repr(value),
            remedy="Typical values for images in [0, 1] lie between 0.12 and 1.",
        )
    return float(value)  # type: ignore[arg-type]
