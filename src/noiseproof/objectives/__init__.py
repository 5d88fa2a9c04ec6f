"""Training objectives: the loss of one batch (the paper, section 5), and those it is compared with."""

from typing import TYPE_CHECKING, Any

from noiseproof.objectives.registry import OBJECTIVES

if TYPE_CHECKING:
    from noiseproof.objectives.adversarial import Adversarial as Adversarial
    from noiseproof.objectives.base import BatchLoss as BatchLoss
    from noiseproof.objectives.base import Objective as Objective
    from noiseproof.objectives.consistency import Consistency as Consistency
    from noiseproof.objectives.convex_outer import ConvexOuter as ConvexOuter
    from noiseproof.objectives.gaussian_augmentation import GaussianAugmentation as GaussianAugmentation
    from noiseproof.objectives.logit_pairing import AdversarialLogitPairing as AdversarialLogitPairing
    from noiseproof.objectives.macer import MACER as MACER
    from noiseproof.objectives.natural import Natural as Natural
    from noiseproof.objectives.smooth_adversarial import SmoothAdv as SmoothAdv
    from noiseproof.objectives.stability import Stability as Stability
    from noiseproof.objectives.trades import TRADES as TRADES

__all__ = list(OBJECTIVES.exports)


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        return OBJECTIVES.export(name)


def __dir__() -> list[str]:
    return sorted(__all__)
