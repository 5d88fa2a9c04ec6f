"""Fitted priors: evidence against 45 digits, errors of the first kind with honest and hostile priors, what fitting finds."""

import json
import math
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
from scipy.special import expit, ndtr
from sequential_rules import JeffreysTest, exact_law, first_certifying

from noiseproof.errors import InvalidInputError
from noiseproof.sequential import (
    FittedPrior,
    first_reaching,
    fit_prior,
    information_limit,
    log_evidence,
    log_threshold,
    most_failures,
    prior,
)
from noiseproof.sequential.e_process import rounded_down
from sequential.test_every_class import cases_near, ever_wrong

LEVELS = [float(ndtr(0.5)), float(ndtr(1.0)), float(ndtr(2.0))]


def on(*log_odds: float, weights: tuple[float, ...] | None = None, share: float = 0.25) -> FittedPrior:
    """A prior with points at these log odds, of equal weight if nothing else is said."""
    y = np.array(log_odds)
    even = tuple(np.full(len(y), 1 / len(y)).tolist())
    return FittedPrior(tuple(expit(y).tolist()), tuple(expit(-y).tolist()), weights or even, share=share)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def learned() -> FittedPrior:
    """From 300 images: most near 1, a tail to 1/2."""
    rng = np.random.default_rng(0)
    n = rng.integers(50, 2000, 300)
    return fit_prior(rng.binomial(n, ndtr(np.abs(rng.normal(1.6, 1.2, 300)))), n)


LEARNED = learned()
WIDE = on(-3.0, -1e-6, 0.0, 0.4, 0.9, 2.0, 4.0, 7.0, 13.8, 20.0)


def priors_for(p0: float) -> dict[str, FittedPrior]:
    """Honest, and whatever could hurt: everything next to p0, at the far end, or both; a small share for Jeffreys."""
    return {
        "learned": LEARNED,
        "just above p0": on(logit(p0) + 1e-9, share=0.01),
        "slightly above p0": on(logit(p0) + 0.05, share=0.01),
        "far end": on(logit(1 - 1e-6), share=0.01),
        "both": on(logit(p0) + 0.1, logit(1 - 1e-6), weights=(0.02, 0.98), share=0.01),
    }


# ---- evidence --------------------------------------------------------------------------------------------------------


def exact_points(given: FittedPrior) -> list[tuple[mp.mpf, mp.mpf]]:
    """(q, 1 - q), the smaller exact."""
    pairs = zip(given.points, given.rests, strict=True)
    return [(mp.mpf(q), 1 - mp.mpf(q)) if q < 0.5 else (1 - mp.mpf(r), mp.mpf(r)) for q, r in pairs]


def direct(given: FittedPrior, successes: int, failures: int, p0: float, v: list[mp.mpf]) -> mp.mpf:
    """ln W by its definition, with Jeffreys' part from `log_evidence`."""
    p = mp.mpf(p0)
    total = mp.fsum(
        weight * (q / p) ** successes * (r / (1 - p)) ** failures
        for weight, (q, r) in zip(v, exact_points(given), strict=True)
    )
    smooth = mp.mpf(float(log_evidence(np.array(successes), np.array(failures), p0)))
    share = mp.mpf(given.share)
    return mp.log(share * mp.exp(smooth) + (1 - share) * total)


def exact_weights(given: FittedPrior, p0: float) -> list[mp.mpf]:
    p = mp.mpf(p0)
    rows = []
    for w, (q, r) in zip(given.weights, exact_points(given), strict=True):
        kl = q * mp.log(q / p) + r * mp.log(r / (1 - p)) if q > p else 0
        rows.append(mp.mpf(w) / max(kl, mp.mpf(35) / given.cap) if q > p else mp.mpf(0))
    return [row / mp.fsum(rows) for row in rows]


STATES = [(0, 0), (1, 0), (0, 1), (30, 2), (400, 3), (875, 125), (0, 1000), (99_000, 1000), (700_000, 300_000)]
FAR = [(9_999_980, 20), (10_000_000, 0), (8_415_000, 1_585_000), (5_003_000, 4_997_000)]


