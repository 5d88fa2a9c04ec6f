"""Noise drawn where the network runs: Philox in torch's integer arithmetic, a counter position for every four numbers."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise
from noiseproof.randomness import RandomSource, Seed, public_seed, require_seed
from noiseproof.sampling.philox import generator_for, key_schedule, philox4x32
from noiseproof.sampling.rows import Rows
from noiseproof.sampling.sampler import FloatSampler

__all__ = ["DeviceSampler"]

_WORD = 2**32


class DeviceSampler(FloatSampler):
    """Noise from Philox4x32-10 (Salmon et al. 2011), on any device of torch, bitwise equal on devices of one kind.

    The key is the seed's two halves; the counter is (q, sample, image, phase + 2^8 draw) for the numbers 4q to 4q + 3
    of a sample, where `draw` numbers the calls of the source. Its four 32-bit words w become

        uniform      floor(w / 2^8) / 2^24
        exponential  -ln((w + 1/2) / 2^32)
        normal       sqrt(-2 ln((w + 1/2) / 2^32)) (cos t, sin t), t = 2 pi (w' / 2^32 - 1/2)     (Box and Muller 1958)

    The words are exact integers everywhere; logarithm, cosine and sine are the device's. On a GPU with Triton the
    integer part runs as one compiled kernel.

    Raises:
        InvalidInputError: an image index of 2**32 or more, which does not fit a word of the counter.
    """

    transformation: ClassVar[str] = "box-muller-torch"
    generator: ClassVar[str | None] = "philox4x32"

    def __init__(self, noise: Noise, seed: Seed) -> None:
        require_seed(seed)
        super().__init__(noise, seed)

    def source(self, rows: Rows) -> RandomSource:
        """Return the standard draws of these rows."""
        for span in rows.spans:
            if not 0 <= span.index < _WORD:
                raise InvalidInputError(
                    "image index", required="from 0 to 2**32 - 1", got=span.index, remedy="Number images from 0."
                )
        return _Source(public_seed(self.seed), rows)


class _Source(RandomSource):
    def __init__(self, seed: int, rows: Rows) -> None:
        self._keys = key_schedule(seed % _WORD, seed // _WORD).to(rows.device)
        self._rows = rows
        self._calls = 0

    def normal(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        a, angle_a, b, angle_b = self._words(like)
        parts = []
        for words, angle in ((a, angle_a), (b, angle_b)):
            radius = _log_uniform(words).mul_(-2.0).sqrt_()
            turn = angle.sub(2**31).to(torch.float32).mul_(math.pi * 2.0**-31)
            parts += [radius * turn.cos(), radius * turn.sin()]
        return _shaped(parts, like)

    def exponential(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return _shaped([_log_uniform(words).neg_() for words in self._words(like)], like)

    def uniform(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return _shaped([(words >> 8).to(torch.float32).mul_(2.0**-24) for words in self._words(like)], like)

    def _words(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        quads = torch.arange(-(-like[0].numel() // 4), device=like.device)
        call, self._calls = self._calls, self._calls + 1
        rows = self._rows
        counter = (quads[None], rows.sample[:, None], rows.index[:, None], (rows.phase + (call << 8))[:, None])
        return generator_for(like.device.type, philox4x32)(counter, self._keys)


def _log_uniform(words: Tensor) -> Tensor:
    """ln((w + 1/2) / 2^32): the uniform number is in (0, 1], and small ones keep their relative precision."""
    return words.to(torch.float32).add_(0.5).mul_(2.0**-32).log_()


def _shaped(parts: list[Tensor], like: Tensor) -> Tensor:
    """Put number 4q + j at the place of part j, row q."""
    drawn = torch.stack(parts, dim=-1).flatten(1)[:, : like[0].numel()]
    return drawn.reshape(like.shape).to(like.dtype)
