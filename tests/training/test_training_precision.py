"""`noiseproof train --precision auto`: decided by machine and network, and kept by a training that has begun."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import invoke
from noiseproof import data
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import load_checkpoint
from noiseproof.models.registry import MODELS
from noiseproof.training import CHECKPOINT, train
from noiseproof.training import precision as under_test
from noiseproof.training.precision import usual_precision
from noiseproof.training.settings import with_defaults
from tiny_training import NETWORKS, StopHereError, images, stop_at, tiny

CPU = torch.device("cpu")


def digits_like(*shape: int, classes: int = 10) -> data.ArrayDataset:
    return data.ArrayDataset("noise", "train", np.zeros((2, *shape), np.uint8), np.arange(2), classes)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("model", "shape", "large"),
    [
        ("digits-cnn", (1, 8, 8), False),
        ("lenet", (1, 28, 28), False),
        ("kw-cifar-large", (3, 32, 32), False),
        ("paper-mnist", (1, 28, 28), True),
        ("cifar-resnet20", (3, 32, 32), True),
        ("paper-cifar", (3, 32, 32), True),
    ],
)
def test_16_bits_where_the_machine_has_them_and_the_network_is_large(
    model: str, shape: tuple[int, ...], large: bool, fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "multiplies_bfloat16", lambda device: fast and device == CPU)
    before = torch.get_rng_state()
    expected = "bf16" if large and fast else "fp32"
    assert usual_precision(model, digits_like(*shape), CPU, tmp_path / "new") == expected
    assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers are as they were"
    assert not (tmp_path / "new").exists()


def test_a_network_for_other_images_is_refused_before_it_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "multiplies_bfloat16", lambda _: True)
    with pytest.raises(InvalidInputError, match="a network for images"):
        usual_precision("paper-cifar", digits_like(3, 32, 32, classes=7), CPU, tmp_path)


def test_a_training_keeps_its_precision_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS._places, "tiny", NETWORKS["tiny"])  # type: ignore[arg-type]
    monkeypatch.setattr(under_test, "multiplies_bfloat16", lambda _: False)
    settings, run = tiny(precision="bf16"), tmp_path / "run"
    with pytest.raises(StopHereError):
        train(settings, images(), run, on_batch=stop_at(2, 1))
    assert usual_precision("tiny", images(), CPU, run) == "bf16", "begun"
    train(settings, images(), run)
    assert usual_precision("tiny", images(), CPU, run) == "bf16", "finished"
    (run / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(RunError, match="whole safetensors file"):
        usual_precision("tiny", images(), CPU, run)


def test_records_of_versions_that_had_no_precision_are_of_float32() -> None:
    assert with_defaults({})["precision"] == "fp32"


def test_the_command_line_records_what_auto_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "multiplies_bfloat16", lambda _: True)
    monkeypatch.setattr(under_test, "_LEAST", 0)
    run = tmp_path / "run"
    told = json.loads(invoke("train", "--out", run, "--epochs", 1, "--json").stdout)
    assert told["settings"]["precision"] == "bf16"
    assert load_checkpoint(run / CHECKPOINT).record["settings"] == told["settings"]
    monkeypatch.undo()
    invoke("train", "--out", run, "--epochs", 1)
    failed = invoke("train", "--out", run, "--epochs", 1, "--precision", "fp32", code=2)
    assert "precision 'fp32'" in " ".join(failed.stderr.split()), "another precision is another training"
