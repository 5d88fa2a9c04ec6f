"""Which noisy copies are the rows of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from jaxtyping import Int
from torch import Tensor

from noiseproof.randomness import Phase

__all__ = ["Rows", "Span"]


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
        spans: the samples in the rows, in order.
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
        """Repeat the value of each span for its rows. The copy to a GPU is asynchronous."""
        counts = torch.tensor([span.count for span in self.spans])
        repeated = torch.tensor(values, dtype=torch.int64).repeat_interleave(counts)
        return repeated.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else repeated
