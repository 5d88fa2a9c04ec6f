"""Networks verified on a data set, and the file that keeps the result."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from command_line import figures, invoke
from noiseproof.data import ArrayDataset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import build
from noiseproof.runs import verification as verified
from noiseproof.verification import Cascade
from synthetic_records import verified_result


def two_linear_stages() -> list[tuple[str, nn.Module]]:
    torch.manual_seed(0)
    stages = []
    for number in range(2):
        first, last = nn.Linear(9, 4), nn.Linear(4, 3)
        with torch.no_grad():
            first.bias.copy_(
                -0.5 * first.weight.sum(1)
            )  # so that the middle of the pixels is the middle of the classes
            last.bias.zero_()
        stages.append((f"stage{number}", nn.Sequential(nn.Flatten(), first, nn.ReLU(), last).eval()))
    return stages


def small_images(count: int = 150) -> ArrayDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(count, 1, 3, 3)).astype(np.float32) / 255
    return ArrayDataset("small", "test", images, rng.integers(3, size=count), 3)


def test_verification_counts_as_the_cascade_does() -> None:
    dataset, stages = small_images(), two_linear_stages()
    found = verified.verify(stages, dataset, norm="l2", radius=0.3, every=2, limit=70)
    chosen = list(range(0, 140, 2))
    images, labels = torch.as_tensor(dataset.read(chosen)), torch.as_tensor(dataset.labels[chosen])
    answer = Cascade([network for _, network in stages], "l2", 0.3)(images)
    assert found.images == 70
    assert found.certified_error == pytest.approx(answer.certified_error(labels))
    assert found.clean_error == pytest.approx(answer.error(labels))
    assert 0.0 < found.clean_error < found.certified_error < 1.0
    assert [stage["answered"] for stage in found.stages] == [int((answer.stages == number).sum()) for number in (0, 1)]
    assert "command" in found.about
    assert found.about["seconds"] >= 0.0
    with pytest.raises(InvalidInputError, match="stages"):
        verified.verify([], dataset, norm="l2", radius=0.3)
    with pytest.raises(InvalidInputError, match="every"):
        verified.verify(stages, dataset, norm="l2", radius=0.3, every=0)


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    path = verified_result().write(tmp_path)
    whole = json.loads(path.read_text())
    for content in ("{", "[]", json.dumps(whole | {"format": 99}), json.dumps({"format": 1})):
        path.write_text(content)
        with pytest.raises(RunError, match="result of a verification"):
            verified.Verified.read(tmp_path)


def test_verification_from_the_command_line(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build("kw-mnist-small")
    torch.save(network.state_dict(), tmp_path / "stage.pth")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "ours.npz", images=rng.random((4, 1, 28, 28), dtype=np.float32), labels=np.arange(4))
    stage = f"kw-mnist-small={tmp_path / 'stage.pth'}"
    arguments = ("verify", tmp_path / "kw", "--data", tmp_path / "ours.npz", "--radius", 1e-4, "--stage", stage)
    shown = invoke(*arguments, "--limit", 2)
    found = verified.Verified.read(tmp_path / "kw")
    assert found.images == 2
    assert found.stages[0]["name"] == stage
    assert "2 images" in shown.stderr
    told = figures(*arguments, "--limit", 2)
    assert (told["images"], told["norm"], told["certified"]) == (2, "l2", 1.0 - found.certified_error)
    assert "--data" in invoke("verify", tmp_path / "kw", "--radius", 1e-4, "--stage", stage, code=2).stderr
