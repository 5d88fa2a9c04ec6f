"""Sources of standard random numbers.

A noise distribution is written once, as a transformation of standard draws (`noises/`). Where the standard draws come
from is exchangeable: a torch generator while training, a keyed counter while certifying (`samplers/`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.errors import InvalidInputError

__all__ = ["Generator", "Phase", "RandomSource", "as_source", "require_seed", "require_word"]

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
    """What noise is drawn for. Different phases never share it."""

    CERTIFY = 0
    SELECT = 1
    ATTACK = 2
    """The attacker's own draws: an adversarial input is chosen by them, so they must not judge it."""
    JUDGE = 3
    """Votes on adversarial inputs."""
    START = 4
    """Where attacks begin, and what a random search tries."""


def require_seed(seed: object) -> None:
    """Raise `InvalidInputError` unless seed is an integer from 0 to 2**64 - 1."""
    require_word("seed", seed)


def require_word(name: str, value: object) -> None:
    """Raise `InvalidInputError` unless value is an integer from 0 to 2**64 - 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**64:
        raise InvalidInputError(
            name, required="an integer from 0 to 2**64 - 1", got=repr(value), remedy="Pass another one."
        )
