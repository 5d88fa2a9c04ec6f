"""`noiseproof certify --radius` and `--rtol`: sequential certification."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from noiseproof.cli.console import console, print_json, say
from noiseproof.numerics.decimals import percent, percent_down, round_down

if TYPE_CHECKING:
    from noiseproof.cli.options import StoppingOptions
    from noiseproof.reports.sequential import SequentialAnalysis
    from noiseproof.runs.sequential_records import SequentialRecord

__all__ = [
    "default_folder",
    "show_sequential",
    "show_sequential_record",
]


def default_folder(run: Path, stopping: "StoppingOptions") -> Path:
    """Return the folder for the votes: for sequential certification a folder of its own within the run."""
    if stopping.radius is None:
        return run if stopping.rtol is None else run / f"rtol-{stopping.rtol:g}"
    parts = ["radius", *(f"{value:g}" for value in stopping.radius)]
    return run / "-".join([*parts, "runner-up"] if stopping.runner_up else parts)


def show_sequential_record(record: "SequentialRecord", *, radii: Sequence[float] | None, json: bool) -> None:
    """Print the outcomes of a record, and the votes used."""
    from noiseproof.reports.plain import plain_sequential
    from noiseproof.reports.sequential import analyse_sequential

    analysis = analyse_sequential([record], radii=radii)[0]
    if json:
        print_json(plain_sequential(analysis))
        return
    show_sequential([analysis])


def show_sequential(analyses: "Sequence[SequentialAnalysis]") -> None:
    """Print a table for every record."""
    from noiseproof.reports.naming import incomplete
    from noiseproof.reports.sequential import LEANING
    from noiseproof.sequential import EstimateRadius

    for analysis in analyses:
        usage = analysis.usage
        if missing := incomplete(analysis.record, len(analysis.votes)):
            say(f"[yellow]Incomplete:[/] {missing} {LEANING}")
        table = Table(
            title=escape(analysis.name), title_justify="left", title_style="bold", header_style="", box=SIMPLE_HEAD
        )
        table.add_column(f"{len(analysis.votes)} images, alpha {analysis.alpha:g}", no_wrap=True)
        for heading in ("certified,\nright class", "certified,\nwrong class", "futile", "undecided"):
            table.add_column(heading, justify="right")
        for row in analysis.rows:
            shares = (percent_down(row.right), *map(percent, (row.wrong, row.futile, row.undecided)))
            table.add_row(f"at {round_down(row.radius, None)}", *shares)
        console.print(table)
        if analysis.runner_up:
            say("Decided by winner and runner-up.")
        if isinstance(analysis.record.rule, EstimateRadius):
            say(f"Average certified radius {round_down(analysis.average_radius)}.")
        limit = "" if usage.over_limit is None else f", {usage.over_limit:.2f} x the information limit"
        say(
            f"Votes an image: {usage.mean:,.0f} on average, median {usage.median:,.0f}, at most {usage.largest:,}: "
            f"{analysis.fixed / usage.mean:,.1f} x fewer than {analysis.fixed:,} for each{limit}."
        )
        if usage.fixed is not None:
            say(
                f"A number fixed beforehand, to certify the same: {usage.fixed:,} for each, "
                f"{usage.fixed / usage.mean:,.1f} x more."
            )
