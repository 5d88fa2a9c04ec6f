"""Every training objective by name."""

from typing import TYPE_CHECKING

from noiseproof.plugins import Registry

if TYPE_CHECKING:
    from noiseproof.objectives.base import Objective

__all__ = ["OBJECTIVES"]

OBJECTIVES: "Registry[Objective]" = Registry(
    "objective",
    "noiseproof.objectives",
    {
        "stability": "stability:Stability",
        "gaussian": "gaussian_augmentation:GaussianAugmentation",
        "natural": "natural:Natural",
        "consistency": "consistency:Consistency",
        "smooth-adv": "smooth_adversarial:SmoothAdv",
        "macer": "macer:MACER",
        "adversarial": "adversarial:Adversarial",
        "trades": "trades:TRADES",
        "logit-pairing": "logit_pairing:AdversarialLogitPairing",
        "convex-outer": "convex_outer:ConvexOuter",
    },
    base="base:Objective",
    exports=("base:BatchLoss",),
)
