"""The networks of the zoo: whole, by their checksums, from the checkout or from elsewhere."""

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import noiseproof as npf
from file_server import serving
from noiseproof import models
from noiseproof.data import load
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import fetch, load_checkpoint, save_checkpoint, shipped, zoo
from noiseproof.noises import Gaussian, Laplace
from noiseproof.objectives import Natural
from noiseproof.runs import DataChoice, Subject
from noiseproof.storage import downloads
from noiseproof.training import CHECKPOINT, TrainingSettings, train

SHIPPED = Path(models.__file__).parents[3] / "zoo"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one network, in a folder of its own."""
    folder = tmp_path / "shelf"
    record = {"settings": {"noise": {"name": "gaussian", "sigma": 0.25}}, "data": {"name": "digits", "digest": ""}}
    save_checkpoint(folder / "tiny.safetensors", models.build("digits-cnn"), "digits-cnn", record)
    digest = hashlib.sha256((folder / "tiny.safetensors").read_bytes()).hexdigest()
    monkeypatch.setattr("noiseproof.models.zoo.shipped", lambda: {"tiny": digest})
    monkeypatch.setenv("NOISEPROOF_ZOO", str(folder))
    return folder


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_networks_are_whole_and_say_how_they_were_made(name: str) -> None:
    checkpoint = load_checkpoint(fetch(name))
    record = checkpoint.record
    members = record.get("members", [])
    verb = "ensemble" if members else "train"
    assert record["settings"]["model"] == checkpoint.model_name
    assert record["made"]["command"][:2] == ["noiseproof", verb]
    for training in members or [record]:
        assert training["settings"]["epochs"] >= 1
        assert training["made"]["command"][:2] == ["noiseproof", "train"]
        assert not {"location", "source"} & set(training["made"]["data"])
    assert not {"location", "source"} & set(record["made"]["data"])
    if "shipped" in record:
        assert record["shipped"] == "weights rounded from float32 to bfloat16"
        assert all(torch.equal(value, value.bfloat16().float()) for value in checkpoint.model.state_dict().values())
    else:  # as they were certified
        votes = json.loads((SHIPPED.parent / "reproduction/records/mnist" / name[6:] / "record.json").read_text())
        assert votes["settings"]["model"]["digest"] == models.model_digest(checkpoint.model)
    assert f"`{name}`" in (SHIPPED / "README.md").read_text()


def test_the_list_and_the_folder_agree() -> None:
    assert {path.stem for path in SHIPPED.glob("*.safetensors")} == set(shipped())
    assert list(shipped()) == sorted(shipped())


def test_a_damaged_network_is_refused(shelf: Path) -> None:
    path = shelf / "tiny.safetensors"
    assert fetch("tiny") == path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"the file that was shipped, SHA-256 .* It is damaged, or of another version"):
        fetch("tiny")
    path.unlink()
    with pytest.raises(
        RunError, match=r"got no file .*tiny.safetensors.* clone it, and set NOISEPROOF_ZOO to that folder"
    ):
        fetch("tiny")
    with pytest.raises(InvalidInputError, match=r"^zoo:nobody must be a network of the zoo: tiny; got no such network"):
        fetch("nobody")


def test_a_wheel_says_where_the_zoo_is(shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOISEPROOF_ZOO")
    site = tmp_path / "lib" / "python3" / "site-packages" / "noiseproof" / "models"
    monkeypatch.setattr(zoo, "__file__", str(site / "zoo.py"))
    monkeypatch.setattr(zoo, "_address", str)
    with pytest.raises(RunError, match=r"NOISEPROOF_ZOO is not set, and this installation has no checkout") as caught:
        fetch("tiny")
    assert "zoo/ of the project's repository: clone it, and set NOISEPROOF_ZOO" in str(caught.value)
    assert str(tmp_path) not in str(caught.value), "no folder beside site-packages, where nobody looks"
    monkeypatch.setenv("NOISEPROOF_ZOO", str(shelf))
    assert fetch("tiny") == shelf / "tiny.safetensors"


def test_the_variable_of_the_zoo_is_documented() -> None:
    pages = {path.name for path in (SHIPPED.parent / "docs").glob("*.md") if "NOISEPROOF_ZOO" in path.read_text()}
    assert {"guide.md", "engine.md"} <= pages


def test_a_network_is_loaded_in_python_by_the_names_of_the_command_line(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = npf.models.load("zoo:tiny")
    assert (model.noise, model.num_classes) == (Gaussian(0.25), None)
    assert repr(model) == "LoadedModel('zoo:tiny', DigitsCNN, noise=Gaussian(sigma=0.25))"
    path = tmp_path / "run" / CHECKPOINT
    save_checkpoint(path, models.build("digits-cnn"), "digits-cnn", DESCRIBED)
    trained = npf.models.load(path)
    assert (trained.noise, trained.num_classes) == (Gaussian(0.25), 10)
    for same in (str(path), tmp_path / "run", str(tmp_path / "run")):
        assert npf.models.load(same).about == trained.about
    assert npf.models.load("noiseproof.models:DigitsCNN").noise is None
    for name in ("zoo:tiny", tmp_path / "run"):
        with pytest.raises(InvalidInputError, match=r"weights must be left out"):
            npf.models.load(name, Path("some.pt"))
    with pytest.raises(RunError, match=r"checkpoint.safetensors must be a file"):
        npf.models.load(tmp_path)


def test_a_loaded_network_is_smoothed_attacked_and_run_as_it_is(shelf: Path) -> None:
    model, digits = npf.models.load("zoo:tiny"), load("digits", "test")
    assert model.noise is not None
    images, labels = digits.read(range(4)), digits.labels[:4]
    votes = [npf.SmoothedClassifier(f, model.noise, 10).count(images, samples=50) for f in (model, model.classifier)]
    assert (votes[0] == votes[1]).all()
    assert torch.equal(model(torch.as_tensor(images)), model.classifier(torch.as_tensor(images)))
    attack = npf.attacks.PGD(eot_samples=2, steps=2)
    found = [attack(f, images, labels, epsilons=[1.0], norm="l2") for f in (model, model.classifier)]
    assert torch.equal(found[0].points, found[1].points)
    subject = Subject.of(model, model.noise, digits, name="tiny")
    assert subject.classifier is model.classifier
    assert subject.model["digest"] == model.about["digest"]


@pytest.fixture
def server(shelf: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(shelf))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_elsewhere_it_is_downloaded_once_and_checked(
    shelf: Path, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOISEPROOF_ZOO", server)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole = (shelf / "tiny.safetensors").read_bytes()
    got = fetch("tiny")
    assert got.is_relative_to(tmp_path / "cache")
    assert got.read_bytes() == whole
    (shelf / "tiny.safetensors").write_bytes(b"another")
    assert fetch("tiny").read_bytes() == whole, "from the cache"
    got.write_bytes(whole[:-1])
    with pytest.raises(RunError, match=r"tiny.safetensors must be the weights of zoo:tiny"):
        fetch("tiny")
    (shelf / "tiny.safetensors").unlink()
    with pytest.raises(RunError, match="404"):
        fetch("tiny")


def test_a_download_goes_on_where_it_stopped(shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = (shelf / "tiny.safetensors").read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serving(whole) as busy:
        monkeypatch.setenv("NOISEPROOF_ZOO", busy.url.removesuffix("/file.bin"))
        busy.cuts, busy.statuses = [len(whole) // 2], []
        monkeypatch.setattr(downloads, "_ATTEMPTS", 1)
        monkeypatch.setattr(downloads, "_PIECE", 64)
        with pytest.raises(RunError, match="goes on where it stopped"):
            fetch("tiny")
        (part,) = (tmp_path / "cache").rglob("*.part")
        came = part.stat().st_size
        assert 0 < came < len(whole)
        assert fetch("tiny").read_bytes() == whole
        assert busy.asked == [None, f"bytes={came}-"]


def test_a_network_of_the_zoo_knows_its_noise_and_data(shelf: Path) -> None:
    subject = Subject.load("zoo:tiny")
    assert subject.noise == Gaussian(0.25)
    assert (subject.dataset.name, subject.dataset.split) == ("digits", "test")
    assert subject.model["name"] == "zoo:tiny"
    other = Subject.load(str(shelf / "tiny.safetensors"), noise="laplace")
    assert other.noise == Laplace(0.25)
    assert Subject.load("zoo:tiny", sigma=0.5).noise == Gaussian(0.5)
    with pytest.raises(InvalidInputError, match=r"weights must be left out"):
        Subject.load("zoo:tiny", weights=Path("some.pt"))


def test_a_trained_run_finds_its_own_data_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load("digits", "train")
    images, labels = (255 * digits.read(range(200))).astype(np.uint8), digits.labels[:200]
    np.savez(tmp_path / "mine.npz", train_images=images, train_labels=labels, images=images[:20], labels=labels[:20])
    settings = TrainingSettings("digits-cnn", Natural(), Gaussian(0.1), epochs=1)
    train(settings, load(str(tmp_path / "mine.npz"), "train", 10), tmp_path / "run")
    monkeypatch.chdir("/")
    subject = Subject.load(tmp_path / "run")
    assert len(subject.dataset) == 20
    assert subject.dataset.num_classes == 10
    made = json.dumps(load_checkpoint(tmp_path / "run" / CHECKPOINT).record["made"]["data"])
    assert str(tmp_path / "mine.npz") in made
    (tmp_path / "mine.npz").rename(tmp_path / "moved.npz")
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "mine.npz").write_bytes((tmp_path / "moved.npz").read_bytes())
    monkeypatch.chdir(evil)
    with pytest.raises(RunError, match=r"mine.npz must be there: the network was trained on it"):
        Subject.load(tmp_path / "run")
    assert len(Subject.load(tmp_path / "run", data=DataChoice(str(tmp_path / "moved.npz"), 10)).dataset) == 20


def folder_of_images(root: Path, classes: str) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(root / split / name / "1.png")
    return root


def test_a_folder_is_what_it_was_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One called digits is not the built-in set, keeps its size of images, and the order of its classes."""
    folder = folder_of_images(tmp_path / "digits", "abcdefghij")
    settings = TrainingSettings("cifar-resnet20", Natural(), Gaussian(0.1), epochs=1)
    train(settings, load(str(folder), "train", image_size=8), tmp_path / "run")
    monkeypatch.chdir("/")
    subject = Subject.load(tmp_path / "run")
    assert subject.dataset.image_shape == (3, 8, 8)
    other = folder_of_images(tmp_path / "other", "abcdefghij")
    assert Subject.load(tmp_path / "run", data=str(other)).dataset.image_shape == (3, 8, 8)
    (other / "classes.txt").write_text("b\na\nc\nd\ne\nf\ng\nh\ni\nj\n")
    with pytest.raises(InvalidInputError, match=r"classes of the training; class 0 is 'a'; got 'b'"):
        Subject.load(tmp_path / "run", data=str(other))


