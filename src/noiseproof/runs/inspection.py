"""What a record is: settings, provenance, and which of its votes are there and whole."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noiseproof.attacks.registry import ATTACKS
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.evaluation import file_lower_bound
from noiseproof.numerics.decimals import exact, percent_down, round_down
from noiseproof.plugins import Registry, in_words
from noiseproof.randomness import SecretKey
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.begun import rule_settings
from noiseproof.runs.keys import key_state
from noiseproof.runs.records import PROCEDURE, ROWS, Record
from noiseproof.runs.registry import RECORDS, record_in
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.settings import which_images
from noiseproof.runs.store import ShardedRecord

__all__ = ["find_of_one_kind", "find_records", "inspect_record", "inspection_rows", "kind_of"]


_PROCEDURE: dict[str, Registry[Any]] = {"bound": BOUNDS, "certificate": CERTIFICATES}

AnyRecord = ShardedRecord[Any, Any]


def kind_of(record: AnyRecord) -> str:
    """Return the kind of a record: "votes", "sequential votes", "attack", "audit" or "verification"."""
    if isinstance(record, AttackRecord):
        return "attack" if record.settings.limits is None else "audit"
    return {Record: "votes", SequentialRecord: "sequential votes"}.get(type(record), "verification")


def find_records(path: Path) -> list[Any]:
    """Open the record of a folder, of whichever kind; or those in its folders, as attacks lie in RUN/attacks.

    Raises:
        RunError: there is none, or the configuration of one is damaged.
    """
    for pattern in ("{}", "*/{}", "*/*/{}"):
        found = [(file.parent, kind) for kind in RECORDS for file in path.glob(pattern.format(kind)) if file.is_file()]
        if found:
            return [record_in(folder, (kind,)) for folder, kind in sorted(found, key=lambda each: each[0])]
    raise RunError(
        str(path),
        required="a run folder with votes, an attack or an audit, or a folder of such",
        got="none there" if path.exists() else "no such folder",
        remedy=f"Certify first: noiseproof certify {path}",
    )


def find_of_one_kind(paths: Sequence[Path]) -> tuple[str, list[Any]]:
    """Return the records of several folders, and their kind.

    Raises:
        RunError: as `find_records`.
        InvalidInputError: they are of several kinds.
    """
    records = [record for path in paths for record in find_records(path)]
    kinds = sorted({kind_of(record) for record in records})
    if len(kinds) != 1:
        found = ", ".join(f"{record.path} ({kind_of(record)})" for record in records)
        raise InvalidInputError(
            "runs",
            required="of one kind: votes, sequential votes, attacks and audits do not mix in a report",
            got=found or "none",
            remedy="Report them apart, each to an out= of its own.",
        )
    return kinds[0], records


def inspect_record(record: AnyRecord) -> dict[str, Any]:
    """Return what a record is as JSON-compatible data; `counted` says what is there, and names what is damaged."""
    missing, faults = record.missing()
    settings = record.settings
    whole = [shard for shard in record.shards if shard not in set(missing)]
    shards = [record.shard_about(shard) for shard in whole]
    images = sum(len(record.shard_indices(shard)) for shard in whole)
    key = {"key": key_state(record.path)} if isinstance(getattr(settings, "seed", 0), SecretKey) else {}
    return (
        {
            "run": str(record.path),
            "settings": settings.plain(),
            "counted": {
                "images": images,
                "of": len(settings.indices),
                "votes": _votes(record, images),
                "shards": len(whole),
                "of_shards": len(record.shards),
                "kept": record.kept_in_words(),
                "damaged": [fault.what for fault in faults],
                "seconds": round(sum(shard.get("seconds", 0.0) for shard in shards), 3),
                "batch_sizes": sorted({shard["batch_size"] for shard in shards if "batch_size" in shard}),
                "devices": sorted({shard["device"] for shard in shards if "device" in shard}),
                "last": max((shard["written"] for shard in shards if "written" in shard), default=None),
            },
            "about": dict(record.about),
        }
        | _of_file(record, missing)
        | key
    )


def inspection_rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what `inspect_record` returns for people: a name and what it says."""
    settings, counted, about = found["settings"], found["counted"], found["about"]
    yield "run", found["run"]
    yield "model", in_words(settings["model"])
    yield "data", in_words(settings["data"])
    yield "noise", in_words(settings.get("noise", {"": "none"}))
    yield "engine", in_words(settings.get("engine", {"": "not recorded (format 1)"}))
    training = about.get("training") or {}
    if training:
        yield "trained", in_words(training.get("settings", {}))
        yield "trained on", in_words(training.get("data", {}))
    shape = f", of {in_words(about['image_shape'])}" if "image_shape" in about else ""
    yield "images", which_images(settings) + shape
    if said := found.get("file"):
        bounds = ", ".join(f"{percent_down(bound)} at {radius}" for radius, bound in said["lower_bound"].items())
        text = f"at least {bounds} of its {said['images']} images right and certified, with 95 % confidence"
        drawn = " for one radius and a seed of the subset that were chosen beforehand"
        yield "whole file", text + (drawn if "subset" in settings else "")
    yield from _question(settings, about)
    yield "seed", in_words(settings.get("seed", "none"))
    if "key" in found:
        yield "key", found["key"]
    state = f"{counted['images']} of {counted['of']} images, {counted['shards']} of {counted['of_shards']} shards"
    if counted["kept"]:
        yield "kept", counted["kept"]
    yield "counted", state + (f", {len(counted['damaged'])} damaged" if counted["damaged"] else "")
    if counted["seconds"]:
        speed = counted["votes"] / counted["seconds"]
        sizes = ", ".join(map(str, counted["batch_sizes"]))
        yield "time", f"{counted['seconds']:.0f} s, {speed:,.0f} votes/s, {sizes} images a batch"
        yield "on", ", ".join(counted["devices"])
    yield "begun", f"{about.get('created', 'unknown')}" + (f", last shard {counted['last']}" if counted["last"] else "")
    if ROWS in about:
        yield "rows", _rows(about[ROWS])
    yield "command", " ".join(about.get("command", []))
    yield "versions", in_words(about.get("versions", {}))


