"""What every figure and table is: computed from records, printed as tables, written as files."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, final

from matplotlib.figure import Figure as Drawing

from noiseproof.experiments.recipes import Missing, Reader
from noiseproof.numerics.decimals import percent
from noiseproof.reports.figures import figure_png, figure_svg
from noiseproof.storage.files import write_atomically

__all__ = ["Figure", "Result", "Table", "as_json", "per_cent"]

Content = TypeVar("Content")


@dataclass(frozen=True)
class Table:
    """A table to be printed.

    Attributes:
        title: above it.
        headings: of its columns.
        rows: the text of each column; a row of one text is a heading within the table.
        notes: lines below it.
        numeric: whether all columns but the first hold numbers.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    numeric: bool = True


@dataclass(frozen=True)
class Result(Generic[Content]):
    """What a figure computes from a folder of records.

    Attributes:
        content: what is drawn, written and printed.
        missing: the records that would complete it.
        sources: the records that were read, by their folder.
    """

    content: Content
    missing: Sequence[Missing]
    sources: Mapping[str, Any]


class Figure(ABC, Generic[Content]):
    """A figure or table of the paper, or a check that belongs to them."""

    name: str
    """Of its files, and on the command line."""

    title: str
    """On the page with all of them: what it is called, and after a colon what it shows."""

    indent: ClassVar[int | None] = 1
    """Of its JSON."""

    @abstractmethod
    def read(self, reader: Reader) -> Content:
        """Compute it from the records there are. The reader notes those that are missing or damaged."""

    @abstractmethod
    def numbers(self, found: Result[Content]) -> Any:
        """Return its numbers as plain data; None where nothing was found, and no file is written."""

    @abstractmethod
    def tables(self, content: Content) -> list[Table]:
        """Return what is printed."""

    def draw(self, content: Content) -> Drawing | None:  # noqa: ARG002 - a table has no picture
        """Return its picture, if it has one; called only where there are `numbers`."""
        return None

    def sound(self, content: Content) -> bool:  # noqa: ARG002 - only some figures check something
        """Return whether every check holds."""
        return True

    def told(self, content: Content) -> dict[str, Any]:  # noqa: ARG002 - only some figures have more
        """Return what `--json` prints beside the files and what is missing."""
        return {}

    def anything(self, found: Result[Content]) -> bool:
        """Return whether there is anything of it: numbers, or for a page of several figures a record."""
        return self.numbers(found) is not None

    @final
    def compute(self, records: Path) -> Result[Content]:
        """Compute it from a folder of records; a damaged record is named, and the others are used."""
        reader = Reader(records)
        return Result(self.read(reader), reader.missing, reader.sources)

    def files(self, found: Result[Content]) -> dict[str, bytes]:
        """Return its files by name: a picture in two formats where it has one, and the numbers."""
        if (numbers := self.numbers(found)) is None:
            return {}
        files = {f"{self.name}.json": as_json(numbers, self.indent)}
        if (drawing := self.draw(found.content)) is None:
            return files
        return {f"{self.name}.png": figure_png(drawing), f"{self.name}.svg": figure_svg(drawing).encode()} | files

    @final
    def write(self, found: Result[Content], folder: Path) -> list[Path]:
        """Write its files and return their paths."""
        files = self.files(found)
        for name, content in files.items():
            write_atomically(folder / name, content)
        return [folder / name for name in files]


def per_cent(shares: Iterable[float], rounded: Callable[[float], str] = percent) -> list[str]:
    """Return shares as numbers of per cent: observed ones to the nearest tenth, certified ones by `percent_down`."""
    return [rounded(share).removesuffix(" %") for share in shares]


def as_json(content: Any, indent: int | None = 1) -> bytes:
    """Return plain data as a file of JSON."""
    return json.dumps(content, indent=indent).encode()
