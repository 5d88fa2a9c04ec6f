"""Numbers as text: never on the wrong side of their value."""

import math
from fractions import Fraction

import numpy as np
import pytest

from noiseproof.numerics.decimals import (
    exact,
    percent,
    percent_down,
    percent_interval,
    percent_up,
    round_down,
)

VALUES = [0.0, 0.6, 1.2349999, 0.29, 128 / 255, 36 / 255, 1e-7, 0.1 + 0.2, 12345.678901, np.nextafter(0.577, 0.0)]
VALUES += (np.random.default_rng(0).random(5000) * 3).tolist()


@pytest.mark.parametrize("digits", [0, 1, 3, 6, None])
def test_radii_are_rounded_down_and_by_less_than_one_in_the_last_place(digits: int | None) -> None:
    for value in VALUES:
        shown = float(round_down(value, digits))
        step = 10.0**-digits if digits is not None else 1e-5 * max(value, 1e-300)
        assert value - step < shown <= value or shown == value == 0.0


def test_a_radius_is_not_rounded_up_in_the_last_bit() -> None:
    """Just below .577 and its like, times 1000 is 577 in floating point."""
    below = {number: float(np.nextafter(number / 1000, 0.0)) for number in range(1, 3000)}
    lost = {number: value for number, value in below.items() if 1000 * value >= number}
    assert lost, "the product would do"
    for number, value in lost.items():
        assert round_down(value) == f"{(number - 1) / 1000:.3f}"
        assert float(round_down(value, None)) <= value


def test_examples() -> None:
    assert [round_down(value) for value in (1.2349999, 0.6, 0.0)] == ["1.234", "0.600", "0.000"]
    assert [round_down(value, None) for value in (128 / 255, 0.5, 2.0, 100.0, 0.0, 1e-7)] == [
        "0.50196",
        "0.5",
        "2",
        "100",
        "0",
        "0.0000001",
    ]
    assert round_down(math.inf, None) == "inf"
    assert [exact(value) for value in (0.5, 36 / 255, 2.0)] == ["0.5", "0.1411764705882353", "2"]


def test_shares_are_rounded_to_their_side() -> None:
    assert [percent_down(0.23999), percent_up(0.23901), percent(0.23951)] == ["23.9 %", "24.0 %", "24.0 %"]
    assert [percent_down(-0.1), percent_up(1.1)] == ["0.0 %", "100.0 %"]
    assert percent_interval(0.33799, 0.62601) == "33.7-62.7 %"
    for number in range(1, 400):
        for count in range(number + 1):
            tenths = 1000 * Fraction(count, number)
            for share in (count / number, 1.0 - (number - count) / number):  # the float of a share is off by some ulps
                assert percent_down(share, "") == f"{math.floor(tenths) / 10:.1f}"
                assert percent_up(share, "") == f"{math.ceil(tenths) / 10:.1f}"


def test_what_is_withheld_has_no_number() -> None:
    assert percent_down(0.5 - math.nan) == percent_up(math.nan) == percent_interval(math.nan, math.nan) == "–"
