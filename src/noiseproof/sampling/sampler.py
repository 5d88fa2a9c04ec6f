"""What every sampler gives: the noisy copies of images, each a pure function of (seed, image, phase, sample)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from noiseproof.noises import Noise
from noiseproof.randomness import Phase, RandomSource, require_seed

__all__ = ["FloatSampler", "Rows", "Sampler", "Span"]

_FEW = 32
"""Spans a batch up to which a sum for each is faster on a CPU than copying the images into every row first."""


@dataclass(frozen=True)
class Span:
    """Consecutive samples of one image, which fill consecutive rows of a batch.

    Attributes:
        image: position of the image among those that are sampled together.
        index: key of the image's noise, usually its index in the data set.
        phase: what the votes are for.
        first: number of the first sample.
        count: how many samples.
    """

    image: int
    index: int
    phase: Phase
    first: int
    count: int


@dataclass(frozen=True)
class Rows:
    """The rows of one batch.

    Attributes:
        spans: what they are, in order.
        device: where the batch is.
    """

    spans: Sequence[Span]
    device: torch.device

    def __len__(self) -> int:
        return sum(span.count for span in self.spans)

    @cached_property
    def image(self) -> Int[Tensor, " rows"]:
        """The position of every row's image."""
        return self.each([span.image for span in self.spans])

    @cached_property
    def index(self) -> Int[Tensor, " rows"]:
        """The key of every row's noise, as the signed integer with its 64 bits."""
        return self.each([span.index - (span.index >> 63 << 64) for span in self.spans])

    @cached_property
    def phase(self) -> Int[Tensor, " rows"]:
        """The phase of every row."""
        return self.each([int(span.phase) for span in self.spans])

    @cached_property
    def sample(self) -> Int[Tensor, " rows"]:
        """The number of every row's sample."""
        begins = accumulate((span.count for span in self.spans), initial=0)
        offsets = [span.first - begin for span, begin in zip(self.spans, begins, strict=False)]
        return self.each(offsets) + torch.arange(len(self), device=self.device)

    def each(self, values: Sequence[int]) -> Int[Tensor, " rows"]:
        """Give every row the value of its span. The copy to a GPU does not wait for it."""
        counts = torch.tensor([span.count for span in self.spans])
        repeated = torch.tensor(values, dtype=torch.int64).repeat_interleave(counts)
        return repeated.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else repeated


class Sampler(ABC):
    """Line 3 of Algorithm 1 for a batch of rows: x + z.

    The copy in a row is a function of the image, the seed and the row's (index, phase, sample) alone: never of the
    batch it is drawn in, the order, the number of threads or processes, or a resume.

    Args:
        noise: which noise.
        seed: key of all noise, 0 to 2**64 - 1.

    Raises:
        InvalidInputError: seed is not such an integer.
    """

    name: ClassVar[str]
    """For records: equal names, equal noise. Generator, transformation, where it runs."""

    def __init__(self, noise: Noise, seed: int) -> None:
        require_seed(seed)
        self.noise = noise
        self.seed = int(seed)

    def require_images(self, images: Float[Tensor, "images *shape"]) -> None:  # noqa: B027 - most accept all
        """Raise `InvalidInputError` where the sampler cannot add noise to these images."""

    @abstractmethod
    def fill(self, batch: Float[Tensor, "batch *shape"], images: Float[Tensor, "images *shape"], rows: Rows) -> None:
        """Write the noisy copies into the first len(rows) rows of a batch.

        Args:
            batch: where to, any memory format, on the device of the images.
            images: the clean images, float32 in [0, 1]; nothing is clipped.
            rows: which copies.
        """


class FloatSampler(Sampler):
    """Copies in floating point: a keyed source of standard draws, shaped by the noise, added to the pixels."""

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
        """Return the standard draws of these rows; every draw is used once, the next call is independent of it."""
