"""The goals of sampling: a radius or several, the most probable class, the radius to a precision."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from noiseproof.bounds.base import Interval, require_alpha
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.sequential.base import CERTIFIED, FUTILE, UNDECIDED, require_p0
from noiseproof.sequential.boundary import first_reaching, log_threshold, most_failures
from noiseproof.sequential.confidence_sequence import AnytimeSinglePhase, lower_bound
from noiseproof.sequential.goal import Goal, looked_at, next_look, require_beta
from noiseproof.sequential.law import information_limit
from noiseproof.sequential.prior import FittedPrior
from noiseproof.sequential.top_class import winner_certain

__all__ = ["Exceeds", "IdentifyTopClass", "Level", "WithinPrecision"]

Table = Int[np.ndarray, "rows classes"]
Counts = Int[np.ndarray, " rows"]
Flags = Bool[np.ndarray, " rows"]


@dataclass(frozen=True)
class Level:
    """A probability to exceed, with 1 - p0 to its own digits."""

    p0: float
    q0: float

    def __post_init__(self) -> None:
        require_p0(self.p0, least=0.5)


@dataclass(frozen=True)
class Exceeds(Goal):
    """For every level p0, ascending: is the probability of the class with most votes above it?

        CERTIFIED: W(A, f; p0) >= (1 + c_1)/alpha, with c_1 that of the lowest level (`log_threshold`);
        FUTILE:  W(f, A; 1 - p0) >= 1/beta, so that p < p0;
        UNDECIDED: neither.
    It ends when no level is undecided that the votes up to the cap could still certify.

    With probability >= 1 - alpha no class is ever certified at a level that its probability does not exceed, at all
    levels and all moments together. Proof. For p <= p0 <= p0' and A/n > p0', W(p0) >= W(p0') (`jeffreys`, 4), so a
    class that is ever wrongly certified is so, then, at the lowest level that is >= its p. For the class B with p_B >=
    1/2, if there is one, that has probability <= 1/T. Every other class has p_j <= 1/2 <= p0_1, all levels, and the
    lowest level's account of them in `log_threshold` holds: <= c_1/T in sum; without B, 2 c_1/T.

    Several levels cost no more than one. A prior keeps this only for one level, since `jeffreys`, 4 is about its own weights.

    Args:
        levels: ascending.
        alpha: probability of a wrong certificate, per image.
        beta: probability, per image and level, of giving up although p >= p0; it never touches alpha.
        cap: votes at most.
        prior: weights of the alternatives, learned from other images; for a single level.
    """

    levels: tuple[Level, ...]
    alpha: float
    beta: float
    cap: int
    prior: FittedPrior | None = None

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_beta(self.beta)
        require_count("cap", self.cap, 1, "It is the largest number of votes for an image.")
        numbers = [level.p0 for level in self.levels]
        if not numbers or numbers != sorted(set(numbers)):
            raise InvalidInputError(
                "levels", required="at least one, ascending", got=numbers, remedy="Name every radius once."
            )
        if self.prior is not None and len(numbers) > 1:
            raise InvalidInputError(
                "prior", required="with one radius", got=f"{len(numbers)} radii", remedy="Leave the prior out."
            )

    def votes_needed(self) -> int:
        """Return the smallest number of votes that certify a level: unanimous ones, the lowest."""
        return int(self._ladders[0][0].first(np.zeros(1, dtype=np.int64))[0])

    def outcomes(self, votes: Table) -> Int[np.ndarray, "rows levels"]:
        """Return CERTIFIED, FUTILE or UNDECIDED for every level."""
        leader, failures = _leader(votes)
        n = leader + failures
        columns = []
        for sure, futile in self._ladders:
            lost = np.where(leader <= futile.most(n), FUTILE, UNDECIDED)
            columns.append(np.where(failures <= sure.most(n), CERTIFIED, lost))
        return np.stack(columns, axis=-1)

    def ended(self, votes: Table) -> Flags:
        """Whether every level is decided, hopeless before the cap, or the cap is reached."""
        return np.asarray(~self._open(votes).any(-1) | (votes.sum(-1) >= self.cap))

    def pending(self, votes: Table) -> Counts:
        """Return the votes before which the levels that are open cannot all be decided or hopeless."""
        leader, failures = _leader(votes)
        n = leader + failures
        needed = np.ones_like(n)
        for (sure, futile), last, open_ in zip(self._ladders, self._last, self._open(votes).T, strict=True):
            A, f = leader[open_], failures[open_]
            left = np.minimum(np.minimum(sure.first(f), futile.first(A)) - n[open_], last + 1 - f)
            needed[open_] = np.maximum(needed[open_], left)
        return np.asarray(np.clip(needed, 1, np.maximum(self.cap - n, 1)))

    def distance(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Estimate by ln T / KL(p-hat || p0), the open level that takes longest."""
        leader, failures = _leader(votes)
        n = leader + failures
        p = (leader + 0.5) / (n + 1.0)
        longest = np.ones(len(votes))
        for level, open_ in zip(self.levels, self._open(votes).T, strict=True):
            divergence = p * np.log(p / level.p0) + (1.0 - p) * np.log((1.0 - p) / level.q0)
            wanted = np.where(p > level.p0, -math.log(self.alpha), -math.log(self.beta))
            left = np.where(open_, wanted / np.maximum(divergence, 1e-12) - n, 1.0)
            longest = np.maximum(longest, left)
        return np.asarray(np.minimum(longest, np.maximum(self.cap - n, 1)))

    def limits(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Return the votes it takes at least at the frequencies found (`information_limit`), the level that takes most."""
        p = votes.max(-1) / votes.sum(-1)
        found = [
            np.where(p > each.p0, information_limit(p, each.p0, self.alpha), information_limit(p, each.p0, self.beta))
            for each in self.levels
        ]
        return np.asarray(np.minimum(np.max(found, axis=0), self.cap))

    def spec(self) -> dict[str, Any]:
        """Return levels, alpha, beta, cap and prior."""
        about = {"levels": [level.p0 for level in self.levels], "alpha": self.alpha, "beta": self.beta, "cap": self.cap}
        return about | ({} if self.prior is None else {"prior": self.prior.plain()})

    def _open(self, votes: Table) -> Bool[np.ndarray, "rows levels"]:
        """Which levels are undecided and could still be certified at the cap."""
        failures = _leader(votes)[1]
        return np.asarray((self.outcomes(votes) == UNDECIDED) & (failures[:, None] <= self._last))

    @cached_property
    def _threshold(self) -> float:
        """The logarithm of (1 + c_1)/alpha."""
        return log_threshold(self.levels[0].p0, self.alpha, every_class=True, prior=self.prior)

    @cached_property
    def _ladders(self) -> list[tuple["_Ladder", "_Ladder"]]:
        return [
            (
                _Ladder(level.p0, level.q0, self._threshold, self.prior),
                _Ladder(level.q0, level.p0, -math.log(self.beta), None),
            )
            for level in self.levels
        ]

    @cached_property
    def _last(self) -> Int[np.ndarray, " levels"]:
        """The most failures with which each level is certified at the cap."""
        cap = np.array([self.cap])
        found = [most_failures(cap, level.p0, self._threshold, q0=level.q0, prior=self.prior) for level in self.levels]
        return np.concatenate(found)


@dataclass(frozen=True)
class IdentifyTopClass(Goal):
    """Is the class with most votes the most probable one (`winner_certain`)?

    Args:
        alpha: probability of naming a class that is not most probable, per image.
        cap: votes at most.
        num_classes: k.
    """

    alpha: float
    cap: int
    num_classes: int

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_count("cap", self.cap, 1, "It is the largest number of votes for an image.")

    def certain(self, votes: Table) -> Flags:
        """Whether the class with most votes is certain."""
        ordered = np.partition(votes, -2, axis=-1)
        winner, runner_up = ordered[..., -1], ordered[..., -2]
        # necessary, and quick: the winner against the runner-up alone
        found: Flags = runner_up <= self._pair.most(winner + runner_up)
        found[found] = winner_certain(votes[found], self.alpha)
        return found

    def ended(self, votes: Table) -> Flags:
        """Whether the winner is certain at a look, or the cap is reached."""
        n = votes.sum(-1)
        found = looked_at(n)
        found[found] = self.certain(votes[found])
        return np.asarray(found | (n >= self.cap))

    def pending(self, votes: Table) -> Counts:
        """Return the votes up to the next look at which the winner could be certain."""
        ordered = np.partition(votes, -2, axis=-1)
        pair = ordered[..., -1] + ordered[..., -2]
        n = votes.sum(-1)
        soonest = n + np.maximum(self._pair.first(ordered[..., -2]) - pair, 1)
        return np.asarray(np.clip(next_look(soonest) - n, 1, np.maximum(self.cap - n, 1)))

    def distance(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Estimate from the difference of the two shares."""
        n = np.maximum(votes.sum(-1), 1)
        ordered = np.partition(votes, -2, axis=-1) / n[:, None]
        gap = np.maximum(ordered[..., -1] - ordered[..., -2], 1e-6)
        left = -2.0 * math.log(self.alpha) * (ordered[..., -1] + ordered[..., -2]) / gap**2 - n
        return np.asarray(np.clip(left, 1.0, np.maximum(self.cap - n, 1)))

    def spec(self) -> dict[str, Any]:
        """Return alpha and cap."""
        return {"winner": True, "alpha": self.alpha, "cap": self.cap}

    @cached_property
    def _pair(self) -> "_Ladder":
        return _Ladder(0.5, 0.5, math.log((1.0 if self.num_classes == 2 else 2.0) / self.alpha), None)


@dataclass(frozen=True)
class WithinPrecision(Goal):
    """The radius to a relative precision: R(p1_lower) >= (1 - precision) R(p1_upper).

        p1_lower: `AnytimeSinglePhase` at alpha;   p1_upper = 1 - L(f, n) at beta, the mirrored confidence sequence.
    It ends also where p1_upper <= 1/2: that class cannot be certified. An image whose votes are unanimous has p1_upper
    close to 1 and no such precision: it goes on to the cap, gaining radius.

    Args:
        precision: relative, in (0, 1).
        alpha: probability that a radius is too long, at any moment, per image.
        beta: probability that p1_upper is ever too small; it never touches alpha.
        cap: votes at most.
        radius: from (lower bounds of p1, upper bounds of the rest) to radii, not decreasing in the first.
    """

    precision: float
    alpha: float
    beta: float
    cap: int
    radius: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_beta(self.beta)
        require_count("cap", self.cap, 1, "It is the largest number of votes for an image.")
        if not 0.0 < self.precision < 1.0:
            raise InvalidInputError(
                "precision",
                required="in (0, 1): the part of the radius that may be missing",
                got=repr(self.precision),
                remedy="0.05 is 5 per cent.",
            )

    def statement(self, votes: Table) -> Interval:
        """Return what the votes prove: `AnytimeSinglePhase`, and of an image without votes nothing."""
        return AnytimeSinglePhase().interval(votes, None, self.alpha)

    def outcomes(self, votes: Table) -> Counts:
        """Return CERTIFIED where some radius is, FUTILE where none can be, else UNDECIDED."""
        leader, failures = _leader(votes)
        hopeless = lower_bound(failures, leader + failures, self.beta) >= 0.5
        sure = self.statement(votes).p1_lower > 0.5
        return np.where(sure, CERTIFIED, np.where(hopeless, FUTILE, UNDECIDED))

    def ended(self, votes: Table) -> Flags:
        """Whether the radius is precise, or will not be certified, at a look; or the cap is reached."""
        n = votes.sum(-1)
        looked = looked_at(n)
        found = looked.copy()
        if looked.any():
            found[looked] = self._known(votes[looked])
        return np.asarray(found | (n >= self.cap))

    def pending(self, votes: Table) -> Counts:
        """Return the votes up to the next look."""
        n = votes.sum(-1)
        return np.asarray(np.clip(next_look(n + 1) - n, 1, np.maximum(self.cap - n, 1)))

    def distance(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Estimate by widths that shrink as 1 / sqrt(n)."""
        n = np.maximum(votes.sum(-1), 1)
        lower, upper = self._radii(votes)
        width = 1.0 - lower / np.maximum(upper, 1e-300)
        left = n * ((width / self.precision) ** 2 - 1.0)
        return np.asarray(np.clip(left, 1.0, np.maximum(self.cap - n, 1)))

    def spec(self) -> dict[str, Any]:
        """Return precision, alpha, beta and cap."""
        return {"precision": self.precision, "alpha": self.alpha, "beta": self.beta, "cap": self.cap}

    def _known(self, votes: Table) -> Flags:
        lower, upper = self._radii(votes)
        return np.asarray(lower >= (1.0 - self.precision) * upper)

    def _radii(self, votes: Table) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
        found = self.statement(votes)
        leader, failures = _leader(votes)
        rest = lower_bound(failures, leader + failures, self.beta)  # of 1 - p1: 0 as long as there is no failure
        return self.radius(found.p1_lower, found.p2_upper), self.radius(1.0 - rest, rest)


class _Ladder:
    """The boundary of one level, {f: n from which f failures suffice}, tabulated as far as that is worth it.

    Who samples asks for every n on the way, and is best served by a table. Who reads a record asks for the few at which
    votes stopped, up to a million: these are found one by one, until as many have been asked for as the table would have.
    """

    def __init__(self, p0: float, q0: float, log_level: float, prior: FittedPrior | None) -> None:
        self._p0, self._q0, self._log_level, self._prior = p0, q0, log_level, prior
        self._steps = self._reach(0, 64)
        self._asked = 0  # beyond the table

    def most(self, n: Counts) -> Counts:
        """Return the most failures among n votes that suffice, -1 where none do."""
        largest, far = int(n.max(initial=0)), n >= self._steps[-1]
        self._asked += len(np.unique(n[far]))
        if self._asked >= (largest - self._steps[-1]) * self._q0:  # about as many steps are missing of the table
            while self._steps[-1] <= largest:
                self._extend()
            far = np.zeros_like(far)
        found = np.asarray(np.searchsorted(self._steps, n, side="right") - 1)
        found[far] = most_failures(n[far], self._p0, self._log_level, q0=self._q0, prior=self._prior)
        return found

    def first(self, failures: Counts) -> Counts:
        """Return the smallest n at which so many failures suffice."""
        while len(self._steps) <= failures.max(initial=0):
            self._extend()
        return np.asarray(self._steps[failures])

    def _extend(self) -> None:
        self._steps = np.concatenate([self._steps, self._reach(len(self._steps), 2 * len(self._steps))])

    def _reach(self, start: int, stop: int) -> Int[np.ndarray, " steps"]:
        return first_reaching(self._p0, self._log_level, np.arange(start, stop), q0=self._q0, prior=self._prior)


def _leader(votes: Table) -> tuple[Counts, Counts]:
    """Return the votes of the class with most, and those of all others."""
    most = votes.max(-1)
    return most, votes.sum(-1) - most
