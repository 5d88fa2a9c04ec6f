"""Bounds against reference values and by exact enumeration: the failure probability of every possible classifier."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import combinations, product
from math import comb

import mpmath as mp
import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import binom

from noiseproof.bounds import (
    Bonferroni,
    Bound,
    Interval,
    SinglePhase,
    TwoPhase,
    WinnerRunnerUp,
    clopper_pearson_lower,
    clopper_pearson_upper,
    rank_p_value,
    rank_verified,
    registry,
    votes_to_verify,
)
from noiseproof.bounds.single_phase import threshold_votes
from noiseproof.certificates import NeymanPearson, Renyi, separated
from noiseproof.certified import samples_needed
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian

BOUNDS: list[Bound] = [
    Bonferroni(),
    TwoPhase(selection_samples=5),
    SinglePhase(),
    SinglePhase(eta=0.5),
    WinnerRunnerUp(),
    WinnerRunnerUp(eta=0.4),
    WinnerRunnerUp(runner_up_share=0.5),
]
"""The law table of bounds: each test of coverage and of the contract runs on all of them."""


def test_every_bound_of_the_registry_has_its_row() -> None:
    assert {type(bound) for bound in BOUNDS} == set(registry.BOUNDS.values())


CLOPPER_PEARSON = [
    (100, 100, 0.05, 0.9704869503929601),
    (95, 100, 0.05, 0.8977466223567255),
    (90, 100, 0.05, 0.8362823767241852),
    (100, 100, 0.001, 0.933254300796991),
    (990, 1000, 0.001, 0.9760361871553114),
    (1000, 1000, 0.001, 0.9931160484209338),
    (9900, 10000, 0.001, 0.9865311593238062),
]


@pytest.mark.parametrize(("successes", "n", "alpha", "expected"), CLOPPER_PEARSON)
def test_clopper_pearson_reference(successes: int, n: int, alpha: float, expected: float) -> None:
    lower = clopper_pearson_lower(np.array([successes]), np.array([n]), alpha)
    upper = clopper_pearson_upper(np.array([n - successes]), np.array([n]), alpha)
    assert lower[0] == pytest.approx(expected, rel=1e-13)
    assert upper[0] == pytest.approx(1 - expected, rel=1e-12)


@pytest.mark.parametrize("n", [3, 17, 1000, 100_000])
@pytest.mark.parametrize("alpha", [0.05, 1e-3, 1e-6])
def test_clopper_pearson_solves_its_own_equation(n: int, alpha: float) -> None:
    """P(Bin(n, lo(N)) >= N) = alpha in 40-digit arithmetic, for the N whose tails are short sums."""
    tails = {
        1: lambda p: 1 - (1 - p) ** n,
        n - 1: lambda p: p**n + n * p ** (n - 1) * (1 - p),
        n: lambda p: p**n,
    }
    for successes, tail in tails.items():
        lower = clopper_pearson_lower(np.array([successes]), np.array([n]), alpha)[0]
        upper = clopper_pearson_upper(np.array([n - successes]), np.array([n]), alpha)[0]
        with mp.workdps(40):
            assert float(tail(mp.mpf(float(lower)))) == pytest.approx(alpha, rel=1e-8)
            assert float(tail(1 - mp.mpf(float(upper)))) == pytest.approx(alpha, rel=1e-8)
    assert clopper_pearson_lower(np.array([0]), np.array([n]), alpha)[0] == 0.0
    assert clopper_pearson_upper(np.array([n]), np.array([n]), alpha)[0] == 1.0


def tail_to_34_digits(p: mp.mpf, successes: int, n: int) -> mp.mpf:
    """P(Bin(n, p) >= N), summed upwards."""
    term = total = mp.mpf(1)
    ratio = p / (1 - p)
    for j in range(successes, n):
        term *= (n - j) * ratio / (j + 1)
        total += term
        if term < total * mp.mpf(10) ** -24:
            break
    coefficient = mp.loggamma(n + 1) - mp.loggamma(successes + 1) - mp.loggamma(n - successes + 1)
    return total * mp.exp(coefficient + successes * mp.log(p) + (n - successes) * mp.log(1 - p))


def counts_of_all_sizes(count: int, largest: float) -> list[tuple[int, int, float]]:
    """N, n and alpha: N anywhere, near n and near 0."""
    rng = np.random.default_rng(3)
    found = []
    for kind in range(count):
        n = int(10.0 ** rng.uniform(0, largest))
        few = min(n, int(10.0 ** rng.uniform(0, 3)))
        successes = (int(rng.integers(1, n + 1)), few, n - few + 1)[kind % 3]
        found.append((successes, n, float(10.0 ** rng.uniform(-9, -0.02))))
    return found


def test_no_clopper_pearson_bound_is_above_its_level() -> None:
    """P(Bin(n, lo(N)) >= N) <= alpha at the float64 number returned, to 34 digits; and close to it from below."""
    cases = [*counts_of_all_sizes(200, 7.5), (32_809, 203_235, 7.95868628e-09), (321_463, 5_408_660, 5.98422085e-08)]
    with mp.workdps(34):
        for successes, n, alpha in cases:
            lower = float(clopper_pearson_lower(np.array([successes]), np.array([n]), alpha)[0])
            upper = float(clopper_pearson_upper(np.array([n - successes]), np.array([n]), alpha)[0])
            for p in (mp.mpf(lower), 1 - mp.mpf(upper)):
                level = tail_to_34_digits(p, successes, n) / mp.mpf(alpha) if p else mp.mpf(0)
                assert level <= 1, (successes, n, alpha)
            # one unit of the last digit of lo moves the level by n / (1 - p) units
            assert tail_to_34_digits(mp.mpf(lower), successes, n) >= alpha * (
                1 - 6 * (2e-12 + 2e-17 * n) - 4e-16 * n / (1 - lower) - 4e-16 / alpha
            )


def test_clopper_pearson_in_rational_arithmetic() -> None:
    for n in (1, 2, 5, 20, 60):
        for successes in range(1, n + 1):
            for alpha in (0.05, 0.001, 1 / 3):
                lower = Fraction(float(clopper_pearson_lower(np.array([successes]), np.array([n]), alpha)[0]))
                upper = Fraction(float(clopper_pearson_upper(np.array([n - successes]), np.array([n]), alpha)[0]))
                for p in (lower, 1 - upper):
                    tail = sum(comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(successes, n + 1))
                    assert Fraction(alpha) * (1 - Fraction(2, 10**11)) < tail <= Fraction(alpha)


@pytest.mark.parametrize(
    ("n", "alpha", "cohen", "renyi"),
    [
        (100, 0.05, 1.8880, 1.5353),
        (100, 0.001, 1.5005, 1.2121),
        (1000, 0.05, 2.7487, 2.2745),
        (1000, 0.001, 2.4633, 2.0260),
        (10_000, 0.05, 3.4320, 2.8814),
        (10_000, 0.001, 3.1986, 2.6722),
        (100_000, 0.05, 4.0132, 3.4094),
        (100_000, 0.001, 3.8115, 3.2251),
    ],
)
def test_radius_of_unanimous_votes(n: int, alpha: float, cohen: float, renyi: float) -> None:
    found = TwoPhase()(np.array([[n, 0]]), alpha=alpha, selection_votes=np.array([[100, 0]]))
    for certificate, expected in ((NeymanPearson(), cohen), (Renyi(), renyi)):
        radius = certificate.radius(Gaussian(1.0), found.p1_lower, found.p2_upper)
        assert radius[0] == pytest.approx(expected, abs=5e-5)


# ---- coverage, by enumeration of every possible outcome --------------------------------------------------------------


@cache
def compositions(n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All vote vectors of n votes over k classes, and the logarithms of their multinomial coefficients."""
    votes = np.array([votes for votes in product(range(n + 1), repeat=k) if sum(votes) == n], dtype=np.int64)
    return votes, gammaln(n + 1) - gammaln(votes + 1).sum(1)


