"""`noiseproof reproduce`."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from noiseproof.cli.console import JsonOption, console, messages, print_json, say
from noiseproof.cli.ladder import ladder_table

if TYPE_CHECKING:
    from noiseproof.experiments.runs import Missing

__all__ = ["FigureName", "reproduce"]


class FigureName(StrEnum):
    """Figures and tables of the paper that can be reproduced so far."""

    table1 = "table1"
    figure1 = "figure1"
    figure3 = "figure3"
    figure4 = "figure4"
    figure5 = "figure5"
    figure6 = "figure6"
    ladder = "ladder"
    all = "all"


def reproduce(
    figure: Annotated[FigureName, typer.Argument(help="Which figure or table of the paper.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the pictures, numbers and page.")] = Path("runs/reproduction"),
    records: Annotated[
        Path, typer.Option(help="Folder with the records: mnist/stn-0.7 and so on. figure5 needs none.")
    ] = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Make a figure or table of the paper anew, and say which of its claims hold.

    table1: STN beside reference [17]. figure1: accuracy lower bounds. Both with three values: printed, by the paper's
    procedure done right, and ours. figure3: defences against white-box and transferred attacks. figure4: MNIST, stability
    training at several sigma. figure5: the Rényi bound against PixelDP over all probabilities (appendix A), with the tight
    bound beside them. figure6: MNIST, one defence against every kind of attack. ladder: whether these attacks find what
    there is to find; exit code 1 if a check fails. all: everything, with one HTML page.

    All but figure5 are made from records; what is missing is named, with the command that makes it.
    """
    if figure is FigureName.table1:
        _table1(records, out, json=json)
    elif figure is FigureName.figure1:
        _figure1(records, out, json=json)
    elif figure is FigureName.figure5:
        _figure5(out, json=json)
    elif figure is FigureName.ladder:
        _ladder(records, out, json=json)
    elif figure is FigureName.all:
        _all(records, out, json=json)
    else:
        _attacked(figure, records, out, json=json)


def _table1(records: Path, out: Path, *, json: bool) -> None:
    from noiseproof.experiments import table1

    found = table1.compute(records)
    paths = table1.write(found, out) if found.measured else []
    if json:
        _as_json("table1", found.missing, paths)
    else:
        table = Table(title="table1", title_justify="left", box=SIMPLE_HEAD)
        table.add_column("")
        for heading in ("MNIST, robust", "MNIST, natural", "CIFAR-10, robust", "CIFAR-10, natural"):
            table.add_column(heading, justify="right")
        for row in found.rows:
            table.add_row(f"[bold]{escape(row.model)}[/]")
            for key, texts in table1.lines(row):
                table.add_row(key, *texts)
        console.print(table)
        for key, text in table1.LINES.items():
            console.print(f"{key}: {text.removeprefix(f'{key}: ')}", highlight=False)
        _say_made(paths, found.missing)
    if not found.measured:
        raise typer.Exit(1)


def _figure1(records: Path, out: Path, *, json: bool) -> None:
    from noiseproof.experiments import figure1

    found = figure1.compute(records)
    drawn = bool(found.curves) or found.attacked is not None
    paths = figure1.write(found, out) if drawn else []
    if json:
        _as_json("figure1", found.missing, paths)
    else:
        for data in dict.fromkeys(curve.data for curve in found.curves):
            for key, procedure in {**figure1.PROCEDURES, "printed": "as printed"}.items():
                table = Table(
                    title=f"figure1, {data}, lower bounds (%); {procedure}", title_justify="left", box=SIMPLE_HEAD
                )
                table.add_column("radius")
                for radius in figure1.TABLE_RADII[data]:
                    table.add_column(f"{radius:.4g}", justify="right")
                for own, name, texts in figure1.lines(found, data):
                    if own == key:
                        table.add_row(name, *texts)
                console.print(table)
        _say_made(paths, found.missing)
    if not drawn:
        raise typer.Exit(1)