@pytest.mark.parametrize("p0", [0.02, 0.4999999, 0.5, 0.6, LEVELS[1], LEVELS[2], 1 - 1e-7, float(expit(0.4))])
@pytest.mark.parametrize("given", [WIDE, LEARNED, on(1e-12, 0.5, share=0.01)], ids=["wide", "learned", "next to 1/2"])
def test_evidence_by_its_definition(given: FittedPrior, p0: float) -> None:
    """From 0 to 1e7 votes: never above, and below by no more than rounding is allowed."""
    up, down, v = given._ratios(p0, 1 - p0)
    with mp.workdps(45):
        expected = exact_weights(given, p0) if len(v) else []
        used = [index for index, weight in enumerate(expected) if weight > 0]
        np.testing.assert_allclose(v, np.array([float(expected[index]) for index in used]), rtol=1e-9)
        for successes, failures in STATES + FAR:
            found = float(given.rounded_down(np.array(successes), np.array(failures), p0))
            if not len(v):
                assert found == rounded_down(np.array(successes), np.array(failures), p0)
                continue
            weights = [mp.mpf(0)] * len(expected)
            for index, value in zip(used, v, strict=True):
                weights[index] = mp.mpf(float(value))
            gap = float(direct(given, successes, failures, p0, weights) - found)
            terms = successes * up + failures * down
            size = terms[np.argmax(successes * up - failures * down + np.log(v))]
            allowed = 2e-13 + 4e-15 * (size + abs(successes * (1 - p0) - failures * p0))
            assert 0.0 < gap <= allowed, (successes, failures)


def test_points_next_to_p0() -> None:
    """u and d where q - p0 is a few units of rounding: to 8e-16 of themselves."""
    for p0 in (0.3, 0.5 - 2**-40, 0.5, LEVELS[0], 1 - 1e-9):
        rest = 1 - p0
        for steps in (1, 3, 1000):
            r = rest - steps * math.ulp(rest)
            q = 1 - r if p0 >= 0.5 else p0 + steps * math.ulp(p0)
            given = FittedPrior((q,), (r if p0 >= 0.5 else 1 - q,), (1.0,))
            (up,), (down,), (v,) = given._ratios(p0, rest)
            with mp.workdps(45):
                ((exact, tail),) = exact_points(given)
                assert abs(float(mp.log(exact / mp.mpf(p0)) / mp.mpf(up) - 1)) < 8e-16
                assert abs(float(mp.log((1 - mp.mpf(p0)) / tail) / mp.mpf(down) - 1)) < 9e-16
            assert v == 1.0
    assert not len(on(0.0)._ratios(0.5, 0.5)[0])


