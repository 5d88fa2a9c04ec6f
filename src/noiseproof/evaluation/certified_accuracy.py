"""What the certificates of a data set say together: accuracy against radius, and how sure it is."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binom, hypergeom

from noiseproof.bounds import clopper_pearson_lower
from noiseproof.bounds.base import require_alpha
from noiseproof.certified import ABSTAIN, Certified
from noiseproof.errors import InvalidInputError

__all__ = [
    "Summary",
    "certified_accuracy",
    "failure_allowance",
    "file_lower_bound",
    "population_lower_bound",
    "summarise",
]

_ROUNDING = 1e-9
"""Relative error, at most, of SciPy's hypergeometric tail up to a million images (tests compare with fractions)."""


@dataclass(frozen=True)
class Summary:
    """A data set's figures under one bound, certificate and alpha; fractions of all images.

    Attributes:
        images: N.
        natural_accuracy: the class with most votes is right (abstentions are not counted apart).
        abstained: the votes do not decide at level alpha.
        average_certified_radius: mean over all images of the radius where the prediction is right, else 0 (ACR).
        radii: where certified accuracy is given, in the noise's norm.
        certified_accuracy: right, not abstained, and certified beyond each of `radii`.
        allowance: `failure_allowance`: what to subtract from certified accuracy, at all radii together. NaN, so that
            whatever is computed from it says nothing, while images are missing.
        confidence: with which the subtraction is valid, and each of `population`; NaN while images are missing.
        population: `file_lower_bound` at each of `radii`, each by itself; None where the images are neither all of a file
            nor a random subset of it.
        paper_statement: the paper's "multiply 95 %", (1 - alpha) times certified accuracy: no bound.
    """

    images: int
    natural_accuracy: float
    abstained: float
    average_certified_radius: float
    radii: Float[np.ndarray, " radii"]
    certified_accuracy: Float[np.ndarray, " radii"]
    allowance: float
    confidence: float
    population: Float[np.ndarray, " radii"] | None
    paper_statement: Float[np.ndarray, " radii"]


def certified_accuracy(
    certified: Certified, labels: Int[np.ndarray, " images"], radii: Float[np.ndarray, " radii"]
) -> Float[np.ndarray, " radii"]:
    """Fraction of images classified correctly and certified at each radius r: prediction = label and L >= r.

    At r = 0 this is the accuracy without abstentions. Monotone decreasing in r.
    """
    right = certified.prediction == labels
    reached = np.sort(np.where(right, certified.radius, -1.0))
    return 1.0 - np.searchsorted(reached, radii, side="left") / len(labels)


def failure_allowance(images: int, alpha: float, rho: float = 0.05) -> float:
    """How much of the observed certified accuracy could be due to certificates that failed.

    Each certificate fails with probability at most alpha, independently across images (their noise is), so the number
    of failures is at most a Binomial(N, alpha) in distribution, and with probability at least 1 - rho

        true certified accuracy >= observed - BinomInv(1 - rho; N, alpha) / N      at all radii simultaneously.

    The paper multiplies the observed accuracy by 1 - alpha instead. In the worst case, where every certificate that can
    fail does so with probability alpha, that is above the true accuracy t in expectation unless t >= (1 - alpha) /
    (2 - alpha): .487 at alpha .05. It is no lower bound: below that it nearly always lies, above it rarely.

    Args:
        images: N.
        alpha: failure probability per image.
        rho: failure probability of the statement about the data set.
    """
    require_alpha(alpha)
    if not 0.0 < rho < 1.0:
        raise InvalidInputError("rho", required="in (0, 1)", got=repr(rho), remedy="0.05 is usual.")
    return float(binom.ppf(1.0 - rho, images, alpha)) / images


