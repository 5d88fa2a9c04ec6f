"""Certificates against reference values, brute force, 40-digit arithmetic, closed-form truth, and their own laws."""

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import ndtr, ndtri, rel_entr
from scipy.stats import ncx2, norm

from noiseproof.certificates import Certificate, NeymanPearson, Renyi, clip_runner_up, lemma1, separated
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian

STANDARD = Gaussian(sigma=1.0)

# p1, p2, Rényi over orders above 1, Cohen et al.; computed with 40 to 60 digits.
REFERENCE = [
    (0.5, 0.4, 0.105740065676, 0.126673551568),
    (0.6, 0.4, 0.202216291706, 0.253347103136),
    (0.6, 0.2, 0.477429470323, 0.547484168354),
    (0.7, 0.3, 0.419070145997, 0.524400512708),
    (0.7, 0.1, 0.799560262412, 0.902976039126),
    (0.8, 0.2, 0.674222641305, 0.841621233573),
    (0.9, 0.1, 1.03192956371, 1.28155156554),
    (0.9, 0.05, 1.24937387276, 1.46320259625),
    (0.95, 0.05, 1.33186640854, 1.64485362695),
    (0.99, 0.01, 1.90800904686, 2.32634787404),
    (0.99, 0.001, 2.42194480367, 2.7082900901),
    (0.999, 0.001, 2.5757396311, 3.09023230617),
    (1 - 1e-6, 1e-6, 4.09431177206, 4.75342430882),
    (0.3, 0.1, 0.331906777541, 0.378575526418),
    (0.15, 0.1, 0.100636228773, 0.122559088025),
]

# p1, p2, the Kullback-Leibler limit (order 1) of the same table.
KL_LIMIT = [
    (0.5, 0.4, 0.105720338937),
    (0.6, 0.2, 0.476172078909),
    (0.9, 0.1, 1.01076765259),
    (0.99, 0.001, 2.29437672559),
    (1 - 1e-6, 1e-6, 3.52550949465),
]

CERTIFICATES: list[Certificate] = [Renyi(), Renyi(min_order=1.0), NeymanPearson()]

probabilities = st.floats(0.0, 1.0, allow_subnormal=True)


@pytest.mark.parametrize(("p1", "p2", "renyi", "cohen"), REFERENCE)
def test_reference_values(p1: float, p2: float, renyi: float, cohen: float) -> None:
    assert Renyi(min_order=1.0).radius(STANDARD, p1, p2) == pytest.approx(renyi, rel=1e-9)
    assert NeymanPearson().radius(STANDARD, p1, p2) == pytest.approx(cohen, rel=1e-9)


def test_orders_below_one_help_only_where_probabilities_are_small() -> None:
    assert Renyi().radius(STANDARD, 0.15, 0.1) == pytest.approx(0.100637685049, rel=1e-9)
    for p1, p2, renyi, _ in REFERENCE[:-1]:
        assert Renyi().radius(STANDARD, p1, p2) == pytest.approx(renyi, rel=1e-9)


@pytest.mark.parametrize(("p1", "p2", "limit"), KL_LIMIT)
def test_order_one_is_the_kullback_leibler_limit(p1: float, p2: float, limit: float) -> None:
    divergence = lemma1(np.array([p1]), np.array([p2]), np.array([1.0]))[0]
    assert np.sqrt(2 * divergence) == pytest.approx(limit, rel=1e-9)


def renyi_divergence(q: np.ndarray, p: np.ndarray, order: float) -> float:
    if order == 1.0:
        return float(rel_entr(q, p).sum())
    return float(np.log((p * (q / p) ** order).sum()) / (order - 1.0))


