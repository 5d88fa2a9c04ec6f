"""Data sets."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from noiseproof import data
from noiseproof.data import ArrayDataset
from noiseproof.errors import InvalidInputError, NoiseproofError, RunError


def test_digits_are_real_and_split_once_and_for_all() -> None:
    train, test = data.load("digits", "train"), data.load("digits", "test")
    assert (len(train), len(test)) == (1198, 599)
    assert test.labels[:10].tolist() == [0, 3, 6, 9, 2, 5, 8, 1, 4, 7]
    assert test.digest().startswith("72f17156")
    for dataset in (train, test):
        images = dataset.read(range(len(dataset)))
        assert images.shape[1:] == (1, 8, 8)
        assert images.dtype == np.float32
        assert images.min() == 0.0
        assert images.max() == 1.0
        assert ((images * 16) % 1 == 0).all(), "sixteenths, exactly"
    train_rows, test_rows = ({row.tobytes() for row in d.read(range(len(d)))} for d in (train, test))
    assert not train_rows & test_rows


def test_reading_is_by_index_and_gives_a_copy() -> None:
    test = data.load("digits", "test")
    read = test.read([5, 2])
    np.testing.assert_array_equal(read[1], test.read([2])[0])
    read[:] = 0
    assert test.read([5]).any()


def test_digest_sees_every_change() -> None:
    images, labels = np.zeros((2, 1, 2, 2), dtype=np.float32), np.array([0, 1])
    digests = {
        ArrayDataset("a", "test", images, labels, 2).digest(),
        ArrayDataset("a", "test", images, labels[::-1], 2).digest(),
    }
    images[1, 0, 1, 1] = 1e-6
    digests.add(ArrayDataset("a", "test", images, labels, 2).digest())
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (np.zeros((2, 1, 2, 2), dtype=np.float32), np.array([0]), "one for each of the 2 images"),
        (np.full((1, 1, 2, 2), 255, dtype=np.float32), np.array([0]), r"finite and in \[0, 1\]"),
        (np.full((1, 1, 2, 2), np.nan, dtype=np.float32), np.array([0]), "finite"),
        (np.zeros((1, 1, 2, 2), dtype=np.float32), np.array([2]), "from 0 to 1"),
    ],
)
def test_data_that_does_not_fit(images: np.ndarray, labels: np.ndarray, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        ArrayDataset("broken", "test", images, labels, 2)


def test_unknown_name() -> None:
    with pytest.raises(InvalidInputError, match=r"data must be digits, or a path that ends in \.npz; got 'mnits'"):
        data.load("mnits", "test")
    with pytest.raises(InvalidInputError, match="split must be train or test"):
        inspect.unwrap(data.load)("digits", "val")


def test_npz_of_your_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bytes_, labels = rng.integers(0, 256, (6, 3, 4, 4), dtype=np.uint8), np.array([0, 1, 2, 0, 1, 2])
    np.savez(tmp_path / "mine.npz", images=bytes_, labels=labels, train_images=bytes_[:2], train_labels=labels[:2])
    found = data.load(str(tmp_path / "mine.npz"), "test")
    np.testing.assert_array_equal(np.rint(found.read(range(6)) * 255), bytes_)
    assert (found.num_classes, found.image_shape, len(found)) == (3, (3, 4, 4), 6)
    assert len(data.load(str(tmp_path / "mine.npz"), "train")) == 2
    assert data.load(str(tmp_path / "mine.npz"), "test", 10).num_classes == 10
    np.savez(tmp_path / "gray.npz", images=rng.random((2, 4, 4)), labels=labels[:2])
    assert data.load(str(tmp_path / "gray.npz"), "test").image_shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros(3)}, "with images and labels; got x"),
        ({"images": np.zeros((2, 4)), "labels": np.zeros(2, dtype=int)}, r"float64 \(2, 4\)"),
        ({"images": np.zeros((2, 1, 4, 4)), "labels": np.zeros(2)}, "integer labels"),
        (
            {"images": np.zeros((2, 1, 4, 4), dtype=np.uint16), "labels": np.zeros(2, dtype=int)},
            "8-bit integers or floats",
        ),
        ({"images": np.full((2, 1, 4, 4), 2.0), "labels": np.zeros(2, dtype=int)}, r"finite and in \[0, 1\]"),
        (
            {"images": np.array([{}], dtype=object), "labels": np.zeros(1, dtype=int)},
            "a whole .npz file of plain arrays",
        ),
    ],
)
def test_npz_that_does_not_fit(arrays: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(NoiseproofError, match=said):
        data.load(str(tmp_path / "mine.npz"), "test")


def test_npz_that_is_damaged_or_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing there"):
        data.load(str(tmp_path / "mine.npz"), "test")
    (tmp_path / "mine.npz").write_bytes(b"garbage")
    with pytest.raises(RunError, match=r"a whole \.npz file"):
        data.load(str(tmp_path / "mine.npz"), "test")
