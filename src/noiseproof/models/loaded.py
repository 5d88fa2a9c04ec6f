"""A loaded classifier with the information in its file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noiseproof.noises import Noise

__all__ = ["LoadedModel", "classifier_of"]


@dataclass(frozen=True, repr=False, eq=False)
class LoadedModel:
    """A classifier with the information in its file; `SmoothedClassifier`, attacks and `Subject.of` accept it.

    Attributes:
        classifier: a torch module, a runner or a function.
        about: name and digests, as plain data, which identify the classifier.
        noise: the noise of its training; None if unknown.
        num_classes: k; None if unknown.
        record: the record of its checkpoint, see `Checkpoint`; empty for other files.
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
    """Return the classifier that a `LoadedModel` holds, and any other object unchanged."""
    return given.classifier if isinstance(given, LoadedModel) else given
