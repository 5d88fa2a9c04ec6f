"""Your own images and labels, in one .npz file."""

import tokenize
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from noiseproof.data.base import ArrayDataset, Split
from noiseproof.errors import InvalidInputError, RunError

__all__ = ["load_npz"]


_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    TypeError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and NumPy raise on files that are damaged, encrypted or of another format."""


def load_npz(path: Path, split: Split, num_classes: int | None = None) -> ArrayDataset:
    """Read `images` and `labels` from a file that `numpy.savez` wrote; the training split is `train_images`, `train_labels`.

    Images are (images, channels, height, width), float in [0, 1] or 8-bit integers, which are divided by 255 as they are
    read; a missing channel axis is added. Pickled arrays are refused.

    Args:
        path: the file.
        split: which of the two.
        num_classes: k; None is the highest label + 1.

    Raises:
        RunError: the file is missing or damaged.
        InvalidInputError: an array is missing, of another shape or type, or outside its range.
    """
    keys = ("images", "labels") if split == "test" else ("train_images", "train_labels")
    if not path.is_file():
        raise RunError(str(path), required="a file", got="nothing there", remedy="Check the path.")
    required, remedy = "a whole .npz file of plain arrays", "Write it by numpy.savez(path, images=..., labels=...)."
    with RunError.instead_of(_DAMAGE, str(path), required=required, remedy=remedy):
        with zipfile.ZipFile(path):
            pass  # np.load reads other kinds of files as arrays
        with np.load(path, allow_pickle=False) as file:
            found = list(file)
            arrays = [_as_array(file[key]) for key in keys if key in file]
    if len(arrays) < 2:
        raise InvalidInputError(
            str(path),
            required=f"a file with the arrays {' and '.join(keys)}",
            got=", ".join(found) or "none",
            remedy="Rename them.",
        )
    images, labels = arrays
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or labels.ndim != 1 or labels.dtype.kind not in "iu" or images.dtype.kind not in "fu":
        raise InvalidInputError(
            str(path),
            required="images (images, channels, height, width), float or 8-bit, and integer labels (images,)",
            got=f"{images.dtype} {images.shape} and {labels.dtype} {labels.shape}",
            remedy="Reshape or convert them before saving.",
        )
    _require_channels_first(path, images.shape)
    if images.dtype.kind == "u" and images.dtype != np.uint8:
        raise InvalidInputError(
            str(path), required="8-bit integers or floats", got=str(images.dtype), remedy="Scale to [0, 1] first."
        )
    classes = int(labels.max(initial=0)) + 1 if num_classes is None else num_classes
    images = images if images.dtype == np.uint8 else images.astype(np.float32)
    dataset = ArrayDataset(path.name, split, images, labels.astype(np.int64), classes)
    dataset.location = str(path)
    dataset.loader = partial(load_npz, path, num_classes=num_classes)
    return dataset


def _require_channels_first(path: Path, shape: tuple[int, ...]) -> None:
    """Raise InvalidInputError where the last axis looks like colours, and the second like a side of an image."""
    if shape[3] in {1, 3, 4} and min(shape[1:3]) > max(shape[3], 4):
        raise InvalidInputError(
            str(path),
            required="images (images, channels, height, width)",
            got=f"{shape}, in which the channels come last",
            remedy="Save images.transpose(0, 3, 1, 2).",
        )


def _as_array(member: object) -> np.ndarray:
    if not isinstance(member, np.ndarray):
        raise TypeError("a member is no array")
    return member