def _question(settings: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what was asked of every image, which differs from kind to kind."""
    if "procedure" in settings:
        rule = rule_settings(settings["procedure"])
        yield "until", in_words({name: value for name, value in rule.items() if value is not False})
    elif "attack" in settings:
        yield "attack", ATTACKS.told(settings["attack"])
        if "limits" in settings:
            limits = settings["limits"]
            shown = {name: table.told({"name": limits[name]}) for name, table in _PROCEDURE.items()}
            yield "audit of", f"certificates by {in_words(shown | {'alpha': limits['alpha']})}, in {settings['norm']}"
        else:
            yield "sizes", f"{', '.join(round_down(size, None) for size in settings['sizes'])} in {settings['norm']}"
        yield "votes", f"{settings['samples']} on each point"
    elif "samples" in settings:
        yield "votes", f"{settings['samples']} an image, {settings['selection_samples']} to select"
        if PROCEDURE in about:
            made_for = about[PROCEDURE]
            shown = {name: table.told(made_for[name]) for name, table in _PROCEDURE.items()}
            yield "made for", in_words({"alpha": made_for["alpha"]} | shown)
    else:
        yield "perturbation", f"{round_down(settings['radius'], None)} in {settings['norm']}"


def _rows(found: Mapping[str, Any]) -> str:
    """Return in words whether outputs depend on the place in the batch."""
    if not found["changed"]:
        return f"the same to the last bit in other places of a batch ({found['rows']} tried)"
    change = (
        f"{found['changed']} of {found['rows']} changed in other places of a batch, by {found['largest']:.0e} at most"
    )
    return f"{change}; labels: {found['labels']}"


def _of_file(record: AnyRecord, missing: Sequence[int]) -> dict[str, Any]:
    """Return what all images of a file, or a random subset, say of the file, at radius 0 and at the scale of the noise."""
    if not isinstance(record, Record) or missing or (total := record.images_of_file) is None:
        return {}
    table, radii = record.read(), np.array([0.0, record.noise.scale])
    found = record.certify(table=table)
    right = (found.prediction == table.label)[:, None] & (found.radius[:, None] >= radii)
    bounds = file_lower_bound(right.sum(0), len(table), total, record.procedure.alpha)
    named = {exact(radius): float(bound) for radius, bound in zip(radii.tolist(), bounds, strict=True)}
    return {"file": {"images": total, "confidence": 0.95, "lower_bound": named}}


def _votes(record: AnyRecord, images: int) -> int:
    settings = record.settings
    if isinstance(record, Record):
        return int(images * (settings.samples + settings.selection_samples))
    if isinstance(record, AttackRecord):
        return int(images * settings.samples * len(settings.sizes))
    return int(record.read().votes.sum()) if images and isinstance(record, SequentialRecord) else 0
