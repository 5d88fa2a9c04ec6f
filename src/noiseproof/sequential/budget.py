"""A budget of samples for all images of a call together, spent first on the images that few votes decide."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from noiseproof.errors import InvalidInputError, require_count
from noiseproof.noises import Noise
from noiseproof.sequential.base import Criterion, SequentialTest, StoppingRule, Table, Turn

__all__ = ["SharedBudget"]

_FIRST_TURN = 64
"""Votes per image of the first turn."""


@dataclass(frozen=True)
class SharedBudget(StoppingRule):
    """A stopping rule that also ends when all images together have had `samples` votes.

    The budget is spent in rounds; in each of them undecided images double their votes, so images that few votes decide
    come first. If the budget does not suffice for a round, the images expected to be decided soonest are sampled
    (`Criterion.distance`, then order). The allocation depends on the votes alone. Votes drawn after an image's stopping
    time are not counted. The certificates stay valid, because the evidence is valid at any stopping time.

    Args:
        rule: the stopping rule of each image.
        samples: votes for all images of a call together.

    Raises:
        InvalidInputError: samples is no integer >= 1.

    Example:
        >>> from noiseproof.sequential import CertifyRadii
        >>> SharedBudget(CertifyRadii(0.5), 1_000_000).max_samples
        100000
    """

    rule: StoppingRule
    samples: int
    alpha: float = field(init=False, repr=False, compare=False)
    max_samples: int = field(init=False, repr=False, compare=False)

    all_images_at_once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", self.rule.alpha)
        object.__setattr__(self, "max_samples", self.rule.max_samples)
        require_count("samples", self.samples, 1, "Votes for all images together.")

    def under(self, noise: Noise) -> SequentialTest:
        """Return the test of the rule itself."""
        return self.rule.under(noise)

    def spec(self) -> dict[str, Any]:
        """Raise `InvalidInputError`: votes depend on the other images, so shards cannot record them."""
        raise InvalidInputError(
            "stop", required="without a shared budget, for a record", got=repr(self), remedy="Pass its rule."
        )

    def turns(self, criterion: Criterion, votes: Table, certifying: Table | None) -> Iterator[Turn]:
        """Yield rounds until the budget is spent or no image is left."""
        until, budget = _FIRST_TURN, self.samples
        while budget > 0:
            reached = None if certifying is None else criterion.reached(certifying)
            left = np.flatnonzero(~criterion.ended(votes, reached) & (votes.sum(-1) < until))
            if not len(left):
                if until >= criterion.max_samples:
                    return
                until *= 2
                continue
            left = left[np.argsort(criterion.distance(votes[left]), kind="stable")]
            n = votes[left].sum(-1)
            sure = left[np.cumsum(until - n) <= budget]  # whatever they stop at, the budget suffices
            before = votes.sum()
            # where it suffices for none, the first of them gets the rest
            yield (sure, until) if len(sure) else (left[:1], int(n[0]) + budget)
            budget -= int(votes.sum() - before)
