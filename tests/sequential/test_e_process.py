"""Sequential certification of one class: evidence against 40 digits, error of the first kind by exact dynamic programming."""

import math
from dataclasses import dataclass
from itertools import pairwise, product

import mpmath as mp
import numpy as np
import pytest
import sequential_rules
from scipy.special import ndtr
from scipy.stats import binom
from sequential_rules import (
    FixedNumber,
    JeffreysTest,
    KrichevskyTrofimov,
    OneLevelTest,
    Stages,
    UnionBound,
    exact_law,
    first_certifying,
)

from noiseproof.bounds import clopper_pearson_lower
from noiseproof.errors import InvalidInputError
from noiseproof.sequential import (
    CERTIFIED,
    FUTILE,
    UNDECIDED,
    information_limit,
    log_evidence,
    log_threshold,
    most_failures,
)
from noiseproof.sequential.e_process import _far, _near, rounded_down

LEVELS = [float(ndtr(0.5)), float(ndtr(1.0)), float(ndtr(2.0)), 0.999]


# ---- evidence --------------------------------------------------------------------------------------------------------


def integral(successes: int, failures: int, p0: float) -> mp.mpf:
    """ln W as the defining average over q = sin^2 t > p0, uniform in t, by 45-digit quadrature around the peak."""
    A, f, p = mp.mpf(successes), mp.mpf(failures), mp.mpf(p0)
    start, end = mp.asin(mp.sqrt(p)), mp.pi / 2

    def exponent(t: mp.mpf) -> mp.mpf:
        up = 2 * A * mp.log(mp.sin(t)) if successes else mp.mpf(0)
        down = 2 * f * mp.log(abs(mp.cos(t)) + mp.mpf(10) ** -400) if failures else mp.mpf(0)
        return up + down - A * mp.log(p) - f * mp.log(1 - p)

    peak = max(mp.atan(mp.sqrt(A / f)) if failures else end, start)
    highest = exponent(peak)
    steep = abs(2 * A / mp.tan(start) - 2 * f * mp.tan(start)) if peak == start else 0
    width = 1 / (mp.sqrt(2 * (A + f)) + steep + 1)
    marks = [peak + sign * k * width for k in (0, 1, 2, 4, 7, 11, 17, 30, 60) for sign in (-1, 1)]
    points = sorted({start, end, *(mark for mark in marks if start < mark < end)})
    total = mp.quad(lambda t: mp.exp(exponent(t) - highest), points, maxdegree=7)
    return mp.log(total) + highest - mp.log(end - start)


EVIDENCE = [
    (0, 1, 1e-6), (1, 0, 1e-6), (3, 10_000_000, 1e-6), (40, 9_999_960, 1e-6),
    (0, 1, 0.5), (1, 0, 0.5), (1, 1, 0.5), (5_012_000, 4_988_000, 0.5), (4_990_000, 5_010_000, 0.5), (0, 10_000_000, 0.5),
    (22, 0, LEVELS[0]), (53, 5, LEVELS[0]), (6_920_000, 3_080_000, LEVELS[0]), (2_000_000, 8_000_000, LEVELS[0]),
    (8_418_069, 1_581_931, LEVELS[1]), (0, 1000, LEVELS[1]), (900, 100, LEVELS[1]), (600, 400, LEVELS[1]),
    (874, 5, LEVELS[2]), (97_900, 2100, LEVELS[2]), (90_000, 10_000, LEVELS[2]),
    (10_000_000, 0, 1 - 1e-6), (9_999_990, 10, 1 - 1e-6), (10_000_000, 0, 1 - 1e-9), (9_999_999, 1, 1 - 1e-9),
    (5_000_000, 5_000_000, 1 - 1e-9), (0, 10_000_000, 1 - 1e-9),
]  # fmt: skip


