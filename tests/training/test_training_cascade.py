"""What a later stage of a cascade is trained on: the images that no stage before certifies, judged once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from command_line import invoke
from noiseproof.data import ArrayDataset, Subset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import build, load_checkpoint, model_digest, save_checkpoint
from noiseproof.models.registry import MODELS
from noiseproof.objectives import ConvexOuter, Natural
from noiseproof.runs.verification_records import Verified
from noiseproof.training import CASCADE, CHECKPOINT, TrainingSettings, cascade, left_by, train
from noiseproof.verification import Cascade
from tiny_training import StopHereError, stop_at, tiny

PIXELS = [0.1, 0.36, 0.4, 0.55, 0.64, 0.9, 0.41]
"""Thresholds .5 and .3 at epsilon .15: the first stage answers .1 and .9, the second .55 and .64 as well."""

LEFT = [1, 2, 6]
OBJECTIVE = ConvexOuter("l2", 0.15)


def threshold(at: float) -> nn.Sequential:
    """A stage for one pixel x: class 1 where x > at, certified where |x - at| > epsilon."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        network[1].weight[:] = torch.tensor([[0.0], [1.0]])
        network[1].bias[:] = torch.tensor([0.0, -at])
    return network


def pixels(labels: list[int] | None = None, values: list[float] | None = None) -> ArrayDataset:
    images = np.asarray(values or PIXELS, dtype=np.float32).reshape(-1, 1, 1, 1)
    return ArrayDataset("pixels", "train", images, np.asarray(labels or [0, 1, 0, 1, 1, 1, 0]), 2)


STAGES = [("first", threshold(0.5)), ("second", threshold(0.3))]


@pytest.fixture(autouse=True)
def _networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        MODELS._places,
        "pixel",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 2)),
    )


def settings(**changes: Any) -> TrainingSettings:
    return tiny(**({"model": "pixel", "objective": OBJECTIVE, "batch_size": 2} | changes))


def test_who_is_left(tmp_path: Path) -> None:
    whole = pixels()
    found = left_by(STAGES, OBJECTIVE, whole, tmp_path)
    assert found.indices.tolist() == LEFT
    assert found.labels.tolist() == [1, 0, 0]
    assert found.read([2, 0]).ravel() == pytest.approx([0.41, 0.36])
    assert found.about() == {
        "name": "pixels",
        "split": "train",
        "digest": found.digest(),
        "part": {
            "data": whole.digest(),
            "stages": [model_digest(stage) for _, stage in STAGES],
            "norm": "l2",
            "epsilon": 0.15,
            "images": 7,
            "left": 3,
        },
    }
    assert left_by(STAGES[:1], OBJECTIVE, whole, tmp_path / "other").indices.tolist() == [1, 2, 3, 4, 6]


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_true_labels_and_batches_do_not_matter(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "_BATCH", batch)
    for number, labels in enumerate(([0] * 7, [1] * 7, [1, 0, 1, 0, 0, 0, 1])):
        out = tmp_path / str(number)
        assert left_by(STAGES, OBJECTIVE, pixels(labels), out).indices.tolist() == LEFT


def test_images_are_judged_once_and_a_stop_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "_BATCH", 2)
    monkeypatch.setattr(cascade, "_SAVE_EVERY", 0.0)
    seen: list[float] = []

    class Watched(Cascade):
        def __call__(self, images: torch.Tensor) -> Any:
            seen.extend(images.flatten().tolist())
            return super().__call__(images)

    def stop(judged: int, left: int) -> None:
        if judged == 4:
            assert left == 2
            raise StopHereError

    monkeypatch.setattr(cascade, "Cascade", Watched)
    with pytest.raises(StopHereError):
        left_by(STAGES, OBJECTIVE, pixels(), tmp_path, on_images=stop)
    reports: list[tuple[int, int]] = []
    first = left_by(STAGES, OBJECTIVE, pixels(), tmp_path, on_images=lambda *report: reports.append(report))
    again = left_by(STAGES, OBJECTIVE, pixels(), tmp_path)
    assert seen == pytest.approx(PIXELS)
    assert reports == [(4, 2), (6, 2), (7, 3)]
    assert first.indices.tolist() == again.indices.tolist() == LEFT
    assert first.digest() == again.digest()
    assert [path.name for path in tmp_path.iterdir()] == [CASCADE]


