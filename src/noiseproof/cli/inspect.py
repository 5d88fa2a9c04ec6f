"""`noiseproof inspect`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from noiseproof.cli.console import console, print_json, say
from noiseproof.cli.options import ClassifierOptions, DataOptions, Flag, Json
from noiseproof.cli.progress import Shown

__all__ = ["inspect"]


def inspect(
    run: Annotated[Path, Parameter(help="A run folder with votes, an attack or an audit, or a folder of these.")],
    /,
    *,
    verify_randomness: Annotated[
        Flag, Parameter(help="Draw the noise of one shard, chosen at random, again, and compare its votes.")
    ] = False,
    json: Json = False,
) -> None:
    """Show a run, an attack or an audit: model, data, noise, engine, versions, and which votes are complete and intact.

    The exit code is 1 if shards are damaged (certify counts them again), or if votes that are counted again differ.
    """
    from noiseproof.runs.inspection import find_records, inspect_record, inspection_rows

    records = find_records(run)
    faults = [fault for record in records for fault in record.missing()[1]]
    shown = list(map(inspect_record, records))
    if json:
        print_json(shown[0] if records[0].path == run else {"records": shown})
    for found in () if json else shown:
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in inspection_rows(found):
            table.add_row(f"[bold]{escape(name)}[/]", escape(value))
        console.print(table)
    for fault in () if json else faults:
        say(f"[yellow]Damaged:[/] {escape(str(fault))}")
    others = [record for record in records if _has_other_votes(record)] if verify_randomness else []
    if faults or others:
        raise SystemExit(1)


def _has_other_votes(record: Any) -> bool:
    """Count one shard again, and return whether its votes differ."""
    from noiseproof.runs.recount import recount

    with Shown("Nothing is changed.", "inspect") as shown:
        found = recount(record, ClassifierOptions().load(record.path, DataOptions()), listener=shown)
    if found.other:
        say(f"[red]Other votes[/] on {len(found.other)} of {found.images}, by up to {found.largest}.")
    else:
        say(f"Drawn again, the noise of the record gives the votes of {found.images}.")
    return bool(found.other)
