"""The two convex sets of the outer adversarial polytope: the ball of inputs and the triangle around each ReLU."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.perturbations.norms import Norm

__all__ = ["Ball", "Relaxation", "relax"]


@dataclass(frozen=True)
class Ball:
    """The ball |x' - x|_p <= epsilon of each image, in pixel units; the first layer gets (x' - x) * `scale`."""

    norm: Norm
    epsilon: Float[Tensor, " #batch"]
    scale: Float[Tensor, "*shape"]

    def __getitem__(self, images: slice) -> "Ball":
        """Return the balls of some of the images."""
        epsilon = self.epsilon[images] if len(self.epsilon) > 1 else self.epsilon
        return Ball(self.norm, epsilon, self.scale)

    def reach(self, rows: Float[Tensor, "*units pixels"]) -> Float[Tensor, "*reached"]:
        """Return max <a, x' - x> = epsilon |a|_q over the ball for every row a, with a in pixel units."""
        lengths: Tensor = torch.linalg.vector_norm(rows, self.norm.dual.order, dim=-1)
        return self.epsilon.view(-1, *[1] * (lengths.ndim - 1)) * lengths


@dataclass(frozen=True)
class Relaxation:
    """relu(z) lies within half_gap of slope z + half_gap, for each unit of a layer."""

    slope: Float[Tensor, "batch *shape"]
    half_gap: Float[Tensor, "batch *shape"]

    def __getitem__(self, images: slice) -> "Relaxation":
        """Return the relaxation for some of the images."""
        return Relaxation(self.slope[images], self.half_gap[images])


def relax(lower: Float[Tensor, "batch *shape"], upper: Float[Tensor, "batch *shape"]) -> Relaxation:
    """Enclose relu(z) for z in [l, u] between two parallel lines.

    If l < 0 < u: d z <= relu(z) <= d z - d l with d = u / (u - l), the dual variables of Wong & Kolter (2018, theorem
    1) at their default alpha = d. Otherwise it is exact: slope 0 where u <= 0, slope 1 where l >= 0.
    """
    crossing = (lower < 0.0) & (upper > 0.0)
    slope = upper / torch.where(crossing, upper - lower, 1.0)
    half_gap = torch.where(crossing, -0.5 * slope * lower, 0.0)
    return Relaxation(torch.where(crossing, slope, (lower >= 0.0).to(lower)), half_gap)
