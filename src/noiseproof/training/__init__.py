"""The training loop: trains a network, writes a checkpoint, and resumes after any interruption."""

from noiseproof.training.cascade import CASCADE, left_by
from noiseproof.training.combination import combine
from noiseproof.training.fit import require_fit_by_name
from noiseproof.training.loop import BatchReport, EpochReport, train
from noiseproof.training.parallel import leave
from noiseproof.training.settings import TrainingSettings, usual_epochs, usual_model
from noiseproof.training.state import CHECKPOINT, LAST_GOOD, LOG

__all__ = [
    "CASCADE",
    "CHECKPOINT",
    "LAST_GOOD",
    "LOG",
    "BatchReport",
    "EpochReport",
    "TrainingSettings",
    "combine",
    "leave",
    "left_by",
    "require_fit_by_name",
    "train",
    "usual_epochs",
    "usual_model",
]
