"""What is said of attacks: verdicts against exact enumeration, the worst against brute force."""

import itertools
from fractions import Fraction
from math import comb, prod

import numpy as np
import pytest
from scipy.stats import multinomial

from noiseproof.bounds import clopper_pearson_lower, clopper_pearson_upper
from noiseproof.certified import ABSTAIN
from noiseproof.errors import InvalidInputError
from noiseproof.evaluation.robust_accuracy import Verdict, summarise_verdicts, verdicts, worst_of, worst_so_far
from noiseproof.noises import Gaussian
from noiseproof.smoothing import SmoothedClassifier

RIGHT, ABSTAINED, WRONG = Verdict


def outcomes(n: int, classes: int) -> np.ndarray:
    """Every way in which n votes can fall on the classes."""
    return np.array([votes for votes in itertools.product(range(n + 1), repeat=classes) if sum(votes) == n])


def judged(votes: np.ndarray, label: int, alpha: float) -> np.ndarray:
    return verdicts(votes[None], np.full(len(votes), label), alpha)[0]


def tail(winner: int, runner_up: int) -> Fraction:
    """2 P(Bin(N_1 + N_2, 1/2) >= N_1), in whole numbers."""
    n = winner + runner_up
    return Fraction(2 * sum(comb(n, i) for i in range(winner, n + 1)), 2**n)


@pytest.mark.parametrize(("n", "classes"), [(14, 2), (12, 3), (8, 4)])
@pytest.mark.parametrize("alpha", [0.001, 0.03, 0.2])
def test_verdicts_are_the_exact_binomial_test(n: int, classes: int, alpha: float) -> None:
    votes = outcomes(n, classes)
    for row, verdict in zip(votes.tolist(), judged(votes, 0, alpha), strict=True):
        runner_up, winner = sorted(row)[-2:]
        expected = ABSTAINED if tail(winner, runner_up) > alpha else RIGHT if row[0] == winner else WRONG
        assert verdict == expected, row


@pytest.mark.parametrize(("n", "classes"), [(30, 2), (14, 3), (11, 4)])
@pytest.mark.parametrize("alpha", [0.02, 0.1])
def test_no_verdict_fails_more_often_than_alpha(n: int, classes: int, alpha: float) -> None:
    """Enumerate every outcome: an attack that has not won is hardly called one, nor a defence that has lost."""
    votes, largest = outcomes(n, classes), 0.0
    steps = 10 if classes == 2 else 6
    chances = [np.array(part) / steps for part in outcomes(steps, classes)]
    chances += [np.r_[0.5 + gap, 0.5 - gap, np.zeros(classes - 2)] for gap in (1e-6, -1e-6)]
    for chance in chances:
        if np.sort(chance)[-1] == np.sort(chance)[-2]:
            continue  # no class is the most probable one
        mass = multinomial.pmf(votes, n, chance)
        label = int(chance.argmax())
        failures = [mass[judged(votes, label, alpha) == WRONG].sum()]
        failures += [mass[judged(votes, other, alpha) == RIGHT].sum() for other in range(classes) if other != label]
        largest = max(largest, *failures)
    assert largest <= alpha
    assert largest > alpha / 8, "a test that never fails would be giving power away"


def test_verdicts_do_not_contradict_what_predict_answers() -> None:
    """Which stops by itself, so near-ties may be named by one and not by the other."""
    images = np.random.default_rng(0).random((40, 6), dtype=np.float32)
    smoothed = SmoothedClassifier(lambda x: (x[:, 0] > 0.5).astype(int), Gaussian(0.4), 2)
    labels = (images[:, 1] > 0.5).astype(np.int64)
    predicted = smoothed.predict(images, samples=100, alpha=0.01, seed=3)
    verdict = verdicts(smoothed.count(images, samples=100, seed=3)[None], labels, 0.01)[0]
    expected = np.where(predicted == ABSTAIN, ABSTAINED, np.where(predicted == labels, RIGHT, WRONG))
    both = (verdict != ABSTAINED) & (expected != ABSTAINED)
    assert both.sum() > 20
    assert verdict[both].tolist() == expected[both].tolist()
    assert set(verdict.tolist()) == {RIGHT, ABSTAINED, WRONG}


def test_a_single_vote_decides_without_noise() -> None:
    votes = np.eye(3, dtype=np.int64)[None]
    labels = np.array([0, 2, 2])
    assert verdicts(votes, labels, 0.001, noisy=False).tolist() == [[RIGHT, WRONG, RIGHT]]
    assert verdicts(votes, labels, 0.001).tolist() == [[ABSTAINED] * 3]
    with pytest.raises(InvalidInputError, match="without any vote"):
        verdicts(0 * votes, labels, 0.001)
    with pytest.raises(InvalidInputError, match="alpha"):
        verdicts(votes, labels, 0.0, noisy=False)


