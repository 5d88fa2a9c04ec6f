"""What is certified: a classifier, its noise, its data."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noiseproof import data
from noiseproof.cli import names
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import fetch, load_checkpoint, load_model, model_digest
from noiseproof.noises import Noise, from_spec
from noiseproof.training import CHECKPOINT

__all__ = ["DataChoice", "Subject"]

_ZOO = "zoo:"


@dataclass(frozen=True)
class DataChoice:
    """The data that a command names; what is None is as in training.

    Attributes:
        name: mnist, a file, a folder.
        classes: k of images of the user's own.
        data_dir: where the files of named sets lie.
        allow_unverified: whether files that are not the published ones will do.
        image_size: to which images of a folder are brought.
    """

    name: str | None = None
    classes: int | None = None
    data_dir: Path | None = None
    allow_unverified: bool = False
    image_size: int | None = None

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
        )

    def load_as_trained(self, training: dict[str, Any]) -> Dataset:
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


@dataclass(frozen=True)
class Subject:
    """What is certified.

    Attributes:
        classifier: a torch module, a runner or a function.
        model: what the record says of it.
        noise: with which noise.
        dataset: on which images.
        training: how it was trained, where that is known.
    """

    classifier: Any
    model: dict[str, Any]
    noise: Noise
    dataset: Dataset
    training: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def trained(run: Path, sigma: float | None, choice: DataChoice | None = None) -> "Subject":
        """The network of a run folder, with the noise and the data it was trained for unless others are named."""
        return _of_checkpoint(run / CHECKPOINT, None, None, sigma, choice or DataChoice())

    @staticmethod
    def brought(
        spec: str, weights: Path | None, choice: DataChoice, noise: names.NoiseName | None, sigma: float | None
    ) -> "Subject":
        """A classifier of the user's own, one of the zoo, or a checkpoint: these two know their noise and data."""
        if spec.startswith(_ZOO) or spec.endswith(".safetensors"):
            if weights is not None:
                raise InvalidInputError(
                    "--weights", required=f"left out: {spec} holds its own", got=weights, remedy="Leave it out."
                )
            path = fetch(spec.removeprefix(_ZOO)) if spec.startswith(_ZOO) else Path(spec)
            return _of_checkpoint(path, spec if spec.startswith(_ZOO) else None, noise, sigma, choice)
        if sigma is None:
            raise InvalidInputError(
                "--sigma",
                required="given with --model",
                got="nothing",
                remedy="A run folder knows its noise and data; a model of your own does not.",
            )
        loaded = load_model(spec, weights)
        return Subject(
            loaded.classifier, loaded.about, names.noise(noise or names.NoiseName.gaussian, sigma), choice.load()
        )


def _of_checkpoint(
    path: Path, name: str | None, noise: names.NoiseName | None, sigma: float | None, choice: DataChoice
) -> Subject:
    checkpoint = load_checkpoint(path)
    if not _is_described(checkpoint.record):
        raise RunError(
            str(path),
            required="a checkpoint that says with which noise and on which data it was trained",
            got="one that does not, or not in the form that training writes",
            remedy="Load the weights by a factory: --model package.module:factory --weights.",
        )
    spec = dict(checkpoint.record["settings"]["noise"])
    (scale,) = (value for key, value in spec.items() if key != "name")
    chosen = (
        from_spec({key: value if key == "name" or sigma is None else sigma for key, value in spec.items()})
        if noise is None
        else names.noise(noise, scale if sigma is None else sigma)
    )
    model = {"name": name or checkpoint.model_name, "digest": model_digest(checkpoint.model)}
    return Subject(checkpoint.model, model, chosen, choice.load_as_trained(checkpoint.record), checkpoint.record)


def _is_described(record: dict[str, Any]) -> bool:
    """Whether a checkpoint's record has what certification takes from it: a file of strangers may say anything."""
    settings, used, made = (record.get(key, {}) for key in ("settings", "data", "made"))
    if not all(isinstance(part, dict) for part in (settings, used, made)):
        return False
    noise, found = settings.get("noise"), made.get("data", {})
    if not (isinstance(noise, dict) and isinstance(found, dict) and isinstance(used.get("name"), str)):
        return False
    scales = [value for key, value in noise.items() if key != "name"]
    if not (isinstance(noise.get("name"), str) and len(scales) == 1 and isinstance(scales[0], int | float)):
        return False
    shape, names_ = found.get("image_shape"), found.get("class_names")
    return (
        all(isinstance(found.get(key), str | None) for key in ("source", "location"))
        and isinstance(found.get("num_classes"), int | None)
        and (shape is None or (isinstance(shape, list) and bool(shape) and all(isinstance(n, int) for n in shape)))
        and (names_ is None or (isinstance(names_, list) and all(isinstance(name, str) for name in names_)))
    )