@pytest.mark.parametrize(("successes", "failures", "p0"), EVIDENCE)
def test_evidence_against_45_digits(successes: int, failures: int, p0: float) -> None:
    with mp.workdps(45):
        expected = integral(successes, failures, p0)
        found = log_evidence(np.array(successes), np.array(failures), p0)
        error = abs(float(found - expected))
    assert error <= 5e-14 + 2e-15 * abs(successes * (1 - p0) - failures * p0) + 1e-15 * abs(float(expected))
    assert rounded_down(np.array(successes), np.array(failures), p0) <= found


def test_evidence_is_one_at_the_start_and_broadcasts() -> None:
    assert log_evidence(np.array(0), np.array(0), 0.7) == pytest.approx(0.0, abs=1e-14)
    found = log_evidence(np.arange(6)[:, None], np.arange(4), np.array([0.5, 0.6, 0.7, 0.8]))
    assert found.shape == (6, 4)
    assert found[5, 2] == log_evidence(np.array(5), np.array(2), 0.7)


@pytest.mark.parametrize("p0", [1e-3, 0.5, LEVELS[1], 0.999])
@pytest.mark.parametrize("p", [0.2, 0.9, 1.0])
def test_evidence_is_a_supermartingale(p0: float, p: float) -> None:
    """E_p[W after one more vote] <= W for p <= p0, with equality at p0: at every state, also far out in the tail."""
    A, f = np.meshgrid(np.arange(0, 400, 7), np.arange(0, 400, 7))
    p = p * p0
    after = np.logaddexp(np.log(p) + log_evidence(A + 1, f, p0), np.log1p(-p) + log_evidence(A, f + 1, p0))
    now = log_evidence(A, f, p0)
    assert (after - now <= 1e-13 * (1.0 + np.abs(now))).all()
    if p == p0:
        np.testing.assert_allclose(after, now, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p0", [1e-3, 0.5, *LEVELS])
def test_both_formulas_of_the_evidence_agree(p0: float) -> None:
    """Where one takes over from the other: 6 standard deviations below p0, and around there."""
    n = 1e6
    f = np.rint(n * (1 - p0) + np.linspace(5, 12, 50) * math.sqrt(n * p0 * (1 - p0)))
    p, q = np.full(50, p0), np.full(50, 1 - p0)
    np.testing.assert_allclose(_near(n - f, f, p, q), _far(n - f, f, p, q), rtol=1e-11)


@pytest.mark.parametrize("p0", [0.0, 1.0, -0.1, float("nan")])
def test_p0_outside_its_domain(p0: float) -> None:
    with pytest.raises(InvalidInputError, match="p0 must be in"):
        log_evidence(np.array(3), np.array(1), p0)
    with pytest.raises(InvalidInputError, match="p0 must be in"):
        JeffreysTest(p0, 0.001)
    with pytest.raises(InvalidInputError, match=">= 0"):
        log_evidence(np.array(-1), np.array(1), 0.5)


# ---- the boundary ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("r", "expected"),
    [
        (0.5, [22, 32, 39, 46, 52, 58]),
        (1.0, [47, 67, 82, 95, 108, 120]),
        (2.0, [351, 495, 605, 703, 794, 879]),
    ],
)
def test_first_certifying_numbers(r: float, expected: list[int]) -> None:
    assert first_certifying(float(ndtr(r)), 0.001, np.arange(6)).tolist() == expected


@pytest.mark.parametrize("p0", [1e-3, 0.3, 0.5, *LEVELS])
@pytest.mark.parametrize("alpha", [0.3, 1e-3, 1e-12])
def test_boundary_is_where_the_evidence_crosses(p0: float, alpha: float) -> None:
    failures = np.concatenate([np.arange(40), np.array([1000, 54_321, 2_000_000])])
    first = first_certifying(p0, alpha, failures)
    assert (np.diff(first) > 0).all()
    level = -math.log(alpha)
    assert (log_evidence(first - failures, failures, p0) >= level).all()
    before = np.maximum(first - failures - 1, 0)
    assert (log_evidence(before, failures, p0) < level + 1e-9).all()
    assert (most_failures(first, p0, level) == failures).all()
    assert (most_failures(first - 1, p0, level) == failures - 1).all()


