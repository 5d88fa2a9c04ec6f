"""Logarithms of ratios and of cosh, without cancellation or overflow."""

import numpy as np
from jaxtyping import Float

__all__ = ["log_cosh", "log_ratio", "log_remaining"]

Array = Float[np.ndarray, "*shape"]


def log_ratio(p: Array, q: Array) -> Array:
    """Return ln(p / q) for 0 <= q <= p: accurate for p close to q, finite down to the smallest q > 0, infinite at 0."""
    close = q > 0.25 * p
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(close, np.log1p((p - q) / np.where(close, q, 1.0)), np.log(p) - np.log(q)))


def log_remaining(p1: Array, p2: Array) -> Array:
    """Return ln(1 - p1 + p2) for 0 <= p2 < p1 <= 1 and p2 <= 1 - p1, to a relative 1e-15; minus infinity at (1, 0).

    If p1 - p2 >= 1/2, then p1 >= 1/2, so 1 - p1 is exact and nothing cancels in (1 - p1) + p2. Otherwise the result is
    log1p(-(p1 - p2)), in which p1 - p2 is exact or correctly rounded.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(p1 - p2 < 0.5, np.log1p(p2 - p1), np.log((1.0 - p1) + p2)))


def log_cosh(x: Array) -> Array:
    """Return ln cosh x for 0 <= x <= 700, accurate near 0 too."""
    return np.asarray(np.log1p(2.0 * np.sinh(0.5 * x) ** 2))
