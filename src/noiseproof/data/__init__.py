"""Data sets by name: images in [0, 1] and labels."""

from typing import TYPE_CHECKING, Any

from noiseproof.data.registry import DATASETS

if TYPE_CHECKING:
    from noiseproof.data.arrays import load_npz as load_npz
    from noiseproof.data.base import ArrayDataset as ArrayDataset
    from noiseproof.data.base import Dataset as Dataset
    from noiseproof.data.base import IndexedImages as IndexedImages
    from noiseproof.data.base import Split as Split
    from noiseproof.data.by_name import IMAGE_SIZE as IMAGE_SIZE
    from noiseproof.data.by_name import SHAPES as SHAPES
    from noiseproof.data.by_name import load as load
    from noiseproof.data.by_name import names as names
    from noiseproof.data.by_name import require_data as require_data
    from noiseproof.data.cifar10 import load_cifar10 as load_cifar10
    from noiseproof.data.digits import load_digits as load_digits
    from noiseproof.data.image_folder import ImageFolder as ImageFolder
    from noiseproof.data.image_folder import load_image_folder as load_image_folder
    from noiseproof.data.mnist import load_mnist as load_mnist
    from noiseproof.data.subset import Subset as Subset
    from noiseproof.data.subset import random_subset as random_subset

__all__ = list(DATASETS.exports)


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        return DATASETS.export(name)


def __dir__() -> list[str]:
    return sorted(__all__)
