"""The criterion that the radius is known to a relative error."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from noiseproof.bounds.base import Interval, require_alpha
from noiseproof.errors import InvalidInputError
from noiseproof.sequential.base import (
    CERTIFIED,
    FUTILE,
    UNDECIDED,
    Criterion,
    leader_and_rest,
    require_beta,
    require_max_samples,
)
from noiseproof.sequential.confidence_sequence import AnytimeSinglePhase, lower_bound
from noiseproof.sequential.looks import next_look

__all__ = ["RelativeError", "require_rtol"]

Table = Int[np.ndarray, "rows classes"]
Counts = Int[np.ndarray, " rows"]
Flags = Bool[np.ndarray, " rows"]


@dataclass(frozen=True)
class RelativeError(Criterion):
    """Sampling ends when R(p1_lower) >= (1 - rtol) R(p1_upper).

        p1_lower: `AnytimeSinglePhase` at alpha;   p1_upper = 1 - L(f, n) at beta, the mirrored confidence sequence.

    Sampling also ends where p1_upper <= 1/2: no class can be certified. With unanimous votes p1_upper is 1 and
    R(p1_upper) is infinite for most certificates: sampling then continues to `max_samples`.

    Proof. The interval at the stopping time is that of `AnytimeSinglePhase`, which holds at all times. For a class
    fixed beforehand, 1 - p is below L(f, n) at some time with probability <= beta (`lower_bound`). L increases with f,
    and no class has fewer failures than the one with the most votes, so p1_upper is at least the upper bound of every
    class.

    Args:
        rtol: relative error, in (0, 1).
        alpha: probability, per image, that a radius is too long at any time.
        beta: probability, per image, that p1_upper is too small at any time; it does not affect alpha.
        max_samples: largest number of votes per image.
        radius: function of (lower bounds of p1, upper bounds of the rest), not decreasing in the first.

    Raises:
        InvalidInputError: an argument outside its domain.
    """

    rtol: float
    alpha: float
    beta: float
    max_samples: int
    radius: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_beta(self.beta)
        require_max_samples(self.max_samples)
        require_rtol(self.rtol)

    def statement(self, votes: Table) -> Interval:
        """Return the interval of `AnytimeSinglePhase`; for an image without votes p1_lower = 0 and p2_upper = 1."""
        return AnytimeSinglePhase().interval(votes, None, self.alpha)

    def outcomes(self, votes: Table) -> Int[np.ndarray, "rows 1"]:
        """Return CERTIFIED where p1_lower > 1/2, FUTILE where p1_upper <= 1/2, otherwise UNDECIDED."""
        leader, failures = leader_and_rest(votes)
        hopeless = lower_bound(failures, leader + failures, self.beta) >= 0.5
        sure = self.statement(votes).p1_lower > 0.5
        return np.where(sure, CERTIFIED, np.where(hopeless, FUTILE, UNDECIDED))[:, None]

    def pending(self, votes: Table, reached: Counts | None = None) -> Counts:  # noqa: ARG002 - there is one statement
        """Return the number of votes up to the next look."""
        n = votes.sum(-1)
        return np.asarray(np.clip(next_look(n + 1) - n, 1, np.maximum(self.max_samples - n, 1)))

    def distance(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Estimate the further votes from the relative width, which decreases as 1 / sqrt(n)."""
        n = np.maximum(votes.sum(-1), 1)
        lower, upper = self._radii(votes)
        width = 1.0 - lower / np.maximum(upper, 1e-300)
        left = n * ((width / self.rtol) ** 2 - 1.0)
        return np.asarray(np.clip(left, 1.0, np.maximum(self.max_samples - n, 1)))

    def _open(self, votes: Table) -> Bool[np.ndarray, "rows 1"]:
        """Whether the radius is not known to that error yet; where none can be certified, both are 0."""
        lower, upper = self._radii(votes)
        return np.asarray(lower < (1.0 - self.rtol) * upper)[:, None]

    def _radii(self, votes: Table) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
        found = self.statement(votes)
        leader, failures = leader_and_rest(votes)
        rest = lower_bound(failures, leader + failures, self.beta)  # of 1 - p1: 0 as long as there is no failure
        return self.radius(found.p1_lower, found.p2_upper), self.radius(1.0 - rest, rest)


def require_rtol(rtol: float) -> None:
    """Raise `InvalidInputError` unless rtol is in (0, 1)."""
    if not 0.0 < rtol < 1.0:
        raise InvalidInputError(
            "rtol",
            required="in (0, 1): the part of the radius that may be missing",
            got=repr(rtol),
            remedy="0.05 is 5 per cent.",
        )
