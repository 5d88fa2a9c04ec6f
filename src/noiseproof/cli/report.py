"""`noiseproof report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.cli.console import console, print_json, say, summary_table
from noiseproof.cli.options import Json, Radii

if TYPE_CHECKING:
    from noiseproof.reports import Analysis, ReportFiles
    from noiseproof.runs.sequential_records import SequentialRecord

__all__ = ["report", "show_analyses"]


def report(
    runs: Annotated[list[Path], Parameter(help="Run folders with votes, to be compared.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The page to write; its curves go beside it as PNG and SVG.")] = Path(
        "report.html"
    ),
    alpha: Annotated[
        float,
        Parameter(help="Failure probability of each certificate; runs of --radius or --rtol have their own."),
    ] = 0.001,
    radii: Radii = None,
    json: Json = False,
) -> None:
    """Write one HTML page: certified accuracy against radius, figures, images, settings.

    Runs of certify --radius or --rtol get another page: what was decided, and with how many votes.
    Everything is computed from recorded votes. The page opens from the disk and loads nothing.
    """
    from noiseproof.reports import analyse, write_report
    from noiseproof.reports.plain import plain_analysis
    from noiseproof.runs.records import Record
    from noiseproof.runs.sequential_records import SequentialRecord

    if any((run / SequentialRecord.configuration).exists() for run in runs):
        _report_sequential([SequentialRecord.open(run) for run in runs], out, radii, json=json)
        return
    analyses = analyse([Record.open(run) for run in runs], alpha=alpha, radii=radii)
    files = write_report(analyses, out)
    if json:
        print_json(_plain(files) | {"models": list(map(plain_analysis, analyses))})
        return
    show_analyses(analyses)
    say(f"Report: [bold]{escape(str(files.page.resolve()))}[/]")


def _report_sequential(
    records: "Sequence[SequentialRecord]", out: Path, radii: Sequence[float] | None, *, json: bool
) -> None:
    from noiseproof.cli.sequential import show_sequential
    from noiseproof.reports import analyse_stopped, write_stopped_report
    from noiseproof.reports.plain import plain_sequential

    analyses = analyse_stopped(records, radii=radii)
    files = write_stopped_report(analyses, out)
    if json:
        print_json(_plain(files) | {"models": list(map(plain_sequential, analyses))})
        return
    show_sequential(analyses)
    say(f"Report: [bold]{escape(str(files.page.resolve()))}[/]")


def _plain(files: "ReportFiles") -> dict[str, Any]:
    return {"page": str(files.page), "png": str(files.png), "svg": str(files.svg)}


def show_analyses(analyses: "Sequence[Analysis]") -> None:
    """Print a table for every model."""
    for analysis in analyses:
        if not analysis.complete:
            say(
                f"[yellow]Incomplete:[/] {len(analysis.votes)} of {len(analysis.record.settings.indices)} images so far."
            )
        console.print(summary_table(analysis.name, [(c.procedure.title, c.summary) for c in analysis.curves]))
