"""Confidence bounds: from votes to (prediction, p1_lower, p2_upper), Algorithm 1 line 5."""

from noiseproof.bounds.base import Bound, Interval, clopper_pearson_lower, clopper_pearson_upper, rank_p_value
from noiseproof.bounds.bonferroni import Bonferroni
from noiseproof.bounds.rank_test import rank_verified, votes_to_verify
from noiseproof.bounds.single_phase import SinglePhase
from noiseproof.bounds.two_phase import TwoPhase
from noiseproof.bounds.winner_runner_up import WinnerRunnerUp

__all__ = [
    "Bonferroni",
    "Bound",
    "Interval",
    "SinglePhase",
    "TwoPhase",
    "WinnerRunnerUp",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "rank_p_value",
    "rank_verified",
    "votes_to_verify",
]
