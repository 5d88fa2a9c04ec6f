"""`noiseproof inspect`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from noiseproof.cli.console import console, print_json, say
from noiseproof.cli.options import Json

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
    from noiseproof.runs.inspection import inspect_record, open_votes

    record = open_votes(run)
    found, faults = inspect_record(record), record.missing()[1]
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
