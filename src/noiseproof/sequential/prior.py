"""Evidence with weights of the alternatives q > p0 that are fitted to votes on other images.

    W(A, f; p0) = s W_Jeffreys(A, f; p0) + (1 - s) sum over q_i > p0 of v_i (q_i/p0)^A ((1-q_i)/(1-p0))^f,
    v_i proportional to w_i / max(KL(q_i || p0), 35/cap),   summing to 1 over q_i > p0,

with points q_i of weight w_i and the share s of truncated Jeffreys; Jeffreys alone where no q_i > p0. It is valid for
one radius, if the weights are fixed before the votes that they evaluate. Proof: `prior.md`.

It saves up to 6 % of the votes where images have similar probabilities, and almost nothing elsewhere: truncated
Jeffreys is close to the best mixture (table in docs/sequential.md). Images near p0 need fewer votes, the median image
more.

Sources: Robbins (1970) for mixtures; Kiefer and Wolfowitz (1956) and Laird (1978) for maximum likelihood estimation of
a mixing distribution by EM.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, log_expit

from noiseproof.errors import InvalidInputError, require_count
from noiseproof.sequential.e_process import Counts, rounded_down

__all__ = ["FittedPrior", "fit_prior"]

Points = Float[np.ndarray, " points"]
Flat = Float[np.ndarray, " flat"]

_SPACING = 0.1
_LOWEST, _HIGHEST = -7.0, 13.8
"""Log odds of the grid: p from .0009 to 1 - 1.0e-6."""

_STEPS = 10
_NEGLIGIBLE = 1e-6
_BLOCK = 1 << 19
"""Numbers that are held at once: votes times points."""


@dataclass(frozen=True)
class FittedPrior:
    """Weights w_i on probabilities q_i, fixed before the votes that they evaluate; `fit_prior` learns them.

    Args:
        points: q_i, ascending, in (0, 1).
        rests: 1 - q_i to full relative accuracy. By definition the smaller of the two is exact, the other its
        complement. weights: w_i >= 0, summing to 1: the frequencies of these probabilities among images. share: s, the
        weight of truncated Jeffreys, in (0, 1). The log evidence is at most ln(1/s) below that of Jeffreys
            alone (a fifth of ln(1000) for s = 1/4), and at most ln(1/(1 - s)) = .29 below that of the fitted part.
        cap: about the largest number of votes per image. The evidence is valid for any; it only tunes the weights.

    Raises:
        InvalidInputError: invalid points, rests or weights, share outside (0, 1), or cap < 1.
    """

    points: tuple[float, ...]
    rests: tuple[float, ...]
    weights: tuple[float, ...]
    share: float = 0.25
    cap: int = 10_000

    def __post_init__(self) -> None:
        if not (self.points and len(self.points) == len(self.rests) == len(self.weights)):
            lengths = f"{len(self.points)}, {len(self.rests)} and {len(self.weights)}"
            raise _wrong("points, rests and weights", "as many of each, at least one", lengths)
        q, r, w = np.array(self.points), np.array(self.rests), np.array(self.weights)
        if not ((q > 0.0).all() and (q < 1.0).all() and (np.diff(q) > 0.0).all()):
            raise _wrong("points", "ascending in (0, 1)", self.points)
        if not ((r > 0.0).all() and (np.abs(q + r - 1.0) <= 4e-16).all() and (np.diff(r) < 0.0).all()):
            raise _wrong("rests", "1 - points", self.rests)
        if not ((w >= 0.0).all() and abs(math.fsum(self.weights) - 1.0) <= 1e-9):
            raise _wrong("weights", ">= 0 with sum 1", self.weights)
        if not 0.0 < self.share < 1.0:
            raise _wrong("share", "in (0, 1)", self.share)
        _require_cap(self.cap)

    def plain(self) -> dict[str, Any]:
        """Return the prior as JSON-compatible data; `from_plain` is the exact inverse."""
        return {
            "points": list(self.points),
            "rests": list(self.rests),
            "weights": list(self.weights),
            "share": self.share,
            "cap": self.cap,
        }

    @classmethod
    def from_plain(cls, data: object) -> "FittedPrior":
        """Return the prior that `plain` wrote.

        Raises:
            InvalidInputError: the data does not have that form.
        """
        names = ("points", "rests", "weights", "share", "cap")
        if not isinstance(data, Mapping) or set(data) != set(names):
            got = ", ".join(map(str, data)) if isinstance(data, Mapping) else repr(data)
            raise _wrong("a prior", f"a mapping of {', '.join(names)}", got)
        lists = [data[name] for name in names[:3]]
        if not all(isinstance(each, list | tuple) and all(map(_number, each)) for each in lists):
            raise _wrong("points, rests and weights", "lists of numbers", repr(lists)[:80])
        if not _number(data["share"]):
            raise _wrong("share", "a number", repr(data["share"]))
        _require_cap(data["cap"])
        q, r, w = (tuple(float(value) for value in each) for each in lists)
        return cls(q, r, w, float(data["share"]), data["cap"])

    def rounded_down(
        self, successes: Counts, failures: Counts, p0: float, *, q0: float | None = None
    ) -> Float[np.ndarray, "..."]:
        """Compute ln W minus a bound of its rounding error, like `e_process.rounded_down`, which is the Jeffreys part.

        u = ln(q/p0) and d = ln((1-p0)/(1-q)) have errors of 7 and 8 units of rounding (`_ratios`), and A u - f d with
        its exponential one of 15 units, 1.7e-15, of A u + f d: A (1 - 2e-15) u - f (1 + 2e-15) d is a lower bound.
        Weights and sums add less than 1e-13, for any number of points.

        Args:
            successes: A >= 0, broadcast with the failures.
            failures: f >= 0.
            p0: the null hypothesis is p <= p0, 0 < p0 < 1.
            q0: 1 - p0, if it is known more accurately than by subtraction.

        Raises:
            InvalidInputError: a count below 0, or p0 outside (0, 1).
        """
        rest = 1.0 - p0 if q0 is None else q0
        smooth = rounded_down(successes, failures, p0, q0=rest)
        up, down, weights = self._ratios(p0, rest)
        if not len(up):
            return smooth
        A, f = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(failures, dtype=np.float64))
        A, f, step = A.ravel(), f.ravel(), max(_BLOCK // len(up), 1)
        up, down = up * (1.0 - 2e-15), down * (1.0 + 2e-15)
        fitted = np.empty_like(A)
        for start in range(0, len(A), step):
            rows = slice(start, start + step)
            fitted[rows] = _log_sum(np.outer(A[rows], up) - np.outer(f[rows], down) + np.log(weights))
        fitted = fitted.reshape(smooth.shape) - 1e-13
        return np.asarray(np.logaddexp(math.log(self.share) + smooth, math.log1p(-self.share) + fitted))

    def _ratios(self, p0: float, q0: float) -> tuple[Points, Points, Points]:
        """Return ln(q/p0), ln((1-p0)/(1-q)) and v for the q > p0 that have weight.

        Of q and 1 - q, and of p0 and 1 - p0, the smaller is exact, so the difference q - p0 has a relative error of 2 units
        of rounding, the logarithms of 1 + (q-p0)/p0 and 1 - (q-p0)/q0 7 and 8; the second is one of r/q0 where that is small.
        """
        q, r, w = np.array(self.points), np.array(self.rests), np.array(self.weights)
        difference = q0 - r if p0 >= 0.5 else np.where(q < 0.5, q - p0, (0.5 - p0) + (0.5 - r))
        used = (difference > 0.0) & (w > 0.0)
        q, r, w, difference = q[used], r[used], w[used], difference[used]
        up, far = np.log1p(difference / p0), r < 0.5 * q0
        down = -np.where(far, np.log(r / q0), np.log1p(-np.where(far, 0.0, difference / q0)))
        v = w / np.maximum(q * up - r * down, 35.0 / self.cap)
        return up, down, v / math.fsum(v)


def fit_prior(
    successes: Int[np.ndarray, " images"], n: Int[np.ndarray, " images"], *, share: float = 0.25, cap: int = 10_000
) -> FittedPrior:
    """Estimate the distribution of probabilities among images, from votes for the leading class of other images.

        maximise over w:  sum over images of ln sum_i w_i q_i^A (1-q_i)^(n-A)

    by 10 steps of EM, w_i <- mean over images of P(q_i | A, n), from equal weights on log odds -7, -6.9, .., 13.8.
    Early stopping keeps the weights smooth; the maximum is concentrated on a few points. Points of weight below 1e-6
    are dropped.

    The prior is valid for images whose votes were not used to fit it. The leading class may be selected by the same
    votes here, since nothing is claimed about the images of the fit.

    Args:
        successes: A, the votes for the leading class of each image.
        n: the number of votes of each image, >= 1.
        share: as `FittedPrior`.
        cap: as `FittedPrior`.

    Raises:
        InvalidInputError: no images, n < 1, or successes not between 0 and n.
    """
    if not (successes.shape == n.shape and len(n)):
        raise _wrong("successes and n", "as many of each, at least one", f"{len(successes)} and {len(n)}")
    if not ((n >= 1).all() and (successes >= 0).all() and (successes <= n).all()):
        raise _wrong("successes", "between 0 and n, for n >= 1", "others")
    grid = np.linspace(_LOWEST, _HIGHEST, round((_HIGHEST - _LOWEST) / _SPACING) + 1)
    kinds, images = np.unique(np.stack([successes, n - successes]), axis=1, return_counts=True)
    log_likelihood = np.outer(kinds[0], log_expit(grid)) + np.outer(kinds[1], log_expit(-grid))
    likelihood = np.exp(log_likelihood - log_likelihood.max(1, keepdims=True))
    weights = np.full(len(grid), 1.0 / len(grid))
    for _ in range(_STEPS):
        weights = weights * ((images / (likelihood @ weights)) @ likelihood) / len(n)
    kept = weights >= _NEGLIGIBLE
    grid, weights = grid[kept], weights[kept] / math.fsum(weights[kept])
    return FittedPrior(
        tuple(expit(grid).tolist()), tuple(expit(-grid).tolist()), tuple(weights.tolist()), share=share, cap=cap
    )


def _log_sum(terms: Float[np.ndarray, "flat points"]) -> Flat:
    """Return ln sum exp of every row."""
    highest = terms.max(1)
    return np.asarray(highest + np.log(np.exp(terms - highest[:, None]).sum(1)))


def _require_cap(cap: object) -> None:
    require_count("cap", cap, 1, "It is about the largest number of votes for an image.")


def _number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _wrong(what: str, required: str, got: object) -> InvalidInputError:
    return InvalidInputError(
        what, required=required, got=got, remedy="`fit_prior` makes priors from votes of other images."
    )
