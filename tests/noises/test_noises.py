"""Noise: its samples, its divergence, its quantiles."""

import math
from dataclasses import fields
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.stats import kstest

from noise_laws import LAWS
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Laplace, Noise, Uniform
from noiseproof.noises.laplace import laplace_divergence
from noiseproof.noises.registry import NOISES

every_noise = pytest.mark.parametrize(
    ("noise", "truth"), LAWS, ids=lambda value: getattr(value, "spec", dict)().get("name")
)


def test_every_noise_of_the_registry_has_its_row() -> None:
    assert [noise.spec()["name"] for noise, _ in LAWS] == list(NOISES)


@every_noise
def test_the_scale_is_the_one_parameter(noise: Noise, truth: Any) -> None:
    assert noise.spec() == {"name": noise.spec()["name"], fields(noise)[0].name: noise.scale}  # type: ignore[arg-type]
    assert len(fields(noise)) == 1  # type: ignore[arg-type]
    assert NOISES.from_spec(noise.spec()) == noise == type(noise)(noise.scale)
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="must be a finite number > 0"):
            type(noise)(bad)
    double = type(noise)(2.0 * noise.scale)
    p1, p2, divergence, order = (np.array([value]) for value in (0.9, 0.2, 0.3, 0.5))
    assert double.quantile_gap(p1, p2) == pytest.approx(2.0 * noise.quantile_gap(p1, p2), rel=1e-13)
    assert double.max_shift(divergence, order) == pytest.approx(2.0 * noise.max_shift(divergence, order), rel=1e-13)


@pytest.mark.parametrize("kind", ["torch", "numpy"])
@every_noise
def test_samples_follow_the_law_and_a_scale_wrong_by_one_percent_is_seen(noise: Noise, truth: Any, kind: str) -> None:
    generator = torch.Generator().manual_seed(0) if kind == "torch" else np.random.default_rng(0)
    like = torch.zeros(2_000_000)

    def draw(which: Noise) -> np.ndarray:
        return which.sample(like, generator).double().numpy()

    right = draw(noise)
    assert kstest(right[:200_000], truth.cdf).pvalue > 1e-3
    fourth = truth.moment(4) / truth.var() ** 2
    five_deviations = 5 * np.sqrt((fourth - 1) / right.size)
    assert abs(right.var() / truth.var() - 1) < five_deviations < 0.01
    assert abs(right.mean()) < 5 * truth.std() / np.sqrt(right.size)
    assert abs((right[1:] * right[:-1]).mean()) < 5 * truth.var() / np.sqrt(right.size), "draws must be independent"
    assert abs(draw(type(noise)(1.01 * noise.scale)).var() / truth.var() - 1) > five_deviations


@pytest.mark.parametrize("order", [0.3, 0.5, 0.8, 1.0, 1.5, 4.0])
@every_noise
def test_max_shift_inverts_the_divergence(noise: Noise, truth: Any, order: float) -> None:
    """Integrate the definition of the Rényi divergence between the noise and its shifted copy."""
    divergence = 0.3
    shift = float(noise.max_shift(np.array([divergence]), np.array([order]))[0])
    if np.isfinite(truth.support()).all() and order >= 1.0:
        assert shift == 0.0, "some of the shifted noise lies where the other never does"
        return
    x = np.linspace(-12.0, 12.0, 2_400_001)
    p, q = truth.pdf(x - shift), truth.pdf(x)
    both = (p > 0) & (q > 0)
    log_p, log_q = np.log(np.where(both, p, 1.0)), np.log(np.where(both, q, 1.0))
    integrand = p * (log_p - log_q) if order == 1.0 else np.exp(order * log_p + (1.0 - order) * log_q)
    value = np.trapezoid(np.where(both, integrand, 0.0), x)
    measured = value if order == 1.0 else np.log(value) / (order - 1)
    assert measured == pytest.approx(divergence, rel=1e-4)


@every_noise
def test_quantile_gap_is_that_of_the_law(noise: Noise, truth: Any) -> None:
    points = np.array([1e-9, 0.01, 0.3, 0.49, 0.5, 0.51, 0.8, 0.999])
    p2, p1 = (points[index] for index in np.triu_indices(len(points), 1))
    assert noise.quantile_gap(p1, p2) == pytest.approx(truth.ppf(p1) - truth.ppf(p2), rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5], ids=lambda share: f"{share} of the shift in the second coordinate")
@every_noise
def test_no_set_loses_more_than_the_half_line_of_one_coordinate(noise: Noise, truth: Any, share: float) -> None:
    """What the tight certificate rests on, by the Neyman-Pearson lemma in two dimensions.

    Of all sets of one probability, that of the largest likelihood ratios loses most under a shift d. Its loss, in
    quantiles of one coordinate, is at most |d| in the norm of the noise.
    """
    grid = noise.scale * np.linspace(-12.0, 12.0, 1_201)
    parts = np.array([1.0 - share, share])
    shift = noise.scale * 0.7 * parts / np.linalg.norm(parts, noise.norm.order)
    density, shifted = (
        np.multiply.outer(truth.pdf(grid - a), truth.pdf(grid - b)).ravel() for a, b in ((0.0, 0.0), shift)
    )
    cell = (grid[1] - grid[0]) ** 2
    kept = (density > 0) | (shifted > 0)
    with np.errstate(divide="ignore"):
        order = np.argsort(-np.log(density[kept]) + np.log(shifted[kept]), kind="stable")
    before, after = np.cumsum(density[kept][order]) * cell, np.cumsum(shifted[kept][order]) * cell
    for p in (0.5, 0.7, 0.9):
        place = np.searchsorted(before, p)
        lost = truth.ppf(before[place]) - truth.ppf(max(after[place], 0.0))
        assert lost <= 0.7 * noise.scale * (1.0 + 0.02)
        if share == 0.0:
            assert lost >= 0.7 * noise.scale * (1.0 - 0.02), "the half-line of one coordinate attains it"