DESCRIBED = {
    "settings": {"noise": {"name": "gaussian", "sigma": 0.25}},
    "data": {"name": "digits"},
    "made": {"data": {"num_classes": 10, "image_shape": [1, 8, 8]}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {}},
        {"settings": {"noise": "gaussian"}},
        {"settings": {"noise": {"name": "gaussian", "sigma": 0.25, "more": 1}}},
        {"settings": {"noise": {"name": "gaussian", "sigma": "big"}}},
        {"data": {}},
        {"data": {"name": 3}},
        {"made": []},
        {"made": {"data": {"source": 3}}},
        {"made": {"data": {"num_classes": "ten"}}},
        {"made": {"data": {"image_shape": []}}},
        {"made": {"data": {"class_names": "abc"}}},
    ],
    ids=str,
)
def test_a_checkpoint_that_says_nonsense(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_checkpoint(path, models.build("digits-cnn"), "digits-cnn", DESCRIBED)
    assert Subject.load(str(path)).noise == Gaussian(0.25)
    save_checkpoint(path, models.build("digits-cnn"), "digits-cnn", DESCRIBED | change)
    with pytest.raises(RunError, match="says with which noise and on which data it was trained"):
        Subject.load(str(path))


def test_a_named_set_is_looked_for_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    digits = load("digits", "test")

    def load_as_asked(*_: object, **options: object) -> object:
        asked.append(options["data_dir"])
        return digits

    monkeypatch.setattr("noiseproof.data.load", load_as_asked)
    (tmp_path / "cifar-10-binary.tar.gz").touch()
    for location in (tmp_path, tmp_path / "cifar-10-binary.tar.gz", tmp_path / "gone"):
        made = {"data": {"source": "cifar10", "location": str(location)}}
        DataChoice().load_as_trained({"data": {"name": "cifar10"}, "made": made})
    DataChoice("mnist").load_as_trained({"data": {"name": "cifar10"}, "made": made})
    assert asked == [tmp_path, tmp_path, None, None]


def test_a_checkpoint_does_not_allow_unverified_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    digits = load("digits", "test")

    def load_as_asked(*_: object, **options: object) -> object:
        asked.append(options["allow_unverified"])
        return digits

    monkeypatch.setattr("noiseproof.data.load", load_as_asked)
    DataChoice().load_as_trained({"data": {"name": "cifar10", "verified": False}})
    DataChoice(allow_unverified=True).load_as_trained({"data": {"name": "cifar10"}})
    assert asked == [False, True]
