"""Sources of standard random numbers.

A noise distribution is written once, as a transformation of standard draws (`noises/`). The source of these draws can
be exchanged: a generator of torch or NumPy in training, a keyed counter-based one in certification (`sampling/`).
"""

import hashlib
import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.errors import InvalidInputError

__all__ = [
    "Generator",
    "Phase",
    "RandomSource",
    "SecretKey",
    "Seed",
    "as_seed",
    "as_source",
    "public_seed",
    "require_seed",
    "require_word",
]

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
    """The purpose of the noise. Different phases never share noise."""

    CERTIFY = 0
    SELECT = 1
    ATTACK = 2
    """The attacker's draws. The adversarial input depends on them, so other draws must judge it."""
    JUDGE = 3
    """Votes on adversarial inputs."""
    START = 4
    """Where attacks begin, and what a random search tries."""


@final
class SecretKey:
    """The key of noise that nobody can predict: 32 bytes for the cipher ChaCha20.

    A seed is a public number. Whoever knows it beforehand can build a classifier that is wrong on those draws alone, and
    whoever may choose it can try many. `draw` takes a key from the operating system's generator. Its SHA-256
    digest, the commitment, is recorded before the first vote: the key cannot be changed afterwards, and the digest
    reveals nothing of it. Once the key is revealed, anyone can draw the same noise again. Two keys are equal if their
    digests are. `repr` shows the commitment alone.

    Args:
        key: 32 bytes; None where only the commitment is known.
        commitment: the SHA-256 digest of the key in hexadecimal; None computes it.

    Raises:
        InvalidInputError: a key of another length or another digest, or neither a key nor a commitment.
    """

    BYTES = 32

    def __init__(self, key: bytes | None = None, commitment: str | None = None) -> None:
        if key is not None and len(key) != self.BYTES:
            raise InvalidInputError(
                "key", required=f"{self.BYTES} bytes", got=len(key), remedy="SecretKey.draw() draws one."
            )
        digest = commitment if key is None else hashlib.sha256(key).hexdigest()
        if digest is None or (commitment is not None and digest != commitment):
            raise InvalidInputError(
                "key",
                required=f"one whose SHA-256 digest is {commitment}" if commitment else "a key or its commitment",
                got=digest or "neither",
                remedy="Use the key that was committed to.",
            )
        self._key = key
        self.commitment = digest

    @staticmethod
    def draw() -> "SecretKey":
        """Return a new key from the operating system's generator."""
        return SecretKey(secrets.token_bytes(SecretKey.BYTES))

    @property
    def known(self) -> bool:
        """Whether the key itself is available, and not only its commitment."""
        return self._key is not None

    def reveal(self) -> bytes:
        """Return the key.

        Raises:
            InvalidInputError: only its commitment is known.
        """
        if self._key is None:
            raise InvalidInputError(
                "key",
                required="the secret key, to draw noise",
                got=f"only its commitment, {self.commitment}",
                remedy="Restore the key file that was beside the record.",
            )
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretKey) and other.commitment == self.commitment

    def __hash__(self) -> int:
        return hash(self.commitment)

    def __repr__(self) -> str:
        return f"SecretKey(commitment={self.commitment!r})"


Seed = int | np.integer | SecretKey
"""The key of all noise: a number from 0 to 2^64 - 1 for Philox, or a secret key for ChaCha20."""


def as_seed(seed: object) -> int | SecretKey:
    """Return a seed, checked: a known secret key, or a number from 0 to 2**64 - 1."""
    if isinstance(seed, SecretKey):
        seed.reveal()
        return seed
    require_seed(seed)
    return int(seed)  # type: ignore[call-overload, no-any-return]


def public_seed(seed: Seed) -> int:
    """Return a public number from 0 to 2**64 - 1: the seed, or the first 64 bits of a secret key's commitment."""
    return int(seed.commitment[:16], 16) if isinstance(seed, SecretKey) else int(seed)


def require_seed(seed: object) -> None:
    """Raise `InvalidInputError` unless seed is an integer from 0 to 2**64 - 1."""
    require_word("seed", seed)


def require_word(name: str, value: object) -> None:
    """Raise `InvalidInputError` unless value is an integer from 0 to 2**64 - 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**64:
        raise InvalidInputError(
            name, required="an integer from 0 to 2**64 - 1", got=repr(value), remedy="Pass another one."
        )
