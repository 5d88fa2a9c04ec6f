"""Numbers as they were printed: their values, and the numbers that they may stand for."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

import numpy as np
from jaxtyping import Float

from noiseproof.errors import InvalidInputError

__all__ = ["Printed", "Rounding"]


class Rounding(Enum):
    """How numbers were shortened: the numbers that a printed x of unit u may stand for."""

    NEAREST = (-0.5, 0.5)
    """From x - u/2 to x + u/2."""
    DOWN = (0.0, 1.0)
    """From x to x + u."""
    UP = (-1.0, 0.0)
    """From x - u to x."""


@dataclass(frozen=True)
class Printed:
    """A column of printed numbers.

    Attributes:
        value: the numbers, as printed.
        unit: the unit of the last digit of each.
    """

    value: Float[np.ndarray, " rows"]
    unit: Float[np.ndarray, " rows"]

    @staticmethod
    def of(texts: Sequence[str]) -> "Printed":
        """Read a column.

        Trailing zeros may be missing, so that the unit is that of the column: with D the most decimals and s the most
        significant digits of any of its numbers, the unit of x is the larger one of 10^-D and 10^(e - s + 1), where 10^e
        is the place of the first digit of x. This is the unit of numbers with D decimals, and of numbers with s significant
        digits (`{:.3}` in Python); for a mixture it is too large rather than too small.

        Raises:
            InvalidInputError: a text that is no finite number.
        """
        numbers = [_decimal(text) for text in texts]
        parts = [number.as_tuple() for number in numbers if number != 0]
        decimals = max((-int(part.exponent) for part in parts), default=0)
        digits = max((len(part.digits) for part in parts), default=1)
        values, exact = np.array([float(number) for number in numbers]), Decimal(1)
        units = [
            float(max(exact.scaleb(-decimals), exact.scaleb(number.adjusted() - digits + 1)))
            if number != 0
            else float(exact.scaleb(-decimals))
            for number in numbers
        ]
        return Printed(values, np.array(units))

    def __len__(self) -> int:
        return len(self.value)

    def interval(self, rounding: Rounding) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
        """Return the smallest and the largest number that each may stand for."""
        below, above = rounding.value
        return self.value + below * self.unit, self.value + above * self.unit


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except ArithmeticError:
        number = Decimal("nan")
    if not number.is_finite():
        remedy = "Leave out rows without a result."
        raise InvalidInputError("number", required="a finite number", got=repr(text), remedy=remedy)
    return number
