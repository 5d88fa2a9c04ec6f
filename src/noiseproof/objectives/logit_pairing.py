"""Adversarial logit pairing, ALP (Kannan, Kurakin & Goodfellow, "Adversarial Logit Pairing", 2018)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, forward, nonnegative
from noiseproof.objectives.inner import AdversarialObjective
from noiseproof.perturbations.balls import uniform
from noiseproof.randomness import RandomSource

__all__ = ["AdversarialLogitPairing"]


@dataclass(frozen=True)
class AdversarialLogitPairing(AdversarialObjective):
    """(CE(f(x), y) + CE(f(x'), y)) / 2 + weight * mean over classes of (f(x) - f(x'))^2; no noise.

    x' = argmax over |x' - x| <= epsilon of CE(f(x'), y), approximated as in adversarial training. It is the mixed
    minibatch of the paper, clean and adversarial images in one forward pass, plus the squared distance of their logits.
    The paper's attack on ImageNet targets the least likely class; here it is untargeted. Gradients flow through both
    logits.

    Its claimed robustness did not hold (Engstrom et al. 2018); it is provided for comparison.

    Args:
        weight: lambda of the paper; .5 is the value of its released code.
    """

    weight: float = 0.5

    noisy = False
    ramps = "weight"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weight", nonnegative("weight", self.weight, "0.5 is the released code's."))

    @property
    def passes(self) -> int:
        """One for each step, one for the clean and one for the adversarial image."""
        return self.steps + 2

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,  # noqa: ARG002
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss; the logits are those of the clean images."""
        start = uniform(images, self.norm, self.epsilon, source)
        found = self.attack(model, images, start, lambda logits: F.cross_entropy(logits, labels, reduction="none"))
        logits = forward(model, torch.cat([images, found]))
        clean, adversarial = logits.chunk(2)
        supervised = F.cross_entropy(logits, labels.repeat(2))
        return BatchLoss(supervised + self.weight * F.mse_loss(clean, adversarial), clean)
