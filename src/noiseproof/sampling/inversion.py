"""The law of round(255 z) by exact inversion: which integer a uniform number of unlimited precision stands for."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import cache, cached_property, lru_cache, partial

import mpmath
import numpy as np
import torch
from jaxtyping import Bool, Int, UInt32
from torch import Tensor

from noiseproof.noises import Noise
from noiseproof.perturbations.levels import LEVELS

__all__ = ["Inversion"]

_WORD = 32
"""Bits of a uniform number that come at a time."""

_CELLS = 2**16
"""Cells of the table that decides most numbers by their first 16 bits: 128 KiB, which stays in the cache of a core."""

_SMALL = 2**13
"""Largest noise in a table of 16-bit integers; beyond it, at sigma over 5, they have 32 bits."""

_EXTRA = 96
"""Bits of precision beyond those of a threshold: its floor is wrong only if as many digits of F are all 0 or all 1."""


class Inversion:
    """N = min{j : U < F((j + 1/2) / 255)}, F the distribution function of one coordinate of the noise.

    U in [0, 1) is given by its binary digits, 32 bits (a word) at a time. With u the first b bits as an integer and
    T_j = floor(2^b F((j + 1/2) / 255)),

        T_j < u implies F((j + 1/2) / 255) <= U,        T_j > u implies F((j + 1/2) / 255) > U,

    and only T_j = u leaves it open: then another word is drawn. So N follows the law exactly. The first word decides
    all but about one number in 10^6; the T_j come from arithmetic with 96 more digits than they have.

    Args:
        noise: with `cumulative`.

    Raises:
        InvalidInputError: the noise has no `cumulative`.
    """

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self._threshold = lru_cache(maxsize=2**14)(self._compute_threshold)
        self._first, bounds = self._table(_WORD)
        self._bounds: UInt32[np.ndarray, " bounds"] = np.array(bounds, dtype=np.uint32)
        self._places = np.searchsorted(self._bounds, np.arange(_CELLS, dtype=np.uint64) << 16)
        reach = max(-self._first, self._first + len(bounds))
        kind = np.iinfo(np.int16 if reach <= _SMALL else np.int32)
        self._cells = (self._first + self._places).astype(kind.dtype)
        self._open, self._most = int(kind.min), int(kind.max) - LEVELS  # the most leaves room for a pixel
        self._cells[self._bounds >> 16] = self._open  # 0.8 % of numbers at sigma = 0.25, 3 % at sigma = 1

    @staticmethod
    @cache
    def of(noise: Noise) -> "Inversion":
        """Return the one of this noise; its table takes about 0.1 s, once a process."""
        return Inversion(noise)

    def of_words(
        self, words: UInt32[np.ndarray, "samples numbers"], digits: Callable[[int, int], Iterator[int]]
    ) -> Int[np.ndarray, "samples numbers"]:
        """Return N of each number, in integers of 16 bits where they are small enough, and 32 otherwise.

        Args:
            words: the first word of each number.
            digits: returns all words of the number at (sample, number), the first included.

        Raises:
            OverflowError: N does not fit, which has a probability below 1e-35.
        """
        cells = (words >> 16).astype(np.intp)
        noise = self._cells.take(cells)
        flat = noise.reshape(-1)  # a view
        at = np.flatnonzero(flat == self._open)
        undecided, places = words.reshape(-1).take(at), self._places.take(cells.reshape(-1).take(at))
        places += self._bounds.take(places) < undecided  # most cells have one bound
        more = np.flatnonzero(self._bounds.take(places) < undecided)
        places[more] = np.searchsorted(self._bounds, undecided[more])
        flat[at] = self._first + places
        for place in at[self._bounds.take(places) == undecided].tolist():
            flat[place] = self._checked(self.decide(digits(*divmod(place, words.shape[1]))))
        return noise

    def of_pairs(
        self, high: Int[Tensor, "*shape"], low: Int[Tensor, "*shape"]
    ) -> tuple[Tensor, Bool[Tensor, "*shape"]]:
        """Return N of each number from its first two words, int64 from 0 to 2^32 - 1, and where these do not decide."""
        first, bounds = self._pairs
        bounds = bounds.to(high.device)
        number = _signed(high << _WORD | low)
        places = torch.searchsorted(bounds, number)
        return places + first, bounds[places] == number

    def decide(self, words: Iterator[int]) -> int:
        """Return N of the number with these words, drawing as many as it takes."""
        number = bits = 0
        for word in words:
            number, bits = number << _WORD | word, bits + _WORD
            reach = self._reach(bits)
            integers, threshold = range(-reach, reach + 1), partial(self._threshold, bits=bits)
            below, upto = (cut(integers, number, key=threshold) for cut in (bisect_left, bisect_right))
            if below == upto:
                return integers[0] + below
        raise ValueError("words ended before they decided")

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
    def _pairs(self) -> tuple[int, Int[Tensor, " bounds"]]:
        """The table of 64 bits, ordered as signed integers, which is all that torch can search."""
        first, bounds = self._table(2 * _WORD)
        return first, _signed(torch.from_numpy(np.array(bounds, dtype=np.uint64).view(np.int64)))

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


def _signed(number: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Map 64-bit words, read as unsigned, to signed integers in the same order."""
    return number ^ torch.iinfo(torch.int64).min
