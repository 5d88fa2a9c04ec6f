"""What others do for one radius, in the same form, so that votes can be compared exactly: fixed n, union bound, stages, KT."""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int
from scipy.special import betainc, betaln, xlog1py, xlogy

from noiseproof.bounds.base import require_alpha
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.sequential.base import Rule, require_p0

__all__ = ["FixedSample", "KrichevskyTrofimov", "Stages", "UnionBound"]

Counts = Int[np.ndarray, "*batch"]


@dataclass(frozen=True)
class FixedSample(Rule):
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
class UnionBound(Rule):
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
class Stages(Rule):
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
class KrichevskyTrofimov(Rule):
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
