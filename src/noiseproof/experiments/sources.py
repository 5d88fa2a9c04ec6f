"""What records say of how they were made: command, seeds, machine, time."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from noiseproof.experiments.runs import Run
from noiseproof.runs.attack_records import AttackRecord, AttackSettings
from noiseproof.runs.records import Record
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.runs.verification import Verified
from noiseproof.training import LOG

__all__ = ["Source", "sources"]

_UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Source:
    """One record, in words.

    Attributes:
        folder: where it lies.
        kind: of record.
        images: how many, and which.
        votes: per image or point.
        seeds: of the noise and of training.
        machine: on which it was made.
        made: when.
        seconds: it took; None where that is not recorded.
        more: command, network, training and its command.
    """

    folder: str
    kind: str
    images: str
    votes: str
    seeds: str
    machine: str
    made: str
    seconds: float | None
    more: Mapping[str, str]


def sources(read: Mapping[str, Run | AttackRecord | SequentialRecord | Verified]) -> list[Source]:
    """Return the records in words, by their folder."""
    return [
        _of_verification(path, found)
        if isinstance(found, Verified)
        else _of_record(found.record if isinstance(found, Run) else found)
        for path, found in sorted(read.items())
    ]


def _of_record(record: Record | AttackRecord | SequentialRecord) -> Source:
    settings, about = record.settings, record.about
    training = about.get("training", {})
    shards = [record.shard_about(shard) for shard in record.shards]
    trained = training.get("settings", {}).get("seed")
    kinds = {Record: "votes", AttackRecord: "attack", SequentialRecord: "votes that stop"}
    votes = f"up to {settings.procedure['cap']}" if isinstance(settings, SequentialSettings) else str(settings.samples)
    more = {"Command": _command(about), "Network": _words(settings.model), "Noise": _words(settings.noise or {})}
    if isinstance(settings, AttackSettings):
        more |= {"Attack": _words(settings.attack), "Sizes": ", ".join(f"{size:g}" for size in settings.sizes)}
    if training:
        more |= {
            "Training": _words(training.get("settings", {})),
            "Trained by": _command(training.get("made", {})),
            "Trained on": _machine(training.get("made", {}), []),
            "Training took": _training_time(record.path),
        }
    return Source(
        str(record.path),
        kinds[type(record)],
        f"{len(settings.indices)} of {settings.data['name']}, every {settings.step}",
        votes,
        f"noise {settings.seed}" + ("" if trained is None else f", training {trained}"),
        _machine(about, [str(shard["device"]) for shard in shards if "device" in shard]),
        str(about.get("created", _UNKNOWN)),
        _seconds(record, shards),
        more | {"Versions": _words(about.get("versions", {}))},
    )


def _seconds(record: Record | AttackRecord | SequentialRecord, shards: Sequence[Mapping[str, Any]]) -> float | None:
    """Return what the shards took: their sum where one follows the other.

    Votes that stop by themselves are drawn for several shards at once, so their times overlap: how long one of them at
    least was worked on counts.
    """
    overlapping = isinstance(record, SequentialRecord)
    if not all("seconds" in shard and (not overlapping or "written" in shard) for shard in shards):
        return None
    times = [float(shard["seconds"]) for shard in shards]
    if not overlapping:
        return sum(times)
    ends = [datetime.fromisoformat(shard["written"]).timestamp() for shard in shards]
    found, until = 0.0, 0.0
    for begin, end in sorted((end - seconds, end) for end, seconds in zip(ends, times, strict=True)):
        found += max(0.0, end - max(begin, until))
        until = max(until, end)
    return found


def _of_verification(path: str, found: Verified) -> Source:
    networks = "; ".join(f"{_words(stage)}" for stage in found.stages)
    return Source(
        path,
        "verification",
        f"{found.images} of {found.data['name']}, every {found.step}",
        "none",
        "none",
        _machine(found.about, []),
        str(found.about.get("created", _UNKNOWN)),
        found.about.get("seconds"),
        {
            "Command": _command(found.about),
            "Networks": networks,
            "Perturbation": f"{found.norm}, {found.radius:g}",
            "Versions": _words(found.about.get("versions", {})),
        },
    )


def _command(about: Mapping[str, Any]) -> str:
    return shlex.join(about["command"]) if "command" in about else _UNKNOWN


def _machine(about: Mapping[str, Any], devices: list[str]) -> str:
    """Return the device of the shards, or else of the record, with its threads where it is a processor."""
    device, threads = str(about.get("device", _UNKNOWN)), about.get("threads")
    processor = str(about.get("processor", device))
    names = list(dict.fromkeys(devices)) or [f"{device} beside {processor}" if "cuda" in device else processor]
    return ", ".join(names) + (f", {threads} threads" if threads and about.get("device") == "cpu" else "")


def _training_time(folder: Path) -> str:
    """Return the sum of the epochs of the training log where it lies beside the record."""
    try:
        epochs = [json.loads(line)["seconds"] for line in (folder / LOG).read_text().splitlines()]
        return f"{sum(epochs):.0f} s, {len(epochs)} epochs"
    except (OSError, ValueError, KeyError, TypeError):
        return _UNKNOWN


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} ({_words(value)})" if isinstance(value, Mapping) else f"{key} {value}"
        for key, value in values.items()
        if value is not None
    )