def test_decisions_are_comparisons() -> None:
    rule = JeffreysTest(LEVELS[0], 0.001, beta=0.01, cap=1000)
    successes, n = np.array([22, 21, 21, 0, 100, 600, 999]), np.array([22, 21, 22, 22, 200, 1000, 1001])
    assert rule.decide(successes, n).tolist() == [
        CERTIFIED, UNDECIDED, UNDECIDED, FUTILE, FUTILE, FUTILE, FUTILE,
    ]  # fmt: skip
    with pytest.raises(InvalidInputError, match="between 0 and n"):
        rule.decide(np.array([5]), np.array([4]))


# ---- error of the first kind, exactly --------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("p0", LEVELS)
def test_error_of_the_first_kind(p0: float, alpha: float) -> None:
    """At p = p0 with a look after every vote to n = 20 000: below alpha, and not far below."""
    law = exact_law(JeffreysTest(p0, alpha), p0, 20_000)
    assert 0.5 * alpha < law.certified <= alpha
    assert law.lost < 1e-15
    lower = exact_law(JeffreysTest(p0, alpha), 0.98 * p0, 5000).certified
    assert lower < law.certified


@dataclass(frozen=True)
class Mutant(OneLevelTest):
    """Rules with a mistake, made from the right evidence."""

    kind: str
    p0: float
    alpha: float

    def certified_up_to(self, n: np.ndarray) -> np.ndarray:
        level = -math.log(self.alpha)
        shift = {
            "half the threshold": -math.log(2.0),
            "twice the threshold": math.log(2.0),
            # the mass of all q in (0, 1) instead of those above p0, and the reverse
            "alternatives not normalised to q > p0": math.log(math.pi / (2 * math.acos(math.sqrt(self.p0)))),
            "all alternatives, mass of q > p0": -math.log(math.pi / (2 * math.acos(math.sqrt(self.p0)))),
        }[self.kind]
        return most_failures(n, self.p0, level + shift)


@pytest.mark.parametrize(
    "kind",
    [
        "half the threshold",
        "twice the threshold",
        "alternatives not normalised to q > p0",
        "all alternatives, mass of q > p0",
    ],
)
def test_mutants_are_caught(kind: str) -> None:
    errors = [exact_law(Mutant(kind, p0, 0.001), p0, 20_000).certified for p0 in LEVELS[:3]]
    assert not all(0.0005 < error <= 0.001 for error in errors)


def test_a_fixed_sample_bound_at_every_look_is_caught() -> None:
    """Clopper-Pearson at alpha after every vote: the mistake that all of this is there to avoid."""

    class EveryLook(OneLevelTest):
        def certified_up_to(self, n: np.ndarray) -> np.ndarray:
            return np.array([int((binom.cdf(np.arange(m), m, 1 - LEVELS[0]) <= 0.05).sum()) - 1 for m in n])

    assert exact_law(EveryLook(), LEVELS[0], 500).certified > 3 * 0.05


# ---- giving up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p0", LEVELS[:3])
def test_giving_up_keeps_its_level_and_takes_no_soundness(p0: float) -> None:
    rule, plain = JeffreysTest(p0, 0.001, beta=0.01), JeffreysTest(p0, 0.001)
    law = exact_law(rule, p0, 10_000)
    assert 0.3 * 0.01 < law.given_up <= 0.01
    assert law.certified <= exact_law(plain, p0, 10_000).certified <= 0.001
    # a mirrored rule that looks the wrong way would give up what can be certified, and keep what cannot
    good, bad = p0 + 0.5 * (1 - p0), p0 - 0.5 * (1 - p0)
    assert exact_law(rule, good, 10_000).given_up < 0.01
    assert exact_law(rule, good, 10_000).certified > 0.99
    assert exact_law(rule, bad, 10_000).given_up > 0.99
    assert exact_law(rule, bad, 10_000).votes < 0.5 * exact_law(plain, bad, 10_000).votes


