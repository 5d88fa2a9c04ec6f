"""Certificates against reference values, brute force, 40-digit arithmetic, closed-form truth, and their own laws."""

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.special import ndtr, ndtri, rel_entr
from scipy.stats import ncx2, norm

from noiseproof.certificates import (
    AnalyticPixelDP,
    Certificate,
    ChiSquared,
    Divergence,
    FDivergence,
    Hellinger,
    KullbackLeibler,
    NeymanPearson,
    PixelDP,
    Renyi,
    RenyiOrder,
    Teng,
    Theorem3,
    TotalVariation,
    clip_runner_up,
    converted_radius,
    separated,
)
from noiseproof.certificates.lemma1 import lemma1
from noiseproof.certificates.registry import CERTIFICATES as CERTIFICATES_BY_NAME
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Laplace, Noise, Uniform
from noiseproof.noises.registry import NOISES
from noiseproof.perturbations.norms import Norm

STANDARD = Gaussian(sigma=1.0)
LAPLACE = Laplace(scale=1.0)
UNIFORM = Uniform(half_width=1.0)
EVERY_NOISE: list[Noise] = [make(1.0) for make in NOISES.values()]

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

# p1, p2, PixelDP with e <= 1, PixelDP with the analytic Gaussian mechanism.
PIXELDP = [
    (0.5, 0.4, 0.0304100841, 0.126419731),
    (0.6, 0.4, 0.0592236115, 0.251322694),
    (0.6, 0.2, 0.1756358669, 0.527389887),
    (0.7, 0.3, 0.1350361433, 0.506694206),
    (0.7, 0.1, 0.3304198416, 0.816394909),
    (0.8, 0.2, 0.2351601998, 0.770640933),
    (0.9, 0.1, 0.3902671544, 1.04880103),
    (0.9, 0.05, 0.4799875355, 1.13186858),
    (0.95, 0.05, 0.4902680147, 1.19552025),
    (0.99, 0.01, 0.5548667350, 1.31787837),
    (0.99, 0.001, 0.5672400212, 1.4168705),
    (0.999, 0.001, 0.5689114829, 1.41985007),
    (1 - 1e-6, 1e-6, 0.5704675256, 1.76514307),
    (0.3, 0.1, 0.1619551410, 0.37188712),
    (0.15, 0.1, 0.0523398758, 0.122329381),
]

# p1, p2, Theorem 3, Teng et al., tight, Rényi supremum; Laplace noise.
LAPLACE_REFERENCE = [
    (0.5, 0.4, 0.105360515658, 0.111571775657, 0.111571775657, 0.108393297582),
    (0.6, 0.2, 0.510825623766, 0.549306144334, 0.569717141594, 0.540591375797),
    (0.7, 0.1, 0.916290731874, 0.972955074528, 1.06013176810, 0.987141139535),
    (0.9, 0.1, 1.60943791243, 1.60943791243, 1.60943791243, 1.60943791243),
    (0.9, 0.05, 1.89711998489, 1.89711998489, 1.95601150271, 1.9253618895),
    (0.99, 0.001, 4.50986000618, 4.50986000618, 5.06331555193, 4.75004756027),
    (0.3, 0.1, 0.223143551314, 0.549306144334, 0.549306144334, 0.351893612061),
]

CERTIFICATES: list[Certificate] = [
    Renyi(),
    Renyi(min_order=1.0),
    NeymanPearson(),
    PixelDP(),
    AnalyticPixelDP(),
    Theorem3(),
    Teng(),
    *(FDivergence(d) for d in (KullbackLeibler(), ChiSquared(), Hellinger(), TotalVariation(), RenyiOrder(1.3))),
]
PAIRS = [
    (certificate, noise)
    for certificate in CERTIFICATES
    for noise in EVERY_NOISE
    if isinstance(noise, certificate.noises)
]
"""Every certificate with every noise it holds for: the law table. Each law below is checked on all of them."""


def test_every_certificate_of_the_registry_has_its_row() -> None:
    assert all(CERTIFICATES_BY_NAME.make(name) in CERTIFICATES for name in CERTIFICATES_BY_NAME)


@pytest.mark.parametrize(("p1", "p2", "renyi", "cohen"), REFERENCE)
def test_reference_values(p1: float, p2: float, renyi: float, cohen: float) -> None:
    assert Renyi(min_order=1.0).radius(STANDARD, p1, p2) == pytest.approx(renyi, rel=1e-9)
    assert NeymanPearson().radius(STANDARD, p1, p2) == pytest.approx(cohen, rel=1e-9)


