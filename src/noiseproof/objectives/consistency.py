"""Consistency regularisation (Jeong & Shin, "Consistency Regularization for Certified Robustness", NeurIPS 2020)."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.errors import require_count
from noiseproof.noises import Noise
from noiseproof.objectives.base import (
    BatchLoss,
    Objective,
    forward,
    inconsistency,
    noisy_copies,
    nonnegative,
)
from noiseproof.randomness import RandomSource

__all__ = ["Consistency"]


@dataclass(frozen=True)
class Consistency(Objective):
    """mean_i CE(f(x + d_i), y) + weight * mean_i KL(Fbar || F(x + d_i)) + entropy_weight * H(Fbar).

    F is the softmax of f, Fbar the mean of F(x + d_i) over the copies, H the entropy in nats.

    Published: 2 copies and eta .5 throughout; lambda on MNIST 10 at sigma .25 and 5 at .5 and 1, on CIFAR-10
    (ResNet-110) 20 at .25 and 10 at .5. More is not always better: on MNIST at sigma 1 the average certified radius
    drops sharply beyond 20.

    Args:
        weight: lambda of the paper; 5 is its value on MNIST at sigma .5 and 1, and the smallest that it uses.
        entropy_weight: eta of the paper.
        copies: m of the paper, the number of noisy copies of every image.

    Raises:
        InvalidInputError: a weight is negative or not finite, or fewer than 2 copies.
    """

    weight: float = 5.0
    entropy_weight: float = 0.5
    copies: int = 2

    noisy = True
    ramps = "weight"

    def __post_init__(self) -> None:
        for name in ("weight", "entropy_weight"):
            object.__setattr__(self, name, nonnegative(name, getattr(self, name), "Published: 5 to 20, and 0.5."))
        require_count("copies", self.copies, 2, "2 is what the paper uses.")

    @property
    def passes(self) -> int:
        """One for each copy."""
        return self.copies

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss with all copies in one forward pass; the logits are those of the first copy."""
        logits = forward(model, noisy_copies(images, noise, source, self.copies))
        log_p = logits.log_softmax(1).reshape(self.copies, len(images), -1)
        supervised = F.cross_entropy(logits, labels.repeat(self.copies))
        regularised = supervised + inconsistency(log_p, self.weight, self.entropy_weight)
        return BatchLoss(regularised, logits[: len(images)])
