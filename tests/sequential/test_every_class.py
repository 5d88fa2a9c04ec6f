"""Sequential statements that choose their class by the same votes: every outcome by dynamic programming, k = 2 and 3."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr
from sequential_rules import JeffreysTest, exact_law

from noiseproof.errors import InvalidInputError
from noiseproof.sequential import (
    AnytimeSinglePhase,
    TopClass,
    log_evidence,
    log_threshold,
    lower_bound,
    most_failures,
    rest_bound,
    top_class_certain,
)

Claims = Callable[[np.ndarray], np.ndarray]
"""Votes (states, k) to what is claimed of every class, (states, k): its p_j is at least this; 0 claims nothing."""

BEST = 2.0
"""The claim of being a most probable class."""


def ever_wrong(claims: Claims, cases: np.ndarray, horizon: int) -> np.ndarray:
    """P(a false claim after any of 1, .., horizon votes), for k = 3 probabilities (cases, 3); exact."""
    needed = np.where(cases == cases.max(-1, keepdims=True), BEST, cases)[:, None]

    def false(votes: np.ndarray) -> np.ndarray:
        said = claims(votes)
        return np.where(said == BEST, said > needed, said > cases[:, None]).any(-1)

    return ever(false, cases, horizon)


def ever(happens: Callable[[np.ndarray], np.ndarray], cases: np.ndarray, horizon: int) -> np.ndarray:
    """P(it happens after any of 1, .., horizon votes), for k = 3 probabilities (cases, 3); exact.

    `happens` takes all votes (states, 3) of one number, and says for every case and state whether it does.
    """
    state = np.zeros((len(cases), horizon + 2, horizon + 2))  # by the votes for the first two classes
    state[:, 0, 0] = 1.0
    found = np.zeros(len(cases))
    p = cases[:, :, None, None]
    for n in range(1, horizon + 1):
        before, moved = state[:, : n + 1, : n + 1], np.zeros((len(cases), n + 1, n + 1))
        moved += before * p[:, 2]
        moved[:, 1:] += before[:, :-1] * p[:, 0]
        moved[:, :, 1:] += before[:, :, :-1] * p[:, 1]
        first, second = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
        inside = first + second <= n
        mask = np.zeros(moved.shape, dtype=bool)
        mask[:, inside] = happens(np.stack([first, second, n - first - second], axis=-1)[inside])
        found += np.where(mask, moved, 0.0).sum((1, 2))
        state[:, : n + 1, : n + 1] = np.where(mask, 0.0, moved)
    return found


def simplex(top: float, *, parts: int = 4) -> list[np.ndarray]:
    """Probabilities of three classes whose largest is `top`: the rest split in several ways, two classes among them."""
    rest = 1.0 - top
    shares = np.linspace(0.5, 1.0, parts)
    return [np.array([top, rest * s, rest * (1 - s)]) for s in shares if rest * s <= top + 1e-12]


def cases_near(p0: float) -> np.ndarray:
    """Where a wrong class is likeliest: at and just around p0, at 1/2, near ties of two and three."""
    tops = {p0, p0 + 1e-9, 0.5, 0.5 + 1e-9, 0.5 + 0.5 * (p0 - 0.5), 0.45, 1 / 3 + 1e-9, 0.4, 1 - (1 - p0) / 2}
    return np.array([case for top in sorted(tops) for case in simplex(top)])


# ---- one radius, every class -----------------------------------------------------------------------------------------


def certified(p0: float, level: float) -> Claims:
    """Every class that has the evidence is claimed to have p_j > p0."""
    more = np.nextafter(p0, 1.0)

    def claims(votes: np.ndarray) -> np.ndarray:
        n = votes[0].sum()
        return np.where(n - votes <= most_failures(np.array([n]), p0, level), more, 0.0)

    return claims


@pytest.mark.parametrize("alpha", [0.3, 0.05])
@pytest.mark.parametrize("p0", [0.5, 0.52, 0.6, 0.75])
def test_no_wrong_class_is_ever_certified(p0: float, alpha: float) -> None:
    worst = ever_wrong(certified(p0, log_threshold(p0, alpha)), cases_near(p0), 60).max()
    assert worst <= alpha
    assert worst > 0.35 * alpha, "the correction is given away"


def test_a_class_chosen_by_its_own_votes_needs_the_correction() -> None:
    """Mutant: the leader so far, tested as if it had been fixed before."""
    alpha = 0.05
    assert ever_wrong(certified(0.5, -math.log(alpha)), cases_near(0.5), 120).max() > alpha


@pytest.mark.parametrize(
    ("p0", "p"), [(0.5, (0.5, 0.5)), (0.55, (0.55, 0.45)), (0.75, (0.75, 0.25)), (0.6, (0.5, 0.5))]
)
def test_two_classes_over_a_long_run(p0: float, p: tuple[float, float]) -> None:
    """k = 2 to n = 5000: each class by the law of one; their sum bounds the union."""
    alpha = 0.001
    rule = JeffreysTest(p0, alpha, every_class=True)
    total = sum(exact_law(rule, own, 5000).certified for own in p)
    assert total <= alpha
    if max(p) == p0:
        assert total > 0.5 * alpha


@pytest.mark.parametrize("p0", [0.51, 0.6, float(ndtr(0.5)), float(ndtr(1.0))])
@pytest.mark.parametrize("alpha", [0.3, 0.001])
def test_bounds_of_the_proof(p0: float, alpha: float) -> None:
    """g(1/2) <= c/T, and g(p)/p does not decrease on [0, 1/2]."""
    level = log_threshold(p0, alpha)
    c = math.expm1(level + math.log(alpha))
    rule = JeffreysTest(p0, alpha, every_class=True)
    half = exact_law(rule, 0.5, 5000).certified
    assert half <= c * math.exp(-level)
    shares = [exact_law(rule, p, 3000).certified / p for p in (0.1, 0.2, 0.3, 0.4, 0.45, 0.5)]
    assert (np.diff(shares) >= 0).all()


def test_ten_classes_by_simulation() -> None:
    """k = 10 at the least favourable shares, alpha = .3, p0 = .52: sampled, as exact states are too many."""
    p0, alpha, runs, horizon = 0.52, 0.3, 4000, 150
    rng = np.random.default_rng(0)
    level = log_threshold(p0, alpha)
    most = most_failures(np.arange(1, horizon + 1), p0, level)
    for top in (0.52, 0.5, 0.3):
        p = np.array([top, *([(1 - top) / 9] * 9)])
        drawn = rng.choice(10, p=p, size=(runs, horizon))
        wrong = np.zeros(runs, dtype=bool)
        for j in range(10):
            failures = np.cumsum(drawn != j, axis=1)
            wrong |= (failures <= most).any(1)
        assert wrong.mean() <= alpha + 4 * math.sqrt(alpha / runs)
        assert wrong.mean() > 0.2 * alpha or top < 0.5


@pytest.mark.parametrize("k", [2, 3])
def test_giving_up_on_the_leader_spares_the_certifiable(k: int) -> None:
    """The leader alone is asked; a class with p > p0 is given up with probability <= beta although the leader may vary."""
    p0, beta = 0.8, 0.2
    rule = JeffreysTest(p0, 0.001, every_class=True, beta=beta)

    def claims(votes: np.ndarray) -> np.ndarray:
        n = votes[0].sum()
        futile = n - votes.max(-1) >= rule.given_up_from(np.array([n]))
        return np.repeat(np.where(futile, 1.0, 0.0)[:, None], 3, axis=1)  # false for every class: it counts as an event

    p = np.array([[0.8, 0.2, 0.0]]) if k == 2 else np.array([[0.8, 0.1, 0.1]])
    given_up = ever_wrong(claims, p, 70)[0]
    assert 0.01 * beta < given_up <= beta
    assert ever_wrong(claims, np.array([[0.34, 0.33, 0.33]]), 70)[0] > 0.9


# ---- the winner ------------------------------------------------------------------------------------------------------


def leader(votes: np.ndarray, claim: np.ndarray) -> np.ndarray:
    """Put a claim (states) on the class with most votes, as `argmax` names it."""
    claims = np.zeros(votes.shape)
    np.put_along_axis(claims, votes.argmax(-1)[:, None], claim[:, None], axis=-1)
    return claims


def winner(alpha: float) -> Claims:
    """A certain winner is claimed to be a most probable class."""
    return lambda votes: leader(votes, np.where(top_class_certain(votes, alpha), BEST, 0.0))


TIES = np.array(
    [
        (1 / 3 + 2e-9, 1 / 3 - 1e-9, 1 / 3 - 1e-9), (0.5 + 1e-9, 0.5 - 1e-9, 0.0), (0.48, 0.47, 0.05), (0.4, 0.39, 0.21),
        (0.45, 0.275, 0.275), (0.36, 0.35, 0.29), (0.55, 0.45, 0.0), (0.7, 0.2, 0.1),
    ]
)  # fmt: skip


@pytest.mark.parametrize("alpha", [0.3, 0.05])
def test_a_wrong_winner_is_never_certain(alpha: float) -> None:
    assert ever_wrong(winner(alpha), TIES, 60).max() <= alpha


@pytest.mark.parametrize("classes", [10, 30, 100])
def test_a_wrong_winner_is_rarely_certain_among_many_classes(classes: int) -> None:
    """All are about equally probable, so that nearly every name is wrong; the pairs must pay for the number of classes."""
    alpha, runs, looks = 0.3, 400, np.arange(1, 61)
    chances = np.full(classes, 1.0 / classes) + 1e-9 * (np.arange(classes) == 0)
    drawn = np.random.default_rng(classes).choice(classes, size=(runs, looks[-1]), p=chances / chances.sum())
    wrong = np.zeros(runs, dtype=bool)
    for look in looks:
        votes = np.apply_along_axis(np.bincount, 1, drawn[:, :look], minlength=classes)
        wrong |= top_class_certain(votes, alpha) & (votes.argmax(-1) != 0)
    assert wrong.mean() <= alpha


def test_wrong_winners_of_two_classes() -> None:
    """k = 2: at a near tie the error is that of one test of p = 1/2, below alpha and near it."""
    alpha = 0.05
    rule = JeffreysTest(0.5, alpha)
    n = np.arange(1, 401)
    most = rule.certified_up_to(n)
    for look in (8, 50, 200):
        named = top_class_certain(np.stack([look - np.arange(look // 2), np.arange(look // 2)], axis=-1), alpha)
        assert named.sum() == most[look - 1] + 1
    assert 0.5 * alpha < exact_law(rule, 0.5, 5000).certified <= alpha


def test_winner_against_the_wrong_rival_is_caught() -> None:
    """Mutant: the winner is tested against the class with fewest votes."""
    alpha = 0.3

    def careless(votes: np.ndarray) -> np.ndarray:
        ordered = np.sort(votes, axis=-1)
        evidence = log_evidence(ordered[:, 2], ordered[:, 0], 0.5)  # against the last instead of the runner-up
        return leader(votes, np.where(evidence >= -math.log(alpha), BEST, 0.0))

    assert ever_wrong(careless, TIES, 60).max() > alpha


@pytest.mark.parametrize(
    "votes",
    [[12, 3], [60, 40], [9, 0, 0], [40, 3, 2], [70, 40, 30], [60, 25, 20, 20], [50, 12] + [1] * 8, [20] + [2] * 98],
)
def test_a_winner_is_certain_from_the_level_of_the_formula_on(votes: list[int]) -> None:
    """Two-sided: by the mean over pairs or by the majority, each at alpha / 2; of two classes by the one pair at alpha."""

    def evidence(winner: int, other: int) -> float:
        return math.exp(float(log_evidence(np.array(winner), np.array(other), 0.5)))

    *others, runner_up, winner = sorted(votes)
    pairs = np.mean([evidence(rival, runner_up) for rival in [*others, winner]])
    majority = evidence(winner, sum(votes) - winner)
    level = 1.0 / pairs if len(votes) == 2 else 2.0 / max(pairs, majority)
    assert 0.0 < level < 0.9
    assert top_class_certain(np.array(votes), level * (1.0 + 1e-6))
    assert not top_class_certain(np.array(votes), level * (1.0 - 1e-6))


def test_clear_winners_are_named_soon() -> None:
    assert TopClass(0.001, 100).votes_needed(2) == 12
    for k in (3, 10, 1000):
        assert TopClass(0.001, 100).votes_needed(k) <= 14
        assert top_class_certain(np.array([60, 10] + [1] * (k - 2)), 0.001)
        assert not top_class_certain(np.array([30, 28] + [1] * (k - 2)), 0.001)
    # pairs see what a majority does not: 300 of 1000 against 30 each
    assert top_class_certain(np.array([100] + [30] * 9), 0.001)
    with pytest.raises(InvalidInputError, match="alpha"):
        top_class_certain(np.array([3, 1]), 1.0)


# ---- anytime radius --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.3, float(ndtr(0.5)), 0.95])
@pytest.mark.parametrize("alpha", [0.3, 0.01])
def test_lower_bound_covers_at_every_look(p: float, alpha: float) -> None:
    """P(L(A, n) > p for some n <= 250) by dynamic programming over the bound's own values."""
    horizon = 250
    state, missed = np.ones(1), 0.0
    for n in range(1, horizon + 1):
        moved = np.zeros(n + 1)  # by successes
        moved[:-1] = (1 - p) * state
        moved[1:] += p * state
        heavy = np.flatnonzero(moved > 1e-18)
        false = lower_bound(heavy, np.full(len(heavy), n), alpha) > p
        missed += moved[heavy[false]].sum()
        moved[heavy[false]] = 0.0
        state = moved
    assert 0.5 * alpha < missed <= alpha