def multinomial(n: int, p: np.ndarray) -> np.ndarray:
    """The probability of every vote vector; a vote for an impossible class weighs 1e-300."""
    votes, coefficients = compositions(n, len(p))
    return np.exp(coefficients + votes @ np.log(np.maximum(p, 1e-300)))


class Enumeration:
    """Every outcome of both phases with the bound's statement on it, to be weighed by any true probabilities."""

    def __init__(self, bound: Callable[..., Interval], n: int, k: int, alpha: float, selection: int = 0) -> None:
        self.n, self.selection = n, selection
        votes, _ = compositions(n, k)
        chosen = compositions(selection, k)[0] if selection else np.zeros((1, k), dtype=np.int64)
        repeated = np.repeat(chosen, len(votes), axis=0) if selection else None
        self.found = bound(np.tile(votes, (len(chosen), 1)), alpha=alpha, selection_votes=repeated)
        self.issued = separated(self.found.p1_lower, self.found.p2_upper)

    def failure_probability(self, p: np.ndarray) -> tuple[float, float]:
        """(a statement is wrong, a class that is not the most probable is certified)."""
        mass = multinomial(self.n, p)
        if self.selection:
            mass = np.outer(multinomial(self.selection, p), mass).ravel()
        wrong_class = self.issued & (p[self.found.prediction] < p.max())
        return float(mass[false_statement(self.found, p)].sum()), float(mass[wrong_class].sum())


