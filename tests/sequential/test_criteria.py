"""When sampling ends, and what is then claimed: against brute force over votes, continuations and outcomes."""

import math
from functools import cache, partial

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom
from sequential_rules import JeffreysTest, first_certifying

from mutation import fails, mutated
from noiseproof.bounds import Interval, clopper_pearson_lower
from noiseproof.certificates import NeymanPearson
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian
from noiseproof.sequential import (
    CERTIFIED,
    FUTILE,
    UNDECIDED,
    AnytimeSinglePhase,
    Criterion,
    Exceeds,
    Level,
    RelativeError,
    TopClass,
    first_reaching,
    fit_prior,
    log_threshold,
    lower_bound,
    top_class_certain,
)
from noiseproof.sequential import (
    exceeds as rules,
)
from noiseproof.sequential.e_process import rounded_down
from noiseproof.sequential.looks import looked_at, next_look
from sequential.test_every_class import Claims, cases_near, ever_wrong, leader

SIGMA, TWO_SIGMA = float(ndtr(1.0)), float(ndtr(2.0))
RADIUS = partial(NeymanPearson().radius, Gaussian(1.0))


def exceeds(*p0: float, alpha: float = 0.001, beta: float = 0.001, cap: int = 10**6) -> Exceeds:
    return Exceeds(tuple(Level(each, 1.0 - each) for each in p0), alpha, beta, cap)


