"""Published data sets: where their files are found, how they are checked, what is refused, and downloads that stop."""

import gzip
import hashlib
import io
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from file_server import FileServer, serving
from noiseproof import data
from noiseproof.data import Split, cifar10, mnist, sources
from noiseproof.data.sources import Source
from noiseproof.errors import InvalidInputError, NoiseproofError, RunError
from noiseproof.storage import downloads
from noiseproof.storage.downloads import download

PUBLISHED = mnist._SOURCES
COUNTS: dict[Split, int] = {"train": 30, "test": 20}  # few, so that files are small


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No folder and no cache but the test's own, no way out, and small files."""
    monkeypatch.delenv("NOISEPROOF_DATA", raising=False)
    monkeypatch.setattr(sources, "cache", lambda: tmp_path / "cache")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(downloads, "_PAUSE", 0.001)
    monkeypatch.setattr(mnist, "_COUNTS", COUNTS)
    monkeypatch.setattr(mnist, "_SOURCES", (Source("none.gz", "http://127.0.0.1:1/none.gz", "0" * 32),))
    monkeypatch.setattr(cifar10, "_RECORDS", 20)
    monkeypatch.setattr(cifar10, "_ARCHIVE", Source(cifar10._ARCHIVE.file, "http://127.0.0.1:1/none", "0" * 32))


@pytest.fixture
def _true_sizes(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "_COUNTS", {"train": 60000, "test": 10000})
    monkeypatch.setattr(cifar10, "_RECORDS", 10000)


def refused(said: str, name: str, split: Split, folder: Path | None, *, allow: bool = True) -> NoiseproofError:
    with pytest.raises(NoiseproofError, match=said) as caught:
        data.load(name, split, data_dir=folder, allow_unverified=allow)
    return caught.value


def digits(split: Split) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    count = COUNTS[split]
    return rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10


def idx(array: np.ndarray) -> bytes:
    """The idx format, after its description: zero, zero, 8 for unsigned bytes, dimensions, and each of them."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, split: Split = "test", *, packed: bool = False, dotted: bool = False) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for kind, array in zip(("images-idx3", "labels-idx1"), digits(split), strict=True):
        name = f"{'t10k' if split == 'test' else 'train'}-{kind}-ubyte"
        path = folder / ((name.replace("-idx", ".idx") if dotted else name) + (".gz" if packed else ""))
        path.write_bytes(gzip.compress(idx(array), 1) if packed else idx(array))
        written[kind[:6]] = path
    return written


def publish_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hand-made files be the published ones."""
    published = {
        f"{stem}-{kind}-ubyte": hashlib.md5(idx(array)).hexdigest()
        for split, stem in mnist._STEMS.items()
        for kind, array in zip(("images-idx3", "labels-idx1"), digits(split), strict=True)
    }
    assert published.keys() == mnist._MD5.keys()
    monkeypatch.setattr(mnist, "_MD5", published)


# MNIST


