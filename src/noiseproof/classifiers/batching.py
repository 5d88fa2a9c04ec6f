"""The size of batches: its default, and halving it when memory runs out."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.errors import OutOfMemoryError

__all__ = ["BatchSize", "default_batch_size", "filled_up"]

_PIXELS_PER_BATCH = 2**21
_GPU_TIMES = 8

_SMALLEST = 32
"""Rows of a small batch: a network takes hardly less time for fewer, and `BaseClassifier.probe` needs other rows."""


def default_batch_size(image_shape: Sequence[int], device: torch.device | None = None) -> int:
    """Choose about two million pixels a batch, a power of two from 32 to 1024 images; on a GPU up to eight times as many.

    Measured on two cores: networks for 28 x 28 and 32 x 32 pixels are as fast from 256 images on, in every precision,
    and int8 a tenth slower at 128; the digits network loses a third at 4096. The fixed cost of a batch weighs less in
    a larger one. Memory limits batches of large images: 32 of 224 x 224 x 3 pixels. On an H100 votes of two networks
    for 28 x 28 are 8 to 14 % faster with 4096 images a batch than with 1024 in float32 (12 to 45 % in bfloat16) and up
    to 4 % more with 8192, and gradients 1.3 to 2.3 times as fast with 8192.

    Args:
        image_shape: of one image.
        device: where it runs; None is the CPU.
    """
    times = _GPU_TIMES if device is not None and device.type == "cuda" else 1
    images = times * _PIXELS_PER_BATCH // max(1, int(np.prod(image_shape)))
    return int(np.clip(2 ** int(np.log2(max(1, images))), 32, 1024 * times))


class BatchSize:
    """The number of images in a batch, halved whenever a batch of that size does not fit the memory.

    Args:
        images: the size to begin with.
        fixed: whether no other size is accepted.
        one_shape: whether all batches are filled up to that size, however few images there are.
        told: called with the new size after every halving.
    """

    def __init__(
        self,
        images: int,
        *,
        fixed: bool = False,
        one_shape: bool = True,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.images = images
        self._fixed, self._one_shape, self._told = fixed, fixed or one_shape, told

    def holding(self, rows: int) -> int:
        """Return the batch size for so many rows: the smallest power of two from 32 on that holds them, up to `images`.

        Powers of two keep the number of different shapes small, for libraries that prepare each one. With `one_shape`
        it is always `images`.
        """
        if self._one_shape:
            return self.images
        return min(self.images, max(_SMALLEST, 1 << max(rows - 1, 0).bit_length()))

    def halve(self, error: OutOfMemoryError) -> None:
        """Halve the size, rounding up.

        Raises:
            OutOfMemoryError: the error, where the size is fixed or is one image already.
        """
        if self.images == 1 or self._fixed:
            raise error
        self.images = -(-self.images // 2)
        self._told(self.images)


def filled_up(rows: Float[Tensor, "rows *shape"], size: int) -> Float[Tensor, "size *shape"]:
    """Return a batch of `size` rows, the last one repeated: for backends that accept no other size.

    Args:
        rows: at least one, `size` at most.
        size: of the batch.
    """
    missing = size - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows
