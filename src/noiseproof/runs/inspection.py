"""What a record is: settings, provenance, and which of its votes are there and whole."""

from pathlib import Path
from typing import Any

from noiseproof.runs.records import Record
from noiseproof.runs.sequential_records import SequentialRecord

__all__ = ["inspect_record", "open_votes"]


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


def _votes(record: Record | SequentialRecord, images: int) -> int:
    if isinstance(record, Record):
        return images * (record.settings.samples + record.settings.selection_samples)
    return int(record.read().votes.sum()) if images else 0
