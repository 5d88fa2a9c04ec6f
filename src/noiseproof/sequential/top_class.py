"""Identification of the most probable class: the stopping rule of `SmoothedClassifier.predict`."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp

from noiseproof.bounds.base import Votes, require_alpha, require_votes
from noiseproof.certified import ABSTAIN, Certified
from noiseproof.noises import Noise
from noiseproof.sequential.base import (
    CERTIFIED,
    UNDECIDED,
    Criterion,
    SequentialTest,
    StoppingRule,
    require_max_samples,
)
from noiseproof.sequential.boundary import Boundary
from noiseproof.sequential.e_process import rounded_down
from noiseproof.sequential.looks import next_look

__all__ = ["IdentifyTopClass", "TopClass", "TopClassTest", "top_class_certain"]

Table = Int[np.ndarray, "rows classes"]
Counts = Int[np.ndarray, " rows"]
Flags = Bool[np.ndarray, " rows"]


@dataclass(frozen=True)
class IdentifyTopClass(StoppingRule):
    """Stop when the class with the most votes is the most probable one with confidence 1 - alpha (`top_class_certain`).

    The radius is 0: nothing is certified but the class of the smoothed classifier itself.

    Args:
        alpha: probability, per image, of returning a class that is not the most probable one.
        max_samples: largest number of votes per image; only near-ties need many.

    Raises:
        InvalidInputError: alpha outside (0, 1), or max_samples no integer >= 1.

    Example:
        >>> from noiseproof.noises import Gaussian
        >>> IdentifyTopClass(alpha=0.001).under(Gaussian(0.25)).votes_needed(num_classes=10)
        13
    """

    max_samples: int = field(default=10_000, kw_only=True)

    def under(self, noise: Noise) -> "TopClassTest":  # noqa: ARG002 - the same under every noise
        """Return the test; it is the same under every noise."""
        return TopClassTest(TopClass(self.alpha, self.max_samples))

    def spec(self) -> dict[str, Any]:
        """Return alpha and max_samples as plain data."""
        return {"winner": True, "alpha": self.alpha, "cap": self.max_samples}


@dataclass(frozen=True)
class TopClassTest(SequentialTest):
    """`IdentifyTopClass` under a noise."""

    criterion: "TopClass"

    def certify(self, votes: Table, certifying: Table | None = None) -> Certified:  # noqa: ARG002 - one statement
        """Return the class with the most votes where it is certain, with radius 0 and the trivial bounds 0 and 1."""
        outcome = self.criterion.outcomes(votes)
        return Certified(
            prediction=np.where(outcome[:, 0] == CERTIFIED, votes.argmax(-1), ABSTAIN),
            radius=np.zeros(len(votes)),
            p1_lower=np.zeros(len(votes)),
            p2_upper=np.ones(len(votes)),
            votes=votes,
            selection_votes=None,
            outcome=outcome,
        )


@dataclass(frozen=True)
class TopClass(Criterion):
    """Is the class with most votes the most probable one (`top_class_certain`)?

    Args:
        alpha: probability of naming a class that is not most probable, per image.
        max_samples: votes per image at most.
    """

    alpha: float
    max_samples: int

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_max_samples(self.max_samples)

    def certain(self, votes: Table) -> Flags:
        """Whether the class with most votes is certain."""
        ordered = np.partition(votes, -2, axis=-1)
        winner, runner_up = ordered[..., -1], ordered[..., -2]
        # necessary, and quick: the winner against the runner-up alone
        found: Flags = runner_up <= self._pair(votes).most(winner + runner_up)
        found[found] = top_class_certain(votes[found], self.alpha)
        return found

    def outcomes(self, votes: Table) -> Int[np.ndarray, "rows 1"]:
        """Return CERTIFIED where the class with the most votes is certain, otherwise UNDECIDED."""
        return np.where(self.certain(votes), CERTIFIED, UNDECIDED)[:, None]

    def pending(self, votes: Table, reached: Counts | None = None) -> Counts:  # noqa: ARG002 - there is one statement
        """Return the votes up to the next look at which the winner could be certain."""
        ordered = np.partition(votes, -2, axis=-1)
        pair = ordered[..., -1] + ordered[..., -2]
        n = votes.sum(-1)
        soonest = n + np.maximum(self._pair(votes).first(ordered[..., -2]) - pair, 1)
        return np.asarray(np.clip(next_look(soonest) - n, 1, np.maximum(self.max_samples - n, 1)))

    def distance(self, votes: Table) -> Float[np.ndarray, " rows"]:
        """Estimate from the difference of the two shares."""
        n = np.maximum(votes.sum(-1), 1)
        ordered = np.partition(votes, -2, axis=-1) / n[:, None]
        gap = np.maximum(ordered[..., -1] - ordered[..., -2], 1e-6)
        left = -2.0 * math.log(self.alpha) * (ordered[..., -1] + ordered[..., -2]) / gap**2 - n
        return np.asarray(np.clip(left, 1.0, np.maximum(self.max_samples - n, 1)))

    def _open(self, votes: Table) -> Bool[np.ndarray, "rows 1"]:
        """Whether the winner is not certain yet."""
        return ~self.certain(votes)[:, None]

    def _pair(self, votes: Table) -> Boundary:
        """The boundary of winner and runner-up alone."""
        return self._pairs[votes.shape[-1] == 2]

    @cached_property
    def _pairs(self) -> tuple[Boundary, Boundary]:
        """For more classes than two, and for two."""
        more, two = (Boundary(0.5, 0.5, math.log(factor / self.alpha), None) for factor in (2.0, 1.0))
        return more, two


def top_class_certain(votes: Votes, alpha: float) -> Bool[np.ndarray, "*batch"]:
    """Whether argmax_j N_j is a most probable class: with probability >= 1 - alpha, no other class is ever accepted.

    With W(A, f) = W(A, f; 1/2) of `e_process`, winner i, runner-up r and k classes, the winner is accepted if

        k = 2:  W(N_i, N_r) >= 1/alpha;
        k > 2:  W(N_i, n - N_i) >= 2/alpha  (majority),  or  sum over l != r of W(N_l, N_r) / (k - 1) >= 2/alpha  (pairs).

    Proof. Let B be a most probable class, i another that is less probable.
    Pairs: for l != B, W(N_l, N_B) changes only with votes for l or B, and such a vote is for l with probability <= 1/2.
    So it is a supermartingale (`e_process`, 1), and so is the average over l != B. Among all classes in place of r the
    average is smallest for the runner-up, so if i != B is accepted, the average for B is at least 2/alpha: probability
    <= alpha/2 for every k (alpha at k = 2, with pairs alone). The average over l accounts for selecting i by the same
    votes.
    Majority: g(p) as in `boundary.md` at p0 = 1/2, T = 2/alpha. If p_B >= 1/2, another class is accepted with
    probability <= g(1 - p_B) <= g(1/2) <= 1/T. If p_B < 1/2, all p_j <= p_B, so it is <= (1 - p_B) g(p_B)/p_B, a sum of
    terms p_B^(A-1) (1-p_B)^(f+1), which do not decrease up to 1/2 as A - f >= 2 at crossings (W(f+1, f) <= 2 average q
    < 2): again <= g(1/2) <= alpha/2, without a factor for the number of classes.

    If two classes are tied as most probable, either is a right answer; one of them is accepted with probability
    <= 2 alpha.

    Args:
        votes: counts per class, (*batch, k).
        alpha: failure probability per image, over all times together.

    Raises:
        InvalidInputError: alpha or votes outside their domain.
    """
    require_alpha(alpha)
    require_votes("votes", votes)
    ordered = np.sort(votes, axis=-1)
    winner, runner_up, k = ordered[..., -1], ordered[..., -2], votes.shape[-1]
    if k == 2:
        return np.asarray(rounded_down(winner, runner_up, 0.5) >= -math.log(alpha))
    rivals = np.concatenate([ordered[..., :-2], winner[..., None]], axis=-1)
    against = np.broadcast_to(runner_up[..., None], rivals.shape)
    pairs = logsumexp(rounded_down(rivals, against, 0.5), axis=-1) - math.log(k - 1)
    majority = rounded_down(winner, np.asarray(votes.sum(-1) - winner), 0.5)
    return np.asarray(np.maximum(pairs, majority) >= math.log(2.0 / alpha))