@pytest.mark.parametrize("p0", [0.3, *LEVELS, 0.999])
@pytest.mark.parametrize("p", [0.2, 0.9, 1.0])
def test_evidence_is_a_supermartingale(p0: float, p: float) -> None:
    A, f = np.meshgrid(np.arange(0, 400, 7), np.arange(0, 400, 7))
    p = p * p0
    for given in priors_for(p0).values():
        now = given.rounded_down(A, f, p0)
        more, less = given.rounded_down(A + 1, f, p0), given.rounded_down(A, f + 1, p0)
        after = np.logaddexp(np.log(p) + more, np.log1p(-p) + less)
        assert (after - now <= 1e-12 * (1.0 + np.abs(now))).all()
        if p == p0:
            np.testing.assert_allclose(after, now, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("p0", [0.3, *LEVELS, 0.999])
def test_what_boundaries_rely_on(p0: float) -> None:
    """From 1, increasing in A, decreasing in f, above 1 only where A/n > p0; `log_threshold` needs A >= a(0) + f p0/(1-p0)."""
    A, f = np.meshgrid(np.arange(300), np.arange(300), indexing="ij")
    for given in priors_for(p0).values():
        found = given.rounded_down(A, f, p0)
        assert -2e-13 < found[0, 0] <= 0.0
        strict = given.points[0] > p0 + 1e-6 or given is LEARNED
        least = 0.0 if strict else -1e-12
        assert (np.diff(found, axis=0) > least).all()
        assert (np.diff(found, axis=1) < -least).all()
        assert (found[(1 - p0) * A <= p0 * f] <= 0.0).all()
        level = math.log(30.0)
        first = first_reaching(p0, level, np.arange(200), prior=given)
        successes = first - np.arange(200)
        assert (successes - (successes[0] - 1) >= np.arange(200) * p0 / (1 - p0)).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    A, f = np.arange(50)[:, None], np.arange(40)
    whole = LEARNED.rounded_down(A, f, 0.6)
    monkeypatch.setattr(prior, "_BLOCK", 1000)
    np.testing.assert_array_equal(LEARNED.rounded_down(A, f, 0.6), whole)
    assert whole.shape == (50, 40)


# ---- boundaries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, LEARNED, on(logit(1 - 1e-6), share=0.01)], ids=["jeffreys", "learned", "far"])
@pytest.mark.parametrize("p0", [0.3, *LEVELS])
@pytest.mark.parametrize("level", [0.1, 7.0, 30.0])
def test_boundary_by_trying_every_number(given: FittedPrior | None, p0: float, level: float) -> None:
    failures = np.arange(12)
    evidence = rounded_down if given is None else given.rounded_down
    first = first_reaching(p0, level, failures, prior=given)
    successes = np.arange(first.max() + 2)
    reached = evidence(successes, failures[:, None], p0) >= level
    assert (reached.argmax(1) + failures == first).all()
    assert (np.diff(first) > 0).all()
    assert first_reaching(p0, level, failures.reshape(3, 4), prior=given).tolist() == first.reshape(3, 4).tolist()
    assert (most_failures(first, p0, level, prior=given) == failures).all()
    assert (most_failures(first - 1, p0, level, prior=given) == failures - 1).all()


def test_boundary_knows_what_is_left_of_one() -> None:
    """p0 within rounding of 1: only 1 - p0 tells."""
    given = on(34.0, share=0.5)  # 1 - q = 1.7e-15
    first = [first_reaching(1.0 - 1e-14, 7.0, np.array([0]), q0=q0, prior=given).item() for q0 in (1e-14, 1.001e-14)]
    assert first[0] > 1.0005 * first[1]
    assert 7.0 / 1e-14 < first[0] < (7.0 + math.log(2.0)) / (1e-14 - given.rests[0])


@pytest.mark.parametrize(
    ("p0", "level", "failures", "what"),
    [
        (1.0, 7.0, 0, "p0"),
        (0.0, 7.0, 0, "p0"),
        (0.6, 0.0, 0, "log_level"),
        (0.6, math.nan, 0, "log_level"),
        (0.6, 7.0, -1, "failures"),
    ],
)
def test_boundary_outside_its_domain(p0: float, level: float, failures: int, what: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{what} must be"):
        first_reaching(p0, level, np.array([failures]))


@pytest.mark.parametrize("p0", LEVELS)
def test_nothing_changes_without_points_above_p0(p0: float) -> None:
    below = on(-2.0, logit(p0) - 1e-9)
    failures = np.arange(30)
    found = first_certifying(p0, 0.001, failures, every_class=True, prior=below)
    assert (found == first_certifying(p0, 0.001, failures, every_class=True)).all()


@pytest.mark.parametrize("p0", LEVELS)
def test_a_wrong_prior_costs_no_more_than_the_share(p0: float) -> None:
    """At most the votes that Jeffreys needs for 1/share times the evidence, wherever the prior looks."""
    failures, p = np.arange(100), p0 + 0.6 * (1 - p0)
    for given in priors_for(p0).values():
        first = first_certifying(p0, 0.001, failures, prior=given)
        assert (first <= first_reaching(p0, math.log(1000 / given.share) + 1e-12, failures)).all()
        wrong = exact_law(JeffreysTest(p0, 0.001, prior=given), p, 4000)
        assert wrong.votes <= exact_law(JeffreysTest(p0, 0.001 * given.share), p, 4000).votes + 1e-9


def test_giving_up_is_that_of_jeffreys() -> None:
    n = np.arange(1, 400)
    plain = JeffreysTest(0.7, 0.001, beta=0.01)
    assert (replace(plain, prior=LEARNED).given_up_from(n) == plain.given_up_from(n)).all()
    capped = JeffreysTest(0.7, 0.001, cap=399, prior=LEARNED)
    last = int(capped.certified_up_to(n)[-1])
    assert (capped.given_up_from(n)[:-1] == np.minimum(n + 1, last + 1)[:-1]).all()
    assert last != JeffreysTest(0.7, 0.001, cap=399).certified_up_to(n)[-1]


# ---- errors of the first kind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("p0", LEVELS)
def test_error_of_the_first_kind(p0: float, alpha: float) -> None:
    """At p = p0 with a look after every vote: below alpha, and for the learned prior not far below."""
    for name, given in priors_for(p0).items():
        rule = JeffreysTest(p0, alpha, prior=given)
        error = exact_law(rule, p0, 4000).certified
        assert error <= alpha, name
        assert error > 0.5 * alpha or name != "learned"
        assert exact_law(rule, 0.98 * p0, 1000).certified < error or error == 0.0


def test_more_than_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: weights above p0 that sum to 2."""
    honest = FittedPrior._ratios

    def heavy(self: FittedPrior, p0: float, q0: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        up, down, v = honest(self, p0, q0)
        return up, down, 2.0 * v

    monkeypatch.setattr(FittedPrior, "_ratios", heavy)
    assert any(exact_law(JeffreysTest(p0, 0.05, prior=LEARNED), p0, 4000).certified > 0.05 for p0 in LEVELS)


@pytest.mark.parametrize("alpha", [0.3, 0.05])
@pytest.mark.parametrize("p0", [0.5, 0.52, 0.75])
def test_no_wrong_class_is_ever_certified(p0: float, alpha: float) -> None:
    """Two and three classes, every outcome to 40 votes."""
    more, errors = np.nextafter(p0, 1.0), {}
    for name, given in priors_for(p0).items():
        level = log_threshold(p0, alpha, prior=given)
        most = most_failures(np.arange(41), p0, level, prior=given)

        def claims(votes: np.ndarray, most: np.ndarray = most) -> np.ndarray:
            n = int(votes[0].sum())
            return np.where(n - votes <= most[n], more, 0.0)

        errors[name] = ever_wrong(claims, cases_near(p0), 40).max()
    assert max(errors.values()) <= alpha, errors
    assert max(errors.values()) > 0.3 * alpha, "the correction is given away"


@pytest.mark.parametrize("p0", [0.51, LEVELS[0], LEVELS[1]])
@pytest.mark.parametrize("alpha", [0.3, 0.001])
def test_bounds_of_the_proof(p0: float, alpha: float) -> None:
    """g(1/2) <= c/T with the n_min of this evidence, g(p)/p does not decrease on [0, 1/2], and two classes stay below alpha."""
    for given in priors_for(p0).values():
        level = log_threshold(p0, alpha, prior=given)
        n_min = int(first_certifying(p0, alpha, np.array([0]), prior=given)[0])
        c = (2 * p0) ** -(n_min - 1)
        assert math.expm1(level + math.log(alpha)) == pytest.approx(c, rel=1e-6, abs=1e-14)
        rule = JeffreysTest(p0, alpha, every_class=True, prior=given)
        half = exact_law(rule, 0.5, 1500).certified
        assert half <= c * math.exp(-level)
        shares = [exact_law(rule, p, 600).certified / p for p in (0.2, 0.35, 0.45, 0.5)]
        assert (np.diff(shares) >= 0).all()
        assert exact_law(rule, p0, 1500).certified + exact_law(rule, 1 - p0, 1500).certified <= alpha


# ---- fitting ---------------------------------------------------------------------------------------------------------


def test_two_kinds_of_images_are_found() -> None:
    rng = np.random.default_rng(3)
    p = np.where(rng.random(4000) < 0.3, 0.75, 0.99)
    n = rng.integers(300, 3000, 4000)
    successes = rng.binomial(n, p)
    found = fit_prior(successes, n)
    q, w = np.array(found.points), np.array(found.weights)
    low = np.abs(q - 0.75) < 0.06
    high = np.abs(q - 0.99) < 0.006
    assert w[low].sum() == pytest.approx(0.3, abs=0.025)
    assert w[high].sum() == pytest.approx(0.7, abs=0.025)
    assert w[low | high].sum() > 0.99
    assert (w[low] @ q[low]) / w[low].sum() == pytest.approx(0.75, abs=0.005)
    assert len(q) < 60
    assert found == fit_prior(successes[::-1].copy(), n[::-1].copy())


def test_likelihood_rises_with_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(1, 300, 200)
    A = rng.binomial(n, ndtr(np.abs(rng.normal(1.0, 1.0, 200))))

    def likelihood(given: FittedPrior) -> float:
        q, r, w = np.array(given.points), np.array(given.rests), np.array(given.weights)
        return float(np.log((q ** A[:, None] * r ** (n - A)[:, None]) @ w).sum())

    found = []
    for steps in (0, 1, 3, 10, 100):
        monkeypatch.setattr(prior, "_STEPS", steps)
        found.append(likelihood(fit_prior(A, n)))
    assert (np.diff(found) > 0).all()


def test_alike_images_cost_less() -> None:
    """All with p = .9: fitted on others, near the information limit."""
    p0, p = LEVELS[1], 0.9
    given = fit_prior(np.random.default_rng(0).binomial(1000, p, 200), np.full(200, 1000))
    votes = exact_law(JeffreysTest(p0, 0.001, prior=given), p, 6000).votes
    assert votes < 0.87 * exact_law(JeffreysTest(p0, 0.001), p, 6000).votes
    assert votes < 1.05 * information_limit(p, p0, 0.001)


def test_weights_by_cost_beat_weights_by_frequency() -> None:
    """Half the images at .75, half at .99: in sum fewer votes than with v = w, which is what a cap of 1 makes of the rule."""
    p0, kinds = LEVELS[0], (0.75, 0.99)
    given = on(logit(0.75), logit(0.99))
    by_cost, by_frequency, jeffreys = (
        sum(exact_law(JeffreysTest(p0, 0.001, prior=each), p, 6000).votes for p in kinds)
        for each in (given, replace(given, cap=1), None)
    )
    assert by_cost < by_frequency < jeffreys


@pytest.mark.parametrize(("successes", "n"), [([], []), ([3], [2]), ([-1], [2]), ([0], [0])])
def test_votes_that_are_none(successes: list[int], n: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="successes"):
        fit_prior(np.array(successes, dtype=np.int64), np.array(n, dtype=np.int64))


# ---- records ---------------------------------------------------------------------------------------------------------


def test_records_keep_every_digit() -> None:
    again = FittedPrior.from_plain(json.loads(json.dumps(LEARNED.plain())))
    assert again == LEARNED
    assert FittedPrior.from_plain(WIDE.plain()).rests[-1] == pytest.approx(math.exp(-20.0), rel=1e-8)


GOOD = on(0.0, 2.0).plain()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"points": [0.5]}, "as many of each"),
        ({"points": [], "rests": [], "weights": []}, "at least one"),
        ({"points": [0.88, 0.5], "rests": [0.12, 0.5]}, "points must be ascending"),
        ({"points": [0.5, 0.5], "rests": [0.5, 0.5]}, "points must be ascending"),
        ({"points": [0.5, 1.0], "rests": [0.5, 1e-17]}, "points must be ascending"),
        ({"points": [0.5, math.nan]}, "points must be ascending"),
        ({"rests": [0.5, 0.13]}, "rests must be 1 - points"),
        ({"weights": [0.5, 0.4]}, "weights must be >= 0 with sum 1"),
        ({"weights": [1.5, -0.5]}, "weights must be >= 0 with sum 1"),
        ({"weights": [math.nan, 0.5]}, "weights must be >= 0 with sum 1"),
        ({"weights": ["1", 0.5]}, "must be lists of numbers"),
        ({"weights": 1.0}, "must be lists of numbers"),
        ({"share": 0.0}, "share must be in"),
        ({"share": 1.0}, "share must be in"),
        ({"share": True}, "share must be a number"),
        ({"cap": 0}, "cap must be an integer >= 1"),
        ({"cap": 2.5}, "cap must be an integer >= 1"),
        ({"other": 1}, "a prior must be a mapping"),
    ],
)
def test_records_of_no_prior(change: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        FittedPrior.from_plain(GOOD | change)


def test_records_of_something_else() -> None:
    for data in (None, [1, 2], {key: GOOD[key] for key in ("points", "weights")}):
        with pytest.raises(InvalidInputError, match="a prior must be a mapping"):
            FittedPrior.from_plain(data)
