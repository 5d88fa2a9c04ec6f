"""What is said of a whole data set."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from noiseproof.certified import ABSTAIN, Certified
from noiseproof.errors import InvalidInputError
from noiseproof.evaluation.certified_accuracy import (
    certified_accuracy,
    failure_allowance,
    file_lower_bound,
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


def file_failure(robust: int, images: int, of: int, alpha: float, rho: float) -> float:
    """P(the bound exceeds R / M), exactly: robust images of a draw, and certificates that fail on all others."""
    drawn, failed = np.arange(images + 1), np.arange(images + 1)
    law = hypergeom.pmf(drawn, of, robust, images)[:, None] * binom.pmf(failed, (images - drawn)[:, None], alpha)
    wrong = file_lower_bound(np.arange(images + 1), images, of, alpha, rho) > robust / of + 1e-12
    seen = np.minimum(drawn[:, None] + failed, images)
    return float(law[wrong[seen]].sum())


@pytest.mark.parametrize(("images", "of"), [(20, 60), (60, 60), (50, 400)])
def test_the_bound_of_a_file_holds_with_its_level(images: int, of: int) -> None:
    """Of every possible number of robust images in the file; and it is not given away: of some, rho / 2 is nearly used."""
    rho = 0.1
    for alpha in (1e-9, 0.01, 0.05):
        failures = [file_failure(robust, images, of, alpha, rho) for robust in range(0, of + 1, max(1, of // 40))]
        assert max(failures) <= rho
    worst = max(file_failure(robust, images, of, 1e-9, rho) for robust in range(0, of, max(1, of // 100)))
    assert worst <= 0.5 * rho, "half of it is for failed certificates"
    assert images == of or worst >= 0.3 * rho


def test_the_bound_of_a_file_is_the_smallest_share_not_rejected() -> None:
    """In exact arithmetic: P(Hypergeometric(M, R, N) >= K) is above rho / 2 at the bound, and not at R - 1."""
    images, of, rho = 30, 200, 0.05
    found = file_lower_bound(np.arange(images + 1), images, of, 1e-9, rho) * of

    def tail(robust: int, at_least: int) -> Fraction:
        ways = sum(comb(robust, j) * comb(of - robust, images - j) for j in range(at_least, images + 1))
        return Fraction(ways, comb(of, images))

    for at_least, bound in enumerate(np.rint(found).astype(int).tolist()):
        assert tail(bound, at_least) > Fraction(rho) / 2
        assert bound == 0 or tail(bound - 1, at_least) <= Fraction(rho) / 2


def test_the_bound_of_a_file_spends_half_of_its_level_on_failures() -> None:
    """Without a robust image in the file, it is above 0 where more than q certificates failed."""
    for images, alpha in ((1000, 0.03), (3000, 0.05)):
        for of, level in ((10 * images, 0.025), (images, 0.05)):
            seen = np.arange(images + 1)
            wrong = binom.pmf(seen, images, alpha)[file_lower_bound(seen, images, of, alpha, 0.05) > 0.0].sum()
            assert 0.6 * level < wrong <= level
    with pytest.raises(InvalidInputError, match="images"):
        file_lower_bound(np.array([3]), 11, 10, 0.001)


def test_each_half_of_the_population_bound_has_half_of_its_level() -> None:
    """Exactly, from both sides: of certificates that never fail, and of classifiers that are nowhere robust."""
    images, rho = 1000, 0.1
    seen = np.arange(images + 1)
    for level in (0.3, 0.6, 0.9):
        bounds = population_lower_bound(seen, images, 1e-12, rho)
        truth = np.nextafter(bounds[bounds < level][-1], 0.0)  # just below an endpoint: where it fails most often
        missed = binom.pmf(seen, images, truth)[bounds > truth].sum()
        assert 0.49 * rho < missed <= 0.5 * rho
    for alpha in (0.01, 0.03):
        bounds = population_lower_bound(seen, images, alpha, rho)
        assert 0.25 * rho < binom.pmf(seen, images, alpha)[bounds > 0.0].sum() <= 0.5 * rho


def test_every_tenth_of_labels_in_rotation_says_nothing_of_the_file() -> None:
    """Of a file in which one class of ten is robust, every tenth image sees that class alone; a random subset does not."""
    robust = np.arange(1000) % 10 == 0
    every_tenth = certified([0] * 100, np.where(robust[::10], 1.0, 0.0).tolist())
    labels, radii = np.zeros(100, dtype=np.int64), np.array([0.5])
    assert summarise(every_tenth, labels, radii, alpha=0.001).population is None
    drawn = np.sort(np.random.default_rng(0).choice(1000, 100, replace=False))
    random = certified([0] * 100, np.where(robust[drawn], 1.0, 0.0).tolist())
    found = summarise(random, labels, radii, alpha=0.001, of=1000).population
    assert found is not None
    assert 0.0 < found[0] <= 0.1
    whole = certified([0] * 1000, np.where(robust, 1.0, 0.0).tolist())
    found = summarise(whole, np.zeros(1000, dtype=np.int64), radii, alpha=0.001, of=1000).population
    assert found is not None
    assert found[0] == pytest.approx(0.1 - failure_allowance(1000, 0.001))
