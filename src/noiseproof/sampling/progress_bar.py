"""A progress bar on standard error for the votes of one call."""

from collections.abc import Iterator
from contextlib import contextmanager

from noiseproof.sampling.counts import Progress

__all__ = ["ProgressLike", "told"]

ProgressLike = Progress | bool | None
"""A function that is called with the number of votes added; True shows a bar."""


@contextmanager
def told(progress: ProgressLike, total: int | None) -> Iterator[Progress | None]:
    """Yield the function that is called with the votes added: the one given, that of a bar, or None.

    Args:
        progress: as for `SmoothedClassifier.certify`.
        total: how many votes there will be; None where that is not known.
    """
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    counted = TextColumn("{task.completed:.0f}") if total is None else MofNCompleteColumn()
    columns = (BarColumn(), counted, TextColumn("votes"), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("votes", total=total)
        yield lambda votes: bar.advance(task, votes)
