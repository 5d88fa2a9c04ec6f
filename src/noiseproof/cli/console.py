"""What all commands share: results on standard output, everything else on standard error."""

import json
import math
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from noiseproof.evaluation.certified_accuracy import Summary

__all__ = [
    "console",
    "messages",
    "percent",
    "print_json",
    "progress_bar",
    "resumable",
    "say",
    "summary_dict",
    "summary_table",
]

console = Console()
messages = Console(stderr=True)


def say(message: str) -> None:
    """Print a message for people; in a log, where nobody sees its width, it is a line of its own."""
    messages.print(message, highlight=False, soft_wrap=not messages.is_terminal)


def print_json(value: Any) -> None:
    """Print JSON on standard output; what is no finite number is null, since JSON has none."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def progress_bar(description: str, total: int | None, *, visible: bool = True) -> Iterator[tuple[Progress, Any]]:
    """Show a progress bar on standard error; yields it with its task."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=messages, disable=not visible) as progress:
        yield progress, progress.add_task(description, total=total, note="")


@contextmanager
def resumable(what: str) -> Iterator[None]:
    """Turn Ctrl-C into a message that says what is kept and how to go on, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        command = shlex.join(["noiseproof", *sys.argv[1:]])
        say(f"[yellow]Interrupted.[/] {escape(what)} To go on, run the same command again:\n  {escape(command)}")
        raise SystemExit(130) from None


def summary_dict(title: str, summary: "Summary") -> dict[str, Any]:
    """Return a summary as JSON-compatible data.

    Args:
        title: of the procedure.
        summary: its figures.
    """
    from noiseproof.reports.analysis import exact

    population = summary.population
    return {
        "procedure": title,
        "images": summary.images,
        "natural_accuracy": summary.natural_accuracy,
        "abstained": summary.abstained,
        "average_certified_radius": summary.average_certified_radius,
        "certified_accuracy": {
            exact(radius): float(accuracy)
            for radius, accuracy in zip(summary.radii, summary.certified_accuracy, strict=True)
        },
        "allowance": summary.allowance,
        "population_lower_bound": None
        if population is None
        else {exact(radius): float(bound) for radius, bound in zip(summary.radii, population, strict=True)},
        "confidence": summary.confidence,
    }


def summary_table(title: str, rows: Sequence[tuple[str, "Summary"]]) -> Table:
    """Return summaries with the same radii as a table: one column a procedure, so that it fits any terminal."""
    from noiseproof.reports import round_down
    from noiseproof.reports.analysis import exact, percent_down

    first = rows[0][1]
    table = Table(title=escape(title), title_justify="left", title_style="bold", header_style="", box=SIMPLE_HEAD)
    table.add_column(f"{first.images} images", no_wrap=True)
    for procedure, _ in rows:
        table.add_column(escape(procedure), justify="right")
    table.add_row("natural accuracy (voted)", *(percent(row.natural_accuracy) for _, row in rows))
    table.add_row("abstained", *(percent(row.abstained) for _, row in rows))
    table.add_row("average certified radius", *(round_down(row.average_certified_radius) for _, row in rows))
    for number, radius in enumerate(first.radii):
        cells = (percent_down(row.certified_accuracy[number]) for _, row in rows)
        table.add_row(f"certified at radius {exact(radius)}", *cells)
    return table


def percent(fraction: float) -> str:
    """Format a share."""
    return f"{100 * fraction:.1f} %"
