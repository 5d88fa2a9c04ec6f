"""Projected gradient ascent on images, within a norm ball and the pixel range [0, 1] (Madry et al. 2018)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.perturbations.balls import Radius, per_image, project, steepest, unblocked
from noiseproof.perturbations.norms import NormLike

__all__ = ["ascend", "direction"]

_SHARE = 0.01
"""The fraction of the pixels that an l_1 step changes."""


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
    """Return the last points of projected gradient ascent on the loss of each image, in the ball and in [0, 1].

    Gradients are computed for the points only, not accumulated in parameters. An image with gradient 0 is not moved.

    Training uses the fast form: steps of constant length, projection onto the ball, then clamping. Attacks use the
    thorough form. Its step lengths decrease linearly: the k-th of n is 2 step_size (1 - (k - 1/2) / n), on average
    step_size. Pixels that cannot move are left out of the gradient. Points are projected onto the intersection of ball
    and box, so that the ascent of a linear loss converges to its maximum.

    Args:
        loss: maps points to the loss of each; a row's loss depends on that row only. Called once per step.
        start: the initial points.
        images: centers of the balls, in [0, 1].
        norm: norm of the ball and of the steps.
        epsilon: radius of the ball, for all images or for each, in units of a pixel.
        steps: number of steps.
        step_size: length of a step, for all images or for each.
        thorough: whether to use the thorough form.
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
    """Return the direction of a step, of length 1 in the norm: steepest ascent, in l_1 spread over 1 % of the pixels.

    In l_1 the steepest direction changes a single pixel per step, which is too slow. Here it has the signs of the
    largest components among the pixels that are not at the end of their range (SLIDE: Tramèr & Boneh 2019). In l_2 the
    thorough direction leaves such pixels out, as they would shorten the step of the others.
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