@pytest.mark.parametrize(("p1", "p2", "classical", "analytic"), PIXELDP)
def test_pixeldp_reference_values(p1: float, p2: float, classical: float, analytic: float) -> None:
    assert PixelDP().radius(STANDARD, p1, p2) == pytest.approx(classical, rel=5e-9)  # 10 digits are known
    assert AnalyticPixelDP().radius(STANDARD, p1, p2) == pytest.approx(analytic, rel=6e-9)  # 9 digits


def test_pixeldp_does_not_go_beyond_epsilon_one() -> None:
    """A search that ignores e <= 1 would choose e = 1.98 here, and a radius that is not proven."""
    e = 1.98
    delta = (0.99 - np.exp(2 * e) * 0.01) / (1 + np.exp(e))
    invalid = e / np.sqrt(2 * np.log(1.25 / delta))
    assert PixelDP().radius(STANDARD, 0.99, 0.01) < 0.8 * invalid


@pytest.mark.parametrize(("p1", "p2", "theorem3", "teng", "tight", "renyi"), LAPLACE_REFERENCE)
def test_laplace_reference_values(
    p1: float, p2: float, theorem3: float, teng: float, tight: float, renyi: float
) -> None:
    for certificate, value in ((Theorem3(), theorem3), (Teng(), teng), (NeymanPearson(), tight), (Renyi(), renyi)):
        assert certificate.radius(LAPLACE, p1, p2) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    ("divergence", "radius"),
    [(KullbackLeibler(), 1.0108), (ChiSquared(), 1.0108), (Hellinger(), 0.9448), (TotalVariation(), 1.0488)],
    ids=repr,
)
def test_f_divergence_reference_values(divergence: Divergence, radius: float) -> None:
    assert FDivergence(divergence).radius(STANDARD, 0.9, 0.1) == pytest.approx(radius, abs=5e-5)


F_OF = {
    KullbackLeibler(): lambda x: x * np.log(np.maximum(x, 1e-300)),
    ChiSquared(): lambda x: (x - 1) ** 2,
    Hellinger(): lambda x: 0.5 * (np.sqrt(x) - 1) ** 2,
    TotalVariation(): lambda x: 0.5 * np.abs(x - 1),
}
VALUE_OF = {  # the divergence itself from what `least` returns
    KullbackLeibler(): lambda d: d,
    ChiSquared(): np.expm1,
    Hellinger(): lambda d: -np.expm1(-d / 2),
    TotalVariation(): lambda d: d,
}


@pytest.mark.parametrize("divergence", F_OF, ids=repr)
@pytest.mark.parametrize(("p1", "p2"), [(0.9, 0.1), (0.6, 0.2), (0.4, 0.3), (0.99, 0.001)])
def test_least_f_divergence_by_minimising_over_q(divergence: Divergence, p1: float, p2: float) -> None:
    """D* = min over q of p1 f(q/p1) + p2 f(q/p2) + rest f((1-2q)/rest), on a fine grid."""
    f, rest = F_OF[divergence], 1 - p1 - p2
    q = np.linspace(1e-9, 0.5, 2_000_001) if rest > 1e-12 else np.array([0.5])
    last = rest * f((1 - 2 * q) / rest) if rest > 1e-12 else 0.0
    brute = np.min(p1 * f(q / p1) + p2 * f(q / p2) + last)
    least = divergence.least(np.array([p1]), np.array([p2]))
    assert VALUE_OF[divergence](least)[0] == pytest.approx(brute, rel=2e-6)


def test_f_divergences_of_shifted_noise_by_integration() -> None:
    """max_shift inverts the divergence between the noise and its shifted copy, integrated numerically."""
    x = np.linspace(-40, 40, 4_000_001)
    densities = {
        STANDARD: lambda z: np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi),
        LAPLACE: lambda z: 0.5 * np.exp(-np.abs(z)),
    }
    for noise, density in densities.items():
        for divergence, f in F_OF.items():
            least = np.array([0.1])
            t = divergence.max_shift(noise, least)[0]
            p, q = density(x), density(x - t)
            integral = np.trapezoid(p * f(q / np.maximum(p, 1e-300)), x)
            assert integral == pytest.approx(VALUE_OF[divergence](least)[0], rel=1e-5), (noise, divergence)


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


