"""Rows of records, and their columns in files: one row an image, in the order of the data set."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

__all__ = ["Table", "as_column", "as_rows", "require_sums"]

TableT = TypeVar("TableT", bound="Table")


@dataclass(frozen=True)
class Table:
    """Rows of a record: a frozen dataclass of arrays and lists, each as long as there are images, or None.

    Attributes:
        index: (images,) index in the data set.
        label: (images,) its class.
    """

    index: Int[np.ndarray, " images"]
    label: Int[np.ndarray, " images"]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self: TableT, rows: slice) -> TableT:  # noqa: PYI019 - beartype knows no Self
        """Return some of the rows."""
        columns = ((each.name, getattr(self, each.name)) for each in fields(self))
        found: dict[str, Any] = {name: None if column is None else column[rows] for name, column in columns}
        return type(self)(**found)

    @classmethod
    def joined(cls: type[TableT], tables: Sequence[TableT]) -> TableT:  # noqa: PYI019 - beartype knows no Self
        """Return the rows of one table after those of another; at least one."""
        return cls(**{each.name: _joined([getattr(table, each.name) for table in tables]) for each in fields(cls)})

    def columns(self) -> dict[str, pa.Array]:
        """Return the rows as columns of a file."""
        return {"index": pa.array(self.index, pa.int64()), "label": pa.array(self.label, pa.int64())}


def _joined(parts: list[Any]) -> Any:
    if any(part is None for part in parts):
        return None
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else [each for part in parts for each in part]


def as_column(rows: Int[np.ndarray, "images columns"] | Float[np.ndarray, "images columns"]) -> pa.Array:
    """Return rows of integers or real numbers as an Arrow column of fixed-size lists."""
    kind = pa.float64() if np.issubdtype(rows.dtype, np.floating) else pa.int64()
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), kind), rows.shape[1])


def as_rows(column: pa.ChunkedArray, columns: int) -> Any:
    """Return such a column as an array (images, columns)."""
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, columns)


def require_sums(votes: Int[np.ndarray, "*rows classes"], samples: int) -> None:
    """Raise ValueError unless the votes of every row are counts that add up: certificates rest on them."""
    if (votes < 0).any() or (votes.sum(-1) != samples).any():
        raise ValueError(f"votes that do not add up to {samples} per image")
