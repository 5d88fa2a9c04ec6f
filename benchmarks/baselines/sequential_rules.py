"""Tests of one level, p > p0, in one form, with their exact laws: ours, and what others do.

Two numbers of failures for every n say what a test does, so that the votes it takes can be computed exactly, by dynamic
programming over (votes, failures), instead of being simulated. The benchmark compares the tests; the test suite uses them
as oracles for `noiseproof.sequential`.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import betainc, betaln, xlog1py, xlogy

from noiseproof.bounds.base import require_alpha
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.sequential import (
    CERTIFIED,
    FUTILE,
    UNDECIDED,
    FittedPrior,
    first_reaching,
    log_threshold,
    most_failures,
)
from noiseproof.sequential.base import require_p0

__all__ = [
    "FixedNumber",
    "JeffreysTest",
    "KrichevskyTrofimov",
    "Law",
    "OneLevelTest",
    "Stages",
    "UnionBound",
    "exact_law",
    "first_certifying",
]

Counts = Int[np.ndarray, "*batch"]

_NEGLIGIBLE = 1e-24
"""Probabilities below it at the ends of the state are dropped; they are counted in `Law.lost`."""


class OneLevelTest(ABC):
    """Decides "p > p0" for one class by its votes: for every n, two numbers of failures (votes for any other class).

    Certified where failures <= `certified_up_to`(n), given up where failures >= `given_up_from`(n). A wrong certificate
    has probability at most alpha, whatever p <= p0 and whoever chooses when to look; giving up only takes certificates
    away.
    """

    restarts: tuple[int, ...] = ()
    """Numbers of votes after which failures are counted afresh: rules that do not use the votes of earlier stages."""

    @abstractmethod
    def certified_up_to(self, n: Counts) -> Counts:
        """Return the most failures among n votes that still certify; -1 where none do."""

    def given_up_from(self, n: Counts) -> Counts:
        """Return the least failures among n votes that end the sampling without a certificate; n + 1: none do."""
        return n + 1

    @final
    def decide(self, successes: Counts, n: Counts) -> Counts:
        """Return `CERTIFIED`, `UNDECIDED` or `FUTILE` for `successes` votes out of n."""
        if n.size and not ((successes >= 0).all() and (successes <= n).all()):
            raise InvalidInputError(
                "successes", required="between 0 and n", got="others", remedy="Pass the votes of one class."
            )
        failures = n - successes
        futile = np.where(failures >= self.given_up_from(n), FUTILE, UNDECIDED)
        return np.asarray(np.where(failures <= self.certified_up_to(n), CERTIFIED, futile))


@dataclass(frozen=True)
class JeffreysTest(OneLevelTest):
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
        level = _log_level(self.p0, self.alpha, self.prior, every_class=self.every_class)
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


@dataclass(frozen=True)
class FixedNumber(OneLevelTest):
    """Cohen et al. (2019): one look at n = samples, Clopper-Pearson at alpha. It never stops before."""

    p0: float
    alpha: float
    samples: int = 100_000

    def __post_init__(self) -> None:
        require_p0(self.p0)
        require_alpha(self.alpha)
        require_count("samples", self.samples, 1, "100 000 is the field's usual number.")

    def certified_up_to(self, n: Counts) -> Counts:
        """Return the most failures with P(Bin(n, p0) >= n - f) <= alpha at n = samples, -1 elsewhere."""
        return np.where(n == self.samples, _most_fixed(self.samples, self.p0, self.alpha), -1)

    def given_up_from(self, n: Counts) -> Counts:
        """Return 0 at n = samples: there it ends."""
        return np.where(n >= self.samples, 0, n + 1)


@dataclass(frozen=True)
class UnionBound(OneLevelTest):
    """Clopper-Pearson at geometric moments n_j with levels that sum to alpha (Voracek 2024, "union bound").

        n_j = first integer > first ratio^(j-1) that is above n_(j-1),   alpha_j = (s + 1) alpha / ((j + s) (j + s + 1)).

    The defaults are the published choice, ratio 1.1, s = 4 and moments from 1.1^11 on; s = 0 is alpha / (j (j + 1)).
    As published, it stops between moments as soon as the successes suffice for the next one, whatever follows.
    """

    p0: float
    alpha: float
    first: float = 1.1**11
    ratio: float = 1.1
    shift: int = 4

    def __post_init__(self) -> None:
        require_p0(self.p0)
        require_alpha(self.alpha)
        require_count("shift", self.shift, 0, "4 is the published choice.")
        if not (self.ratio > 1.0 and self.first >= 1.0):
            raise InvalidInputError(
                "ratio and first",
                required="> 1 and >= 1",
                got=f"{self.ratio}, {self.first}",
                remedy="Use 1.1 for both.",
            )

    def moments(self, last: int) -> Int[np.ndarray, " moments"]:
        """Return n_1 < n_2 < .. up to the first that is >= last."""
        found, power = [0], self.first
        while found[-1] < last:
            found.append(max(math.floor(power) + 1, found[-1] + 1))
            power *= self.ratio
        return np.array(found[1:], dtype=np.int64)

    def certified_up_to(self, n: Counts) -> Counts:
        """Return n less the successes that the next moment asks for; -1 where that is more than n."""
        moments = self.moments(int(n.max(initial=1)))
        j = np.arange(1, len(moments) + 1)
        s = self.shift
        levels = (s + 1) * self.alpha / ((j + s) * (j + s + 1))
        most = np.array([_most_fixed(int(m), self.p0, float(a)) for m, a in zip(moments, levels, strict=True)])
        asked = np.where(most >= 0, moments - most, 2**62)
        place = np.searchsorted(moments, n)
        return np.asarray(np.maximum(n - asked[place], -1))


@dataclass(frozen=True)
class Stages(OneLevelTest):
    """Horvath et al. (2022), "adaptive sampling": stages of n_1 < n_2 < .. votes, Clopper-Pearson at alpha/s each.

    Every stage draws its own votes, as in their code; `reuse` keeps the earlier ones, as in Voracek's comparison. After
    every stage but the last it gives up if the upper bound at beta/(s - 1) is below p0, after the last in any case.
    Their selection votes, drawn anew in every stage, are not counted here: the class is given.
    """

    p0: float
    alpha: float
    beta: float = 1e-4
    sizes: tuple[int, ...] = (100, 1000, 10_000, 120_000)
    reuse: bool = False
    restarts: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        require_p0(self.p0)
        require_alpha(self.alpha)
        require_alpha(self.beta)
        for size in self.sizes:
            require_count("sizes", size, 1, "Votes per stage.")
        object.__setattr__(self, "restarts", () if self.reuse else tuple(int(e) for e in np.cumsum(self.sizes)))

    def certified_up_to(self, n: Counts) -> Counts:
        """Return the most failures of the stage that ends at n, counted from its beginning unless `reuse`."""
        most = np.full_like(n, -1)
        for end, counted in self._ends():
            level = self.alpha / len(self.sizes)
            most[n == end] = _most_fixed(counted, self.p0, level)
        return most

    def given_up_from(self, n: Counts) -> Counts:
        """Return the least failures with P(Bin(counted, p0) <= counted - f) <= beta/(s - 1); 0 after the last stage."""
        least = n + 1
        ends = self._ends()
        for end, counted in ends[:-1]:
            mirrored = _most_fixed(counted, 1.0 - self.p0, self.beta / (len(self.sizes) - 1))
            least[n == end] = counted - mirrored if mirrored >= 0 else counted + 1
        return np.asarray(np.where(n >= ends[-1][0], 0, least))

    def _ends(self) -> list[tuple[int, int]]:
        """The number of votes at the end of every stage, and how many of them are counted there."""
        ends = np.cumsum(self.sizes)
        return [(int(e), int(e) if self.reuse else size) for e, size in zip(ends, self.sizes, strict=True)]


@dataclass(frozen=True)
class KrichevskyTrofimov(OneLevelTest):
    """Betting with Krichevsky and Trofimov's mixture over all q in (0, 1), as Voracek (2024); A/n > p0 is asked besides.

        B(A + 1/2, f + 1/2) / B(1/2, 1/2) >= p0^A (1 - p0)^f / alpha.

    Half of its weight lies on alternatives below p0, which a one-sided question does not have.
    """

    p0: float
    alpha: float

    def __post_init__(self) -> None:
        require_p0(self.p0)
        require_alpha(self.alpha)

    def certified_up_to(self, n: Counts) -> Counts:
        """Return the most failures that certify, by bisection: the ratio decreases with f up to n (1 - p0)."""

        def enough(f: Counts) -> Bool[np.ndarray, "*batch"]:
            A = n - f
            wealth = betaln(A + 0.5, f + 0.5) - math.log(math.pi) - xlogy(A, self.p0) - xlog1py(f, -self.p0)
            return np.asarray((wealth >= -math.log(self.alpha)) & (n * self.p0 < A))

        low, high = np.full_like(n, -1), np.floor(n * (1.0 - self.p0)).astype(np.int64) + 1
        while (high - low > 1).any():
            middle = (low + high) // 2
            good = enough(np.maximum(middle, 0)) & (middle >= 0)
            low, high = np.where(good, middle, low), np.where(good, high, middle)
        return low


def _most_fixed(n: int, p0: float, level: float) -> int:
    """Return the most failures with P(Bin(n, p0) >= n - f) = I_p0(n - f, f + 1) <= level: where lo(n - f) >= p0; or -1."""
    low, high = -1, n  # f = n: the tail is 1
    while high - low > 1:
        f = (low + high) // 2
        low, high = (f, high) if betainc(n - f, f + 1, p0) <= level else (low, f)
    return low


@dataclass(frozen=True)
class Law:
    """How sampling ends, up to a cap of votes.

    Attributes:
        certified_at: the probability to certify at exactly n votes, n = 1, .., cap.
        given_up_at: the probability to give up at exactly n votes.
        lost: probability that was dropped as negligible: a bound of the error of every sum of the two.
    """

    certified_at: Float[np.ndarray, " cap"]
    given_up_at: Float[np.ndarray, " cap"]
    lost: float

    @property
    def certified(self) -> float:
        """The probability of a certificate by the cap: for p <= p0 the error of the first kind."""
        return float(self.certified_at.sum())

    @property
    def given_up(self) -> float:
        """The probability of giving up by the cap."""
        return float(self.given_up_at.sum())

    @property
    def votes(self) -> float:
        """The expected number of votes, min(stopping time, cap)."""
        ended = np.cumsum(self.certified_at + self.given_up_at)
        return float(1.0 + (1.0 - ended[:-1]).sum())


def exact_law(rule: OneLevelTest, p: float, cap: int) -> Law:
    """Compute the law of a rule that looks after every vote, for a class of probability p.

    The state is the probability of every number of failures among n votes with sampling still going on. One vote moves
    it, the rule takes away both ends. Work and memory grow as cap^1.5: 20 000 votes in a fraction of a second.

    Args:
        rule: any rule of stopping.
        p: probability of the class, in [0, 1].
        cap: votes after which the account ends.

    Raises:
        InvalidInputError: p outside [0, 1] or cap < 1.
    """
    require_count("cap", cap, 1, "It is the largest number of votes looked at.")
    if not 0.0 <= p <= 1.0:
        raise InvalidInputError("p", required="in [0, 1]", got=repr(p), remedy="It is the probability of the class.")
    numbers = np.arange(1, cap + 1)
    most, least = rule.certified_up_to(numbers), rule.given_up_from(numbers)
    restarts = set(rule.restarts)
    certified, given_up, lost = np.zeros(cap), np.zeros(cap), 0.0
    state, first = np.ones(1), 0  # state[i]: the probability of first + i failures
    for index in range(cap):
        moved = np.zeros(len(state) + 1)
        moved[:-1] = p * state
        moved[1:] += (1.0 - p) * state
        sure = min(max(int(most[index]) + 1 - first, 0), len(moved))
        futile = min(max(int(least[index]) - first, sure), len(moved))
        certified[index], given_up[index] = moved[:sure].sum(), moved[futile:].sum()
        state, first = moved[sure:futile], first + sure
        if index + 1 in restarts:
            state, first = np.array([state.sum()]), 0
        if not len(state):
            break
        if index % 32 == 0:
            heavy = np.flatnonzero(state > _NEGLIGIBLE)
            start, end = (heavy[0], heavy[-1] + 1) if len(heavy) else (0, 0)
            lost += float(state[:start].sum() + state[end:].sum())
            state, first = state[start:end], first + int(start)
    return Law(certified, given_up, lost)


def first_certifying(
    p0: float, alpha: float, failures: Counts, *, every_class: bool = False, prior: FittedPrior | None = None
) -> Counts:
    """Return the smallest n at which this many failures certify p > p0; strictly increasing in failures.

    alpha = .001: r = .5 sigma 22, 32, 39, 46, 52, 58; sigma 47, 67, 82, 95, 108, 120; 2 sigma 351, 495, 605, 703.

    Args:
        p0: in (0, 1), or [1/2, 1) for every class at once.
        alpha: probability of a wrong certificate.
        failures: f >= 0.
        every_class: as `JeffreysTest`.
        prior: as `JeffreysTest`.

    Raises:
        InvalidInputError: p0 or alpha outside its domain, or failures below 0.
    """
    require_p0(p0, least=0.5 if every_class else 0.0)
    require_alpha(alpha)
    return first_reaching(p0, _log_level(p0, alpha, prior, every_class=every_class), failures, prior=prior)


def _log_level(p0: float, alpha: float, prior: FittedPrior | None, *, every_class: bool) -> float:
    """Return ln T: that of the package for every class at once, ln(1/alpha) for a class that was fixed before."""
    return log_threshold(p0, alpha, prior=prior) if every_class else -math.log(alpha)
