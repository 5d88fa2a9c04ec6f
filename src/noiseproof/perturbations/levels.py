"""The points of 8-bit images: pixels k / 255, of which an attack on certificates for such images must choose."""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from noiseproof.perturbations.balls import LAST, distance
from noiseproof.perturbations.norms import NormLike

__all__ = ["LEVELS", "off_levels", "on_levels", "round_within"]

LEVELS = 255
"""Steps of an 8-bit pixel: x = k / 255."""

_OFF = 1e-4
"""How far from an integer 255 x may be: three times what float32 rounds, in x and in the product."""

_SHORTENED = torch.linspace(1.0, 0.8, 41, dtype=torch.float64).tolist()
"""Factors of an offset whose rounding is tried, longest first."""


def off_levels(images: Float[Tensor, "batch *shape"]) -> Bool[Tensor, "batch *shape"]:
    """Return where a pixel is no k / 255."""
    scaled = images * LEVELS
    return (scaled - scaled.round()).abs() > _OFF


def on_levels(images: Float[Tensor, "batch *shape"]) -> Float64[Tensor, "batch *shape"]:
    """Return the nearest k / 255 of every pixel, in float64: distances between 8-bit images are taken of these."""
    return (images.double() * LEVELS).round() / LEVELS


def round_within(
    points: Float[Tensor, "batch *shape"],
    center: Float[Tensor, "batch *shape"],
    norm: NormLike,
    epsilons: Float64[Tensor, " batch"],
) -> Float[Tensor, "batch *shape"]:
    """Return 8-bit images near points, within their epsilons of 8-bit images.

    The offsets from center, times the largest of 41 factors from 1 to 0.8 with which it stays within epsilon, are
    rounded to the nearest levels; where none does, they are rounded towards center, which shortens every one.

    Args:
        points: within epsilon of center and in [0, 1].
        center: 8-bit images.
        norm: of the ball.
        epsilons: its radius around each image.
    """
    origin = on_levels(center)
    offset = (points.double() - origin) * LEVELS
    chosen = origin + offset.trunc() / LEVELS
    pending = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for factor in _SHORTENED:
        rounded = origin + (factor * offset).round() / LEVELS
        taken = pending & (distance(rounded, origin, norm) <= epsilons * (1.0 + LAST))
        chosen = torch.where(taken.view(-1, *[1] * (points.ndim - 1)), rounded, chosen)
        pending = pending & ~taken
    return on_levels(chosen).to(points.dtype)
