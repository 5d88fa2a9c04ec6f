"""CIFAR-10: 60 000 photographs of ten classes, 32 x 32 pixels in colour, in the files they were published in."""

import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from noiseproof.data.base import ArrayDataset, Split
from noiseproof.data.sources import Source, find, is_published, locate
from noiseproof.errors import RunError

__all__ = ["load_cifar10"]

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""As `batches.meta.txt` of the archive names them."""

_FOLDERS = ("", "cifar10", "CIFAR10", "cifar-10")
_BINARY, _PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
_RECORDS, _SHAPE = 10000, (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_BATCHES: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}
_ARCHIVE = Source(
    "cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
)
_SHA1 = {
    "data_batch_1": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch": "67eb016db431130d61cd03c7ad570b013799c88c",
}
"""Of each file of the binary version, as Apache MXNet's `gluon.data.vision.CIFAR10` published them."""

_PYTHON_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""Of each file of the Python version."""


class _Batch(NamedTuple):
    labels: UInt8[np.ndarray, " images"]
    pixels: UInt8[np.ndarray, "images 3072"]
    published: bool


def load_cifar10(split: Split, *, data_dir: Path | None = None, allow_unverified: bool = False) -> ArrayDataset:
    """Load CIFAR-10 (Krizhevsky 2009): 50 000 training and 10 000 test images of shape (3, 32, 32).

    The folder, or its subfolder cifar10/, holds cifar-10-batches-bin/ (or its content), cifar-10-binary.tar.gz, which
    is read without unpacking, or cifar-10-batches-py/. The first of these that exists is used. The last is pickled, and
    a pickle can run any code: it is opened only if it is the published file. Images are held as 8-bit integers.

    Args:
        split: which of the two.
        data_dir: the folder; None looks where NOISEPROOF_DATA says, then in the cache, and else downloads the archive.
        allow_unverified: take binary files whose content differs from the published ones; the data set then says so.

    Raises:
        InvalidInputError: there is no such split in `data_dir`.
        RunError: a file is damaged, belongs elsewhere or, unless allowed, is not the published one; or the download
            failed.
    """
    names = _BATCHES[split]
    looked_for = (f"{_BINARY}/{names[0]}.bin", _ARCHIVE.file, f"{_PYTHON}/{names[0]}")
    root, files = locate("cifar10", partial(_look, names=names), looked_for, (_ARCHIVE,), data_dir)
    images = np.empty((_RECORDS * len(names), *_SHAPE), dtype=np.uint8)
    labels = np.empty(len(images), dtype=np.int64)
    verified = True
    for number, batch in enumerate(_read(files, names, allow_unverified)):
        rows = slice(number * _RECORDS, (number + 1) * _RECORDS)
        images[rows], labels[rows] = batch.pixels.reshape(-1, *_SHAPE), batch.labels
        verified = verified and batch.published
    dataset = ArrayDataset("cifar10", split, images, labels, num_classes=10)
    dataset.class_names = _CLASSES
    dataset.location, dataset.verified = str(files[0] if files[0].suffix == ".gz" else files[0].parent), verified
    dataset.loader = partial(load_cifar10, data_dir=root, allow_unverified=allow_unverified)
    return dataset


def _look(root: Path, names: tuple[str, ...]) -> list[Path] | None:
    """The files of these batches in the first layout that has them all."""
    for layout, wanted in (
        (_BINARY, [[f"{name}.bin"] for name in names]),
        ("", [[f"{name}.bin"] for name in names]),
        ("", [[_ARCHIVE.file]]),
        (_PYTHON, [[name] for name in names]),
        ("", [[name] for name in names]),
    ):
        if (
            found := find(root, (f"{folder}/{layout}" if folder else layout for folder in _FOLDERS), wanted)
        ) is not None:
            return found
    return None


def _read(files: list[Path], names: tuple[str, ...], allow_unverified: bool) -> Iterator[_Batch]:
    if files[0].suffix == ".gz":
        yield from _read_archive(files[0], names, allow_unverified)
        return
    for file, name in zip(files, names, strict=True):
        content = _content(file)
        if file.suffix == ".bin":
            yield _parse_binary(str(file), content, name, allow_unverified)
        else:
            yield _parse_python(file, content, name)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(str(path), "a file that can be read", f"{type(error).__name__}: {error}") from error


def _parse_binary(where: str, content: bytes, name: str, allow_unverified: bool) -> _Batch:
    """Records of a label and 3072 pixels: red, green and blue planes, each row by row."""
    if len(content) != _RECORDS * _RECORD:
        raise _damaged(where, f"{_RECORDS * _RECORD} bytes long, {_RECORDS} records of {_RECORD}", len(content))
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    _require_own(where, digest, name)
    records = np.frombuffer(content, dtype=np.uint8).reshape(_RECORDS, _RECORD)
    labels, pixels = records[:, 0], records[:, 1:]
    if labels.max() > 9:
        raise _damaged(where, "of labels from 0 to 9", int(labels.max()))
    return _Batch(labels, pixels, is_published(where, digest, _SHA1[name], "CIFAR-10", allow_unverified))


def _require_own(where: str, digest: str, name: str) -> None:
    """Raise if this is the published file of another batch."""
    for other, published in _SHA1.items():
        if digest == published and other != name:
            raise _damaged(where, f"{name}.bin", f"what was published as {other}.bin")


def _read_archive(path: Path, names: tuple[str, ...], allow_unverified: bool) -> Iterator[_Batch]:
    """Read the batches one by one; nothing is written to the disk, and nothing but the batches is read."""
    wanted = {f"{_BINARY}/{name}.bin": name for name in names}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = wanted.get(member.name)
                if name is not None and member.isreg() and member.size == _RECORDS * _RECORD:
                    stream = archive.extractfile(member)
                    found[name] = b"" if stream is None else stream.read()
                if len(found) == len(names):
                    break
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise _damaged(str(path), "a whole .tar.gz archive", f"{type(error).__name__}: {error}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise _damaged(
            str(path),
            f"an archive with {_BINARY}/{missing[0]}.bin of {_RECORDS * _RECORD} bytes",
            "one without, or of another size",
        )
    for name in names:
        yield _parse_binary(f"{path}, {name}.bin in it,", found.pop(name), name, allow_unverified)


def _parse_python(path: Path, content: bytes, name: str) -> _Batch:
    """Unpickle a batch if, and only if, it is byte for byte the published file."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != _PYTHON_MD5[name]:
        raise RunError(
            str(path),
            required=f"the published file (md5 {_PYTHON_MD5[name]}): it is a pickle, and a pickle can run any code",
            got=digest,
            remedy=f"Take the binary version, {_ARCHIVE.file} from {_ARCHIVE.url}: it cannot run code.",
        )
    batch = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    return _Batch(np.asarray(batch["labels"], dtype=np.uint8), batch["data"], published=True)


class _Unpickler(pickle.Unpickler):
    """Makes NumPy's arrays and nothing else.

    Python 2 wrote the type of an array as dtype("u1", 0, 1), and NumPy 2.4.0 to 2.4.4 warn of
    the last two: the first alone determines the type.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return the class or function that the pickle names."""
        if (module, name) == ("numpy", "dtype"):
            return lambda code, *_: np.dtype(code)
        if module.partition(".")[0] != "numpy":
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


def _damaged(where: str, required: str, got: object) -> RunError:
    return RunError(where, required=required, got=got, remedy=f"Replace it from {_ARCHIVE.url}.")
