"""TRADES (Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, forward, kl_divergence, nonnegative
from noiseproof.objectives.inner import AdversarialObjective, evaluating
from noiseproof.randomness import RandomSource

__all__ = ["TRADES"]


@dataclass(frozen=True)
class TRADES(AdversarialObjective):
    """CE(f(x), y) + weight * max over |x' - x| <= epsilon of KL(F(x) || F(x')), with F the softmax of f; no noise.

    The ascent on KL starts at x + .001 N(0, I), because its gradient at x is 0, with the model in evaluation mode and
    F(x) fixed. In the loss, gradients flow through both predictions; x and x' share one forward pass.

    Published: MNIST l_inf .3, 40 steps of .01, weight 1; CIFAR-10 l_inf .031, 10 steps of .007, weight 6 or 1.

    Args:
        weight: 1 / lambda of the paper (beta in its code); 1 is its value on MNIST.
    """

    weight: float = 1.0

    noisy = False
    ramps = "weight"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weight", nonnegative("weight", self.weight, "1 on MNIST, 6 on CIFAR-10."))

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
        with evaluating(model) as network:
            # Not under no_grad: before torch fixed it (pull request 165068, end of 2025), autocast then kept the weights
            # it had cast without a graph for the forward passes to come, whose gradient was lost.
            target = forward(network, images).detach().log_softmax(1)
        start = images + _START * source.normal(images)
        found = self.attack(model, images, start, lambda logits: kl_divergence(target, logits.log_softmax(1)))
        clean, adversarial = forward(model, torch.cat([images, found])).chunk(2)
        robust = kl_divergence(clean.log_softmax(1), adversarial.log_softmax(1)).mean()
        return BatchLoss(F.cross_entropy(clean, labels) + self.weight * robust, clean)


_START = 1e-3
"""Standard deviation of the start around x, in pixels, as published."""
