"""`noiseproof inspect`."""

from pathlib import Path
from typing import Annotated

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
    from noiseproof.runs.inspection import inspect_record, inspection_rows, open_votes

    record = open_votes(run)
    found, faults = inspect_record(record), record.missing()[1]
    if json:
        print_json(found)
    else:
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in inspection_rows(found):
            table.add_row(f"[bold]{escape(name)}[/]", escape(value))
        console.print(table)
        for fault in faults:
            say(f"[yellow]Damaged:[/] {escape(str(fault))}")
    if faults:
        raise SystemExit(1)
