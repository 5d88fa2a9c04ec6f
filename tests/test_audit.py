"""The audit of certificates by attacks: what it counts, and when it fails."""

import numpy as np
import pytest
from scipy.stats import binom

from noiseproof.audit import VERDICT_ALPHA, Audit, judge_audit, sizes_within
from noiseproof.errors import InvalidInputError
from noiseproof.smoothing import ABSTAIN


def audit(contradictions: int, images: int, alpha: float = 0.001) -> Audit:
    prediction = np.zeros(images, dtype=np.int64)
    found = np.zeros(images, dtype=np.int64)
    found[:contradictions] = 1
    return judge_audit(prediction, np.ones(images), np.arange(images), found, alpha=alpha)


def test_only_another_class_on_a_certified_image_contradicts() -> None:
    prediction = np.array([3, 3, 3, ABSTAIN, 3])
    radius = np.array([0.5, 0.5, 0.5, 0.0, 0.0])
    found = np.array([3, 4, ABSTAIN, 4, 4])
    result = judge_audit(prediction, radius, np.array([10, 20, 30, 40, 50]), found, alpha=0.001)
    assert result.attacked == 3
    assert result.contradictions == (20,)
    assert result.undecided == 1
    assert result.allowed == pytest.approx(3 * (0.001 + VERDICT_ALPHA))
    assert result.p_value == pytest.approx(1.0 - (1.0 - 0.001 - VERDICT_ALPHA) ** 3)
    assert result.passed is False


@pytest.mark.parametrize(("images", "alpha"), [(500, 0.001), (10_000, 0.001), (500, 0.05)])
def test_valid_certificates_fail_one_audit_in_a_hundred_at_most(images: int, alpha: float) -> None:
    """The level of the test, by the exact law of the contradictions; one more than the last pass does fail."""
    passes = [count for count in range(images + 1) if audit(count, images, alpha).passed]
    assert passes == list(range(len(passes)))
    assert 0.0 < binom.sf(passes[-1], images, alpha + VERDICT_ALPHA) < 0.01
    assert binom.sf(passes[-1] - 1, images, alpha + VERDICT_ALPHA) >= 0.01


def test_no_contradiction_and_no_image_pass() -> None:
    assert audit(0, 500).passed
    empty = judge_audit(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64), alpha=0.001)
    assert empty.attacked == 0
    assert empty.passed
    with pytest.raises(InvalidInputError, match="alpha"):
        judge_audit(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64), alpha=1.0)


def test_attacks_stay_strictly_inside() -> None:
    radius = np.array([0.0, 1e-6, 0.3, 12.0])
    assert (sizes_within(radius)[1:] < radius[1:]).all()
    np.testing.assert_allclose(sizes_within(radius), radius, rtol=1e-8)
