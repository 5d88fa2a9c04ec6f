"""MNIST: 70 000 handwritten digits, 28 x 28 pixels, in the idx files they were published in."""

import gzip
import hashlib
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from noiseproof.data.base import ArrayDataset, Split
from noiseproof.data.sources import Source, find, is_published, locate
from noiseproof.errors import RunError

__all__ = ["load_mnist"]

_FOLDERS = ("", "mnist", "MNIST/raw", "raw", "MNIST")
_STEMS: dict[Split, str] = {"train": "train", "test": "t10k"}
_COUNTS: dict[Split, int] = {"train": 60000, "test": 10000}
_PIXELS = (28, 28)

_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""Of the content, so that a file may be packed or not; taken from the files whose packed md5 are those below."""

_SITE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_SOURCES = tuple(
    Source(f"{name}.gz", f"{_SITE}{name}.gz", md5)
    for name, md5 in (
        ("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c"),
    )
)


def load_mnist(split: Split, *, data_dir: Path | None = None, allow_unverified: bool = False) -> ArrayDataset:
    """Load MNIST (LeCun, Cortes and Burges 1998): 60 000 training and 10 000 test images of shape (1, 28, 28).

    The idx files, compressed (.gz) or not, may lie in the folder itself, in its mnist/, or in MNIST/raw/ as torchvision
    keeps them; the dot of `train-images.idx3-ubyte` is accepted too. They are held as 8-bit integers.

    Args:
        split: which of the two.
        data_dir: the folder; None looks where NOISEPROOF_DATA says, then in the cache, and else downloads all four.
        allow_unverified: take files whose content differs from the published ones; the data set then says so.

    Raises:
        InvalidInputError: there is no such split in `data_dir`.
        RunError: a file is damaged, belongs to the other split or, unless allowed, is not the published one; or the
            download failed.
    """
    names = [f"{_STEMS[split]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    wanted = [[dotted + packed for dotted in (name, _dotted(name)) for packed in ("", ".gz")] for name in names]
    root, files = locate(
        "mnist", lambda root: find(root, _FOLDERS, wanted), [f"{name}[.gz]" for name in names], _SOURCES, data_dir
    )
    shapes = [(_COUNTS[split], *_PIXELS), (_COUNTS[split],)]
    (images, *_), (labels, *_) = found = [
        _read_idx(file, shape, name, allow_unverified) for file, shape, name in zip(files, shapes, names, strict=True)
    ]
    if labels.max() > 9:
        raise RunError(
            str(files[1]),
            required="labels from 0 to 9",
            got=int(labels.max()),
            remedy="The file is damaged: replace it.",
        )
    dataset = ArrayDataset("mnist", split, images[:, None], labels, num_classes=10)
    dataset.location, dataset.verified = str(files[0].parent), all(published for _, published in found)
    dataset.loader = partial(load_mnist, data_dir=root, allow_unverified=allow_unverified)
    return dataset


def _dotted(name: str) -> str:
    """The other spelling: train-images.idx3-ubyte."""
    return name.replace("-idx", ".idx")


def _read_idx(
    path: Path, shape: tuple[int, ...], name: str, allow_unverified: bool
) -> tuple[UInt8[np.ndarray, "..."], bool]:
    """Read one idx file of this shape, packed or not, and whether it is the published one of this name."""
    header = b"".join(number.to_bytes(4, "big") for number in (0x0800 + len(shape), *shape))
    size = len(header) + int(np.prod(shape))
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(size + 1)  # no more: a small packed file can hold a large one
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"a whole idx file ({name})", f"{type(error).__name__}: {error}") from error
    if content[: len(header)] != header:
        numbers = np.frombuffer(content[: len(header) // 4 * 4], dtype=">u4").tolist()
        got = f"a header of {', '.join(f'{number:#x}' if i == 0 else str(number) for i, number in enumerate(numbers))}"
        raise _damaged(path, f"an idx file of shape {shape} (magic {0x0800 + len(shape):#x})", got)
    if len(content) != size:
        got = "more" if len(content) > size else str(len(content))
        raise _damaged(path, f"{size} bytes long, unpacked", got)
    published = is_published(
        path, hashlib.md5(content, usedforsecurity=False).hexdigest(), _MD5[name], "MNIST", allow_unverified
    )
    return np.frombuffer(content, dtype=np.uint8, offset=len(header)).reshape(shape), published


def _damaged(path: Path, required: str, got: str) -> RunError:
    return RunError(
        str(path), required=required, got=got, remedy="Replace the file, or remove it to have it downloaded."
    )