def all_pairs(most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes of 21 classes for every (A, f) up to n = most that a leader can have; A; f."""
    A, f = (each.ravel() for each in np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij"))
    possible = (A + f >= 1) & (A + f <= most) & (-(-f // 20) <= A)
    A, f = A[possible], f[possible]
    others = f[:, None] // 20 + (np.arange(20) < f[:, None] % 20)
    votes = np.concatenate([others, A[:, None]], axis=1)
    return np.random.default_rng(0).permuted(votes, axis=1), A, f


def all_votes(n: int, classes: int) -> np.ndarray:
    """All votes of two or three classes that sum to n."""
    first = np.arange(n + 1)
    if classes == 2:
        return np.stack([first, n - first], axis=-1)
    a, b = (each.ravel() for each in np.meshgrid(first, first, indexing="ij"))
    inside = a + b <= n
    return np.stack([a, b, n - a - b], axis=-1)[inside]


# ---- one radius and several ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p0", [0.5, 0.6, SIGMA, TWO_SIGMA])
@pytest.mark.parametrize(("alpha", "beta"), [(0.001, 0.001), (0.05, 0.3)])
def test_decisions_vote_by_vote(p0: float, alpha: float, beta: float) -> None:
    """All (A, f) to n = 200, by the evidence itself and by the rule of one radius."""
    votes, A, f = all_pairs(200)
    goal = exceeds(p0, alpha=alpha, beta=beta, cap=200)
    sure = rounded_down(A, f, p0) >= log_threshold(p0, alpha)
    futile = rounded_down(f, A, 1 - p0, q0=p0) >= -math.log(beta)
    assert not (sure & futile).any()
    np.testing.assert_array_equal(goal.outcomes(votes)[:, 0], np.where(sure, CERTIFIED, np.where(futile, FUTILE, 0)))
    rule = JeffreysTest(p0, alpha, every_class=True, beta=beta, cap=200)
    np.testing.assert_array_equal(goal.ended(votes), rule.decide(A, A + f) != UNDECIDED)


def test_several_radii_share_the_threshold_of_the_smallest() -> None:
    levels = (0.5, 0.6, SIGMA, TWO_SIGMA)
    votes, A, f = all_pairs(150)
    outcomes = exceeds(*levels, alpha=0.05).outcomes(votes)
    threshold = log_threshold(0.5, 0.05)
    for p0, outcome in zip(levels, outcomes.T, strict=True):
        np.testing.assert_array_equal(outcome == CERTIFIED, rounded_down(A, f, p0) >= threshold)
    assert (np.diff(outcomes == CERTIFIED, axis=1).sum(1) <= 1).all()
    assert (np.diff(outcomes, axis=1) <= 0).all(), "a radius is certified only with all smaller ones"
    assert (np.ptp(outcomes, axis=1) == 2).any()


def test_levels_keep_their_own_digits() -> None:
    """1 - p0 = 1e-12 is not what is left of a p0 in double precision."""
    goal = Exceeds((Level(1.0 - 1e-12, 1e-12),), 0.001, 0.001, 10**14)
    needed = int(first_reaching(1.0 - 1e-12, math.log(1000), np.array([0]), q0=1e-12)[0])
    assert goal.votes_needed(2) == needed
    assert abs(first_certifying(1.0 - 1e-12, 0.001, np.array([0]))[0] / needed - 1) > 1e-5


def test_what_is_learned_from_other_images() -> None:
    rng = np.random.default_rng(0)
    prior = fit_prior(rng.binomial(300, 0.9, 200), np.full(200, 300))
    goal = Exceeds((Level(SIGMA, 1 - SIGMA),), 0.01, 0.01, 200, prior)
    votes, A, f = all_pairs(200)
    rule = JeffreysTest(SIGMA, 0.01, every_class=True, beta=0.01, cap=200, prior=prior)
    np.testing.assert_array_equal(goal.ended(votes), rule.decide(A, A + f) != UNDECIDED)
    assert goal.votes_needed(2) != exceeds(SIGMA, alpha=0.01).votes_needed(2)
    with pytest.raises(InvalidInputError, match="prior must be left out with several radii; got 2 radii"):
        Exceeds((Level(0.5, 0.5), Level(SIGMA, 1 - SIGMA)), 0.01, 0.01, 200, prior)


def test_far_out() -> None:
    """Numbers are tabulated as they are asked for, in no particular order."""
    goal = exceeds(0.6, SIGMA, alpha=0.001, beta=0.01)
    rng = np.random.default_rng(0)
    sure = goal._boundaries[0][0]
    failures = np.arange(6000)
    first = sure.first(failures)
    np.testing.assert_array_equal(first, first_certifying(0.6, 0.001, failures, every_class=True))
    for f in (5999, 0, 40):
        assert sure.first(np.array([f]))[0] == first[f]
    np.testing.assert_array_equal(sure.most(first), failures)
    np.testing.assert_array_equal(sure.most(first - 1), failures - 1)
    assert sure.most(np.array([0])).tolist() == [-1]
    n = rng.integers(1, 8000, 4000)
    A = rng.binomial(n, rng.choice([0.58, 0.6, 0.62, 0.82, 0.84, 0.86], 4000))
    A = np.maximum(A, n - A)
    outcomes = goal.outcomes(np.stack([n - A, A], axis=-1))
    assert set(outcomes.ravel()) == {CERTIFIED, UNDECIDED, FUTILE}
    rule = JeffreysTest(0.6, 0.001, every_class=True, beta=0.01)
    np.testing.assert_array_equal(outcomes[:, 0], rule.decide(A, n))


# ---- errors of the first kind ----------------------------------------------------------------------------------------


def certified(goal: Exceeds) -> Claims:
    """The leader is claimed to exceed the highest level it is certified at."""
    more = np.array([0.0, *(np.nextafter(level.p0, 1.0) for level in goal.levels)])

    def claims(votes: np.ndarray) -> np.ndarray:
        reached = (goal.outcomes(votes) == CERTIFIED) * np.arange(1, len(more))
        return leader(votes, more[reached.max(-1)])

    return claims


@pytest.mark.parametrize("alpha", [0.3, 0.05])
@pytest.mark.parametrize("levels", [(0.5,), (0.5, 0.52, 0.7), (0.501, 0.6), (0.52, 0.53, 0.54), (0.6, 0.9)])
def test_no_wrong_class_is_ever_certified(levels: tuple[float, ...], alpha: float) -> None:
    """k = 2 and 3, exact: at any level, at any moment to n = 45, whatever ends the sampling."""
    goal = exceeds(*levels, alpha=alpha)
    cases = np.unique(np.concatenate([cases_near(p0) for p0 in levels]), axis=0)
    worst = ever_wrong(certified(goal), cases, 45).max()
    assert worst <= alpha
    assert worst > 0.35 * alpha, "the correction is given away"


def wrong_of_two(goal: Exceeds, p: float, horizon: int) -> float:
    """P(a false certificate at any level after any of 1, .., horizon votes) for two classes of p and 1 - p; exact."""
    state, first, wrong = np.ones(1), 0, 0.0
    truth = np.array([p, 1 - p])
    levels = np.array([level.p0 for level in goal.levels])
    for n in range(1, horizon + 1):
        moved = np.zeros(len(state) + 1)  # by votes for the first class
        moved[:-1] = (1 - p) * state
        moved[1:] += p * state
        A = first + np.arange(len(moved))
        votes = np.stack([A, n - A], axis=-1)
        false = ((goal.outcomes(votes) == CERTIFIED) & (levels >= truth[votes.argmax(-1)][:, None])).any(-1)
        wrong += moved[false].sum()
        moved[false] = 0.0
        heavy = np.flatnonzero(moved > 1e-15 * goal.alpha)
        state, first = moved[heavy[0] : heavy[-1] + 1], first + int(heavy[0])
    return wrong


@pytest.mark.parametrize(
    ("levels", "p", "alpha"),
    [
        ((0.5,), 0.5, 0.05),
        ((0.5,), 0.5, 0.001),
        ((0.6,), 0.6, 0.05),
        ((SIGMA,), SIGMA, 0.05),
        ((SIGMA,), SIGMA, 0.001),
        ((0.55, 0.6, SIGMA), 0.6, 0.01),
        ((0.55, 0.6, SIGMA), np.nextafter(SIGMA, 0), 0.01),
    ],
)
def test_error_is_below_alpha_and_near_it(levels: tuple[float, ...], p: float, alpha: float) -> None:
    """Exact, to n = 800; two-sided: as much as is allowed is used."""
    assert 0.5 * alpha < wrong_of_two(exceeds(*levels, alpha=alpha), p, 800) <= alpha


def wrong_at_the_worst_moment(goal: Exceeds, p: np.ndarray, runs: int, horizon: int) -> float:
    """How often an adversary who knows p, and may stop or go on at any vote, has a false certificate to show."""
    rng = np.random.default_rng(0)
    levels, wrong = np.array([level.p0 for level in goal.levels]), 0
    for _ in range(runs):
        votes = np.cumsum(np.eye(len(p), dtype=np.int64)[rng.choice(len(p), p=p, size=horizon)], axis=0)
        shown = (goal.outcomes(votes) == CERTIFIED) & (levels >= p[votes.argmax(-1)][:, None])
        wrong += bool(shown.any())
    return wrong / runs


@pytest.mark.parametrize("k", [2, 3, 10])
def test_adversaries_who_stop_when_they_like(k: int) -> None:
    alpha, runs = 0.3, 1000
    goal = exceeds(0.5, 0.52, 0.7, alpha=alpha)
    found = []
    for top in (0.52, 0.5, 0.3):
        if k * top >= 1:
            p = np.array([top, *([(1 - top) / (k - 1)] * (k - 1))])
            found.append(wrong_at_the_worst_moment(goal, p, runs, 150))
    assert max(found) <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / runs)
    assert max(found) > 0.3 * alpha


@pytest.mark.parametrize("levels", [(0.8,), (0.6, 0.8)])
@pytest.mark.parametrize("rest", [(0.2, 0.0), (0.1, 0.1)])
def test_what_could_be_certified_is_rarely_given_up(levels: tuple[float, ...], rest: tuple[float, float]) -> None:
    """With p = p0 of the highest level: P(it is given up at any moment) <= beta, whoever leads. Exact."""
    beta = 0.2
    goal = exceeds(*levels, beta=beta)

    def claims(votes: np.ndarray) -> np.ndarray:
        lost = goal.outcomes(votes)[:, -1] == FUTILE
        return np.repeat(np.where(lost, 1.0, 0.0)[:, None], 3, axis=1)  # false for every class: it counts as an event

    given_up = ever_wrong(claims, np.array([[0.8, *rest], [0.34, 0.33, 0.33]]), 60)
    assert 0.01 * beta < given_up[0] <= beta
    assert given_up[1] > 0.9


# ---- when it ends ----------------------------------------------------------------------------------------------------


def least_votes(goal: Criterion, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """All votes at which sampling goes on, and in how many more it can end, by all continuations."""
    votes = np.concatenate([all_votes(n, classes) for n in range(goal.max_samples, -1, -1)])
    ended = goal.ended(votes)
    least: dict[tuple[int, ...], int] = {}
    for row, out in zip(votes.tolist(), ended, strict=True):
        more = (least[*row[:j], row[j] + 1, *row[j + 1 :]] for j in range(classes) if not out)
        least[tuple(row)] = 0 if out else 1 + min(more)
    open_ = votes[~ended]
    return open_, np.array([least[tuple(row)] for row in open_.tolist()])


SMALL: dict[str, tuple[Criterion, int]] = {
    "one level": (exceeds(0.6, alpha=0.2, beta=0.2, cap=40), 3),
    "no giving up": (exceeds(0.6, alpha=0.2, beta=1e-9, cap=34), 3),
    "two classes": (exceeds(SIGMA, alpha=0.2, beta=0.2, cap=80), 2),
    "several levels": (exceeds(0.5, 0.6, SIGMA, alpha=0.3, beta=0.3, cap=40), 3),
    "a level out of reach": (exceeds(0.5, TWO_SIGMA, alpha=0.3, beta=0.05, cap=30), 3),
    "winner of two": (TopClass(0.1, 90), 2),
    "winner of three": (TopClass(0.3, 34), 3),
    "precision": (RelativeError(0.5, 0.2, 0.2, 30, RADIUS), 3),
    "precision of two": (RelativeError(0.4, 0.2, 0.2, 80, RADIUS), 2),
}


SHARP = {"one level": 0.95, "two classes": 0.9, "several levels": 0.7}


@pytest.mark.parametrize("name", SMALL)
def test_sampling_never_ends_before_what_is_pending(name: str) -> None:
    """Otherwise a vote that ends it would be one of many in a batch: wasted, not wrong. Sharp where classes are counted."""
    goal, classes = SMALL[name]
    votes, least = least_votes(goal, classes)
    pending = goal.pending(votes)
    assert (pending >= 1).all()
    assert (pending <= least).all()
    assert np.mean(pending == least) > SHARP.get(name, 0.0)


@pytest.mark.parametrize("name", SMALL)
def test_estimates_are_numbers_of_votes(name: str) -> None:
    goal, classes = SMALL[name]
    for n in (0, 1, 7, goal.max_samples - 1, goal.max_samples):
        votes = all_votes(n, classes)
        distance = goal.distance(votes)
        assert (distance >= 1).all()
        assert (distance <= max(goal.max_samples - n, 1)).all()
        assert (goal.pending(votes) >= 1).all()
        assert goal.ended(votes).all() or n < goal.max_samples
        assert not goal.ended(votes).any() or n > 1


def test_clear_images_come_first() -> None:
    """Of a level out of reach nothing is to be expected: it does not make an image a long one."""
    votes = np.array([[30, 10, 10], [28, 12, 10], [26, 14, 10]])
    for goal in (exceeds(0.5, cap=5000), TopClass(0.001, 5000)):
        distance = goal.distance(votes)
        assert (np.diff(distance) > 0).all(), goal
    goal = RelativeError(0.1, 0.01, 0.01, 5000, RADIUS)
    reachable, both = exceeds(0.6, cap=1000), exceeds(0.6, TWO_SIGMA, beta=1e-60, cap=1000)
    votes = np.array([[150, 50, 0]])
    assert both.outcomes(votes)[0, 1] == UNDECIDED
    assert both.distance(votes) == reachable.distance(votes)


def test_hopeless_images_end_before_the_cap() -> None:
    cap = 60
    goal = exceeds(0.6, SIGMA, alpha=0.05, beta=1e-9, cap=cap)
    for column, last in enumerate(goal._last.tolist()):
        best = np.array([[cap - last, last, 0], [cap - last - 1, last + 1, 0]])
        assert (goal.outcomes(best)[:, column] == CERTIFIED).tolist() == [True, False]
    last = int(goal._last[0])
    early = np.array([[last + 3, last, 0], [last + 3, last + 1, 0], [last + 3, last - 2, 3]])
    assert goal.ended(early).tolist() == [False, True, True]
    assert (goal.outcomes(early) == UNDECIDED).all()
    assert early.sum(-1).max() < cap - 5


def test_a_cap_below_what_is_needed_ends_at_once() -> None:
    goal = exceeds(SIGMA, cap=46)
    assert goal.votes_needed(2) == 47
    assert goal.ended(np.zeros((1, 3), dtype=np.int64)).all()
    assert not exceeds(SIGMA, cap=47).ended(np.zeros((1, 3), dtype=np.int64)).any()


def test_a_level_far_out_of_reach_costs_nothing() -> None:
    """7 sigma: failures that would take 1e17 votes are not asked about."""
    goal = Exceeds((Level(0.6, 0.4), Level(1 - 1e-12, 1e-12)), 0.001, 0.001, 3000)
    alone = exceeds(0.6, cap=3000)
    votes = np.array([[1300, 1200], [1500, 950], [2000, 0], [30, 20], [0, 0]])
    for question in ("ended", "pending", "distance"):
        np.testing.assert_array_equal(getattr(goal, question)(votes), getattr(alone, question)(votes))
    assert goal.ended(votes).tolist() == [True, False, True, False, False]
    assert len(goal._boundaries[1][0]._steps) == 64


# ---- looks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p0", [0.5, 0.9, 0.9957724339])
def test_what_is_found_one_by_one_is_what_the_table_says(p0: float) -> None:
    """Votes around both boundaries, read one image at a time as from a record, and all at once as by whoever samples."""
    goal = Exceeds((Level(p0, 1.0 - p0),), 0.001, 0.001, 10**6)
    rng = np.random.default_rng(5)
    n = np.unique(np.concatenate([rng.integers(1, 4000, 40), rng.integers(4000, 20_000, 20)]))
    spread = np.sqrt(n * p0 * (1.0 - p0))
    wrong = np.rint(n * (1.0 - p0) + rng.uniform(-6.0, 6.0, n.shape) * spread).astype(np.int64).clip(0, n // 2)
    votes = np.stack([n - wrong, wrong], axis=-1)
    alone = np.concatenate([Exceeds(goal.levels, 0.001, 0.001, 10**6).outcomes(row[None]) for row in votes])
    assert set(np.unique(alone)) >= {CERTIFIED, UNDECIDED, FUTILE} - ({FUTILE} if p0 == 0.5 else set())
    dense = np.arange(1, 20_001)
    table = goal.outcomes(np.stack([dense, np.zeros_like(dense)], axis=-1))
    assert table[-1] == CERTIFIED
    np.testing.assert_array_equal(goal.outcomes(votes), alone)


def test_grid_of_looks() -> None:
    n = np.arange(0, 60_000)
    looks = next_look(n)
    assert (looks[1:] >= n[1:]).all()
    assert looks[:51].tolist() == [1, *range(1, 51)]
    np.testing.assert_array_equal(next_look(looks), looks)
    grid = np.unique(looks)
    np.testing.assert_array_equal(grid[np.searchsorted(grid, n[n <= grid[-2]])], looks[n <= grid[-2]])
    assert (np.diff(grid) <= 0.02 * grid[:-1] + 1).all()
    assert (np.diff(grid)[grid[:-1] > 5000] > 0.018 * grid[:-1][grid[:-1] > 5000]).all()
    np.testing.assert_array_equal(looked_at(n), np.isin(n, grid))
    far = np.array([10**9, 10**12])
    assert ((next_look(far) >= far) & (next_look(far) <= 1.0201 * far)).all()


# ---- the winner ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.3, 0.001])
def test_quick_test_excludes_no_winner(alpha: float) -> None:
    rng = np.random.default_rng(0)
    for k in (2, 3, 10):
        goal = TopClass(alpha, 10**6)
        n = rng.integers(1, 400, 4000)
        tables = [rng.multinomial(n, share) for share in rng.dirichlet(np.ones(k), 5)]
        tables += [all_votes(look, k) for look in (1, 7, 30)] if k < 4 else []
        named = 0
        for votes in tables:
            found = goal.certain(votes)
            np.testing.assert_array_equal(found, top_class_certain(votes, alpha))
            named += found.sum()
            n_ = votes.sum(-1)
            np.testing.assert_array_equal(goal.ended(votes), found & (next_look(n_) == n_))
        assert 0 < named < sum(map(len, tables))
    assert goal.ended(np.zeros((2, k), dtype=np.int64)).tolist() == [False, False]
    assert TopClass(alpha, 20).ended(np.array([[7, 7, 6], [7, 6, 6]])).tolist() == [True, False]


# ---- a radius to some precision --------------------------------------------------------------------------------------


PRECISION = RelativeError(0.6, 0.2, 0.05, 400, RADIUS)
LOOKS = [n for n in range(1, 400) if looked_at(np.array([n]))[0]] + [400]


@cache
def looks_at_precision() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """At every look, all votes of two classes, whether it ends there, p1_lower and p1_upper."""
    votes = np.concatenate([all_votes(n, 2) for n in LOOKS])
    upper = 1.0 - lower_bound(votes.min(-1), votes.sum(-1), PRECISION.beta)
    return votes, PRECISION.ended(votes), PRECISION.statement(votes).p1_lower, upper


def test_precision_is_reached_where_it_ends() -> None:
    votes, ended, lower, upper = looks_at_precision()
    precise = RADIUS(lower, 1 - lower) >= (1 - PRECISION.rtol) * RADIUS(upper, 1 - upper)
    np.testing.assert_array_equal(ended, precise | (votes.sum(-1) == PRECISION.max_samples))
    assert ended[upper <= 0.5].all()
    between = np.concatenate([all_votes(n, 2) for n in range(1, 400) if n not in LOOKS])
    assert not PRECISION.ended(between).any()


@pytest.mark.parametrize("p", [0.5, 0.501, 0.6, 0.7, SIGMA, 0.97])
def test_radius_where_it_stops_is_rarely_too_long(p: float) -> None:
    """Two classes, exact: P(p1_lower > p at the stop) <= alpha; P(it ends, and not so precise) <= beta."""
    state, before, wrong, imprecise, capped = np.ones(1), 0, 0.0, 0.0, 0.0
    truth = np.array([p, 1 - p])
    ends = np.cumsum([n + 1 for n in LOOKS])[:-1]
    for votes, ended, lower, _ in zip(*(np.split(each, ends) for each in looks_at_precision()), strict=True):
        n = votes[0].sum()
        state = np.convolve(state, binom.pmf(np.arange(n - before + 1), n - before, p))  # by votes for the first class
        before, true = n, truth[votes.argmax(-1)]
        wrong += state[ended & (lower > 0.5) & (lower > true)].sum()
        if n < PRECISION.max_samples:
            short = RADIUS(lower, 1 - lower) < (1 - PRECISION.rtol) * RADIUS(true, 1 - true)
            imprecise += state[ended & short].sum()
        else:
            capped = state.sum()
        state = np.where(ended, 0.0, state)
    assert wrong <= PRECISION.alpha
    assert imprecise <= PRECISION.beta
    assert wrong > 0.02 * PRECISION.alpha or p < 0.7
    assert (capped < 0.2) == (p > 0.65)


def test_precision_outcomes() -> None:
    goal = RelativeError(0.1, 0.001, 0.001, 10_000, RADIUS)
    votes = np.array([[0, 0, 0], [1, 0, 0], [90, 5, 5], [20, 20, 20], [200, 200, 200]])
    assert goal.outcomes(votes).tolist() == [[UNDECIDED], [UNDECIDED], [CERTIFIED], [UNDECIDED], [FUTILE]]
    assert goal.statement(votes).p1_lower[0] == 0
    assert goal.ended(votes).tolist() == [False, False, False, False, False]
    hopeless = np.array([[200, 200, 200 + extra] for extra in range(12)])
    ended = goal.ended(hopeless)
    np.testing.assert_array_equal(ended, looked_at(hopeless.sum(-1)))
    assert ended.any(), "it cannot be certified: at the next look it ends"
    unanimous = np.array([[n, 0, 0] for n in (50, 9999, 10_000)])
    assert goal.ended(unanimous).tolist() == [False, False, True]


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"levels": ()}, "levels must be at least one, ascending"),
        ({"levels": (Level(0.7, 0.3), Level(0.6, 0.4))}, r"got \[0.7, 0.6\]"),
        ({"levels": (Level(0.6, 0.4), Level(0.6, 0.4))}, "Name every radius once"),
        ({"alpha": 1.0}, "alpha must be"),
        ({"beta": 0.0}, "beta must be"),
        ({"max_samples": 0}, "max_samples must be an integer >= 1"),
    ],
)
def test_arguments_outside_their_domain(change: dict[str, object], match: str) -> None:
    good: dict[str, object] = {"levels": (Level(0.6, 0.4),), "alpha": 0.1, "beta": 0.1, "max_samples": 10}
    with pytest.raises(InvalidInputError, match=match):
        Exceeds(**good | change)  # type: ignore[arg-type]


def test_other_arguments_outside_their_domain() -> None:
    for p0 in (0.4, 1.0, float("nan")):
        with pytest.raises(InvalidInputError, match="p0 must be"):
            Level(p0, 1 - p0)
    for rtol in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(InvalidInputError, match="rtol must be"):
            RelativeError(rtol, 0.1, 0.1, 10, RADIUS)
    for alpha, cap in ((0.0, 10), (0.1, 0)):
        with pytest.raises(InvalidInputError):
            RelativeError(0.1, alpha, 0.1, cap, RADIUS)
        with pytest.raises(InvalidInputError, match="beta must be"):
            RelativeError(0.1, 0.1, 1.0, 10, RADIUS)
        with pytest.raises(InvalidInputError):
            TopClass(alpha, cap)


# ---- mutants: each must fail a test above ----------------------------------------------------------------------------


def test_half_the_threshold_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "log_threshold", lambda *args, **rest: log_threshold(*args, **rest) - math.log(2))
    with pytest.raises(AssertionError):
        test_no_wrong_class_is_ever_certified((0.52, 0.53, 0.54), 0.05)
    with pytest.raises(AssertionError):
        test_error_is_below_alpha_and_near_it((SIGMA,), SIGMA, 0.05)


def one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threshold of a class that was fixed before."""
    monkeypatch.setattr(rules, "log_threshold", lambda p0, alpha, **rest: -math.log(alpha))


def test_alpha_that_is_not_divided_between_classes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    one_class(monkeypatch)
    with pytest.raises(AssertionError):
        test_error_is_below_alpha_and_near_it((0.5,), 0.5, 0.05)
    with pytest.raises(AssertionError):
        test_no_wrong_class_is_ever_certified((0.501, 0.6), 0.3)


def test_a_class_chosen_by_votes_to_come_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader of the whole batch, judged from its first vote on."""

    def ahead(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        most = votes[:, votes[-1].argmax()]
        return most, votes.sum(-1) - most

    monkeypatch.setattr(rules, "leader_and_rest", ahead)
    with pytest.raises(AssertionError):
        test_decisions_vote_by_vote(0.6, 0.05, 0.3)


def test_evidence_of_futility_that_certifies_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "FUTILE", CERTIFIED)
    with pytest.raises(AssertionError):
        test_adversaries_who_stop_when_they_like(2)


def test_each_level_with_its_own_threshold_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What suffices at a higher level alone is less than what several levels at once take."""
    boundaries = mutated(
        Exceeds.__dict__["_boundaries"].func,
        "Boundary(level.p0, level.q0, self._threshold, self.prior)",
        "Boundary(level.p0, level.q0, log_threshold(level.p0, self.alpha), self.prior)",
    )
    monkeypatch.setattr(Exceeds, "_boundaries", property(boundaries))
    with pytest.raises(AssertionError):
        test_several_radii_share_the_threshold_of_the_smallest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sure.first(f)", "sure.first(f + 1)"),
        ("np.minimum(sure.first(f), futile.first(A))", "sure.first(f)"),
        ("last + 1 - f", "last + 2 - f"),
        ("np.maximum(needed[open_], left)", "needed[open_] + left"),
    ],
)
def test_waiting_too_long_is_caught(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exceeds, "pending", mutated(Exceeds.pending, old, new))
    assert any(fails(test_sampling_never_ends_before_what_is_pending, name) for name in SHARP)


def test_hope_beyond_the_cap_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exceeds, "_open", mutated(Exceeds._open, "<= self._last", "< self._last"))
    with pytest.raises(AssertionError):
        test_hopeless_images_end_before_the_cap()


def test_a_quick_test_that_is_not_necessary_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = mutated(vars(TopClass)["_pairs"].func, "in (2.0, 1.0)", "in (4.0, 1.0)")
    monkeypatch.setattr(TopClass, "_pairs", property(pairs))
    with pytest.raises(AssertionError):
        test_quick_test_excludes_no_winner(0.3)


def test_a_bound_for_one_look_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clopper and Pearson's, looked at until it is long enough."""

    def once(votes: np.ndarray, _: object, alpha: float) -> Interval:
        lower = clopper_pearson_lower(votes.max(-1), votes.sum(-1), alpha)
        return Interval(votes.argmax(-1), lower, 1.0 - lower)

    monkeypatch.setattr(AnytimeSinglePhase, "interval", lambda _self, *args: once(*args))
    looks_at_precision.cache_clear()
    try:
        assert any(fails(test_radius_where_it_stops_is_rarely_too_long, p) for p in (0.5, 0.6, 0.7, SIGMA))
    finally:
        looks_at_precision.cache_clear()
