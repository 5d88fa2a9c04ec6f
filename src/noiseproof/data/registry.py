"""Every data set by name; a place reads one: `load(split, data_dir=..., allow_unverified=...)`."""

from typing import TYPE_CHECKING

from noiseproof.plugins import Registry

if TYPE_CHECKING:
    from noiseproof.data.base import Dataset

__all__ = ["DATASETS"]

DATASETS: "Registry[Dataset]" = Registry(
    "data",
    "noiseproof.data",
    {
        "digits": "digits:load_digits",
        "mnist": "mnist:load_mnist",
        "cifar10": "cifar10:load_cifar10",
    },
    base="base:Dataset",
    exports=(
        "arrays:load_npz",
        "base:ArrayDataset",
        "base:IndexedImages",
        "base:Split",
        "by_name:IMAGE_SIZE",
        "by_name:SHAPES",
        "by_name:load",
        "by_name:names",
        "by_name:require_data",
        "image_folder:ImageFolder",
        "image_folder:load_image_folder",
        "subset:Subset",
        "subset:random_subset",
    ),
)
