"""Trained networks put together: a run folder whose network is an `Ensemble`, for everything that takes a run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noiseproof.errors import InvalidInputError
from noiseproof.files import require_writable
from noiseproof.models import Checkpoint, Ensemble, ensemble_name, model_digest, save_checkpoint
from noiseproof.noises import Noise
from noiseproof.provenance import provenance
from noiseproof.training.state import CHECKPOINT, require_free

__all__ = ["combine"]


def combine(members: Sequence[tuple[str, Checkpoint]], out: Path, noise: Noise | None = None) -> Path:
    """Write networks as one ensemble, and return its checkpoint.

    The checkpoint holds the weights of all, and its record the record of each, with the digest of its weights.

    Args:
        members: (name for messages, network with its record), 2 to 50, trained on the same data.
        out: the run folder to write, without another training.
        noise: which it is certified with unless another is named; None: that of the members, if all have the same.

    Raises:
        InvalidInputError: fewer than two or more than 50, the same one twice, an ensemble among them, trained on
            different data, or with different noise where none is named, or without a record of its training.
        RunError: `out` holds a training, or cannot be written.
    """
    name = ensemble_name([member.model_name for _, member in members])
    digests = [model_digest(member.model) for _, member in members]
    for number, (place, member) in enumerate(members):
        _require_record(place, member.record)
        if isinstance(member.model, Ensemble):
            raise InvalidInputError(
                place, required="one network", got="an ensemble", remedy="Name its members: all count alike."
            )
        if digests[number] in digests[:number]:
            raise InvalidInputError(
                place,
                required="another network than those before",
                got=f"that of {members[digests.index(digests[number])][0]}",
                remedy="Leave it out: twice the same votes prove no more.",
            )
        _require_equal(place, "training data", _data(member.record), _data(members[0][1].record))
        if noise is None:
            _require_equal(place, "noise", _noise(member.record), _noise(members[0][1].record))
    network = Ensemble([member.model for _, member in members]).eval()
    first = members[0][1].record
    require_writable(out)
    require_free(out)
    about = {
        "settings": {
            "model": name,
            "objective": {"name": "Ensemble"},
            "noise": _noise(first) if noise is None else noise.spec(),
        },
        "data": first["data"],
        "members": [{"digest": digest} | member.record for digest, (_, member) in zip(digests, members, strict=True)],
        "made": provenance("cpu") | {"data": first.get("made", {}).get("data", {})},
    }
    save_checkpoint(out / CHECKPOINT, network, name, about)
    return out / CHECKPOINT


def _require_record(place: str, record: Mapping[str, Any]) -> None:
    """Raise InvalidInputError where a record, which may be anybody's, does not say what `combine` takes from it."""
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
    """What a network was trained on, without where it lay."""
    found = record.get("made", {}).get("data", {})
    return dict(record.get("data", {})) | {
        key: found.get(key) for key in ("class_names", "image_shape", "num_classes") if found.get(key) is not None
    }


def _noise(record: Mapping[str, Any]) -> Any:
    return record.get("settings", {}).get("noise")


def _require_equal(place: str, what: str, found: Any, first: Any) -> None:
    if found != first:
        remedy = (
            "Name the one to certify with: --sigma." if what == "noise" else "Put together networks of one data set."
        )
        raise InvalidInputError(
            f"the {what} of {place}", required=f"that of the first, {first}", got=found, remedy=remedy
        )
