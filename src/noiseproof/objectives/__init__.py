"""Training objectives: the loss of one batch (the paper, section 5), and those it is compared with."""

from noiseproof.objectives.adversarial import Adversarial
from noiseproof.objectives.base import BatchLoss, Objective
from noiseproof.objectives.consistency import Consistency
from noiseproof.objectives.convex_outer import ConvexOuter
from noiseproof.objectives.gaussian_augmentation import GaussianAugmentation
from noiseproof.objectives.logit_pairing import AdversarialLogitPairing
from noiseproof.objectives.macer import MACER
from noiseproof.objectives.natural import Natural
from noiseproof.objectives.smooth_adversarial import SmoothAdv
from noiseproof.objectives.stability import Stability
from noiseproof.objectives.trades import TRADES

__all__ = [
    "MACER",
    "TRADES",
    "Adversarial",
    "AdversarialLogitPairing",
    "BatchLoss",
    "Consistency",
    "ConvexOuter",
    "GaussianAugmentation",
    "Natural",
    "Objective",
    "SmoothAdv",
    "Stability",
]
