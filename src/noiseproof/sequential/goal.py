"""What sampling is for: when an image has votes enough, and at which numbers of votes that is asked."""

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from noiseproof.errors import InvalidInputError

__all__ = ["Goal", "looked_at", "next_look", "require_beta"]

Table = Int[np.ndarray, "rows classes"]
Counts = Int[np.ndarray, " rows"]
Flags = Bool[np.ndarray, " rows"]

_GRID = 1.02
"""Where every look costs time, votes are looked at after 2 % more of them: at most so many are spent in vain."""

_EVERY_LOOK = 50
"""Votes up to which the grid has every number."""


class Goal(ABC):
    """What is to be known about an image: sampling ends at the first look at which it is, or at `cap` votes.

    A goal is a function of one image's votes, looked at after numbers of votes that do not depend on anything else, so
    that the moment of stopping, and with it every outcome, is the same under any batching, order, sharding or resume.
    """

    cap: int
    """Votes per image after which sampling ends in any case."""

    @abstractmethod
    def ended(self, votes: Table) -> Flags:
        """Whether sampling ends at these votes; False between looks."""

    @abstractmethod
    def pending(self, votes: Table) -> Counts:
        """Return a number of further votes, at least 1, before which sampling cannot end."""

    @abstractmethod
    def distance(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Estimate how many further votes it takes: the order in which a budget is spent. It proves nothing."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return what decides the outcomes, as plain data for a record."""


def require_beta(beta: float) -> None:
    """Raise `InvalidInputError` unless beta is in (0, 1)."""
    if not 0.0 < beta < 1.0:
        raise InvalidInputError(
            "beta",
            required="a probability in the open interval (0, 1)",
            got=repr(beta),
            remedy="0.001 gives up one in a thousand images that could be certified.",
        )


def looked_at(n: Counts) -> Flags:
    """Whether n is a number of votes at which one looks: all up to 50, then 2 % apart."""
    return np.asarray(next_look(n) == n)


def next_look(n: Counts) -> Counts:
    """Return the first number of votes >= n, and >= 1, at which one looks."""
    step = np.floor(np.log(np.maximum(n, _EVERY_LOOK) / _EVERY_LOOK) / math.log(_GRID)).astype(np.int64) - 1
    looks = [np.ceil(_EVERY_LOOK * _GRID ** np.maximum(step + i, 0)).astype(np.int64) for i in range(4)]
    found = looks[3]
    for look in reversed(looks[:3]):
        found = np.where(look >= n, look, found)
    return np.asarray(np.where(n <= _EVERY_LOOK, np.maximum(n, 1), found))
