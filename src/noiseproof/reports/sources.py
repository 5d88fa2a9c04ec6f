"""Provenance of records: command, seeds, machine, time."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from noiseproof.errors import NoiseproofError
from noiseproof.numerics.decimals import round_down
from noiseproof.plugins import in_words
from noiseproof.runs.attack_records import AttackRecord, AttackSettings
from noiseproof.runs.records import Record
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.runs.settings import how_chosen
from noiseproof.runs.verification_records import Verified
from noiseproof.training import LOG

__all__ = ["Source", "seconds_of", "sources", "spent"]

Known = Record | AttackRecord | SequentialRecord | Verified

_UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Source:
    """One record, in words.

    Attributes:
        folder: path of the record.
        kind: of record.
        images: how many, and which.
        votes: per image or point.
        seeds: of the noise and of training.
        machine: on which it was made.
        made: time of creation.
        seconds: duration; None where it is not recorded.
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


def sources(read: Mapping[str, Any]) -> list[Source]:
    """Return the sources of records, by folder; each argument is a record, or has one as its attribute `record`."""
    found = ((path, getattr(each, "record", each)) for path, each in sorted(read.items()))
    return [_of_verification(path, one) if isinstance(one, Verified) else _of_record(one) for path, one in found]


def _of_record(record: Record | AttackRecord | SequentialRecord) -> Source:
    settings, about, images = record.settings, record.about, len(record.settings.indices)
    training = about.get("training", {})
    shards = [record.shard_about(shard) for shard in record.shards]
    trained = training.get("settings", {}).get("seed")
    kinds = {Record: "votes", AttackRecord: "attack", SequentialRecord: "sequential votes"}
    votes = f"up to {settings.procedure['cap']}" if isinstance(settings, SequentialSettings) else str(settings.samples)
    more = {"Command": _command(about), "Network": in_words(settings.model), "Noise": in_words(settings.noise or {})}
    if isinstance(settings, AttackSettings):
        more |= {
            "Attack": in_words(settings.attack),
            "Sizes": ", ".join(round_down(size, None) for size in settings.sizes),
        }
    if training:
        more |= {
            "Training": in_words(training.get("settings", {})),
            "Trained by": _command(training.get("made", {})),
            "Trained on": _machine(training.get("made", {}), []),
            "Training took": _training_time(record.path),
        }
    return Source(
        str(record.path),
        kinds[type(record)],
        f"{images} of {settings.data['name']}, {how_chosen(settings.step, settings.subset, images)}",
        votes,
        f"noise {settings.seed}" + ("" if trained is None else f", training {trained}"),
        _machine(about, [str(shard["device"]) for shard in shards if "device" in shard]),
        str(about.get("created", _UNKNOWN)),
        seconds_of(record)[0],
        more | {"Versions": in_words(about.get("versions", {}))},
    )


def seconds_of(record: Known) -> tuple[float | None, float]:
    """Return the duration of the finished shards, None where one does not record it, and their share of all shards.

    The durations are added where one shard follows the other. Shards of sequential votes are counted at the same time,
    so that theirs overlap: the time in which at least one was in progress counts.
    """
    if isinstance(record, Verified):
        return record.about.get("seconds"), 1.0
    left, _ = record.missing()
    there = [record.shard_about(shard) for shard in record.shards if shard not in left]
    share, overlapping = len(there) / len(record.shards), isinstance(record, SequentialRecord)
    if not all("seconds" in shard and (not overlapping or "written" in shard) for shard in there):
        return None, share
    times = [float(shard["seconds"]) for shard in there]
    if not overlapping:
        return sum(times), share
    ends = [datetime.fromisoformat(shard["written"]).timestamp() for shard in there]
    found, until = 0.0, 0.0
    for begin, end in sorted((end - seconds, end) for end, seconds in zip(ends, times, strict=True)):
        found += max(0.0, end - max(begin, until))
        until = max(until, end)
    return found, share


def spent(folder: Path, epochs: int | None = None) -> tuple[float, float] | None:
    """Return the seconds spent on a folder so far, and the share that is done; None where nothing is recorded.

    Args:
        folder: of a record, or of a training.
        epochs: of the whole training; None for a record.
    """
    try:
        if epochs is not None:
            seconds = _epochs(folder)
            return sum(seconds), len(seconds) / epochs
        kinds: tuple[type[Known], ...] = (Record, AttackRecord, SequentialRecord, Verified)
        there = [kind for kind in kinds if (folder / kind.configuration).exists()]
        if not there:
            return None
        found, share = seconds_of(there[0].open(folder))
    except (NoiseproofError, OSError, ValueError, KeyError, TypeError):
        return None  # what is damaged tells no time, and whoever goes on with it is told what is wrong
    return None if found is None else (found, share)


def _of_verification(path: str, found: Verified) -> Source:
    networks = "; ".join(map(in_words, found.stages))
    return Source(
        path,
        "verification",
        f"{found.images} of {found.data['name']}, {how_chosen(found.step, found.subset, found.images)}",
        "none",
        "none",
        _machine(found.about, []),
        str(found.about.get("created", _UNKNOWN)),
        found.about.get("seconds"),
        {
            "Command": _command(found.about),
            "Networks": networks,
            "Perturbation": f"{found.norm}, {round_down(found.radius, None)}",
            "Versions": in_words(found.about.get("versions", {})),
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
        epochs = _epochs(folder)
        return f"{sum(epochs):.0f} s, {len(epochs)} epochs"
    except (OSError, ValueError, KeyError, TypeError):
        return _UNKNOWN


def _epochs(folder: Path) -> list[float]:
    return [float(json.loads(line)["seconds"]) for line in (folder / LOG).read_text().splitlines()]
