"""Your own photographs in a folder for each class, the usual layout of ImageNet."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from noiseproof.data.base import Dataset, Split
from noiseproof.errors import InvalidInputError, RunError, require_count

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageFolder", "load_image_folder"]

T = TypeVar("T")
R = TypeVar("R")

_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp", ".bmp"})
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
"""Of 8 bits a channel or fewer: 16 would be cut off."""

_RESIZED = 256 / 224
"""The shorter side before the centre is cut out, over the side after it."""

_WAITING = 4096
"""Files that wait for a thread at a time."""

_CLASSES = "classes.txt"


class ImageFolder(Dataset):
    """Images that are decoded when they are read, in as many threads as there are cores.

    An image becomes RGB: grey ones get three equal channels, and transparency is dropped. Its shorter side is resized to
    round(256/224 image_size), bilinear with antialiasing, and the centre, image_size x image_size, is cut out, as ImageNet
    classifiers are evaluated. The orientation in EXIF data is ignored.

    Args:
        name: what it is called in records.
        split: "train" or "test".
        folder: what the paths are relative to.
        paths: of the images.
        labels: (images,), integers from 0.
        num_classes: k.
        image_size: height and width of what is read, pixels.
    """

    eight_bit = True

    def __init__(
        self,
        name: str,
        split: Split,
        folder: Path,
        paths: Sequence[str],
        labels: Sequence[int],
        num_classes: int,
        image_size: int,
    ) -> None:
        require_count("image_size", image_size, 1, "Use the size the classifier was trained on, often 224.")
        self.name, self.split, self.num_classes = name, split, num_classes
        self.folder, self.paths, self.image_size = folder, tuple(paths), image_size
        self.labels = np.asarray(labels, dtype=np.int64)
        self.image_shape = (3, image_size, image_size)
        self._digest: str | None = None

    def read(self, indices: Sequence[int]) -> Float[np.ndarray, "selected channels height width"]:
        """Decode the images at these indices.

        Raises:
            RunError: a file is missing, damaged, cut short, of another format, or has more than 8 bits a channel.
        """
        images = np.empty((len(indices), *self.image_shape), dtype=np.float32)

        def fill(row: int) -> None:
            pixels = _decode(self.folder / self.paths[indices[row]], self.image_size)
            np.divide(pixels.transpose(2, 0, 1), np.float32(255.0), out=images[row], dtype=np.float32)

        for _ in _threaded(fill, range(len(indices))):
            pass
        return images

    def digest(self) -> str:
        """Return the SHA-256 of image size, paths, labels and files; computed once, from the bytes of all files.

        Raises:
            RunError: a file cannot be read.
        """
        if self._digest is None:
            parts = hashlib.sha256(repr((self.image_shape, len(self.paths))).encode())
            files = _threaded(_file_digest, [self.folder / path for path in self.paths])
            for path, label, file in zip(self.paths, self.labels.tolist(), files, strict=True):
                parts.update(f"{path}\0{label}\0".encode())
                parts.update(file)
            self._digest = parts.hexdigest()
        return self._digest


def load_image_folder(
    path: Path,
    split: Split,
    num_classes: int | None = None,
    *,
    image_size: int = 224,
    classes_file: Path | None = None,
) -> ImageFolder:
    """List the images (.jpeg, .jpg, .png, .webp, .bmp) of a folder that has a folder for each class.

    The training split lies in PATH/train/CLASS/, the test split in PATH/val/CLASS/ or PATH/test/CLASS/. A folder
    without these, PATH/CLASS/, is a test split. Classes are numbered in the order of their names, images ordered by
    class and file name; other files, and names that begin with a dot, are left out. Where not all classes of a
    classifier are there, PATH/classes.txt or `classes_file` gives the numbers: all class names in its order, a line each.

    Args:
        path: the folder.
        split: which of the two.
        num_classes: k; None is the number of classes that are there, or are listed.
        image_size: height and width of what is read, pixels.
        classes_file: the list of class names, in place of PATH/classes.txt.

    Raises:
        InvalidInputError: no such split, both val and test, other classes in train than in val, a class without images,
            or another number of classes than `num_classes`.
    """
    folders = _splits(path)
    if split not in folders:
        raise _without(split, path, folders)
    classes = {name: [entry.name for entry in _entries(folder)] for name, folder in folders.items()}
    for other, found in classes.items():
        if found != classes[split]:
            odd = sorted(set(found) ^ set(classes[split]))
            raise InvalidInputError(
                str(path),
                required=f"a folder with the same classes in {folders[split].name}/ and {folders[other].name}/",
                got=f"{len(odd)} in one only: {', '.join(odd[:3])}",
                remedy="Labels number the classes: move the odd ones away.",
            )
    numbers = _numbers(path, classes[split], num_classes, classes_file)
    paths, labels = [], []
    for name in classes[split]:
        images = sorted(file.name for file in os.scandir(folders[split] / name) if _is_image(file.name))
        if not images:
            raise InvalidInputError(
                str(folders[split] / name),
                required=f"a folder of images ({', '.join(sorted(_SUFFIXES))})",
                got="none in it",
                remedy="A class without images would shift no labels but test nothing: remove the folder.",
            )
        paths += [f"{name}/{image}" for image in images]
        labels += [numbers[name]] * len(images)
    listed = len(numbers) if num_classes is None else num_classes
    dataset = ImageFolder(path.resolve().name, split, folders[split], paths, labels, listed, image_size)
    dataset.location = str(path)
    dataset.file_names = dataset.paths
    dataset.class_names = tuple(sorted(numbers, key=numbers.__getitem__))
    dataset.loader = partial(
        load_image_folder, path, num_classes=num_classes, image_size=image_size, classes_file=classes_file
    )
    return dataset


def _without(split: Split, path: Path, folders: Mapping[Split, Path]) -> InvalidInputError:
    """Say which folders are missing for a split, and where they go."""
    required, got = "a folder with a folder of images for each class", "none in it"
    remedy = "Move the images of each class into a folder of its name."
    if folders and split == "train":
        required, got = (
            f"a folder with {path.name}/train/ and the classes in it, to train",
            "classes to test with alone",
        )
        remedy = "Move the folders of the classes into train/, and images to be certified into val/."
    elif folders:
        required, got = f"a folder with {path.name}/val/ and the classes in it, to test", "train/ alone"
        remedy = f'Add val/, or name the training images: data="{path / "train"}".'
    return InvalidInputError(str(path), required=required, got=got, remedy=remedy)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Its folders, by name, without hidden ones."""
    with os.scandir(folder) as found:
        folders = [entry for entry in found if entry.is_dir() and not entry.name.startswith(".")]
    return sorted(folders, key=lambda entry: entry.name)


