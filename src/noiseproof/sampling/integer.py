"""Exact noise for 8-bit images: integers, so that no rounding error of the sum reaches the classifier."""

from collections.abc import Iterator
from itertools import count
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt32
from torch import Tensor

from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise
from noiseproof.perturbations.levels import LEVELS, off_levels
from noiseproof.randomness import Phase, SecretKey, Seed, require_word
from noiseproof.sampling import EXACT
from noiseproof.sampling.host import in_pieces
from noiseproof.sampling.inversion import Inversion
from noiseproof.sampling.philox import generator_for, key_schedule_64, philox4x64
from noiseproof.sampling.rows import Rows, Span
from noiseproof.sampling.sampler import Sampler
from noiseproof.sampling.words import random_words

__all__ = ["IntegerSampler"]

_LOW, _LOW_HALF = 2**32 - 1, 2**16 - 1


_PIECE = 2**17
"""Numbers that a thread draws at a time: more small steps than in floating point want larger pieces."""

_Words = UInt32[np.ndarray, "samples words"]
"""Made once: to make such a type takes as long as to draw 10^4 numbers."""


class IntegerSampler(Sampler):
    """Noisy copies (k + N) / 255 of the pixel k / 255 of an 8-bit image, with N drawn from the exact law of round(255 z).

    P(N <= j) = F((j + 1/2) / 255), with F the distribution function of the noise z. N is the inverse of this function
    at a uniform number U, whose binary digits come from `random_words`: the
    first 16 bits at the number's place in draw 0; for the few numbers that these leave open, 32 more at their rank
    among the sample's open ones, in draws 1, 2, ... of `Inversion.steps_after` steps a sample; for a number that is
    open still, 32 at a time at its place in draws 2^32, 2^32 + 1, ... `Inversion` compares exactly: if the words are
    uniform, N has its law without any error, and nothing has to be taken from p1 or added to p2. The sum k + N is an
    integer. The classifier receives (k + N) / 255, rounded to float32: a function of that integer alone.

    What this proves: x -> f(round(255 x) / 255) is a classifier of real inputs, and round(255 (k / 255 + z)) = k +
    round(255 z), ties aside, which have probability 0. So its certificates hold for every 8-bit x' within the radius,
    and cover the arithmetic that ran. The low bits of a floating-point sum x + z depend on x, and a classifier that
    reads them can be certified falsely (Jin et al. 2022; Voráček and Hein 2023).

    Pixels must be multiples of 1/255, up to float32 rounding; images with other pixels are refused.
    Copies are equal bit by bit on every processor and every GPU.

    Raises:
        InvalidInputError: the noise has no `cumulative`.
    """

    transformation: ClassVar[str] = EXACT

    def __init__(self, noise: Noise, seed: Seed) -> None:
        super().__init__(noise, seed)
        self._inversion = Inversion.of(noise)

    def require_images(self, images: Float[Tensor, "images *shape"]) -> None:
        """Raise `InvalidInputError` unless every pixel is some k / 255."""
        off = off_levels(images)
        if bool(off.any()):
            raise InvalidInputError(
                "images",
                required="8-bit pixels for the exact sampler: multiples of 1/255",
                got=f"{int(off.sum())} others, such as {images[off][0].item():.6g}",
                remedy="Round them to 8 bits, if such images are what the classifier is for, or take the float sampler.",
            )

    def fill(self, batch: Float[Tensor, "batch *shape"], images: Float[Tensor, "images *shape"], rows: Rows) -> None:
        """Write (k + N) / 255."""
        for span in rows.spans:
            require_word("image index", span.index)
        copies = batch[: len(rows)]
        on_host = rows.device.type == "cpu"
        if not on_host and not isinstance(self.seed, SecretKey):
            copies.copy_(self._on_device(images, rows, self.seed).view_as(copies))
        elif on_host and copies.is_contiguous():
            self._on_host(copies.view(len(rows), -1), images, rows)
        else:
            copies.copy_(self._on_host(torch.empty(copies.shape).view(len(rows), -1), images, rows).view(copies.shape))

    def _on_host(self, copies: Float[Tensor, "rows numbers"], images: Tensor, rows: Rows) -> Tensor:
        numbers, out = copies.shape[1], copies.numpy()
        pixels = {image: _levels(images[image]).ravel().numpy() for image in {span.image for span in rows.spans}}

        def fill(span: Span, where: slice) -> None:
            def after(block: int) -> _Words:
                return random_words(self.seed, span, self._width(numbers), 1 + block)

            def last(sample: int, number: int) -> Iterator[int]:
                return self._last_words(span.index, span.phase, span.first + sample, numbers, number)

            first = random_words(self.seed, span, -(-numbers // 2), 0).view(np.uint16)[:, :numbers]
            total = self._inversion.of_digits(first, after, last)
            total += pixels[span.image].astype(total.dtype)
            out[where] = total
            out[where] /= np.float32(LEVELS)

        in_pieces(fill, rows, numbers, _PIECE)
        return copies

    def _on_device(self, images: Tensor, rows: Rows, seed: int) -> Float[Tensor, "rows numbers"]:
        numbers, width = images[0].numel(), self._width(images[0].numel())
        words = _device_words(seed, rows, -(-numbers // 2), 0)
        first = torch.stack([words & _LOW_HALF, words >> 16], dim=-1).flatten(1)[:, :numbers]
        noise, open_ = self._inversion.of_first(first)
        ranks, (row, number) = open_.cumsum(1) - 1, open_.nonzero(as_tuple=True)
        ranks = ranks[row, number]
        blocks = 1 + (int(ranks.max()) // width if len(ranks) else 0)
        after = torch.cat([_device_words(seed, rows, width, 1 + block) for block in range(blocks)], dim=1)
        bits = first[row, number] << 32 | after[row, ranks]
        noise[row, number], ties = self._inversion.of_bits(bits)
        for tie in ties.nonzero()[:, 0].tolist():  # about once in 10^11 numbers
            at, place = int(row[tie]), int(number[tie])
            index, phase, sample = (int(of[at]) for of in (rows.index, rows.phase, rows.sample))
            words_after = self._last_words(index % 2**64, Phase(phase), sample, numbers, place)
            noise[at, place] = self._inversion.decide(int(bits[tie]), words_after)
        total = (_levels(images).flatten(1).index_select(0, rows.image) + noise).to(torch.float32)
        return total / torch.full_like(total[:1], LEVELS)  # by a number it would multiply by the inverse on a GPU

    def _width(self, numbers: int) -> int:
        """Return the words of a block, of which the open numbers of a sample of so many take theirs."""
        return 8 * self._inversion.steps_after(numbers)

    def _last_words(self, index: int, phase: Phase, sample: int, numbers: int, number: int) -> Iterator[int]:
        """Yield the words after the first 48 bits of one number of a sample of so many."""
        span = Span(0, index, phase, sample, 1)
        for draw in count(2**32):
            yield int(random_words(self.seed, span, numbers, draw)[0, number])


def _device_words(seed: int, rows: Rows, numbers: int, draw: int) -> Int[Tensor, "rows numbers"]:
    """Return the words that `random_words` returns for Philox, computed on the device of the rows."""
    steps = -(-numbers // 8)
    step = rows.sample[:, None] * steps + torch.arange(steps, device=rows.device) + 1
    rest = (torch.zeros_like(step[:1]), rows.phase[:, None], torch.full_like(step[:1], draw))
    keys = key_schedule_64(seed, rows.index[:, None])
    words = generator_for(rows.device.type, philox4x64)((step, *rest), keys)
    halves = [half for word in words for half in (word & _LOW, (word >> 32) & _LOW)]
    return torch.stack(halves, dim=-1).flatten(1)


def _levels(images: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Return k of pixels k / 255."""
    return (images * LEVELS).round().to(torch.int32)
