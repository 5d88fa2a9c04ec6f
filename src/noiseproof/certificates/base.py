"""From (p1, p2) to a radius: the guard, clip and rounding that every certificate shares (Algorithm 1, line 6)."""

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar, final

import numpy as np
import torch
from jaxtyping import Bool, Float

from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise

__all__ = ["ROUNDING", "Certificate", "clip_runner_up", "separated"]

Array = Float[np.ndarray, "*shape"]
Flat = Float[np.ndarray, " n"]
Probability = TypeVar("Probability", float, np.ndarray, torch.Tensor)

ROUNDING = 1e-12
"""Every radius is shortened by this relative amount. It exceeds the rounding error of the formulas (tests compare with
40-digit arithmetic), so that a float64 radius never exceeds the exact one."""

_SHORTEST = 1e-290
"""Shorter radii are returned as 0: subnormal numbers have too few digits to be rounded down reliably."""


def clip_runner_up(p1_lower: Array, p2_upper: Array) -> Array:
    """Return min(p2_upper, 1 - p1_lower), which also bounds every other class, since probabilities sum to 1."""
    return np.asarray(np.minimum(p2_upper, 1.0 - p1_lower))


def separated(p1_lower: Array, p2_upper: Array) -> Bool[np.ndarray, "*shape"]:
    """Whether p1_lower > min(p2_upper, 1 - p1_lower), without which nothing is certified.

    The check is necessary: several formulas, Lemma 1 among them, are symmetric in (p1, p2) and return a positive number
    for crossed bounds too.
    """
    return np.asarray(p1_lower > clip_runner_up(p1_lower, p2_upper))


class Certificate(ABC):
    """A theorem that turns p1 (lower bound) and p2 (upper bound) into a radius within which the argmax is constant."""

    noises: ClassVar[tuple[type[Noise], ...]] = (Noise,)
    """The noises for which it holds; the default is all of them."""

    @abstractmethod
    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Compute the theorem's radius in pixel units, for 0 <= p2 < p1 <= 1 and p2 <= 1 - p1. Callers use `radius`."""

    @final
    def require_noise(self, noise: Noise) -> None:
        """Raise `InvalidInputError` unless the certificate holds for this noise; called before votes are counted."""
        if not isinstance(noise, self.noises):
            raise InvalidInputError(
                "certificate",
                required=f"one for {type(noise).__name__} noise",
                got=f"{type(self).__name__}, which holds for {' or '.join(kind.__name__ for kind in self.noises)} noise",
                remedy="neyman-pearson (NeymanPearson) and renyi (Renyi) hold for every noise.",
            )

    @final
    def radius(self, noise: Noise, p1_lower: Probability, p2_upper: Probability) -> Probability:
        """Compute the certified radius, in `noise.norm` and pixel units; the certified ball is open.

        Args:
            noise: the noise under which the probabilities were measured.
            p1_lower: lower bound of the top class's probability: a float, NumPy array or torch tensor of any shape.
            p2_upper: upper bound of every other class's probability, of the same type; shapes broadcast.

        Returns:
            float64 radii >= 0 of the same type as the input: 0 unless p1_lower > min(p2_upper, 1 - p1_lower), rounded
            down by a relative 1e-12. For p1_lower = 1 and noise of unbounded support (not Uniform) the radius is
            infinite, except under PixelDP and the divergences that stay finite there (Hellinger, total variation).

        Raises:
            InvalidInputError: a probability is NaN or outside [0, 1], or the certificate is not for this noise.
        """
        self.require_noise(noise)
        lower = _probability("p1_lower", p1_lower)
        upper = _probability("p2_upper", p2_upper)
        lower, upper = np.broadcast_arrays(lower, upper)
        certified = separated(lower, upper)
        p1 = lower[certified]
        radii = np.zeros(lower.shape)
        radii[certified] = self.tolerable_shift(noise, p1, clip_runner_up(p1, upper[certified])) * (1.0 - ROUNDING)
        radii[radii < _SHORTEST] = 0.0
        return _like(p1_lower, radii)


def _probability(name: str, value: object) -> Array:
    """Return value as a float64 array, or raise `InvalidInputError` unless all of it lies in [0, 1]."""
    array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, dtype=np.float64)
    inside = (array >= 0.0) & (array <= 1.0)
    if not inside.all():
        raise InvalidInputError(
            name, required="within [0, 1]", got=array[~inside].flat[0], remedy="Pass probabilities, not percentages."
        )
    return array


def _like(value: Probability, radii: Array) -> Probability:
    """Return float64 radii as the type of `value`: tensor (on its device), array, or Python float."""
    if isinstance(value, torch.Tensor):
        return torch.from_numpy(radii).to(value.device)
    if isinstance(value, np.ndarray):
        return radii
    return float(radii) if radii.ndim == 0 else radii  # type: ignore[return-value]
