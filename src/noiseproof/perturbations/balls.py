"""Norm balls around images, within the pixel range [0, 1]: projection, uniform points, steepest ascent."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.randomness import RandomSource

__all__ = ["LAST", "Radius", "distance", "per_image", "project", "steepest", "unblocked", "uniform"]

Radius = float | Float64[Tensor, " batch"]
"""Radius of a ball: one for all images, or one for each, in float64."""

LAST = 1e-13
"""Relative rounding error of a norm in float64, which is a sum over an image's pixels."""


def distance(
    points: Float[Tensor, "batch *shape"], center: Float[Tensor, "batch *shape"], norm: NormLike
) -> Float[Tensor, " batch"]:
    """Return |points - center| for each image, in float64."""
    lengths: Tensor = torch.linalg.vector_norm((points.double() - center.double()).flatten(1), Norm(norm).order, dim=1)
    return lengths


def project(
    points: Float[Tensor, "batch *shape"],
    center: Float[Tensor, "batch *shape"],
    norm: NormLike,
    epsilon: Radius,
    *,
    exact: bool = False,
) -> Float[Tensor, "batch *shape"]:
    """Map points into the ball of radius epsilon around center and into [0, 1]; points inside stay, up to rounding.

    First the Euclidean projection onto the ball, then the clamp to [0, 1]. Both constraints hold afterwards: center is
    in [0, 1], so clamping moves no coordinate away from center, and no norm of the difference increases. For l_inf this
    is the nearest point of the intersection. For l_2 and l_1 it is a point of the intersection but not always the
    nearest, and gradient ascent with it can end below the maximum.

    With `exact` it is the nearest point of the intersection, by the optimality condition of every coordinate:

        l_2    z = clip(x + s (y - x))          with the s <= 1 for which |z - x|_2 = epsilon
        l_1    z = clip(x + soft(y - x, t))     with the t >= 0 for which |z - x|_1 = epsilon

    where soft(v, t) = sign(v) max(|v| - t, 0); s = 1 and t = 0 if clip(y) is in the ball. Both are found by sorting.

    Computed in float64 and rounded towards center: float32 images leave neither ball nor box by their own rounding, but
    only by that of float64, at most 1e-16 a pixel and 1e-12 of epsilon.

    Args:
        points: any images.
        center: images in [0, 1].
        norm: norm of the ball.
        epsilon: radius >= 0 of the ball, for all images or for each.
        exact: whether to return the nearest point; for l_inf it is returned in any case.
    """
    origin = center.double()
    offset = (points.double() - origin).flatten(1)
    radius = per_image(epsilon, offset)
    if norm == "linf":
        offset = offset.clamp(-radius, radius)
    elif exact:
        room = torch.where(offset > 0.0, 1.0 - origin.flatten(1), origin.flatten(1))
        sizes = (_round_ball if norm == "l2" else _pointed_ball)(offset.abs(), room, radius)
        length = torch.linalg.vector_norm(sizes, Norm(norm).order, dim=1, keepdim=True)
        # not by the last digit, which would take pixels from their walls
        offset = offset.sign() * torch.where(length > radius * (1.0 + LAST), sizes * _shrink(length, radius), sizes)
    elif norm == "l2":
        length = torch.linalg.vector_norm(offset, dim=1, keepdim=True)
        offset = offset * _shrink(length, radius)
    else:
        offset = _onto_simplex(offset, radius)
    found = (origin + offset.view(origin.shape)).clamp(0.0, 1.0)
    rounded = found.to(points.dtype)
    further = (rounded.double() - origin).abs() > (found - origin).abs()
    return torch.where(further, torch.nextafter(rounded, center), rounded)


def uniform(
    center: Float[Tensor, "batch *shape"], norm: NormLike, epsilon: Radius, source: RandomSource
) -> Float[Tensor, "batch *shape"]:
    """Return a point for each image, uniform in the ball around it and then clamped to [0, 1].

    With d pixels and u uniform on [0, 1]: l_2 is a normal direction times u^(1/d); l_1 is, up to signs, the first d of
    d + 1 exponentials divided by their sum.
    """
    if norm == "linf":
        offset = 2.0 * source.uniform(center) - 1.0
    elif norm == "l2":
        radius = source.uniform(center.flatten(1)[:, 0]) ** (1.0 / center[0].numel())
        offset = steepest(source.normal(center), "l2") * per_image(radius, center)
    else:
        sizes, last = source.exponential(center), source.exponential(center.flatten(1)[:, 0])
        signs = torch.where(source.uniform(center) < 0.5, -1.0, 1.0)
        offset = signs * sizes / per_image(sizes.flatten(1).sum(1) + last, center)
    return project(center + per_image(epsilon, center) * offset, center, norm, epsilon)


def steepest(
    gradient: Float[Tensor, "batch *shape"], norm: NormLike, share: float = 0.0
) -> Float[Tensor, "batch *shape"]:
    """Return for each image the v with |v| = 1 that maximises <gradient, v>; where the gradient is 0, so is v.

    l_inf: the signs. l_2: gradient / |gradient|. l_1: the sign of the largest component, the others 0, which changes a
    single pixel. With `share`, v has the signs of that fraction of the largest components, divided by their number
    (SLIDE: Tramèr & Boneh 2019), and is no longer the maximum. Components that are 0 are left out.

    Args:
        gradient: gradients of any scale.
        norm: norm of v.
        share: fraction of the components, in l_1, from 0 to 1; rounded down to a number of them, at least one.
    """
    if norm == "linf":
        return gradient.sign()
    flat = gradient.flatten(1)
    if norm == "l2":
        largest = flat.abs().amax(dim=1, keepdim=True)
        scaled = flat / torch.where(largest > 0.0, largest, 1.0)  # squares of tiny gradients would underflow
        length = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
        return (scaled / torch.where(length > 0.0, length, 1.0)).view(gradient.shape)
    chosen = flat.abs().topk(max(1, int(share * flat.shape[1])), dim=1).indices
    signs = torch.zeros_like(flat).scatter(1, chosen, flat.gather(1, chosen).sign())
    return (signs / signs.abs().sum(dim=1, keepdim=True).clamp(min=1.0)).view(gradient.shape)