def population_lower_bound(
    certified_right: Int[np.ndarray, " radii"], images: int, alpha: float, rho: float = 0.05
) -> Float[np.ndarray, " radii"]:
    """Lower bound of the certified accuracy on the population the images were drawn from, independently.

    With probability at least 1 - rho / 2 at most q = BinomInv(1 - rho/2; N, alpha) certificates failed, so the number
    that are truly robust is at least K - q; a Clopper-Pearson bound of level rho / 2 on that number covers the draw of
    the images. Both together hold with probability at least 1 - rho, for one radius chosen beforehand.

    Args:
        certified_right: K, images right and certified, for each radius.
        images: N.
        alpha: failure probability per image.
        rho: failure probability of the statement.
    """
    failed = round(failure_allowance(images, alpha, rho / 2) * images)
    counts = np.maximum(certified_right - failed, 0)
    return clopper_pearson_lower(counts, np.full_like(counts, images), rho / 2)


def file_lower_bound(
    certified_right: Int[np.ndarray, " radii"], images: int, of: int, alpha: float, rho: float = 0.05
) -> Float[np.ndarray, " radii"]:
    """Lower bound of the certified accuracy on a file of M images, of which N were drawn at random without replacement.

    With probability at least 1 - rho / 2 at most q = BinomInv(1 - rho/2; N, alpha) certificates failed, so that at least
    K - q images of the draw are truly robust. With R robust images in the file there are Hypergeometric(M, R, N) of them
    in the draw, of which the tail increases with R: so that with probability at least 1 - rho / 2

        R >= min {R: P(Hypergeometric(M, R, N) >= K - q) > rho/2},

    and both together hold with probability at least 1 - rho, for one radius chosen beforehand. Of all images, N = M,
    nothing is drawn: rho is spent on failed certificates alone, and the bound is (K - q) / M.

    Every n-th image of a file is no random subset: where labels are in rotation, it sees one class.

    Args:
        certified_right: K, images right and certified, for each radius.
        images: N.
        of: M >= N.
        alpha: failure probability per image.
        rho: failure probability of the statement.

    Raises:
        InvalidInputError: more images than the file has, or alpha or rho outside (0, 1).
    """
    if not 1 <= images <= of:
        raise InvalidInputError(
            "images", required=f"from 1 to {of}, those of the file", got=images, remedy="Pass N, and M as `of`."
        )
    level = rho if images == of else rho / 2
    robust = np.maximum(certified_right - round(failure_allowance(images, alpha, level) * images), 0)
    low, high = np.full_like(robust, -1), np.minimum(robust + of - images, of)  # at high the tail is 1, at -1 it is 0
    while (high - low > 1).any():
        middle = (low + high + 1) // 2
        enough = hypergeom.sf(robust - 1, of, np.maximum(middle, 0), images) * (1.0 + _ROUNDING) > level
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.asarray(high / of)


def summarise(
    certified: Certified,
    labels: Int[np.ndarray, " images"],
    radii: Float[np.ndarray, " radii"],
    *,
    alpha: float,
    rho: float = 0.05,
    of: int | None = None,
    whole: bool = True,
) -> Summary:
    """Compute the figures of a data set.

    Args:
        certified: of every image.
        labels: the true classes.
        radii: where certified accuracy is wanted.
        alpha: the one the certificates were computed with.
        rho: failure probability of each statement about the data set.
        of: M, where the images are all of a file of M or a random subset of it, drawn without replacement. Neither the
            first of a folder, which lie class by class, nor every n-th are.
        whole: whether they are all the images that were chosen beforehand. Of a part, whoever stopped may have done so
            at a share to their liking (optional stopping): then no confidence is stated.
    """
    right = certified.prediction == labels
    accuracy = certified_accuracy(certified, labels, radii)
    certified_right = np.rint(accuracy * len(labels)).astype(np.int64)
    return Summary(
        images=len(labels),
        natural_accuracy=float((certified.votes.argmax(-1) == labels).mean()),
        abstained=float((certified.prediction == ABSTAIN).mean()),
        average_certified_radius=float(np.where(right, certified.radius, 0.0).mean()),
        radii=radii,
        certified_accuracy=accuracy,
        allowance=failure_allowance(len(labels), alpha, rho) if whole else math.nan,
        confidence=1.0 - rho if whole else math.nan,
        population=file_lower_bound(certified_right, len(labels), of, alpha, rho) if of is not None and whole else None,
        paper_statement=(1.0 - alpha) * accuracy,
    )
