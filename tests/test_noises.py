"""Noise: its samples, its divergence, its quantiles."""

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, norm

from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Noise, from_spec


@pytest.mark.parametrize(
    "generator", [torch.Generator().manual_seed(0), np.random.default_rng(0)], ids=["torch", "numpy"]
)
def test_samples_follow_the_law_and_a_scale_wrong_by_one_percent_is_seen(generator: object) -> None:
    like = torch.zeros(200_000)
    noise = Gaussian(0.25).sample(like, generator).double().numpy()
    assert kstest(noise, norm(scale=0.25).cdf).pvalue > 1e-3
    spread = noise.std() / 0.25 - 1
    five_deviations = 5 / np.sqrt(2 * noise.size)
    assert abs(spread) < five_deviations < 0.01
    wrong = Gaussian(0.25 * 1.01).sample(like, generator).double().numpy()
    assert abs(wrong.std() / 0.25 - 1) > five_deviations


@pytest.mark.parametrize("order", [0.5, 1.0, 1.5, 4.0])
def test_max_shift_inverts_the_divergence(order: float) -> None:
    """Integrate the definition of the Rényi divergence between N(shift, sigma^2) and N(0, sigma^2)."""
    sigma, divergence = 0.5, 0.3
    shift = float(Gaussian(sigma).max_shift(np.array([divergence]), np.array([order]))[0])
    p, q = norm(loc=shift, scale=sigma), norm(scale=sigma)

    def integrand(x: float) -> float:
        ratio = p.logpdf(x) - q.logpdf(x)
        return p.pdf(x) * ratio if order == 1.0 else q.pdf(x) * np.exp(order * ratio)

    value, _ = quad(integrand, -12, 12, epsabs=1e-12, limit=200)
    measured = value if order == 1.0 else np.log(value) / (order - 1)
    assert measured == pytest.approx(divergence, rel=1e-8)


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


def test_spec_round_trip() -> None:
    noise: Noise = Gaussian(0.25)
    assert from_spec(noise.spec()) == noise
    for bad in ({"name": "cauchy", "scale": 1.0}, {"name": "gaussian", "scale": 1.0}, {}):
        with pytest.raises(InvalidInputError, match="noise must be one of gaussian"):
            from_spec(bad)
