"""Projected gradient ascent on images, within a norm ball and the box of pixels (Madry et al. 2018)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.balls import Norm, Radius, per_image, project, steepest, unblocked

__all__ = ["ascend", "direction"]

_SHARE = 0.01
"""Of the pixels that an l_1 step moves."""


def ascend(
    loss: Callable[[Float[Tensor, "batch *shape"]], Float[Tensor, " batch"]],
    start: Float[Tensor, "batch *shape"],
    images: Float[Tensor, "batch *shape"],
    *,
    norm: Norm,
    epsilon: Radius,
    steps: int,
    step_size: Radius,
) -> Float[Tensor, "batch *shape"]:
    """Return points of the ball around images and of [0, 1] at which the loss of each image is higher than at start.

    Only the gradient by the points is computed: none is accumulated in parameters. An image whose gradient is 0 stays.

    Args:
        loss: points to the loss of each; a row's loss depends on that row only. Called once a step.
        start: where to begin.
        images: centers of the balls, in [0, 1].
        norm: of the ball and of the steps.
        epsilon: radius of the ball, or of each image's.
        steps: their number.
        step_size: their length, or that for each image.
    """
    points = project(start, images, norm, epsilon)
    length = per_image(step_size, images)
    for _ in range(steps):
        points.requires_grad_()
        with torch.enable_grad():
            total = loss(points).sum()
        (gradient,) = torch.autograd.grad(total, points)
        points = points.detach()
        points = project(points + length * direction(gradient, points, norm), images, norm, epsilon)
    return points


def direction(
    gradient: Float[Tensor, "batch *shape"], points: Float[Tensor, "batch *shape"], norm: Norm
) -> Float[Tensor, "batch *shape"]:
    """Return the direction of a step, of length 1 in the norm: the steepest, in l_1 over 1 % of the pixels.

    In l_1 one pixel a step would be hopeless, and one that is at the wall of the box already would waste it: the signs
    of the largest components count that still have room (SLIDE: Tramèr & Boneh 2019).
    """
    if norm == "l1":
        return steepest(unblocked(gradient, points), norm, _SHARE)
    return steepest(gradient, norm)
