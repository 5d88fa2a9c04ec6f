"""Numbers as text, rounded to the side on which what is said of them stays true."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

__all__ = ["exact", "percent", "percent_down", "percent_interval", "percent_up", "round_down"]

_SHORT = Context(prec=6, rounding=ROUND_FLOOR)


def round_down(value: float, digits: int | None = 3) -> str:
    """Format a radius, never above its value: what is certified at a radius is certified at every smaller one.

    Args:
        value: the radius, at least 0.
        digits: behind the point; None gives the first six digits that are not 0, without zeros at the end.

    Example:
        >>> round_down(128 / 255), round_down(128 / 255, None), round_down(0.5, None)
        ('0.501', '0.50196', '0.5')
    """
    number = Decimal(repr(float(value)))
    if not number.is_finite():
        return str(value)
    if digits is None:
        return f"{_SHORT.plus(number).normalize():f}"
    return str(number.quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR))


def exact(value: float) -> str:
    """Format a number in full, as a key of JSON: the shortest text that reads as the same number.

    Example:
        >>> exact(0.5), exact(36 / 255), exact(2.0)
        ('0.5', '0.1411764705882353', '2')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def percent(share: float) -> str:
    """Format an observed share in per cent, to the nearest tenth."""
    return f"{100 * share:.1f} %"


def percent_down(share: float, unit: str = " %") -> str:
    """Format a lower bound, or what is proven, in per cent: rounded down, never below zero; NaN, as nothing is said, as –."""
    return "–" if math.isnan(share) else f"{_tenths(max(share, 0.0), ROUND_FLOOR)}{unit}"


def percent_up(share: float, unit: str = " %") -> str:
    """Format an upper bound in per cent: rounded up, never above 100; NaN, as nothing is said, as –."""
    return "–" if math.isnan(share) else f"{_tenths(min(share, 1.0), ROUND_CEILING)}{unit}"


def percent_interval(low: float, high: float) -> str:
    """Format a confidence interval in per cent, its ends rounded outwards; of NaN – alone."""
    return "–" if math.isnan(low) else f"{percent_down(low, '')}-{percent_up(high)}"


def _tenths(share: float, rounding: str) -> Decimal:
    """Return tenths of a per cent.

    Shares are quotients of counts and differences of such: their floats are off by some units in the 16th digit, which
    must not cost a tenth.
    """
    return (Decimal(f"{share:.14g}") * 100).quantize(Decimal("0.1"), rounding)
