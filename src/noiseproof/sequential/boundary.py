"""The boundary of one level: the numbers of failures among n votes at which the evidence reaches a threshold."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from noiseproof.errors import InvalidInputError
from noiseproof.sequential.base import require_p0
from noiseproof.sequential.e_process import rounded_down
from noiseproof.sequential.prior import FittedPrior

__all__ = ["Boundary", "first_reaching", "log_threshold", "most_failures"]

Counts = Int[np.ndarray, "*batch"]
Reals = Float[np.ndarray, "*batch"]
Rows = Int[np.ndarray, " some"]


def log_threshold(p0: float, alpha: float, *, prior: FittedPrior | None = None) -> float:
    """Return ln T = ln((1 + c)/alpha), the threshold of the evidence if the class is selected by the same votes.

        c = (2 p0)^-(n_min - 1),   n_min = the smallest n with W(n, 0; p0) >= 1/alpha.

    With probability >= 1 - alpha, no class with p_j <= p0 ever has W >= T, for p0 >= 1/2, any number of classes and any
    probabilities. Proof: `boundary.md`.

    Args:
        p0: in [1/2, 1).
        alpha: probability of a false certificate.
        prior: weights of the evidence, learned from other images.
    """
    plain = -math.log(alpha)
    n_min = int(first_reaching(p0, plain, np.array([0]), prior=prior)[0])
    return plain + math.log1p(math.exp(-(n_min - 1) * math.log(2.0 * p0)))


def most_failures(
    n: Counts, p0: float, log_level: float, *, q0: float | None = None, prior: FittedPrior | None = None
) -> Counts:
    """Return the largest f with ln W(n - f, f; p0) >= log_level, or -1 where there is none. Not decreasing in n.

    Args:
        n: votes >= 0.
        p0: in (0, 1).
        log_level: ln T > 0.
        q0: 1 - p0, where it is known to more digits.
        prior: weights learned from other images, for the evidence that certifies.
    """
    rest = 1.0 - p0 if q0 is None else q0
    evidence = rounded_down if prior is None else prior.rounded_down

    def enough(f: Reals, votes: Reals) -> Reals:
        return np.asarray(evidence(votes - f, f, p0, q0=rest) - log_level)

    numbers, place = np.unique(n, return_inverse=True)  # images that are looked at together have one n
    votes = numbers.astype(np.float64)
    most = np.full(votes.shape, -1, dtype=np.int64)
    some = np.flatnonzero(enough(np.zeros_like(votes), votes) >= 0.0)
    # nothing certifies at f = n q0, where W <= 1
    most[some] = _turn(lambda f, rows: enough(f, votes[some[rows]]), np.ceil(votes[some] * rest), np.zeros(len(some)))
    return most[place].reshape(n.shape)


def first_reaching(
    p0: float, log_level: float, failures: Counts, *, q0: float | None = None, prior: FittedPrior | None = None
) -> Counts:
    """Return the smallest n with ln W(n - f, f; p0) >= log_level; strictly increasing in f.

    Args:
        p0: in (0, 1).
        log_level: ln T > 0.
        failures: f >= 0; all at once costs little more than one.
        q0: 1 - p0, where it is known to more digits.
        prior: weights learned from other images, for the evidence that certifies.

    Raises:
        InvalidInputError: p0 or log_level outside its domain, or failures below 0.
    """
    if q0 is None:
        require_p0(p0)
    if not log_level > 0.0:
        raise InvalidInputError("log_level", required="> 0", got=log_level, remedy="It is ln(1/alpha), or more.")
    f, rest = failures.ravel().astype(np.float64), 1.0 - p0 if q0 is None else q0
    if f.size and f.min() < 0.0:
        raise InvalidInputError("failures", required=">= 0", got=f.min(), remedy="They count votes.")
    evidence = rounded_down if prior is None else prior.rounded_down

    def enough(A: Reals, rows: Rows) -> Reals:
        return np.asarray(evidence(A, f[rows], p0, q0=rest) - log_level)

    low = np.floor(f * p0 / rest)  # where W <= 1
    step = 1.0 + np.ceil((log_level + np.sqrt(2.0 * log_level * (f + 1.0))) / rest)
    high, rows = low + step, np.arange(len(f))
    while len(rows):
        rows = rows[enough(high[rows], rows) < 0.0]
        step[rows] *= 2.0
        high[rows] = low[rows] + step[rows]
    return np.asarray((failures.ravel() + _turn(enough, low, high)).reshape(failures.shape))


class Boundary:
    """The boundary of one level: for each number of failures, the smallest n at which the level is certified.

    It is a table that grows where that is efficient: sampling asks for every n, reading a record only for the stopping
    times, up to a million. These are computed one by one until their number exceeds the number of missing entries.
    """

    def __init__(self, p0: float, q0: float, log_level: float, prior: FittedPrior | None) -> None:
        self._p0, self._q0, self._log_level, self._prior = p0, q0, log_level, prior
        self._steps = self._reach(0, 64)
        self._asked = 0  # beyond the table

    def __repr__(self) -> str:
        return f"Boundary(p0={self._p0}, q0={self._q0}, log_level={self._log_level}, prior={self._prior})"

    def most(self, n: Counts) -> Counts:
        """Return the largest number of failures among n votes that reaches the threshold, -1 where none does."""
        largest, far = int(n.max(initial=0)), n >= self._steps[-1]
        self._asked += len(np.unique(n[far]))
        if self._asked >= (largest - self._steps[-1]) * self._q0:  # about as many steps are missing of the table
            while self._steps[-1] <= largest:
                self._extend()
            far = np.zeros_like(far)
        found = np.asarray(np.searchsorted(self._steps, n, side="right") - 1)
        found[far] = most_failures(n[far], self._p0, self._log_level, q0=self._q0, prior=self._prior)
        return found

    def first(self, failures: Counts) -> Counts:
        """Return the smallest n that reaches the threshold with the given number of failures."""
        while len(self._steps) <= failures.max(initial=0):
            self._extend()
        return np.asarray(self._steps[failures])

    def _extend(self) -> None:
        self._steps = np.concatenate([self._steps, self._reach(len(self._steps), 2 * len(self._steps))])

    def _reach(self, start: int, stop: int) -> Int[np.ndarray, " steps"]:
        return first_reaching(self._p0, self._log_level, np.arange(start, stop), q0=self._q0, prior=self._prior)


def _turn(value: Callable[[Reals, Rows], Reals], without: Reals, having: Reals) -> Int[np.ndarray, " n"]:
    """Return the integer next to `without` with value >= 0, for values monotone from `without` (< 0) to `having` (>= 0).

    Regula falsi on the integers, an end that stays being discounted (Illinois), every fourth step a bisection.
    """
    without, having, rows = without.copy(), having.copy(), np.arange(len(having))
    below, above = value(without, rows), value(having, rows)
    steps = 0
    while True:
        open_ = np.abs(having[rows] - without[rows]) > 1.0
        rows, below, above = rows[open_], below[open_], above[open_]
        if not len(rows):
            return having.astype(np.int64)
        steps += 1
        out, inside = without[rows], having[rows]
        share = np.full(len(rows), 0.5) if steps % 4 == 0 else above / (above - below)
        width = np.abs(out - inside)
        middle = inside + np.sign(out - inside) * np.clip(np.rint(share * width), 1.0, width - 1.0)
        found = value(middle, rows)
        good = found >= 0.0
        having[rows] = np.where(good, middle, inside)
        without[rows] = np.where(good, out, middle)
        below, above = np.where(good, 0.5 * below, found), np.where(good, found, 0.5 * above)
