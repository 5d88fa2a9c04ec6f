"""Data sets."""

import hashlib
import inspect
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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


def test_what_a_record_says_and_the_other_split() -> None:
    test = data.load("digits", "test")
    assert test.about() == {"name": "digits", "split": "test", "digest": test.digest()}
    assert test.verified is None
    assert test.other_split("train").digest() == data.load("digits", "train").digest()
    arrays = ArrayDataset("mine", "test", test.images, test.labels, 10)
    with pytest.raises(InvalidInputError, match="split must be test, the only one that mine has; got 'train'"):
        arrays.other_split("train")


def test_eight_bits_stay_and_give_the_same_pixels_and_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    held = np.arange(2 * 3 * 16 * 16, dtype=np.int64).astype(np.uint8).reshape(2, 3, 16, 16)
    labels = np.array([1, 0])
    floats = held.astype(np.float32) / np.float32(255.0)
    small, large = (ArrayDataset("mine", "test", images, labels, 2) for images in (held, floats))
    assert small.images.dtype == np.uint8
    assert small.images.nbytes * 4 == large.images.nbytes
    np.testing.assert_array_equal(small.read([1, 0]), floats[::-1])
    np.testing.assert_array_equal(np.rint(small.read([0, 1]) * 255), held)
    # Records of earlier versions hold this digest: shape, float32 pixels and int64 labels, in one piece.
    expected = hashlib.sha256(b"(2, 3, 16, 16)" + floats.tobytes() + labels.tobytes()).hexdigest()
    for block in (data.base._BLOCK, 100):
        monkeypatch.setattr(data.base, "_BLOCK", block)
        assert small.digest() == large.digest() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8])
def test_tensors_are_as_good_as_arrays(dtype: torch.dtype) -> None:
    images = torch.arange(2).reshape(2, 1, 1, 1).to(dtype).expand(2, 1, 4, 4)
    images = images.clone().requires_grad_() if dtype.is_floating_point else images
    found = ArrayDataset("mine", "test", images, torch.tensor([0, 1]), 2)
    one = np.float32(1 / 255 if dtype == torch.uint8 else 1)
    np.testing.assert_array_equal(found.read([0, 1])[:, 0, 0, 0], [0, one])
    assert found.labels.dtype == np.int64


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
    with pytest.raises(InvalidInputError, match=r"data must be digits, mnist, cifar10, a path .*; got 'mnits'"):
        data.load("mnits", "test")
    with pytest.raises(InvalidInputError, match="split must be train or test"):
        inspect.unwrap(data.load)("digits", "val")
    with pytest.raises(InvalidInputError, match="num_classes must be 10, as digits has; got 7"):
        data.load("digits", "test", 7)
    assert data.load("digits", "test", 10).num_classes == 10
    assert data.names() == ("digits", "mnist", "cifar10")


def test_npz_of_your_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bytes_, labels = rng.integers(0, 256, (6, 3, 4, 4), dtype=np.uint8), np.array([0, 1, 2, 0, 1, 2])
    np.savez(tmp_path / "mine.npz", images=bytes_, labels=labels, train_images=bytes_[:2], train_labels=labels[:2])
    found = data.load(str(tmp_path / "mine.npz"), "test")
    assert isinstance(found, ArrayDataset)
    assert (found.images.dtype, found.verified, found.location) == (np.uint8, None, str(tmp_path / "mine.npz"))
    assert len(found.other_split("train")) == 2
    np.testing.assert_array_equal(np.rint(found.read(range(6)) * 255), bytes_)
    assert (found.num_classes, found.image_shape, len(found)) == (3, (3, 4, 4), 6)
    assert len(data.load(str(tmp_path / "mine.npz"), "train")) == 2
    assert data.load(str(tmp_path / "mine.npz"), "test", 10).num_classes == 10
    np.savez(tmp_path / "gray.npz", images=rng.random((2, 4, 4)), labels=labels[:2])
    assert data.load(str(tmp_path / "gray.npz"), "test").image_shape == (1, 4, 4)
    np.savez(tmp_path / "gaps.npz", images=bytes_, labels=[0, 7, 2, 0, 7, 2])
    assert data.load(str(tmp_path / "gaps.npz"), "test").num_classes == 8, "the highest label says it, not their number"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros(3)}, "a file with the arrays images and labels; got x"),
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


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 30, 3), (8, 9, 4)])
def test_npz_with_channels_last_is_refused_with_the_remedy(shape: tuple[int, int, int], tmp_path: Path) -> None:
    last = np.zeros((2, *shape), np.uint8)
    np.savez(tmp_path / "mine.npz", images=last, labels=np.array([0, 1]))
    with pytest.raises(
        InvalidInputError, match=r"in which the channels come last. Save images.transpose\(0, 3, 1, 2\)"
    ):
        data.load(str(tmp_path / "mine.npz"), "test")
    np.savez(tmp_path / "mine.npz", images=last.transpose(0, 3, 1, 2), labels=np.array([0, 1]))
    assert data.load(str(tmp_path / "mine.npz"), "test").image_shape == (shape[2], *shape[:2])


