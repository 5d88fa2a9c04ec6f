"""The classifier of a subject: the one that is named, trained in a run folder, or named in a record."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import LoadedModel, load
from noiseproof.models.factory import module_file
from noiseproof.models.weights import file_digest
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.origin import ZOO, Origin, is_file, shown
from noiseproof.runs.records import Record
from noiseproof.runs.registry import record_in, sequential_within
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.storage.trusted import is_trusted, trust
from noiseproof.training import CHECKPOINT

__all__ = ["Network", "VotesOrAttack", "knows_its_noise", "load_network", "network_of", "record_of"]

VotesOrAttack = Record | SequentialRecord | AttackRecord

_PROGRAM = ".pt2"
"""Of torch.export: torch makes code of it."""


@dataclass(frozen=True)
class Network:
    """A classifier, and what is known of it.

    Attributes:
        classifier: a torch module, a runner or a function.
        model: its name and digest, for the record.
        origin: where it comes from.
        training: how it was trained, of a checkpoint: with which noise, and on which data.
    """

    classifier: Any
    model: Mapping[str, Any]
    origin: Origin
    training: Mapping[str, Any] = field(default_factory=dict)


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


def knows_its_noise(model: str | Path) -> bool:
    """Whether a model was trained here, and says with which noise and on which data."""
    return isinstance(model, Path) or model.startswith(ZOO) or model.endswith(".safetensors") or Path(model).is_dir()


def load_network(model: str | Path, weights: Path | None = None) -> Network:
    """Load the classifier that is named; arguments and errors as `Subject.load`. Its code is trusted from then on."""
    place = Path(model) / CHECKPOINT if isinstance(model, Path) or Path(model).is_dir() else model
    loaded = load(str(place), weights)
    if knows_its_noise(model):
        return _of_checkpoint(loaded, str(place))
    file = _code_that_ran(str(model))
    if file is not None:
        trust(_trusted_name(str(model)), file)
    from_here = not is_file(str(model)) and file is not None and module_file(str(model), Path.cwd(), only=True) == file
    return Network(loaded.classifier, loaded.about, Origin(str(model), Path() if from_here else None, weights))


def network_of(record: VotesOrAttack, weights: Path | None = None) -> Network:
    """Load the classifier that a record names, or of an earlier record the one that was trained in its folder.

    Args:
        record: whose.
        weights: where those of a factory's network lie now; None takes them from where they lay.

    Raises:
        RunError: the record does not say where it is to be found; a file is no longer there, or not what it was; or its
            code was never named on this account.
        InvalidInputError: weights for what holds its own.
    """
    origin, own = Origin.of(record), _trained_above(record)
    model = origin.model
    if own is not None and (model is None or (is_file(model) and not Path(model).exists())):
        if weights is not None:
            raise InvalidInputError("weights", required="given with model=", got="no model", remedy="Name the model.")
        return load_network(own)
    if model is None:
        raise _made_in_python(record)
    if is_file(model) and not Path(model).is_file():
        raise _moved(record, model, "model")
    used = origin.weights if weights is None else weights
    if weights is None and used is not None and not used.is_file():
        raise _moved(record, used, "weights")
    _require_trusted(record, model, origin.code)
    if knows_its_noise(model):
        return load_network(model, used)
    loaded = load(model, used, folder=origin.code)
    return Network(loaded.classifier, loaded.about, Origin(model, origin.code, used))


def _of_checkpoint(loaded: LoadedModel, place: str) -> Network:
    if loaded.noise is None or not _is_described(loaded.record):
        raise RunError(
            place,
            required="a checkpoint that says with which noise and on which data it was trained",
            got="one that does not, or not in the form that training writes",
            remedy='Load the weights by a factory: model="package.module:factory" and weights=.',
        )
    return Network(loaded.classifier, loaded.about, Origin(place), loaded.record)


def _trusted_name(model: str) -> str:
    """What of code is trusted: a factory of a module, or a program as a whole."""
    return _PROGRAM if is_file(model) else model


def _code_that_ran(model: str) -> Path | None:
    """The file whose code ran to make a model, if any did."""
    if is_file(model):
        return Path(model).resolve() if model.endswith(_PROGRAM) else None
    file = getattr(sys.modules[model.partition(":")[0]], "__file__", None)
    return None if file is None else Path(file).resolve()


def _require_trusted(record: VotesOrAttack, model: str, folder: Path | None) -> None:
    """Raise RunError unless the code that a record names is what it was, and was named on this account before."""
    if model.startswith(ZOO) or (is_file(model) and not model.endswith(_PROGRAM)):
        return
    file = Path(model) if is_file(model) else module_file(model, folder)
    if file is None:
        raise RunError(
            str(record.path),
            required="made by code that is found from here",
            got=f"{model}: no such module" + (f" in {shown(folder)}" if folder else ""),
            remedy="Name it in the folder that holds its package.",
        )
    then = record.settings.model.get("digest" if is_file(model) else "source")
    if then is not None and file_digest(file) != then:
        raise RunError(
            shown(file),
            required=f"what it was when {record.path} was made, SHA-256 {then}",
            got=file_digest(file),
            remedy="It has changed: restore it, or certify it into another folder: model= and out=.",
        )
    if not is_trusted(_trusted_name(model), file):
        raise RunError(
            str(record.path),
            required="made by code that was named on this account before: a record alone runs none",
            got=model,
            remedy=f'If you trust {shown(file)}, name it: model="{model}".',
        )


def _trained_above(record: VotesOrAttack) -> Path | None:
    """The folder of the network beside a record, or above that of an attack."""
    path = record.path.resolve()
    places = [record.path, *(path.parents[:3] if record.configuration == "attack.json" else path.parents[:1])]
    return next((place for place in places if (place / CHECKPOINT).exists()), None)


def _moved(record: VotesOrAttack, path: str | Path, parameter: str) -> RunError:
    return RunError(
        shown(path),
        required=f"there: {record.path} was made with it",
        got="nothing",
        remedy=f"Say where it lies now: {parameter}=.",
    )


def _made_in_python(record: VotesOrAttack) -> RunError:
    name = record.settings.model.get("name")
    return RunError(
        str(record.path),
        required="made with a named model, to find it again",
        got=f"{name}, and no word on where it lies",
        remedy="Name it: model=, and weights= for a factory's network. What was made in Python goes on there: "
        f"Subject.of(classifier, noise, dataset, name={name!r}).",
    )


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
