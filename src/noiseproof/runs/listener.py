"""What is told while a job runs, to whoever shows it. Free of torch, so that a command line can have one before work begins."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseproof.classifiers import Throughput

__all__ = ["Listener"]


class Listener:
    """Is told what happens while a job runs; does nothing, until a subclass does."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def say(self, text: str, heading: str = "") -> None:
        """A message for people, in a sentence; the heading of one that deserves attention."""

    def measured(self, rows: "Sequence[Throughput]") -> None:
        """How fast the precisions are, where that was measured."""

    def begin(self, images: int, each: int) -> None:
        """The loop begins on so many images; `each` is what `progress` is told of each in sum, or 0 if that is open."""

    def kept(self, votes: int, images: int) -> None:
        """A shard was opened, of which an earlier run has kept so many votes, or the rows of so many images."""

    def progress(self, count: int) -> None:
        """So many votes were counted, or images attacked at one size, since the last call."""

    def image(self, votes: int) -> None:
        """An image of a sequential certification is decided, by so many votes."""

    def shard(self, number: int, table: Any) -> None:
        """A shard is written, with these rows."""

    def end(self, images: int, of: int) -> None:
        """The loop has ended: the record holds so many images of so many."""
