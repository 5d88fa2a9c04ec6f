"""Where a subject comes from, so that the commands on a run find it again. No vote depends on it.

A record keeps it under "subject", beside its settings. A path that was named as an absolute one is kept so; another is
kept relative to the folder of the record, and so is a run's own network: nothing is told of the machine that the command
in the record does not tell, and a project that is moved as a whole still finds its files.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from noiseproof import data
from noiseproof.errors import InvalidInputError
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.data_choice import DataChoice
from noiseproof.runs.records import Record
from noiseproof.runs.registry import record_in, sequential_within
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.training import CHECKPOINT

__all__ = ["KEPT", "ZOO", "Origin", "VotesOrAttack", "is_file", "record_of", "shown"]

KEPT = "subject"
"""Where `about` of a record has it."""

ZOO = "zoo:"

VotesOrAttack = Record | SequentialRecord | AttackRecord


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
        chosen: dict[str, Any] = {}
        for part in fields(DataChoice):
            value = getattr(self.data, part.name)
            if value == part.default:
                continue
            is_path = isinstance(value, Path) or (part.name == "name" and value not in data.names())
            chosen[part.name] = _kept(Path(value), record) if is_path else value
        kept = {name: _kept(path, record) for name, path in paths.items() if path is not None}
        return {"model": model} | kept | ({"data": chosen} if chosen else {})

    @staticmethod
    def of(record: VotesOrAttack) -> "Origin":
        """Return what a record keeps; of an earlier one what its names say: a network of the zoo, a published data set."""
        kept, settings, folder = record.about.get(KEPT), record.settings, record.path.resolve()
        if not isinstance(kept, Mapping):
            name, used = str(settings.model.get("name")), settings.data.get("name")
            known = used in data.names() and "training" not in record.about  # a training knows where its data lay
            return Origin(name if name.startswith(ZOO) else None, data=DataChoice(used if known else None))
        model, code, weights = (_text(kept.get(name)) for name in ("model", "code", "weights"))
        if model is not None and is_file(model):
            model = str(_found(model, folder))
        return Origin(
            model,
            None if code is None else _found(code, folder),
            None if weights is None else _found(weights, folder),
            _data(kept.get("data"), folder),
        )


def record_of(run: Path) -> VotesOrAttack | None:
    """Return the record of a run folder: its own, or of the sequential certifications that lie in it; None without any.

    Raises:
        InvalidInputError: those are of several classifiers, noises or data sets.
        RunError: it is damaged.
    """
    if own := record_in(run, (Record.configuration, SequentialRecord.configuration, AttackRecord.configuration)):
        return cast("VotesOrAttack", own)
    within = [SequentialRecord.open(path) for path in sequential_within(run)]
    said = [(record.settings.model, record.settings.noise, record.settings.data) for record in within]
    if any(one != said[0] for one in said):
        raise InvalidInputError(
            str(run),
            required="a folder whose certifications are of one classifier, noise and data set",
            got=", ".join(record.path.name for record in within),
            remedy=f"Name one of them, such as {within[0].path}.",
        )
    return within[0] if within else None


def is_file(model: str) -> bool:
    """Whether a model is named by the path of a file."""
    return not model.startswith(ZOO) and Path(model).suffix in {".safetensors", ".onnx", ".pt2"}


def shown(path: str | Path) -> str:
    """A path as a message has it: relative to the working directory for what lies below it."""
    place = Path(path)
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else str(place)


def _kept(path: Path, record: Path) -> str:
    """A path as a record in this folder keeps it. Links of folders are followed, as the system does for "..", names kept."""
    folder = record.resolve()
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow the link that a name is
    place = whole.parent.resolve() / whole.name
    own = place.name == CHECKPOINT and place.parent in {folder, *folder.parents}
    if path.is_absolute() and not own:
        return str(path)
    try:
        return os.path.relpath(place, folder)
    except ValueError:  # another drive
        return str(place)


def _found(kept: str, folder: Path) -> Path:
    return Path(os.path.normpath(folder / kept))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _data(kept: object, folder: Path) -> DataChoice:
    """What a record keeps of its data; what is not of its type was written by nobody, and left out."""
    found = kept if isinstance(kept, Mapping) else {}
    name = _text(found.get("name"))
    data_dir, classes_file = (
        None if _text(found.get(key)) is None else _found(found[key], folder) for key in ("data_dir", "classes_file")
    )
    classes, size = (found.get(key) if isinstance(found.get(key), int) else None for key in ("classes", "image_size"))
    return DataChoice(
        name if name is None or name in data.names() else str(_found(name, folder)),
        classes,
        data_dir,
        found.get("allow_unverified") is True,
        size,
        classes_file,
    )