def test_giving_up_at_the_cap_costs_nothing() -> None:
    """Whoever cannot be certified by the cap, even if every vote to come succeeds, is given up: no certificate is lost."""
    p0, cap = LEVELS[1], 2000
    capped, plain = JeffreysTest(p0, 0.001, cap=cap), JeffreysTest(p0, 0.001)
    for p in (0.8, 0.86, 0.9):
        assert exact_law(capped, p, cap).certified == pytest.approx(exact_law(plain, p, cap).certified, rel=1e-12)
    last = int(plain.certified_up_to(np.array([cap]))[0])
    assert capped.decide(np.array([500 - last, 499 - last]), np.array([500, 500])).tolist() == [UNDECIDED, FUTILE]
    assert exact_law(capped, 0.7, cap).votes < 0.75 * cap
    assert exact_law(JeffreysTest(p0, 0.001, cap=10), 1.0, 10).votes == 1.0


# ---- votes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p0", "p"), [(LEVELS[0], 0.75), (LEVELS[0], 0.9), (LEVELS[1], 0.88), (LEVELS[1], 0.98), (LEVELS[2], 0.99)]
)
def test_expected_votes_are_near_the_information_limit(p0: float, p: float) -> None:
    cap, limit = 20_000, information_limit(p, p0, 0.001)
    law = exact_law(JeffreysTest(p0, 0.001), p, cap)
    assert law.certified > 1 - 1e-9
    assert 1.05 * limit < law.votes < 1.35 * limit
    others = [exact_law(rule, p, cap).votes for rule in (KrichevskyTrofimov(p0, 0.001), UnionBound(p0, 0.001))]
    stages = exact_law(Stages(p0, 0.001), p, 11_100).votes
    assert law.votes < others[0] < others[1] < stages


# ---- the law itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9, 1.0])
def test_law_by_all_paths(p: float) -> None:
    rule = JeffreysTest(0.4, 0.3, beta=0.3)
    n, certified, given_up, votes = 12, 0.0, 0.0, 0.0
    looks = np.arange(1, n + 1)
    most, least = rule.certified_up_to(looks), rule.given_up_from(looks)
    for path in product([0, 1], repeat=n):
        f = np.cumsum(path)
        weight = (1 - p) ** f[-1] * p ** (n - f[-1])
        ends = np.flatnonzero((f <= most) | (f >= least))
        if len(ends):
            certified += weight * (f[ends[0]] <= most[ends[0]])
            given_up += weight * (f[ends[0]] > most[ends[0]])
        votes += weight * (ends[0] + 1 if len(ends) else n)
    law = exact_law(rule, p, n)
    assert (law.certified, law.given_up, law.votes) == pytest.approx((certified, given_up, votes), rel=1e-11)
    assert certified > 0 or p == 0
    with pytest.raises(InvalidInputError, match="p must be in"):
        exact_law(rule, 1.5, n)


# ---- what others do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [FixedNumber, UnionBound, Stages, KrichevskyTrofimov])
@pytest.mark.parametrize("p0", LEVELS[:3])
def test_baselines_are_valid(rule: type[OneLevelTest], p0: float) -> None:
    made = rule(p0, 0.05) if rule is not FixedNumber else FixedNumber(p0, 0.05, samples=3000)
    cap = 11_100 if rule is Stages else 3000
    assert 0.0 < exact_law(made, p0, cap).certified <= 0.05


