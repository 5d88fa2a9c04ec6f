"""A cascade of robust networks (section 3.3 of Wong, Schmidt, Metzen & Kolter 2018, reference [17])."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError
from noiseproof.perturbations.norms import NormLike
from noiseproof.verification.convex_outer import certified_robust

__all__ = ["Cascade", "CascadeAnswer"]


@dataclass(frozen=True)
class CascadeAnswer:
    """The decision of a cascade for each image: the class, whether it is certified, and the deciding stage, from 0."""

    labels: Int64[Tensor, " batch"]
    certified: Bool[Tensor, " batch"]
    stages: Int64[Tensor, " batch"]

    def certified_error(self, labels: Int64[Tensor, " batch"]) -> float:
        """Return the fraction of images that are classified wrongly or not certified.

        This is the definition of the released evaluation: an image that a stage before the last certifies is an error
        if the certified class is wrong; any other image is an error unless the last stage certifies its true class.
        """
        return 1.0 - float((self.certified & (self.labels == labels)).double().mean())

    def error(self, labels: Int64[Tensor, " batch"]) -> float:
        """Return the fraction of images that are classified wrongly, certified or not (clean error)."""
        return float((self.labels != labels).double().mean())


@dataclass(frozen=True)
class Cascade:
    """A sequence of networks: each decides the images whose prediction it certifies, the last one all the others.

    A stage certifies its own prediction; true labels are not used. As in the paper, the certificate states that the
    stage that decided x gives every x' in the ball the same class. At x' an earlier stage may certify another class, so
    it is not proven that the cascade as a classifier is constant on the ball.

    Args:
        stages: networks as for `certified_robust`.
        norm: norm of the perturbation: "l2", "linf" or "l1".
        epsilon: radius of the ball >= 0, in units of a pixel.

    Raises:
        InvalidInputError: no stage.
    """

    stages: Sequence[nn.Module]
    norm: NormLike
    epsilon: float

    def __post_init__(self) -> None:
        if not self.stages:
            raise InvalidInputError("stages", required="at least one network", got="none", remedy="One is no cascade.")

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "batch *shape"]) -> CascadeAnswer:
        """Return the class, certificate and stage of every image.

        Raises:
            InvalidInputError: as `certified_robust`.
        """
        left = torch.arange(len(images), device=images.device)
        labels, stages = torch.zeros_like(left), torch.zeros_like(left)
        certified = torch.zeros_like(left, dtype=torch.bool)
        for number, stage in enumerate(self.stages):
            if not len(left):
                break
            labels[left] = stage(images[left]).argmax(1)
            stages[left] = number
            certified[left] = certified_robust(stage, images[left], labels[left], self.norm, self.epsilon)
            left = left[~certified[left]]
        return CascadeAnswer(labels, certified, stages)
