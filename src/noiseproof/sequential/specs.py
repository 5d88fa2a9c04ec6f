"""Stopping rules of records."""

from collections.abc import Mapping
from typing import Any

from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.errors import InvalidInputError
from noiseproof.sequential.base import StoppingRule
from noiseproof.sequential.certify_radii import CertifyRadii
from noiseproof.sequential.estimate_radius import EstimateRadius
from noiseproof.sequential.prior import FittedPrior

__all__ = ["rule_from"]


def rule_from(spec: Mapping[str, Any]) -> StoppingRule:
    """Return the stopping rule of a record, the inverse of `StoppingRule.spec`.

    Raises:
        InvalidInputError: it is none that this version knows.
    """
    try:
        common: dict[str, Any] = {"alpha": spec["alpha"], "beta": spec["beta"], "max_samples": spec["cap"]}
        common["certificate"] = CERTIFICATES.from_spec(spec["certificate"])
        if "precision" in spec:
            return EstimateRadius(spec["precision"], **common)
        prior = FittedPrior.from_plain(spec["prior"]) if "prior" in spec else None
        return CertifyRadii(spec["radii"], prior=prior, runner_up=bool(spec.get("runner_up")), **common)
    except (AttributeError, KeyError, TypeError) as error:
        raise InvalidInputError(
            "procedure",
            required="radii or a precision, with alpha, beta, cap and a certificate",
            got=f"{type(error).__name__}: {error}",
            remedy="Is the record damaged, or of a newer version?",
        ) from error