def precise_quantile(p: float) -> mp.mpf:
    """Phi^-1(p) to 50 digits: Newton's method on ln Phi, in the lower tail."""
    rest = min(mp.mpf(p), 1 - mp.mpf(p))
    x = mp.mpf(float(ndtri(float(rest))))
    for _ in range(5):
        below = mp.erfc(-x / mp.sqrt(2)) / 2
        x -= mp.log(below / rest) * below * mp.sqrt(2 * mp.pi) * mp.exp(x * x / 2)
    return x if p < 0.5 else -x


def laplace_quantile(p: float) -> mp.mpf:
    return mp.log(2 * mp.mpf(p)) if p <= 0.5 else -mp.log(2 * (1 - mp.mpf(p)))


EXACT_VALUES: list[tuple[Certificate, Noise, Callable[[float, float], mp.mpf]]] = [
    (NeymanPearson(), STANDARD, lambda a, b: (precise_quantile(a) - precise_quantile(b)) / 2),
    (NeymanPearson(), LAPLACE, lambda a, b: (laplace_quantile(a) - laplace_quantile(b)) / 2),
    (NeymanPearson(), UNIFORM, lambda a, b: mp.mpf(a) - mp.mpf(b)),
    (Theorem3(), LAPLACE, lambda a, b: -mp.log1p(mp.mpf(b) - mp.mpf(a))),
    (Teng(), LAPLACE, lambda a, b: max(mp.log(mp.mpf(a) / mp.mpf(b)) / 2, -mp.log1p(mp.mpf(b) - mp.mpf(a)))),
]


