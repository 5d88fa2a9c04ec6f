"""The law of round(255 z) by exact inversion: which integer a uniform number of unlimited precision stands for."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import cache, cached_property, lru_cache, partial

import mpmath
import numpy as np
import torch
from jaxtyping import Bool, Int, Int64, UInt16, UInt32
from torch import Tensor

from noiseproof.noises import Noise
from noiseproof.perturbations.levels import LEVELS

__all__ = ["Inversion"]

_WORD = 32
"""Bits of a uniform number that come at a time, after the first."""

_FIRST = 16
"""Bits that come first, and decide most numbers by a table: 128 KiB of it stay in the cache of a core."""

_BITS = _FIRST + _WORD
"""Bits that decide all but about one number in 10^11."""

_SMALL = 2**13
"""Largest noise in a table of 16-bit integers; beyond it, at sigma over 5, they have 32 bits."""

_EXTRA = 96
"""Bits of precision beyond those of a threshold: its floor is wrong only if as many digits of F are all 0 or all 1."""


class Inversion:
    """N = min{j : U < F((j + 1/2) / 255)}, F the distribution function of one coordinate of the noise.

    U in [0, 1) is given by its binary digits: 16 bits, then 32 (a word) at a time. With u the first b bits as an
    integer and T_j = floor(2^b F((j + 1/2) / 255)),

        T_j < u implies F((j + 1/2) / 255) <= U,        T_j > u implies F((j + 1/2) / 255) > U,

    and only T_j = u leaves it open: then a word is drawn. So N follows the law exactly. The first 16 bits decide 99.2 %
    of numbers at sigma = 0.25 and 97 % at sigma = 1; the T_j come from arithmetic with 96 more digits than they have.

    Args:
        noise: with `cumulative`.

    Raises:
        InvalidInputError: the noise has no `cumulative`.
    """

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self._threshold = lru_cache(maxsize=2**14)(self._compute_threshold)
        self._first, bounds = self._table(_BITS)
        self._bounds: Int64[np.ndarray, " bounds"] = np.array(bounds, dtype=np.int64)
        self._places = np.searchsorted(self._bounds, np.arange(2**_FIRST, dtype=np.int64) << _WORD)
        reach = max(-self._first, self._first + len(bounds))
        kind = np.iinfo(np.int16 if reach <= _SMALL else np.int32)
        self._cells = (self._first + self._places).astype(kind.dtype)
        self._open, self._most = int(kind.min), int(kind.max) - LEVELS  # the most leaves room for a pixel
        self._cells[self._bounds >> _WORD] = self._open
        self._open_cells: int = int((self._cells == self._open).sum())

    @staticmethod
    @cache
    def of(noise: Noise) -> "Inversion":
        """Return the one of this noise; its table takes about 0.1 s, once a process."""
        return Inversion(noise)

    def steps_after(self, numbers: int) -> int:
        """Return how many steps of a generator, of 8 words each, most samples of so many numbers need after the first bits.

        A third more than are needed on average, and one: 1 + ceil(numbers P(open) / 6), in integers.
        """
        return 1 + -(-numbers * self._open_cells // (6 << _FIRST))

    def of_digits(
        self,
        first: UInt16[np.ndarray, "samples numbers"],
        after: Callable[[int], UInt32[np.ndarray, "samples words"]],
        last: Callable[[int, int], Iterator[int]],
    ) -> Int[np.ndarray, "samples numbers"]:
        """Return N of each number, in integers of 16 bits where they are small enough, and 32 otherwise.

        Args:
            first: the first 16 bits of each number.
            after: returns block 0, 1, ... of each sample's words; the r-th number that is still open, in the order of
                the sample, takes the r-th word.
            last: yields the words after those, of the number at (sample, number).

        Raises:
            OverflowError: N does not fit, which has a probability below 1e-35.
        """
        noise = self._cells.take(first.astype(np.intp))
        flat, numbers = noise.reshape(-1), noise.shape[1]  # a view
        at = np.flatnonzero(flat == self._open)
        samples = at // numbers
        begins = np.searchsorted(samples, np.arange(len(noise)))
        high, number = first.reshape(-1).take(at), self._joined(samples, np.arange(len(at)) - begins[samples], after)
        number |= high.astype(np.int64) << _WORD
        places = self._places.take(high)
        places += self._bounds.take(places) < number  # most cells have one bound
        more = np.flatnonzero(self._bounds.take(places) < number)
        places[more] = np.searchsorted(self._bounds, number[more])
        flat[at] = self._first + places
        for tie in np.flatnonzero(self._bounds.take(places) == number).tolist():
            flat[at[tie]] = self._checked(self.decide(int(number[tie]), last(*divmod(int(at[tie]), numbers))))
        return noise

    def of_first(self, first: Int[Tensor, "*shape"]) -> tuple[Tensor, Bool[Tensor, "*shape"]]:
        """Return N of each number from its first 16 bits, int64 from 0 to 65535, and where these leave it open."""
        noise = self._device_cells.to(first.device)[first]
        return noise, noise == self._open

    def of_bits(self, number: Int[Tensor, " numbers"]) -> tuple[Tensor, Bool[Tensor, " numbers"]]:
        """Return N of each number from its first 48 bits, int64, and where these leave it open."""
        bounds = self._device_bounds.to(number.device)
        places = torch.searchsorted(bounds, number)
        return places + self._first, bounds[places] == number

    def decide(self, number: int, words: Iterator[int]) -> int:
        """Return N of the number with these first 48 bits, drawing as many words after them as it takes."""
        bits = _BITS
        while True:  # ends with probability 1
            reach = self._reach(bits)
            integers, threshold = range(-reach, reach + 1), partial(self._threshold, bits=bits)
            below, upto = (cut(integers, number, key=threshold) for cut in (bisect_left, bisect_right))
            if below == upto:
                return integers[0] + below
            number, bits = number << _WORD | next(words), bits + _WORD

    @staticmethod
    def _joined(
        samples: Int[np.ndarray, " open"], ranks: Int[np.ndarray, " open"], after: Callable[[int], np.ndarray]
    ) -> Int64[np.ndarray, " open"]:
        """Return the word of each open number: that of its rank in its sample."""
        words = after(0)
        width = words.shape[1]
        found: Int64[np.ndarray, " open"] = words[samples, ranks % width].astype(np.int64)
        for block in range(1, 1 + int(ranks.max(initial=0)) // width):  # few samples have as many
            beyond = ranks // width == block
            found[beyond] = after(block)[samples[beyond], ranks[beyond] % width]
        return found

    def _checked(self, noise: int) -> int:
        """Return an integer that fits the integers of the table, or raise OverflowError."""
        if abs(noise) > self._most:
            raise OverflowError(f"noise of {noise} / 255 from {self._noise}")
        return noise

    def _table(self, bits: int) -> tuple[int, list[int]]:
        """Return the last integer whose T_j is 0, and T_j from there to the first that is 2^b - 1 or more, cut to it."""
        reach, top = self._reach(bits), 2**bits - 1
        integers, threshold = range(-reach, reach + 1), partial(self._threshold, bits=bits)
        first = integers[bisect_left(integers, 1, key=threshold) - 1]
        last = integers[bisect_left(integers, top, key=threshold)]
        return first, [min(threshold(j), top) for j in range(first, last + 1)]

    @cached_property
    def _device_cells(self) -> Int[Tensor, " cells"]:
        return torch.from_numpy(self._cells.astype(np.int64))

    @cached_property
    def _device_bounds(self) -> Int[Tensor, " bounds"]:
        return torch.from_numpy(self._bounds)

    @cache  # noqa: B019 - as many as there are word counts
    def _reach(self, bits: int) -> int:
        """Return an integer beyond which T_j is 0 on the left, and 2^b - 1 or more on the right."""
        reach = 1
        while self._threshold(-reach, bits) > 0 or self._threshold(reach, bits) < 2**bits - 1:
            reach *= 2
        return reach

    def _compute_threshold(self, j: int, bits: int) -> int:
        """T_j = floor(2^bits F((j + 1/2) / 255))."""
        with mpmath.workprec(bits + _EXTRA):
            return int(mpmath.floor(mpmath.ldexp(self._noise.cumulative(mpmath.mpf(2 * j + 1) / (2 * LEVELS)), bits)))
