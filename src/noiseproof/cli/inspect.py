"""`noiseproof inspect`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from noiseproof.cli.console import console, print_json, say
from noiseproof.cli.options import Json

if TYPE_CHECKING:
    from noiseproof.runs.records import Record
    from noiseproof.runs.sequential_records import SequentialRecord

__all__ = ["inspect"]


def inspect(
    run: Annotated[Path, Parameter(help="A run folder with votes.")],
    /,
    *,
    json: Json = False,
) -> None:
    """Show what a run is: model, data, noise, engine, versions, and which of its votes are there and whole.

    Exits with 1 if shards are damaged; certify counts those anew.
    """
    from noiseproof.runs.records import Record
    from noiseproof.runs.sequential_records import SequentialRecord

    stopped = (run / SequentialRecord.configuration).exists()
    record: Record | SequentialRecord = SequentialRecord.open(run) if stopped else Record.open(run)
    missing, faults = record.missing()
    found = _found(record, missing, [fault.what for fault in faults])
    if json:
        print_json(found)
    else:
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in _rows(found):
            table.add_row(f"[bold]{escape(name)}[/]", escape(value))
        console.print(table)
        for fault in faults:
            say(f"[yellow]Damaged:[/] {escape(str(fault))}")
    if faults:
        raise SystemExit(1)


def _found(record: "Record | SequentialRecord", missing: list[int], damaged: list[str]) -> dict[str, Any]:
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
            "damaged": damaged,
            "seconds": round(sum(shard.get("seconds", 0.0) for shard in shards), 3),
            "batch_sizes": sorted({shard["batch_size"] for shard in shards if "batch_size" in shard}),
            "devices": sorted({shard["device"] for shard in shards if "device" in shard}),
            "last": max((shard["written"] for shard in shards if "written" in shard), default=None),
        },
        "about": dict(record.about),
    }


def _votes(record: "Record | SequentialRecord", images: int) -> int:
    from noiseproof.runs.records import Record

    if isinstance(record, Record):
        return images * (record.settings.samples + record.settings.selection_samples)
    return int(record.read().votes.sum()) if images else 0


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    settings, counted, about = found["settings"], found["counted"], found["about"]
    yield "run", found["run"]
    yield "model", _words(settings["model"])
    yield "data", _words(settings["data"])
    yield "noise", _words(settings["noise"])
    yield "engine", _words(settings.get("engine", {"": "not recorded (format 1)"}))
    training = about.get("training") or {}
    if training:
        yield "trained", _words(training.get("settings", {}))
        yield "trained on", _words(training.get("data", {}))
    yield "images", f"{settings['start']} to {settings['stop'] - 1}, every {settings['step']}"
    if "procedure" in settings:
        yield "until", _words({name: value for name, value in settings["procedure"].items() if name != "prior"})
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
    yield "versions", _words(about.get("versions", {}))


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}".strip() for key, value in values.items() if value is not None)
