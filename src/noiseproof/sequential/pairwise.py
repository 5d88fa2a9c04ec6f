"""Sequential test of the winner against every other class, by the votes of winner, runner-up and the rest.

The tight l2 certificate under Gaussian noise reaches r if Phi^-1(p_A) - Phi^-1(p_B) > 2t for every other class B, with
t = r / sigma. A test of p_A alone (`boundary`) assumes the worst case p_B = 1 - p_A. Here each other class is
considered separately, which certifies more where several of them share the other votes.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.special import log_ndtr, logsumexp, ndtr, ndtri, xlogy

from noiseproof.bounds.base import require_alpha
from noiseproof.errors import InvalidInputError
from noiseproof.sequential.base import (
    CERTIFIED,
    FUTILE,
    UNDECIDED,
    Criterion,
    require_beta,
    require_max_samples,
)
from noiseproof.sequential.confidence_sequence import lower_bound
from noiseproof.sequential.e_process import rounded_down
from noiseproof.sequential.looks import next_look
from noiseproof.sequential.top_class import top_class_certain

__all__ = ["AheadOfAll", "PairEvidence"]

Table = Int[np.ndarray, "rows classes"]
Counts = Int[np.ndarray, " rows"]
Flags = Bool[np.ndarray, " rows"]
Reals = Float[np.ndarray, " rows"]

_NAMING = 0.02
"""Share of alpha for identifying the class, as in `AnytimeSinglePhase`."""

_ALONE = 0.75
"""Weight of the winner's evidence by itself. Where one rival has all other votes, T is 4/3 as large, 4 % of ln T at .001."""

_FARTHEST = 8.0
"""The largest t: beyond it Phi(-t) is lost beside 1, and no number of votes would be enough."""

_TANGENTS = np.concatenate([[0.0], np.geomspace(0.03, 4.0, 20)])
"""u of `PairEvidence`. The boundary bends so little that a tangent serves a quarter of u around it."""

_STAKES = 2.0 ** -(0.5 * np.arange(20) + 0.25)
"""lambda over its largest value: from votes that are nearly unanimous to the small steps that a million votes take."""


