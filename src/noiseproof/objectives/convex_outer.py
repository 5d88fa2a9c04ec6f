"""Robust training by the dual of the convex outer adversarial polytope (Wong & Kolter 2018; reference [17])."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.errors import InvalidInputError, require_count
from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, Objective, forward, nonnegative
from noiseproof.objectives.inner import evaluating
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.randomness import RandomSource
from noiseproof.verification import dual_margins, estimated_margins

__all__ = ["ConvexOuter"]


@dataclass(frozen=True)
class ConvexOuter(Objective):
    """CE(-J, y), with J_j a lower bound of min f_y - f_j over the ball and J_y = 0 (Wong & Kolter, theorem 2).

    An upper bound of the cross-entropy at every x' in the ball, since that decreases in each f_y - f_j. J_j is the dual
    bound over the convex outer polytope (`dual_margins`). [17] uses l_2 with 1.58 on MNIST and 36/255 on CIFAR-10, with
    a warm-up of epsilon. Without projections the dual bound is computed exactly, and memory grows with the number of
    units of a layer. With K projections the bounds of layers of more than K units are random estimates, and the loss is
    no upper bound (`estimated_margins`).

    Args:
        norm: "l2", "linf" or "l1".
        epsilon: radius of the ball, in units of a pixel in [0, 1].
        projections: K, the number of random projections for each image, such as 50; None for exact bounds.

    Raises:
        InvalidInputError: an unknown norm, a negative or infinite epsilon, projections in l1, or fewer than 1.
    """

    norm: NormLike = "l2"
    epsilon: float = 1.58
    projections: int | None = None

    noisy = False
    ramps = "epsilon"

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", Norm(self.norm))
        object.__setattr__(self, "epsilon", nonnegative("epsilon", self.epsilon, "It is in units of a pixel."))
        if self.projections is None:
            return
        if self.norm == "l1":
            raise InvalidInputError(
                "projections",
                required="None in l1",
                got=self.projections,
                remedy="They estimate l1 and l2 norms alone.",
            )
        require_count("projections", self.projections, 1, "Try 50; None is exact.")

    @property
    def passes(self) -> int:
        """One for the logits and one for the margins; the cost of the layers' bounds, which varies, is not counted."""
        return 2

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,  # noqa: ARG002
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss, never in mixed precision; the logits are those of the images.

        Raises:
            InvalidInputError: `verification` does not support the network.
        """
        logits = forward(model, images)
        with evaluating(model) as network, torch.autocast(images.device.type, enabled=False):
            if self.projections is None:
                margins = dual_margins(network, images, labels, self.norm, self.epsilon)
            else:
                ball = (self.norm, self.epsilon)
                margins = estimated_margins(network, images, labels, *ball, self.projections, source)
        return BatchLoss(F.cross_entropy(-margins, labels), logits)
