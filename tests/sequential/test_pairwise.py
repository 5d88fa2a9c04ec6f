"""Certificates by winner and runner-up: against exact laws of three classes, 50-digit numbers and enumerated continuations."""

import itertools
import json
import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import ndtr, ndtri
from scipy.stats import norm

import noiseproof as npf
from mutation import mutated
from noiseproof.certificates import NeymanPearson, Renyi
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Laplace
from noiseproof.sequential import (
    CERTIFIED,
    FUTILE,
    UNDECIDED,
    AheadOfAll,
    CertifyRadii,
    Exceeds,
    Level,
    PairEvidence,
    fit_prior,
    lower_bound,
    pairwise,
    rule_from,
    top_class_certain,
)
from sequential.test_every_class import ever

SHIFTS = (0.0, 0.1, 0.3, 1.0, 2.633, 5.0, 7.0)


def boundary(t: float, u: float) -> tuple[float, float]:
    """p_A and p_B with Phi^-1(p_A) - Phi^-1(p_B) = 2t."""
    return float(ndtr(t - u)), float(ndtr(-t - u))


def cases_near(t: float) -> np.ndarray:
    """Three classes: on the boundary of t, just beyond it, within, and ties; the third below or above the second."""
    found = [(0.5, 0.5, 0.0), (0.4, 0.4, 0.2), (1 / 3, 1 / 3, 1 / 3), (0.2, 0.4, 0.4)]
    for shift in (t, t + 1e-9, 0.7 * t, 1.5 * t):
        for u in (0.0, 0.02, 0.1, 0.3, 0.6):
            a, b = boundary(shift, u)
            found.append((a, b, max(1 - a - b, 0.0)))
    return np.array(found)


