"""What votes on attacked images say: verdicts, and accuracy under attack with its confidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binomtest

from noiseproof.bounds import rank_verified
from noiseproof.bounds.base import require_alpha
from noiseproof.certified import ABSTAIN
from noiseproof.errors import InvalidInputError

__all__ = ["RobustSummary", "Verdict", "summarise_verdicts", "verdicts", "voted_class", "worst_of", "worst_so_far"]

_CONFIDENCE = 0.95


class Verdict(IntEnum):
    """What the votes on an attacked image say, from best to worst for the defence."""

    RIGHT = 0
    ABSTAINED = 1
    WRONG = 2


def voted_class(
    votes: Int[np.ndarray, "*rows classes"], alpha: float, *, noisy: bool = True
) -> Int[np.ndarray, "*rows"]:
    """Return the class that votes name, or ABSTAIN.

    With noise, the winner if a two-sided binomial test tells it from the runner-up at level alpha (Hung and Fithian
    2019): for a number of votes that was fixed beforehand. Without noise a vote is the label of the classifier.

    Args:
        votes: counts.
        alpha: probability, at most, that a class which is not the most probable one is named.
        noisy: whether votes are random.
    """
    require_alpha(alpha)
    winner: Int[np.ndarray, "*rows"] = votes.argmax(-1)
    if not noisy:
        return winner
    flat = votes.reshape(-1, votes.shape[-1])
    return np.where(rank_verified(flat, alpha).reshape(votes.shape[:-1]), winner, ABSTAIN)


def verdicts(
    votes: Int[np.ndarray, "sizes images classes"],
    labels: Int[np.ndarray, " images"],
    alpha: float,
    *,
    noisy: bool = True,
) -> Int[np.ndarray, "sizes images"]:
    """Return the `Verdict` on each point; arguments as `voted_class`."""
    found = voted_class(votes, alpha, noisy=noisy)
    wrong = np.where(found == ABSTAIN, Verdict.ABSTAINED, Verdict.WRONG)
    return np.where(found == labels, Verdict.RIGHT, wrong).astype(np.int64)


def worst_so_far(found: Int[np.ndarray, "sizes images"]) -> Int[np.ndarray, "sizes images"]:
    """Return the worst verdict at each size or a smaller one: a point within a size is within every larger one."""
    return np.maximum.accumulate(found, axis=0)


def worst_of(found: Sequence[Int[np.ndarray, "sizes images"]]) -> Int[np.ndarray, "sizes images"]:
    """Return the worst verdict of several attacks on the same images at the same sizes.

    Raises:
        InvalidInputError: none, or of different shapes.
    """
    if len({verdict.shape for verdict in found}) != 1:
        raise InvalidInputError(
            "attacks",
            required="at least one, all on the same images at the same sizes",
            got=[verdict.shape for verdict in found],
            remedy="Run them with the same epsilons=, every= and limit=.",
        )
    worst: Int[np.ndarray, "sizes images"] = np.maximum.reduce(list(found))
    return worst


@dataclass(frozen=True)
class RobustSummary:
    """Accuracy under attack: shares of all images at each size, which add up to 1.

    Attributes:
        images: N.
        sizes: of the attack.
        robust: right, under every point found up to that size.
        abstained: the worst verdict up to that size is to abstain.
        wrong: some point up to that size is classified wrongly.
        low: lower end of the Clopper-Pearson interval of `robust` at 95 %, valid for a population from which the images
            are independent draws; every n-th image of a file is none.
        high: upper end.
    """

    images: int
    sizes: Float[np.ndarray, " sizes"]
    robust: Float[np.ndarray, " sizes"]
    abstained: Float[np.ndarray, " sizes"]
    wrong: Float[np.ndarray, " sizes"]
    low: Float[np.ndarray, " sizes"]
    high: Float[np.ndarray, " sizes"]


def summarise_verdicts(found: Int[np.ndarray, "sizes images"], sizes: Float[np.ndarray, " sizes"]) -> RobustSummary:
    """Compute the shares.

    An attack that finds nothing proves nothing: `robust` bounds, from above and but for the chance of votes, what a
    classifier that abstains in this way keeps right under every attack. The ideal smoothed classifier, of which
    certificates speak, does not abstain: `robust + abstained` is the bound for it.
    """
    worst = worst_so_far(found)
    images = worst.shape[1]
    counts = [(worst == verdict).sum(1) for verdict in Verdict]
    intervals = [binomtest(int(right), images).proportion_ci(_CONFIDENCE) for right in counts[Verdict.RIGHT]]
    right, abstained, wrong = (count / images for count in counts)
    return RobustSummary(
        images=images,
        sizes=sizes,
        robust=right,
        abstained=abstained,
        wrong=wrong,
        low=np.array([float(interval.low) for interval in intervals]),
        high=np.array([float(interval.high) for interval in intervals]),
    )
