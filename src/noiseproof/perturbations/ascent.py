"""Projected gradient ascent on images, within a norm ball and the box of pixels (Madry et al. 2018)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.perturbations.balls import Radius, per_image, project, steepest, unblocked
from noiseproof.perturbations.norms import NormLike

__all__ = ["ascend", "direction"]

_SHARE = 0.01
"""Of the pixels that an l_1 step moves."""


def ascend(
    loss: Callable[[Float[Tensor, "batch *shape"]], Float[Tensor, " batch"]],
    start: Float[Tensor, "batch *shape"],
    images: Float[Tensor, "batch *shape"],
    *,
    norm: NormLike,
    epsilon: Radius,
    steps: int,
    step_size: Radius,
    thorough: bool = False,
) -> Float[Tensor, "batch *shape"]:
    """Return points of the ball around images and of [0, 1] at which the loss of each image is higher than at start.

    Only the gradient by the points is computed: none is accumulated in parameters. An image whose gradient is 0 stays.

    Training uses the cheap ascent: steps of one length, projected onto the ball and then clamped. Attacks use the thorough
    one: steps fall linearly, the k-th of n has length 2 step_size (1 - (k - 1/2) / n), step_size on average, so
    that the first ones leave a bad start and the last ones settle; gradients are of the pixels that can move; and points
    are projected onto the intersection of ball and box, on which the ascent of a linear loss ends at its maximum.

    Args:
        loss: points to the loss of each; a row's loss depends on that row only. Called once a step.
        start: where to begin.
        images: centers of the balls, in [0, 1].
        norm: of the ball and of the steps.
        epsilon: radius of the ball, or of each image's.
        steps: their number.
        step_size: their length, or that for each image.
        thorough: whether for an attack.
    """
    points = project(start, images, norm, epsilon, exact=thorough)
    length = per_image(step_size, images)
    for step in range(steps):
        points.requires_grad_()
        with torch.enable_grad():
            total = loss(points).sum()
        (gradient,) = torch.autograd.grad(total, points)
        points = points.detach()
        share = 2.0 - (2.0 * step + 1.0) / steps if thorough else 1.0
        ahead = share * length * direction(gradient, points, norm, thorough=thorough)
        points = project(points + ahead, images, norm, epsilon, exact=thorough)
    return points


def direction(
    gradient: Float[Tensor, "batch *shape"],
    points: Float[Tensor, "batch *shape"],
    norm: NormLike,
    *,
    thorough: bool = False,
) -> Float[Tensor, "batch *shape"]:
    """Return the direction of a step, of length 1 in the norm: the steepest, in l_1 over 1 % of the pixels.

    In l_1 one pixel a step would be hopeless, and one that is at the wall of the box already would waste it: the signs
    of the largest components count that still have room (SLIDE: Tramèr & Boneh 2019). In l_2 such pixels shorten what
    the others move; the thorough direction leaves them out.
    """
    if norm == "l1":
        free = unblocked(gradient, points)
        ahead = steepest(free, norm, _SHARE)
        return ahead + _held(gradient - free, gradient * ahead.sign(), ahead) if thorough else ahead
    return steepest(unblocked(gradient, points) if thorough else gradient, norm)


def _held(blocked: Tensor, chosen: Tensor, ahead: Tensor) -> Tensor:
    """Push blocked pixels of larger gradient than the least of the chosen ones as far as these."""
    column = (-1, *[1] * (ahead.ndim - 1))
    least = torch.where(chosen != 0.0, chosen.abs(), torch.inf).flatten(1).amin(1).view(column)
    push = ahead.abs().flatten(1).amax(1).view(column)
    return torch.where(blocked.abs() >= least, push * blocked.sign(), 0.0)
