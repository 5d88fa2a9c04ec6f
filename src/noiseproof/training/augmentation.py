"""Mirrored, shifted and deformed copies of the training images."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from noiseproof.randomness import RandomSource

__all__ = ["deform", "flip_and_crop"]

_BORDER = 4
"""Pixels of border that a crop may reach into, as usual for 32 x 32 pixels."""

_ANGLE = math.radians(10.0)
_SCALE = 0.1
_SHEAR = 0.1
_SHIFT = 1.0
_KNOTS = 5
_BEND = 0.75
"""Of `deform`: strokes of 28 x 28 pixels are bent visibly, and no digit looks like another (chosen by eye)."""


def flip_and_crop(
    images: Float[Tensor, "batch channels height width"], source: RandomSource
) -> Float[Tensor, "batch channels height width"]:
    """Mirror every image with probability 1/2, and crop it at random after padding by 4 black pixels."""
    count, _, height, width = images.shape
    draws = source.uniform(images.new_empty((count, 3)))
    flipped = torch.where((draws[:, 0] < 0.5)[:, None, None, None], images.flip(3), images)
    top, left = (draws[:, 1:] * (2 * _BORDER + 1)).long().clamp_(max=2 * _BORDER).T
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    padded = F.pad(flipped, [_BORDER] * 4)
    which = torch.arange(count, device=images.device)
    cut: Tensor = padded.movedim(1, 3)[which[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut.movedim(3, 1).contiguous()


def deform(
    images: Float[Tensor, "batch channels height width"], source: RandomSource
) -> Float[Tensor, "batch channels height width"]:
    """Rotate, scale, shear, shift and bend every image at random, as is common for handwriting (Simard et al. 2003).

    The pixel at v, relative to the centre, is read (bilinearly; black beyond the border) at A v + t + b(v): A rotates by
    up to 10 degrees, scales each axis by 0.9 to 1.1 and shears by up to 0.1, t is up to 1 pixel along each axis, all
    uniform; b is a cubic surface through 5 x 5 normal displacements of .75 pixels, which lie evenly over the image.
    """
    count, _, height, width = images.shape
    draws = 2.0 * source.uniform(images.new_empty((count, 6))) - 1.0
    bends = _BEND * source.normal(images.new_empty((count, 2, _KNOTS, _KNOTS)))
    angle, scale_x, scale_y, shear, shift_x, shift_y = draws[..., None, None].unbind(1)
    cosine, sine = (_ANGLE * angle).cos(), (_ANGLE * angle).sin()
    y, x = (torch.arange(size, device=images.device) - (size - 1) / 2 for size in (height, width))
    across = (1.0 + _SCALE * scale_x) * (x + _SHEAR * shear * y[:, None])
    down = (1.0 + _SCALE * scale_y) * y[:, None]
    bend_x, bend_y = F.interpolate(bends, (height, width), mode="bicubic", align_corners=True).unbind(1)
    read_x = cosine * across - sine * down + _SHIFT * shift_x + bend_x
    read_y = sine * across + cosine * down + _SHIFT * shift_y + bend_y
    grid = torch.stack([2.0 * read_x / width, 2.0 * read_y / height], dim=3)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
