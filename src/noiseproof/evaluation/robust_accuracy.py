"""Verdicts from the votes on attacked images, and accuracy under attack with its confidence interval."""

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
    """The outcome of the votes on an attacked image, from best to worst for the defence."""

    RIGHT = 0
    ABSTAINED = 1
    WRONG = 2


def voted_class(
    votes: Int[np.ndarray, "*rows classes"], alpha: float, *, noisy: bool = True
) -> Int[np.ndarray, "*rows"]:
    """Return the class that the votes decide for, or ABSTAIN.

    With noise, the winner if a two-sided binomial test against the runner-up rejects at level alpha (Hung and Fithian
    2019), valid for a number of votes that was fixed beforehand. Without noise the class with the most votes.

    Args:
        votes: counts per class.
        alpha: probability, at most, that a class other than the most probable one is returned.
        noisy: whether votes are random.

    Raises:
        InvalidInputError: alpha outside (0, 1), or invalid votes.
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
    """Return the `Verdict` for each size and image: `voted_class`, with the same arguments, against the labels."""
    found = voted_class(votes, alpha, noisy=noisy)
    wrong = np.where(found == ABSTAIN, Verdict.ABSTAINED, Verdict.WRONG)
    return np.where(found == labels, Verdict.RIGHT, wrong).astype(np.int64)


def worst_so_far(found: Int[np.ndarray, "sizes images"]) -> Int[np.ndarray, "sizes images"]:
    """Return the worst verdict up to each size, ascending: a perturbation within a size is within every larger one."""
    return np.maximum.accumulate(found, axis=0)


def worst_of(found: Sequence[Int[np.ndarray, "sizes images"]]) -> Int[np.ndarray, "sizes images"]:
    """Return the worst verdict of several attacks on the same images at the same sizes.

    Raises:
        InvalidInputError: no attack, or verdicts of different shapes.
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
        sizes: of the attack, ascending.
        robust: right at every point found up to that size.
        abstained: the worst verdict up to that size is to abstain.
        wrong: some point up to that size is classified wrongly.
        low: lower end of the 95 % Clopper-Pearson interval of `robust`, valid for a population from which the images
            are independent draws, which every n-th image of a file is not.
        high: upper end of the interval.
    """

    images: int
    sizes: Float[np.ndarray, " sizes"]
    robust: Float[np.ndarray, " sizes"]
    abstained: Float[np.ndarray, " sizes"]
    wrong: Float[np.ndarray, " sizes"]
    low: Float[np.ndarray, " sizes"]
    high: Float[np.ndarray, " sizes"]


def summarise_verdicts(found: Int[np.ndarray, "sizes images"], sizes: Float[np.ndarray, " sizes"]) -> RobustSummary:
    """Compute the shares at each size.

    Up to the randomness of the votes, `robust` is an upper bound of the robust accuracy of a classifier that abstains
    in this way. The ideal smoothed classifier, to which certificates refer, does not abstain: its upper bound is
    `robust + abstained`. An attack that finds nothing proves nothing.
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