def test_worst_so_far_never_recovers() -> None:
    found = np.array(list(itertools.product(range(3), repeat=4))).T  # every course over four sizes
    worst = worst_so_far(found)
    for course, so_far in zip(found.T, worst.T, strict=True):
        assert so_far.tolist() == [max(course[: size + 1]) for size in range(4)]
    assert (np.diff(worst, axis=0) >= 0).all()
    assert np.array_equal(worst_so_far(worst), worst)


def test_the_worst_of_several_attacks() -> None:
    """Every pair of courses that two attacks can take over two sizes, against brute force."""
    courses = np.array(list(itertools.product(range(3), repeat=4))).T
    first, second = courses[:2], courses[2:]
    worst = worst_so_far(worst_of([first, second]))
    for image, course in enumerate(courses.T):
        assert worst[0, image] == max(course[0], course[2])
        assert worst[1, image] == max(course)
    assert np.array_equal(worst_of([second, first, second]), worst_of([first, second]))
    assert np.array_equal(worst_of([first]), first)
    assert np.array_equal(worst, worst_of([worst_so_far(first), worst_so_far(second)])), "in either order"


def test_attacks_of_different_shapes_do_not_combine() -> None:
    found = np.zeros((2, 3), dtype=np.int64)
    for others in ([], [found, found[:1]], [found, found[:, :2]]):
        with pytest.raises(InvalidInputError, match="all on the same images at the same sizes"):
            worst_of(others)


def test_figures_of_six_images() -> None:
    one = np.array([[0, 0, 0, 0, 2, 1], [0, 2, 1, 0, 0, 0]])
    other = np.array([[0, 0, 0, 0, 2, 0], [0, 0, 2, 1, 2, 2]])
    sizes = np.array([0.0, 0.5])
    alone, both = summarise_verdicts(one, sizes), summarise_verdicts(worst_of([one, other]), sizes)
    assert alone.images == both.images == 6
    assert alone.sizes.tolist() == [0.0, 0.5]
    np.testing.assert_allclose(alone.robust * 6, [4, 2])
    np.testing.assert_allclose(alone.abstained * 6, [1, 2])
    np.testing.assert_allclose(alone.wrong * 6, [1, 2])
    np.testing.assert_allclose(both.robust * 6, [4, 1])
    np.testing.assert_allclose(both.abstained * 6, [1, 1])
    np.testing.assert_allclose(both.wrong * 6, [1, 4])


def test_intervals_are_clopper_and_pearsons() -> None:
    """Against our own exact bounds; each end misses with probability 2.5 % at most."""
    rows = np.array([[RIGHT] * right + [WRONG] * (7 - right) for right in range(7, -1, -1)])
    found, right, total = summarise_verdicts(rows, np.arange(8.0)), np.arange(7, -1, -1), np.full(8, 7)
    np.testing.assert_allclose(found.robust, right / 7)
    np.testing.assert_allclose(found.low, clopper_pearson_lower(right, total, 0.025), atol=1e-12)
    np.testing.assert_allclose(found.high, clopper_pearson_upper(right, total, 0.025), atol=1e-12)


def test_laws_of_summaries_over_random_votes() -> None:
    rng, sizes, labels = np.random.default_rng(0), np.arange(5.0), np.zeros(50, dtype=np.int64)
    votes = [rng.multinomial(30, [0.6, 0.3, 0.1], (5, 50)) for _ in range(3)]
    before = None
    for count in (1, 2, 3):
        found = summarise_verdicts(worst_of([verdicts(part, labels, 0.05) for part in votes[:count]]), sizes)
        np.testing.assert_allclose(found.robust + found.abstained + found.wrong, 1.0)
        assert (np.diff(found.robust) <= 0).all()
        assert (np.diff(found.wrong) >= 0).all()
        if before is not None:
            assert (found.robust <= before.robust).all(), "another attack makes no defence better"
        before = found
    assert before is not None
    strict = summarise_verdicts(worst_of([verdicts(part, labels, 0.001) for part in votes]), sizes)
    assert (strict.robust <= before.robust).all()


def test_enumeration_is_complete() -> None:
    """The oracle itself: outcomes are as many as there are, and their chances add up to 1."""
    votes = outcomes(5, 3)
    assert len(votes) == prod(range(6, 8)) // 2
    assert multinomial.pmf(votes, 5, [0.2, 0.3, 0.5]).sum() == pytest.approx(1.0)
