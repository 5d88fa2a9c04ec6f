"""Provable robustness through additive noise: train, certify, check."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseproof import (
        attacks,
        bounds,
        certificates,
        classifiers,
        data,
        evaluation,
        experiments,
        models,
        noises,
        objectives,
        perturbations,
        published,
        reports,
        runs,
        sequential,
        training,
        verification,
    )
    from noiseproof.certified import ABSTAIN, Certified, FixedSamples, certify_votes
    from noiseproof.errors import (
        ClassifierError,
        InvalidInputError,
        MissingExtraError,
        NoiseproofError,
        OutOfMemoryError,
        RunError,
    )
    from noiseproof.noises import Gaussian, Laplace, Uniform
    from noiseproof.randomness import SecretKey
    from noiseproof.runs import records
    from noiseproof.sequential import CertifyRadii, EstimateRadius, IdentifyTopClass
    from noiseproof.smoothing import SmoothedClassifier

    __version__: str

__all__ = [
    "ABSTAIN",
    "Certified",
    "CertifyRadii",
    "ClassifierError",
    "EstimateRadius",
    "FixedSamples",
    "Gaussian",
    "IdentifyTopClass",
    "InvalidInputError",
    "Laplace",
    "MissingExtraError",
    "NoiseproofError",
    "OutOfMemoryError",
    "RunError",
    "SecretKey",
    "SmoothedClassifier",
    "Uniform",
    "attacks",
    "bounds",
    "certificates",
    "certify_votes",
    "classifiers",
    "data",
    "evaluation",
    "experiments",
    "models",
    "noises",
    "objectives",
    "perturbations",
    "published",
    "records",
    "reports",
    "runs",
    "sequential",
    "training",
    "verification",
]

# Names are loaded when first used, so that importing the package does not import torch.
_HOMES = {
    "ABSTAIN": "certified",
    "Certified": "certified",
    "FixedSamples": "certified",
    "certify_votes": "certified",
    "SmoothedClassifier": "smoothing",
    "CertifyRadii": "sequential",
    "EstimateRadius": "sequential",
    "IdentifyTopClass": "sequential",
    "SecretKey": "randomness",
    "Gaussian": "noises",
    "Laplace": "noises",
    "Uniform": "noises",
    "ClassifierError": "errors",
    "InvalidInputError": "errors",
    "MissingExtraError": "errors",
    "NoiseproofError": "errors",
    "OutOfMemoryError": "errors",
    "RunError": "errors",
}


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return import_module("importlib.metadata").version(__name__)
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _HOMES:
            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return import_module(f"{__name__}.{'runs.records' if name == 'records' else name}")


def __dir__() -> list[str]:
    return sorted(__all__)
