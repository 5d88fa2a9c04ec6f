"""`noiseproof reproduce`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from noiseproof.cli.console import JsonOption, console, print_json, say

__all__ = ["FigureName", "reproduce"]


class FigureName(StrEnum):
    """Figures and tables of the paper that can be reproduced so far."""

    figure5 = "figure5"


def reproduce(
    figure: Annotated[FigureName, typer.Argument(help="Which figure of the paper.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the pictures and numbers.")] = Path("runs/reproduction"),
    json: JsonOption = False,
) -> None:
    """Redraw a figure of the paper, and say which of its claims hold.

    figure5: the Rényi bound against PixelDP over all probabilities (appendix A), with the tight bound beside them.
    """
    from noiseproof.experiments import figure5

    result = figure5.compute()
    paths = figure5.write(result, out)
    if json:
        claims = [{"claim": c.text, "share": c.share, "counterexample": c.counterexample} for c in result.claims]
        print_json({"figure": figure.value, "claims": claims, "files": [str(path) for path in paths]})
        return
    table = Table(title=f"{figure.value}: the paper's claims", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("claim")
    table.add_column("holds on", justify="right", no_wrap=True)
    table.add_column("fails most at", justify="right")
    for claim in result.claims:
        example = claim.counterexample
        where = "nowhere" if example is None else "p = ({:.3f}, {:.3f}): {:.3f} against {:.3f}".format(*example)
        table.add_row(claim.text, f"{100 * claim.share:.1f} %", where)
    console.print(table)
    say("Wrote " + ", ".join(str(path) for path in paths))
