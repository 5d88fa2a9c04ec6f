"""The truncated-Jeffreys e-process: evidence, valid at every moment, that a probability exceeds p0.

    W(A, f; p0) = int_p0^1 (q/p0)^A ((1-q)/(1-p0))^f w(q) dq / int_p0^1 w(q) dq,   w(q) = 1/sqrt(q (1-q)),

for A successes and f failures so far: the likelihood ratio of q against p0, averaged over the alternatives q > p0 with
Jeffreys' weights. With a = A + 1/2, b = f + 1/2 and SF the upper tail of the Beta(a, b) distribution,

    ln W = ln B(a, b) + ln SF(p0) - ln(2 arccos sqrt(p0)) - A ln p0 - f ln(1 - p0).

1. E_p[W at any stopping time] <= 1 for every p <= p0. One vote multiplies the ratio of an alternative q by q/p0 or
   (1-q)/(1-p0), in expectation p q/p0 + (1-p) (1-q)/(1-p0), which increases with p and is 1 at p = p0. So each ratio is a
   nonnegative supermartingale from 1, and so is their average. Hence P_p(W >= 1/alpha at any time) <= alpha (Ville 1939).
2. W increases with A and decreases with f, as every q/p0 > 1 and (1-q)/(1-p0) < 1.
3. W > 1 only where A/n > p0: otherwise the likelihood is decreasing on q > p0, and every q there is less likely.
4. For p0 <= A/n, W decreases in p0. With q = sin^2 t the weights are uniform on t0 < t < pi/2, D = pi/2 - t0, so that
   W = int_0^1 exp(l(t0 + u D) - l(t0)) du with l = 2 A ln sin t + 2 f ln cos t, which is concave: the exponent has the
   derivative (1-u) l'(t0 + u D) - l'(t0) <= -u l'(t0) <= 0. With 3: {p0: W >= T} is an interval from 0, for T > 1.

Sources: Robbins, "Statistical methods related to the law of the iterated logarithm" (1970), for mixtures; Krichevsky and
Trofimov (1981) for the weights; the truncation to q > p0 is what makes the test one-sided and its error close to alpha.
"""

import numpy as np
from jaxtyping import Float, Num
from scipy.special import betainc, betaincc, gammaln

from noiseproof.errors import InvalidInputError

__all__ = ["Counts", "log_evidence", "log_mass", "rounded_down"]

Counts = Num[np.ndarray, "*#batch"]
Array = Float[np.ndarray, "*batch"]

_FAR = 6.0
"""Standard deviations below p0 from where on the tail is a continued fraction of its own."""


def log_evidence(
    successes: Counts,
    failures: Counts,
    p0: float | Float[np.ndarray, "*#batch"],
    *,
    q0: float | Float[np.ndarray, "*#batch"] | None = None,
) -> Float[np.ndarray, "..."]:
    """Compute ln W(A, f; p0), finite for all counts, without overflow, underflow or cancellation.

    The large terms are combined into n KL(A/n || p0) and Stirling corrections: the error is a few 1e-16 times |A - n
    p0|, not times A. Where A/n lies far below p0, the tail and its prefactor are one continued fraction.

    Args:
        successes: A >= 0, broadcast with the other arguments. Real numbers are allowed, for searches between integers.
        failures: f >= 0.
        p0: the null hypothesis is p <= p0, 0 < p0 < 1.
        q0: 1 - p0, if it is known more accurately than by subtraction.

    Raises:
        InvalidInputError: a count below 0, or p0 outside (0, 1).
    """
    tail = 1.0 - np.asarray(p0, dtype=np.float64) if q0 is None else np.asarray(q0, dtype=np.float64)
    A, f, p, q = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(failures, dtype=np.float64), np.asarray(p0), tail
    )
    if A.size and not (A.min() >= 0.0 and f.min() >= 0.0):
        raise InvalidInputError(
            "successes and failures", required=">= 0", got=f"{A.min()}, {f.min()}", remedy="They count votes."
        )
    if p.size and not (p.min() > 0.0 and q.min() > 0.0):
        raise InvalidInputError(
            "p0", required="in (0, 1)", got=f"{p.min()} to {p.max()}", remedy="p0 = Phi(r / sigma) for Gaussian noise."
        )
    shape = A.shape
    A, f, p, q = (np.ravel(each) for each in (A, f, p, q))
    n = A + f + 1.0
    far = f + 0.5 - n * q > _FAR * np.sqrt(n * p * q)
    found = np.empty_like(A)
    near = ~far
    found[near] = _near(A[near], f[near], p[near], q[near])
    found[far] = _far(A[far], f[far], p[far], q[far])
    return np.asarray((found - log_mass(p, q)).reshape(shape))