@pytest.mark.parametrize("shape", [(64, 1, 1), (13, 9, 9), (3, 5, 4), (1, 5, 3), (7, 4, 4), (4, 4, 4), (3, 9, 9)])
def test_npz_whose_channels_may_come_first_is_taken(shape: tuple[int, int, int], tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", images=np.zeros((2, *shape), np.uint8), labels=np.array([0, 1]))
    assert data.load(str(tmp_path / "mine.npz"), "test").image_shape == shape


def test_npz_that_is_damaged_or_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing there"):
        data.load(str(tmp_path / "mine.npz"), "test")
    (tmp_path / "mine.npz").write_bytes(b"garbage")
    with pytest.raises(RunError, match=r"a whole \.npz file"):
        data.load(str(tmp_path / "mine.npz"), "test")


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))


def noise_image(seed: int, height: int = 37, width: int = 37) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_folder(root: Path, classes: tuple[str, ...] = ("cat", "ant", "bee"), per_class: int = 2) -> None:
    for number, name in enumerate(classes):
        for image in range(per_class):
            write_image(root / name / f"{image}.png", noise_image(10 * number + image))


@pytest.mark.parametrize("test", ["val", "test", "."])
def test_folders_of_images_in_every_layout(test: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "mine" / test)
    found = data.load(str(tmp_path / "mine"), "test", image_size=32)
    assert (found.name, found.location, found.verified) == ("mine", str(tmp_path / "mine"), None)
    assert (found.num_classes, found.image_shape) == (3, (3, 32, 32))
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2], "ant, bee, cat"
    # 37 pixels are round(256/224 32): nothing is resized, and the centre begins at round(2.5) = 2
    centre = noise_image(11)[2:34, 2:34].transpose(2, 0, 1)
    np.testing.assert_array_equal(found.read([1, 0])[0], centre.astype(np.float32) / np.float32(255))
    with pytest.raises(
        InvalidInputError,
        match=r"must be a folder with mine/train/ and the classes in it, to train; got classes to test with alone",
    ):
        found.other_split("train")
    if test != ".":
        write_folder(tmp_path / "mine" / "train", per_class=1)
        train = found.other_split("train")
        assert (train.split, len(train), train.image_shape) == ("train", 3, (3, 32, 32))


def test_a_class_of_trains_is_no_training_split(tmp_path: Path) -> None:
    write_folder(tmp_path, ("bus", "train"))
    assert data.load(str(tmp_path), "test").labels.tolist() == [0, 0, 1, 1]


def test_images_of_every_kind_become_rgb(tmp_path: Path) -> None:
    grey, colour = noise_image(0)[:, :, 0], noise_image(1)
    write_image(tmp_path / "a" / "0.png", grey)
    write_image(tmp_path / "a" / "1.PNG", np.dstack([colour, grey]))
    write_image(tmp_path / "a" / "2.webp", colour)
    write_image(tmp_path / "a" / "3.bmp", colour)
    write_image(tmp_path / "a" / "4.JPEG", np.full((37, 37), 77, dtype=np.uint8))
    (tmp_path / "a" / "notes.txt").write_text("none")
    (tmp_path / "a" / ".5.png").write_text("none")
    (tmp_path / ".hidden").mkdir()
    found = data.load(str(tmp_path), "test", image_size=32)
    assert (len(found), found.num_classes) == (5, 1)
    read = np.rint(found.read(range(5)) * 255).transpose(0, 2, 3, 1)
    inside = slice(2, 34)
    np.testing.assert_array_equal(read[0], np.repeat(grey[inside, inside, None], 3, axis=2))
    for row in (1, 2, 3):
        np.testing.assert_array_equal(read[row], colour[inside, inside])
    assert (read[4] == 77).all()


