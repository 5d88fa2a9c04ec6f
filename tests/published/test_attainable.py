"""What printed numbers may stand for, which counts give them, and the bounds that they come from: by exact fractions."""

from fractions import Fraction
from itertools import pairwise
from math import comb
from typing import Any

import mpmath
import numpy as np
import pytest

from mutation import fails, mutated
from noiseproof import InvalidInputError
from noiseproof.published import attainable as module
from noiseproof.published import attainable_counts, counts_within, invert, largest_radius
from noiseproof.published.printed import Printed, Rounding
from published.published_tables import attained

SMALL = [(n, alpha) for n in (1, 2, 7, 12, 30) for alpha in (0.001, 0.01, 0.25)]


def tail(k: int, n: int, p: Fraction) -> Fraction:
    """P(Bin(n, p) >= k)."""
    return sum((comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(max(k, 0), n + 1)), Fraction(0))


@pytest.mark.parametrize(
    ("texts", "units"),
    [
        (["0.165", "0.978", "0.0504", "0.0", "0.36"], [1e-3, 1e-3, 1e-4, 1e-4, 1e-3]),  # {:.3}
        (["1.91", "0.505", "0.5"], [1e-2, 1e-3, 1e-3]),
        (["0.4623", "1.9057", "0.0000", "0.0654"], [1e-4] * 4),  # {:.4f}
        (["0.5123", "1.9123", "0.05", "0.5"], [1e-4] * 4),  # round(x, 4)
        (["7.01e-05", "0.457"], [1e-7, 1e-3]),
        (["-0.25", "3"], [1e-2, 0.1]),
        (["0.0"], [1.0]),
    ],
)
def test_the_unit_of_the_last_digit_is_that_of_the_column(texts: list[str], units: list[float]) -> None:
    printed = Printed.of(texts)
    assert printed.value.tolist() == [float(text) for text in texts]
    assert printed.unit == pytest.approx(units)
    low, high = printed.interval(Rounding.NEAREST)
    assert (high - low) == pytest.approx(units)
    assert ((low <= printed.value) & (printed.value <= high)).all()


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1,5"])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="a finite number"):
        Printed.of(["0.5", text])


@pytest.mark.parametrize("shape", ["{:.3}", "{:.4f}", "{:.2f}", "{:.6}", "{}"])
def test_printed_numbers_lie_in_their_intervals(shape: str) -> None:
    numbers = np.random.default_rng(0).lognormal(-1.0, 1.5, 2000)
    low, high = Printed.of([shape.format(float(number)) for number in numbers]).interval(Rounding.NEAREST)
    assert ((low <= numbers + 1e-15) & (numbers <= high + 1e-15)).all()


def check_counts(counts: Any = counts_within) -> None:
    """Counts against exact tails, at random probabilities and at the bounds themselves."""
    rng = np.random.default_rng(1)
    for n, alpha in SMALL:
        level = Fraction(alpha)
        low = rng.random(20)
        high = np.minimum(low + rng.exponential(0.1, 20), 1.0)
        first, last = counts(low, high, n, alpha)
        for a, b, start, stop in zip(low, high, first, last, strict=True):
            # the bound of k is at least p if and only if P(Bin(n, p) >= k) <= alpha
            inside = [k for k in range(n + 1) if tail(k, n, Fraction(a)) <= level < tail(k, n, Fraction(b))]
            assert list(range(start, stop + 1)) == inside


def test_counts_within_an_interval_are_those_of_exact_fractions() -> None:
    check_counts()


def check_every_radius(counts: Any = attainable_counts) -> None:
    """Every attainable radius fits with its count, and none between two of them does."""
    for n, alpha in SMALL:
        radii = {k: attained(k, 0.5, n, alpha) for k in range(1, n + 1)}
        radii = {k: radius for k, radius in radii.items() if radius > 1e-3}
        if not radii:
            continue
        printed = Printed.of([f"{radius:.5f}" for radius in radii.values()])
        found = counts(printed, 0.5, n, alpha)
        assert found.fits.all()
        assert found.rounding is Rounding.NEAREST
        assert found.first.tolist() == found.last.tolist() == list(radii)
        ordered = sorted(radii.values())
        between = [(a + b) / 2 for a, b in pairwise(ordered)] + [ordered[-1] + 3e-5]
        assert not counts(Printed.of([f"{radius:.5f}" for radius in between]), 0.5, n, alpha).fits.any()


def test_attainability_by_enumeration() -> None:
    check_every_radius()


