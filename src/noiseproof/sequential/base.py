"""What every stopping rule shares: its settings, the same rule under a noise, and the criterion that ends sampling."""

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
"""What the literature spends on every image; here what the hardest image may take."""

Table = Int[np.ndarray, "rows classes"]
Counts = Int[np.ndarray, " rows"]
Flags = Bool[np.ndarray, " rows"]
Turn = tuple[Int[np.ndarray, " rows"], int | None]


class Criterion(ABC):
    """When the votes of an image suffice: sampling ends at the first look at which they do, or at `max_samples` votes.

    A function of one image's votes, looked at after numbers of votes that do not depend on anything else. So the stopping
    time, and with it every outcome, is the same under any batching, order, sharding or resume.

    Where it is `lasting`, a level that was certified at a look is decided, whatever the votes are later. Whoever samples
    keeps the votes of the look at which most levels were certified, the first of such looks; `reached` says how many.
    """

    max_samples: int
    """Votes per image after which sampling ends in any case."""

    lasting: bool = False
    """Whether a level that was certified at some look stays certified."""

    @abstractmethod
    def outcomes(self, votes: Table) -> Int[np.ndarray, "rows levels"]:
        """Return CERTIFIED, FUTILE or UNDECIDED, one column for each statement that is tested."""

    @abstractmethod
    def pending(self, votes: Table, reached: Counts | None = None) -> Counts:
        """Return a number of further votes, at least 1, before which sampling cannot end; `reached` as in `ended`."""

    @abstractmethod
    def _open(self, votes: Table) -> Bool[np.ndarray, "rows levels"]:
        """Which statements, by these votes alone, are undecided and could still be decided before the cap."""

    def looks_at(self, n: Counts) -> Flags:
        """After which numbers of votes they are looked at."""
        return looked_at(n)

    @final
    def ended(self, votes: Table, reached: Counts | None = None) -> Flags:
        """Whether sampling ends at these votes: at a look where nothing is open, or at the cap.

        Args:
            votes: of each image.
            reached: how many levels of each were certified at this look or before; None looks at these votes alone.
        """
        n = votes.sum(-1)
        looked = self.looks_at(n)
        found, at = looked.copy(), slice(None) if looked.all() else looked  # a slice copies no votes
        found[at] = ~self._left(votes[at], None if reached is None else reached[at]).any(-1)
        return np.asarray(found | (n >= self.max_samples))

    @final
    def reached(self, votes: Table) -> Counts:
        """Return how many levels are certified at these votes, each with all lower ones; 0 between looks."""
        found = np.zeros(len(votes), dtype=np.int64)
        looked = self.looks_at(votes.sum(-1))
        found[looked] = certified_levels(self.outcomes(votes[looked]))
        return found

    @final
    def _left(self, votes: Table, reached: Counts | None) -> Bool[np.ndarray, "rows levels"]:
        """Which statements are open and were not certified before."""
        open_ = self._open(votes)
        return open_ if reached is None else open_ & (np.arange(open_.shape[1]) >= reached[:, None])

    @abstractmethod
    def distance(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Estimate how many further votes it takes: the order in which a budget is spent. It proves nothing."""

    def votes_needed(self, num_classes: int) -> int:
        """Return the smallest number of votes that certifies anything: unanimous ones. By bisection."""

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
    """When to stop: all that a scheduler needs."""

    @abstractmethod
    def certify(self, votes: Table, certifying: Table | None = None) -> Certified:
        """Return what votes prove, with probability >= 1 - alpha per image.

        Args:
            votes: at their stopping time.
            certifying: under a lasting criterion those of the look at which most levels were certified, zeros where there
                is none; None reads everything off `votes`.
        """

    @final
    def votes_needed(self, num_classes: int) -> int:
        """Return the smallest number of votes that certifies anything: unanimous ones."""
        return self.criterion.votes_needed(num_classes)


@dataclass(frozen=True)
class StoppingRule(ABC):
    """The settings of a sequential test, without a noise: `SmoothedClassifier.certify(images, stop=rule)`.

    Args:
        alpha: failure probability per image, at all radii and all times together. 0.001 is the field's usual choice.
        max_samples: votes per image at most.
    """

    alpha: float = field(default=0.001, kw_only=True)
    max_samples: int = field(default=DEFAULT_MAX_SAMPLES, kw_only=True)

    all_images_at_once: ClassVar[bool] = False
    """Whether an image's votes depend on the other images of the call, so that they cannot come in parts."""

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_max_samples(self.max_samples)

    @abstractmethod
    def under(self, noise: Noise) -> SequentialTest:
        """Return the test that this rule is for votes counted under a noise.

        Raises:
            InvalidInputError: the rule means nothing under this noise.
        """

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return the rule as plain data, for records; `rule_from` reads it."""

    def turns(
        self,
        criterion: Criterion,  # noqa: ARG002 - a budget asks it
        votes: Table,
        certifying: Table | None,  # noqa: ARG002 - a budget looks at them
    ) -> Iterator[Turn]:
        """Yield which rows to sample next and up to how many votes each (None: to the end), given all votes so far."""
        yield np.arange(len(votes)), None


def certified_levels(outcomes: Int[np.ndarray, "rows levels"]) -> Counts:
    """Return how many levels are certified together with all lower ones."""
    return np.asarray(np.cumprod(outcomes == CERTIFIED, axis=-1).sum(-1))


def leader_and_rest(votes: Table) -> tuple[Counts, Counts]:
    """Return the votes of the class with most, and those of all others."""
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
