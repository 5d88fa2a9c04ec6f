"""Numbers as text, rounded in the direction in which the statement stays true."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

__all__ = ["exact", "percent", "percent_down", "percent_interval", "percent_up", "round_down"]

_SHORT = Context(prec=6, rounding=ROUND_FLOOR)


def round_down(value: float, digits: int | None = 3) -> str:
    """Format a radius, rounded down: a certificate at a radius also holds at every smaller one.

    Args:
        value: the radius, at least 0.
        digits: digits after the decimal point; None gives six significant digits without trailing zeros.

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
    """Format a number exactly, for JSON keys: a short text that is read back as the same number.

    Example:
        >>> exact(0.5), exact(36 / 255), exact(2.0)
        ('0.5', '0.1411764705882353', '2')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def percent(share: float) -> str:
    """Format an observed fraction in per cent, to the nearest tenth."""
    return f"{100 * share:.1f} %"


def percent_down(share: float, unit: str = " %") -> str:
    """Format a lower bound in per cent, rounded down and at least 0; NaN, which stands for no bound, as –."""
    return "–" if math.isnan(share) else f"{_tenths(max(share, 0.0), ROUND_FLOOR)}{unit}"


def percent_up(share: float, unit: str = " %") -> str:
    """Format an upper bound in per cent, rounded up and at most 100; NaN, which stands for no bound, as –."""
    return "–" if math.isnan(share) else f"{_tenths(min(share, 1.0), ROUND_CEILING)}{unit}"


def percent_interval(low: float, high: float) -> str:
    """Format a confidence interval in per cent, with its ends rounded outwards; NaN as –."""
    return "–" if math.isnan(low) else f"{percent_down(low, '')}-{percent_up(high)}"


def _tenths(share: float, rounding: str) -> Decimal:
    """Return a fraction in per cent, rounded to a tenth.

    Fractions are quotients of counts or differences of such quotients. Their rounding errors in the 16th digit must not
    change the tenth, so they are first rounded to 14 digits.
    """
    return (Decimal(f"{share:.14g}") * 100).quantize(Decimal("0.1"), rounding)
