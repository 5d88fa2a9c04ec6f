"""Training on noisy copies: the baseline of certified training (Lecuyer et al. 2018; Cohen et al. 2019)."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, Objective, forward
from noiseproof.randomness import RandomSource

__all__ = ["GaussianAugmentation"]


@dataclass(frozen=True)
class GaussianAugmentation(Objective):
    """CE(f(x + d), y) with fresh noise d for every image and step; no clean images are used."""

    noisy = True
    ramps = None
    passes = 1

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss on one noisy copy of every image."""
        logits = forward(model, images + noise.draw(images, source))
        return BatchLoss(F.cross_entropy(logits, labels), logits)
