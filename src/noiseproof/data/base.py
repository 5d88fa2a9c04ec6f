"""The base of all data sets: images in [0, 1], read by index, and labels."""

import hashlib
import operator
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, SupportsIndex, final

import numpy as np
from jaxtyping import Float, Float32, Int, Integer, Num, UInt8

from noiseproof.errors import InvalidInputError, require_count

if TYPE_CHECKING:
    import torch.utils.data

    Labelled = torch.utils.data.Dataset[tuple[np.ndarray, int]]
else:
    Labelled = object  # a DataLoader asks for __getitem__ and __len__ alone; reading data needs no torch

__all__ = ["ArrayDataset", "Dataset", "IndexedImages", "Split"]

Split = Literal["train", "test"]

_BLOCK = 2**22
"""Pixels that a digest turns into float32 at a time: 16 MiB."""


class IndexedImages(NamedTuple):
    """Images with their indices, which key their noise: a batch of a stream, or one image of a data set of your own.

    A `torch.utils.data.DataLoader` keeps the pair: where `dataset[i]` is `IndexedImages(image, i)`, its batches are
    `IndexedImages` of as many images and indices.

    Attributes:
        images: float, in [0, 1], an array or a torch tensor.
        indices: distinct integers, one for each image.
    """

    images: Any
    indices: Any


class Dataset(ABC, Labelled):
    """A named, ordered set of labelled images. Indices are stable: records refer to images by them.

    `dataset[i]` is (image, label), so a `torch.utils.data.DataLoader` takes it as it is.

    Attributes:
        name: the name it is loaded by, or what its file or folder is called.
        split: "train" or "test".
        labels: (images,), int64, 0 to num_classes - 1.
        num_classes: k.
        image_shape: (channels, height, width).
        location: the file or folder it was read from; None without one.
        source: argument of `load` that reads it again: the name of a published set, or an absolute path; None if it was made
            from arrays.
        class_names: by their numbers, of images in folders and of CIFAR-10.
        file_names: of images in folders, by their indices: paths within the folder.
        verified: whether its files are the published ones, by checksum; None where there is nothing to compare with.
        loader: reads a split from where this one came from, in the same way; None if it was made from arrays.
        part: how its images were chosen among those of another data set, as plain data; None where it is whole.
        eight_bit: whether every pixel is some k / 255, as files of 8 bits have it.
    """

    name: str
    split: Split
    labels: Int[np.ndarray, " images"]
    num_classes: int
    image_shape: tuple[int, ...]
    location: str | None = None
    source: str | None = None
    class_names: tuple[str, ...] | None = None
    file_names: tuple[str, ...] | None = None
    verified: bool | None = None
    loader: "Callable[[Split], Dataset] | None" = None
    part: Mapping[str, Any] | None = None
    eight_bit: bool = False

    @abstractmethod
    def read(self, indices: Sequence[int]) -> Float[np.ndarray, "selected channels height width"]:
        """Return the images at these indices, float32 in [0, 1]. Large sets read no others."""

    @abstractmethod
    def digest(self) -> str:
        """Return a SHA-256 that changes when any image or label does."""

    @final
    def about(self) -> dict[str, Any]:
        """Return its identity for a record: name, split, digest, part; "verified": False for unpublished files."""
        about: dict[str, Any] = {"name": self.name, "split": self.split, "digest": self.digest()}
        about |= {"verified": False} if self.verified is False else {}
        return about | ({} if self.part is None else {"part": dict(self.part)})

    @final
    def other_split(self, split: Split) -> "Dataset":
        """Load another split from the same file or folder, with the same settings.

        Raises:
            InvalidInputError: it was made from arrays, or there is no such split.
            RunError: the files of that split are damaged, or not the published ones.
        """
        if self.loader is None:
            raise InvalidInputError(
                "split",
                required=f"{self.split}, the only one that {self.name} has",
                got=repr(split),
                remedy="Make a data set of the other arrays too.",
            )
        return self.loader(split)

    @final
    def __len__(self) -> int:
        return len(self.labels)

    @final
    def __getitem__(self, index: SupportsIndex) -> tuple[Float32[np.ndarray, "channels height width"], int]:
        """Return an image and its label; a negative index counts from the end.

        Raises:
            IndexError: there is no such image.
        """
        return self.__getitems__([operator.index(index)])[0]

    @final
    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Float32[np.ndarray, "channels height width"], int]]:
        """Return several images and labels, as a `DataLoader` requests a batch; large sets read them together.

        Raises:
            IndexError: there is no such image.
        """
        images = len(self)
        for index in indices:
            if not -images <= index < images:
                raise IndexError(f"index {index} of a data set of {images} images")
        places = [int(index) % images for index in indices]
        return list(zip(self.read(places), self.labels[places].tolist(), strict=True))

    @final
    def batches(self, size: int = 256) -> Iterator[IndexedImages]:
        """Yield all images with their indices, in order, so many at a time: for `SmoothedClassifier.certify`.

        Raises:
            InvalidInputError: size < 1.
        """
        require_count("size", size, 1, "256 is the default.")
        for first in range(0, len(self), size):
            indices = range(first, min(first + size, len(self)))
            yield IndexedImages(self.read(indices), indices)

    @final
    def __repr__(self) -> str:
        about = [repr(self.name), repr(self.split), f"{len(self)} images {self.image_shape}"]
        about += [f"num_classes={self.num_classes}"] + ([] if self.part is None else [f"part={self.part}"])
        return f"{type(self).__name__}({', '.join(about)})"


