"""Stop when you know: certificates, radii and predictions that hold at whatever vote one stops (THEORY: `jeffreys`)."""

from noiseproof.sequential.base import CERTIFIED, GIVEN_UP, UNDECIDED, Rule
from noiseproof.sequential.baselines import FixedSample, KrichevskyTrofimov, Stages, UnionBound
from noiseproof.sequential.boundary import JeffreysRule, first_certifying, log_threshold, most_failures
from noiseproof.sequential.confidence import AnytimeSinglePhase, lower_bound, rest_bound
from noiseproof.sequential.jeffreys import log_evidence
from noiseproof.sequential.law import Law, exact_law, information_limit
from noiseproof.sequential.winner import winner_certain, winner_votes_needed

__all__ = [
    "CERTIFIED",
    "GIVEN_UP",
    "UNDECIDED",
    "AnytimeSinglePhase",
    "FixedSample",
    "JeffreysRule",
    "KrichevskyTrofimov",
    "Law",
    "Rule",
    "Stages",
    "UnionBound",
    "exact_law",
    "first_certifying",
    "information_limit",
    "log_evidence",
    "log_threshold",
    "lower_bound",
    "most_failures",
    "rest_bound",
    "winner_certain",
    "winner_votes_needed",
]
