"""A classifier with what is recorded about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noiseproof.noises import Noise

__all__ = ["LoadedModel", "classifier_of"]


@dataclass(frozen=True, repr=False, eq=False)
class LoadedModel:
    """A classifier, and what its file says of it: `SmoothedClassifier`, attacks and `Subject.of` take it as it is.

    Attributes:
        classifier: a torch module, a runner or a function.
        about: name and digests, as plain data; two classifiers with equal ones are the same.
        noise: the noise it was trained for; None where nothing says so.
        num_classes: k; None where nothing says so.
        record: how it was trained, as its checkpoint says; empty for other files.
    """

    classifier: Any
    about: dict[str, Any] = field(default_factory=dict)
    noise: Noise | None = None
    num_classes: int | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, batch: Any) -> Any:
        """Return what the classifier returns for a batch, scores or labels."""
        return self.classifier(batch)

    def __repr__(self) -> str:
        known = {"noise": self.noise, "num_classes": self.num_classes}
        said = "".join(f", {name}={value!r}" for name, value in known.items() if value is not None)
        return f"LoadedModel({self.about.get('name')!r}, {type(self.classifier).__name__}{said})"


def classifier_of(given: Any) -> Any:
    """Return the classifier that a `LoadedModel` holds, and anything else as it is."""
    return given.classifier if isinstance(given, LoadedModel) else given