@pytest.mark.parametrize(("n", "alpha"), [(100_000, 0.001), (10**7, 0.01), (1000, 0.05)])
@pytest.mark.parametrize("digits", [3, 4, 8])
def test_attainable_radii_of_many_votes_fit_with_their_counts(n: int, alpha: float, digits: int) -> None:
    counts = [*np.random.default_rng(2).integers(n // 2 + n // 20, n + 1, 300).tolist(), n - 1, n]
    texts = [f"{attained(count, 0.25, n, alpha):.{digits}}" for count in counts]
    found = attainable_counts(Printed.of(texts), 0.25, n, alpha)
    assert found.fits.all()
    assert ((found.first <= counts) & (counts <= found.last)).all()


def test_no_radius_above_the_largest_is_attainable() -> None:
    for sigma, n, alpha in ((0.25, 100_000, 0.001), (1.0, 1000, 0.05), (0.5, 10**9, 1e-6)):
        with mpmath.workdps(40):
            p1 = mpmath.mpf(alpha) ** (mpmath.mpf(1) / n)
            exact = sigma * mpmath.sqrt(2) * mpmath.erfinv(2 * p1 - 1)
        largest = largest_radius(sigma, n, alpha)
        assert largest == pytest.approx(float(exact), rel=1e-12)
        found = attainable_counts(Printed.of([f"{largest:.8f}", f"{largest + 1e-5:.8f}"]), sigma, n, alpha)
        assert found.fits.tolist() == [True, False]
        assert found.first[0] == n


@pytest.mark.parametrize("rounding", Rounding)
def test_columns_that_were_all_rounded_one_way_fit(rounding: Rounding) -> None:
    n, alpha = 100, 0.01
    radii = np.array([attained(count, 1.0, n, alpha) for count in range(70, 101)])
    how = {Rounding.NEAREST: np.rint, Rounding.DOWN: np.floor, Rounding.UP: np.ceil}[rounding]
    found = attainable_counts(Printed.of([f"{radius:.4f}" for radius in how(radii * 1e4) / 1e4]), 1.0, n, alpha)
    assert found.fits.all()
    assert found.rounding is rounding
    assert found.first.tolist() == list(range(70, 101))


def check_inversion(inverted: Any = invert) -> None:
    """P(Bin(n, p1) >= k) is alpha, by exact fractions: just below it at p1, and above it a relative 1e-9 further."""
    for n, alpha in SMALL:
        counts = [k for k in range(1, n + 1) if attained(k, 0.5, n, alpha) > 1e-3]
        if not counts:
            continue
        printed = Printed.of([f"{attained(k, 0.5, n, alpha):.6f}" for k in counts])
        found = inverted(printed, 0.5, n, alpha, attainable_counts(printed, 0.5, n, alpha))
        assert found.low.tolist() == found.high.tolist()
        for k, p1 in zip(counts, found.low.tolist(), strict=True):
            assert tail(k, n, Fraction(p1)) <= Fraction(alpha) < tail(k, n, Fraction(p1) * (1 + Fraction(1, 10**9)))


def test_a_radius_is_inverted_to_the_bound_of_exact_fractions() -> None:
    check_inversion()


def test_few_digits_leave_an_interval_that_holds_the_bound() -> None:
    n, alpha, sigma = 1000, 0.001, 0.25
    counts = np.arange(600, 1001)
    radii = np.array([attained(int(count), sigma, n, alpha) for count in counts])
    printed = Printed.of([f"{radius:.2}" for radius in radii])
    found = invert(printed, sigma, n, alpha, attainable_counts(printed, sigma, n, alpha))
    low, high = found.radii("neyman-pearson", sigma)
    assert (low <= radii + 1e-9).all()
    assert (radii <= high + 1e-9).all()
    assert (found.low < found.high).any()
    for certificate in ("renyi", "pixeldp", "pixeldp-analytic"):
        low, high = found.radii(certificate, sigma)
        assert (low <= high).all()
        assert (high <= found.radii("neyman-pearson", sigma)[1]).all()


def test_what_nothing_gives_is_inverted_to_nothing_at_least() -> None:
    printed = Printed.of(["0.953", "2.0", "0.0"])
    found = invert(printed, 0.25, 1000, 0.001, attainable_counts(printed, 0.25, 1000, 0.001))
    assert found.low.tolist() == [0.0, 0.0, 0.0]
    assert found.high[1] > found.high[0] > 0.5
    assert found.high[2] == 0.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((0.0, 10, 0.1), "sigma"), ((1.0, 0, 0.1), "samples"), ((1.0, 10, 1.0), "alpha"), ((-1.0, 10, 0.1), "sigma")],
)
def test_arguments_outside_their_domain_are_refused(arguments: tuple[float, int, float], named: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{named} must be"):
        largest_radius(*arguments)
    with pytest.raises(InvalidInputError, match=f"^{named} must be"):
        attainable_counts(Printed.of(["0.5"]), *arguments)


@pytest.mark.parametrize(
    ("name", "old", "new", "check"),
    [
        ("_smallest", "p) > alpha", "p) > 0.5 * alpha", check_counts),
        ("_tail", "k > 0) &", "k > 1) &", check_counts),
        ("counts_within", "alpha) - 1", "alpha)", check_counts),
    ],
)
def test_faults_of_the_counts_are_caught(
    name: str, old: str, new: str, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, mutated(getattr(module, name), old, new))
    assert fails(check, module.counts_within)


def test_faults_of_attainability_and_inversion_are_caught() -> None:
    assert fails(check_every_radius, mutated(attainable_counts, "last[place]", "last[place] + 1"))
    assert fails(
        check_every_radius,
        mutated(attainable_counts, "samples, alpha)\n        last", "samples, alpha / 2)\n        last"),
    )
    assert fails(check_inversion, mutated(invert, "clip(end, 0, samples)", "clip(end - 1, 0, samples)"))
    assert fails(check_inversion, mutated(invert, "n, alpha)", "n, 2 * alpha)"))
