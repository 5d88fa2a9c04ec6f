"""`noiseproof reproduce`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from noiseproof.cli.console import JsonOption, console, messages, print_json, say

__all__ = ["FigureName", "reproduce"]


class FigureName(StrEnum):
    """Figures and tables of the paper that can be reproduced so far."""

    figure3 = "figure3"
    figure4 = "figure4"
    figure5 = "figure5"
    figure6 = "figure6"


def reproduce(
    figure: Annotated[FigureName, typer.Argument(help="Which figure of the paper.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the pictures and numbers.")] = Path("runs/reproduction"),
    records: Annotated[Path, typer.Option(help="Folder with the records of attacks, for figures 3, 4 and 6.")] = Path(
        "runs/mnist"
    ),
    json: JsonOption = False,
) -> None:
    """Redraw a figure of the paper, and say which of its claims hold.

    figure3: MNIST, defences against white-box and transferred attacks. figure4: stability training at several sigma.
    figure5: the Rényi bound against PixelDP over all probabilities (appendix A), with the tight bound beside them.
    figure6: MNIST, one defence against every kind of attack.

    Figures 3, 4 and 6 are drawn from records; the command that makes a missing one is printed.
    """
    if figure is FigureName.figure5:
        _figure5(out, json=json)
    else:
        _attacked(figure, records, out, json=json)


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


def _attacked(figure: FigureName, records: Path, out: Path, *, json: bool) -> None:
    from noiseproof.experiments import attack_figures

    panels, missing = attack_figures.compute(attack_figures.FIGURES[figure.value], records)
    paths = attack_figures.write(figure.value, panels, out) if panels else []
    if json:
        print_json({"figure": figure.value, "missing": missing, "files": [str(path) for path in paths]})
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
        if paths:
            say("Wrote " + ", ".join(escape(str(path)) for path in paths))
        for command in missing:
            messages.print(f"[yellow]Missing:[/] {escape(command)}", soft_wrap=True, highlight=False)
    if not panels:
        raise typer.Exit(1)
