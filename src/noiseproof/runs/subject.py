"""What a job runs on: a classifier, the noise it is smoothed with, and the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from noiseproof import data, objectives
from noiseproof.classifiers.runners import Runner
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError
from noiseproof.models import model_digest
from noiseproof.models.loaded import classifier_of
from noiseproof.noises import Noise
from noiseproof.noises.registry import NOISES
from noiseproof.runs.identity import require_subject
from noiseproof.runs.network import Network, knows_its_noise, load_network, network_of, record_of
from noiseproof.runs.origin import DataChoice, Origin, is_file, shown
from noiseproof.smoothing import require_base

__all__ = ["Subject", "require_noise"]

_CHANGED = (
    "It is not what was recorded, or has changed since: restore it, or name what was (model= and weights=, data=). "
    "Votes on another one belong into another folder: out=."
)


@dataclass(frozen=True, repr=False)
class Subject:
    """What a job runs on.

    Attributes:
        classifier: f: a torch module, a runner or a function.
        model: its name and digest, for the record.
        noise: what is added to every image; None for a classifier that is attacked without noise.
        dataset: the images.
        training: how it was trained, where that is known.
        origin: where it comes from, for the record; None where nothing is to be said.
        taken: what was read from a run folder, in one line.

    Example:
        >>> import numpy as np
        >>> from noiseproof.noises import Gaussian
        >>> ink = lambda batch: np.clip(20 * batch.mean(axis=(1, 2, 3)), 0, 9).astype(int)
        >>> subject = Subject.of(ink, Gaussian(sigma=0.25), data.load("digits", "test"), name="ink")
        >>> subject.dataset.num_classes
        10
    """

    classifier: Any
    model: Mapping[str, Any]
    noise: Noise | None
    dataset: Dataset
    training: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    taken: str = ""

    def __repr__(self) -> str:
        name, kind = self.model.get("name"), type(self.classifier).__name__
        return f"Subject({name!r}, {kind}, noise={self.noise!r}, dataset={self.dataset!r})"

    @staticmethod
    def of(classifier: Any, noise: Noise | None, dataset: Dataset, *, name: str) -> "Subject":
        """Return a classifier that is at hand as a subject; a torch module is recorded by the digest of its weights too."""
        require_base(classifier)
        classifier = classifier_of(classifier)
        module = classifier.module if isinstance(classifier, Runner) else classifier
        digest = model_digest(module) if isinstance(module, nn.Module) else None
        place = dataset.source if dataset.source in data.names() else dataset.location
        origin = Origin(data=DataChoice(None if dataset.source is None or dataset.part is not None else place))
        return Subject(classifier, {"name": name, "digest": digest}, noise, dataset, origin=origin)

    @staticmethod
    def load(
        model: str | Path,
        *,
        weights: Path | None = None,
        data: str | DataChoice | None = None,
        noise: str | None = None,
        sigma: float | None = None,
    ) -> "Subject":
        """Load a classifier with its noise and the test split of its data.

        The network of a run folder, a checkpoint and one of the zoo know the noise and the data that they were trained
        with; what is named here takes their place. A model of your own knows neither.

        Args:
            model: a run folder, as a `Path`; "zoo:NAME"; "net.safetensors" of noiseproof; "net.onnx"; "net.pt2" of
                torch.export; or "package.module:factory", whose code is run.
            weights: for a factory's network.
            data: its name, or more about it.
            noise: gaussian, laplace or uniform; for a model of your own, gaussian where it is left out.
            sigma: the scale of the noise, in units of a pixel in [0, 1].

        Raises:
            InvalidInputError: a model of your own without sigma or data, weights for what holds its own.
            RunError: a file is not there or damaged, or does not say what it was trained for.
        """
        if sigma is None and not knows_its_noise(model):
            raise InvalidInputError(
                "sigma",
                required="given with model=",
                got="nothing",
                remedy="A run folder knows its noise and data; a model of your own does not.",
            )
        return _put_together(load_network(model, weights), _chosen(data), noise=noise, sigma=sigma)

    @staticmethod
    def of_run(
        run: Path,
        model: str | None = None,
        *,
        weights: Path | None = None,
        data: str | DataChoice | None = None,
        noise: str | None = None,
        sigma: float | None = None,
        smoothed: bool = False,
    ) -> "Subject":
        """Load what a run folder was certified or attacked with, or trained there; what is named takes its place.

        A record says where its classifier and its data lay. What of them is not named here must be what was recorded, by
        its digests: that is compared before any time is spent. Code that a record names is run only if it was named on
        this account before, and has not changed.

        Args:
            run: the folder.
            model: as `load`; None takes that of the run. A network of the zoo or a checkpoint knows its noise and data.
            weights: as `load`; for a factory's network of the run, where they lie now.
            data: as `load`.
            noise: as `load`.
            sigma: as `load`; 0 leaves the noise out. None takes that of the run; where there is no record it leaves the
                noise out for a network that was trained without.
            smoothed: whether a network that was trained without noise gets that of its settings, to be certified.

        Raises:
            InvalidInputError: weights or a noise without a model; or as `load`.
            RunError: as `load`; or the run does not say where its classifier is found, or that has changed since.
        """
        if model is None and noise is not None and sigma is None:
            raise InvalidInputError(
                "noise",
                required="given with model=",
                got="no model",
                remedy="A run folder has its own; sigma= changes the size of its noise.",
            )
        choice, record = _chosen(data), record_of(run)
        if record is None or (model is not None and knows_its_noise(model)):
            if model is None and weights is not None:
                raise InvalidInputError(
                    "weights", required="given with model=", got="no model", remedy="Name the model."
                )
            wanted = sigma or (None if sigma is None or model is None or knows_its_noise(model) else 1.0)
            loaded = Subject.load(model or run, weights=weights, data=choice, noise=noise, sigma=wanted)
            noisy = sigma != 0.0 if sigma is not None or smoothed else _trained_with_noise(loaded)
            return loaded if noisy else replace(loaded, noise=None)
        network = network_of(record, weights) if model is None else load_network(model, weights)
        before = None if record.settings.noise is None else NOISES.from_spec(record.settings.noise)
        silent = sigma == 0.0 or (sigma is None and before is None)
        wanted = 1.0 if silent else sigma
        used = choice.where_open(Origin.of(record).data, f"{record.path} was made with it")
        loaded = _put_together(network, used, noise=noise, sigma=wanted, before=before)
        loaded = replace(loaded, noise=None) if silent else loaded
        named = {"model": model or weights, "data": choice.name, "noise": loaded.noise != before}
        taken = [part for part, value in named.items() if not value]
        require_subject(record.path, record.settings, loaded, parts=taken, remedy=_CHANGED)
        return replace(loaded, taken=_in_words(record.path, loaded, taken))

    def identity(self) -> dict[str, Any]:
        """Return what a record says of it: classifier, noise, data."""
        noise = None if self.noise is None else self.noise.spec()
        return {"model": dict(self.model), "noise": noise, "data": self.dataset.about()}


def require_noise(subject: Subject) -> Noise:
    """Return the noise of a subject, or raise `InvalidInputError`: without noise there is nothing to certify."""
    if subject.noise is None:
        raise InvalidInputError(
            "sigma", required="given, and > 0, to certify", got="no noise", remedy="Name it: sigma=0.25."
        )
    return subject.noise


def _trained_with_noise(subject: Subject) -> bool:
    """Whether a network was trained for noise, as far as is known."""
    name = subject.training.get("settings", {}).get("objective", {}).get("name")
    return bool(name is None or getattr(getattr(objectives, name, None), "noisy", True))


def _chosen(named: str | DataChoice | None) -> DataChoice:
    return named if isinstance(named, DataChoice) else DataChoice(named)


def _put_together(
    network: Network, choice: DataChoice, *, noise: str | None, sigma: float | None, before: Noise | None = None
) -> Subject:
    """A network with its noise and its data: those named, of a record, or of its training."""
    training = network.training
    if training and before is None:
        before = NOISES.from_spec(training["settings"]["noise"])
    kind = noise or ("gaussian" if before is None else before.spec()["name"])
    scale = before.scale if sigma is None and before is not None else sigma
    made = NOISES[str(kind)](scale)
    dataset = choice.load_as_trained(training) if training else choice.load()
    kept = replace(choice, allow_unverified=dataset.verified is False)
    return Subject(
        network.classifier, network.model, made, dataset, training, origin=replace(network.origin, data=kept)
    )


def _in_words(run: Path, subject: Subject, taken: Sequence[str]) -> str:
    """Return what was read from a run folder, in one line; empty for nothing."""
    origin, noise = subject.origin or Origin(), subject.noise
    parts = []
    if "model" in taken:
        model = origin.model or str(subject.model["name"])
        parts.append("model " + (shown(model) if is_file(model) else model))
        parts += [] if origin.weights is None else [f"weights {shown(origin.weights)}"]
    if "data" in taken:
        name = subject.dataset.name if origin.data.name is None else origin.data.name
        where = "" if origin.data.data_dir is None else f" in {shown(origin.data.data_dir)}"
        shape = " x ".join(map(str, subject.dataset.image_shape))
        parts.append(f"data {name if name in data.names() else shown(name)}{where}, images of {shape}")
        parts.append(f"{subject.dataset.num_classes} classes")
    if "noise" in taken:
        parts.append("no noise" if noise is None else str(noise))
    return f"{run}: {', '.join(parts)}." if parts else ""
