"""Training objectives: the loss of one batch (the paper, section 5)."""

from noiseproof.objectives.base import BatchLoss, Objective
from noiseproof.objectives.gaussian_augmentation import GaussianAugmentation
from noiseproof.objectives.natural import Natural
from noiseproof.objectives.stability import Stability

__all__ = ["BatchLoss", "GaussianAugmentation", "Natural", "Objective", "Stability"]
