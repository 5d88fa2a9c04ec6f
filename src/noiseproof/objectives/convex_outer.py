"""Robust training by the dual of the convex outer adversarial polytope (Wong & Kolter 2018; reference [17])."""

from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.balls import Norm
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, Objective, forward, nonnegative
from noiseproof.objectives.inner import evaluating
from noiseproof.randomness import RandomSource
from noiseproof.verification import dual_margins

__all__ = ["ConvexOuter"]


@dataclass(frozen=True)
class ConvexOuter(Objective):
    """CE(-J, y): -J_j = -min f_y - f_j over the outer polytope of the ball, 0 for j = y (Wong & Kolter, theorem 2).

    An upper bound of the cross-entropy at every x' of the ball, since that falls as any f_y - f_j rises. In [17] with
    l_2 1.58 on MNIST and 36/255 on CIFAR-10, epsilon growing from small. Their random projections are not taken: the
    bounds are exact, and a step holds the coefficients of all units of a layer, those of a convolution within their
    windows alone.

    Args:
        norm: "l2", "linf" or "l1".
        epsilon: radius of the ball, in units of a pixel in [0, 1].

    Raises:
        InvalidInputError: another norm, or a negative or infinite epsilon.
    """

    norm: Norm = "l2"
    epsilon: float = 1.58

    noisy = False
    ramps = "epsilon"

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise InvalidInputError("norm", required="'l2', 'linf' or 'l1'", got=repr(self.norm), remedy="Choose one.")
        object.__setattr__(self, "epsilon", nonnegative("epsilon", self.epsilon, "It is in units of a pixel."))

    @property
    def passes(self) -> int:
        """One for the logits and one for the margins; what the bounds of the layers take depends on the network."""
        return 2

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,  # noqa: ARG002
        source: RandomSource,  # noqa: ARG002
    ) -> BatchLoss:
        """Compute the loss, never in mixed precision; the logits are those of the images.

        Raises:
            InvalidInputError: the network is none that `verification` takes.
        """
        logits = forward(model, images)
        with evaluating(model) as network, torch.autocast(images.device.type, enabled=False):
            margins = dual_margins(network, images, labels, self.norm, self.epsilon)
        return BatchLoss(F.cross_entropy(-margins, labels), logits)
