"""What every rule of stopping shares: votes so far, decided or not?"""

import math
from abc import ABC, abstractmethod
from typing import final

import numpy as np
from jaxtyping import Int

from noiseproof.errors import InvalidInputError

__all__ = ["CERTIFIED", "FUTILE", "UNDECIDED", "Rule", "require_p0"]

CERTIFIED, UNDECIDED, FUTILE = 1, 0, -1

Counts = Int[np.ndarray, "*batch"]


class Rule(ABC):
    """Decides "p > p0" for one class by its votes: for every n, two numbers of failures (votes for any other class).

    Certified where failures <= `certified_up_to`(n), given up where failures >= `given_up_from`(n). A wrong certificate
    has probability at most alpha, whatever p <= p0 and whoever chooses when to look; giving up only takes certificates
    away.
    """

    restarts: tuple[int, ...] = ()
    """Numbers of votes after which failures are counted afresh: rules that do not use the votes of earlier stages."""

    @abstractmethod
    def certified_up_to(self, n: Counts) -> Counts:
        """Return the most failures among n votes that still certify; -1 where none do."""

    def given_up_from(self, n: Counts) -> Counts:
        """Return the least failures among n votes that end the sampling without a certificate; n + 1: none do."""
        return n + 1

    @final
    def decide(self, successes: Counts, n: Counts) -> Counts:
        """Return `CERTIFIED`, `UNDECIDED` or `FUTILE` for `successes` votes out of n."""
        if n.size and not ((successes >= 0).all() and (successes <= n).all()):
            raise InvalidInputError(
                "successes", required="between 0 and n", got="others", remedy="Pass the votes of one class."
            )
        failures = n - successes
        futile = np.where(failures >= self.given_up_from(n), FUTILE, UNDECIDED)
        return np.asarray(np.where(failures <= self.certified_up_to(n), CERTIFIED, futile))


def require_p0(p0: float, *, least: float = 0.0) -> None:
    """Raise `InvalidInputError` unless p0 is in (0, 1), and at least `least`."""
    if not (math.isfinite(p0) and max(least, 5e-324) <= p0 < 1.0):
        raise InvalidInputError(
            "p0",
            required=f"in {'[' if least else '('}{least:g}, 1)",
            got=repr(p0),
            remedy="p0 = Phi(r / sigma) for a radius r and Gaussian noise.",
        )
