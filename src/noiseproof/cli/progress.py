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
    from noiseproof.runs.records import VoteTable

__all__ = ["Counting", "Deciding", "counting_progress"]

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

    def image(self, _votes: int) -> None:
        """Take note of a decided image."""

    @property
    def part(self) -> float:
        """How much is done, 0 to 1."""
        return self.votes / max(self._per_image * self.images, 1)

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
        return text + self._so_far()

    def _so_far(self) -> str:
        return f", {100 * self._certified / self._judged:.1f} % {self._watched}" if self._judged else ""


class Deciding(Counting):
    """What has been decided so far in this call.

    Args:
        images: how many there are to decide.
        watched: what the judge looks for.
        judge: applied to every shard as it is written.
    """

    def __init__(self, images: int, watched: str, judge: Judge) -> None:
        super().__init__(1, images, watched, judge)
        self._decided = self._used = 0

    def image(self, votes: int) -> None:
        """Take note of a decided image and its votes."""
        self._decided += 1
        self._used += votes

    @property
    def part(self) -> float:
        """How many of the images are decided; the hardest come last."""
        return self._decided / max(self.images, 1)

    def __str__(self) -> str:
        """Images, speed, votes an image and running certified accuracy."""
        text = f"{self._decided}/{self.images} images, {self.votes / max(self.seconds, 1e-9):,.0f} votes/s"
        if self._decided:
            text += f", {self._used / self._decided:,.0f} votes an image"
        return text + self._so_far()


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
        task = bar.add_task("certify", total=1.0)

        def add(votes: int) -> None:
            counting.add(votes)
            bar.update(task, completed=counting.part)

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
            left = counting.seconds * (1.0 / max(counting.part, 1e-3) - 1.0)
            say(f"{100 * counting.part:.0f} %, {counting}, {left:.0f} s left")

    return add
