"""How a long count is shown: a bar on a terminal, a line every half minute in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from noiseproof.cli.console import messages, say

if TYPE_CHECKING:
    from noiseproof.records import VoteTable

__all__ = ["Counting", "counting_progress"]

_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""

Judge = Callable[["VoteTable"], int]
"""How many images of a shard are certified at the radius that is watched."""


class Counting:
    """What has been counted so far in this call.

    Args:
        votes_per_image: of both phases.
        images: how many there are to count.
        watched: what the judge looks for, such as "certified at 0.25".
        judge: applied to every shard as it is written.
    """

    def __init__(self, votes_per_image: int, images: int, watched: str, judge: Judge) -> None:
        self.votes = 0
        self.total = votes_per_image * images
        self.images = images
        self._per_image = votes_per_image
        self._watched, self._judge = watched, judge
        self._judged = self._certified = 0
        self._begun = time.perf_counter()

    def add(self, votes: int) -> None:
        """Take note of votes."""
        self.votes += votes

    def shard(self, _number: int, table: "VoteTable") -> None:
        """Take note of a shard."""
        self._judged += len(table)
        self._certified += self._judge(table)

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.perf_counter() - self._begun

    def __str__(self) -> str:
        """Speed and running certified accuracy."""
        speed = self.votes / max(self.seconds, 1e-9)
        text = f"{self.votes // self._per_image}/{self.images} images, {speed:,.0f} votes/s"
        if speed / self._per_image >= 0.1:
            text += f" = {speed / self._per_image:,.1f} images/s"
        if self._judged:
            text += f", {100 * self._certified / self._judged:.1f} % {self._watched}"
        return text


@contextmanager
def counting_progress(counting: Counting) -> Iterator[Callable[[int], None]]:
    """Show the progress on standard error; yields what is to be called with the number of votes added."""
    if not messages.is_terminal:
        yield _as_lines(counting)
        return
    columns: tuple[ProgressColumn, ...] = (
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        _State(counting),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=messages) as bar:
        task = bar.add_task("certify", total=counting.total)

        def add(votes: int) -> None:
            counting.add(votes)
            bar.update(task, completed=counting.votes)

        yield add


class _State(ProgressColumn):
    def __init__(self, counting: Counting) -> None:
        super().__init__()
        self._counting = counting

    def render(self, task: Task) -> Text:  # noqa: ARG002 - the interface of a column
        return Text(str(self._counting))


def _as_lines(counting: Counting) -> Callable[[int], None]:
    last = time.perf_counter()

    def add(votes: int) -> None:
        nonlocal last
        counting.add(votes)
        if time.perf_counter() - last >= _EVERY:
            last = time.perf_counter()
            left = counting.seconds * (counting.total / counting.votes - 1.0)
            say(f"{100 * counting.votes / counting.total:.0f} %, {counting}, {left:.0f} s left")

    return add
