"""Several radii at once: what was certified at some moment stays certified, and alpha covers it; by exact enumeration."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

import noiseproof as npf
from mutation import fails, mutated
from noiseproof.noises import Gaussian
from noiseproof.sequential import (
    CERTIFIED,
    UNDECIDED,
    AheadOfAll,
    CertifyRadii,
    Criterion,
    Exceeds,
    Level,
    RadiiTest,
    SequentialTest,
    SharedBudget,
    rule_from,
)

SIGMA = float(ndtr(1.0))
Truth = Callable[[float], np.ndarray]
"""From the probability of a class of two to how many levels it exceeds, as (levels,) flags."""


def exceeds(*p0: float, alpha: float, beta: float = 0.001, cap: int = 300, lasting: bool = True) -> Exceeds:
    return Exceeds(tuple(Level(each, 1.0 - each) for each in p0), alpha, beta, cap, lasting=lasting)


def law(criterion: Criterion, p: float, beyond: Truth) -> tuple[np.ndarray, float, float]:
    """Of two classes of p and 1 - p, exactly, over all paths to the end of sampling.

    Every state is (votes for the first class, levels certified so far, the class they were certified for). Without
    `lasting` the levels are those of the last votes.

    Returns:
        P(each level is certified), P(some certificate is false), expected votes.
    """
    true = np.stack([beyond(p), beyond(1.0 - p)])
    levels = true.shape[1]
    states = {(0, 0): np.ones(1)}  # (reached, class) to probabilities by votes for the first class
    certified, false, used = np.zeros(levels), 0.0, 0.0
    for n in range(1, criterion.max_samples + 1):
        first = np.arange(n + 1)
        votes = np.stack([first, n - first], axis=-1)
        now, leader = criterion.reached(votes), votes.argmax(-1)
        after: dict[tuple[int, int], np.ndarray] = {}
        for (reached, label), chance in states.items():
            moved = np.concatenate([(1.0 - p) * chance, [0.0]]) + np.concatenate([[0.0], p * chance])
            if not moved.any():
                continue
            used += moved.sum()
            best = np.maximum(now, reached) if criterion.lasting else now
            whose = np.where(now > reached, leader, label) if criterion.lasting else leader
            ended = criterion.ended(votes, best if criterion.lasting else None)
            for count in np.unique(best).tolist():
                for one in (0, 1):
                    here = (best == count) & (whose == one)
                    end = moved[here & ended].sum()
                    certified[:count] += end
                    false += end if count and not true[one, count - 1] else 0.0
                    kept = after.setdefault((count, one) if criterion.lasting else (0, 0), np.zeros(n + 1))
                    kept[here & ~ended] += moved[here & ~ended]
        states = {key: np.where(chance > 1e-17, chance, 0.0) for key, chance in after.items()}
    return certified, false, used


def above(criterion: Exceeds) -> Truth:
    return lambda p: np.array([p > level.p0 for level in criterion.levels])


def ahead(criterion: AheadOfAll) -> Truth:
    return lambda p: np.array([ndtri(p) - ndtri(1.0 - p) > 2.0 * t for t in criterion.shifts])


# ---- alpha -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "p", "least"),
    [
        ((0.55, 0.6, SIGMA), SIGMA, 0.4),  # false at the highest level alone
        ((0.55, 0.6, SIGMA), 0.6, 0.4),
        ((0.55, 0.56), 0.55, 0.4),  # false at the lowest, while the other is open
        ((0.5, 0.52), 0.5, 0.6),  # either class, at both
    ],
)
@pytest.mark.parametrize("alpha", [0.2, 0.05])
def test_a_false_certificate_that_lasts_has_at_most_alpha(
    levels: tuple[float, ...], p: float, least: float, alpha: float
) -> None:
    """At all radii and all moments together; and not far below it."""
    goal = exceeds(*levels, alpha=alpha)
    _, false, _ = law(goal, p, above(goal))
    assert least * alpha < false <= alpha


@pytest.mark.parametrize("shifts", [(0.1, 0.2, 0.8), (0.3, 0.35)])
def test_winner_and_runner_up_likewise(shifts: tuple[float, ...]) -> None:
    goal = AheadOfAll(shifts, 0.2, 0.001, 120, lasting=True)
    false = [law(goal, float(ndtr(t)), ahead(goal))[1] for t in shifts[:2]]
    assert 0.15 * goal.alpha < max(false) <= goal.alpha


# ---- what it gives ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.56, 0.58, 0.62])
def test_more_is_certified_with_fewer_votes(p: float) -> None:
    levels = (0.55, 0.57, 0.6)
    both = [exceeds(*levels, alpha=0.05, lasting=lasting) for lasting in (False, True)]
    (before, _, spent), (now, _, spends) = (law(goal, p, above(goal)) for goal in both)
    assert (now >= before - 1e-12).all()
    assert now[0] > 1.02 * before[0]
    assert spends < spent


def test_one_radius_is_as_it_was() -> None:
    """Nothing is kept for it, and its specification has no new key."""
    rule = CertifyRadii(0.5, alpha=0.05)
    assert not rule.under(Gaussian(1.0)).criterion.lasting
    assert "lasting" not in rule.spec()
    assert rule == CertifyRadii(0.5, alpha=0.05, lasting=False) == rule_from(rule.spec())


@pytest.mark.parametrize("runner_up", [False, True])
def test_the_specification_says_whether_certificates_last(runner_up: bool) -> None:
    rule = CertifyRadii([0.5, 0.6], runner_up=runner_up)
    old = {name: value for name, value in rule.spec().items() if name != "lasting"}
    assert rule.spec() == old | {"lasting": True}
    assert rule_from(rule.spec()) == rule
    before = rule_from(old)
    assert before == CertifyRadii([0.5, 0.6], runner_up=runner_up, lasting=False)
    assert before.spec() == old
    assert (before.under(Gaussian(1.0)).criterion.lasting, rule.under(Gaussian(1.0)).criterion.lasting) == (False, True)


# ---- what is read ----------------------------------------------------------------------------------------------------


def lost(runner_up: bool = False) -> tuple[SequentialTest, np.ndarray, np.ndarray]:
    """A test of two radii, votes that certify one of them for class 2, and later ones that certify nothing."""
    test = CertifyRadii([0.1, 1.5], alpha=0.05, runner_up=runner_up).under(Gaussian(1.0))
    earlier, later = np.array([[0, 1, 19]]), np.array([[40, 3, 37]])
    assert isinstance(test, RadiiTest)
    assert (test.criterion.reached(earlier), test.criterion.outcomes(later)[0, 0] == CERTIFIED) == (1, False)
    return test, earlier, later


@pytest.mark.parametrize("runner_up", [False, True])
def test_the_class_and_the_radius_are_those_of_the_moment(runner_up: bool) -> None:
    test, earlier, later = lost(runner_up)
    found, alone = test.certify(later, earlier), test.certify(earlier)
    assert found.prediction.tolist() == [2]
    for name in ("radius", "p1_lower", "p2_upper"):
        assert getattr(found, name) == getattr(alone, name) != 0.0
    assert found.outcome is not None
    assert found.outcome[0, 0] == CERTIFIED
    np.testing.assert_array_equal(found.outcome[0, 1:], test.criterion.outcomes(later)[0, 1:])
    np.testing.assert_array_equal(found.votes, later)
    assert test.certify(later).radius.tolist() == [0.0]


def test_without_a_moment_the_last_votes_are_read() -> None:
    test, earlier, later = lost()
    for votes in (earlier, later):
        with_none, alone = test.certify(votes, np.zeros_like(votes)), test.certify(votes)
        for name, column in alone.columns().items():
            np.testing.assert_array_equal(column, with_none.columns()[name])


def half_space(margin: float) -> npf.SmoothedClassifier:
    classify = lambda x: (x.reshape(len(x), -1)[:, 0] > 0.5 - margin).astype(np.int64)  # noqa: E731 - as users write it
    return npf.SmoothedClassifier(classify, Gaussian(0.25), 2, batch_size=512)


def test_certify_keeps_what_was_certified() -> None:
    """200 images of true radius .55 sigma: as many at .5 sigma with .52 and .54 beside it as the last votes would lose."""
    images, margin = np.full((200, 2), 0.5, dtype=np.float32), 0.55 * 0.25
    radii = [0.125, 0.13, 0.135]
    ways = {"alpha": 0.05, "max_samples": 400}
    found = half_space(margin).certify(images, stop=CertifyRadii(radii, **ways), seed=2)
    rule = CertifyRadii(radii, lasting=False, **ways)
    before = half_space(margin).certify(images, stop=rule, seed=2)
    assert found.outcome is not None
    assert before.outcome is not None
    last = rule.under(Gaussian(0.25)).criterion.outcomes(found.votes)
    sure = found.outcome == CERTIFIED
    assert (sure >= (before.outcome == CERTIFIED)).all()
    assert (sure & (last == UNDECIDED)).any()
    assert (found.votes.sum(1) <= before.votes.sum(1)).all()
    assert (found.prediction[sure[:, 0]] == 1).mean() > 0.95
    whole = half_space(margin).certify(images, stop=SharedBudget(CertifyRadii(radii, **ways), 10**6), seed=2)
    np.testing.assert_array_equal(whole.outcome, found.outcome)


# ---- mutants: each must fail a test above ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.where(earlier >= count, certifying.argmax(-1), leader)", "leader"),
        ("np.maximum(earlier, count)", "count"),
        ("np.where(np.arange(len(self.radii)) < count[:, None], CERTIFIED, outcome)", "outcome"),
    ],
)
def test_reading_the_last_votes_is_caught(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RadiiTest, "certify", mutated(RadiiTest.certify, old, new))
    assert fails(test_the_class_and_the_radius_are_those_of_the_moment, False)


def test_a_level_that_any_one_moment_might_pass_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of one look, at every one of them: what would be false if it lasted."""
    monkeypatch.setattr(Exceeds, "_threshold", property(lambda goal: -0.5 * np.log(goal.alpha)))
    assert fails(test_a_false_certificate_that_lasts_has_at_most_alpha, (0.55, 0.56), 0.55, 0.4, 0.05)