def test_images_are_resized_with_antialiasing_and_cut_in_the_centre(tmp_path: Path) -> None:
    stripes = np.zeros((37 * 7, 37 * 7, 3), dtype=np.uint8)
    stripes[:, ::2] = 255  # finer than the pixels of the result, each of which is centred on one stripe
    write_image(tmp_path / "a" / "0.png", stripes)
    ramp = np.broadcast_to(np.linspace(0, 255, 370).astype(np.uint8)[None, :, None], (74, 370, 3))
    write_image(tmp_path / "a" / "1.png", ramp)
    read = data.load(str(tmp_path), "test", image_size=32).read([0, 1])
    assert np.abs(read[0] - 0.5).max() < 0.12
    # 74 x 370 becomes 37 x 185; columns 76 or 77 to 108 remain, of a ramp with 1/185 a column
    centre = (np.arange(round((185 - 32) / 2), round((185 - 32) / 2) + 32) + 0.5) / 185
    np.testing.assert_allclose(read[1], np.broadcast_to(centre, (3, 32, 32)), atol=1.5 / 255)


def triangles(before: int, after: int) -> np.ndarray:
    """Bilinear weights with antialiasing, (after, before): a triangle as wide as a pixel of the smaller image."""
    scale = before / after
    distances = (np.arange(before) + 0.5)[None, :] - ((np.arange(after) + 0.5) * scale)[:, None]
    weights = np.maximum(1.0 - np.abs(distances) / max(scale, 1.0), 0.0)
    return np.asarray(weights / weights.sum(1, keepdims=True))


