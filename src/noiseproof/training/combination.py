"""Ensembles of trained networks: a run folder whose network is an `Ensemble`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noiseproof.errors import InvalidInputError
from noiseproof.models import Checkpoint, Ensemble, ensemble_name, member_names, model_digest, save_checkpoint
from noiseproof.noises import Noise
from noiseproof.plugins import in_words
from noiseproof.storage.files import require_writable
from noiseproof.storage.provenance import provenance
from noiseproof.training.state import CHECKPOINT, require_free

__all__ = ["combine"]


def combine(
    members: Sequence[tuple[str, Checkpoint]], out: Path, noise: Noise | None = None, early_exit: float | None = None
) -> Path:
    """Write networks as one ensemble, and return its checkpoint.

    The checkpoint holds the weights of all, and its record the record of each, with the digest of its weights. An ensemble
    among them counts as its members: all have equal weight, and only its noise is kept.

    Args:
        members: (name for messages, network with its record), together 2 to 50 networks, trained on the same data.
        out: the run folder to write; it must not hold a training.
        noise: with which it is certified unless another is named; None is that of the members, if they all have the
            same.
        early_exit: the margin of the mean's logits at which no further member is evaluated; None evaluates all. See
            `Ensemble`.

    Raises:
        InvalidInputError: fewer than two or more than 50, the same one twice, trained on different data, or with
            different noise where none is named, or without a record of its training; a margin that is not above 0 or not
            finite.
        RunError: `out` holds a training, or cannot be written.
    """
    for place, given in members:
        _require_record(place, given.record)
        if noise is None:
            _require_equal(place, "noise", _noise(given.record), _noise(members[0][1].record))
    usual = _noise(members[0][1].record) if members else None
    members = [one for place, given in members for one in _apart(place, given)]
    name = ensemble_name([member.model_name for _, member in members], early_exit)
    digests = [model_digest(member.model) for _, member in members]
    for number, (place, member) in enumerate(members):
        _require_record(place, member.record)
        if digests[number] in digests[:number]:
            raise InvalidInputError(
                place,
                required="another network than those before",
                got=f"that of {members[digests.index(digests[number])][0]}",
                remedy="Leave it out: a copy adds nothing.",
            )
        _require_equal(place, "training data", _data(member.record), _data(members[0][1].record))
    network = Ensemble([member.model for _, member in members], early_exit).eval()
    first = members[0][1].record
    require_writable(out)
    require_free(out)
    about = {
        "settings": {
            "model": name,
            "objective": {"name": "Ensemble"} | ({} if early_exit is None else {"early_exit": float(early_exit)}),
            "noise": usual if noise is None else noise.spec(),
        },
        "data": first["data"],
        "members": [member.record | {"digest": digest} for digest, (_, member) in zip(digests, members, strict=True)],
        "made": provenance("cpu") | {"data": first.get("made", {}).get("data", {})},
    }
    save_checkpoint(out / CHECKPOINT, network, name, about)
    return out / CHECKPOINT


def _apart(place: str, network: Checkpoint) -> list[tuple[str, Checkpoint]]:
    """Return the members of an ensemble, each with its own record, or the one network itself."""
    if not isinstance(network.model, Ensemble):
        return [(place, network)]
    names, listed = member_names(network.model_name), network.record.get("members")
    records = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if not len(names) == len(records) == len(network.model.members):
        raise InvalidInputError(
            place,
            required="an ensemble whose record describes each of its members",
            got=f"{len(network.model.members)} members, {len(names)} names and {len(records)} records",
            remedy="Build it again: noiseproof ensemble.",
        )
    parts = zip(network.model.members, names, records, strict=True)
    return [
        (f"{place}, member {number}", Checkpoint(model, name, record))
        for number, (model, name, record) in enumerate(parts)
    ]


def _require_record(place: str, record: Mapping[str, Any]) -> None:
    """Raise InvalidInputError where a record, which may be a foreign one, lacks what `combine` reads from it."""
    parts = {"data": record.get("data"), "settings": record.get("settings"), "made": record.get("made", {})}
    found = parts | {"made.data": parts["made"].get("data", {}) if isinstance(parts["made"], dict) else None}
    if absent := [name for name, value in found.items() if not isinstance(value, dict)]:
        raise InvalidInputError(
            place,
            required="a network whose record says how it was trained",
            got=f"none of its {', '.join(absent)}",
            remedy="Train it by noiseproof, or build noiseproof.models.Ensemble in a factory of your own.",
        )


def _data(record: Mapping[str, Any]) -> dict[str, Any]:
    """The training data of a network, without its location."""
    found = record.get("made", {}).get("data", {})
    return dict(record.get("data", {})) | {
        key: found.get(key) for key in ("class_names", "image_shape", "num_classes") if found.get(key) is not None
    }


def _noise(record: Mapping[str, Any]) -> Any:
    return record.get("settings", {}).get("noise")


def _require_equal(place: str, what: str, found: Any, first: Any) -> None:
    if found != first:
        remedy = (
            "Name the one to certify with: noise=, sigma=."
            if what == "noise"
            else "Put together networks of one data set."
        )
        raise InvalidInputError(
            f"the {what} of {place}",
            required=f"that of the first, {in_words(first)}",
            got=in_words(found),
            remedy=remedy,
        )