@pytest.mark.parametrize("order", [0.3, 0.9, 1.0, 1.3, 2.0, 7.0])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_lemma_1_is_the_brute_force_minimum(k: int, order: float) -> None:
    """Minimise D_a(Q || P) over all Q whose largest class is not P's, numerically, class by class."""
    rng = np.random.default_rng(k)
    for _ in range(3):
        p = np.sort(rng.dirichlet(np.ones(k)))[::-1]
        found = []
        for rival in range(1, k):

            def from_free(z: np.ndarray, rival: int = rival) -> np.ndarray:
                # any simplex point whose classes 0 and rival tie, which is where the minimum lies
                weights = np.exp(np.concatenate([[z[0]], np.insert(z[1:], rival - 1, z[0])]))
                return weights / weights.sum()

            for start in (np.zeros(k - 1), rng.normal(size=k - 1)):
                result = minimize(
                    lambda z, q=from_free, p=p: renyi_divergence(q(z), p, order),
                    start,
                    method="Nelder-Mead",
                    options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 20_000},
                )
                found.append(result.fun)
        expected = lemma1(p[:1], p[1:2], np.array([order]))[0]
        assert min(found) == pytest.approx(float(expected), rel=1e-6)


def test_lemma_1_bounds_every_distribution_with_another_winner() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        k, order = int(rng.integers(2, 7)), float(rng.uniform(0.2, 6.0))
        p, q = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k))
        if p.argmax() == q.argmax():
            continue
        p2, p1 = np.sort(p)[-2:]
        assert renyi_divergence(q, p, order) >= lemma1(np.array([p1]), np.array([p2]), np.array([order]))[0] - 1e-12


def precise_radii(p1: float, p2: float) -> tuple[mp.mpf, mp.mpf]:
    """Both radii with 40 digits, from the textbook formulas; p2 is clipped in float64 as the code does."""
    with mp.workdps(40):
        a, b = mp.mpf(p1), mp.mpf(min(p2, 1.0 - p1))

        def h(order: mp.mpf) -> mp.mpf:
            mean = mp.sqrt(a * b) if order == 1 else ((a ** (1 - order) + b ** (1 - order)) / 2) ** (1 / (1 - order))
            return -mp.log(1 - a - b + 2 * mean) / order

        low, high, golden = mp.mpf("0.2"), mp.mpf(4), (mp.sqrt(5) - 1) / 2
        for _ in range(80):
            left, right = high - golden * (high - low), low + golden * (high - low)
            low, high = (low, right) if h(left) > h(right) else (left, high)
        quantiles = [mp.sqrt(2) * mp.erfinv(2 * p - 1) for p in (a, b)]
        return mp.sqrt(2 * h((low + high) / 2)), (quantiles[0] - quantiles[1]) / 2


HARD_CASES = [
    (0.5 + 1e-6, 0.5 - 1e-6),
    (0.5 + 1e-12, 0.5 - 1e-12),
    (0.3000001, 0.3),
    (0.0100001, 0.01),
    (0.3 + 1e-13, 0.3),
    (1 - 1e-12, 1e-12),
    (1 - 1e-12, 1e-13),
    (1 - 1e-9, 1e-15),
    (0.9, 1e-15),
    (0.4, 1e-5),
]


def random_cases(count: int) -> list[tuple[float, float]]:
    points = np.sort(np.random.default_rng(1).dirichlet([0.7, 0.7, 0.7], count), axis=1)
    return [(float(p[2]), float(p[1])) for p in points]


@pytest.mark.parametrize(("p1", "p2"), HARD_CASES + random_cases(25))
def test_radii_agree_with_40_digits_and_never_exceed_them(p1: float, p2: float) -> None:
    renyi, tight = precise_radii(p1, p2)
    for certificate, truth in ((Renyi(), renyi), (NeymanPearson(), tight)):
        radius = certificate.radius(STANDARD, p1, p2)
        assert radius <= truth, "a certificate longer than what the theorem gives"
        assert radius == pytest.approx(float(truth), rel=1e-11)


