"""Training without noise: the undefended classifier."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, Objective, forward
from noiseproof.randomness import RandomSource

__all__ = ["Natural"]


@dataclass(frozen=True)
class Natural(Objective):
    """CE(f(x), y) on clean images."""

    noisy = False
    ramps = None
    passes = 1

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,  # noqa: ARG002
        source: RandomSource,  # noqa: ARG002
    ) -> BatchLoss:
        """Compute the loss; no noise is drawn."""
        logits = forward(model, images)
        return BatchLoss(F.cross_entropy(logits, labels), logits)
