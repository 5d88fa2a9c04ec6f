"""Small networks, data and settings for tests of training; also run by the processes that they start."""

from typing import Any

import numpy as np
from torch import nn

from noiseproof import data
from noiseproof.models.layers import Dropout
from noiseproof.models.registry import MODELS
from noiseproof.noises import Gaussian
from noiseproof.objectives import Stability
from noiseproof.training import BatchReport, TrainingSettings

__all__ = ["EVERYTHING", "NETWORKS", "StopHereError", "images", "register", "stop_at", "tiny"]


class StopHereError(Exception):
    pass


def _network(*, dropout: bool, normalised: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6) if normalised else nn.Identity(),
        nn.ReLU(),
        Dropout(0.25) if dropout else nn.Identity(),
        nn.Conv2d(6, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(72, 3),
    )


NETWORKS = {
    "tiny": lambda: _network(dropout=False, normalised=False),
    "tiny-dropout": lambda: _network(dropout=True, normalised=False),
    "tiny-normalised": lambda: _network(dropout=True, normalised=True),
}


EVERYTHING: dict[str, Any] = {
    "model": "tiny-normalised",
    "average": 0.9,
    "clip": 0.5,
    "warmup_epochs": 0.7,
    "ramp_epochs": 2.5,
    "weight_decay": 1e-3,
    "augment": "flip-crop",
}
"""All at once that a training can be told."""


def register() -> None:
    """Make the networks known by name."""
    MODELS._places.update(NETWORKS)


def images(count: int = 40) -> data.ArrayDataset:
    """Three classes, each with a bright column of its own."""
    numbers = np.random.default_rng(5)
    labels = numbers.integers(0, 3, count)
    pixels = numbers.random((count, 1, 8, 8), dtype=np.float32) / 2
    pixels[np.arange(count), :, :, 2 * labels] += 0.5
    return data.ArrayDataset("columns", "train", pixels, labels, 3)


def tiny(**changes: Any) -> TrainingSettings:
    usual = {"model": "tiny", "objective": Stability(), "noise": Gaussian(0.25), "epochs": 3, "batch_size": 12}
    return TrainingSettings(**(usual | changes))


def stop_at(epoch: int, batch: int) -> Any:
    def stop(report: BatchReport) -> None:
        if (report.epoch, report.batch) == (epoch, batch):
            raise StopHereError

    return stop