def _all(records: Path, out: Path, *, json: bool) -> None:
    from noiseproof.experiments import reproduction

    found = reproduction.compute(records)
    paths = reproduction.write(found, out)
    if json:
        _as_json("all", found.missing, paths)
        return
    for each in found.missing:
        if not each.command:
            messages.print(f"[yellow]Missing:[/] {escape(f'{each.what}: {each.why}')}", soft_wrap=True, highlight=False)
    _say_made(paths[:1], found.missing)


def _as_json(name: str, missing: "Sequence[Missing]", paths: Iterable[Path], **more: object) -> None:
    commands = [each.command for each in missing if each.command]
    why = [{"what": each.what, "why": each.why, "command": each.command} for each in missing]
    print_json({"figure": name, "missing": commands, "why": why, "files": [str(path) for path in paths]} | more)


def _say_made(paths: Sequence[Path], missing: "Sequence[Missing]") -> None:
    if paths:
        say("Wrote " + ", ".join(escape(str(path)) for path in paths))
    for each in missing:
        if each.command and not each.why.startswith("not there"):
            messages.print(f"[yellow]{escape(each.what)}:[/] {escape(each.why)}", soft_wrap=True, highlight=False)
    _say_missing(each.command for each in missing if each.command)


def _say_missing(commands: Iterable[str]) -> None:
    for command in dict.fromkeys(commands):
        messages.print(f"[yellow]Missing:[/] {escape(command)}", soft_wrap=True, highlight=False)


def _figure5(out: Path, *, json: bool) -> None:
    from noiseproof.experiments import figure5

    result = figure5.compute()
    paths = figure5.write(result, out)
    if json:
        claims = [{"claim": c.text, "share": c.share, "counterexample": c.counterexample} for c in result.claims]
        print_json({"figure": "figure5", "claims": claims, "files": [str(path) for path in paths]})
        return
    table = Table(title="figure5: the paper's claims", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("claim")
    table.add_column("holds on", justify="right", no_wrap=True)
    table.add_column("fails most at", justify="right")
    for claim in result.claims:
        example = claim.counterexample
        where = "nowhere" if example is None else "p = ({:.3f}, {:.3f}): {:.3f} against {:.3f}".format(*example)
        table.add_row(claim.text, f"{100 * claim.share:.1f} %", where)
    console.print(table)
    say("Wrote " + ", ".join(str(path) for path in paths))


def _ladder(records: Path, out: Path, *, json: bool) -> None:
    from noiseproof.experiments import ladder_figure

    found, missing, _ = ladder_figure.compute(records)
    paths = ladder_figure.write(found, {each.what: each.why for each in missing}, out) if found else []
    sound = found is not None and all(check.passed for check in found.checks())
    if json:
        _as_json("ladder", missing, paths, sound=sound)
    else:
        if found:
            images = len(ladder_figure.IMAGES)
            console.print(ladder_table(found, f"ladder: MNIST, {images} images, {found.norm} {found.size:g}"))
        if missing:
            say("Without " + ", ".join(escape(each.what) for each in missing))
        _say_made(paths, missing)
    if not sound:
        raise typer.Exit(1)


def _attacked(figure: FigureName, records: Path, out: Path, *, json: bool) -> None:
    from noiseproof.experiments import attack_figures

    panels, missing = attack_figures.compute(attack_figures.FIGURES[figure.value], records)
    paths = attack_figures.write(figure.value, panels, out) if panels else []
    if json:
        _as_json(figure.value, missing, paths)
    else:
        for panel in panels:
            sizes = [f"{size:g}" for size in panel.curves[0].sizes]
            table = Table(title=f"{figure.value}: {panel.title}, still right", title_justify="left", box=SIMPLE_HEAD)
            table.add_column("attack (images)")
            for size in sizes:
                table.add_column(size, justify="right", no_wrap=True)
            for curve in panel.curves:
                table.add_row(curve.name, *(f"{100 * share:.1f}" for share in curve.robust))
            console.print(table)
        _say_made(paths, missing)
    if not panels:
        raise typer.Exit(1)