@pytest.mark.parametrize("alpha", [0.5, 0.05, 1e-3, 1e-9])
def test_lower_bound_is_where_its_evidence_is(alpha: float) -> None:
    """Never above the true bound, and 1 - L within 1e-12 of it: the evidence, between 1 - L and (1 - 1e-12) (1 - L)."""
    n = np.array([1, 2, 7, 100, 5000, 10**5, 10**7])
    for share in (0.001, 0.3, 0.7, 0.99, 1.0):
        successes = np.maximum(np.ceil(share * n), 1).astype(np.int64)
        low, rest = lower_bound(successes, n, alpha), rest_bound(successes, n, alpha)
        high = low < 0.5
        assert (log_evidence(successes, n - successes, 1 - rest, q0=rest) >= -math.log(alpha))[~high].all()
        tighter = rest * (1 - 1e-12)
        assert (log_evidence(successes, n - successes, 1 - tighter, q0=tighter) < -math.log(alpha) + 1e-13)[~high].all()
        assert (log_evidence(successes, n - successes, low) >= -math.log(alpha))[high].all()
        assert (log_evidence(successes, n - successes, low * (1 + 1e-12)) < -math.log(alpha))[high].all()
        np.testing.assert_allclose(low, 1 - rest, rtol=1e-12, atol=2e-15)
        assert (low <= 1 - rest + 2e-15).all()