class ArrayDataset(Dataset):
    """A data set held in memory.

    8-bit images stay 8-bit, a quarter of the memory: `read` divides by 255, and round(255 x) gives them back exactly.
    The digest is that of the divided pixels.

    Args:
        name: what it is called in records.
        split: "train" or "test".
        images: (images, channels, height, width), floats in [0, 1] or 8-bit integers; an array or a torch tensor.
        labels: (images,), integers from 0; an array or a torch tensor.
        num_classes: k.

    Raises:
        InvalidInputError: lengths differ, pixels lie outside [0, 1] or labels outside 0 .. k - 1.
    """

    images: Float32[np.ndarray, "images channels height width"] | UInt8[np.ndarray, "images channels height width"]

    def __init__(
        self,
        name: str,
        split: Split,
        images: Num[Any, "images channels height width"],
        labels: Integer[Any, " labels"],
        num_classes: int,
    ) -> None:
        images, labels = _array(images), _array(labels)
        if len(images) != len(labels):
            raise InvalidInputError(
                "labels",
                required=f"one for each of the {len(images)} images",
                got=len(labels),
                remedy="Check the files.",
            )
        self.eight_bit = images.dtype == np.uint8
        if images.size and not (
            self.eight_bit or (np.isfinite(images).all() and images.min() >= 0.0 and images.max() <= 1.0)
        ):
            raise InvalidInputError(
                "images",
                required="finite and in [0, 1], or 8-bit integers (uint8)",
                got=f"{images.dtype} from {images.min()} to {images.max()}",
                remedy="Divide 8-bit images by 255 and remove NaN.",
            )
        if len(labels) and not (labels.min() >= 0 and labels.max() < num_classes):
            raise InvalidInputError(
                "labels",
                required=f"from 0 to {num_classes - 1}",
                got=f"{labels.min()} to {labels.max()}",
                remedy="Number the classes from 0.",
            )
        self.name, self.split, self.num_classes = name, split, num_classes
        self.images = np.ascontiguousarray(images, dtype=np.uint8 if self.eight_bit else np.float32)
        self.labels = labels.astype(np.int64)
        self.image_shape = self.images.shape[1:]

    def read(self, indices: Sequence[int]) -> Float[np.ndarray, "selected channels height width"]:
        """Return a copy of the images at these indices."""
        return _pixels(self.images[np.asarray(indices, dtype=np.int64)])

    def digest(self) -> str:
        """Return the SHA-256 of shape, float32 pixels and labels."""
        parts = hashlib.sha256(repr(self.images.shape).encode())
        flat = self.images.reshape(-1)
        for first in range(0, len(flat), _BLOCK):
            parts.update(_pixels(flat[first : first + _BLOCK]).data)
        parts.update(self.labels.tobytes())
        return parts.hexdigest()


def _pixels(values: Num[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Float32 pixels of what is held: 8-bit ones divided by 255, others as they are."""
    return values.astype(np.float32) / np.float32(255.0) if values.dtype == np.uint8 else values


def _array(values: Any) -> np.ndarray:
    """The array of an array or a torch tensor, which may lie on a GPU or carry a gradient."""
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    if torch is not None and isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)
