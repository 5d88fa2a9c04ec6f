"""Maxima and roots of functions of one variable, elementwise on large arrays."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize.elementwise import find_root

__all__ = ["COARSE", "FINE", "largest_within", "maximise"]

Array = Float[np.ndarray, "*shape"]

COARSE, FINE = 9, 72
"""Golden-section steps: 0.618^9 = 1.3 %, 0.618^72 = 1e-15."""

_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


def maximise(
    function: Callable[[Array], Array], low: Array, high: Array, *, golden_steps: int = COARSE
) -> tuple[Array, Bool[np.ndarray, "*shape"]]:
    """Return the largest value found of a unimodal function on [low, high], elementwise, and whether it has converged.

    Golden-section search narrows each bracket by a factor 0.618 per step. Then three parabolas, each through three
    points with a spacing ten times finer, locate the maximum. Near a smooth maximum an error e of the argument changes
    the value by O(e^2) only. Both ends are evaluated too, so a maximum at an end is found exactly.

    The result is always a value of the function, never an extrapolation: an imprecise search returns too small a value,
    which is safe for a certificate.

    Args:
        function: called with arguments of the shape of `low`, `golden_steps` + 13 times.
        low: left ends of the brackets.
        high: right ends, >= low.
        golden_steps: steps before the parabolas: `COARSE` leaves 1.3 % of the bracket, for smooth functions; `FINE`
            leaves 1e-15 of it, for any function.

    Returns:
        The values, and whether the maximum is at an end or the last parabola had its vertex between its points.
        Otherwise the peak is too sharp for the coarse search: search those elements again with `FINE`.
    """
    ends = np.maximum(function(low), function(high))
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    f_inner, f_outer = function(inner), function(outer)
    for _ in range(golden_steps):
        left = f_inner >= f_outer  # the maximum lies in [low, outer]
        low, high = np.where(left, low, inner), np.where(left, outer, high)
        kept, f_kept = np.where(left, inner, outer), np.where(left, f_inner, f_outer)
        fresh = np.where(left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        f_fresh = function(fresh)
        inner, f_inner = np.where(left, fresh, kept), np.where(left, f_fresh, f_kept)
        outer, f_outer = np.where(left, kept, fresh), np.where(left, f_kept, f_fresh)

    settled = np.ones(low.shape, dtype=np.bool_)
    best = np.where(f_inner >= f_outer, inner, outer)
    f_best = np.maximum(f_inner, f_outer)
    for spacing in (0.5, 0.05, 0.005):
        h = spacing * (high - low)
        left, right = np.maximum(best - h, low), np.minimum(best + h, high)
        f_left, f_right = function(left), function(right)
        vertex = _vertex(left, best, right, f_left, f_best, f_right)
        settled = (left < vertex) & (vertex < right)
        vertex = np.clip(vertex, left, right)
        f_vertex = function(vertex)
        better = f_vertex > f_best
        best = np.where(better, vertex, best)
        f_best = np.maximum(np.maximum(f_best, f_vertex), np.maximum(f_left, f_right))
    return np.maximum(f_best, ends), settled | (ends >= f_best)


def _vertex(a: Array, b: Array, c: Array, fa: Array, fb: Array, fc: Array) -> Array:
    """Abscissa of the extremum of the parabola through three points; b where they lie on a line."""
    left, right = (b - a) * (fb - fc), (b - c) * (fb - fa)
    denominator = 2.0 * (left - right)
    flat = denominator == 0.0
    return np.where(flat, b, b - ((b - a) * left - (b - c) * right) / np.where(flat, 1.0, denominator))


def largest_within(
    function: Callable[..., Array], limit: Array, low: Array, high: Array, args: tuple[Array, ...] = ()
) -> Array:
    """Return, elementwise, the largest x in [low, high] found with function(x, *args) <= limit.

    The function increases in x and crosses the limit in the bracket, which Chandrupatla's method narrows to adjacent
    numbers or an exact root. At the returned x the function does not exceed the limit.

    Args:
        function: function of x and `args`, elementwise, increasing in x.
        limit: upper limit of the function.
        low: points where the function is at most the limit.
        high: points where the function is at least the limit.
        args: arrays of the shape of `limit`.
    """
    found = find_root(
        lambda x, limit, *rest: function(x, *rest) - limit,
        (low, high),
        args=(limit, *args),
        tolerances={"xatol": 0.0, "xrtol": 1e-14, "fatol": 0.0, "frtol": 0.0},
    )
    last: Array = np.where(found.f_x <= 0.0, found.x, np.minimum(*found.bracket))
    assert np.isfinite(last).all(), "the bracket did not enclose the limit"  # noqa: S101 - our own mistake
    return last
