"""Mirrored and shifted copies of the training images."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from noiseproof.randomness import RandomSource

__all__ = ["flip_and_crop"]

_BORDER = 4
"""Pixels of border that a crop may reach into, as usual for 32 x 32 pixels."""


def flip_and_crop(
    images: Float[Tensor, "batch channels height width"], source: RandomSource
) -> Float[Tensor, "batch channels height width"]:
    """Mirror every image with probability 1/2, and cut it at random out of itself with 4 black pixels around it."""
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
