"""Data sets by name: images in [0, 1] and labels."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from noiseproof.data.arrays import load_npz
from noiseproof.data.base import ArrayDataset, Dataset, Split
from noiseproof.data.digits import load_digits
from noiseproof.errors import InvalidInputError

__all__ = ["ArrayDataset", "Dataset", "Split", "load", "load_digits", "load_npz", "names"]

_BY_NAME: dict[str, Callable[[Split], Dataset]] = {"digits": load_digits}


def names() -> tuple[str, ...]:
    """Return the names that `load` knows."""
    return tuple(_BY_NAME)


def load(name: str, split: Split, num_classes: int | None = None) -> Dataset:
    """Load a data set by name, or from a path that ends in .npz.

    Args:
        name: one of `names()`, or a path.
        split: "train" or "test".
        num_classes: k of a file of your own; None is its highest label + 1.

    Raises:
        InvalidInputError: no such name or split, or a malformed file.
        RunError: the file is missing or damaged.
    """
    if split not in get_args(Split):
        raise InvalidInputError(
            "split", required=" or ".join(get_args(Split)), got=repr(split), remedy="Name one of the two."
        )
    if name.endswith(".npz"):
        return load_npz(Path(name), split, num_classes)
    if name not in _BY_NAME:
        raise InvalidInputError(
            "data",
            required=f"{', '.join(_BY_NAME)}, or a path that ends in .npz",
            got=repr(name),
            remedy="Own images: numpy.savez('mine.npz', images=..., labels=...).",
        )
    return _BY_NAME[name](split)