def unblocked(
    gradient: Float[Tensor, "batch *shape"], points: Float[Tensor, "batch *shape"]
) -> Float[Tensor, "batch *shape"]:
    """Return the gradient with 0 for pixels at an end of [0, 1] that it would move outside."""
    blocked = ((points <= 0.0) & (gradient < 0.0)) | ((points >= 1.0) & (gradient > 0.0))
    return gradient.masked_fill(blocked, 0.0)


def per_image(values: float | Float[Tensor, " batch"], images: Float[Tensor, "batch *shape"]) -> Tensor:
    """Return values in shape (batch, 1, ..) or (1, 1, ..), with dtype and device of images, to multiply them."""
    column = (-1, *[1] * (images.ndim - 1))
    return (images.new_full((1,), values) if isinstance(values, float) else values.to(images)).view(column)


def _shrink(length: Float[Tensor, "batch 1"], epsilon: Float[Tensor, "#batch 1"]) -> Float[Tensor, "batch 1"]:
    return torch.where(length > epsilon, epsilon / length, 1.0)


def _onto_simplex(
    offset: Float[Tensor, "batch pixels"], epsilon: Float[Tensor, "#batch 1"]
) -> Float[Tensor, "batch pixels"]:
    """Project onto the l_1 ball (Duchi et al. 2008, figure 1).

    With sizes sorted downwards, u_1 >= u_2 >= ..., the largest r with u_r > (u_1 + .. + u_r - epsilon) / r gives the
    threshold t = (u_1 + .. + u_r - epsilon) / r by which every size is lowered, down to 0 at least.
    """
    sizes = offset.abs()
    ordered = sizes.sort(dim=1, descending=True).values
    ranks = torch.arange(1, sizes.shape[1] + 1, dtype=sizes.dtype, device=sizes.device)
    thresholds = (ordered.cumsum(1) - epsilon) / ranks
    kept = (ordered > thresholds).sum(dim=1, keepdim=True).clamp(min=1)
    lowered = (sizes - thresholds.gather(1, kept - 1)).clamp(min=0.0)
    outside = sizes.sum(dim=1, keepdim=True) > epsilon
    inner = lowered * _shrink(lowered.sum(dim=1, keepdim=True), epsilon)
    return torch.where(outside, offset.sign() * inner, offset)


def _round_ball(
    sizes: Float[Tensor, "batch pixels"], room: Float[Tensor, "batch pixels"], epsilon: Float[Tensor, "#batch 1"]
) -> Float[Tensor, "batch pixels"]:
    """Return min(s sizes, room) with the s <= 1 for which its length is epsilon; s = 1 if it is less there.

    Pixel i meets its wall at s_i = room_i / sizes_i. With s_1 <= s_2 <= .., once the first r have met theirs the squared
    length is room_1^2 + .. + room_r^2 + s^2 (sizes_r+1^2 + ..), which the largest r reaches at last.
    """
    meets = torch.where(sizes > 0.0, room / sizes, torch.inf)
    order = meets.argsort(dim=1)
    squares = sizes.square().gather(1, order)
    none = torch.zeros_like(squares[:, :1])
    walls = torch.cat([none, room.square().gather(1, order).cumsum(1)], 1)
    free = torch.cat([squares.flip(1).cumsum(1).flip(1), none], 1)  # from the pixel of this place on
    met, target = meets.gather(1, order).square(), epsilon.square()
    lengths = walls[:, 1:] + torch.where(free[:, 1:] > 0.0, met * free[:, 1:], 0.0)
    gone = (lengths < target).sum(dim=1, keepdim=True)
    scale = ((target - walls.gather(1, gone)).clamp(min=0.0) / free.gather(1, gone)).sqrt()
    clipped = torch.minimum(sizes, room)
    outside = torch.linalg.vector_norm(clipped, dim=1, keepdim=True) > epsilon
    return torch.where(outside, torch.minimum(scale.clamp(max=1.0) * sizes, room), clipped)


def _pointed_ball(
    sizes: Float[Tensor, "batch pixels"], room: Float[Tensor, "batch pixels"], epsilon: Float[Tensor, "#batch 1"]
) -> Float[Tensor, "batch pixels"]:
    """Return min(max(sizes - t, 0), room) with the t >= 0 for which its sum is epsilon; t = 0 if it is less there.

    As t falls, pixel i begins to count at t = sizes_i and meets its wall at t = sizes_i - room_i: between two such values
    the sum grows by the number of pixels on their way for every unit.
    """
    levels, order = torch.cat([sizes, sizes - room], 1).sort(dim=1, descending=True)
    moving = torch.where(order < sizes.shape[1], 1.0, -1.0).to(sizes).cumsum(1)
    gained = moving[:, :-1] * (levels[:, :-1] - levels[:, 1:])
    sums = torch.cat([torch.zeros_like(sizes[:, :1]), gained.cumsum(1)], 1)
    place = (sums < epsilon).sum(dim=1, keepdim=True).clamp(min=1) - 1  # the last level that falls short
    missing = (epsilon - sums.gather(1, place)) / moving.gather(1, place).clamp(min=1.0)
    level = (levels.gather(1, place) - missing).clamp(min=0.0)
    return torch.minimum((sizes - level).clamp(min=0.0), room)