def test_laplace_divergence_against_60_digits() -> None:
    def formula(shift: float, order: float) -> mp.mpf:
        t, a = mp.mpf(shift), mp.mpf(order)
        if a == 1:
            return t + mp.exp(-t) - 1
        if a == mp.mpf("0.5"):
            return t - 2 * mp.log(1 + t / 2)
        first, second = a * mp.exp((a - 1) * t), (a - 1) * mp.exp(-a * t)
        return mp.log((first + second) / (2 * a - 1)) / (a - 1)

    near_half, near_one = [0.4999999, 0.5, 0.5000001, 0.74999, 0.75], [0.999999, 1 - 1e-9, 1.0, 1 + 1e-9]
    with mp.workdps(60):
        for t in (1e-9, 1e-3, 0.3, 1.0, 2.0, 10.0, 700.0):
            for order in (1e-3, 0.1, *near_half, *near_one, 1.3, 5.0, 100.0, 1e5):
                found = laplace_divergence(np.array([t]), np.array([order]))[0]
                assert float(found / formula(t, order) - 1) == pytest.approx(0.0, abs=2e-12), (t, order)


def test_laplace_max_shift_inverts_at_every_size() -> None:
    grid = np.meshgrid(np.logspace(-30, 3, 67), [1e-3, 0.3, 0.5, 0.8, 1.0, 1.0001, 2.0, 30.0, 1e4])
    divergence, order = (part.ravel() for part in grid)
    shift = Laplace(1.0).max_shift(divergence, order)
    assert laplace_divergence(shift, order) == pytest.approx(divergence, rel=1e-12)


def test_one_coordinate_is_the_worst_shift_of_its_l1_norm() -> None:
    """Divergences add over coordinates and are superadditive in the shift."""
    shifts = np.random.default_rng(0).exponential(size=(200, 3))
    for order in (0.2, 0.5, 0.9, 1.0, 2.0, 20.0):
        orders = np.full(200, order)
        alone = laplace_divergence(shifts.sum(1), orders)
        assert (alone >= sum(laplace_divergence(shifts[:, i].copy(), orders) for i in range(3)) * (1 - 1e-12)).all()


def test_max_shift_at_infinity() -> None:
    shifts = Gaussian(1.0).max_shift(np.array([0.5, np.inf, np.inf]), np.array([np.inf, 2.0, np.inf]))
    assert shifts.tolist() == [0.0, np.inf, np.inf]


@pytest.mark.parametrize(
    ("p1", "p2"),
    [(0.9, 0.1), (0.5 + 1e-9, 0.5), (1e-9 + 1e-15, 1e-9), (0.99, 0.9899999), (0.6, 0.59), (1 - 1e-12, 0.3)],
)
def test_quantile_gap_against_40_digits(p1: float, p2: float) -> None:
    gap = Gaussian(2.0).quantile_gap(np.array([p1]), np.array([p2]))[0]
    with mp.workdps(40):
        upper, lower = (mp.sqrt(2) * mp.erfinv(2 * mp.mpf(p) - 1) for p in (p1, p2))
        assert float(gap / (2 * (upper - lower)) - 1) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("sigma", [0, -1, float("nan"), float("inf"), "0.25", None, True])
def test_sigma_outside_its_domain(sigma: object) -> None:
    from noiseproof.noises.base import positive

    with pytest.raises(InvalidInputError, match="sigma must be a finite number > 0"):
        positive("sigma", sigma, "pixels")
    if isinstance(sigma, int | float):
        with pytest.raises(InvalidInputError):
            Gaussian(float(sigma) if not isinstance(sigma, bool) else -1.0)


def test_what_is_no_noise_cannot_be_read() -> None:
    for bad in ({"name": "cauchy", "scale": 1.0}, {"name": "gaussian", "scale": 1.0}, {}):
        with pytest.raises(
            InvalidInputError, match=f"noise must be one of {', '.join(NOISES)} with its own parameters"
        ):
            NOISES.from_spec(bad)


@pytest.mark.parametrize("noise", [Laplace(2.0), Uniform(2.0)], ids=repr)
@pytest.mark.parametrize(("p1", "p2"), [(0.9, 0.1), (0.4, 0.2), (0.8, 0.6), (0.5 + 1e-9, 0.5), (1e-300, 1e-310)])
def test_other_quantile_gaps_against_40_digits(noise: Noise, p1: float, p2: float) -> None:
    with mp.workdps(400):

        def quantile(p: float) -> mp.mpf:
            if isinstance(noise, Uniform):
                return 4 * mp.mpf(p) - 2
            return 2 * (mp.log(2 * mp.mpf(p)) if p <= 0.5 else -mp.log(2 * (1 - mp.mpf(p))))

        gap = float(noise.quantile_gap(np.array([p1]), np.array([p2]))[0])
        assert float(gap / (quantile(p1) - quantile(p2)) - 1) == pytest.approx(0.0, abs=1e-12)
