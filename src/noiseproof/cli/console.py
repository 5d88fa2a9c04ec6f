"""What all commands share: results on standard output, everything else on standard error."""

import json
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from noiseproof.errors import InvalidInputError, Terminated
from noiseproof.numerics.decimals import percent, percent_down, round_down
from noiseproof.plugins import finite

if TYPE_CHECKING:
    from noiseproof.evaluation.certified_accuracy import Summary
    from noiseproof.runs.store import ShardedRecord

__all__ = [
    "TOLD_EVERY",
    "console",
    "interruptible",
    "messages",
    "print_json",
    "progress_bar",
    "require_all",
    "resumable",
    "say",
    "summary_table",
    "volume",
]

console = Console()
messages = Console(stderr=True)
TOLD_EVERY = ContextVar("TOLD_EVERY", default=30.0)
"""Seconds between two lines of progress where there is no terminal."""


def say(message: str, where: Console = messages) -> None:
    """Print a message; in a log it is one line, since there is no terminal width."""
    where.print(message, highlight=False, soft_wrap=not where.is_terminal)


@contextmanager
def volume(*, quiet: bool, verbose: bool) -> Iterator[None]:
    """Set how many messages are printed, by --quiet and --verbose; results and errors are always printed.

    Raises:
        InvalidInputError: both.
    """
    if quiet and verbose:
        raise InvalidInputError(
            "--quiet", required="left out with --verbose", got="both", remedy="Leave one of them out."
        )
    messages.quiet, before = quiet, TOLD_EVERY.set(5.0 if verbose else TOLD_EVERY.get())
    try:
        yield
    except Exception:
        if verbose:
            traceback.print_exc()
        raise
    finally:
        messages.quiet = False
        TOLD_EVERY.reset(before)


def print_json(value: Any) -> None:
    """Print JSON on standard output; numbers that are not finite become null, since JSON has none."""
    sys.stdout.write(json.dumps(finite(value), indent=2, allow_nan=False) + "\n")


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
def resumable(kept: str) -> Iterator[None]:
    """Add to an interruption a note of what is kept, for `interruptible`."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.add_note(kept)
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: say what is kept and how to go on; the exit codes are 143 and 130."""

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    heard = threading.current_thread() is threading.main_thread()  # no other thread may say what a signal does
    before = signal.signal(signal.SIGTERM, terminate) if heard else None
    try:
        yield
    except KeyboardInterrupt as stopped:
        kept = " ".join(["", *getattr(stopped, "__notes__", ())])
        command = shlex.join(["noiseproof", *sys.argv[1:]])
        say(f"[yellow]Interrupted.[/]{escape(kept)} To go on, run the same command again:\n  {escape(command)}")
        raise SystemExit(143 if isinstance(stopped, Terminated) else 130) from None
    finally:
        if heard:
            signal.signal(signal.SIGTERM, before)


def require_all(record: "ShardedRecord[Any, Any]", left: Sequence[int]) -> None:
    """End with exit code 3 if shards were left to another process that has not finished them."""
    if not all(map(record.holds, left)):
        raise SystemExit(3)


def summary_table(title: str, rows: Sequence[tuple[str, "Summary"]]) -> Table:
    """Return summaries with the same radii as a table: one column a procedure, so that it fits any terminal."""
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
        table.add_row(f"certified at radius {round_down(radius, None)}", *cells)
    return table