def _splits(path: Path) -> dict[Split, Path]:
    """The folder of classes of each split. One called train that has images and no folders is a class of trains."""
    if not path.is_dir():
        raise InvalidInputError(
            "data", required="a folder of images", got=f"{path}, which is no folder", remedy="Check the path."
        )
    found = {name: path / name for name in ("train", "val", "test") if (path / name).is_dir() and _entries(path / name)}
    if not found:
        return {"test": path} if _entries(path) else {}
    if "val" in found and "test" in found:
        raise InvalidInputError(
            str(path),
            required="a folder with one of val/ and test/",
            got="one with both",
            remedy=f"Name the intended one, such as {found['test']}.",
        )
    return {("train" if name == "train" else "test"): folder for name, folder in found.items()}


def _numbers(path: Path, classes: Sequence[str], num_classes: int | None, classes_file: Path | None) -> dict[str, int]:
    """The number of each class."""
    listing = path / _CLASSES if classes_file is None else classes_file
    use = classes_file is not None or listing.is_file()
    try:
        listed = listing.read_text(encoding="utf-8").split("\n") if use else list(classes)
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            str(listing), required="text in UTF-8", got=error, remedy="Write one class name a line."
        ) from error
    listed = [name.strip() for name in listed if name.strip()]
    unknown = sorted(set(classes) - set(listed))
    if unknown or len(set(listed)) < len(listed):
        raise InvalidInputError(
            str(listing),
            required="a list of all classes, each once",
            got=f"one without {', '.join(unknown[:3])}" if unknown else "one that repeats a name",
            remedy="Write all class names, a line each, in the order of the classifier's outputs.",
        )
    if num_classes is not None and num_classes != len(listed):
        raise InvalidInputError(
            "num_classes",
            required=f"{len(listed)}, as many as {listing if use else path} has: else labels would be wrong",
            got=num_classes,
            remedy="For a part of a classifier's classes, list all their names in its order, a line each: "
            f"{path / _CLASSES}, or classes_file=.",
        )
    return {name: number for number, name in enumerate(listed)}


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in _SUFFIXES and not name.startswith(".")  # noqa: PTH122 - a million names


def _threaded(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Results in order; Pillow, zlib and hashlib let other threads run meanwhile. The first error ends them."""
    with ThreadPoolExecutor(max(1, min(len(items), os.cpu_count() or 1))) as pool:
        try:
            for first in range(0, len(items), _WAITING):
                yield from pool.map(work, items[first : first + _WAITING])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _require_file(path: Path) -> None:
    """Raise RunError for a pipe or a device, which would be read for ever."""
    if path.exists() and not path.is_file():
        raise RunError(str(path), required="a regular file", got="a pipe, a device or a folder", remedy="Remove it.")


def _file_digest(path: Path) -> bytes:
    _require_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise _unusable(path, error) from error


def _decode(path: Path, size: int) -> UInt8[np.ndarray, "height width 3"]:
    """The centre of an image, resized, in RGB."""
    from PIL import Image

    _require_file(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _require_eight_bits(image)
            return np.asarray(_centre(image.convert("RGB"), size))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise _unusable(path, error) from error


def _require_eight_bits(image: "Image.Image") -> None:
    if image.mode not in _MODES:
        raise ValueError(f"pixels of kind {image.mode}")


def _centre(image: "Image.Image", size: int) -> "Image.Image":
    """Resize the shorter side to round(256/224 size), and cut out the centre."""
    from PIL import Image

    shorter, target = min(image.size), round(size * _RESIZED)
    width, height = (target * side // shorter for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _unusable(path: Path, error: Exception) -> RunError:
    return RunError(
        str(path),
        required="a whole JPEG, PNG, WebP or BMP image of 8 bits a channel",
        got=f"{type(error).__name__}: {error}",
        remedy="Replace the file, or remove it.",
    )
