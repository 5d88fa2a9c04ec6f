"""`noiseproof reproduce`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from noiseproof.cli.console import console, messages, print_json, resumable, say
from noiseproof.cli.options import Flag, Json
from noiseproof.experiments import FIGURES

if TYPE_CHECKING:
    from noiseproof.experiments.figure import Figure
    from noiseproof.experiments.recipes import Missing
    from noiseproof.reports.tables import Table as PlainTable

__all__ = ["reproduce"]


def reproduce(
    figure: Annotated[str, Parameter(choices=tuple(FIGURES), help="Which figure or table of the paper.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the pictures, numbers and page.")] = Path("runs/reproduction"),
    records: Annotated[
        Path, Parameter(help="Folder with the records: mnist/stn-0.7 and so on. figure5 needs none.")
    ] = Path("runs"),
    make: Annotated[Flag, Parameter(help="First make the missing records, step by step. It resumes.")] = False,
    json: Json = False,
) -> None:
    """Reproduce a figure or table of the paper, and say which of its claims hold.

    table1: STN beside reference [17]. figure1: accuracy lower bounds. Both with three values: as printed, by the
    paper's procedure with correct intervals, and by ours. figure3: defences against white-box and transferred attacks.
    figure4: stability training at several sigma. figure5: the Rényi bound against PixelDP over all probabilities
    (appendix A), with the tight bound beside them; no claim of the paper changes the exit code. figure6, figure7: one
    defence against every kind of attack, on MNIST and CIFAR-10. ladder: sanity checks of these attacks; exit code 1 if
    one fails. all: everything, with one page.

    All but figure5 need records. Missing ones are named with their commands, or made by --make. No record: exit code 3.
    """
    from noiseproof.experiments import load_figure

    chosen = load_figure(figure)
    if make:
        _make(chosen, records)
    found = chosen.compute(records)
    paths = chosen.write(found, out)
    if json:
        commands = [each.command for each in found.missing if each.steps]
        content = {"figure": figure, "missing": commands, "why": [each.plain() for each in found.missing]}
        print_json(content | {"files": [str(path) for path in paths]} | chosen.told(found.content))
    else:
        for table in chosen.tables(found.content):
            _show(table)
        _say_made(paths, found.missing)
    _say_kept(found.missing, records)
    if chosen.numbers(found) is None:
        raise SystemExit(3)  # no record of it is there
    if not chosen.sound(found.content):
        raise SystemExit(1)


def _make(figure: "Figure[Any]", records: Path) -> None:
    """Run what is missing, after the time that each step is likely to take is printed."""
    from noiseproof.experiments.make import make, plan, run_step

    missing = figure.compute(records).missing
    for line in plan(missing, records):
        messages.print(escape(line), soft_wrap=True, highlight=False)
    _say_kept(missing, records)
    with resumable("The steps that ended are kept, and the one that was stopped goes on."):
        make(figure, records, run_step)


def _say_kept(missing: Sequence["Missing"], records: Path) -> None:
    """Name the repository's own records where they have what is missing."""
    from noiseproof.experiments.make import kept

    if remedy := kept(missing, records):
        messages.print(f"[yellow]Recorded:[/] {escape(remedy)}", soft_wrap=True, highlight=False)


def _show(plain: "PlainTable") -> None:
    table = Table(title=escape(plain.title), title_justify="left", box=SIMPLE_HEAD)
    for number, heading in enumerate(plain.headings):
        table.add_column(escape(heading), justify="left" if number == 0 or not plain.numeric else "right")
    for row in plain.rows:
        table.add_row(*([f"[bold]{escape(row[0])}[/]"] if len(row) == 1 else map(escape, row)))
    console.print(table)
    for note in plain.notes:
        console.print(escape(note), highlight=False)


def _say_made(paths: Sequence[Path], missing: Sequence["Missing"]) -> None:
    if paths:
        say("Wrote " + ", ".join(escape(str(path)) for path in paths))
    for each in missing:
        if not each.why.startswith("not there") or not each.steps:
            messages.print(f"[yellow]{escape(each.what)}:[/] {escape(each.why)}", soft_wrap=True, highlight=False)
    for step in dict.fromkeys(step for each in missing for step in each.steps):
        messages.print(f"[yellow]Missing:[/] {escape(str(step))}", soft_wrap=True, highlight=False)
