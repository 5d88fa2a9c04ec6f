"""On processors that only emulate bfloat16: what asks for it is warned, and what may choose takes float32."""

from pathlib import Path

import pytest
import torch

from noiseproof import data, models
from noiseproof.classifiers import autotune as calibration
from noiseproof.cli import defending, engine
from noiseproof.cli.counting import Engine
from noiseproof.cli.defending import Opponent
from noiseproof.cli.subject import Subject
from noiseproof.cli.train import run_training
from noiseproof.noises import Gaussian
from noiseproof.objectives import GaussianAugmentation
from noiseproof.training import TrainingSettings

CPU = torch.device("cpu")
MESSAGE = "bfloat16 is emulated here"


@pytest.fixture(params=[True, False], ids=["native", "emulated"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    for place in (calibration, defending):
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
    opponent(precision="bf16")
    assert (MESSAGE in capsys.readouterr().err) == (not native)


def test_gradients_are_taken_in_what_is_fast(native: bool) -> None:
    assert opponent(precision="bf16").gradients == ("bf16" if native else "fp32")
    assert opponent(precision="fp32").gradients == "fp32"


def opponent(precision: str) -> Opponent:
    test = data.load("digits", "test")
    network = models.build("digits-cnn")
    subject = Subject(network, {"name": "digits-cnn", "digest": ""}, Gaussian(0.25), test)
    asked = Engine(device="cpu", precision=engine.PrecisionName(precision))
    return Opponent(subject, Gaussian(0.25), asked, None, votes=10, seed=0)
