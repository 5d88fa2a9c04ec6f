"""Data sets by name, or from a path."""

from os import PathLike
from pathlib import Path
from typing import get_args

from noiseproof.data.arrays import load_npz
from noiseproof.data.base import Dataset, Split
from noiseproof.data.image_folder import load_image_folder
from noiseproof.data.registry import DATASETS
from noiseproof.errors import InvalidInputError

__all__ = ["IMAGE_SIZE", "SHAPES", "load", "names", "require_data"]

IMAGE_SIZE = 224
"""Default height and width of images of a folder, in pixels: those of most networks for ImageNet."""


SHAPES = {"digits": ((1, 8, 8), 10), "mnist": ((1, 28, 28), 10), "cifar10": ((3, 32, 32), 10)}
"""Image shape and number of classes of published sets, known without their files."""


def names() -> tuple[str, ...]:
    """Return the names that `load` knows."""
    return tuple(DATASETS)


def load(
    name: str,
    split: Split,
    num_classes: int | None = None,
    *,
    data_dir: str | PathLike[str] | None = None,
    allow_unverified: bool = False,
    image_size: int = IMAGE_SIZE,
    classes_file: str | PathLike[str] | None = None,
) -> Dataset:
    """Load a data set by name, from a path that ends in .npz, or from a folder of images.

    Args:
        name: one of `names()`, or a path; `./mnist` is a folder where `mnist` is the name.
        split: "train" or "test".
        num_classes: k of images of your own; None is the highest label + 1, or the number of class folders.
        data_dir: where the files of mnist and cifar10 lie; None looks in the folder that NOISEPROOF_DATA names, then in
            the cache, and else downloads them there.
        allow_unverified: take files of mnist and cifar10 that are not the published ones; `verified` is then False.
        image_size: height and width to which images of a folder are resized, pixels.
        classes_file: for a folder, the names of all classes of a classifier in its order, a line each.

    Raises:
        InvalidInputError: no such name or split, a malformed file, or nothing of that name in `data_dir`.
        RunError: a file is missing, damaged or not the published one, or the download failed.
    """
    if split not in get_args(Split):
        raise InvalidInputError(
            "split", required=" or ".join(get_args(Split)), got=repr(split), remedy="Choose one of the two."
        )
    listing, is_folder = (
        None if classes_file is None else Path(classes_file),
        name not in DATASETS and Path(name).is_dir(),
    )
    if listing is not None and not is_folder:
        raise InvalidInputError(
            "classes_file",
            required=f'left out with data="{name}": it is for a folder of images',
            got=str(listing),
            remedy="Leave it out.",
        )
    if name in DATASETS:
        where = None if data_dir is None else Path(data_dir)
        dataset = DATASETS.make(name, split=split, data_dir=where, allow_unverified=allow_unverified)
        if num_classes not in {None, dataset.num_classes}:
            raise InvalidInputError(
                "num_classes",
                required=f"{dataset.num_classes}, as {name} has",
                got=num_classes,
                remedy="Leave it out, or use a classifier for these classes.",
            )
        dataset.source = name
        return dataset
    require_data(name)
    path = Path(name)
    own = (
        load_npz(path, split, num_classes)
        if path.suffix == ".npz"
        else load_image_folder(path, split, num_classes, image_size=image_size, classes_file=listing)
    )
    own.source = str(path.resolve())
    return own


def require_data(name: str) -> None:
    """Raise InvalidInputError unless a name is that of a published data set, of a file .npz or of a folder."""
    if name in DATASETS or Path(name).suffix == ".npz" or (name and Path(name).is_dir()):
        return
    raise InvalidInputError(
        "data",
        required=f"{', '.join(names())}, a path that ends in .npz, or a folder with a folder of images for each class",
        got=repr(name),
        remedy="Own images: numpy.savez('mine.npz', images=..., labels=...).",
    )
