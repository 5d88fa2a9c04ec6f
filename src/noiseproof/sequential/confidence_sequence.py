"""The confidence sequence: all p0 that the votes so far have not rejected, valid for every radius simultaneously."""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from noiseproof.bounds.base import Bound, Interval, Table, require_alpha, require_share
from noiseproof.errors import InvalidInputError
from noiseproof.sequential.e_process import log_evidence, log_mass, rounded_down

__all__ = ["AnytimeSinglePhase", "lower_bound", "rest_bound"]

Counts = Int[np.ndarray, "*batch"]
Reals = Float[np.ndarray, "*batch"]

_STEPS = 60


@dataclass(frozen=True)
class AnytimeSinglePhase(Bound):
    """The anytime-valid form of `SinglePhase`: it may be evaluated after every vote.

        A = argmax_j N_j;  if W(N_A, n - N_A; 1/2) >= 1/(eta alpha):
        p1_lower = the lower bound of the confidence sequence at (1 - eta) alpha,  p2_upper = 1 - p1_lower.

    The probability that a bound is false at any n is <= alpha, for any number of classes. So the largest p1_lower over
    time is valid too, and certificates of several radii need no correction.

    Proof. g(p) = P(a class of probability p ever has W(1/2) >= 1/(eta alpha)), g(p)/p not decreasing on [0, 1/2] and
    g(1/2) <= eta alpha (`boundary.md`). (1) Some p_B > 1/2: a false statement names B with p_B below its bound, at most
    (1 - eta) alpha, or names another class, at most g(1 - p_B) <= eta alpha. (2) All p_j <= 1/2: any class is named
    with probability <= sum 2 p_j g(1/2) <= 2 eta alpha <= alpha.

    Args:
        eta: share of alpha for selecting the class, in (0, 1/2].

    Raises:
        InvalidInputError: eta is outside (0, 1/2].
    """

    eta: float = 0.02
    selection_samples: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        require_share("eta", self.eta, 0.5)

    def interval(self, votes: Table, selection_votes: Table | None, alpha: float) -> Interval:  # noqa: ARG002
        """Compute the interval at the present votes."""
        n, winner = votes.sum(-1), votes.max(-1)
        named = rounded_down(winner, n - winner, 0.5) >= -math.log(self.eta * alpha)
        rest = np.where(named, rest_bound(winner, n, (1.0 - self.eta) * alpha), 1.0)
        return Interval(prediction=votes.argmax(-1), p1_lower=np.where(named, _one_minus(rest), 0.0), p2_upper=rest)


def lower_bound(successes: Counts, n: Counts, alpha: float) -> Reals:
    """Return L(A, n) = sup {p0: W(A, n - A; p0) >= 1/alpha}, rounded down; 0 for A = 0.

    P(p < L(A, n) at any n) <= alpha, also for the running maximum of L: p is below L only where the e-process against p
    has reached 1/alpha (`e_process`, 1 and 4). L increases with A, and decreases with n for fixed A.

    Args:
        successes: 0 <= A <= n.
        n: number of votes so far, of the same shape.
        alpha: failure probability, in (0, 1), over all times together.

    Raises:
        InvalidInputError: alpha outside (0, 1), or successes not between 0 and n.
    """
    low, rest = _solve(successes, n, alpha)
    return np.where(low < 0.5, low, _one_minus(rest))


def rest_bound(successes: Counts, n: Counts, alpha: float) -> Reals:
    """Return 1 - L(A, n), the upper bound of 1 - p, rounded up, with full relative accuracy where L is close to 1.

    The relative error is below 1e-12 for n up to 1e7. Arguments as `lower_bound`.
    """
    return _solve(successes, n, alpha)[1]


def _one_minus(rest: Reals) -> Reals:
    return np.asarray(np.nextafter(1.0 - rest, 0.0) * (rest < 1.0))


def _solve(successes: Counts, n: Counts, alpha: float) -> tuple[Reals, Reals]:
    """Return (L, 1 - L), each to its own digits: Newton's method for ln W = ln(1/alpha) in y = ln(p0/(1 - p0)).

    The derivative is d ln W/dy = -(A - n p0) + sqrt(p0 (1-p0)) (1 - 1/W) / (2 arccos sqrt(p0)). ln W is convex in y up
    to its slowly varying terms, so that steps come from the left; at the end W is evaluated where the answer lies, and
    it moves left until that is enough evidence after rounding.
    """
    require_alpha(alpha)
    if successes.shape != n.shape or not ((successes >= 0).all() and (successes <= n).all()):
        raise InvalidInputError(
            "successes",
            required="between 0 and n, of its shape",
            got="others",
            remedy="Pass A and n of the same looks.",
        )
    A, f = successes.ravel().astype(np.float64), (n - successes).ravel().astype(np.float64)
    low, rest = np.zeros_like(A), np.ones_like(A)
    rows = np.flatnonzero(A > 0.0)
    A, f = A[rows], f[rows]
    y = _start(A, f, alpha)
    left = np.arange(len(rows))
    for _ in range(_STEPS):
        step = _step(A[left], f[left], y[left], alpha)
        y[left] += step
        left = left[np.abs(step) > 1e-9]
        if not len(left):
            break
    assert not len(left)  # noqa: S101 - convex: from the left it converges in a dozen steps
    y += _step(A, f, y, alpha)
    y = _backed(A, f, y, alpha)
    low[rows], rest[rows] = _chances(y)
    return np.nextafter(low, 0.0).reshape(n.shape), np.minimum(rest * (1.0 + 4e-16), 1.0).reshape(n.shape)


def _start(A: Reals, f: Reals, alpha: float) -> Reals:
    """A point left of the root: the normal approximation of the log odds, with some more standard deviations."""
    a, b = A + 0.5, f + 0.5
    level = 2.0 * -math.log(alpha) + np.log(A + f + 1.0)
    return np.asarray(np.log(a / b) - np.sqrt(level * (1.0 / a + 1.0 / b)) - level / (2.0 * a))


def _chances(y: Reals) -> tuple[Reals, Reals]:
    """p0 and 1 - p0 of log odds y."""
    small = np.exp(-np.abs(y)) / (1.0 + np.exp(-np.abs(y)))
    large = 1.0 / (1.0 + np.exp(-np.abs(y)))
    return np.where(y < 0.0, small, large), np.where(y < 0.0, large, small)


def _step(A: Reals, f: Reals, y: Reals, alpha: float) -> Reals:
    """Newton's step, or 1 to the left where the evidence is too weak for a slope."""
    p0, q0 = _chances(y)
    evidence = log_evidence(A, f, p0, q0=q0)
    slope = f * p0 - A * q0 - np.sqrt(p0 * q0) * np.exp(-log_mass(p0, q0)) * np.expm1(-np.maximum(evidence, 0.0))
    usable = (evidence > 0.1 * -math.log(alpha)) & (slope < 0.0)
    return np.where(usable, (-math.log(alpha) - evidence) / np.where(usable, slope, -1.0), -1.0)


def _backed(A: Reals, f: Reals, y: Reals, alpha: float) -> Reals:
    """Move left until the evidence is there after rounding: by 1e-15, 2e-15, 4e-15, .. beyond the rounding of y."""
    y, back, rows = y.copy(), 4e-16 * np.maximum(np.abs(y), 1.0), np.arange(len(y))
    while True:
        p0, q0 = _chances(y[rows])
        rows = rows[rounded_down(A[rows], f[rows], p0, q0=q0) < -math.log(alpha)]
        if not len(rows):
            return y
        y[rows] -= back[rows]
        back[rows] *= 2.0