@dataclass(frozen=True)
class PairEvidence:
    """The e-process E(a, b, o) of a pair of classes against H: Phi^-1(p_A) - Phi^-1(p_B) <= 2t; a, b, o votes for A, B, others.

        E = 3/4 W(a, b + o; Phi(t)) + 1/4 mean_{u, lambda} (1 + lambda (1 - c))^a (1 - lambda (s + c))^b (1 - lambda c)^o,
        s = exp(2tu),  c = Phi(t - u) - s Phi(-t - u),  0 <= lambda < 1/(s + c),

    W is as in `e_process`, the mean is over 21 u and 20 lambda. Under H, E[E] <= 1 at any stopping time. E is smallest
    for the runner-up, and at most 1 if the observed frequencies satisfy H. Proof: `pairwise.md`, 1 to 3.

    Args:
        t: r / sigma >= 0.
    """

    t: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.t <= _FARTHEST:
            raise InvalidInputError("t", required=f"in [0, {_FARTHEST:g}]", got=repr(self.t), remedy="It is r / sigma.")

    def log(self, winner: Counts, rival: Counts, others: Counts) -> Reals:
        """Return ln E minus a bound of its rounding error, which is compared with thresholds.

        Args:
            winner: votes for A.
            rival: votes for B.
            others: votes for all other classes.
        """
        # one product after the other: a matrix product rounds by how many rows there are
        terms = [n[:, None] * row for n, row in zip((winner, rival, others), self._logarithms, strict=True)]
        rounding = 1e-12 + 1e-15 * sum(np.abs(term) for term in terms).max(-1, initial=0.0)
        pair = logsumexp(sum(terms), axis=-1) - math.log(self._logarithms.shape[-1]) - rounding
        return np.asarray(np.logaddexp(self.log_alone(winner, rival + others), math.log1p(-_ALONE) + pair))

    def log_alone(self, winner: Counts, rest: Counts) -> Reals:
        """Return the logarithm of the first term, 3/4 W(a, b + o; Phi(t)), a lower bound of E."""
        alone = rounded_down(winner, rest, float(ndtr(self.t)), q0=float(ndtr(-self.t)))
        return np.asarray(math.log(_ALONE) + alone)

    def holds(self, winner: Reals, rival: Reals) -> Flags:
        """Whether the given frequencies are outside H: Phi^-1(p_A) - Phi^-1(p_B) > 2t."""
        with np.errstate(invalid="ignore"):  # 0 against 0: neither is ahead
            return np.asarray(ndtri(winner) - ndtri(rival) > 2.0 * self.t)

    def divergence(self, winner: Reals, rival: Reals) -> Reals:
        """Return the least KL(p || q) over q with Phi^-1(q_A) - Phi^-1(q_B) = 2t, which determines the number of votes.

        By a grid of 150 values of u for q = (Phi(t - u), Phi(-t - u), rest) and a golden-section search around the
        best.
        """
        others = np.maximum(1.0 - winner - rival, 0.0)

        def kl(u: Float[np.ndarray, "any us"]) -> Float[np.ndarray, "rows us"]:
            q = [ndtr(self.t - u), ndtr(-self.t - u)]
            q.append(np.maximum(1.0 - q[0] - q[1], 1e-300))
            parts = zip((winner, rival, others), q, strict=True)
            return np.asarray(sum(xlogy(p[:, None], p[:, None] / np.maximum(each, 1e-300)) for p, each in parts))

        grid = np.concatenate([[0.0], np.geomspace(1e-4, 12.0, 149)])
        best = kl(grid[None]).argmin(-1)
        low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, len(grid) - 1)]
        golden = 0.5 * (math.sqrt(5.0) - 1.0)
        for _ in range(40):
            left, right = high - golden * (high - low), low + golden * (high - low)
            nearer = kl(left[:, None])[:, 0] < kl(right[:, None])[:, 0]
            low, high = np.where(nearer, low, left), np.where(nearer, right, high)
        return np.asarray(np.maximum(kl(0.5 * (low + high)[:, None])[:, 0], 0.0))

    @cached_property
    def _logarithms(self) -> Float[np.ndarray, "3 alternatives"]:
        """Logarithms of the factors of a vote for A, for B and for another class."""
        u, t = _TANGENTS[:, None], self.t
        slope = np.exp(2.0 * t * u)
        # 1 - c to its own digits, rounded down: c rounded up keeps every expectation <= 1
        rest = (ndtr(u - t) + np.exp(2.0 * t * u + log_ndtr(-t - u))) * (1.0 - 1e-12)
        stake = _STAKES / (1.0 + slope - rest)
        factors = np.broadcast_arrays(stake * rest, -stake * (1.0 + slope - rest), -stake * (1.0 - rest))
        return np.asarray(np.log1p(np.stack([each.ravel() for each in factors])))


