"""On processors that only emulate bfloat16: what asks for it is warned, and what may choose takes float32."""

from pathlib import Path

import pytest
import torch

from noiseproof import data, models
from noiseproof.attacks import PGD
from noiseproof.attacks import defence as defending
from noiseproof.classifiers import autotune as tuning
from noiseproof.cli import engine
from noiseproof.cli.progress import Shown
from noiseproof.cli.train import run_training
from noiseproof.noises import Gaussian
from noiseproof.objectives import GaussianAugmentation
from noiseproof.runs import AttackImages, Engine, Subject
from noiseproof.runs import running as how
from noiseproof.runs.running import Running, run_subject
from noiseproof.training import TrainingSettings

CPU = torch.device("cpu")
MESSAGE = "bfloat16 is emulated here"


@pytest.fixture(params=[True, False], ids=["native", "emulated"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    for place in (tuning, defending, how):
        monkeypatch.setattr(place, "multiplies_bfloat16", lambda _: request.param)
    monkeypatch.setattr("noiseproof.classifiers.multiplies_bfloat16", lambda _: request.param)
    return bool(request.param)


@pytest.mark.parametrize("precision", ["fp32", "auto", "bf16"])
def test_who_asks_for_bfloat16_is_told(precision: str, native: bool, capsys: pytest.CaptureFixture[str]) -> None:
    engine.say_if_emulated(precision, CPU)
    assert (MESSAGE in capsys.readouterr().err) == (precision == "bf16" and not native)


@pytest.mark.slow
def test_training_and_attacking_tell(tmp_path: Path, native: bool, capsys: pytest.CaptureFixture[str]) -> None:
    settings = TrainingSettings("digits-cnn", GaussianAugmentation(), Gaussian(0.25), epochs=1, precision="bf16")
    run_training(settings, data.load("digits", "train"), tmp_path, "cpu")
    assert (MESSAGE in capsys.readouterr().err) == (not native)
    running(precision="bf16")
    assert (MESSAGE in capsys.readouterr().err) == (not native)


def test_gradients_are_taken_in_what_is_fast(native: bool) -> None:
    for precision, gradients in (("bf16", "bf16" if native else "fp32"), ("fp32", "fp32")):
        found = running(precision)
        assert found.defence(PGD()).network.settings()["precision"] == gradients  # type: ignore[union-attr, operator]
        assert AttackImages(PGD(), [0.5]).plan(found.subject).under(found.engine()).gradients == gradients


def running(precision: str) -> Running:
    network = models.build("digits-cnn")
    subject = Subject(network, {"name": "digits-cnn", "digest": ""}, Gaussian(0.25), data.load("digits", "test"))
    return run_subject(subject, Engine("cpu", precision), votes=10, seed=0, listener=Shown(""))
