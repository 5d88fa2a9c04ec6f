"""8-bit images, with pixels k / 255, to which attacks on certificates for such images are restricted."""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from noiseproof.perturbations.balls import LAST, distance
from noiseproof.perturbations.norms import NormLike

__all__ = ["LEVELS", "off_levels", "on_levels", "round_within"]

LEVELS = 255
"""The largest value of an 8-bit pixel: x = k / 255."""

_OFF = 1e-4
"""Largest distance of 255 x from an integer: three times the float32 rounding error of x and of the product."""

_SHORTENED = torch.linspace(1.0, 0.8, 41, dtype=torch.float64).tolist()
"""Factors by which an offset is shortened before it is rounded, in the order in which they are tried."""


def off_levels(images: Float[Tensor, "batch *shape"]) -> Bool[Tensor, "batch *shape"]:
    """Whether each pixel differs from every k / 255 by more than the rounding of float32."""
    scaled = images * LEVELS
    return (scaled - scaled.round()).abs() > _OFF


def on_levels(images: Float[Tensor, "batch *shape"]) -> Float64[Tensor, "batch *shape"]:
    """Return the nearest k / 255 of every pixel, in float64, from which distances between 8-bit images are computed."""
    return (images.double() * LEVELS).round() / LEVELS


def round_within(
    points: Float[Tensor, "batch *shape"],
    center: Float[Tensor, "batch *shape"],
    norm: NormLike,
    epsilons: Float64[Tensor, " batch"],
) -> Float[Tensor, "batch *shape"]:
    """Return 8-bit images close to points and within epsilon of center.

    The offset from center is multiplied by the largest of 41 factors from 1 to 0.8 for which its rounding to the
    nearest levels stays within epsilon. If there is none, the offset is rounded towards center, which shortens every
    component.

    Args:
        points: images within epsilon of center and in [0, 1].
        center: 8-bit images.
        norm: norm of the ball.
        epsilons: radius of the ball around each image.
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