# ---- laws every certificate obeys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=repr)
@given(p1=probabilities, p2=probabilities)
def test_crossed_or_tied_bounds_certify_nothing(certificate: Certificate, p1: float, p2: float) -> None:
    radius = certificate.radius(STANDARD, p1, p2)
    assert radius >= 0.0
    assert not np.isnan(radius)
    if p1 <= min(p2, 1.0 - p1):
        assert radius == 0.0


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=repr)
def test_51_to_49_with_crossed_bounds(certificate: Certificate) -> None:
    """The released code of the paper certifies 0.07 here, by the symmetry of the formula."""
    assert certificate.radius(STANDARD, 0.45, 0.55) == 0.0
    assert certificate.radius(STANDARD, 0.40, 0.60) == 0.0


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=repr)
@given(p1=probabilities, p2=probabilities, step=st.floats(0.0, 0.5))
def test_monotone_in_both_probabilities(certificate: Certificate, p1: float, p2: float, step: float) -> None:
    here = certificate.radius(STANDARD, p1, p2)
    assert certificate.radius(STANDARD, min(p1 + step, 1.0), p2) >= here * (1 - 1e-11)
    assert certificate.radius(STANDARD, p1, min(p2 + step, 1.0)) <= here * (1 + 1e-11)


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=repr)
@given(p1=probabilities, p2=probabilities, sigma=st.floats(1e-3, 1e3))
def test_linear_in_the_noise(certificate: Certificate, p1: float, p2: float, sigma: float) -> None:
    unit = certificate.radius(STANDARD, p1, p2)
    assert certificate.radius(Gaussian(sigma), p1, p2) == pytest.approx(sigma * unit, rel=1e-11)


@given(p1=probabilities, p2=probabilities)
def test_renyi_never_exceeds_the_tight_radius(p1: float, p2: float) -> None:
    assert Renyi().radius(STANDARD, p1, p2) <= NeymanPearson().radius(STANDARD, p1, p2) * (1 + 1e-11)


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=repr)
def test_runner_up_is_clipped_to_what_is_left(certificate: Certificate) -> None:
    assert certificate.radius(STANDARD, 0.9, 0.5) == certificate.radius(STANDARD, 0.9, 1.0 - 0.9)
    assert clip_runner_up(np.array(0.75), np.array(0.5)) == 0.25
    assert not separated(np.array(0.5), np.array(0.5))


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=repr)
def test_certainty_gives_infinity(certificate: Certificate) -> None:
    assert certificate.radius(STANDARD, 1.0, 0.0) == np.inf


