"""Callbacks of a running job. Free of torch, so that a command line can create one before anything heavy is loaded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseproof.classifiers import Throughput

__all__ = ["Listener"]


class Listener:
    """Callbacks of a running job; a subclass overrides those that it shows."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def say(self, text: str, heading: str = "") -> None:
        """A message in a sentence; a heading marks one that deserves attention."""

    def measured(self, rows: "Sequence[Throughput]") -> None:
        """The measured speed of each precision, where it was measured."""

    def begin(self, images: int, each: int) -> None:
        """The loop begins on so many images; `each` is the sum of `progress` per image, or 0 if it is unknown."""

    def kept(self, votes: int, images: int) -> None:
        """A shard was opened of which an earlier run kept so many votes, or the rows of so many images."""

    def progress(self, count: int) -> None:
        """So many votes were counted, or images attacked at one size, since the last call."""

    def image(self, votes: int) -> None:
        """An image of a sequential certification is decided after so many votes."""

    def shard(self, number: int, table: Any) -> None:
        """A shard is written, with these rows."""

    def end(self, images: int, of: int) -> None:
        """The loop has ended: the record holds `images` of its `of` images."""
