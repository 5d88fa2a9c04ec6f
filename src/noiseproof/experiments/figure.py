"""What every figure and table is: computed from records, printed as tables, written as files."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, final

from matplotlib.figure import Figure as Drawing

from noiseproof.experiments.recipes import Missing
from noiseproof.reports.figures import figure_png, figure_svg
from noiseproof.storage.files import write_atomically

__all__ = ["Figure", "Result", "Table", "as_json", "drawn"]


@dataclass(frozen=True)
class Table:
    """A table to be printed.

    Attributes:
        title: above it.
        headings: of its columns.
        rows: texts of the columns; one alone is a heading within the table.
        notes: lines below it.
        numeric: whether all columns but the first hold numbers.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    numeric: bool = True


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a figure computes.

    Attributes:
        missing: what would complete it.
        sources: the records that were read, by the name of their folder.
    """

    missing: Sequence[Missing]
    sources: Mapping[str, Any]


Found = TypeVar("Found", bound=Result)


class Figure(ABC, Generic[Found]):
    """A figure or table of the paper, or what goes with it."""

    name: str
    """Of its files, and on the command line."""

    @abstractmethod
    def compute(self, records: Path) -> Found:
        """Return it from the records there are; one that is damaged is named, and spoils no other."""

    @abstractmethod
    def files(self, found: Found) -> dict[str, bytes]:
        """Return what is written, by name; nothing where nothing was found."""

    @abstractmethod
    def tables(self, found: Found) -> list[Table]:
        """Return what is printed."""

    def sound(self, found: Found) -> bool:  # noqa: ARG002 - of others
        """Whether what was found holds."""
        return True

    def told(self, found: Found) -> dict[str, Any]:  # noqa: ARG002 - of others
        """Return what it tells programs beside its files and what is missing."""
        return {}

    @final
    def write(self, found: Found, folder: Path) -> list[Path]:
        """Write its files and return their paths."""
        files = self.files(found)
        for name, content in files.items():
            write_atomically(folder / name, content)
        return [folder / name for name in files]


def as_json(content: Any, indent: int | None = 1) -> bytes:
    """Return plain data as a file of JSON."""
    return json.dumps(content, indent=indent).encode()


def drawn(name: str, drawing: Drawing, numbers: Any, indent: int | None = 1) -> dict[str, bytes]:
    """Return the files of a picture, with its numbers beside it."""
    pictures = {f"{name}.png": figure_png(drawing), f"{name}.svg": figure_svg(drawing).encode()}
    return pictures | {f"{name}.json": as_json(numbers, indent)}
