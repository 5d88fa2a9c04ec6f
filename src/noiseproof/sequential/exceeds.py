"""Sequential test of whether the probability of the leading class exceeds p0, for one or several levels p0."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from noiseproof.bounds.base import require_alpha
from noiseproof.errors import InvalidInputError
from noiseproof.sequential.base import (
    CERTIFIED,
    FUTILE,
    UNDECIDED,
    Criterion,
    leader_and_rest,
    require_beta,
    require_max_samples,
    require_p0,
)
from noiseproof.sequential.boundary import Boundary, log_threshold, most_failures
from noiseproof.sequential.information_limit import information_limit
from noiseproof.sequential.prior import FittedPrior

__all__ = ["Exceeds", "Level"]

Table = Int[np.ndarray, "rows classes"]
Counts = Int[np.ndarray, " rows"]
Flags = Bool[np.ndarray, " rows"]


@dataclass(frozen=True)
class Level:
    """A probability p0 >= 1/2 to be exceeded, with q0 = 1 - p0 to full relative accuracy."""

    p0: float
    q0: float

    def __post_init__(self) -> None:
        require_p0(self.p0, least=0.5)


@dataclass(frozen=True)
class Exceeds(Criterion):
    """Test for each level p0, ascending, whether the probability of the class with the most votes exceeds it.

        CERTIFIED: W(A, f; p0) >= T, the threshold of the lowest level (`log_threshold`);
        FUTILE: W(f, A; 1 - p0) >= 1/beta, evidence for p < p0;
        UNDECIDED: neither.

    A counts the votes for the leading class and f all others. Sampling ends when every undecided level is out of reach
    of the votes up to `max_samples`. With probability >= 1 - alpha, no class is ever certified at a level that its
    probability does not exceed, over all levels and all times together; several levels need no larger threshold than
    the lowest alone. So a certified level may stay certified although its evidence decreases later (`lasting`). Proof:
    `exceeds.md`.

    Args:
        levels: ascending.
        alpha: probability of a false certificate, per image.
        beta: probability, per image and level, of FUTILE although p >= p0; it does not affect alpha.
        max_samples: largest number of votes per image.
        prior: weights of the alternatives, learned from other images; for a single level.
        lasting: whether a level that was certified at some time stays certified.

    Raises:
        InvalidInputError: an argument outside its domain, or a prior with several levels.
    """

    levels: tuple[Level, ...]
    alpha: float
    beta: float
    max_samples: int
    prior: FittedPrior | None = None
    lasting: bool = False

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_beta(self.beta)
        require_max_samples(self.max_samples)
        numbers = [level.p0 for level in self.levels]
        if not numbers or numbers != sorted(set(numbers)):
            raise InvalidInputError(
                "levels", required="at least one, ascending", got=numbers, remedy="Name every radius once."
            )
        if self.prior is not None and len(numbers) > 1:
            raise InvalidInputError(
                "prior", required="left out with several radii", got=f"{len(numbers)} radii", remedy="Leave it out."
            )

    def votes_needed(self, num_classes: int) -> int:  # noqa: ARG002 - their number does not matter here
        """Return the smallest number of unanimous votes that certifies the lowest level."""
        return int(self._boundaries[0][0].first(np.zeros(1, dtype=np.int64))[0])

    def outcomes(self, votes: Table) -> Int[np.ndarray, "rows levels"]:
        """Return CERTIFIED, FUTILE or UNDECIDED for every level."""
        leader, failures = leader_and_rest(votes)
        n = leader + failures
        columns = []
        for sure, futile in self._boundaries:
            lost = np.where(leader <= futile.most(n), FUTILE, UNDECIDED)
            columns.append(np.where(failures <= sure.most(n), CERTIFIED, lost))
        return np.stack(columns, axis=-1)

    def looks_at(self, n: Counts) -> Flags:
        """Return True: the votes are examined after every vote."""
        return np.ones(n.shape, dtype=bool)

    def pending(self, votes: Table, reached: Counts | None = None) -> Counts:
        """Return a number of further votes before which the open levels cannot all be decided or out of reach."""
        leader, failures = leader_and_rest(votes)
        n = leader + failures
        needed = np.ones_like(n)
        for (sure, futile), last, open_ in zip(self._boundaries, self._last, self._left(votes, reached).T, strict=True):
            A, f = leader[open_], failures[open_]
            left = np.minimum(np.minimum(sure.first(f), futile.first(A)) - n[open_], last + 1 - f)
            needed[open_] = np.maximum(needed[open_], left)
        return np.asarray(np.clip(needed, 1, np.maximum(self.max_samples - n, 1)))

    def distance(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Estimate the further votes by ln(1/alpha) or ln(1/beta) over KL(p-hat || p0), at the slowest open level."""
        leader, failures = leader_and_rest(votes)
        n = leader + failures
        p = (leader + 0.5) / (n + 1.0)
        longest = np.ones(len(votes))
        for level, open_ in zip(self.levels, self._open(votes).T, strict=True):
            divergence = p * np.log(p / level.p0) + (1.0 - p) * np.log((1.0 - p) / level.q0)
            wanted = np.where(p > level.p0, -math.log(self.alpha), -math.log(self.beta))
            left = np.where(open_, wanted / np.maximum(divergence, 1e-12) - n, 1.0)
            longest = np.maximum(longest, left)
        return np.asarray(np.minimum(longest, np.maximum(self.max_samples - n, 1)))

    def limits(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Return `information_limit` at the observed frequencies, for the level that takes most votes."""
        p = votes.max(-1) / votes.sum(-1)
        found = [
            np.where(p > each.p0, information_limit(p, each.p0, self.alpha), information_limit(p, each.p0, self.beta))
            for each in self.levels
        ]
        return np.asarray(np.minimum(np.max(found, axis=0), self.max_samples))

    def _open(self, votes: Table) -> Bool[np.ndarray, "rows levels"]:
        """Which levels are undecided and could still be certified at the cap."""
        failures = leader_and_rest(votes)[1]
        return np.asarray((self.outcomes(votes) == UNDECIDED) & (failures[:, None] <= self._last))

    @cached_property
    def _threshold(self) -> float:
        """The logarithm of (1 + c_1)/alpha."""
        return log_threshold(self.levels[0].p0, self.alpha, prior=self.prior)

    @cached_property
    def _boundaries(self) -> list[tuple[Boundary, Boundary]]:
        return [
            (
                Boundary(level.p0, level.q0, self._threshold, self.prior),
                Boundary(level.q0, level.p0, -math.log(self.beta), None),
            )
            for level in self.levels
        ]

    @cached_property
    def _last(self) -> Int[np.ndarray, " levels"]:
        """The most failures with which each level is certified at the cap."""
        last = np.array([self.max_samples])
        found = [most_failures(last, level.p0, self._threshold, q0=level.q0, prior=self.prior) for level in self.levels]
        return np.concatenate(found)