@pytest.mark.parametrize(
    ("stages", "objective", "data", "changed"),
    [
        (STAGES[:1], OBJECTIVE, pixels(), "stages"),
        (STAGES[::-1], OBJECTIVE, pixels(), "stages"),
        ([*STAGES[:1], ("second", threshold(0.31))], OBJECTIVE, pixels(), "stages"),
        (STAGES, replace(OBJECTIVE, epsilon=0.1), pixels(), "epsilon"),
        (STAGES, replace(OBJECTIVE, norm="linf"), pixels(), "norm"),
        (STAGES, OBJECTIVE, pixels([0] * 7), "data"),
    ],
    ids=["fewer", "order", "weights", "epsilon", "norm", "data"],
)
def test_another_cascade_is_refused(stages: Any, objective: Any, data: Any, changed: str, tmp_path: Path) -> None:
    left_by(STAGES, OBJECTIVE, pixels(), tmp_path)
    with pytest.raises(
        RunError, match=f"{CASCADE} must be of a training with {changed} .*; got {changed} .*Choose anoth"
    ):
        left_by(stages, objective, data, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"left": [2, 1, 6]},
        {"left": [1, 2, 7]},
        {"left": [1, 2, 2]},
        {"left": [1, True]},
        {"judged": 8},
        {"judged": 5},
        {"format": 2},
        {"left": None},
    ],
    ids=str,
)
def test_a_damaged_file_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    left_by(STAGES, OBJECTIVE, pixels(), tmp_path)
    path = tmp_path / CASCADE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RunError, match="must be the images that a cascade leaves; got"):
        left_by(STAGES, OBJECTIVE, pixels(), tmp_path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(RunError, match="must be the images that a cascade leaves; got JSONDecodeError"):
        left_by(STAGES, OBJECTIVE, pixels(), tmp_path)


@pytest.mark.parametrize(
    ("stages", "objective", "message"),
    [
        (STAGES, Natural(), r"objective must be ConvexOuter .*; got Natural"),
        ([], OBJECTIVE, "stages must be at least one network"),
        (
            [*STAGES, ("third", threshold(0.4)), ("fourth", threshold(0.0))],
            OBJECTIVE,
            "all 7 images certified in l2 at",
        ),
        ([("wide", nn.Sequential(nn.Flatten(), nn.Linear(2, 2)))], OBJECTIVE, r"stage wide must be given 2 values"),
        ([("odd", nn.Sequential(nn.Flatten(), nn.Tanh()))], OBJECTIVE, r"stage odd must be made of .*; got Tanh"),
        (
            [("more", nn.Sequential(nn.Flatten(), nn.Linear(1, 3)))],
            OBJECTIVE,
            "stage more must be a network of 2 classes",
        ),
    ],
    ids=["objective", "none", "nobody left", "images", "layers", "classes"],
)
def test_what_is_refused(stages: Any, objective: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        left_by(stages, objective, pixels(), tmp_path)


def test_the_folder_of_another_training_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(StopHereError):
        train(settings(), pixels(), tmp_path / "stopped", on_batch=stop_at(2, 1))
    train(settings(epochs=1), pixels(), tmp_path / "finished")
    for folder in (tmp_path / "stopped", tmp_path / "finished"):
        with pytest.raises(RunError, match="must be a folder without another training"):
            left_by(STAGES, OBJECTIVE, pixels(), folder)
        assert not (folder / CASCADE).exists()


def test_trained_on_what_is_left_and_on_nothing_else(tmp_path: Path) -> None:
    whole = pixels()
    part = left_by(STAGES, OBJECTIVE, whole, tmp_path / "run")
    with pytest.raises(StopHereError):
        train(settings(), part, tmp_path / "run", on_batch=stop_at(2, 1))
    with pytest.raises(RunError, match=r"with part None; got part \{'data'"):
        train(settings(), whole, tmp_path / "run")
    other = Subset(whole, LEFT, {**part.part, "stages": ["another"]})
    with pytest.raises(RunError, match=r"with part .*'another'"):
        train(settings(), other, tmp_path / "run")
    trained = train(settings(), left_by(STAGES, OBJECTIVE, whole, tmp_path / "run"), tmp_path / "run")
    alone = ArrayDataset("pixels", "train", whole.images[LEFT], whole.labels[LEFT], 2)
    assert model_digest(trained) == model_digest(train(settings(), alone, tmp_path / "alone"))
    record = load_checkpoint(tmp_path / "run" / CHECKPOINT).record
    assert record["data"] == {"name": "pixels", "digest": part.digest(), "part": part.part}
    with pytest.raises(RunError, match="with part None"):
        train(settings(), whole, tmp_path / "run")


def test_a_subset_is_the_data_set_but_for_its_images() -> None:
    whole = pixels()
    whole.location, whole.verified, whole.loader = "somewhere", False, lambda split: whole
    part = Subset(whole, [0, 6], {"why": "two"})
    assert (part.name, part.num_classes, part.image_shape, part.location) == ("pixels", 2, (1, 1, 1), "somewhere")
    assert part.other_split("test") is whole
    assert part.about()["verified"] is False
    others = (Subset(whole, [0, 5], {}), Subset(pixels([1] * 7), [0, 6], {}))
    assert len({whole.digest(), part.digest(), *(other.digest() for other in others)}) == 4
    assert len(Subset(whole, [], {})) == 0
    for wrong in ([6, 0], [0, 0], [-1, 0], [7]):
        with pytest.raises(InvalidInputError, match="indices must be ascending, from 0 to 6"):
            Subset(whole, wrong, {})


def bright(at: float) -> nn.Module:
    """kw-mnist-small that says 1 of images brighter than `at`, 0 of others, and certifies what is far from it."""
    network = build("kw-mnist-small")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network[0].weight[0], network[2].weight[0, 0] = 1 / 16, 1 / 16
        network[5].weight[0, :49] = 1 / 49
        network[7].weight[1, 0] = 1.0
        network[7].bias[:] = -9.0
        network[7].bias[:2] = torch.tensor([0.0, 0.0])
        network[7].bias[1] = -network(torch.full((1, 1, 28, 28), at))[0, 1]
    return network


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    levels = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.505], dtype=np.float32)
    images = np.broadcast_to(levels[:, None, None, None], (6, 1, 28, 28))
    labels = np.arange(6)
    np.savez("mine.npz", train_images=images, train_labels=labels, images=images, labels=labels)
    Path("one").mkdir()
    for path, at in (("one/checkpoint.safetensors", 0.5), ("two.safetensors", 0.51)):
        save_checkpoint(Path(path), bright(at), "kw-mnist-small", {})
    command = [
        *("train", "--data", "mine.npz", "--classes", "10", "--model", "kw-mnist-small", "--objective", "convex-outer"),
        *("--set", "epsilon=0.7", "--epochs", "1", "--device", "cpu", "--json", "--out", "three"),
    ]
    after = ["--after", "one", "--after", "two.safetensors"]
    expected = Cascade([bright(0.5), bright(0.51)], "l2", 0.7)(torch.tensor(images)).certified
    left = (~expected).nonzero().flatten().tolist()
    assert 0 < len(left) < 6

    done = invoke(*command, *after)
    assert f"{len(left)} of 6 training images are left" in " ".join(done.stderr.split())
    assert json.loads(done.stdout)["part"]["left"] == len(left)
    assert json.loads(Path("three", CASCADE).read_text())["left"] == left
    again = invoke(*command, *after)
    assert json.loads(again.stdout) == json.loads(done.stdout)
    for wrong, message in (
        (after[:2], "with stages"),
        ([], "with part None"),
        (["--after", "four"], "four must be a file"),
    ):
        assert message in invoke(*command, *wrong, code=2).stderr

    stages = ["one/checkpoint.safetensors", "two.safetensors", "three/checkpoint.safetensors"]
    options = [word for stage in stages for word in ("--stage", stage)]
    invoke("verify", "verdict", "--data", "mine.npz", "--radius", "0.7", *options)
    found = Verified.open(Path("verdict"))
    assert found.stages[2]["answered"] == len(left)
    assert found.stages[2]["digest"] == model_digest(load_checkpoint(Path(stages[2])).model)