def false_statement(found: Interval, p: np.ndarray) -> np.ndarray:
    """Where the bound's statement is wrong: the class's p below its lower bound, or a rival's above the upper one."""
    own = p[found.prediction]
    rivals = np.where(np.arange(len(p)) == found.prediction[:, None], -1.0, p)
    return (own < found.p1_lower - 1e-15) | (rivals.max(1) > found.p2_upper + 1e-15)


def adversarial_probabilities(n: int, k: int, alpha: float) -> list[np.ndarray]:
    """True probabilities where a bound is most likely to fail: just below its own endpoints, near ties, on a grid."""
    levels = [alpha, alpha / (2 * k), 0.98 * alpha, 0.49 * alpha, 0.5 * alpha, 0.3 * alpha]
    ends = [
        clopper_pearson_lower(np.array([s]), np.array([n]), a)[0]
        for s in range(1, n + 1, max(1, n // 15))
        for a in levels
    ]
    tops = sorted({round(e - 1e-9, 12) for e in ends} | {0.5, 0.5 - 1e-6, 0.5 + 1e-6, 0.9, 0.99, 1.0})
    cases = []
    for top in tops:
        rest = 1.0 - top
        shares = [(1.0,)] if k == 2 else [(1.0, 0.0), (0.5, 0.5), (0.8, 0.2)]
        cases += [np.array([top, *(rest * s for s in share)]) for share in shares]
    return cases


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
@pytest.mark.parametrize(("n", "k"), [(1, 2), (4, 2), (13, 2), (30, 2), (60, 2), (3, 3), (9, 3), (14, 3), (60, 3)])
@pytest.mark.parametrize("bound", BOUNDS, ids=repr)
def test_coverage_is_exact(bound: Bound, n: int, k: int, alpha: float) -> None:
    worst, outcomes = 0.0, Enumeration(bound, n, k, alpha, bound.selection_samples)
    for p in adversarial_probabilities(n, k, alpha):
        wrong, certified_wrong = outcomes.failure_probability(p)
        assert wrong <= alpha * (1 + 1e-9), f"statement fails with probability {wrong} at p = {p}"
        assert certified_wrong <= alpha * (1 + 1e-9)
        worst = max(worst, wrong)
    if bound in (BOUNDS[1], SinglePhase()) and n >= 13 and k == 2 and alpha >= 0.05:
        assert worst > 0.6 * alpha, "far more careful than alpha asks: power is being given away"


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.25])
def test_votes_of_unequal_probabilities_bound_their_mean(alpha: float) -> None:
    """Hoeffding (1956): where every place of a batch has a probability of its own, the bound holds for their mean."""
    n, worst = 24, 0.0
    lower = clopper_pearson_lower(np.arange(n + 1), np.full(n + 1, n), alpha)
    for p in np.linspace(0.5, 0.98, 25):
        for spread in (0.0, 0.002, 0.02, min(p, 1.0 - p)):
            law = np.ones(1)
            for place in range(n):  # the law of a sum of independent votes
                q = p + (spread if place % 2 else -spread)
                law = np.convolve(law, [1.0 - q, q])
            wrong = law[lower > p * (1 + 1e-12)].sum()
            assert wrong <= alpha * (1 + 1e-9)
            worst = max(worst, wrong)
    assert worst > 0.3 * alpha


