"""Sequential certification: certificates, radii and predictions that hold at any stopping time."""

from noiseproof.sequential.base import CERTIFIED, FUTILE, UNDECIDED, Criterion, SequentialTest, StoppingRule
from noiseproof.sequential.boundary import Boundary, first_reaching, log_threshold, most_failures
from noiseproof.sequential.budget import SharedBudget
from noiseproof.sequential.certify_radii import LASTING, CertifyRadii, RadiiTest, level
from noiseproof.sequential.confidence_sequence import AnytimeSinglePhase, lower_bound, rest_bound
from noiseproof.sequential.e_process import log_evidence
from noiseproof.sequential.estimate_radius import EstimateRadius, RadiusTest
from noiseproof.sequential.exceeds import Exceeds, Level
from noiseproof.sequential.information_limit import information_limit
from noiseproof.sequential.pairwise import AheadOfAll, PairEvidence
from noiseproof.sequential.prior import FittedPrior, fit_prior
from noiseproof.sequential.relative_error import RelativeError
from noiseproof.sequential.specs import rule_from
from noiseproof.sequential.top_class import IdentifyTopClass, TopClass, top_class_certain

__all__ = [
    "CERTIFIED",
    "FUTILE",
    "LASTING",
    "UNDECIDED",
    "AheadOfAll",
    "AnytimeSinglePhase",
    "Boundary",
    "CertifyRadii",
    "Criterion",
    "EstimateRadius",
    "Exceeds",
    "FittedPrior",
    "IdentifyTopClass",
    "Level",
    "PairEvidence",
    "RadiiTest",
    "RadiusTest",
    "RelativeError",
    "SequentialTest",
    "SharedBudget",
    "StoppingRule",
    "TopClass",
    "first_reaching",
    "fit_prior",
    "information_limit",
    "level",
    "log_evidence",
    "log_threshold",
    "lower_bound",
    "most_failures",
    "rest_bound",
    "rule_from",
    "top_class_certain",
]
