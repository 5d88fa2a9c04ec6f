"""Progress of a job: a bar on a terminal, a line every half minute in a log."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from noiseproof.cli.console import TOLD_EVERY, messages, say
from noiseproof.cli.engine import speed_table
from noiseproof.numerics.decimals import percent_down
from noiseproof.runs.listener import Listener

if TYPE_CHECKING:
    from noiseproof.classifiers import Throughput

__all__ = ["Shown"]


class Shown(Listener):
    """Shows a job on standard error; adds to an interruption a note of what is kept, for `console.interruptible`.

    Args:
        kept: what an interruption leaves: `Job.kept`.
        title: of the bar.
        unit: what `progress` counts: "votes", or "" to show no count.
        watched: what `judge` counts, such as "certified at 0.25".
        judge: returns how many images of a shard's table are so.
    """

    def __init__(
        self,
        kept: str,
        title: str = "certify",
        *,
        unit: str = "",
        watched: str = "",
        judge: Callable[[Any], int] = lambda _table: 0,
    ) -> None:
        self._kept, self._title, self._unit = kept, title, unit
        self._watched, self._judge = watched, judge
        self._images = self._each = 0
        self._before = self._done = self._decided = self._used = 0
        self._judged = self._right = 0
        self._begun = self._told = time.perf_counter()
        self._bar: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> "Shown":  # noqa: PYI034 - as everywhere
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if isinstance(error, KeyboardInterrupt) and self._unit and not self._images:
            error.add_note("Nothing was counted this time; a record that was there before is unchanged.")
        elif isinstance(error, KeyboardInterrupt):
            error.add_note(self._kept + (" Confidence is stated when all images are counted." if self._watched else ""))

    def say(self, text: str, heading: str = "") -> None:
        """Print a message."""
        mark = "" if heading.endswith("?") else ":"
        say(f"[yellow]{escape(heading)}{mark}[/] {escape(text)}" if heading else escape(text))

    def measured(self, rows: "Sequence[Throughput]") -> None:
        """Print how fast the precisions are."""
        messages.print(speed_table(list(rows)))

    def begin(self, images: int, each: int) -> None:
        """Begin the bar."""
        self._images, self._each = images, each
        self._begun = self._told = time.perf_counter()
        if messages.is_terminal:
            columns: tuple[ProgressColumn, ...] = (
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[state]}", markup=False),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=True),
            )
            self._bar = Progress(*columns, console=messages)
            self._task = self._bar.add_task(self._title, total=1.0, state=self)
            self._bar.start()

    def kept(self, votes: int, images: int) -> None:
        """Add the votes of a shard that an earlier run kept."""
        self._before += (votes + images * self._each) if self._each else 0

    def progress(self, count: int) -> None:
        """Add votes, or images attacked at one size."""
        self._done += count
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._part)
        elif now - self._told >= TOLD_EVERY.get():
            self._told = now
            left = self._seconds * (1.0 / max(self._part, 1e-3) - 1.0)
            say(f"{100 * self._part:.0f} %, {self}, {left:.0f} s left")

    def image(self, votes: int) -> None:
        """Add a decided image and its votes."""
        self._decided += 1
        self._used += votes

    def shard(self, number: int, table: Any) -> None:  # noqa: ARG002 - it is not told which
        """Add a finished shard."""
        self._judged += len(table)
        self._right += self._judge(table)

    def end(self, images: int, of: int) -> None:
        """Print how many images were counted, now and in all."""
        if self._unit:
            now = self._judged - self._before // max(self._each, 1)
            held = f": {now} images now, the record holds {images} of {of}" if now < images else ""
            say(f"Counted {self} in {self._seconds:.0f} s{held}.")

    @property
    def _part(self) -> float:
        """The part that is done, 0 to 1; in sequential certification by images, of which the hardest come last."""
        if not self._each:
            return self._decided / max(self._images, 1)
        return (self._before + self._done) / max(self._each * self._images, 1)

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._begun

    def __str__(self) -> str:
        """Images, speed, votes an image where they differ, and running certified accuracy."""
        images = (self._before + self._done) // self._each if self._each else self._decided
        text = f"{images}/{self._images} images"
        if self._unit:
            speed = self._done / max(self._seconds, 1e-9)
            text += f", {speed:,.0f} {self._unit}/s"
            if self._each and speed / self._each >= 0.1:
                text += f" = {speed / self._each:,.1f} images/s"
        if self._decided:
            text += f", {self._used / self._decided:,.0f} votes an image"
        so_far = " so far" if self._judged < self._images else ""
        share = percent_down(self._right / self._judged) if self._judged else ""
        return text + (f", {share} {self._watched}{so_far}" if share and self._watched else "")
