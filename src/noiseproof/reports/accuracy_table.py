"""A table of accuracies with several values a cell: as printed, as measured by one procedure and by another, as verified."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from noiseproof.numerics.decimals import percent, percent_down

__all__ = ["Cell", "Column", "Row", "Value"]

Column = tuple[str, str]
"""Data set, and kind of accuracy: "robust" or "natural"."""


@dataclass(frozen=True)
class Value:
    """One measured value: shares of the images, a number for each seed.

    Attributes:
        seeds: of training; none where they are unpublished.
        shares: of the images, one for each seed.
        at_least: lower bound of their mean, with 95 % confidence; None where nothing of the kind is claimed.
        votes: per image; the most there can be where they are sequential; 0 for a verifier, which takes none.
        images: N.
        sequential: whether sampling stopped once the radius was decided.
        runner_up: whether the test compared the winner with the runner-up.
    """

    seeds: tuple[int, ...]
    shares: tuple[float, ...]
    at_least: float | None
    votes: int
    images: int
    sequential: bool = False
    runner_up: bool = False

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.shares))


@dataclass(frozen=True)
class Cell:
    """A cell of the table; None is missing.

    Attributes:
        printed: per cent, as printed in the paper; None where the paper has no such model.
        paper: measured, by the paper's procedure.
        ours: measured, by ours.
        verified: by a deterministic verifier, in place of both.
    """

    printed: float | None
    paper: Value | None = None
    ours: Value | None = None
    verified: Value | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, all values as shares."""
        values = {key: value for key, value in asdict(self).items() if key != "printed" and value is not None}
        printed = None if self.printed is None else self.printed / 100
        return {"printed": printed} | (values or {"measured": "missing"})


@dataclass(frozen=True)
class Row:
    """A model of the table.

    Attributes:
        model: its name.
        cells: by column; a column that is not there has no such model.
        deterministic: whether it is verified and not voted on.
        networks: by data set, what was verified, as its file says.
    """

    model: str
    cells: Mapping[Column, Cell]
    deterministic: bool = False
    networks: Mapping[str, str] = field(default_factory=dict)

    def lines(self, columns: Sequence[Column], radii: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
        """Yield its lines: the key of the value, and the text of every column, of a robust accuracy with its radius."""
        for key in ("printed", "verified") if self.deterministic else ("printed", "paper", "ours"):
            yield key, [_text(self.cells.get(column), key, column, radii) for column in columns]

    def table(self, columns: Sequence[Column], radii: Mapping[str, str]) -> list[list[str]]:
        """Return its rows of a `Table`: the model, and below it each line after the key of its value."""
        return [[self.model], *([key, *texts] for key, texts in self.lines(columns, radii))]

    def plain(self, columns: Sequence[Column], radii: Mapping[str, float]) -> list[dict[str, Any]]:
        """Return its cells as plain data."""
        return [
            {"model": self.model, "data": data, "accuracy": kind}
            | ({"radius": radii[data]} if kind == "robust" else {})
            | self.cells[data, kind].plain()
            for data, kind in columns
            if (data, kind) in self.cells
        ]


def _text(cell: Cell | None, key: str, column: Column, radii: Mapping[str, str]) -> str:
    """Return the text of a cell: "a (b %)", as the paper writes a radius a with an accuracy b."""
    data, kind = column
    value: Value | float | None = None if cell is None else getattr(cell, key)
    if value is None:
        return "–" if cell is None or key == "printed" else "missing"
    if isinstance(value, float):
        text = f"{value:.1f} %"
    else:
        # what is certified, or called so, is rounded down; who is right by vote or without noise, to the nearest tenth
        rounded = percent_down if key == "ours" or kind == "robust" else percent
        low, high = (rounded(end(value.shares)).removesuffix(" %") for end in (min, max))
        text = rounded(value.mean) + (f" [{low} to {high}]" if len(value.shares) > 1 else "")
    text = f"{radii[data]} ({text})" if kind == "robust" else text
    least = value.at_least if isinstance(value, Value) else None
    return text if least is None else f"{text}, at least {percent_down(least)}"
