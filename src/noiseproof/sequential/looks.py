"""Where every look at the votes costs time: after which numbers of votes one looks."""

import math

import numpy as np
from jaxtyping import Bool, Int

__all__ = ["looked_at", "next_look"]

Counts = Int[np.ndarray, " rows"]

_GRID = 1.02
"""Votes are looked at after 2 % more of them: at most so many are spent in vain."""

_EVERY_LOOK = 50
"""Votes up to which the grid has every number."""


def looked_at(n: Counts) -> Bool[np.ndarray, " rows"]:
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
