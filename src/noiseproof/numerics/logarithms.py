"""Logarithms of ratios and of cosh that lose no digits and do not overflow."""

import numpy as np
from jaxtyping import Float

__all__ = ["log_cosh", "log_ratio"]

Array = Float[np.ndarray, "*shape"]


def log_ratio(p: Array, q: Array) -> Array:
    """Return ln(p / q) for 0 <= q <= p: accurate for p close to q, finite down to the smallest q > 0, infinite at 0."""
    close = q > 0.25 * p
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(close, np.log1p((p - q) / np.where(close, q, 1.0)), np.log(p) - np.log(q)))


def log_cosh(x: Array) -> Array:
    """Return ln cosh x for 0 <= x <= 700, accurate near 0 too."""
    return np.asarray(np.log1p(2.0 * np.sinh(0.5 * x) ** 2))
