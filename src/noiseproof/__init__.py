"""Provable robustness through additive noise: train, certify, check."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseproof import bounds, certificates, classifiers, data, models, noises, objectives, reports, runs
    from noiseproof.certified import ABSTAIN, Certified, certify_votes
    from noiseproof.errors import (
        ClassifierError,
        InvalidInputError,
        MissingExtraError,
        NoiseproofError,
        OutOfMemoryError,
        RunError,
    )
    from noiseproof.noises import Gaussian, Laplace, Uniform
    from noiseproof.runs import records
    from noiseproof.smoothing import SmoothedClassifier

__all__ = [
    "ABSTAIN",
    "Certified",
    "ClassifierError",
    "Gaussian",
    "InvalidInputError",
    "Laplace",
    "MissingExtraError",
    "NoiseproofError",
    "OutOfMemoryError",
    "RunError",
    "SmoothedClassifier",
    "Uniform",
    "bounds",
    "certificates",
    "certify_votes",
    "classifiers",
    "data",
    "models",
    "noises",
    "objectives",
    "records",
    "reports",
    "runs",
]

# Names are loaded when first used, so that importing the package does not import torch.
_HOMES = {
    "ABSTAIN": "certified",
    "Certified": "certified",
    "SmoothedClassifier": "smoothing",
    "certify_votes": "certified",
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
