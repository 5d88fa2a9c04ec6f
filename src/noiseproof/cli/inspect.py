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
    run: Annotated[Path, Parameter(help="A run folder with votes, an attack or an audit, or a folder of such.")],
    /,
    *,
    json: Json = False,
) -> None:
    """Show what a run, an attack or an audit is: model, data, noise, engine, versions, and which votes are there and whole.

    Exits with 1 if shards are damaged; certify counts those anew.
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
    if faults:
        raise SystemExit(1)
