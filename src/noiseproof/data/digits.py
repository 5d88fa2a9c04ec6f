"""The embedded data set: 1797 real handwritten digits, 8 x 8 pixels, shipped with scikit-learn."""

from pathlib import Path

import numpy as np

from noiseproof.data.base import ArrayDataset, Split

__all__ = ["load_digits"]

_TEST_EVERY = 3


def load_digits(split: Split, *, data_dir: Path | None = None, allow_unverified: bool = False) -> ArrayDataset:  # noqa: ARG001
    """Load the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998).

    Pixels count inked cells, 0 to 16, and are divided by 16. Every third image, in file order from the first, is the
    test split (599), the others are the training split (1198). The file is ordered by writer, so both splits see every
    writer: accuracies here are higher than on writers never seen.

    Args:
        split: which of the two.
        data_dir: ignored; the images are always those that scikit-learn ships.
        allow_unverified: ignored likewise.
    """
    from sklearn.datasets import load_digits as load

    source = load()
    test = np.arange(len(source.target)) % _TEST_EVERY == 0
    chosen = test if split == "test" else ~test
    images = (source.images[chosen] / 16.0).astype(np.float32)[:, None]
    dataset = ArrayDataset("digits", split, images, source.target[chosen], num_classes=10)
    dataset.loader = load_digits
    return dataset
