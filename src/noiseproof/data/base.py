"""What every data set gives: images in [0, 1], read by index, and labels."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Int

from noiseproof.errors import InvalidInputError

__all__ = ["ArrayDataset", "Dataset", "Split"]

Split = Literal["train", "test"]


class Dataset(ABC):
    """A named, ordered set of labelled images. Indices are stable: records refer to images by them.

    Attributes:
        name: the name it is loaded by.
        split: "train" or "test".
        labels: (images,), int64, 0 to num_classes - 1.
        num_classes: k.
        image_shape: (channels, height, width).
        location: what `load` takes to read its other split, where that is not the name.
    """

    name: str
    split: Split
    labels: Int[np.ndarray, " images"]
    num_classes: int
    image_shape: tuple[int, ...]
    location: str | None = None

    @abstractmethod
    def read(self, indices: Sequence[int]) -> Float[np.ndarray, "selected channels height width"]:
        """Return the images at these indices, float32 in [0, 1]. Large sets read only what is asked for."""

    @abstractmethod
    def digest(self) -> str:
        """Return a SHA-256 that changes when any image or label does."""

    @final
    def __len__(self) -> int:
        return len(self.labels)


class ArrayDataset(Dataset):
    """A data set held in memory.

    Args:
        name: what it is called in records.
        split: "train" or "test".
        images: (images, channels, height, width), float32 in [0, 1].
        labels: (images,), integers from 0.
        num_classes: k.

    Raises:
        InvalidInputError: lengths differ, pixels lie outside [0, 1] or labels outside 0 .. k - 1.
    """

    def __init__(
        self,
        name: str,
        split: Split,
        images: Float[np.ndarray, "images channels height width"],
        labels: Int[np.ndarray, " labels"],
        num_classes: int,
    ) -> None:
        if len(images) != len(labels):
            raise InvalidInputError(
                "labels",
                required=f"one for each of the {len(images)} images",
                got=len(labels),
                remedy="Check the files.",
            )
        if len(images) and not (np.isfinite(images).all() and images.min() >= 0.0 and images.max() <= 1.0):
            raise InvalidInputError(
                "images",
                required="finite and in [0, 1]",
                got=f"from {images.min()} to {images.max()}",
                remedy="Divide 8-bit images by 255, remove NaN.",
            )
        if len(labels) and not (labels.min() >= 0 and labels.max() < num_classes):
            raise InvalidInputError(
                "labels",
                required=f"from 0 to {num_classes - 1}",
                got=f"{labels.min()} to {labels.max()}",
                remedy="Number the classes from 0.",
            )
        self.name, self.split, self.num_classes = name, split, num_classes
        self.images = np.ascontiguousarray(images, dtype=np.float32)
        self.labels = labels.astype(np.int64)
        self.image_shape = self.images.shape[1:]

    def read(self, indices: Sequence[int]) -> Float[np.ndarray, "selected channels height width"]:
        """Return a copy of the images at these indices."""
        return self.images[np.asarray(indices, dtype=np.int64)]

    def digest(self) -> str:
        """Return the SHA-256 of shape, pixels and labels."""
        parts = hashlib.sha256(repr(self.images.shape).encode())
        parts.update(self.images.tobytes())
        parts.update(self.labels.tobytes())
        return parts.hexdigest()