@pytest.mark.parametrize("p0", LEVELS[:3])
def test_baselines_ask_for_clopper_pearson_above_p0(p0: float) -> None:
    n = 1000
    failures = np.arange(n)
    lower = clopper_pearson_lower(n - failures, np.full(n, n), 0.001)
    most = FixedNumber(p0, 0.001, samples=n).certified_up_to(np.array([n - 1, n]))
    assert most.tolist() == [-1, int((lower >= p0).sum()) - 1]
    staged = Stages(p0, 0.004, sizes=(10, n, 50, 60)).certified_up_to(np.array([10 + n]))
    assert staged[0] == most[1]
    reused = Stages(p0, 0.004, sizes=(10, n - 10, 50, 60), reuse=True)
    assert reused.certified_up_to(np.array([n]))[0] == most[1]
    assert reused.restarts == ()


def test_stages_are_independent() -> None:
    """Two stages in closed form: the second has its own votes and its own level."""
    p0, p, sizes = LEVELS[0], 0.75, (60, 300)
    rule = Stages(p0, 0.01, beta=0.02, sizes=sizes)
    law = exact_law(rule, p, 360)
    ends = np.array([60, 360])
    most, least = rule.certified_up_to(ends), rule.given_up_from(ends)
    first = binom.cdf(most[0], sizes[0], 1 - p)
    abandoned = binom.sf(least[0] - 1, sizes[0], 1 - p)
    second = (1 - first - abandoned) * binom.cdf(most[1], sizes[1], 1 - p)
    assert law.certified == pytest.approx(first + second, rel=1e-12)
    assert law.votes == pytest.approx(60 + 300 * (1 - first - abandoned), rel=1e-12)
    upper = 1 - clopper_pearson_lower(np.arange(61), np.full(61, 60), 0.02)  # of 60 - f successes, by the mirror
    assert least[0] == int((upper >= p0).sum())


def test_union_bound_of_the_publication() -> None:
    """Levels sum to alpha; moments are the first integers above 1.1^11, 1.1^12, ..; a look asks for what its moment asks."""
    rule = UnionBound(LEVELS[0], 0.001)
    moments = rule.moments(5000)
    assert moments[:3].tolist() == [3, 4, 5]
    assert all(1 <= b - a <= 0.1 * a + 1 for a, b in pairwise(moments.tolist()))
    j = 30
    level = 5 * 0.001 / ((j + 4) * (j + 5))
    n = int(moments[j - 1])
    most = int(rule.certified_up_to(np.array([n]))[0])
    assert binom.sf(n - most - 1, n, LEVELS[0]) <= level < binom.sf(n - most - 2, n, LEVELS[0])
    assert rule.certified_up_to(np.array([n - 1]))[0] == most - 1


def test_krichevsky_trofimov_by_its_bets() -> None:
    """The mixture is the product of bets (A + 1/2)/(n + 1): the wealth of a run, against its boundary."""
    rule, p0, rng = KrichevskyTrofimov(0.6, 0.01), 0.6, np.random.default_rng(0)
    run = rng.random(400) < 0.75
    wealth, A = 1.0, 0
    looks = np.arange(1, 401)
    most = rule.certified_up_to(looks)
    for n, success in enumerate(run.tolist()):
        q = (A + 0.5) / (n + 1)
        wealth *= q / p0 if success else (1 - q) / (1 - p0)
        A += success
        assert (wealth >= 1 / 0.01 and p0 * (n + 1) < A) == (n + 1 - A <= most[n])
    assert wealth > 1 / 0.01


def test_thresholds() -> None:
    assert sequential_rules._log_level(0.9, 0.01, None, every_class=False) == pytest.approx(math.log(100))
    assert log_threshold(0.5, 0.01) == pytest.approx(math.log(200))
    assert log_threshold(LEVELS[0], 0.001) == pytest.approx(math.log(1000) + 0.0011, abs=1e-4)
    with pytest.raises(InvalidInputError, match=r"p0 must be in \[0\.5, 1\)"):
        JeffreysTest(0.4, 0.001, every_class=True)