@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_mnist_is_found_in_every_layout(folder: str, packed: bool, dotted: bool, tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_mnist(tmp_path / folder, split, packed=packed, dotted=dotted)
    for split in ("train", "test"):
        found = data.load("mnist", split, data_dir=tmp_path, allow_unverified=True)
        images, labels = digits(split)
        read = found.read(range(len(found)))
        assert (read.dtype, read.shape[1:], found.num_classes) == (np.float32, (1, 28, 28), 10)
        np.testing.assert_array_equal(np.rint(read[:, 0] * 255), images)
        np.testing.assert_array_equal(found.labels, labels)
        assert Path(str(found.location)) == tmp_path / folder


def test_mnist_that_is_not_the_published_is_refused_or_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_mnist(tmp_path)
    said = r"t10k-images-idx3-ubyte must be the published file of MNIST .*allow_unverified="
    assert isinstance(refused(said, "mnist", "test", tmp_path, allow=False), RunError)
    taken = data.load("mnist", "test", data_dir=tmp_path, allow_unverified=True)
    assert taken.verified is False
    assert taken.about() == {"name": "mnist", "split": "test", "digest": taken.digest(), "verified": False}

    publish_mnist(monkeypatch)
    plain = data.load("mnist", "test", data_dir=tmp_path)
    assert plain.verified is True
    assert plain.about() == {"name": "mnist", "split": "test", "digest": taken.digest()}
    write_mnist(tmp_path / "packed", packed=True)
    packed = data.load("mnist", "test", data_dir=tmp_path / "packed")
    assert packed.about() == plain.about(), "packing changes nothing"

    changed = bytearray(files["labels"].read_bytes())
    changed[-1] ^= 1
    files["labels"].write_bytes(changed)
    refused("t10k-labels-idx1-ubyte must be the published file", "mnist", "test", tmp_path, allow=False)
    assert data.load("mnist", "test", data_dir=tmp_path, allow_unverified=True).verified is False


def broken_pack(content: bytes) -> bytes:
    packed = bytearray(gzip.compress(content))
    packed[len(packed) // 2] ^= 0xFF
    return bytes(packed)


@pytest.mark.parametrize(
    ("which", "change", "said"),
    [
        ("images", lambda _: idx(digits("test")[1]), r"images-idx3-ubyte must be an idx file of shape \(20, 28, 28\)"),
        ("images", lambda _: idx(digits("train")[0]), r"shape \(20, 28, 28\) .* got a header of 0x803, 30, 28, 28"),
        ("labels", lambda _: idx(digits("train")[1]), r"labels-idx1-ubyte must be .* got a header of 0x801, 30"),
        ("images", lambda content: b"\x00\x00\x0d" + content[3:], "got a header of 0xd03, 20, 28, 28"),
        ("images", lambda content: content[:-1], "images-idx3-ubyte must be 15696 bytes long.*got 15695"),
        ("images", lambda content: content + b"\x00", "must be 15696 bytes long.*got more"),
        ("images", lambda _: b"", "an idx file of shape"),
        ("labels", lambda content: content[:-1] + b"\x0a", "labels-idx1-ubyte must be labels from 0 to 9; got 10"),
        ("images", lambda content: gzip.compress(content)[:-9], "a whole idx file .*EOFError"),
        ("images", broken_pack, "a whole idx file"),
        ("labels", lambda content: gzip.compress(content + bytes(2**20)), "got more"),
    ],
)
def test_mnist_that_is_damaged_is_refused_whatever_is_allowed(
    which: str, change: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    file = write_mnist(tmp_path)[which]
    file.write_bytes(change(file.read_bytes()))
    error = refused(said, "mnist", "test", tmp_path)
    assert isinstance(error, RunError)
    assert str(file) in str(error)


@pytest.mark.usefixtures("_true_sizes")
def test_real_mnist(data_dir: Path) -> None:
    train, test = (data.load("mnist", split, data_dir=data_dir) for split in ("train", "test"))
    assert (train.verified, test.verified, len(train), len(test)) == (True, True, 60000, 10000)
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert isinstance(train, data.ArrayDataset)
    assert train.images.dtype == np.uint8
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.other_split("test").digest() == test.digest()
    for source in PUBLISHED:  # what is downloaded has the content that is known
        packed = Path(str(train.location)) / source.file
        assert not packed.exists() or hashlib.md5(packed.read_bytes()).hexdigest() == source.md5


# Where data comes from


def no_download(*_: object) -> None:
    raise AssertionError("nothing may be downloaded here")


def test_a_named_folder_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "cache")
    write_mnist(tmp_path / "environment")
    monkeypatch.setenv("NOISEPROOF_DATA", str(tmp_path / "environment"))
    monkeypatch.setattr(sources, "download", no_download)
    (tmp_path / "empty").mkdir()
    said = r"data_dir \(.*empty\) must be a folder with mnist: t10k-images-idx3-ubyte\[\.gz\], .*got a folder without"
    assert isinstance(refused(said, "mnist", "test", tmp_path / "empty"), InvalidInputError)
    refused("cifar-10-batches-bin/test_batch.bin, cifar-10-binary.tar.gz", "cifar10", "test", tmp_path / "empty")
    refused("got no folder", "mnist", "test", tmp_path / "nothing")


def test_environment_then_cache_then_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[tuple[str, Path]] = []

    def pretend(url: str, path: Path, known_hash: str) -> None:
        assert (url, known_hash) == ("http://127.0.0.1:1/none.gz", f"md5:{'0' * 32}")
        wanted.append((path.name, path.parent))
        write_mnist(path.parent)

    monkeypatch.setattr(sources, "download", pretend)
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("NOISEPROOF_DATA", str(tmp_path / "other"))

    def location() -> Path:
        return Path(str(data.load("mnist", "test", allow_unverified=True).location))

    assert location() == tmp_path / "cache" / "mnist"
    assert wanted == [("none.gz", tmp_path / "cache" / "mnist")]
    assert location() == tmp_path / "cache" / "mnist"
    assert len(wanted) == 1, "it is there by now"
    write_mnist(tmp_path / "other")
    assert location() == tmp_path / "other"
    monkeypatch.setenv("NOISEPROOF_DATA", str(tmp_path / "mistyped"))
    refused("NOISEPROOF_DATA must be a folder of data sets; got .*mistyped", "mnist", "test", None)
    write_mnist(tmp_path / "named")
    named = data.load("mnist", "test", data_dir=tmp_path / "named", allow_unverified=True)
    assert Path(str(named.location)) == tmp_path / "named"


def test_the_other_split_comes_from_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path)
    monkeypatch.setenv("NOISEPROOF_DATA", str(tmp_path))
    monkeypatch.setattr(sources, "download", no_download)
    test = data.load("mnist", "test", allow_unverified=True)
    monkeypatch.delenv("NOISEPROOF_DATA")
    with pytest.raises(InvalidInputError, match="a folder with mnist: train-images"):
        test.other_split("train")
    write_mnist(tmp_path, "train")
    train = test.other_split("train")
    assert (train.split, train.verified, len(train)) == ("train", False, 30)


def test_a_failed_download_says_what_to_put_where(tmp_path: Path) -> None:
    said = (
        r"mnist must be in data_dir, in the folder that NOISEPROOF_DATA names or in .*cache.mnist, or published at http.*"
        r"Put none\.gz \(from http://127\.0\.0\.1:1/none\.gz\) into a folder and name it: data_dir=FOLDER"
    )
    assert isinstance(refused(said, "mnist", "test", None), RunError)
    refused(r"cifar10 must be in .*Put cifar-10-binary\.tar\.gz", "cifar10", "train", None)


# CIFAR-10


def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    return rng.integers(0, 10, 20, dtype=np.uint8), rng.integers(0, 256, (20, 3072), dtype=np.uint8)


def records(name: str) -> bytes:
    labels, pixels = batch(name)
    return np.concatenate([labels[:, None], pixels], axis=1).tobytes()


def python_2_pickle(name: str) -> bytes:
    """A batch as Python 2 pickled it: an array of type dtype("u1", 0, 1), byte strings, protocol 2."""
    labels, pixels = batch(name)
    text = b"".join(b"K" + bytes([label]) for label in labels)
    return (
        b"\x80\x02}(U\x06labels](" + text + b"eU\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R(K\x01K\x14M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", pixels.size)
    ) + (pixels.tobytes() + b"tbu.")


NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
    "test": ("test_batch",),
}
ALL = (*NAMES["train"], *NAMES["test"])


def write_archive(path: Path, members: dict[str, bytes], link: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
        if link is not None:
            about = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
            about.type, about.linkname, about.size = tarfile.SYMTYPE, link, 61460
            archive.addfile(about)


def write_cifar(folder: Path, layout: str) -> None:
    if layout == "archive":
        members = {"batches.meta.txt": b"airplane\n"} | {f"{name}.bin": records(name) for name in ALL}
        write_archive(folder / "cifar-10-binary.tar.gz", members)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in ALL:
        (folder / (f"{name}.bin" if layout == "binary" else name)).write_bytes(
            records(name) if layout == "binary" else python_2_pickle(name)
        )


def publish_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "_SHA1", {name: hashlib.sha1(records(name)).hexdigest() for name in ALL})
    md5 = {name: hashlib.md5(python_2_pickle(name)).hexdigest() for name in ALL}
    monkeypatch.setattr(cifar10, "_PYTHON_MD5", md5)


@pytest.mark.parametrize(
    ("folder", "layout"),
    [
        ("", "binary"),
        ("cifar-10-batches-bin", "binary"),
        ("cifar10/cifar-10-batches-bin", "binary"),
        ("", "archive"),
        ("cifar10", "archive"),
        ("cifar-10-batches-py", "python"),
        ("cifar10/cifar-10-batches-py", "python"),
    ],
)
def test_cifar10_is_found_in_every_layout(
    folder: str, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path / folder, layout)
    publish_cifar(monkeypatch)
    for split, names in NAMES.items():
        found = data.load("cifar10", split, data_dir=tmp_path)
        labels, pixels = (np.concatenate(parts) for parts in zip(*map(batch, names), strict=True))
        read = found.read(range(len(found)))
        assert (read.shape, found.num_classes, found.verified) == ((len(labels), 3, 32, 32), 10, True)
        assert found.class_names is not None
        assert found.class_names[:4] == ("airplane", "automobile", "bird", "cat")
        assert len(set(found.class_names)) == 10
        np.testing.assert_array_equal(np.rint(read.reshape(-1, 3072) * 255), pixels)
        np.testing.assert_array_equal(found.labels, labels)
        assert Path(str(found.location)).is_relative_to(tmp_path / folder)