def whole_domain(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of all sizes: 1 - p1 to 1e-16, p2 to 1e-322, and near ties of any, to the last digit."""
    rng = np.random.default_rng(7)
    small, near = 10.0 ** rng.uniform(-322, -0.31, count), 10.0 ** rng.uniform(-15.9, -0.3, count)
    top, tiny = 1.0 - 10.0 ** rng.uniform(-16, -1, count), 10.0 ** rng.uniform(-300, 0, count)
    p1 = np.concatenate([small, small, rng.uniform(0.3, 1, count), top, top, 1 - 10.0 ** -np.arange(1.0, 17.0)])
    low = np.concatenate(
        [small, small * np.exp(-near), p1[2 * count : 3 * count], 1 - top, (1 - top) * tiny, np.ones(16)]
    )
    low[:count] *= 1 - near
    low[2 * count : 4 * count] *= 1 - np.concatenate([near, near])
    p2 = np.minimum(low, 1 - p1)
    kept = (p1 > p2) & (p2 > 0)
    return p1[kept], p2[kept]


@pytest.mark.parametrize(("certificate", "noise", "exact"), EXACT_VALUES, ids=lambda value: repr(value)[:20])
def test_no_radius_is_longer_than_its_exact_value(
    certificate: Certificate, noise: Noise, exact: Callable[[float, float], mp.mpf]
) -> None:
    """Of the closed forms, over the whole domain; nor shorter by more than rounding down takes."""
    p1, p2 = whole_domain(150)
    with mp.workdps(50):
        for a, b, radius in zip(p1.tolist(), p2.tolist(), certificate.radius(noise, p1, p2).tolist(), strict=True):
            truth = exact(a, b)
            assert radius <= truth, (a, b)
            assert radius >= truth * (1 - mp.mpf("2e-10")) - mp.mpf("1e-289"), (a, b)


# ---- laws every certificate obeys ------------------------------------------------------------------------------------

law = pytest.mark.parametrize(("certificate", "noise"), PAIRS, ids=repr)
many = arrays(np.float64, 40, elements=st.floats(0.0, 1.0, allow_subnormal=True))
"""Forty probabilities at a time, from all of [0, 1], the smallest numbers included."""


@law
@given(p1=many, p2=many)
def test_crossed_or_tied_bounds_certify_nothing(
    certificate: Certificate, noise: Noise, p1: np.ndarray, p2: np.ndarray
) -> None:
    radius = certificate.radius(noise, p1, p2)
    assert (radius >= 0.0).all()
    assert (radius[p1 <= np.minimum(p2, 1.0 - p1)] == 0.0).all()
    assert (certificate.radius(noise, p1, p1) == certificate.radius(noise, p1, np.minimum(p1, 1.0 - p1))).all()


@law
def test_51_to_49_with_crossed_bounds(certificate: Certificate, noise: Noise) -> None:
    """The released code of the paper certifies 0.07 here, by the symmetry of the formula."""
    assert certificate.radius(noise, 0.45, 0.55) == 0.0
    assert certificate.radius(noise, 0.40, 0.60) == 0.0


@law
@given(p1=many, p2=many, step=st.floats(0.0, 0.5))
def test_monotone_in_both_probabilities(
    certificate: Certificate, noise: Noise, p1: np.ndarray, p2: np.ndarray, step: float
) -> None:
    here = certificate.radius(noise, p1, p2)
    assert (certificate.radius(noise, np.minimum(p1 + step, 1.0), p2) >= here * (1 - 1e-9)).all()
    assert (certificate.radius(noise, p1, np.minimum(p2 + step, 1.0)) <= here * (1 + 1e-9)).all()


@law
@given(p1=many, p2=many, scale=st.floats(1e-3, 1e3))
def test_linear_in_the_noise(
    certificate: Certificate, noise: Noise, p1: np.ndarray, p2: np.ndarray, scale: float
) -> None:
    unit = certificate.radius(noise, p1, p2)
    assert certificate.radius(type(noise)(scale), p1, p2) == pytest.approx(scale * unit, rel=1e-11)


@law
@given(p1=many, p2=many)
def test_nothing_exceeds_the_tight_radius(
    certificate: Certificate, noise: Noise, p1: np.ndarray, p2: np.ndarray
) -> None:
    assert (certificate.radius(noise, p1, p2) <= NeymanPearson().radius(noise, p1, p2) * (1 + 1e-11)).all()
    if isinstance(certificate, FDivergence) and not isinstance(certificate.divergence, TotalVariation):
        assert (certificate.radius(noise, p1, p2) <= Renyi().radius(noise, p1, p2) * (1 + 1e-9)).all()


@law
def test_nothing_exceeds_the_tight_radius_near_ties(certificate: Certificate, noise: Noise) -> None:
    """Where rounding could carry a radius beyond: gaps down to 1e-15 around several probabilities, to the last digit."""
    middle, gap = np.meshgrid([1e-3, 0.1, 0.3, 0.5], np.logspace(-15, -3, 13))
    p1, p2 = (middle + gap / 2).ravel(), (middle - gap / 2).ravel()
    excess = certificate.radius(noise, p1, p2) - NeymanPearson().radius(noise, p1, p2)
    assert (excess <= 1e-12 * NeymanPearson().radius(noise, p1, p2)).all()


@given(p1=many, p2=many)
def test_theorem_3_at_most_teng_at_most_tight(p1: np.ndarray, p2: np.ndarray) -> None:
    printed, teng, tight = (c.radius(LAPLACE, p1, p2) for c in (Theorem3(), Teng(), NeymanPearson()))
    assert (printed <= teng).all()
    assert (teng <= tight * (1 + 1e-11)).all()
    assert (printed <= Renyi().radius(LAPLACE, p1, p2) * (1 + 1e-11)).all()


@law
def test_runner_up_is_clipped_to_what_is_left(certificate: Certificate, noise: Noise) -> None:
    assert certificate.radius(noise, 0.9, 0.5) == certificate.radius(noise, 0.9, 1.0 - 0.9)
    assert clip_runner_up(np.array(0.75), np.array(0.5)) == 0.25
    assert not separated(np.array(0.5), np.array(0.5))


@pytest.mark.parametrize(
    "certificate", [PixelDP(), AnalyticPixelDP(), FDivergence(Hellinger()), FDivergence(TotalVariation())], ids=repr
)
def test_some_certificates_stay_finite_at_certainty(certificate: Certificate) -> None:
    assert 0.0 < certificate.radius(STANDARD, 1.0, 0.0) < 11.0


@pytest.mark.parametrize("certificate", [Renyi(), NeymanPearson(), FDivergence(KullbackLeibler())], ids=repr)
def test_certainty_gives_infinity_where_the_noise_reaches_everywhere(certificate: Certificate) -> None:
    assert certificate.radius(STANDARD, 1.0, 0.0) == np.inf
    assert certificate.radius(LAPLACE, 1.0, 0.0) == np.inf
    assert certificate.radius(UNIFORM, 1.0, 0.0) <= 1.0


def test_no_runner_up_at_all() -> None:
    assert NeymanPearson().radius(STANDARD, 0.9, 0.0) == np.inf  # Phi^-1(0): a class that never appears stays away
    assert 2.26 < Renyi().radius(STANDARD, 0.9, 0.0) < 2.27


@law
def test_kinds_and_shapes(certificate: Certificate, noise: Noise) -> None:
    p1 = np.full((2, 3, 4), 0.9)
    radii = certificate.radius(noise, p1, np.array([0.1, 0.05, 0.02, 0.01]))
    assert isinstance(radii, np.ndarray)
    assert radii.shape == (2, 3, 4)
    assert radii.dtype == np.float64
    assert radii[1, 2, 1] == pytest.approx(certificate.radius(noise, 0.9, 0.05), rel=1e-13)
    tensor = certificate.radius(noise, torch.tensor([0.9], dtype=torch.float64), torch.tensor([0.1]).double())
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.float64
    assert tensor.item() == pytest.approx(certificate.radius(noise, 0.9, 0.1), rel=1e-13)
    assert isinstance(certificate.radius(noise, 0.9, 0.1), float)
    assert certificate.radius(noise, np.zeros(0), np.zeros(0)).shape == (0,)


def test_certificates_for_one_noise_refuse_the_others() -> None:
    for certificate, noise in (
        (Theorem3(), STANDARD),
        (Teng(), UNIFORM),
        (PixelDP(), LAPLACE),
        (AnalyticPixelDP(), UNIFORM),
    ):
        with pytest.raises(InvalidInputError, match=f"got {type(certificate).__name__}, which holds for"):
            certificate.radius(noise, 0.9, 0.1)


@pytest.mark.parametrize(
    ("norm", "wanted", "factor"),
    [
        (Norm.L2, Norm.L1, 1.0),
        (Norm.L2, Norm.LINF, 1 / 28),
        (Norm.L1, Norm.L2, 1 / 28),
        (Norm.L1, Norm.LINF, 1 / 784),
        (Norm.LINF, Norm.L2, 1.0),
        (Norm.L2, Norm.L2, 1.0),
    ],
)
def test_radii_in_other_norms_are_the_largest_balls_inside(norm: Norm, wanted: Norm, factor: float) -> None:
    converted = converted_radius(1.0, norm=norm, wanted=wanted, dimension=784)
    assert converted <= factor
    assert converted == pytest.approx(factor, rel=1e-12)
    worst = (
        np.ones(784) if wanted.order > norm.order else np.eye(784)[0]
    )  # a point of the wanted ball that is farthest in the other
    worst *= converted / np.linalg.norm(worst, wanted.order)
    assert np.linalg.norm(worst, norm.order) == pytest.approx(1.0, rel=1e-12)
    assert converted == converted_radius(1.0, norm=str(norm), wanted=str(wanted), dimension=784)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="dimension"):
        converted_radius(1.0, norm=norm, wanted=wanted, dimension=0)


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


@pytest.mark.parametrize(("margin", "scale"), [(0.1, 0.5), (0.6, 0.5), (3.0, 1.0)])
def test_laplace_half_line(margin: float, scale: float) -> None:
    """p = 1 - e^(-m / lambda) / 2: truth and tight certificate are m."""
    rest = np.exp(-margin / scale) / 2
    assert NeymanPearson().radius(Laplace(scale), 1 - rest, rest) == pytest.approx(margin, rel=1e-9)
    assert Renyi().radius(Laplace(scale), 1 - rest, rest) <= margin
    assert Theorem3().radius(Laplace(scale), 1 - rest, rest) == pytest.approx(margin, rel=1e-9)  # tight for two classes


def test_laplace_diagonal() -> None:
    """z1 + z2 <= m: p = 1 - e^-u (2 + u) / 4 with u = m / lambda; the truth is m in l1, the certificate shorter."""
    scale, margin = 0.5, 0.6
    u = margin / scale
    p = 1 - np.exp(-u) * (2 + u) / 4
    assert p == pytest.approx(0.75904463, abs=1e-8)
    radius = NeymanPearson().radius(Laplace(scale), p, 1 - p)
    assert radius == pytest.approx(0.364998, abs=1e-6)
    # in the limit of large orders the same, but processors round differently
    renyi = Renyi().radius(Laplace(scale), p, 1 - p)
    assert renyi == pytest.approx(radius, rel=1e-15)
    assert max(renyi, radius) < margin


@pytest.mark.parametrize(("margin", "half_width"), [(0.1, 0.5), (0.4, 0.5), (1.0, 2.0)])
def test_uniform_half_line(margin: float, half_width: float) -> None:
    """p = (lambda + m) / (2 lambda): truth and certificate are m."""
    p = (half_width + margin) / (2 * half_width)
    assert NeymanPearson().radius(Uniform(half_width), p, 1 - p) == pytest.approx(margin, rel=1e-9)
    assert Renyi().radius(Uniform(half_width), p, 1 - p) < margin
