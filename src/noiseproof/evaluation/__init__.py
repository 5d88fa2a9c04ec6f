"""Statements over a data set: certified accuracy, accuracy under attack, differences, audits."""

from noiseproof.evaluation.audit import AuditResult, judge_audit
from noiseproof.evaluation.certified_accuracy import (
    Summary,
    failure_allowance,
    file_lower_bound,
    population_lower_bound,
    summarise,
)
from noiseproof.evaluation.paired import paired_difference
from noiseproof.evaluation.robust_accuracy import (
    RobustSummary,
    Verdict,
    summarise_verdicts,
    verdicts,
    voted_class,
    worst_of,
)

__all__ = [
    "AuditResult",
    "RobustSummary",
    "Summary",
    "Verdict",
    "failure_allowance",
    "file_lower_bound",
    "judge_audit",
    "paired_difference",
    "population_lower_bound",
    "summarise",
    "summarise_verdicts",
    "verdicts",
    "voted_class",
    "worst_of",
]