def test_the_mean_of_unequal_probabilities_is_bounded_at_small_alpha_only() -> None:
    """Votes of probability 0 and 1 have mean 1/2 and one success of two for certain: the bound of that is above 1/2."""
    one, two = np.array([1]), np.array([2])
    assert clopper_pearson_lower(one, two, 0.8)[0] > 0.5
    assert clopper_pearson_lower(one, two, 0.25)[0] < 0.5


def test_bonferroni_is_not_needlessly_careful() -> None:
    """Just below its own endpoint one of its 2k bounds fails with nearly alpha / 2k; two of them at k = 2."""
    alpha, n, k = 0.3, 30, 2
    outcomes = Enumeration(Bonferroni(), n, k, alpha)
    worst = max(outcomes.failure_probability(p)[0] for p in adversarial_probabilities(n, k, alpha))
    assert worst > 0.9 * alpha / (2 * k)


# Mutants: mistakes that others have published. The enumeration above must see each of them.


def frequency(votes: np.ndarray, *, alpha: float, selection_votes: np.ndarray | None) -> Interval:
    p1 = votes.max(-1) / votes.sum(-1)
    return Interval(votes.argmax(-1), p1, 1.0 - p1)


def no_selection_correction(votes: np.ndarray, *, alpha: float, selection_votes: np.ndarray | None) -> Interval:
    p1 = clopper_pearson_lower(votes.max(-1), votes.sum(-1), alpha)
    return Interval(votes.argmax(-1), p1, 1.0 - p1)


def twice_alpha(votes: np.ndarray, *, alpha: float, selection_votes: np.ndarray | None) -> Interval:
    return TwoPhase(5)(votes, alpha=min(2 * alpha, 0.999), selection_votes=selection_votes)


def selection_votes_reused(votes: np.ndarray, *, alpha: float, selection_votes: np.ndarray | None) -> Interval:
    return TwoPhase(5)(votes, alpha=alpha, selection_votes=votes)


@pytest.mark.parametrize("mutant", [frequency, no_selection_correction, twice_alpha, selection_votes_reused])
def test_enumeration_sees_mutants(mutant: Callable[..., Interval]) -> None:
    n, k, alpha = 13, 2, 0.05
    selection = 5 if mutant is twice_alpha else 0
    cases = adversarial_probabilities(n, k, alpha)
    ends = [clopper_pearson_lower(np.array([s]), np.array([n]), 2 * alpha)[0] - 1e-9 for s in range(1, n + 1)]
    cases += [np.array([top, 1 - top]) for top in ends]
    outcomes = Enumeration(mutant, n, k, alpha, selection)
    assert max(outcomes.failure_probability(p)[0] for p in cases) > alpha


