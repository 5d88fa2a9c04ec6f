"""Data sets by name: images in [0, 1] and labels."""

from collections.abc import Callable
from typing import get_args

from noiseproof.data.base import ArrayDataset, Dataset, Split
from noiseproof.data.digits import load_digits
from noiseproof.errors import InvalidInputError

__all__ = ["ArrayDataset", "Dataset", "Split", "load", "load_digits", "names"]

_BY_NAME: dict[str, Callable[[Split], Dataset]] = {"digits": load_digits}


def names() -> tuple[str, ...]:
    """Return the names that `load` knows."""
    return tuple(_BY_NAME)


def load(name: str, split: Split) -> Dataset:
    """Load a data set by name.

    Raises:
        InvalidInputError: no such name or split.
    """
    if split not in get_args(Split):
        raise InvalidInputError(
            "split", required=" or ".join(get_args(Split)), got=repr(split), remedy="Name one of the two."
        )
    if name not in _BY_NAME:
        raise InvalidInputError(
            "data",
            required=f"one of {', '.join(_BY_NAME)}",
            got=repr(name),
            remedy="Own images: ArrayDataset.",
        )
    return _BY_NAME[name](split)
