"""What all stopping rules share: the settings, the test under a noise, and the criterion that ends sampling."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Bool, Float, Int

from noiseproof.bounds.base import require_alpha
from noiseproof.certified import Certified
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.noises import Noise
from noiseproof.sequential.looks import looked_at

__all__ = [
    "CERTIFIED",
    "DEFAULT_MAX_SAMPLES",
    "FUTILE",
    "UNDECIDED",
    "Criterion",
    "SequentialTest",
    "StoppingRule",
    "certified_levels",
    "leader_and_rest",
    "require_beta",
    "require_max_samples",
    "require_p0",
]

CERTIFIED, UNDECIDED, FUTILE = 1, 0, -1

DEFAULT_MAX_SAMPLES = 100_000
"""The fixed number of samples of the literature; here the maximum for one image."""

Table = Int[np.ndarray, "rows classes"]
Counts = Int[np.ndarray, " rows"]
Flags = Bool[np.ndarray, " rows"]
Turn = tuple[Int[np.ndarray, " rows"], int | None]


class Criterion(ABC):
    """When sampling of an image ends: at the first look at which its votes suffice, or at `max_samples` votes.

    It depends on the votes of that image alone, examined ("looked at") after fixed numbers of votes. So the stopping
    time and every outcome are the same under any batching, order, sharding or resume.

    If it is `lasting`, a level that was certified at some look stays certified, whatever the later votes. The sampler
    then keeps the votes of the first look at which the most levels were certified; `reached` is their number.
    """

    max_samples: int
    """Votes per image after which sampling ends in any case."""

    lasting: bool = False
    """Whether a level that was certified at some look stays certified."""

    @abstractmethod
    def outcomes(self, votes: Table) -> Int[np.ndarray, "rows levels"]:
        """Return CERTIFIED, FUTILE or UNDECIDED for each image, one column for each hypothesis that is tested."""

    @abstractmethod
    def pending(self, votes: Table, reached: Counts | None = None) -> Counts:
        """Return a number of further votes, at least 1, before which sampling cannot end. Arguments as `ended`."""

    @abstractmethod
    def _open(self, votes: Table) -> Bool[np.ndarray, "rows levels"]:
        """Which hypotheses, by these votes alone, are undecided and could still be decided before the cap."""

    def looks_at(self, n: Counts) -> Flags:
        """Whether the votes are examined after n votes."""
        return looked_at(n)

    @final
    def ended(self, votes: Table, reached: Counts | None = None) -> Flags:
        """Whether sampling ends at these votes: at a look where nothing is open, or at the cap.

        Args:
            votes: counts of each image.
            reached: for each image, how many levels were certified at this look or before; None uses these votes alone.
        """
        n = votes.sum(-1)
        looked = self.looks_at(n)
        found, at = looked.copy(), slice(None) if looked.all() else looked  # a slice copies no votes
        found[at] = ~self._left(votes[at], None if reached is None else reached[at]).any(-1)
        return np.asarray(found | (n >= self.max_samples))

    @final
    def reached(self, votes: Table) -> Counts:
        """Return how many levels are certified at these votes together with all lower ones; 0 between looks."""
        found = np.zeros(len(votes), dtype=np.int64)
        looked = self.looks_at(votes.sum(-1))
        found[looked] = certified_levels(self.outcomes(votes[looked]))
        return found

    @final
    def _left(self, votes: Table, reached: Counts | None) -> Bool[np.ndarray, "rows levels"]:
        """Which hypotheses are open and were not certified before."""
        open_ = self._open(votes)
        return open_ if reached is None else open_ & (np.arange(open_.shape[1]) >= reached[:, None])

    @abstractmethod
    def distance(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Estimate the number of further votes until a decision, to allocate a budget; no guarantee uses it."""

    def votes_needed(self, num_classes: int) -> int:
        """Return the smallest number of unanimous votes that certifies anything, by bisection."""

        def suffices(n: int) -> bool:
            votes = np.zeros((1, num_classes), dtype=np.int64)
            votes[0, 0] = n
            return bool((self.outcomes(votes)[:, 0] == CERTIFIED).all())

        high = 1
        while not suffices(high):
            high *= 2
        return bisect_left(range(high), True, lo=high // 2 + 1, key=suffices)


class SequentialTest(ABC):
    """A stopping rule under a noise: when to stop, and what the votes prove at the stopping time."""

    criterion: Criterion
    """When to stop; the scheduler needs nothing else."""

    @abstractmethod
    def certify(self, votes: Table, certifying: Table | None = None) -> Certified:
        """Return the certificates that the votes give, valid with probability >= 1 - alpha per image.

        Args:
            votes: counts at the stopping time.
            certifying: under a lasting criterion, the counts of the first look at which the most levels were certified,
                zeros where there is none; None uses `votes` alone.
        """

    @final
    def votes_needed(self, num_classes: int) -> int:
        """Return the smallest number of unanimous votes that certifies anything."""
        return self.criterion.votes_needed(num_classes)


@dataclass(frozen=True)
class StoppingRule(ABC):
    """The settings of a sequential test, independent of the noise: `SmoothedClassifier.certify(images, stop=rule)`.

    Args:
        alpha: failure probability per image, over all radii and all times together. 0.001 is the usual choice.
        max_samples: largest number of votes per image.

    Raises:
        InvalidInputError: alpha outside (0, 1), or max_samples no integer >= 1.
    """

    alpha: float = field(default=0.001, kw_only=True)
    max_samples: int = field(default=DEFAULT_MAX_SAMPLES, kw_only=True)

    all_images_at_once: ClassVar[bool] = False
    """Whether an image's votes depend on the other images of the call, so that a call cannot be divided."""

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_max_samples(self.max_samples)

    @abstractmethod
    def under(self, noise: Noise) -> SequentialTest:
        """Return the test of this rule for votes counted under a noise.

        Raises:
            InvalidInputError: the rule cannot be used with this noise.
        """

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return the rule as plain data, for records; `rule_from` is the inverse."""

    def turns(
        self,
        criterion: Criterion,  # noqa: ARG002 - a budget asks it
        votes: Table,
        certifying: Table | None,  # noqa: ARG002 - a budget looks at them
    ) -> Iterator[Turn]:
        """Yield the rows to sample next and their number of votes (None: to the end), given all votes so far."""
        yield np.arange(len(votes)), None


def certified_levels(outcomes: Int[np.ndarray, "rows levels"]) -> Counts:
    """Return how many levels are certified together with all lower ones."""
    return np.asarray(np.cumprod(outcomes == CERTIFIED, axis=-1).sum(-1))


def leader_and_rest(votes: Table) -> tuple[Counts, Counts]:
    """Return the votes of the class with the most votes, and those of all other classes together."""
    most = votes.max(-1)
    return most, votes.sum(-1) - most


def require_p0(p0: float, *, least: float = 0.0) -> None:
    """Raise `InvalidInputError` unless p0 is in (0, 1), and at least `least`."""
    if not (math.isfinite(p0) and max(least, 5e-324) <= p0 < 1.0):
        raise InvalidInputError(
            "p0",
            required=f"in {'[' if least else '('}{least:g}, 1)",
            got=repr(p0),
            remedy="p0 = Phi(r / sigma) for a radius r and Gaussian noise.",
        )


def require_beta(beta: float) -> None:
    """Raise `InvalidInputError` unless beta is in (0, 1)."""
    if not 0.0 < beta < 1.0:
        raise InvalidInputError(
            "beta",
            required="a probability in the open interval (0, 1)",
            got=repr(beta),
            remedy="0.001 gives up one in a thousand images that could be certified.",
        )


def require_max_samples(max_samples: int) -> None:
    """Raise `InvalidInputError` unless it is an integer of at least 1."""
    require_count("max_samples", max_samples, 1, "It is the largest number of votes for an image.")