@pytest.mark.slow
@pytest.mark.parametrize("bound", [TwoPhase(), SinglePhase(), WinnerRunnerUp(), Bonferroni()], ids=repr)
def test_coverage_with_ten_classes(bound: Bound) -> None:
    """Monte Carlo at k = 10 with p_1 just below an endpoint of the bound: both sides, so that timidity fails too."""
    rng, alpha, n, runs = np.random.default_rng(0), 0.05, 200, 40_000
    # the level at which the winner's lower bound is taken, and with it the failure rate to expect
    levels = {
        "TwoPhase": alpha,
        "SinglePhase": 0.98 * alpha,
        "WinnerRunnerUp": 0.98 * 0.9 * alpha,
        "Bonferroni": alpha / 20,
    }
    level = levels[type(bound).__name__]
    top = float(clopper_pearson_lower(np.array([150]), np.array([n]), level)[0]) - 1e-9
    p = np.array([top, *([(1 - top) / 9] * 9)])
    votes, selection = rng.multinomial(n, p, runs), rng.multinomial(100, p, runs)
    rate = false_statement(bound(votes, alpha=alpha, selection_votes=selection), p).mean()
    exact = binom.sf(149, n, top)
    assert exact == pytest.approx(level, rel=1e-3)
    assert abs(rate - exact) < 5 * np.sqrt(exact / runs)
    assert 0.7 * level < rate <= alpha + 4 * np.sqrt(alpha / runs)


@pytest.mark.parametrize(
    ("n", "alpha", "threshold"),
    [
        *((100, 0.05, 66), (100, 0.001, 71), (1000, 0.05, 550), (1000, 0.001, 566)),
        *((10_000, 0.05, 5156), (10_000, 0.001, 5206), (100_000, 0.05, 50_490), (100_000, 0.001, 50_650)),
    ],
)
def test_threshold_of_the_single_phase(n: int, alpha: float, threshold: int) -> None:
    assert threshold_votes(np.array([n, n]), 0.02 * alpha).tolist() == [threshold] * 2
    assert binom.sf(threshold - 1, n, 0.5) <= 0.02 * alpha < binom.sf(threshold - 2, n, 0.5)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ((0.6, 0.2), {"WinnerRunnerUp": 0.533, "Bonferroni": 0.531, "SinglePhase": 0.241}),
        ((0.45, 0.2), {"WinnerRunnerUp": 0.344, "SinglePhase": 0.0}),
    ],
)
def test_mean_radius_where_no_class_dominates(p: tuple[float, float], expected: dict[str, float]) -> None:
    """n = 100 000 at alpha = 0.001, ten classes: what the second bound is worth."""
    rest = (1 - sum(p)) / 8
    votes = np.random.default_rng(0).multinomial(100_000, [*p, *([rest] * 8)], 400)
    for bound in (WinnerRunnerUp(), Bonferroni(), SinglePhase()):
        if type(bound).__name__ in expected:
            found = bound(votes, alpha=0.001)
            radius = NeymanPearson().radius(Gaussian(1.0), found.p1_lower, found.p2_upper).mean()
            assert radius == pytest.approx(expected[type(bound).__name__], abs=1e-3)


# ---- the abstention test of predict ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.001, 0.05])
@pytest.mark.parametrize(("n", "k"), [(12, 2), (40, 2), (12, 3), (20, 3)])
def test_rank_test_rarely_names_a_wrong_class(n: int, k: int, alpha: float) -> None:
    votes, _ = compositions(n, k)
    named = rank_verified(votes, alpha)
    ties = [np.full(k, 1 / k)] if k == 2 else [np.full(3, 1 / 3), np.array([0.5, 0.5, 0.0]), np.array([0.4, 0.4, 0.2])]
    near = [np.array([0.5 + 1e-6, *([0.5 - 1e-6, 0.0][: k - 1])]), np.array([0.6, *([0.4, 0.0][: k - 1])])]
    for p in ties + near:
        # At a tie no class is the single most probable one, so any name counts as wrong.
        tie = np.isclose(p, p.max(), atol=0).sum() > 1
        wrong = named if tie else named & (p[votes.argmax(1)] < p.max())
        assert multinomial(n, p)[wrong].sum() <= alpha * (1 + 1e-9)


def test_rank_p_value_is_the_binomial_tail() -> None:
    for first, second in [(7, 3), (50, 50), (51, 49), (12, 0), (600, 400)]:
        expected = min(1.0, 2 * binom.sf(first - 1, first + second, 0.5))
        assert rank_p_value(np.array([first, second])) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.05, 0.001, 2.0**-20])
