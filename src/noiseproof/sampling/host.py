"""Noise drawn on the CPU, with random access to samples, in up to half as many threads as torch uses."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.randomness import RandomSource, Seed, require_word
from noiseproof.sampling.rows import Rows, Span
from noiseproof.sampling.sampler import FloatSampler
from noiseproof.sampling.words import random_words

__all__ = ["HostSampler", "host_source", "in_pieces"]

_Words = np.ndarray
_Transform = Callable[[_Words, np.ndarray], None]

_PIECE = 2**16
"""Numbers a thread draws at once: the words and two intermediate results fit the cache of a core."""

_CORES_PER_THREAD = 2
"""Torch's own threads spin for a while after every layer: on two cores a second thread for noise made it slower."""


class HostSampler(FloatSampler):
    """Noise from the 32-bit words of `random_words`, bitwise equal on every processor of one kind.

    Their `draw` is the number of the call of the source. The words w of a sample become

        uniform      floor(w / 2^8) / 2^24
        exponential  -ln((w + 1/2) / 2^32)
        normal       sqrt(-2 ln((w + 1/2) / 2^32)) (cos t, sin t), t = 2 pi w' / 2^32       (Box and Muller 1958)

    in float32, with w from the first half of the sample's words and w' from the second. The largest normal
    numbers are 6.7 standard deviations. Drawing takes 4 to 5 ns a number on one core, under half of a rejection method
    (`benchmarks/noise.py`).

    NumPy computes ln, cos and sin in float32 with the vector instructions of the processor; another instruction set may
    round the last bit differently. Torch's own CPU generator is not used: it keeps only the low 32 bits of a seed (1
    and 1 + 2**32 give the same draws) and its float32 normals end near 5.77 standard deviations. Philox is a
    statistical generator, not a cryptographic one; ChaCha20, under a secret key, is.
    """

    transformation: ClassVar[str] = "box-muller-cpu"

    def source(self, rows: Rows) -> RandomSource:
        """Return the standard draws of these rows."""
        return host_source(self.seed, rows)


def host_source(seed: Seed, rows: Rows) -> RandomSource:
    """Return the standard draws of rows, by the generator of `HostSampler`; every call of the source draws anew."""
    for span in rows.spans:
        require_word("image index", span.index)
    return _Source(seed, rows)


class _Source(RandomSource):
    def __init__(self, seed: Seed, rows: Rows) -> None:
        self._seed = seed
        self._rows = rows
        self._calls = 0

    def normal(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._draw(like, _normal)

    def exponential(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._draw(like, _exponential)

    def uniform(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._draw(like, _uniform)

    def _draw(self, like: Tensor, transform: _Transform) -> Tensor:
        numbers = like[0].numel()
        out = np.empty((len(self._rows), numbers), dtype=np.float32)
        call, self._calls = self._calls, self._calls + 1

        def fill(span: Span, where: slice) -> None:
            transform(random_words(self._seed, span, numbers, call), out[where])

        in_pieces(fill, self._rows, numbers)
        return torch.from_numpy(out).reshape(like.shape).to(like.device, like.dtype)


def in_pieces(fill: Callable[[Span, slice], None], rows: Rows, numbers: int, piece: int = _PIECE) -> None:
    """Call `fill` for pieces of the rows, of about so many numbers each, in threads; it writes its rows alone."""
    pieces = list(_pieces(rows, max(1, piece // max(1, numbers))))
    threads = min(torch.get_num_threads() // _CORES_PER_THREAD, len(pieces))
    for _ in (_pool(threads).map if threads > 1 else map)(fill, *zip(*pieces, strict=True)):
        pass


def _pieces(rows: Rows, most: int) -> Iterator[tuple[Span, slice]]:
    """Cut spans into pieces of at most so many samples, each with its rows."""
    row = 0
    for span in rows.spans:
        for first in range(0, span.count, most):
            count = min(most, span.count - first)
            yield Span(span.image, span.index, span.phase, span.first + first, count), slice(row, row + count)
            row += count


def _uniform(words: _Words, out: np.ndarray) -> None:
    np.multiply((words >> 8)[:, : out.shape[1]], np.float32(2.0**-24), out=out, casting="unsafe")


def _exponential(words: _Words, out: np.ndarray) -> None:
    np.negative(_log_uniform(words[:, : out.shape[1]]), out=out)


def _normal(words: _Words, out: np.ndarray) -> None:
    half = words.shape[1] // 2
    radius = _log_uniform(words[:, :half])
    radius *= np.float32(-2.0)
    np.sqrt(radius, out=radius)
    angle = words[:, half:].view(np.int32).astype(np.float32)
    angle *= np.float32(np.pi * 2.0**-31)
    cosines = min(half, out.shape[1])
    np.multiply(radius[:, :cosines], np.cos(angle[:, :cosines]), out=out[:, :cosines])
    sines = out.shape[1] - cosines
    np.multiply(radius[:, :sines], np.sin(angle[:, :sines]), out=out[:, cosines:])


def _log_uniform(words: _Words) -> np.ndarray:
    """ln((w + 1/2) / 2^32): the uniform number is in (0, 1], and small ones keep their relative precision."""
    values = words.astype(np.float32)
    values += np.float32(0.5)
    values *= np.float32(2.0**-32)
    return np.asarray(np.log(values, out=values))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="noiseproof-noise")


if hasattr(os, "register_at_fork"):  # a child has no threads: it makes its own pool
    os.register_at_fork(after_in_child=_pool.cache_clear)