@pytest.mark.parametrize(("height", "width"), [(74, 78), (78, 74), (37, 39), (41, 37), (25, 30)])
def test_pixels_are_those_of_a_bilinear_filter_around_the_centre(height: int, width: int, tmp_path: Path) -> None:
    """Against the filter as a matrix: smaller, as it is, larger; where the centre begins between pixels, to the even."""
    pixels = noise_image(5, height, width)
    write_image(tmp_path / "a" / "0.png", pixels)
    (read,) = data.load(str(tmp_path), "test", image_size=32).read([0])
    sides = [37 * side // min(height, width) for side in (height, width)]
    rows, columns = (triangles(side, to) for side, to in zip((height, width), sides, strict=True))
    whole = np.einsum("ih,hwc,jw->cij", rows, pixels.astype(np.float64), columns)
    top, left = (round((side - 32) / 2) for side in sides)
    assert {4} <= {top, left} or (height, width) == (25, 30), "3.5 becomes 4"
    np.testing.assert_allclose(255 * read, whole[:, top : top + 32, left : left + 32], atol=1.1)


def test_folders_are_read_lazily_and_name_what_is_damaged(tmp_path: Path) -> None:
    write_folder(tmp_path)
    found = data.load(str(tmp_path), "test", image_size=32)
    file = tmp_path / "bee" / "0.png"
    whole = file.read_bytes()
    for content, said in (
        (whole[: len(whole) // 2], "OSError: image file is truncated"),
        (whole[:60] + bytes(40) + whole[100:], "Error: "),
        (b"garbage", "cannot identify"),
        (b"", "cannot identify"),
    ):
        file.write_bytes(content)
        with pytest.raises(RunError, match=rf"bee.0\.png must be a whole JPEG, PNG, WebP or BMP image .*{said}"):
            found.read([0, 2, 4])
    assert found.read([0, 1, 3, 4, 5]).shape == (5, 3, 32, 32)
    write_image(file, np.full((37, 37), 40000, dtype=np.uint16))
    with pytest.raises(RunError, match=r"bee.0\.png must be .* of 8 bits a channel; got ValueError: pixels of kind I"):
        found.read([2])
    file.unlink()
    with pytest.raises(RunError, match="FileNotFoundError"):
        found.read([2])
    with pytest.raises(RunError, match="FileNotFoundError"):
        found.digest()


def test_reading_uses_threads_and_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, per_class=4)
    found = data.load(str(tmp_path), "test", image_size=32)
    one_by_one = np.concatenate([found.read([index]) for index in (7, 0, 11, 0)])
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(data.image_folder, "_WAITING", 3)
    meet, decode = threading.Barrier(3), data.image_folder._decode

    def together(path: Path, size: int) -> np.ndarray:
        meet.wait(timeout=30)
        return decode(path, size)

    monkeypatch.setattr(data.image_folder, "_decode", together)
    np.testing.assert_array_equal(found.read([7, 0, 11, 0, 1, 2])[:4], one_by_one)
    assert found.read([]).shape == (0, 3, 32, 32)


def test_digest_of_a_folder_sees_every_change_and_is_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(**options: int) -> str:
        return data.load(str(tmp_path), "test", **options).digest()  # type: ignore[arg-type]

    write_folder(tmp_path)
    first = digest()
    assert first == digest()
    seen = {first, digest(image_size=32)}
    write_image(tmp_path / "ant" / "1.png", noise_image(99))
    seen.add(digest())
    (tmp_path / "ant" / "1.png").rename(tmp_path / "ant" / "2.png")
    seen.add(digest())
    (tmp_path / "ant" / "2.png").rename(tmp_path / "bee" / "2.png")
    seen.add(digest())
    (tmp_path / "classes.txt").write_text("bee\nant\ncat\n")
    seen.add(digest())
    assert len(seen) == 6
    found = data.load(str(tmp_path), "test")
    before = found.digest()
    monkeypatch.setattr(data.image_folder, "_file_digest", None)
    assert found.digest() == before


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    def refused(said: str, *options: int | None, **sizes: int) -> None:
        with pytest.raises(InvalidInputError, match=said):
            data.load(str(tmp_path), "test", *options, **sizes)  # type: ignore[arg-type]

    refused(
        "must be a folder with a folder of images for each class; got none in it. Move the images of each class into"
    )
    write_folder(tmp_path / "train")
    refused(
        r"a folder with .*/val/ and the classes in it, to test; got train/ alone. Add val/, or name the training images"
    )
    write_folder(tmp_path / "val", ("ant", "bee", "dog"))
    refused(r"same classes in val/ and train/; got 2 in one only: cat, dog")
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "cat")
    data.load(str(tmp_path), "test")
    refused("image_size must be an integer >= 1; got 0", image_size=0)
    write_folder(tmp_path / "test")
    refused("one of val/ and test/; got one with both")
    data.load(str(tmp_path / "test"), "test")
    for image in (tmp_path / "test" / "bee").iterdir():
        image.unlink()
    with pytest.raises(InvalidInputError, match=r"test.bee must be a folder of images \(\.bmp, .*got none in it"):
        data.load(str(tmp_path / "test"), "test")


def test_a_part_of_the_classes_needs_their_list(tmp_path: Path) -> None:
    write_folder(tmp_path)
    assert data.load(str(tmp_path), "test", 3).num_classes == 3
    for wrong in (2, 4):
        with pytest.raises(InvalidInputError, match=rf"num_classes must be 3, as many as .*; got {wrong}"):
            data.load(str(tmp_path), "test", wrong)
    (tmp_path / "classes.txt").write_text("dog\ncat\nbee\nant\n")
    for classes in (None, 4):
        found = data.load(str(tmp_path), "test", classes)
        assert (found.num_classes, found.labels.tolist()) == (4, [3, 3, 2, 2, 1, 1])
    with pytest.raises(InvalidInputError, match="num_classes must be 4"):
        data.load(str(tmp_path), "test", 3)
    for listing, said in (("dog\ncat\n", "one without ant, bee"), ("ant\nbee\ncat\nbee", "one that repeats a name")):
        (tmp_path / "classes.txt").write_text(listing)
        with pytest.raises(InvalidInputError, match=said):
            data.load(str(tmp_path), "test")


def test_real_photographs(data_dir: Path) -> None:
    folder = data_dir / "imagenet-sample"
    if not folder.is_dir():
        pytest.skip("no photographs in NOISEPROOF_DATA")
    found = data.load(str(folder), "test")
    assert (len(found), found.num_classes, found.image_shape) == (100, 100, (3, 224, 224))
    read = found.read(range(0, 100, 10))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read.mean(axis=(0, 2, 3)), [0.485, 0.456, 0.406], atol=0.1)  # ImageNet's
    with Image.open(folder / "val" / found.paths[50]) as image:  # type: ignore[attr-defined]
        left, top = (round((side - 224) / 2) for side in image.size)
        pixels = np.asarray(image.convert("RGB"))[top : top + 224, left : left + 224]
    np.testing.assert_array_equal(np.rint(read[5] * 255), pixels.transpose(2, 0, 1))


def test_npz_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    images, labels = np.zeros((4, 1, 8, 8), dtype=np.float32), np.arange(4)
    np.savez_compressed(path, images=images, labels=labels)
    whole = path.read_bytes()
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("images", "no array")
        archive.writestr("labels", "no array")
    np.save(tmp_path / "single.npy", images)
    contents = [
        whole[: len(whole) // 2],
        whole.replace(whole[60:80], bytes(20)),
        (tmp_path / "text.npz").read_bytes(),
        (tmp_path / "single.npy").read_bytes(),
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"broken.npz must be a whole .npz file of plain arrays"):
            data.load(str(path), "test")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_among_the_images_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "bee").mkdir()
    os.mkfifo(tmp_path / "bee" / "0.png")
    dataset = data.load(str(tmp_path), "test")
    for use in (dataset.digest, lambda: dataset.read([0])):
        with pytest.raises(RunError, match=r"0.png must be a regular file; got a pipe"):
            use()
