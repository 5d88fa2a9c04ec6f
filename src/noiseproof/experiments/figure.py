"""The base of every figure and table: computed from records, printed as tables, written as files."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, final

from matplotlib.figure import Figure as Drawing

from noiseproof.experiments.recipes import Missing, Reader
from noiseproof.reports.figures import figure_png, figure_svg
from noiseproof.reports.tables import Table
from noiseproof.storage.files import write_atomically

__all__ = ["Figure", "Result"]

Content = TypeVar("Content")


@dataclass(frozen=True)
class Result(Generic[Content]):
    """A figure computed from a folder of records.

    Attributes:
        content: what the figure draws, writes and prints.
        missing: the records that would complete it.
        sources: the records it was computed from, by folder.
    """

    content: Content
    missing: Sequence[Missing]
    sources: Mapping[str, Any]


class Figure(ABC, Generic[Content]):
    """A figure or table of the paper, or a check of its experiments."""

    name: str
    """Name of its files."""

    title: str
    """Heading on the page of the reproduction: its number in the paper, and after a colon what it shows."""

    indent: ClassVar[int | None] = 1
    """Indentation of its JSON file; None for a single line."""

    @abstractmethod
    def read(self, reader: Reader) -> Content:
        """Compute the content from the records found. The reader notes those that are missing or damaged."""

    @abstractmethod
    def numbers(self, found: Result[Content]) -> Any:
        """Return the numbers behind the figure as plain data; None where no record of it was found."""

    @abstractmethod
    def tables(self, content: Content) -> list[Table]:
        """Return the tables that the command line prints and the page shows."""

    def draw(self, content: Content) -> Drawing | None:  # noqa: ARG002 - a table has no picture
        """Return the picture; None for a table. It is called only where there are `numbers`."""
        return None

    def sound(self, content: Content) -> bool:  # noqa: ARG002 - only some figures check something
        """Return whether every check holds."""
        return True

    def told(self, content: Content) -> dict[str, Any]:  # noqa: ARG002 - only some figures have more
        """Return what `--json` prints in addition to the files and the missing records."""
        return {}

    @final
    def compute(self, records: Path) -> Result[Content]:
        """Compute the figure from a folder of records. A damaged record counts as missing; the others are used."""
        reader = Reader(records)
        return Result(self.read(reader), reader.missing, reader.sources)

    def files(self, found: Result[Content]) -> dict[str, bytes]:
        """Return its files by name: the picture, if there is one, as PNG and SVG, and the numbers as JSON."""
        if (numbers := self.numbers(found)) is None:
            return {}
        files = {f"{self.name}.json": json.dumps(numbers, indent=self.indent).encode()}
        if (drawing := self.draw(found.content)) is None:
            return files
        return {f"{self.name}.png": figure_png(drawing), f"{self.name}.svg": figure_svg(drawing).encode()} | files

    @final
    def write(self, found: Result[Content], folder: Path) -> list[Path]:
        """Write the files and return their paths."""
        files = self.files(found)
        for name, content in files.items():
            write_atomically(folder / name, content)
        return [folder / name for name in files]
