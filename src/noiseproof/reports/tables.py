"""Tables as plain text, for the terminal and for a page alike."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from noiseproof.numerics.decimals import percent

__all__ = ["Table", "per_cent"]


@dataclass(frozen=True)
class Table:
    """A table of texts.

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


def per_cent(shares: Iterable[float], rounded: Callable[[float], str] = percent) -> list[str]:
    """Return shares in per cent, without the unit: lower bounds by `percent_down`, upper ones by `percent_up`."""
    return [rounded(share).removesuffix(" %") for share in shares]
