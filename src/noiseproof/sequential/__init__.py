"""Sequential certification: certificates, radii and predictions that hold at any stopping time."""

from noiseproof.sequential.base import CERTIFIED, FUTILE, UNDECIDED, Rule
from noiseproof.sequential.baselines import FixedSample, KrichevskyTrofimov, Stages, UnionBound
from noiseproof.sequential.boundary import JeffreysRule, first_certifying, first_reaching, log_threshold, most_failures
from noiseproof.sequential.confidence_sequence import AnytimeSinglePhase, lower_bound, rest_bound
from noiseproof.sequential.e_process import log_evidence
from noiseproof.sequential.exceeds import Exceeds, IdentifyTopClass, Level, WithinPrecision
from noiseproof.sequential.goal import Goal
from noiseproof.sequential.law import Law, exact_law, information_limit
from noiseproof.sequential.pairwise import AheadOfAll, PairEvidence
from noiseproof.sequential.prior import FittedPrior, fit_prior
from noiseproof.sequential.top_class import winner_certain, winner_votes_needed

__all__ = [
    "CERTIFIED",
    "FUTILE",
    "UNDECIDED",
    "AheadOfAll",
    "AnytimeSinglePhase",
    "Exceeds",
    "FittedPrior",
    "FixedSample",
    "Goal",
    "IdentifyTopClass",
    "JeffreysRule",
    "KrichevskyTrofimov",
    "Law",
    "Level",
    "PairEvidence",
    "Rule",
    "Stages",
    "UnionBound",
    "WithinPrecision",
    "exact_law",
    "first_certifying",
    "first_reaching",
    "fit_prior",
    "information_limit",
    "log_evidence",
    "log_threshold",
    "lower_bound",
    "most_failures",
    "rest_bound",
    "winner_certain",
    "winner_votes_needed",
]
