"""The repr of every public object shows its settings."""

import inspect
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import noiseproof as npf
from noiseproof.attacks import AttackResult
from noiseproof.classifiers.runners import FunctionRunner
from noiseproof.sequential.boundary import Boundary

ROOMS = [npf, *(getattr(npf, name) for name in npf.__all__ if inspect.ismodule(getattr(npf, name)))]
CLASSES = sorted(
    {
        kind
        for room in ROOMS
        for name in room.__all__
        if inspect.isclass(kind := getattr(room, name)) and kind.__module__.startswith("noiseproof")
    },
    key=lambda kind: (kind.__module__, kind.__name__),
)
PLAIN = (BaseException, Enum, nn.Module)
"""Python and torch say what these are."""


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_no_public_object_is_an_address(kind: type[Any]) -> None:
    if issubclass(kind, PLAIN) or inspect.isabstract(kind):
        return
    assert kind.__repr__ is not object.__repr__, f"repr({kind.__name__}) is <... object at 0x...>"


def digits() -> npf.data.Dataset:
    return npf.data.load("digits", "test")


def label(images: np.ndarray) -> np.ndarray:
    return (images.reshape(len(images), -1)[:, 0] > 0.3).astype(int)


RECORD = Path(__file__).parents[1] / "reproduction/records/mnist/stn-0.7"
NOISE = npf.Gaussian(sigma=0.25)
SHOWN: list[tuple[Callable[[], object], str]] = [
    (lambda: NOISE, "Gaussian(sigma=0.25)"),
    (npf.bounds.TwoPhase, "TwoPhase(selection_samples=100)"),
    (npf.certificates.Renyi, "Renyi(min_order=0.0)"),
    (
        lambda: npf.FixedSamples(100),
        "FixedSamples(samples=100, alpha=0.001, bound=TwoPhase(selection_samples=100), certificate=NeymanPearson())",
    ),
    (
        lambda: npf.SmoothedClassifier(label, NOISE, 2),
        "SmoothedClassifier(label, Gaussian(sigma=0.25), num_classes=2, device='cpu', batch_size=None, sampler='float')",
    ),
    (
        lambda: npf.SmoothedClassifier(npf.models.build("digits-cnn"), npf.Laplace(0.5), 10, batch_size=7),
        "SmoothedClassifier(DigitsCNN, Laplace(scale=0.5), num_classes=10, device='cpu', batch_size=7, sampler='float')",
    ),
    (
        lambda: npf.classifiers.accelerate(npf.models.build("digits-cnn"), precision="bf16"),
        "Accelerated(DigitsCNN, device='cpu', precision='bf16', compile=False, batch_size=None)",
    ),
    (
        lambda: FunctionRunner(label, "numpy"),
        "FunctionRunner(device='cpu', precision='as given', compile=False, batch_size=None)",
    ),
    (digits, "ArrayDataset('digits', 'test', 599 images (1, 8, 8), num_classes=10)"),
    (
        lambda: npf.data.Subset(digits(), [1, 5], {"why": "few"}),
        "Subset('digits', 'test', 2 images (1, 8, 8), num_classes=10, part={'why': 'few'})",
    ),
    (
        lambda: npf.runs.Subject.of(label, NOISE, digits(), name="mine"),
        f"Subject('mine', function, noise=Gaussian(sigma=0.25), dataset={digits()!r})",
    ),
    (lambda: Boundary(0.5, 0.5, 7.0, None), "Boundary(p0=0.5, q0=0.5, log_level=7.0, prior=None)"),
    (npf.runs.Listener, "Listener()"),
]


@pytest.mark.parametrize(("make", "text"), SHOWN, ids=[text.partition("(")[0] for _, text in SHOWN])
def test_settings_are_shown(make: Callable[[], object], text: str) -> None:
    assert repr(make()) == text


def test_a_record_shows_its_settings_and_not_how_it_was_made() -> None:
    said = repr(npf.records.Record.open(RECORD))
    assert said.startswith(f"Record(path={RECORD!r}, settings=RecordSettings(")
    assert "'sigma': 0.7" in said
    assert "processor" not in said


def test_the_result_of_an_attack_is_one_line() -> None:
    images, labels = digits().read(range(3)), digits().labels[:3]
    network = npf.models.build("digits-cnn")
    found = npf.attacks.PGD(steps=1, eot_samples=1)(network, images, labels, epsilons=[0.1, 0.2], norm="l2")
    assert isinstance(found, AttackResult)
    assert repr(found).startswith("AttackResult(3 images at 2 epsilons; robust accuracy ")
    assert "\n" not in repr(found)
