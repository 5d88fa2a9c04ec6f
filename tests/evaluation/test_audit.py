"""The audit of certificates by attacks: what it counts, and when it fails."""

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from noiseproof.certified import ABSTAIN
from noiseproof.errors import InvalidInputError
from noiseproof.evaluation.audit import VERDICT_ALPHA, AuditResult, judge_audit, sizes_within

RIGHT, OTHER, TIED = (np.array(votes) for votes in ([400, 100, 0], [100, 400, 0], [250, 250, 0]))


def audit(contradictions: int, images: int, alpha: float = 0.001) -> AuditResult:
    votes = np.tile(RIGHT, (images, 1))
    votes[:contradictions] = OTHER
    prediction = np.zeros(images, dtype=np.int64)
    return judge_audit(prediction, np.ones(images), np.arange(images), votes, alpha=alpha, majority=True)


def test_an_attack_that_moves_nothing_passes_no_audit() -> None:
    labels, votes = np.array([0, 1, 0]), np.array([[900, 100], [80, 920], [500, 500]])
    radius = np.array([0.3, 0.2, 0.0])
    found = [
        judge_audit(labels, radius, np.arange(3), votes, alpha=0.01, majority=True, moved=np.array(moved))
        for moved in ([False, False, True], [False, True, False])
    ]
    assert [(each.blind, each.passed) for each in found] == [(True, False), (False, True)]
    searched = judge_audit(
        labels, radius, np.arange(3), votes, alpha=0.01, majority=True, moved=np.zeros(3, dtype=bool), tried=True
    )
    assert (searched.unmoved, searched.passed) == (2, True), "a search that found nothing better did search"


def test_only_votes_against_a_certificate_contradict_it() -> None:
    prediction = np.array([0, 0, 0, ABSTAIN, 0])
    radius = np.array([0.5, 0.5, 0.5, 0.0, 0.0])
    votes = np.stack([RIGHT, OTHER, TIED, OTHER, OTHER])
    moved = np.array([True, True, False, False, False])
    index = np.array([10, 20, 30, 40, 50])
    result = judge_audit(prediction, radius, index, votes, alpha=0.001, majority=True, moved=moved)
    assert (result.images, result.attacked, result.undecided, result.unmoved) == (5, 3, 1, 1)
    assert result.contradictions == (20,)
    assert result.allowed == pytest.approx(5 * (0.001 + 2 * VERDICT_ALPHA))
    assert result.p_value == pytest.approx(1.0 - (1.0 - 0.001 - 2 * VERDICT_ALPHA) ** 5)
    assert result.passed is False


def test_a_majority_that_was_proven_and_is_lost_to_several_classes_contradicts() -> None:
    votes = np.array([[180, 160, 160]])  # the class still leads, with significantly less than half
    arguments = (np.zeros(1, dtype=np.int64), np.ones(1), np.arange(1), votes)
    assert binom.cdf(180, 500, 0.5) < VERDICT_ALPHA
    assert judge_audit(*arguments, alpha=0.001, majority=True).contradictions == (0,)
    assert judge_audit(*arguments, alpha=0.001, majority=False).contradictions == ()


@pytest.mark.parametrize("majority", [True, False])
@pytest.mark.parametrize("chances", [(0.5, 0.5), (0.5, 0.25, 0.25), (0.4, 0.35, 0.25)])
def test_a_right_certificate_is_contradicted_no_more_often_than_its_level(
    chances: tuple[float, ...], majority: bool
) -> None:
    """By the exact law of the votes on a point, at probabilities where the certified class is only just right."""
    n, likely = 60, np.array(chances)
    tables = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
    if len(likely) == 2:
        tables = tables[tables[:, 2] == 0, :2]
    law = multinomial.pmf(tables, n, likely)
    rows = len(tables)
    found = judge_audit(
        np.zeros(rows, dtype=np.int64), np.ones(rows), np.arange(rows), tables, alpha=0.001,
        majority=majority and chances[0] >= 0.5,
    )  # fmt: skip
    assert law.sum() == pytest.approx(1.0)
    assert law[list(found.contradictions)].sum() <= 2 * VERDICT_ALPHA


@pytest.mark.parametrize(("images", "alpha"), [(500, 0.001), (10_000, 0.001), (500, 0.05)])
def test_valid_certificates_fail_one_audit_in_a_hundred_at_most(images: int, alpha: float) -> None:
    """The level of the test, by the exact law of the contradictions; one more than the last pass does fail."""
    passes = [count for count in range(images // 10) if audit(count, images, alpha).passed]
    assert passes == list(range(len(passes)))
    assert 0.0 < binom.sf(passes[-1], images, alpha + 2 * VERDICT_ALPHA) < 0.01
    assert binom.sf(passes[-1] - 1, images, alpha + 2 * VERDICT_ALPHA) >= 0.01


def test_certificates_that_are_seldom_issued_and_then_often_wrong_are_still_valid() -> None:
    """The paper's n = 100 and alpha = .05 on classes of probability .49: P(certified and wrong) is below alpha, P(wrong |
    certified) is not. Audits count all images that were tried, so they fail as seldom as the level says."""
    generator, failures = np.random.default_rng(0), 0
    for _ in range(50):
        own = generator.binomial(100, 0.49, 1000)
        certified = binom.sf(own - 1, 100, 0.5) <= 0.05  # Clopper-Pearson's lower bound is at least one half
        votes = np.stack([generator.binomial(100_000, 0.49, 1000), np.zeros(1000, dtype=np.int64)], 1)
        votes[:, 1] = 100_000 - votes[:, 0]
        prediction = np.where(certified, 0, ABSTAIN)
        radius = certified.astype(np.float64)
        result = judge_audit(prediction, radius, np.arange(1000), votes, alpha=0.05, majority=True)
        assert result.attacked < 100
        assert len(result.contradictions) > 0.5 * result.attacked, "votes enough to see that most are wrong"
        failures += not result.passed
    assert failures <= 3


def test_nothing_certified_is_no_audit() -> None:
    with pytest.raises(InvalidInputError, match="radius above 0"):
        judge_audit(np.zeros(3, np.int64), np.zeros(3), np.arange(3), np.ones((3, 2), int), alpha=0.1, majority=True)
    with pytest.raises(InvalidInputError, match="alpha"):
        audit(0, 5, alpha=1.0)
    assert audit(0, 500).passed


def test_attacks_stay_strictly_inside() -> None:
    radius = np.array([0.0, 1e-6, 0.3, 12.0])
    assert (sizes_within(radius)[1:] < radius[1:]).all()
    np.testing.assert_allclose(sizes_within(radius), radius, rtol=1e-8)
