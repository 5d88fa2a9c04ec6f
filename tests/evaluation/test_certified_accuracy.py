"""What is said of a whole data set."""

import numpy as np
import pytest
from scipy.stats import binom

from noiseproof.certified import ABSTAIN, Certified
from noiseproof.errors import InvalidInputError
from noiseproof.evaluation.certified_accuracy import (
    certified_accuracy,
    failure_allowance,
    population_lower_bound,
    summarise,
)


def certified(prediction: list[int], radius: list[float]) -> Certified:
    n = len(prediction)
    votes = np.zeros((n, 3), dtype=np.int64)
    votes[np.arange(n), np.maximum(prediction, 0)] = 10
    return Certified(np.array(prediction), np.array(radius), np.ones(n), np.zeros(n), votes, None)


def test_figures_of_six_images() -> None:
    found = certified([0, 1, 2, ABSTAIN, 1, 0], [0.5, 0.25, 0.9, 0.0, 0.1, 0.0])
    labels = np.array([0, 1, 0, 0, 1, 0])  # image 2 is wrong; image 3 abstains, its votes lean to the right class
    radii = np.array([0.0, 0.1, 0.2, 0.25, 0.5, 0.51])
    np.testing.assert_allclose(certified_accuracy(found, labels, radii), np.array([4, 3, 2, 2, 1, 0]) / 6)
    summary = summarise(found, labels, radii, alpha=0.05)
    assert summary.natural_accuracy == 5 / 6
    assert summary.abstained == 1 / 6
    assert summary.average_certified_radius == pytest.approx((0.5 + 0.25 + 0.1) / 6)
    assert summary.confidence == 0.95


def test_allowance_reference_values() -> None:
    assert failure_allowance(10_000, 0.05) == pytest.approx(0.0536, abs=5e-5)
    assert failure_allowance(10_000, 0.001) == pytest.approx(0.0015, abs=5e-5)


def test_allowance_holds_simultaneously_over_radii() -> None:
    """Every certificate fails with probability alpha, wrongly claiming a large radius: the worst the theory allows."""
    rng, images, alpha, rho = np.random.default_rng(0), 500, 0.05, 0.1
    truth, labels, radii = np.full(images, 0.3), np.zeros(images, dtype=np.int64), np.linspace(0, 1, 21)
    allowance, broken = failure_allowance(images, alpha, rho), 0
    true_accuracy = certified_accuracy(certified([0] * images, truth.tolist()), labels, radii)
    runs = 2000
    for _ in range(runs):
        claimed = np.where(rng.random(images) < alpha, 1.0, truth)
        observed = certified_accuracy(certified([0] * images, claimed.tolist()), labels, radii)
        broken += bool((observed - allowance > true_accuracy + 1e-12).any())
    assert broken / runs <= rho
    assert broken / runs > 0.3 * rho


def test_times_one_minus_alpha_is_no_bound_below_half() -> None:
    """In the same worst case, by the binomial law: images that are not robust are certified with probability alpha."""
    images, alpha = 10_000, 0.05

    def above(truth: float) -> tuple[float, float]:
        """The expectation of what the paper states, less the truth, and the probability that it is above the truth."""
        robust = round(truth * images)
        failed = np.arange(images - robust + 1)
        law = binom.pmf(failed, images - robust, alpha)
        stated = (1 - alpha) * (robust + failed) / images
        return float(law @ stated - truth), float(law[stated > truth].sum())

    turn = (1 - alpha) / (2 - alpha)
    assert above(round(turn, 4))[0] == pytest.approx(0.0, abs=1e-4)
    assert above(round(turn, 4))[1] == pytest.approx(0.5, abs=0.05)
    assert above(0.4)[0] > 0.0
    assert above(0.4)[1] > 0.999
    assert above(0.69)[0] < 0.0
    assert above(0.69)[1] < 0.001
    subtracted = failure_allowance(images, alpha)
    for truth in (0.0, 0.4, 0.69):
        robust = round(truth * images)
        assert binom.sf(subtracted * images + 1e-6, images - robust, alpha) <= 0.05


def test_outside_the_domain() -> None:
    with pytest.raises(InvalidInputError, match="rho"):
        failure_allowance(10, 0.05, 0.0)
    with pytest.raises(InvalidInputError, match="alpha"):
        failure_allowance(10, 1.5)


def test_population_bound_covers_the_draw_of_the_images_and_failed_certificates() -> None:
    """Images robust with probability 0.6, certificates that fail with probability alpha: how often is 0.6 missed?"""
    rng, truth, images, alpha, rho, runs = np.random.default_rng(0), 0.6, 300, 0.02, 0.1, 20_000
    robust = rng.binomial(images, truth, runs)
    claimed = robust + rng.binomial(images - robust, alpha)  # certificates that fail where they add to the count
    bounds = population_lower_bound(claimed, images, alpha, rho)
    missed = (bounds > truth).mean()
    assert missed <= rho
    assert missed > 0.001, "a bound that never fails would be giving power away"
    assert (bounds < claimed / images).all()


def test_population_bound_holds_where_failed_certificates_outnumber_chance() -> None:
    """Of 2000 images, 30 % robust, 70 more count as certified: four standard deviations of the robust ones."""
    rng, truth, images, alpha, rho, runs = np.random.default_rng(0), 0.3, 2000, 0.05, 0.1, 5000
    robust = rng.binomial(images, truth, runs)
    claimed = robust + rng.binomial(images - robust, alpha)
    assert (population_lower_bound(claimed, images, alpha, rho) > truth).mean() <= rho
    assert (population_lower_bound(claimed, images, 1e-9, rho) > truth).mean() > rho, "failures would matter"
