"""Stability Training with Noise, STN: the paper's own objective (section 5.1)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, Objective
from noiseproof.randomness import RandomSource

__all__ = ["Stability"]


@dataclass(frozen=True)
class Stability(Objective):
    """CE(f(x), y) + weight * L_stability,   L_stability = -sum_j P(y_j | x) log P(y_j | x + d).

    P is the softmax of f: the clean image is supervised, and its soft prediction is the target for the noisy copy. As
    printed, the gradient flows through both factors. Clean and noisy images share one forward pass of twice the batch.

    Args:
        weight: gamma of section 5.1; 1 is the value the paper's experiments used.

    Raises:
        InvalidInputError: weight is negative or not finite.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < float("inf"):
            raise InvalidInputError(
                "weight", required="a finite number >= 0", got=repr(self.weight), remedy="1 is the paper's value."
            )

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss with one noisy copy of every image; the logits are those of the clean images."""
        noisy = images + noise.draw(images, source)
        clean_logits, noisy_logits = model(torch.cat([images, noisy])).chunk(2)
        stability = F.cross_entropy(noisy_logits, clean_logits.softmax(dim=1))
        return BatchLoss(F.cross_entropy(clean_logits, labels) + self.weight * stability, clean_logits)
