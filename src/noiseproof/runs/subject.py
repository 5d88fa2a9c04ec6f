"""What a job runs on: a classifier, the noise it is smoothed with, and the data."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from noiseproof import data, objectives
from noiseproof.classifiers.runners import Runner
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import LoadedModel, load, model_digest
from noiseproof.models.loaded import classifier_of
from noiseproof.noises import Noise
from noiseproof.noises.registry import NOISES
from noiseproof.runs.records import Record
from noiseproof.smoothing import require_base
from noiseproof.training import CHECKPOINT

__all__ = ["DataChoice", "Subject", "require_noise"]

_ZOO = "zoo:"


@dataclass(frozen=True)
class DataChoice:
    """Which data, by name; what is None is as in training.

    Attributes:
        name: mnist, a file, a folder.
        classes: k of images of the user's own.
        data_dir: where the files of named sets lie.
        allow_unverified: whether files that are not the published ones will do.
        image_size: to which images of a folder are brought.
        classes_file: for a folder, a list of all class names in the order of the classifier's outputs.
    """

    name: str | None = None
    classes: int | None = None
    data_dir: Path | None = None
    allow_unverified: bool = False
    image_size: int | None = None
    classes_file: Path | None = None

    def load(self) -> Dataset:
        """Load the test split.

        Raises:
            InvalidInputError: no data are named.
        """
        if self.name is None:
            raise InvalidInputError(
                "--data",
                required="given with --model",
                got="nothing",
                remedy="A run folder knows its noise and data; a model of your own does not.",
            )
        return data.load(
            self.name,
            "test",
            self.classes,
            data_dir=self.data_dir,
            allow_unverified=self.allow_unverified,
            image_size=data.IMAGE_SIZE if self.image_size is None else self.image_size,
            classes_file=self.classes_file,
        )

    def load_as_trained(self, training: Mapping[str, Any]) -> Dataset:
        """Load the test split of the data that a network was trained on, from where they lay then, or of those named.

        Raises:
            InvalidInputError: the training does not say where its data lay, or its classes had other names.
            RunError: they are no longer there.
        """
        used, found = training["data"], training.get("made", {}).get("data", {})
        source = self.name or found.get("source") or (used["name"] if used["name"] in data.names() else None)
        if source is None:
            raise InvalidInputError(
                "--data", required=f"given: {used['name']} may lie anywhere", got="nothing", remedy="Name its path."
            )
        if self.name is None and source not in data.names() and not Path(source).exists():
            raise RunError(
                source,
                required="there: the network was trained on it",
                got="nothing",
                remedy="Say where it lies now, or name other data: --data.",
            )
        own = source not in data.names()
        same = not own and self.name in {None, used["name"]}
        dataset = DataChoice(
            name=source,
            classes=found.get("num_classes") if own and self.classes is None else self.classes,
            data_dir=_folder(found.get("location")) if same and self.data_dir is None else self.data_dir,
            allow_unverified=self.allow_unverified,
            image_size=(found.get("image_shape") or [None])[-1] if self.image_size is None else self.image_size,
            classes_file=self.classes_file,
        ).load()
        _require_same_classes(found.get("class_names"), dataset)
        return dataset


def _folder(location: str | None) -> Path | None:
    """The folder where the files of a named set lay, or their archive, if it is still there."""
    place = Path(location) if location else None
    if place is None or not place.exists():
        return None
    return place.parent if place.is_file() else place


def _require_same_classes(trained: list[str] | None, dataset: Dataset) -> None:
    """Raise InvalidInputError where a class of a folder has another name than the class of that number in training."""
    if trained is None or dataset.class_names is None or tuple(trained) == dataset.class_names:
        return
    pairs = itertools.zip_longest(trained, dataset.class_names)
    number, (before, now) = next((number, pair) for number, pair in enumerate(pairs) if pair[0] != pair[1])
    raise InvalidInputError(
        str(dataset.location),
        required=f"a folder with the classes of the training; class {number} is {before!r}",
        got=repr(now),
        remedy="Rename the folders, or give their order in classes.txt.",
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
        return Subject(classifier, {"name": name, "digest": digest}, noise, dataset)

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
        choice = data if isinstance(data, DataChoice) else DataChoice(data)
        if isinstance(model, Path) or Path(model).is_dir() or _knows_its_noise(model):
            known = load(model / CHECKPOINT if isinstance(model, Path) else model, weights)
            return _of_checkpoint(known, str(model), noise, sigma, choice)
        if sigma is None:
            raise InvalidInputError(
                "--sigma",
                required="given with --model",
                got="nothing",
                remedy="A run folder knows its noise and data; a model of your own does not.",
            )
        loaded = load(model, weights)
        return Subject(loaded.classifier, loaded.about, NOISES[str(noise or "gaussian")](sigma), choice.load())

    @staticmethod
    def of_run(
        run: Path,
        model: str | None = None,
        *,
        weights: Path | None = None,
        data: str | DataChoice | None = None,
        noise: str | None = None,
        sigma: float | None = None,
    ) -> "Subject":
        """Load the classifier of a run folder as it is attacked: the one named, the one certified there, or trained there.

        Args:
            run: the folder.
            model: as `load`; None takes that of the run.
            weights: as `load`.
            data: as `load`.
            noise: as `load`.
            sigma: as `load`; 0 leaves the noise out. None leaves it out for a network that was trained without noise.

        Raises:
            InvalidInputError: weights without a model; or as `load`.
            RunError: as `load`.
        """
        if model is None and weights is not None:
            raise InvalidInputError(
                "--weights", required="given with --model", got="no --model", remedy="Name the model."
            )
        chosen: str | Path | None = model
        if model is None:
            known = _recorded_name(run)
            use = known is not None and _knows_its_noise(known) and not (run / CHECKPOINT).exists()
            chosen = known if use else run
        assert chosen is not None  # noqa: S101 - one of three
        knows = isinstance(chosen, Path) or _knows_its_noise(chosen)
        wanted = sigma or (None if sigma is None or knows else 1.0)
        loaded = Subject.load(chosen, weights=weights, data=data, noise=noise, sigma=wanted)
        return loaded if _is_noisy(loaded, sigma) else replace(loaded, noise=None)

    def identity(self) -> dict[str, Any]:
        """Return what a record says of it: classifier, noise, data."""
        noise = None if self.noise is None else self.noise.spec()
        return {"model": dict(self.model), "noise": noise, "data": self.dataset.about()}


def require_noise(subject: Subject) -> Noise:
    """Return the noise of a subject, or raise `InvalidInputError`: without noise there is nothing to certify."""
    if subject.noise is None:
        raise InvalidInputError(
            "noise", required="given, to certify", got=None, remedy="Name it: Subject.load(..., sigma=0.25)."
        )
    return subject.noise


def _is_noisy(subject: Subject, sigma: float | None) -> bool:
    """Whether the defence adds noise: where that is not said, unless the network was trained without."""
    if sigma is not None:
        return sigma > 0.0
    name = subject.training.get("settings", {}).get("objective", {}).get("name")
    return bool(name is None or getattr(getattr(objectives, name, None), "noisy", True))


def _knows_its_noise(model: str) -> bool:
    return model.startswith(_ZOO) or model.endswith(".safetensors")


def _recorded_name(run: Path) -> str | None:
    """The classifier that a run folder was certified with."""
    return str(Record.open(run).settings.model["name"]) if (run / Record.configuration).exists() else None


def _of_checkpoint(
    loaded: LoadedModel, where: str, noise: str | None, sigma: float | None, choice: DataChoice
) -> Subject:
    if loaded.noise is None or not _is_described(loaded.record):
        raise RunError(
            where,
            required="a checkpoint that says with which noise and on which data it was trained",
            got="one that does not, or not in the form that training writes",
            remedy="Load the weights by a factory: --model package.module:factory --weights.",
        )
    chosen = NOISES[str(noise or loaded.noise.spec()["name"])](loaded.noise.scale if sigma is None else sigma)
    return Subject(loaded.classifier, loaded.about, chosen, choice.load_as_trained(loaded.record), loaded.record)


def _is_described(record: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's record has what certification takes from it: a foreign file may say anything."""
    used, made = (record.get(key, {}) for key in ("data", "made"))
    if not all(isinstance(part, dict) for part in (used, made)):
        return False
    found = made.get("data", {})
    if not (isinstance(found, dict) and isinstance(used.get("name"), str)):
        return False
    shape, names_ = found.get("image_shape"), found.get("class_names")
    return (
        all(isinstance(found.get(key), str | None) for key in ("source", "location"))
        and isinstance(found.get("num_classes"), int | None)
        and (shape is None or (isinstance(shape, list) and bool(shape) and all(isinstance(n, int) for n in shape)))
        and (names_ is None or (isinstance(names_, list) and all(isinstance(name, str) for name in names_)))
    )