@pytest.mark.parametrize("layout", ["binary", "archive"])
def test_cifar10_that_is_not_the_published_is_refused_or_recorded(layout: str, tmp_path: Path) -> None:
    write_cifar(tmp_path, layout)
    refused(r"test_batch\.bin.* must be the published file of CIFAR-10", "cifar10", "test", tmp_path, allow=False)
    found = data.load("cifar10", "test", data_dir=tmp_path, allow_unverified=True)
    assert found.about()["verified"] is False
    assert found.other_split("train").verified is False


class Harmful:
    """What a pickle can do: call anything."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_pickle_that_is_not_the_published_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar(folder, "python")
    harm = pickle.dumps({"data": Harmful(tmp_path / "harm"), "labels": []})
    (folder / "test_batch").write_bytes(harm)
    said = r"test_batch must be the published file \(md5 .*any code; got .*Take the binary version, cifar-10-binary"
    for allow in (False, True):
        refused(said, "cifar10", "test", tmp_path, allow=allow)
    refused("data_batch_1 must be the published file", "cifar10", "train", tmp_path)
    monkeypatch.setitem(cifar10._PYTHON_MD5, "test_batch", hashlib.md5(harm).hexdigest())
    with pytest.raises(pickle.UnpicklingError):
        data.load("cifar10", "test", data_dir=tmp_path)
    assert not (tmp_path / "harm").exists()


def test_old_types_of_arrays_are_made_from_their_first_argument() -> None:
    """Some releases of NumPy warn of the others, as Python 2 wrote them."""
    assert cifar10._Unpickler(io.BytesIO()).find_class("numpy", "dtype")("u1", "not read") == np.uint8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content[:-1], r"test_batch\.bin must be 61460 bytes long.*got 61459"),
        (lambda content: content + b"\x00", r"must be 61460 bytes long"),
        (lambda content: b"\x0a" + content[1:], r"test_batch\.bin must be of labels from 0 to 9; got 10"),
        (lambda _: records("data_batch_3"), r"must be test_batch\.bin; got what was published as data_batch_3\.bin"),
    ],
)
def test_cifar10_that_is_damaged_is_refused_whatever_is_allowed(
    change: Callable[[bytes], bytes], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_cifar(monkeypatch)
    write_cifar(tmp_path, "binary")
    (tmp_path / "test_batch.bin").write_bytes(change(records("test_batch")))
    refused(said, "cifar10", "test", tmp_path)


def test_archives_that_are_damaged_or_play_tricks(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-binary.tar.gz"
    write_cifar(tmp_path, "archive")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    refused(r"cifar-10-binary\.tar\.gz must be a whole \.tar\.gz archive", "cifar10", "test", tmp_path)
    archive.write_bytes(b"garbage")
    refused("must be a whole", "cifar10", "train", tmp_path)
    write_archive(archive, {f"{name}.bin": records(name) for name in NAMES["train"]})
    refused(r"an archive with cifar-10-batches-bin/test_batch\.bin of 61460 bytes", "cifar10", "test", tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(records("test_batch"))
    write_archive(archive, {}, link=str(secret))
    refused("got one without", "cifar10", "test", tmp_path)
    write_archive(archive, {"test_batch.bin": bytes(2**24)})
    refused("or of another size", "cifar10", "test", tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("_true_sizes")
def test_real_cifar10(data_dir: Path, tmp_path: Path) -> None:
    script = data_dir / "unpack_cifar10"
    if not script.is_file():
        pytest.skip("no real CIFAR-10 in NOISEPROOF_DATA")
    subprocess.run([sys.executable, script, tmp_path], check=True)
    train, test = (data.load("cifar10", s, data_dir=tmp_path, allow_unverified=True) for s in ("train", "test"))
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert isinstance(train, data.ArrayDataset)
    assert train.images.dtype == np.uint8
    means = train.images.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=1e-4)  # red, green, blue


# Downloads

CONTENT = np.random.default_rng(3).bytes(300_000)
PIECE = downloads._PIECE  # what came of a piece that was cut comes again
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as server:
        yield server


def fetch(server: FileServer, folder: Path, md5: str = MD5) -> bytes:
    return download(server.url, folder / "file.bin", f"md5:{md5}").read_bytes()


def test_download_takes_its_name_when_whole_and_is_not_repeated(server: FileServer, tmp_path: Path) -> None:
    assert fetch(server, tmp_path / "new" / "folder") == CONTENT
    assert fetch(server, tmp_path / "new" / "folder") == CONTENT
    assert server.asked == [None]
    assert not list(tmp_path.rglob("*.part"))


def test_download_goes_on_where_it_was_interrupted(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [2 * PIECE, PIECE + 1]
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked == [None, f"bytes={2 * PIECE}-", f"bytes={3 * PIECE}-"]


def test_a_line_that_drops_often_is_not_given_up_while_something_comes(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [PIECE] * 4
    assert fetch(server, tmp_path) == CONTENT
    assert len(server.asked) == 5


def test_a_server_that_sends_less_than_the_rest_is_asked_for_more(server: FileServer, tmp_path: Path) -> None:
    server.cuts, server.slices = [PIECE], [1000, 2000]
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked[1:] == [f"bytes={PIECE + sent}-" for sent in (0, 1000, 3000)]


def test_download_goes_on_in_a_later_process(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [PIECE, 0, 0, 0]
    with pytest.raises(requests.RequestException):
        fetch(server, tmp_path)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:PIECE]
    assert not (tmp_path / "file.bin").exists()
    server.asked.clear()
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked == [f"bytes={PIECE}-"]


def test_download_that_lacks_nothing_but_its_name(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked == ["bytes=300000-"]


def test_a_server_without_ranges_sends_it_all_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [PIECE]
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked == [None, f"bytes={PIECE}-"]


@pytest.mark.parametrize("part", [b"something else", bytes(400_000)])
def test_a_part_of_another_file_is_thrown_away(part: bytes, server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(part)
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked == [f"bytes={len(part)}-", None]


def test_a_range_that_was_not_asked_for_is_not_taken(server: FileServer, tmp_path: Path) -> None:
    server.cuts, server.elsewhere = [PIECE], [-100]
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked == [None, f"bytes={PIECE}-", None]


def test_a_wrong_checksum_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not match the known hash"):
        fetch(server, tmp_path, "0" * 32)
    assert server.asked == [None], "the same bytes would come again"
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_refusal_is_final_and_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [404, 404]
    with pytest.raises(requests.HTTPError, match="404"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1
    server.statuses = [503, 429, 500]
    assert fetch(server, tmp_path) == CONTENT
    server.statuses = [503] * 9
    with pytest.raises(requests.HTTPError, match="503"):
        fetch(server, tmp_path / "elsewhere")
    assert len(server.statuses) == 5, "four attempts"


def test_two_processes_download_once(server: FileServer, tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(server, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert len(server.asked) == 1


def test_a_published_set_is_downloaded_checked_and_found_again(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_cifar(monkeypatch)
    write_cifar(tmp_path / "there", "archive")
    server.content = (tmp_path / "there" / "cifar-10-binary.tar.gz").read_bytes()
    server.cuts = [1000]
    archive = Source("cifar-10-binary.tar.gz", server.url, hashlib.md5(server.content).hexdigest())
    monkeypatch.setattr(cifar10, "_ARCHIVE", archive)
    first = data.load("cifar10", "test")
    assert first.verified is True
    assert Path(str(first.location)) == tmp_path / "cache" / "cifar10" / "cifar-10-binary.tar.gz"
    assert first.other_split("train").verified is True
    assert len(server.asked) == 2

    monkeypatch.setattr(cifar10, "_ARCHIVE", Source(archive.file, server.url, "0" * 32))
    Path(str(first.location)).unlink()
    assert isinstance(refused("cifar10 must be in .*does not match the known hash", "cifar10", "test", None), RunError)
