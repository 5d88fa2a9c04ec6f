"""What a record is: settings, provenance, and which of its votes are there and whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noiseproof.plugins import in_words
from noiseproof.runs.records import Record
from noiseproof.runs.sequential_records import SequentialRecord

__all__ = ["inspect_record", "inspection_rows", "open_votes"]


def open_votes(path: Path) -> Record | SequentialRecord:
    """Open the votes of a run folder, of whichever kind.

    Raises:
        RunError: the folder holds no votes, or their configuration is damaged.
    """
    sequential = (path / SequentialRecord.configuration).exists()
    return SequentialRecord.open(path) if sequential else Record.open(path)


def inspect_record(record: Record | SequentialRecord) -> dict[str, Any]:
    """Return what a record is as JSON-compatible data; `counted` says what is there, and names what is damaged."""
    missing, faults = record.missing()
    settings = record.settings
    whole = [shard for shard in record.shards if shard not in set(missing)]
    shards = [record.shard_about(shard) for shard in whole]
    images = sum(len(record.shard_indices(shard)) for shard in whole)
    return {
        "run": str(record.path),
        "settings": settings.plain(),
        "counted": {
            "images": images,
            "of": len(settings.indices),
            "votes": _votes(record, images),
            "shards": len(whole),
            "of_shards": len(record.shards),
            "damaged": [fault.what for fault in faults],
            "seconds": round(sum(shard.get("seconds", 0.0) for shard in shards), 3),
            "batch_sizes": sorted({shard["batch_size"] for shard in shards if "batch_size" in shard}),
            "devices": sorted({shard["device"] for shard in shards if "device" in shard}),
            "last": max((shard["written"] for shard in shards if "written" in shard), default=None),
        },
        "about": dict(record.about),
    }


def inspection_rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what `inspect_record` returns for people: a name and what it says."""
    settings, counted, about = found["settings"], found["counted"], found["about"]
    yield "run", found["run"]
    yield "model", in_words(settings["model"])
    yield "data", in_words(settings["data"])
    yield "noise", in_words(settings["noise"])
    yield "engine", in_words(settings.get("engine", {"": "not recorded (format 1)"}))
    training = about.get("training") or {}
    if training:
        yield "trained", in_words(training.get("settings", {}))
        yield "trained on", in_words(training.get("data", {}))
    yield "images", f"{settings['start']} to {settings['stop'] - 1}, every {settings['step']}"
    if "procedure" in settings:
        yield "until", in_words({name: value for name, value in settings["procedure"].items() if name != "prior"})
    else:
        yield "votes", f"{settings['samples']} an image, {settings['selection_samples']} to select"
    yield "seed", str(settings["seed"])
    state = f"{counted['images']} of {counted['of']} images, {counted['shards']} of {counted['of_shards']} shards"
    yield "counted", state + (f", {len(counted['damaged'])} damaged" if counted["damaged"] else "")
    if counted["seconds"]:
        speed = counted["votes"] / counted["seconds"]
        sizes = ", ".join(map(str, counted["batch_sizes"]))
        yield "time", f"{counted['seconds']:.0f} s, {speed:,.0f} votes/s, {sizes} images a batch"
        yield "on", ", ".join(counted["devices"])
    yield "begun", f"{about.get('created', 'unknown')}" + (f", last shard {counted['last']}" if counted["last"] else "")
    yield "command", " ".join(about.get("command", []))
    yield "versions", in_words(about.get("versions", {}))


def _votes(record: Record | SequentialRecord, images: int) -> int:
    if isinstance(record, Record):
        return images * (record.settings.samples + record.settings.selection_samples)
    return int(record.read().votes.sum()) if images else 0
