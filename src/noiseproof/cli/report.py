"""`noiseproof report`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.cli.attack import attack_table
from noiseproof.cli.console import console, print_json, say, summary_table
from noiseproof.cli.options import Flag, Json, ProcedureOptions, Radii
from noiseproof.cli.sequential import show_sequential

if TYPE_CHECKING:
    from noiseproof.reports import Analysis

__all__ = ["report", "show_analyses"]


def report(
    runs: Annotated[list[Path], Parameter(help="Run folders with votes, attacks or audits, to be compared.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The page to write; its plot is written beside it as PNG and SVG.")] = Path(
        "report.html"
    ),
    procedure: ProcedureOptions = ProcedureOptions(),
    paper: Annotated[Flag, Parameter(help="Also draw the paper's procedure on the same votes, dashed.")] = False,
    radii: Radii = None,
    json: Json = False,
) -> None:
    """Write one HTML page: certified accuracy against radius, figures, images, settings.

    Runs of certify --radius or --rtol get a page of outcomes and votes used; attacks and audits, or folders of them,
    get pages of their own. Everything is computed from recorded votes. The page is self-contained and loads nothing.
    """
    from noiseproof.reports.analysis import PAPER
    from noiseproof.reports.by_kind import open_report

    found = open_report(runs, **procedure.named(), radii=radii, beside=[PAPER] if paper else [])
    files = found.write(out)
    if json:
        pages = {"page": str(files.page), "png": str(files.png), "svg": str(files.svg)}
        print_json(pages | {"models": found.plain()})
        return
    _SHOWN[found.kind](found.analyses)
    say(f"Report: [bold]{escape(str(files.page.resolve()))}[/]")


def _show_attacks(analyses: Any) -> None:
    for each in analyses:
        console.print(attack_table(each.record, each.name, each.summary, each.certified))


def _show_audits(analyses: Any) -> None:
    for each in analyses:
        say(f"{escape(each.name)}: {each.result}")


def show_analyses(analyses: "Sequence[Analysis]") -> None:
    """Print a table for every model."""
    from noiseproof.reports.naming import apart, incomplete

    difference = apart([analysis.record for analysis in analyses])
    if difference:
        say(f"[yellow]Not the same images:[/] {escape(difference)}")
    for analysis in analyses:
        if missing := incomplete(analysis.record, len(analysis.votes)):
            say(f"[yellow]Incomplete:[/] {missing}")
        if analysis.departure:
            say(f"[yellow]Another procedure:[/] {escape(analysis.departure)}")
        console.print(summary_table(analysis.name, [(c.procedure.title, c.summary) for c in analysis.curves]))


_SHOWN: dict[str, Callable[[Any], None]] = {
    "votes": show_analyses,
    "sequential votes": show_sequential,
    "attack": _show_attacks,
    "audit": _show_audits,
}
