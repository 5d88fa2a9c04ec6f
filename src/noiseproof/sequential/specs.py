"""Stopping rules from the plain data of records."""

from collections.abc import Mapping
from typing import Any

from noiseproof.certificates import Certificate, Divergence, FDivergence
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.errors import InvalidInputError
from noiseproof.sequential.base import StoppingRule
from noiseproof.sequential.certify_radii import LASTING, CertifyRadii
from noiseproof.sequential.estimate_radius import EstimateRadius
from noiseproof.sequential.prior import FittedPrior

__all__ = ["rule_from"]


def rule_from(spec: Mapping[str, Any]) -> StoppingRule:
    """Return the stopping rule of a record, the inverse of `StoppingRule.spec`.

    Raises:
        InvalidInputError: the data is not a stopping rule of this version.
    """
    try:
        _require_numbers(spec)
        common: dict[str, Any] = {"alpha": spec["alpha"], "beta": spec["beta"], "max_samples": spec["cap"]}
        common["certificate"] = _certificate(spec["certificate"])
        if "precision" in spec:
            return EstimateRadius(spec["precision"], **common)
        prior = FittedPrior.from_plain(spec["prior"]) if "prior" in spec else None
        common |= {"runner_up": bool(spec.get("runner_up")), "lasting": bool(spec.get(LASTING))}
        return CertifyRadii(spec["radii"], prior=prior, **common)
    except (AttributeError, KeyError, TypeError) as error:
        raise InvalidInputError(
            "procedure",
            required="radii or a precision, with alpha, beta, cap and a certificate",
            got=f"{type(error).__name__}: {error}",
            remedy="Is the record damaged, or of a newer version?",
        ) from error


def _certificate(spec: Any) -> Certificate:
    """Return the certificate of a record, or raise TypeError where its divergence is none."""
    found = CERTIFICATES.from_spec(spec)
    if isinstance(found, FDivergence) and not isinstance(found.divergence, Divergence):
        raise TypeError(f"{found.divergence!r} is no divergence")
    return found


def _require_numbers(spec: Mapping[str, Any]) -> None:
    """Raise TypeError where a setting that is a number, or a list of numbers, is something else."""
    single = [spec["alpha"], spec["beta"], *([spec["precision"]] if "precision" in spec else [])]
    several = [] if "precision" in spec else spec["radii"]
    if not isinstance(several, list | tuple) or not all(_is_number(value) for value in (*single, *several)):
        raise TypeError(f"something else than numbers among {single} and {several}")
    if not isinstance(spec["cap"], int):
        raise TypeError(f"{spec['cap']!r} is no number of samples")


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)
