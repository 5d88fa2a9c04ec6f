"""Some images of a data set, and random choices of them."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from noiseproof.data.base import Dataset
from noiseproof.errors import InvalidInputError

__all__ = ["Subset", "random_subset"]


class Subset(Dataset):
    """The images of a data set at some indices, read from it when they are needed.

    Its digest is that of the data set and of the indices; all other attributes are those of the data set. `other_split`
    is the whole other split.

    Args:
        whole: the data set.
        indices: into it, ascending.
        part: how they were chosen, as plain data, for records.

    Raises:
        InvalidInputError: indices that do not ascend, or that the data set does not have.
    """

    indices: Int64[np.ndarray, " images"]
    part: Mapping[str, Any]

    def __init__(self, whole: Dataset, indices: Sequence[int], part: Mapping[str, Any]) -> None:
        chosen = np.asarray(indices, dtype=np.int64)
        bounded = np.concatenate([[-1], chosen, [len(whole)]])
        if not (np.diff(bounded) > 0).all():
            raise InvalidInputError(
                "indices", required=f"ascending, from 0 to {len(whole) - 1}", got=chosen, remedy="Sort them, each once."
            )
        self.whole, self.indices, self.part = whole, chosen, dict(part)
        self.name, self.split, self.num_classes = whole.name, whole.split, whole.num_classes
        self.labels, self.image_shape = whole.labels[chosen], whole.image_shape
        self.location, self.source, self.class_names = whole.location, whole.source, whole.class_names
        named = whole.file_names
        self.file_names = None if named is None else tuple(named[index] for index in chosen)
        self.verified, self.loader, self.eight_bit = whole.verified, whole.loader, whole.eight_bit

    def read(self, indices: Sequence[int]) -> Float[np.ndarray, "selected channels height width"]:
        """Return the images at these indices of the subset."""
        return self.whole.read([int(self.indices[index]) for index in indices])

    def digest(self) -> str:
        """Return the SHA-256 of the digest of the data set and of the indices."""
        return hashlib.sha256(self.whole.digest().encode() + self.indices.astype("<i8").tobytes()).hexdigest()


@lru_cache(maxsize=8)
def random_subset(of: int, images: int, seed: int) -> tuple[int, ...]:
    """Draw indices of images without replacement, all subsets of that size being equally likely; ascending.

    Those i of 0 .. M - 1 with the smallest SHA-256 of the text "subset SEED of M: i". This needs no generator, whose
    versions could differ, and anyone can repeat it in any language. A subset of fewer images is part of a larger one of
    the same seed. The seed is independent of that of the noise, and must be chosen before any result is seen.

    Args:
        of: M, images of the data set.
        images: how many to draw.
        seed: of the drawing.

    Raises:
        InvalidInputError: more images than there are, or less than one.

    Example:
        >>> random_subset(10, 3, seed=1)
        (3, 5, 8)
    """
    if not 1 <= images <= of:
        raise InvalidInputError("images", required=f"from 1 to {of}", got=images, remedy="Draw fewer images.")
    keys = (hashlib.sha256(f"subset {seed} of {of}: {index}".encode()).digest() for index in range(of))
    return tuple(sorted(index for _, index in sorted(zip(keys, range(of), strict=True))[:images]))