def test_lower_bound_is_monotone() -> None:
    for n in (1, 50, 3000, 10**7):
        successes = np.unique(np.linspace(0, n, 3001).astype(np.int64))
        found = lower_bound(successes, np.full_like(successes, n), 0.001)
        assert found[0] == 0.0
        assert (np.diff(found) > 0).all()
        assert (found < np.maximum(successes / n, 1e-300)).all()
    assert 0 < lower_bound(np.array([1]), np.array([1]), 1e-300)[0] < 1e-299
    more = np.arange(40, 5000)
    assert (np.diff(lower_bound(np.full_like(more, 40), more, 0.001)) < 0).all()


def test_lower_bound_agrees_with_decisions() -> None:
    """A radius is certified now exactly if the bound of now is at least its p0."""
    rng = np.random.default_rng(0)
    n = rng.integers(1, 20_000, 3000)
    successes = rng.binomial(n, 0.86)
    for r in (0.5, 1.0, 2.0):
        p0 = float(ndtr(r))
        certified = JeffreysTest(p0, 0.001).decide(successes, n) == 1
        assert (certified == (lower_bound(successes, n, 0.001) >= p0)).all()


@pytest.mark.parametrize("bad", [(3, 2), (-1, 2)])
def test_lower_bound_outside_its_domain(bad: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="successes must be between 0 and n"):
        lower_bound(np.array([bad[0]]), np.array([bad[1]]), 0.05)