@dataclass(frozen=True)
class AheadOfAll(Criterion):
    """Test for each t, ascending, whether Phi^-1(p_A) - Phi^-1(p_B) > 2t for the leading class A and every other B.

        CERTIFIED: A passes `top_class_certain` at .02 alpha, and E >= 1/(.98 alpha) for A and the runner-up
            (`PairEvidence`), at this t and all smaller ones;
        FUTILE:  Phi^-1(upper bound of p_A at beta/2) - Phi^-1(lower bound of p_B at beta/(2(k - 1))) < 2t for the
            runner-up B, by confidence sequences;
        UNDECIDED: neither.
    Sampling ends when every undecided t is out of reach of the votes up to `max_samples`. The votes are examined at
    numbers 2 % apart.

    With probability >= 1 - alpha nothing false is ever certified, over all t and all times together. So a certified t
    may stay certified (`lasting`). Proof: `pairwise.md`, 4 and 5.

    Args:
        shifts: t = r / sigma, ascending.
        alpha: probability of a false certificate, per image.
        beta: probability, per image and t, of FUTILE although t could be certified; it does not affect alpha.
        max_samples: largest number of votes per image.
        lasting: whether a t that was certified at some look stays certified.

    Raises:
        InvalidInputError: an argument outside its domain.
    """

    shifts: tuple[float, ...]
    alpha: float
    beta: float
    max_samples: int
    lasting: bool = False

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_beta(self.beta)
        require_max_samples(self.max_samples)
        if not self.shifts or list(self.shifts) != sorted(set(self.shifts)):
            raise InvalidInputError(
                "shifts",
                required="at least one, ascending, far enough apart to be told from each other",
                got=list(self.shifts),
                remedy="Name every radius once.",
            )
        _ = self.evidence  # a shift outside its domain is told now

    @cached_property
    def evidence(self) -> tuple[PairEvidence, ...]:
        """The evidence at every t."""
        return tuple(PairEvidence(t) for t in self.shifts)

    def outcomes(self, votes: Table) -> Int[np.ndarray, "rows levels"]:
        """Return CERTIFIED, FUTILE or UNDECIDED for every t."""
        n, winner, rival = _counted(votes)
        found = np.full((len(votes), len(self.shifts)), UNDECIDED)
        certain = np.ones(len(votes), dtype=bool)
        for column, evidence in enumerate(self.evidence):
            ahead = evidence.holds(winner / n, rival / n)  # beyond, E <= 1; on this side, the bounds do not part
            enough = certain & ahead
            enough[enough] = self._enough(evidence, winner[enough], rival[enough], n[enough])
            if not column:
                enough[enough] = top_class_certain(votes[enough], _NAMING * self.alpha)
            certain = enough
            found[enough, column] = CERTIFIED
            found[~ahead, column] = np.where(
                self._lost(evidence, winner[~ahead], rival[~ahead], n[~ahead], votes.shape[-1]), FUTILE, UNDECIDED
            )
        return found

    def pending(self, votes: Table, reached: Counts | None = None) -> Counts:  # noqa: ARG002 - a look comes in any case
        """Return the number of votes up to the next look."""
        n = votes.sum(-1)
        return np.asarray(np.clip(next_look(n + 1) - n, 1, np.maximum(self.max_samples - n, 1)))

    def distance(self, votes: Table) -> Reals:
        """Estimate by ln(1/alpha) or ln(1/beta) over the divergence from the boundary, at the t that takes longest."""
        n = votes.sum(-1)
        return np.asarray(np.clip(self.limits(votes + 0.5) - n, 1.0, np.maximum(self.max_samples - n, 1)))

    def limits(self, votes: Num[np.ndarray, "rows classes"]) -> Reals:
        """Return the analogue of `information_limit` for this boundary, at the observed frequencies."""
        n, winner, rival = _counted(votes)
        longest = np.zeros(len(votes))
        for evidence in self.evidence:
            wanted = np.where(evidence.holds(winner / n, rival / n), -math.log(self.alpha), -math.log(self.beta))
            with np.errstate(divide="ignore"):
                longest = np.maximum(longest, wanted / evidence.divergence(winner / n, rival / n))
        return np.asarray(np.minimum(longest, self.max_samples))

    def _open(self, votes: Table) -> Bool[np.ndarray, "rows levels"]:
        """Which t are undecided and could still be certified at the cap."""
        open_ = np.asarray(self.outcomes(votes) == UNDECIDED)
        n, winner, rival = _counted(votes)
        for column, evidence in enumerate(self.evidence):
            rows = open_[:, column]
            best = winner[rows] + np.maximum(self.max_samples - n[rows], 0)
            open_[rows, column] = self._enough(evidence, best, rival[rows], np.maximum(n[rows], self.max_samples))
        return open_

    def _enough(self, evidence: PairEvidence, winner: Counts, rival: Counts, n: Counts) -> Flags:
        level = -math.log((1.0 - _NAMING) * self.alpha)
        found = np.asarray(evidence.log_alone(winner, n - winner) >= level)
        more = ~found
        found[more] = evidence.log(winner[more], rival[more], (n - winner - rival)[more]) >= level
        return found

    def _lost(self, evidence: PairEvidence, winner: Counts, rival: Counts, n: Counts, classes: int) -> Flags:
        rest = lower_bound(n - winner, n, 0.5 * self.beta)
        least = lower_bound(rival, n, 0.5 * self.beta / (classes - 1))
        return np.asarray(-ndtri(rest) - ndtri(least) < 2.0 * evidence.t)


def _counted(votes: Any) -> tuple[Any, Any, Any]:
    """Return the number of all votes (at least 1), of the winner's and of the runner-up's."""
    ordered = np.partition(votes, -2, axis=-1)
    return np.maximum(votes.sum(-1), 1), ordered[..., -1], ordered[..., -2]
