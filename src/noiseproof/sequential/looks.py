"""The numbers of votes after which criteria that are expensive to evaluate look at the votes."""

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
    """Whether the votes are examined at n: at every n up to 50, then at numbers 2 % apart."""
    return np.asarray(next_look(n) == n)


def next_look(n: Counts) -> Counts:
    """Return the first number of votes >= max(n, 1) at which the votes are examined."""
    step = np.floor(np.log(np.maximum(n, _EVERY_LOOK) / _EVERY_LOOK) / math.log(_GRID)).astype(np.int64) - 1
    looks = [np.ceil(_EVERY_LOOK * _GRID ** np.maximum(step + i, 0)).astype(np.int64) for i in range(4)]
    found = looks[3]
    for look in reversed(looks[:3]):
        found = np.where(look >= n, look, found)
    return np.asarray(np.where(n <= _EVERY_LOOK, np.maximum(n, 1), found))