def rounded_down(
    successes: Counts,
    failures: Counts,
    p0: float | Float[np.ndarray, "*#batch"],
    *,
    q0: float | Float[np.ndarray, "*#batch"] | None = None,
) -> Float[np.ndarray, "..."]:
    """Compute ln W minus a bound of its rounding error, 5e-14 + 2e-15 |A - n p0|. All decisions use this number.

    The error of `log_evidence` near thresholds W < 1e12 is below a third of that bound up to n = 1e7 (50-digit
    integrals).
    """
    tail = 1.0 - np.asarray(p0) if q0 is None else q0
    distance = np.abs(np.asarray(successes) * tail - np.asarray(failures) * np.asarray(p0))
    return np.asarray(log_evidence(successes, failures, p0, q0=q0) - 5e-14 - 2e-15 * distance)


def log_mass(p0: Array, q0: Array) -> Array:
    """Return ln int_p0^1 dq / sqrt(q (1-q)) = ln(2 arccos sqrt(p0))."""
    return np.asarray(np.log(2.0 * np.arctan2(np.sqrt(q0), np.sqrt(p0))))


def _near(A: Array, f: Array, p0: Array, q0: Array) -> Array:
    """Ln [B(a, b) SF(p0) / (p0^A q0^f)], with B from Stirling's formula around (n+1) p0 and (n+1) q0."""
    a, b, n = A + 0.5, f + 0.5, A + f + 1.0
    mean, rest = n * p0, n * q0
    excess = _deviance(a, mean) + _deviance(b, rest)
    curve = 0.5 * (np.log(2.0 * np.pi) - np.log(n) - np.log(a / mean) - np.log(b / rest))
    low = p0 < 0.5
    survival = np.empty_like(a)
    survival[low] = betaincc(a[low], b[low], p0[low])
    survival[~low] = betainc(b[~low], a[~low], q0[~low])
    return np.asarray(excess + curve + _stirling(a) + _stirling(b) - _stirling(n) + np.log(survival))


def _far(A: Array, f: Array, p0: Array, q0: Array) -> Array:
    """The same where A/n is far below p0: sqrt(p0 q0)/b times the continued fraction of I_q0(b, a), DLMF 8.17.22."""
    return np.asarray(0.5 * (np.log(p0) + np.log(q0)) - np.log(f + 0.5) + np.log(_fraction(f + 0.5, A + 0.5, q0)))


def _fraction(a: Array, b: Array, x: Array) -> Array:
    """1/(1 + d_1/(1 + d_2/(1 + ...))) with DLMF 8.17.23's d, for x < a/(a + b), by Lentz's method."""
    value = np.ones_like(a)
    rows = np.arange(len(a))
    m = 0.0
    up, down = np.ones_like(a), 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    total = down.copy()
    while len(rows):
        m += 1.0
        even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        down, up = 1.0 / (1.0 + even * down), 1.0 + even / up
        total = total * (up * down)
        down, up = 1.0 / (1.0 + odd * down), 1.0 + odd / up
        step = up * down
        total = total * step
        done = np.abs(step - 1.0) < 1e-15
        if done.any():
            value[rows[done]] = total[done]
            a, b, x, up, down, total, rows = (each[~done] for each in (a, b, x, up, down, total, rows))
    return value


def _deviance(x: Array, mean: Array) -> Array:
    """X ln(x / mean) + mean - x >= 0, without cancellation worse than the rounding of the mean itself."""
    u = (x - mean) / mean
    return np.asarray(mean * ((1.0 + u) * np.log1p(u) - u))


def _stirling(x: Array) -> Array:
    """Ln Gamma(x) - (x - 1/2) ln x + x - ln(2 pi)/2, for x >= 1/2."""
    large = x > 16.0
    y = np.where(large, x, 17.0)
    s = 1.0 / (y * y)
    series = (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - s / 1188) * s) * s) * s) / y
    z = np.where(large, 1.0, x)
    return np.where(large, series, gammaln(z) - (z - 0.5) * np.log(z) + z - 0.5 * np.log(2.0 * np.pi))
