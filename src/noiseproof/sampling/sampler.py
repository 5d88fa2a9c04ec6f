"""The base of all samplers: noisy copies of images, each a pure function of (seed, image, phase, sample)."""

from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.noises import Noise
from noiseproof.randomness import RandomSource, Seed, as_seed
from noiseproof.sampling.rows import Rows
from noiseproof.sampling.words import generator_of

__all__ = ["FloatSampler", "Sampler"]

_FEW = 32
"""Spans a batch up to which a sum for each is faster on a CPU than copying the images into every row first."""


class Sampler(ABC):
    """Line 3 of Algorithm 1 for a batch of rows: x + z.

    The copy in a row is a function of the image, the seed and the row's (index, phase, sample) alone: never of the
    batch it is drawn in, the order, the number of threads or processes, or a resume.

    Args:
        noise: the noise distribution.
        seed: key of all noise.

    Raises:
        InvalidInputError: seed is neither an integer from 0 to 2**64 - 1 nor a secret key that is known.
        MissingExtraError: a secret key without the extra `chacha20`.
    """

    transformation: ClassVar[str]
    """What makes noise of random words, and where: the second part of `name`."""

    generator: ClassVar[str | None] = None
    """What draws the words, where it is not the generator of `random_words`."""

    def __init__(self, noise: Noise, seed: Seed) -> None:
        self.noise = noise
        self.seed = as_seed(seed)
        self.name = f"{self.generator or generator_of(self.seed)}-{self.transformation}"
        """For records: equal names, equal noise. Generator, transformation, where it runs."""

    def require_images(self, images: Float[Tensor, "images *shape"]) -> None:  # noqa: B027 - most accept all
        """Raise `InvalidInputError` where the sampler cannot add noise to these images."""

    @abstractmethod
    def fill(self, batch: Float[Tensor, "batch *shape"], images: Float[Tensor, "images *shape"], rows: Rows) -> None:
        """Write the noisy copies into the first len(rows) rows of a batch.

        Args:
            batch: the batch, in any memory format, on the device of the images.
            images: the clean images, float32 in [0, 1]; nothing is clipped.
            rows: which copies.
        """


class FloatSampler(Sampler):
    """Noisy copies in floating point: the noise transforms standard draws, and is added to the pixels."""

    @final
    def fill(self, batch: Float[Tensor, "batch *shape"], images: Float[Tensor, "images *shape"], rows: Rows) -> None:
        """Write x + z, rounded to float32."""
        like = images[:1].expand(len(rows), *images.shape[1:])
        noise = self.noise.draw(like, self.source(rows))
        if rows.device.type != "cpu" or len(rows.spans) > _FEW:
            torch.add(images.index_select(0, rows.image), noise, out=batch[: len(rows)])
            return
        row = 0
        for span in rows.spans:  # the same sums without a copy of the images
            part = slice(row, row + span.count)
            torch.add(images[span.image], noise[part], out=batch[part])
            row += span.count

    @abstractmethod
    def source(self, rows: Rows) -> RandomSource:
        """Return the source of standard draws for these rows; each of its calls returns independent draws."""