def certifiable(cases: np.ndarray, t: float) -> np.ndarray:
    """For every case and class, whether it may be certified at t."""
    others = np.stack([np.delete(cases, j, axis=1).max(-1) for j in range(3)], axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(ndtri(cases) - ndtri(others) > 2 * t)


def wrongly(goal: AheadOfAll, cases: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Whether the leader is certified at a t where it may not be."""
    right = np.stack([certifiable(cases, t) for t in goal.shifts], axis=-1)  # cases, classes, shifts

    def happens(votes: np.ndarray) -> np.ndarray:
        sure = goal.outcomes(votes) == CERTIFIED
        return np.asarray((sure & ~right[:, votes.argmax(-1)]).any(-1))

    return happens


# ---- one pair --------------------------------------------------------------------------------------------------------


def expectations(logarithms: np.ndarray, t: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """The largest expectation of a factor under H over all products, and the least of their largest ones; in 40 digits."""
    mpmath.mp.dps = 40
    factors = [[mpmath.exp(mpmath.mpf(float(value))) for value in column] for column in logarithms.T]
    largest = [mpmath.mpf(0)] * len(factors)
    for u in [0.0, *pairwise._TANGENTS[1:].tolist(), *np.linspace(0.01, 5.0, 40).tolist()]:
        a, b = (mpmath.ncdf(side * mpmath.mpf(t) - mpmath.mpf(u)) for side in (1, -1))
        for share in (1, mpmath.mpf("0.9")):
            p = (share * a, b, 1 - share * a - b)
            mean = (sum(x * y for x, y in zip(p, each, strict=True)) for each in factors)
            largest = [max(pair) for pair in zip(largest, mean, strict=True)]
    return max(largest), min(largest)


@pytest.mark.parametrize("t", SHIFTS)
def test_no_vote_multiplies_by_more_than_one_in_expectation(t: float) -> None:
    most, least = expectations(PairEvidence(t)._logarithms, t)
    assert most <= 1 + 1e-15  # what the logarithms lose as they are stored is in `rounding`
    assert least > 1 - 1e-9, "a tangent that does not touch"


@pytest.mark.parametrize(
    ("old", "new"),
    [("ndtr(u - t)", "ndtr(u - 1.001 * t)"), ("slope = np.exp(2.0 * t * u)", "slope = np.exp(2.002 * t * u)")],
)
def test_tangents_of_another_slope_or_place_are_noticed(old: str, new: str) -> None:
    broken = mutated(vars(PairEvidence)["_logarithms"].func, old, new)
    most, least = expectations(broken(PairEvidence(1.0)), 1.0)
    assert most > 1 + 1e-15 or least < 1 - 1e-9


COUNTS = st.integers(0, 10**6)


@given(COUNTS, COUNTS, COUNTS, st.sampled_from(SHIFTS))
def test_more_for_the_winner_and_less_for_the_rival(a: int, b: int, o: int, t: float) -> None:
    evidence = PairEvidence(t)
    table = np.array([(a, b, o), (a + 1, b, o), (a, b + 1, o), (a, b + 1, max(o - 1, 0)), (a, b, o)])
    plain, more, rival, moved, again = evidence.log(*table.T).tolist()
    slack = 1e-9 + 1e-12 * abs(plain)
    assert more >= plain - slack
    assert rival <= plain + slack
    assert moved <= plain + slack or o == 0
    assert again == plain


@given(COUNTS, COUNTS, COUNTS, st.sampled_from(SHIFTS))
def test_no_evidence_where_the_votes_themselves_have_none(a: int, b: int, o: int, t: float) -> None:
    n = np.array([max(a + b + o, 1)])
    if not PairEvidence(t).holds(np.array([a]) / n, np.array([b]) / n)[0]:
        assert PairEvidence(t).log(np.array([a]), np.array([b]), np.array([o]))[0] <= 1e-9


@pytest.mark.parametrize("t", SHIFTS)
def test_evidence_does_not_depend_on_its_company(t: float) -> None:
    """To the last bit: a decision that did would depend on the batch."""
    rng = np.random.default_rng(0)
    votes = rng.multinomial(2000, [0.9, 0.06, 0.04], 400).T
    together = PairEvidence(t).log(*votes)
    assert together.tolist() == [PairEvidence(t).log(*one[:, None])[0] for one in votes.T]
    assert together[5:12].tolist() == PairEvidence(t).log(*votes[:, 5:12]).tolist()


def test_evidence_is_never_rounded_up() -> None:
    """Against 50 digits, up to a million votes."""
    mpmath.mp.dps = 50
    rng = np.random.default_rng(0)
    for t in (0.1, 1.0, 2.633):
        evidence = PairEvidence(t)
        logs = [[mpmath.mpf(float(value)) for value in row] for row in evidence._logarithms]
        for n in (5, 300, 40_000, 1_000_000):
            p = boundary(1.05 * t, 0.1)
            votes = rng.multinomial(n, [*p, 1 - sum(p)])
            products = [
                mpmath.exp(sum(int(v) * row[i] for v, row in zip(votes, logs, strict=True)))
                for i in range(len(logs[0]))
            ]
            pair = sum(products) / len(products)
            p0, q0 = mpmath.mpf(float(ndtr(t))), mpmath.mpf(float(ndtr(-t)))
            A, f = int(votes[0]), int(votes[1] + votes[2])
            alone = mpmath.quad(
                lambda angle: mpmath.exp(
                    A * mpmath.log(mpmath.sin(angle) ** 2 / p0) + f * mpmath.log(mpmath.cos(angle) ** 2 / q0)  # noqa: B023
                ),
                np.linspace(float(mpmath.asin(mpmath.sqrt(p0))), math.pi / 2 - 1e-15, 40).tolist(),
            ) / (mpmath.pi / 2 - mpmath.asin(mpmath.sqrt(p0)))
            exact = mpmath.log(0.75 * alone + 0.25 * pair)
            found = evidence.log(*(votes[:, None]))[0]
            assert found <= exact + 1e-12
            assert found == pytest.approx(float(exact), abs=1e-7)


@pytest.mark.parametrize("t", [0.3, 1.0, 2.633])
def test_the_nearest_probabilities_on_the_boundary(t: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = boundary(t * rng.uniform(0.5, 1.5), rng.uniform(0.0, 0.5))
        p = np.array([a, b, max(1 - a - b, 0.0)])

        def kl(u: float) -> float:
            q = np.array([*boundary(t, u), 0.0])
            q[2] = max(1 - q.sum(), 1e-300)
            return float(sum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x))  # noqa: B023

        best = min(
            (minimize_scalar(kl, bounds=(low, low + 0.5), method="bounded", options={"xatol": 1e-10}).fun)
            for low in np.arange(0.0, 3.0, 0.25)
        )
        found = PairEvidence(t).divergence(np.array([a]), np.array([b]))[0]
        assert found == pytest.approx(best, rel=1e-6, abs=1e-12)


# ---- all classes, all radii ------------------------------------------------------------------------------------------


class NeverGivesUp(AheadOfAll):
    """Whoever samples on for ever: giving up only takes certificates away."""

    def _lost(self, *counts: object) -> np.ndarray:
        return np.zeros(len(counts[-2]), dtype=bool)  # type: ignore[arg-type]


def worst(shifts: tuple[float, ...], alpha: float, kind: type[AheadOfAll] = NeverGivesUp) -> float:
    """The largest probability of a wrong certificate within 60 votes, over what lies near any of the shifts."""
    cases = np.concatenate([cases_near(t) for t in shifts])
    return float(ever(wrongly(kind(shifts, alpha, 0.001, 10**6), cases), cases, 60).max())


@pytest.mark.parametrize("alpha", [0.3, 0.05])
@pytest.mark.parametrize("shifts", [(0.0,), (0.1,), (0.3,), (0.8,), (1.2,), (0.1, 0.12, 0.2)], ids=str)
def test_nothing_false_is_ever_certified(shifts: tuple[float, ...], alpha: float) -> None:
    """After every vote, for probabilities of three classes that are likeliest to be wrong."""
    found = worst(shifts, alpha)
    assert found <= alpha
    assert found > (0.4 * alpha if shifts == (0.8,) else 0.0), "nothing is ever certified"


@pytest.mark.parametrize(
    ("shifts", "function", "old", "new"),
    [
        (
            (0.0,),
            AheadOfAll.outcomes,
            "enough[enough] = top_class_certain(votes[enough], _NAMING * self.alpha)",
            "pass",
        ),
        ((0.8,), AheadOfAll._enough, "rival[more], (n - winner - rival)[more]", "0 * rival[more], (n - winner)[more]"),
        ((0.8,), AheadOfAll._enough, "(1.0 - _NAMING) * self.alpha", "4.0 * self.alpha"),
        ((0.8,), PairEvidence.log_alone, "math.log(_ALONE) + alone", "alone + 1.5"),
    ],
)
def test_faults_in_the_decision_are_noticed(
    shifts: tuple[float, ...], function: Callable[..., object], old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = PairEvidence if function is PairEvidence.log_alone else NeverGivesUp
    monkeypatch.setattr(owner, function.__name__, mutated(function, old, new))
    assert worst(shifts, 0.3) > 0.3


@pytest.mark.parametrize("t", [0.0, 0.3, 0.8])
def test_what_could_be_certified_is_seldom_given_up(t: float) -> None:
    goal = AheadOfAll((t,), 0.001, 0.3, 10**6)
    cases = cases_near(t + 0.001)
    cases = cases[certifiable(cases, t).any(-1)]
    assert len(cases) > 5

    def given_up(votes: np.ndarray) -> np.ndarray:
        return np.broadcast_to(goal.outcomes(votes)[:, 0] == FUTILE, (len(cases) + 1, len(votes)))

    lost = ever(given_up, np.concatenate([cases, [(0.1, 0.45, 0.45)]]), 40)
    assert lost[:-1].max() <= 0.3
    assert lost[-1] > 0.3 or t < 0.8


@pytest.mark.parametrize("shifts", [(0.6,), (0.0, 0.7)])
def test_decisions_by_their_definition(shifts: tuple[float, ...]) -> None:
    """All votes of three classes up to 40, at generous levels so that all three outcomes occur."""
    goal = AheadOfAll(shifts, 0.1, 0.2, 10**6)
    votes = np.array([v for v in itertools.product(range(41), repeat=3) if 1 <= sum(v) <= 40])
    outcomes = goal.outcomes(votes)
    n, ordered = votes.sum(-1), np.sort(votes, axis=-1)
    sure = top_class_certain(votes, 0.002)
    for column, t in enumerate(shifts):
        sure &= PairEvidence(t).log(ordered[:, 2], ordered[:, 1], ordered[:, 0]) >= -math.log(0.098)
        upper = 1 - lower_bound(n - ordered[:, 2], n, 0.1)
        lost = ndtri(upper) - ndtri(lower_bound(ordered[:, 1], n, 0.05)) < 2 * t
        assert not (sure & lost).any()
        np.testing.assert_array_equal(outcomes[:, column], np.where(sure, CERTIFIED, np.where(lost, FUTILE, UNDECIDED)))
    assert set(outcomes[:, -1]) == {CERTIFIED, FUTILE, UNDECIDED}


def test_sampling_ends_when_nothing_more_can_come() -> None:
    """Hopeless: no continuation up to the cap is certified; otherwise the one with all votes for the leader is."""
    cap = 34
    goal = AheadOfAll((0.1,), 0.1, 0.2, cap)
    votes = np.array([v for v in itertools.product(range(cap + 1), repeat=3) if sum(v) == 28])
    certain = (goal.outcomes(votes) != UNDECIDED)[:, 0]
    more = np.array([v for v in itertools.product(range(cap - 27), repeat=3) if sum(v) == cap - 28])
    reachable = np.array([(goal.outcomes(row + more)[:, 0] == CERTIFIED).any() for row in votes])
    ended = goal.ended(votes)
    assert (ended[certain]).all()
    assert not (ended & ~certain & reachable & (votes.max(-1) > 15)).any()
    assert (ended & ~certain).any()
    assert (~ended).any()
    assert goal.ended(np.array([[12, 12, 10]])).all(), "the cap"


def draw(goal: AheadOfAll, p: tuple[float, ...], times: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample until it is known, so many times: how many votes it took, and the outcomes."""
    rng = np.random.default_rng(0)
    votes = np.zeros((times, len(p)), dtype=np.int64)
    while (going := ~goal.ended(votes)).any():
        votes[going] += rng.multinomial(goal.pending(votes[going]), p)
    return votes.sum(-1), goal.outcomes(votes)[:, 0]


def test_more_is_certified_than_by_the_winner_alone() -> None:
    """p1 = .9955 is below Phi(1.58/.6) = .99577, but the runner-up has .003 only: the radius is 1.596."""
    t, p = 1.58 / 0.6, (0.9955, 0.003, 0.0015)
    assert 0.6 * (ndtri(p[0]) - ndtri(p[1])) / 2 > 1.58 > 0.6 * ndtri(p[0])
    used, outcomes = draw(AheadOfAll((t,), 0.001, 0.001, 10**6), p, 10)
    assert (outcomes == CERTIFIED).all()
    assert used.max() < 10**6
    alone = Exceeds((Level(float(ndtr(t)), float(ndtr(-t))),), 0.001, 0.001, 10**6)
    assert alone.outcomes((np.array([p]) * 1e6).astype(np.int64))[0, 0] != CERTIFIED


@pytest.mark.parametrize(
    ("t", "p"),
    [(0.4, (0.7, 0.2, 0.1)), (0.2, (0.4, 0.15, 0.15, 0.15, 0.15)), (1.0, (0.9, 0.04, 0.06)), (0.5, (0.5, 0.4, 0.1))],
)
def test_votes_against_the_information_limit(t: float, p: tuple[float, ...]) -> None:
    goal = AheadOfAll((t,), 0.001, 0.001, 10**6)
    limit = goal.limits(np.array([p]) * 1e6)[0]
    used, outcomes = draw(goal, p, 100)
    ordered = sorted(p)
    truth = CERTIFIED if ndtri(ordered[-1]) - ndtri(ordered[-2]) > 2 * t else FUTILE
    assert (outcomes == truth).sum() >= 99
    assert 0.8 < used.mean() / limit < 2.6


def test_what_is_asked_wrongly() -> None:
    for shifts in ((), (0.2, 0.1), (0.1, 0.1)):
        with pytest.raises(InvalidInputError, match="shifts must be at least one, ascending"):
            AheadOfAll(shifts, 0.1, 0.1, 100)
    for shift in (-0.1, 8.5, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="t must be in"):
            AheadOfAll((shift,), 0.1, 0.1, 100)
    for wrong in ({"alpha": 0.0}, {"beta": 1.0}, {"max_samples": 0}):
        with pytest.raises(InvalidInputError):
            AheadOfAll(**({"shifts": (0.1,), "alpha": 0.1, "beta": 0.1, "max_samples": 100} | wrong))  # type: ignore[arg-type]


# ---- from radii ------------------------------------------------------------------------------------------------------


def slabs(batch: np.ndarray) -> np.ndarray:
    """Class 0 about the middle of the first pixel, 1 below, 2 above: p = Phi, in closed form."""
    x = batch.reshape(len(batch), -1)[:, 0]
    return np.where(x < 0.5 - 0.3, 1, np.where(x > 0.5 + 0.3, 2, 0))


def test_from_images_to_certificates() -> None:
    """In the middle of the slab both neighbours have half of the rest: the radius is longer than the winner's own."""
    smoothed = npf.SmoothedClassifier(slabs, Gaussian(0.2), 3)
    image = np.full((1, 1), 0.5, dtype=np.float32)
    q = float(ndtr(-1.5))
    alone, both = 0.2 * float(ndtri(1 - 2 * q)), 0.1 * float(ndtri(1 - 2 * q) - ndtri(q))
    assert both > 1.1 * alone
    radius = 0.5 * (alone + both)
    rule = CertifyRadii([0.1, radius, 1.2 * both], runner_up=True, max_samples=200_000)
    found = smoothed.certify(image, stop=rule)
    assert found.outcome is not None
    assert found.outcome.tolist() == [[CERTIFIED, CERTIFIED, FUTILE]]
    assert (found.prediction[0], found.radius[0]) == (0, radius)
    assert found.p2_upper[0] >= q, "what it says of the runner-up is true"
    assert found.p1_lower[0] <= 1 - 2 * q
    single = smoothed.certify(image, stop=CertifyRadii(radius, max_samples=200_000))
    assert single.outcome is not None
    assert single.outcome.tolist() == [[FUTILE]]
    again = npf.SmoothedClassifier(slabs, Gaussian(0.2), 3, batch_size=77)
    np.testing.assert_array_equal(again.certify(image, stop=rule).votes, found.votes)


@given(st.floats(0.001, 8.0), st.floats(0.1, 2.0))
def test_a_radius_is_certified_only_where_the_certificate_has_it(ratio: float, sigma: float) -> None:
    """The shift of a radius, on its boundary: the tight radius there is not below."""
    if ratio > 6.5:
        return
    criterion = CertifyRadii(ratio * sigma, runner_up=True).under(Gaussian(sigma)).criterion
    assert isinstance(criterion, AheadOfAll)
    (t,) = criterion.shifts
    rounding = 2.0**-52 / norm.pdf(ratio)  # of a probability beside 1, in standard deviations
    assert 0 <= t - ratio < 1e-9 * ratio + rounding
    for u in (0.01, 0.3):
        p = boundary(t * (1 + 1e-9) + rounding, u)
        assert NeymanPearson().radius(Gaussian(sigma), *p) >= ratio * sigma * (1 - 1e-9)


def test_it_is_read_back() -> None:
    rule = CertifyRadii([0.1, 0.3], alpha=0.01, runner_up=True)
    spec = rule.spec()
    assert spec["runner_up"] is True
    assert rule_from(json.loads(json.dumps(spec))) == rule
    assert "runner_up" not in CertifyRadii(0.1, alpha=0.01).spec()
    test = rule.under(Gaussian(0.5))
    needed = test.votes_needed(10)
    unanimous = np.zeros((2, 10), dtype=np.int64)
    unanimous[:, 3] = needed - 1, needed
    assert test.certify(unanimous).prediction.tolist() == [npf.ABSTAIN, 3]


PRIOR = fit_prior(np.array([90, 80]), np.array([100, 100]))


@pytest.mark.parametrize(
    ("noise", "asked", "match"),
    [
        (Laplace(0.5), {}, "noise must be Gaussian noise, with runner_up"),
        (
            Gaussian(0.5),
            {"certificate": Renyi()},
            r"certificate must be NeymanPearson\(\), with runner_up",
        ),
        (Gaussian(0.5), {"prior": PRIOR}, "prior must be left out with runner_up"),
        (Gaussian(0.5), {"max_samples": 3}, "max_samples must be"),
    ],
)
def test_where_it_means_nothing(noise: npf.noises.Noise, asked: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        npf.SmoothedClassifier(slabs, noise, 3).certify(
            np.full((1, 1), 0.5),
            stop=CertifyRadii(0.1, runner_up=True, **asked),  # type: ignore[arg-type]
        )
