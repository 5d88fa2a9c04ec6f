"""From votes to probabilities: what all bounds share (the paper, "Confidence Interval and Sample Size").

Notation: k classes, N_j votes for class j out of n, p_j the probability that the base classifier returns j under noise.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betainc, betaincc, betainccinv, betaincinv

from noiseproof.errors import InvalidInputError
from noiseproof.plugins import spec_of

__all__ = [
    "Bound",
    "Interval",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "rank_p_value",
    "require_alpha",
    "require_share",
    "require_votes",
]

Votes = Int[np.ndarray, "*batch classes"]
Table = Int[np.ndarray, "images classes"]


@dataclass(frozen=True)
class Interval:
    """A prediction with simultaneous one-sided confidence bounds.

    Attributes:
        prediction: the class A that the votes select.
        p1_lower: lower confidence bound of p_A.
        p2_upper: upper confidence bound of max over j != A of p_j.
    """

    prediction: Int[np.ndarray, "*batch"]
    p1_lower: Float[np.ndarray, "*batch"]
    p2_upper: Float[np.ndarray, "*batch"]


class Bound(ABC):
    """A procedure that turns votes into (A, p1_lower, p2_upper).

    With probability at least 1 - alpha over the noise, p_A >= p1_lower and p_j <= p2_upper for every class j other than
    A. The procedure, n and alpha must be fixed before the votes are seen: the best of several results has no such
    guarantee.
    """

    selection_samples: int
    """Number of votes of a separate selection phase, which only choose the class (0: there is no such phase)."""

    def alike(self, other: "Bound") -> bool:
        """Whether another bound gives the same interval for the same votes: all but `selection_samples` are equal."""
        one, two = spec_of(self), spec_of(other)
        return {**one, "selection_samples": 0} == {**two, "selection_samples": 0}

    @abstractmethod
    def interval(self, votes: Table, selection_votes: Table | None, alpha: float) -> Interval:
        """Compute A, p1_lower and p2_upper for validated counts of shape (images, k). Callers use `__call__`."""

    @final
    def __call__(self, votes: np.ndarray, *, alpha: float, selection_votes: np.ndarray | None = None) -> Interval:
        """Compute A, p1_lower and p2_upper for every image.

        Args:
            votes: counts per class, shape (*batch, k), k >= 2, at least one vote per image.
            alpha: failure probability per image, in (0, 1).
            selection_votes: counts of the selection phase, drawn with independent noise; required where
                `selection_samples` > 0, ignored elsewhere.

        Returns:
            Arrays of shape (*batch).

        Raises:
            InvalidInputError: alpha, votes or selection votes are not as above.
        """
        require_alpha(alpha)
        require_votes("votes", votes)
        if self.selection_samples > 0:
            if selection_votes is None:
                raise InvalidInputError(
                    "selection_votes",
                    required=f"given for {type(self).__name__}, which must not choose the class by the votes it counts",
                    got="None",
                    remedy="Sample a selection phase, or use a bound of one phase: single-phase, winner-runner-up or bonferroni.",
                )
            require_votes("selection_votes", selection_votes)
            if selection_votes.shape != votes.shape:
                raise InvalidInputError(
                    "selection_votes",
                    required=f"of the shape of votes, {votes.shape}",
                    got=selection_votes.shape,
                    remedy="Pass both for the same images and classes.",
                )
        batch, k = votes.shape[:-1], votes.shape[-1]
        selection = None if selection_votes is None else selection_votes.reshape(-1, k)
        found = self.interval(votes.reshape(-1, k), selection, alpha)
        return Interval(found.prediction.reshape(batch), found.p1_lower.reshape(batch), found.p2_upper.reshape(batch))


def clopper_pearson_lower(
    successes: Int[np.ndarray, "*batch"], n: Int[np.ndarray, "*batch"], alpha: float
) -> Float[np.ndarray, "*batch"]:
    """One-sided lower bound: lo(N; n, alpha) = BetaInv(alpha; N, n - N + 1), and 0 for N = 0, rounded down.

    P(p < lo(N)) <= alpha for N ~ Binomial(n, p) and every p (Clopper and Pearson, 1934). The returned number satisfies
    P(Bin(n, lo(N)) >= N) <= alpha in spite of rounding (`_verified`). Where the trials are independent with different
    probabilities p_1, ..., p_n, a bound of at least 1/2 at alpha <= 1/4 also holds for their mean (Hoeffding 1956,
    theorem 4).
    """
    positive = successes > 0
    a = np.where(positive, successes, 1)
    return np.where(positive, _verified(betaincinv, _beta_tail, a, n - successes + 1, n, alpha, -1.0), 0.0)


def clopper_pearson_upper(
    successes: Int[np.ndarray, "*batch"], n: Int[np.ndarray, "*batch"], alpha: float
) -> Float[np.ndarray, "*batch"]:
    """One-sided upper bound: hi(N; n, alpha) = BetaInv(1 - alpha; N + 1, n - N), and 1 for N = n, rounded up.

    P(p > hi(N)) <= alpha for N ~ Binomial(n, p) and every p.
    """
    below = successes < n
    b = np.where(below, n - successes, 1)
    return np.where(below, _verified(betainccinv, betaincc, successes + 1, b, n, alpha, 1.0), 1.0)


def _beta_tail(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
    """P(Bin(a + b - 1, p) >= a), from the smaller of p and 1 - p, for which SciPy is more accurate."""
    return np.where(p < 0.5, betainc(a, b, p), betaincc(b, a, 1.0 - p))


def _verified(
    inverse: Callable[..., np.ndarray],
    tail: Callable[..., np.ndarray],
    a: Int[np.ndarray, "*batch"],
    b: Int[np.ndarray, "*batch"],
    n: Int[np.ndarray, "*batch"],
    alpha: float,
    outwards: float,
) -> Float[np.ndarray, "*batch"]:
    """Return the p with tail(a, b, p) = alpha, moved outwards until the tail is at most alpha despite SciPy's errors.

    The inverse has an error of up to 1e-10 in either direction. The error of the tail is below half of `error`, by
    comparison with 34 digits up to n = 1e8 (tests), and the computed tail at the returned p is that much below alpha.
    """
    a, b, error = (each.ravel() for each in np.broadcast_arrays(a, b, np.minimum(2e-12 + 2e-17 * n, 0.25)))
    p, left, step = np.asarray(inverse(a, b, alpha * (1.0 - 2.0 * error))), np.arange(len(a)), 2.0**-53
    while len(left := left[tail(a[left], b[left], p[left]) > alpha * (1.0 - error[left])]):
        step = min(2.0 * step, 1.0)
        p[left] = np.minimum(p[left] * (1.0 + outwards * step), 1.0)
    return p.reshape(n.shape)


def rank_p_value(votes: Votes) -> Float[np.ndarray, "*batch"]:
    """P-value of the two-sided binomial test of winner against runner-up: min(1, 2 P(Bin(N_1 + N_2, 1/2) >= N_1)).

    N_1 >= N_2 are the two largest counts. The test is valid for the winner chosen by the same votes among any number of
    classes (Hung and Fithian, "Rank verification for exponential families", Annals of Statistics 2019; used by Cohen et
    al. 2019 for prediction).
    """
    require_votes("votes", votes)
    runner_up, winner = np.moveaxis(np.partition(votes, -2, axis=-1)[..., -2:], -1, 0)
    return np.asarray(np.minimum(2.0 * betainc(winner, runner_up + 1, 0.5), 1.0))


def require_alpha(alpha: object) -> None:
    """Raise `InvalidInputError` unless alpha is a number in the open interval (0, 1)."""
    number = isinstance(alpha, float | int | np.floating) and not isinstance(alpha, bool)
    if not number or not math.isfinite(alpha) or not 0.0 < alpha < 1.0:  # type: ignore[arg-type, operator]
        raise InvalidInputError(
            "alpha",
            required="a failure probability in the open interval (0, 1)",
            got=repr(alpha),
            remedy="Usual values are 0.001 and 0.05; 95 % confidence is alpha = 0.05.",
        )


def require_share(name: str, value: float, largest: float) -> None:
    """Raise `InvalidInputError` unless a share of alpha lies in (0, largest] and is below 1."""
    if not 0.0 < value <= largest or value >= 1.0:
        raise InvalidInputError(
            name, required=f"in (0, {largest:g}] and below 1", got=repr(value), remedy="0.02 is the default."
        )


def require_votes(name: str, votes: object) -> None:
    """Raise `InvalidInputError` unless votes are counts of at least two classes with at least one vote per row."""
    fault = None
    if not isinstance(votes, np.ndarray) or votes.dtype.kind not in "iu":
        fault = f"{type(votes).__name__} of {getattr(votes, 'dtype', 'no dtype')}"
    elif votes.ndim == 0 or votes.shape[-1] < 2:
        fault = f"shape {votes.shape}"
    elif (votes < 0).any():
        fault = f"a count of {votes.min()}"
    elif (votes.sum(-1) == 0).any():
        fault = "an image without any vote"
    if fault is not None:
        raise InvalidInputError(
            name,
            required="an integer NumPy array (*batch, classes) of counts >= 0, at least two classes, a vote per image",
            got=fault,
            remedy="Pass the counts per class, one row per image.",
        )