def stated(bound: AnytimeSinglePhase, alpha: float) -> Claims:
    """The bound's p1_lower, claimed of the class it names wherever it says more than 1/2."""

    def claims(votes: np.ndarray) -> np.ndarray:
        found = bound(votes, alpha=alpha)
        assert (found.prediction == votes.argmax(-1)).all()
        return leader(votes, np.where(found.p1_lower > 0.5, found.p1_lower, 0.0))

    return claims


@pytest.mark.parametrize("alpha", [0.3, 0.05])
@pytest.mark.parametrize("eta", [0.02, 0.5])
def test_anytime_statement_holds_at_every_look(alpha: float, eta: float) -> None:
    cases = np.concatenate([cases_near(0.7), TIES])
    worst = ever_wrong(stated(AnytimeSinglePhase(eta=eta), alpha), cases, 40).max()
    assert worst <= alpha
    assert worst > 0.3 * alpha or eta == 0.5


@pytest.mark.parametrize("alpha", [0.3, 0.001])
@pytest.mark.parametrize("eta", [0.02, 0.25, 0.5])
def test_anytime_statement_spends_each_share_of_alpha_exactly(alpha: float, eta: float) -> None:
    """Two-sided: the evidence at the bound is 1/((1 - eta) alpha), and a class is named from 1/(eta alpha) on, not later."""
    n = np.repeat([30, 200, 5000], 40)
    winner = np.ceil(n * np.tile(np.linspace(0.5, 1.0, 40), 3)).astype(np.int64)
    votes = np.stack([winner, n - winner], axis=-1)
    found = AnytimeSinglePhase(eta=eta)(votes, alpha=alpha)
    named = found.p1_lower > 0.0
    assert (named == (log_evidence(winner, n - winner, 0.5) >= -math.log(eta * alpha))).all()
    assert named.any()
    lower, rest = 1.0 - found.p2_upper[named], found.p2_upper[named]
    excess = log_evidence(winner[named], (n - winner)[named], lower, q0=rest) + math.log((1.0 - eta) * alpha)
    assert (excess >= 0.0).all()
    assert (excess < 1e-9).all()
    assert (found.p1_lower[named] <= lower).all()
    np.testing.assert_allclose(found.p1_lower[named], lower, rtol=1e-15)


def test_anytime_statement_without_naming_is_caught() -> None:
    """Mutant: the confidence sequence of whichever class leads, at the full alpha."""

    def unnamed(votes: np.ndarray) -> np.ndarray:
        lower = lower_bound(votes.max(-1), votes.sum(-1), 0.3)
        return leader(votes, np.where(lower > 0.5, lower, 0.0))

    assert ever_wrong(unnamed, cases_near(0.5), 50).max() > 0.3
