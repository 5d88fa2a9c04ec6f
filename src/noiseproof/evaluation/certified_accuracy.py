"""Certified accuracy of a data set as a function of the radius, with confidence bounds."""

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
"""Bound of the relative error of SciPy's hypergeometric tail up to a million images (tests compare with fractions)."""


@dataclass(frozen=True)
class Summary:
    """The results of a data set under one bound, certificate and alpha; accuracies are fractions of all images.

    Attributes:
        images: N.
        natural_accuracy: clean accuracy of the smoothed classifier: the class with the most votes is the label, whether
            or not it abstains.
        abstained: fraction of images on which the smoothed classifier abstains at level alpha.
        average_certified_radius: ACR, the mean over all images of the radius where the prediction is right, else 0.
        radii: where certified accuracy is given, in the norm of the noise and pixel units.
        certified_accuracy: fraction of images that are right, not abstained, and certified at each of `radii`.
        allowance: `failure_allowance`, to be subtracted from certified accuracy for a lower bound at all radii
            simultaneously. NaN while images are missing, so that nothing can be derived from it.
        confidence: confidence level of that lower bound, and of each of `population`; NaN while images are missing.
        population: `file_lower_bound` at each of `radii`, valid for one radius at a time; None where the images are
            neither all of a file nor a random subset of it.
        paper_statement: the paper's "multiply 95 %", (1 - alpha) times certified accuracy, which is no lower bound.
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

    At r = 0 this is the fraction of correct predictions, where abstention counts as an error. Not increasing in r.
    """
    right = certified.prediction == labels
    reached = np.sort(np.where(right, certified.radius, -1.0))
    return 1.0 - np.searchsorted(reached, radii, side="left") / len(labels)


def failure_allowance(images: int, alpha: float, rho: float = 0.05) -> float:
    """Return BinomInv(1 - rho; N, alpha) / N, the share of certified accuracy that false certificates can account for.

    Each certificate is false with probability at most alpha, independently across images, since their noise is. So the
    number of false certificates is stochastically at most Binomial(N, alpha), and with probability at least 1 - rho

        true certified accuracy >= observed - BinomInv(1 - rho; N, alpha) / N      at all radii simultaneously.

    The paper multiplies the observed accuracy by 1 - alpha instead, which is no lower bound. In the worst case, where
    every image that is not robust is certified with probability alpha, the product exceeds the true accuracy t in
    expectation if t < (1 - alpha) / (2 - alpha), which is .487 for alpha = .05.

    Args:
        images: N.
        alpha: failure probability per image.
        rho: failure probability of the lower bound for the data set.

    Raises:
        InvalidInputError: alpha or rho outside (0, 1).
    """
    require_alpha(alpha)
    if not 0.0 < rho < 1.0:
        raise InvalidInputError("rho", required="in (0, 1)", got=repr(rho), remedy="0.05 is usual.")
    return float(binom.ppf(1.0 - rho, images, alpha)) / images


def population_lower_bound(
    certified_right: Int[np.ndarray, " radii"], images: int, alpha: float, rho: float = 0.05
) -> Float[np.ndarray, " radii"]:
    """Lower confidence bound of the certified accuracy on the population from which the images are independent draws.

    With probability at least 1 - rho/2, at most q = BinomInv(1 - rho/2; N, alpha) certificates are false, so at least
    K - q images are truly robust; a Clopper-Pearson bound of level rho/2 for that number accounts for the draw of the
    images. By the union bound the result holds with probability at least 1 - rho, for one radius chosen beforehand.

    Args:
        certified_right: K, the number of images right and certified, for each radius.
        images: N.
        alpha: failure probability per image.
        rho: failure probability of the lower bound.
    """
    failed = round(failure_allowance(images, alpha, rho / 2) * images)
    counts = np.maximum(certified_right - failed, 0)
    return clopper_pearson_lower(counts, np.full_like(counts, images), rho / 2)


def file_lower_bound(
    certified_right: Int[np.ndarray, " radii"], images: int, of: int, alpha: float, rho: float = 0.05
) -> Float[np.ndarray, " radii"]:
    """Lower confidence bound of the certified accuracy on a file of M images, from N drawn without replacement.

    With probability at least 1 - rho/2, at most q = BinomInv(1 - rho/2; N, alpha) certificates are false, so at least
    K - q images of the sample are truly robust. If the file has R robust images, the sample has Hypergeometric(M, R, N)
    of them, whose upper tail increases with R. So with probability at least 1 - rho/2

        R >= min {R: P(Hypergeometric(M, R, N) >= K - q) > rho/2},

    and by the union bound the result holds with probability at least 1 - rho, for one radius chosen beforehand. For
    N = M there is no sampling error: all of rho is spent on false certificates, and the bound is (K - q) / M.

    Every n-th image of a file is not a random subset: if the labels are periodic, it may contain a single class.

    Args:
        certified_right: K, the number of images right and certified, for each radius.
        images: N.
        of: M >= N.
        alpha: failure probability per image.
        rho: failure probability of the lower bound.

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
    """Compute the results of a data set.

    Args:
        certified: predictions and radii of all images.
        labels: the true classes.
        radii: where certified accuracy is computed.
        alpha: failure probability of the certificates.
        rho: failure probability of each lower bound for the data set.
        of: M, if the images are all of a file of M images or a random subset drawn without replacement. The first
            images of a folder, which is sorted by class, and every n-th image are not random subsets.
        whole: whether these are all the images that were chosen beforehand. A run may have been stopped at a favourable
            moment (optional stopping), so no confidence bound is given for a part of them.
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
