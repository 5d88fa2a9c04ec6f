"""Adversarial training (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018)."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, forward
from noiseproof.objectives.inner import AdversarialObjective
from noiseproof.perturbations.balls import uniform
from noiseproof.randomness import RandomSource

__all__ = ["Adversarial"]


@dataclass(frozen=True)
class Adversarial(AdversarialObjective):
    """max over |x' - x| <= epsilon of CE(f(x'), y), from a uniform random start in the ball; no noise, no clean image.

    Published: MNIST l_inf .3, 40 steps of .01; CIFAR-10 l_inf 8/255, 7 steps of 2/255. The published networks have no
    dropout, so the mode of the network during the ascent is not specified; here it is evaluation mode.
    """

    noisy = False
    ramps = "epsilon"

    @property
    def passes(self) -> int:
        """One for each step and one for the loss."""
        return self.steps + 1

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,  # noqa: ARG002
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss at the adversarial examples; the logits are those of the adversarial examples."""
        start = uniform(images, self.norm, self.epsilon, source)
        found = self.attack(model, images, start, lambda logits: F.cross_entropy(logits, labels, reduction="none"))
        logits = forward(model, found)
        return BatchLoss(F.cross_entropy(logits, labels), logits)
