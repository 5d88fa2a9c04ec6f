"""Sources of standard random numbers, and the keyed stream that makes every vote reproducible.

A noise distribution is written once, as a transformation of standard draws (`noises/`). Where the standard draws come
from is exchangeable: a torch generator while training, the keyed stream while certifying.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.errors import InvalidInputError

__all__ = ["Generator", "KeyedStream", "Phase", "RandomSource", "as_source", "require_seed"]

Generator = torch.Generator | np.random.Generator
"""What callers may pass as randomness; `None` stands for torch's global generator."""


class RandomSource(ABC):
    """Independent standard draws, shaped, typed and placed like a given tensor."""

    @abstractmethod
    def normal(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Draw N(0, 1)."""

    @abstractmethod
    def exponential(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Draw from the exponential distribution of mean 1."""

    @abstractmethod
    def uniform(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Draw uniformly from [0, 1)."""


@dataclass(frozen=True)
class _TorchSource(RandomSource):
    generator: torch.Generator | None

    def normal(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.empty_like(like).normal_(generator=self.generator)

    def exponential(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.empty_like(like).exponential_(generator=self.generator)

    def uniform(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.empty_like(like).uniform_(generator=self.generator)


@dataclass(frozen=True)
class _NumpySource(RandomSource):
    """NumPy's draws are made on the CPU, so they are the same whatever device they are moved to."""

    generator: np.random.Generator

    def normal(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return _as(like, self.generator.standard_normal(tuple(like.shape), dtype=_numpy_dtype(like)))

    def exponential(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return _as(like, self.generator.standard_exponential(tuple(like.shape), dtype=_numpy_dtype(like)))

    def uniform(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return _as(like, self.generator.random(tuple(like.shape), dtype=_numpy_dtype(like)))


def _numpy_dtype(like: Tensor) -> type[np.float32 | np.float64]:
    return np.float64 if like.dtype == torch.float64 else np.float32


def _as(like: Tensor, draws: np.ndarray) -> Tensor:
    return torch.from_numpy(draws).to(like.device, like.dtype)


def as_source(generator: Generator | None) -> RandomSource:
    """Wrap a torch or NumPy generator (`None`: torch's global one) as a source of standard draws."""
    return _NumpySource(generator) if isinstance(generator, np.random.Generator) else _TorchSource(generator)


class Phase(IntEnum):
    """What a vote is for. Votes of different phases never share noise."""

    CERTIFY = 0
    SELECT = 1


@dataclass(frozen=True)
class KeyedStream:
    """The randomness of one certification: noise as a pure function of (seed, image, phase, sample).

    Samples come in blocks of `BLOCK`. Block b of image i is drawn from NumPy's Philox4x64-10, keyed by (seed, i), with
    its 256-bit counter starting at (0, 0, phase, b); only the first word ever advances, so no two blocks overlap.
    Sample s is row s mod BLOCK of block s // BLOCK, and a shorter request is a prefix of a longer one. Batch size,
    order, device, worker and resume therefore never change the noise.

    Torch's own CPU generator is not used: it keeps only the low 32 bits of a seed (seeds 1 and 1 + 2**32 give the same
    draws), so keys for many images and blocks would collide, and its float32 normals end near 5.77 standard deviations.
    Philox is a statistical generator, not a cryptographic one.
    """

    seed: int

    BLOCK = 64
    """Samples per block: enough to hide the 10 microseconds a block costs to set up, few enough that a block of
    224 x 224 colour images stays below 40 MB."""

    def __post_init__(self) -> None:
        require_seed(self.seed)

    def generator(self, image: int, phase: Phase, block: int) -> np.random.Generator:
        """Return the generator of one block, at its beginning."""
        _require_word("image index", image)
        key = np.array([self.seed, image], dtype=np.uint64)
        counter = np.array([0, 0, phase, block], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))

    def blocks(self, image: int, phase: Phase, samples: int) -> Iterator[tuple[np.random.Generator, int]]:
        """Yield, in order, the generator of each block and how many samples to draw from it."""
        for block, start in enumerate(range(0, samples, self.BLOCK)):
            yield self.generator(image, phase, block), min(self.BLOCK, samples - start)


def require_seed(seed: object) -> None:
    """Raise `InvalidInputError` unless seed is an integer from 0 to 2**64 - 1."""
    _require_word("seed", seed)


def _require_word(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**64:
        raise InvalidInputError(
            name, required="an integer from 0 to 2**64 - 1", got=repr(value), remedy="Pass another one."
        )