def test_votes_to_verify_is_the_smallest_number(alpha: float) -> None:
    n = votes_to_verify(alpha)
    assert rank_verified(np.array([n, 0]), alpha)
    assert n == 1 or not rank_verified(np.array([n - 1, 0]), alpha)


def test_fair_coin_abstains() -> None:
    votes = np.arange(1001)
    named = binom.pmf(votes, 1000, 0.5)[rank_verified(np.stack([votes, 1000 - votes], axis=1), 0.05)].sum()
    assert 0.03 < named <= 0.05


# ---- contract --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", BOUNDS, ids=repr)
@pytest.mark.parametrize("alpha", [0.6, 0.05, 0.001, 1e-9])
@pytest.mark.parametrize("k", [2, 10, 1000])
def test_samples_needed_is_the_smallest_number(bound: Bound, alpha: float, k: int) -> None:
    def certifies(n: int) -> bool:
        votes = np.zeros((1, k), dtype=np.int64)
        votes[0, 0] = n
        found = bound(votes, alpha=alpha, selection_votes=votes)
        return bool(separated(found.p1_lower, found.p2_upper)[0])

    needed = samples_needed(bound, alpha, k)
    assert certifies(needed)
    assert needed == 1 or not certifies(needed - 1)


@pytest.mark.parametrize("bound", BOUNDS, ids=repr)
def test_any_batch_shape(bound: Bound) -> None:
    votes = np.random.default_rng(0).multinomial(100, [0.5, 0.3, 0.2], size=(2, 5))
    found = bound(votes, alpha=0.05, selection_votes=votes)
    assert found.prediction.shape == found.p1_lower.shape == found.p2_upper.shape == (2, 5)
    alone = bound(votes[1, 3], alpha=0.05, selection_votes=votes[1, 3])
    assert alone.p1_lower == found.p1_lower[1, 3]


def test_ties_are_not_certified() -> None:
    votes = np.array([[50, 50, 0]])
    found = Bonferroni()(votes, alpha=0.05)
    assert found.prediction[0] == 0
    assert not separated(found.p1_lower, found.p2_upper)[0]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2, float("nan"), True, "0.05"])
def test_alpha_outside_its_domain(alpha: object) -> None:
    from noiseproof.bounds.base import require_alpha

    with pytest.raises(InvalidInputError, match="alpha must be a failure probability"):
        require_alpha(alpha)