def test_no_runner_up_at_all() -> None:
    assert NeymanPearson().radius(STANDARD, 0.9, 0.0) == np.inf  # Phi^-1(0): a class that never appears stays away
    assert 2.26 < Renyi().radius(STANDARD, 0.9, 0.0) < 2.27


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=repr)
def test_kinds_and_shapes(certificate: Certificate) -> None:
    p1 = np.full((2, 3, 4), 0.9)
    radii = certificate.radius(STANDARD, p1, np.array([0.1, 0.05, 0.02, 0.01]))
    assert isinstance(radii, np.ndarray)
    assert radii.shape == (2, 3, 4)
    assert radii.dtype == np.float64
    assert radii[1, 2, 1] == certificate.radius(STANDARD, 0.9, 0.05)
    tensor = certificate.radius(STANDARD, torch.tensor([0.9], dtype=torch.float64), torch.tensor([0.1]).double())
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.float64
    assert tensor.item() == certificate.radius(STANDARD, 0.9, 0.1)
    assert isinstance(certificate.radius(STANDARD, 0.9, 0.1), float)
    assert certificate.radius(STANDARD, np.zeros(0), np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_no_probability(bad: float) -> None:
    with pytest.raises(InvalidInputError, match=r"p1_lower must be within \[0, 1\]"):
        NeymanPearson().radius(STANDARD, bad, 0.1)
    with pytest.raises(InvalidInputError, match=r"p2_upper must be within \[0, 1\]"):
        NeymanPearson().radius(STANDARD, 0.9, bad)


@pytest.mark.parametrize("order", [-1.0, float("inf"), float("nan")])
def test_no_order(order: float) -> None:
    with pytest.raises(InvalidInputError, match="min_order"):
        Renyi(min_order=order)


# ---- classifiers whose true radius is known in closed form -----------------------------------------------------------


@pytest.mark.parametrize(("margin", "sigma"), [(0.01, 0.25), (0.3, 0.25), (1.0, 0.25), (1.0, 1.0), (3.0, 1.0)])
def test_half_space(margin: float, sigma: float) -> None:
    """p = Phi(m / sigma); the truth is m, and the tight certificate reaches it."""
    p = float(ndtr(margin / sigma))
    truth = sigma * float(ndtri(p))  # what m is after rounding p to float64
    assert NeymanPearson().radius(Gaussian(sigma), p, 1 - p) == pytest.approx(margin, rel=1e-9)
    assert NeymanPearson().radius(Gaussian(sigma), p, 1 - p) <= truth
    assert Renyi().radius(Gaussian(sigma), p, 1 - p) < margin


def test_three_classes_between_parallel_planes() -> None:
    """A = {z <= Phi^-1(.6)}, B = {z >= -Phi^-1(.2)}: moving by t along z, P(A) = P(B) at t = .547484."""
    quantile_a, quantile_b = ndtri(0.6), ndtri(0.2)

    def gap(t: float) -> float:
        return float(ndtr(quantile_a - t) - ndtr(quantile_b + t))

    radius = NeymanPearson().radius(STANDARD, 0.6, 0.2)
    assert radius == pytest.approx(0.547484, abs=1e-6)
    assert gap(radius) > 0 > gap(radius * (1 + 1e-9))


@pytest.mark.parametrize(
    ("dimension", "rho", "sigma", "p", "truth", "expected"),
    [
        (2, 1.5, 0.5, 0.9888910035, 1.412335, 1.143310),
        (10, 2.0, 0.5, 0.9003675995, 1.309765, 0.641824),
        (784, 8.0, 0.25, 0.9999999857, 3.879380, 1.387557),
    ],
)
def test_ball(dimension: int, rho: float, sigma: float, p: float, truth: float, expected: float) -> None:
    """Class A is a ball around x: P(A | shift t) = ncx2_d(rho^2 / sigma^2; t^2 / sigma^2)."""

    def inside(t: float) -> float:
        return float(ncx2.cdf((rho / sigma) ** 2, dimension, (t / sigma) ** 2))

    assert inside(1e-9) == pytest.approx(p, abs=1e-10)
    assert inside(truth * (1 - 1e-5)) > 0.5 > inside(truth * (1 + 1e-5))
    radius = NeymanPearson().radius(Gaussian(sigma), inside(1e-9), 1 - inside(1e-9))
    assert radius == pytest.approx(expected, abs=2e-6)
    assert Renyi().radius(Gaussian(sigma), inside(1e-9), 1 - inside(1e-9)) < radius < truth


@pytest.mark.parametrize(
    ("a", "sigma", "p", "truth", "expected"),
    [
        (0.5, 0.25, 0.95449974, 0.49998015, 0.42253584),
        (1.0, 0.5, 0.95449974, 0.99996029, 0.84507169),
        (1.0, 1.0, 0.68268949, 0.93327060, 0.47523285),
    ],
)
def test_slab(a: float, sigma: float, p: float, truth: float, expected: float) -> None:
    """Class A is |z| <= a."""

    def inside(t: float) -> float:
        return float(norm.cdf((a - t) / sigma) - norm.cdf((-a - t) / sigma))

    assert inside(0.0) == pytest.approx(p, abs=1e-8)
    assert inside(truth * (1 - 1e-7)) > 0.5 > inside(truth * (1 + 1e-7))
    radius = NeymanPearson().radius(Gaussian(sigma), inside(0.0), 1 - inside(0.0))
    assert radius == pytest.approx(expected, abs=1e-8)
    assert Renyi().radius(Gaussian(sigma), inside(0.0), 1 - inside(0.0)) < radius < truth
