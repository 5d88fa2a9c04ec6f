"""Where a classifier and its data come from, so that the commands on a run find them again. No vote depends on it.

A record keeps it under "subject", beside its settings. A path that was named as an absolute one is kept so; another is
kept relative to the folder of the record, and so is a run's own network: nothing is told of the machine that the command
in the record does not tell, and a project that is moved as a whole still finds its files.
"""

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from noiseproof import data
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.runs.registry import NETWORK

__all__ = ["KEPT", "ZOO", "DataChoice", "Origin", "is_file", "shown"]

KEPT = "subject"
"""Where `about` of a record has it."""

ZOO = "zoo:"

_PATHS = frozenset({"data_dir", "classes_file"})
"""Fields of a choice of data that are paths. Its name is one unless it is that of a published set."""

_SHIPPED = frozenset({"digits"})
"""Named sets that come with scikit-learn: they have no files that could lie somewhere."""


@dataclass(frozen=True)
class DataChoice:
    """Which data, by name; a field that is None is taken from the training or the record.

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

    def load(self, split: Literal["train", "test"] = "test") -> Dataset:
        """Load a split.

        Raises:
            InvalidInputError: no data are named, or something is said that these data do not have.
        """
        if self.name is None:
            raise InvalidInputError(
                "data",
                required="given with model=",
                got="nothing",
                remedy="A run folder knows its noise and data; a model of your own does not.",
            )
        self._require_applicable(self.name)
        return data.load(
            self.name,
            split,
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
        dataset = self.as_trained(training).load()
        _require_same_classes(_made(training).get("class_names"), dataset)
        return dataset

    def as_trained(self, training: Mapping[str, Any]) -> "DataChoice":
        """Return the data that a network was trained on, at their place then, with what is named here in their place.

        Raises:
            InvalidInputError: the training does not say where its data lay.
            RunError: they are no longer there.
        """
        used, found = training["data"], _made(training)
        source = self.name or found.get("source") or (used["name"] if used["name"] in data.names() else None)
        if source is None:
            raise InvalidInputError(
                "data", required=f"given: {used['name']} may lie anywhere", got="nothing", remedy="Name its path."
            )
        same = source in data.names() and self.name in {None, used["name"]}
        before = DataChoice(
            name=source,
            classes=found.get("num_classes"),
            data_dir=_folder(found.get("location")) if same and source not in _SHIPPED else None,
            image_size=(found.get("image_shape") or [None])[-1],
        )
        return self.where_open(before, "the network was trained on it")

    def where_open(self, before: "DataChoice", why: str) -> "DataChoice":
        """Return earlier data with what is named here in their place; fields that do not apply to other data are left out.

        Raises:
            RunError: those of before are no longer there, and no others are named.
        """
        name = self.name or before.name
        if name is None:
            return replace(before, **{key: value for key, value in vars(self).items() if value})
        own, folder = name not in data.names(), Path(name).is_dir()
        if self.name is None and own and not Path(name).exists():
            raise RunError(
                name,
                required=f"there: {why}",
                got="nothing",
                remedy="Say where it lies now, or name other data: data=",
            )
        return replace(
            self,
            name=name,
            classes=before.classes if own and self.classes is None else self.classes,
            data_dir=before.data_dir if name == before.name and self.data_dir is None else self.data_dir,
            allow_unverified=self.allow_unverified or (name == before.name and before.allow_unverified),
            image_size=before.image_size if own and folder and self.image_size is None else self.image_size,
            classes_file=before.classes_file if own and folder and self.classes_file is None else self.classes_file,
        )

    def kept_in(self, record: Path) -> dict[str, Any]:
        """Return what is named, as plain data for a record in this folder."""
        named = {part.name: (getattr(self, part.name), part.default) for part in fields(self)}
        kept = {name: value for name, (value, usual) in named.items() if value != usual}
        paths = [name for name in kept if name in _PATHS or (name == "name" and kept[name] not in data.names())]
        return kept | {name: _kept(Path(kept[name]), record) for name in paths}

    @staticmethod
    def of(kept: object, folder: Path) -> "DataChoice":
        """Return what a record in this folder keeps of its data; a value of another type than was written is left out."""
        types = {"classes": int, "image_size": int, "allow_unverified": bool}
        found = {
            part.name: kept[part.name]
            for part in fields(DataChoice)
            if isinstance(kept, Mapping) and isinstance(kept.get(part.name), types.get(part.name, str))
        }
        found |= {name: _found(found[name], folder) for name in _PATHS & found.keys()}
        if "name" in found and found["name"] not in data.names():
            found["name"] = str(_found(found["name"], folder))
        return DataChoice(**found)

    def _require_applicable(self, name: str) -> None:
        """Raise InvalidInputError for a field that does not apply to these data: it would be ignored."""
        published = name in data.names() and name not in _SHIPPED
        named = name in data.names()
        for option, given, applies, what in (
            ("image_size", self.image_size, not named and Path(name).is_dir(), "a folder of images"),
            ("classes", self.classes, not named, "images of your own"),
            ("data_dir", self.data_dir, published, "published sets that lie in files"),
            ("allow_unverified", self.allow_unverified or None, published, "published sets that lie in files"),
        ):
            if given is not None and not applies:
                raise InvalidInputError(
                    option,
                    required=f'left out with data="{name}": it is for {what}',
                    got=given,
                    remedy="Leave it out.",
                )


@dataclass(frozen=True)
class Origin:
    """Where a subject comes from.

    Attributes:
        model: as `Subject.load` takes it; None for a classifier that was made in Python.
        code: the folder from which a factory's module was imported, where that was the working directory.
        weights: of a factory's network.
        data: what was named of the data.
    """

    model: str | None = None
    code: Path | None = None
    weights: Path | None = None
    data: DataChoice = field(default_factory=DataChoice)

    def kept_in(self, record: Path) -> dict[str, Any]:
        """Return it as plain data for a record in this folder."""
        model = self.model
        if model is not None and is_file(model):
            model = _kept(Path(model), record)
        paths = {"code": self.code, "weights": self.weights}
        kept: dict[str, Any] = {name: _kept(path, record) for name, path in paths.items() if path is not None}
        chosen = self.data.kept_in(record)
        return {"model": model} | kept | ({"data": chosen} if chosen else {})

    @staticmethod
    def of(record: Any) -> "Origin":
        """Return what a record says; an earlier one has names alone: a network of the zoo, a published data set."""
        kept, settings, folder = record.about.get(KEPT), record.settings, record.path.resolve()
        if not isinstance(kept, Mapping):
            name, used = str(settings.model.get("name")), settings.data.get("name")
            known = used in data.names() and "training" not in record.about  # a training knows where its data lay
            return Origin(name if name.startswith(ZOO) else None, data=DataChoice(used if known else None))
        written = {name: value for name, value in kept.items() if isinstance(value, str)}
        model, code, weights = map(written.get, ("model", "code", "weights"))
        if model is not None and is_file(model):
            model = str(_found(model, folder))
        places = [None if path is None else _found(path, folder) for path in (code, weights)]
        return Origin(model, places[0], places[1], DataChoice.of(kept.get("data"), folder))


def is_file(model: str) -> bool:
    """Whether a model is named by the path of a file."""
    return not model.startswith(ZOO) and Path(model).suffix in {".safetensors", ".onnx", ".pt2"}


def shown(path: str | Path) -> str:
    """Return a path for a message: relative to the working directory where it lies below it."""
    place = Path(path)
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else str(place)


def _kept(path: Path, record: Path) -> str:
    """Return a path as a record in this folder writes it. Links of folders are followed, that of a file is not."""
    folder = record.resolve()
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow the link that a name is
    place = whole.parent.resolve() / whole.name
    own = place.name == NETWORK and place.parent in {folder, *folder.parents}
    if path.is_absolute() and not own:
        return str(path)
    try:
        return os.path.relpath(place, folder)
    except ValueError:  # another drive
        return str(place)


def _found(kept: str, folder: Path) -> Path:
    return Path(os.path.normpath(folder / kept))


def _made(training: Mapping[str, Any]) -> dict[str, Any]:
    """Where the data of a training lay, and what they were."""
    found: dict[str, Any] = training.get("made", {}).get("data", {})
    return found


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
