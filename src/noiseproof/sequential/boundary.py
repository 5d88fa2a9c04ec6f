"""One radius: at how many failures among n votes the evidence decides, truncated Jeffreys or with a fitted prior."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from noiseproof.bounds.base import require_alpha
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.sequential.base import Rule, require_p0
from noiseproof.sequential.e_process import rounded_down
from noiseproof.sequential.prior import FittedPrior

__all__ = ["JeffreysRule", "first_certifying", "first_reaching", "log_threshold", "most_failures"]

Counts = Int[np.ndarray, "*batch"]
Reals = Float[np.ndarray, "*batch"]
Rows = Int[np.ndarray, " some"]


@dataclass(frozen=True)
class JeffreysRule(Rule):
    """Certify "p > p0" as soon as W(A, f; p0) >= 1/alpha; give up as soon as the mirrored evidence reaches 1/beta.

        certified: W(A, f; p0) >= T,   T = 1/alpha, or (1 + c)/alpha for every class at once (`log_threshold`);
        given up:  W(f, A; 1 - p0) >= 1/beta, or f > what certifies at n = cap (even if every vote to come succeeded).

    Sound with giving up, optional stopping and looks at any moments: the event "ever certified" only shrinks when
    sampling ends for other reasons, and without them it has probability <= alpha for p <= p0 (`jeffreys`, 1).

    Giving up a class with p >= p0 has probability <= beta (the same theorem with success and failure exchanged), over
    and above reaching the cap. With several classes apply it to the class with most votes: the mirrored evidence
    decreases with A, so when it reaches 1/beta for the leader it does so for every class, also for the one with p > p0;
    the probability of giving up an image that has such a class is <= beta without a factor for the classes.

    Two numbers of failures for every n, so that a look at votes is two comparisons. They are computed when asked for and
    nothing is stored: a scheduler asks for the n at which it looks, all images at once.

    Args:
        p0: the probability to exceed; Phi(r / sigma) for a radius r and Gaussian noise.
        alpha: probability of a wrong certificate.
        every_class: whether the class is the one with most votes so far (p0 >= 1/2), or was fixed before.
        beta: probability of giving up although p >= p0; None never gives up before the cap.
        cap: votes after which sampling ends anyway; None for no such number.
        prior: weights learned from other images, for the evidence that certifies; giving up stays with Jeffreys' weights.
    """

    p0: float
    alpha: float
    every_class: bool = False
    beta: float | None = None
    cap: int | None = None
    prior: FittedPrior | None = None

    def __post_init__(self) -> None:
        require_p0(self.p0, least=0.5 if self.every_class else 0.0)
        require_alpha(self.alpha)
        if self.beta is not None:
            require_alpha(self.beta)
        if self.cap is not None:
            require_count("cap", self.cap, 1, "It is the largest number of votes for an image.")

    def certified_up_to(self, n: Counts) -> Counts:
        """Return the most failures among n votes that certify; -1 where none do, and beyond the cap."""
        level = log_threshold(self.p0, self.alpha, every_class=self.every_class, prior=self.prior)
        found = most_failures(n, self.p0, level, prior=self.prior)
        return found if self.cap is None else np.where(n <= self.cap, found, -1)

    def given_up_from(self, n: Counts) -> Counts:
        """Return the least failures among n votes with which nothing is, or should be, hoped for."""
        least = n + 1
        if self.beta is not None:
            # the mirror: A is to the evidence for p < p0 what f is to that for p > p0
            most = most_failures(n, 1.0 - self.p0, -math.log(self.beta), q0=self.p0)
            least = np.where(most >= 0, n - most, least)
        if self.cap is not None:
            last = int(self.certified_up_to(np.array([self.cap]))[0])
            least = np.where(n >= self.cap, 0, np.minimum(least, last + 1))
        return np.asarray(least)


def first_certifying(
    p0: float, alpha: float, failures: Counts, *, every_class: bool = False, prior: FittedPrior | None = None
) -> Counts:
    """Return the smallest n at which this many failures certify p > p0; strictly increasing in failures.

    alpha = .001: r = .5 sigma 22, 32, 39, 46, 52, 58; sigma 47, 67, 82, 95, 108, 120; 2 sigma 351, 495, 605, 703.

    Args:
        p0: in (0, 1), or [1/2, 1) for every class at once.
        alpha: probability of a wrong certificate.
        failures: f >= 0.
        every_class: as `JeffreysRule`.
        prior: as `JeffreysRule`.

    Raises:
        InvalidInputError: p0 or alpha outside its domain, or failures below 0.
    """
    require_p0(p0, least=0.5 if every_class else 0.0)
    require_alpha(alpha)
    return first_reaching(p0, log_threshold(p0, alpha, every_class=every_class, prior=prior), failures, prior=prior)


def log_threshold(p0: float, alpha: float, *, every_class: bool = False, prior: FittedPrior | None = None) -> float:
    """Return ln T: ln(1/alpha) for a class fixed beforehand, ln((1 + c)/alpha) for whatever class reaches it.

        c = (2 p0)^-(n_min - 1),   n_min = the smallest n with W(n, 0; p0) >= 1/alpha.

    n_min is the first n at which any class could be certified at all, at the smaller threshold 1/alpha: a lower bound of
    that for T itself. Then with probability >= 1 - alpha no class with p_j <= p0 is ever certified, for p0 >= 1/2 and
    any probabilities of any number of classes. W is the evidence that certifies, with its own n_min: the proof is for any
    weights on q > p0, fixed beforehand.

    Proof. Let g(p) be the probability that a class of probability p ever has W >= T. Summed over first crossings (A, f),
    g(p) = sum N(A, f) p^A (1-p)^f, N the number of ways to get there.
    (a) g(p) <= 1/T for p <= p0 (Ville).
    (b) g(p)/p does not decrease on [0, 1/2]: p^(A-1) (1-p)^f does not as long as A - 1 >= f, and every crossing has
        A/n > p0 >= 1/2 (`jeffreys`, 3). So g(x) + g(y) <= g(x + y) where x + y <= 1/2, and g(p) <= 2 p g(1/2).
    (c) g(1/2) <= c/T. At a crossing, a path's probability under 1/2 is exp(-E) times that under p0, with
        E = A ln(2 p0) + f ln(2 (1 - p0)). Let a(f) be the real A with W(A, f) = T. With the average over the weights
        times likelihood, da/df = <-ln((1-q)/(1-p0))> / <ln(q/p0)> >= p0/(1-p0), as p0 <ln(q/p0)> + (1-p0)
        <ln((1-q)/(1-p0))> = -<KL(p0 || q)> <= 0. So A >= a(0) + f p0/(1-p0), and E >= a(0) ln(2 p0) + f KL(p0 || 1/2)
        / (1-p0) >= (n_min - 1) ln(2 p0). Sum over crossings: g(1/2) <= exp(-min E) g(p0).
    If some p_B >= 1/2, the others sum to at most 1/2: they are certified with probability <= g(1 - p_B) <= g(1/2) <= c/T
    (b, c), and B, if wrong at all, <= 1/T (a): together (1 + c)/T = alpha. If all p_j < 1/2: sum g(p_j) <= sum 2 p_j
    g(1/2) = 2 c/T <= (1 + c)/T.

    The looser c = exp(-n_min KL(p0 || 1/2)) follows from A/n > p0 alone; at r = .5 sigma, alpha = .001 it is .19, ours
    .0011. At p0 = 1/2, c = 1: with two classes of 1/2 each, both are wrong.
    """
    plain = -math.log(alpha)
    if not every_class:
        return plain
    n_min = int(first_reaching(p0, plain, np.array([0]), prior=prior)[0])
    return plain + math.log1p(math.exp(-(n_min - 1) * math.log(2.0 * p0)))


def most_failures(
    n: Counts, p0: float, log_level: float, *, q0: float | None = None, prior: FittedPrior | None = None
) -> Counts:
    """Return the largest f with ln W(n - f, f; p0) >= log_level, -1 where there is none; not decreasing in n.

    Args:
        n: votes >= 0.
        p0: in (0, 1).
        log_level: ln T > 0.
        q0: 1 - p0, where it is known to more digits.
        prior: as `JeffreysRule`.
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
        prior: as `JeffreysRule`.

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