@pytest.mark.parametrize(
    ("votes", "said"),
    [
        (np.array([[5, -1]]), "a count of -1"),
        (np.array([[0, 0]]), "without any vote"),
        (np.array([[5]]), "shape"),
    ],
)
def test_malformed_votes(votes: np.ndarray, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        Bonferroni()(votes, alpha=0.05)


def test_two_phase_needs_its_selection_votes() -> None:
    votes = np.array([[90, 10]])
    with pytest.raises(InvalidInputError, match="selection_votes must be given for TwoPhase"):
        TwoPhase()(votes, alpha=0.05)
    with pytest.raises(InvalidInputError, match="of the shape of votes"):
        TwoPhase()(votes, alpha=0.05, selection_votes=np.array([[90, 5, 5]]))
    with pytest.raises(InvalidInputError, match="selection_samples"):
        TwoPhase(selection_samples=0)


@pytest.mark.parametrize("eta", [0.0, -0.1, 0.6, 1.0, float("nan")])
def test_share_of_alpha_outside_its_domain(eta: float) -> None:
    with pytest.raises(InvalidInputError, match="eta must be in"):
        SinglePhase(eta=eta)
    if not 0 < eta < 1:
        with pytest.raises(InvalidInputError, match="eta must be in"):
            WinnerRunnerUp(eta=eta)


@pytest.mark.parametrize("alpha", [0.3, 0.001])
@pytest.mark.parametrize("eta", [0.02, 0.5])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_winner_and_runner_up_spend_each_share_of_alpha_exactly(alpha: float, eta: float, share: float) -> None:
    """Two-sided: the tails at both bounds are shares of (1 - eta) alpha, and a class is named at eta alpha, not later."""
    n, winner = 1000, np.arange(400, 1001)
    runner_up = ((n - winner) * 2 + 2) // 3
    votes = np.stack([winner, runner_up, n - winner - runner_up], axis=-1)
    found = WinnerRunnerUp(eta=eta, runner_up_share=share)(votes, alpha=alpha)
    named = found.p1_lower > 0.0
    p_value = 2.0 * binom.sf(winner - 1, winner + runner_up, 0.5)
    assert (named == (p_value <= eta * alpha)).all()
    assert 0 < named.sum() < len(named)
    level = (1.0 - eta) * alpha
    np.testing.assert_allclose(binom.sf(winner - 1, n, found.p1_lower)[named], (1.0 - share) * level, rtol=1e-9)
    below = named & (runner_up < n)
    np.testing.assert_allclose(binom.cdf(runner_up, n, found.p2_upper)[below], share * level, rtol=1e-9)


def test_records_without_a_share_mean_a_half() -> None:
    """The default is another now: what was recorded before it was a setting stays what it was, and every spec says it."""
    assert registry.BOUNDS.from_spec({"name": "WinnerRunnerUp", "eta": 0.02}) == WinnerRunnerUp(runner_up_share=0.5)
    assert registry.BOUNDS.from_spec({"name": "winner-runner-up"}) == WinnerRunnerUp(runner_up_share=0.5)
    for bound in (WinnerRunnerUp(), WinnerRunnerUp(0.1, 0.5), WinnerRunnerUp(runner_up_share=0.3)):
        spec = registry.BOUNDS.spec(bound)
        assert spec == {"name": "WinnerRunnerUp", "eta": bound.eta, "runner_up_share": bound.runner_up_share}
        assert registry.BOUNDS.from_spec(spec) == bound
    assert WinnerRunnerUp().runner_up_share == 0.1


def test_bounds_are_alike_where_they_say_the_same_of_votes() -> None:
    assert TwoPhase(1).alike(TwoPhase(100))
    for one, other in combinations((TwoPhase(), SinglePhase(), SinglePhase(0.1), WinnerRunnerUp(0.1), Bonferroni()), 2):
        assert not one.alike(other)
    assert not WinnerRunnerUp().alike(WinnerRunnerUp(runner_up_share=0.5))
    assert WinnerRunnerUp().alike(WinnerRunnerUp())


def test_of_two_classes_winner_and_runner_up_are_one_event() -> None:
    """Each bound has all that the rank test leaves, and so the level of `SinglePhase`; half of it was wasted."""
    votes = np.stack([np.arange(560, 1001), 1000 - np.arange(560, 1001)], axis=-1)
    found = WinnerRunnerUp()(votes, alpha=0.05)
    named = found.p1_lower > 0.0
    assert named.all()
    np.testing.assert_allclose(binom.sf(votes[:, 0] - 1, 1000, found.p1_lower), 0.98 * 0.05, rtol=1e-9)
    np.testing.assert_allclose(found.p2_upper, 1.0 - found.p1_lower, rtol=1e-9)


@pytest.mark.parametrize("classes", [2, 10])
def test_bonferroni_spends_each_share_of_alpha_exactly(classes: int) -> None:
    """Two-sided: the tails at both bounds are alpha / 2k."""
    n, alpha = 500, 0.05
    votes = np.zeros((3, classes), dtype=np.int64)
    votes[:, 0], votes[:, 1] = [300, 400, 499], [200, 100, 1]
    found = Bonferroni()(votes, alpha=alpha)
    np.testing.assert_allclose(binom.sf(votes[:, 0] - 1, n, found.p1_lower), alpha / (2 * classes), rtol=1e-9)
    np.testing.assert_allclose(binom.cdf(votes[:, 1], n, found.p2_upper), alpha / (2 * classes), rtol=1e-9)
