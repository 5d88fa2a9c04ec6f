"""The convex outer adversarial polytope, reference [17] (Wong & Kolter 2018; Wong, Schmidt, Metzen & Kolter 2018).

For x' in a ball around x, every ReLU whose pre-activation has bounds l < 0 < u is replaced by the triangle that these
bounds define. The minimum of a linear function of the logits over this larger, convex set is bounded from below by any
feasible point of the dual problem; theorem 1 of Wong & Kolter gives such a point in closed form. With their
alpha = u / (u - l) the triangle is enclosed by two parallel lines of slope d = u / (u - l) at a distance of -d l, the
lower one through 0:

    relu(z) = d z + g + e,  |e| <= g,  g = -d l / 2        (d = 0 or 1 and g = 0 where z does not cross 0)

So each pre-activation, and each difference of logits, is an affine function of x' - x and of these e. It lies within a
radius of its centre, and one backward pass for its row of weights a gives the bounds of theorem 1 and algorithm 1:

    centre: the network at x with relu(z) replaced by d z + g; one forward pass for all units
    radius: epsilon |a_1|_q + sum over layers i and units j of |a_ij| g_ij,  1/p + 1/q = 1

where a_i is the row pulled back to the outputs of layer i: the dual variable nu-hat_i+1, up to sign, and d a_i is nu_i.
[l, u] = centre -+ radius, layer by layer, each from those before it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError
from noiseproof.perturbations.balls import Radius
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.randomness import RandomSource
from noiseproof.verification.layers import Affine, Convolution, Dense, ReluNetwork, read_network, require_bare
from noiseproof.verification.projections import EstimatedRadii, ExactRadii
from noiseproof.verification.relaxation import Ball, Relaxation, relax
from noiseproof.verification.windows import sees_windows, window_radius

__all__ = ["LayerBounds", "certified_robust", "dual_margins", "estimated_margins", "layer_bounds"]

_MEMORY = 2**20
"""Approximate number of coefficients in memory at a time: few enough for the processor's cache."""

_IMAGES = 64
"""Number of images that `certified_robust` processes at a time."""


@dataclass(frozen=True)
class LayerBounds:
    """Lower and upper bounds of every pre-activation of a layer, over the ball of each image."""

    lower: Float[Tensor, "batch *shape"]
    upper: Float[Tensor, "batch *shape"]


def layer_bounds(
    network: nn.Module, images: Float[Tensor, "batch *shape"], norm: NormLike, epsilon: Radius
) -> list[LayerBounds]:
    """Return bounds l and u of every hidden pre-activation, layer by layer (algorithm 1 of Wong & Kolter 2018).

    Computed in the dtype of the images, without a margin for rounding errors.

    Args:
        network: as for `certified_robust`.
        images: the centres of the balls.
        norm: norm of the perturbation: "l2", "linf" or "l1".
        epsilon: radius of the ball >= 0, for all images or for each, in units of a pixel.

    Raises:
        InvalidInputError: an unsupported network, an unknown norm, or a radius that is not finite and >= 0.
    """
    return _enclose(network, images, norm, epsilon, rounding=False).bounds


def dual_margins(
    network: nn.Module,
    images: Float[Tensor, "batch *shape"],
    labels: Int[Tensor, " batch"],
    norm: NormLike,
    epsilon: Radius,
    *,
    rounding: bool = False,
) -> Float[Tensor, "batch classes"]:
    """Return a lower bound of f_y(x') - f_j(x') over |x' - x|_p <= epsilon for every class j; 0 for j = y.

    This is J(x, nu(c)) of theorem 1 at c = e_y - e_j. For robust training it is differentiable in the network's weights
    and in the images, through the bounds of every layer; the graph then holds every coefficient of every unit. Computed
    in the dtype of the images.

    Args:
        network: as for `certified_robust`.
        images: the centres of the balls.
        labels: y.
        norm: norm of the perturbation: "l2", "linf" or "l1".
        epsilon: radius of the ball >= 0, for all images or for each, in units of a pixel.
        rounding: whether every bound is widened by its rounding error, as in `certified_robust`.

    Raises:
        InvalidInputError: as `layer_bounds`, or a label that is not a class.
    """
    return _margins(_enclose(network, images, norm, epsilon, rounding=rounding), labels, rounding=rounding)


def estimated_margins(
    network: nn.Module,
    images: Float[Tensor, "batch *shape"],
    labels: Int[Tensor, " batch"],
    norm: NormLike,
    epsilon: Radius,
    projections: int,
    source: RandomSource,
) -> Float[Tensor, "batch classes"]:
    """Estimate `dual_margins`, with random projections for the bounds of large hidden layers: not lower bounds.

    For training (section 3.2 of reference [17]): a layer costs K passes instead of one for each of its units. The last
    step, from the bounds to the margins, is exact. Differentiable like `dual_margins`.

    Args:
        network: as for `certified_robust`.
        images: the centres of the balls.
        labels: y.
        norm: norm of the perturbation, "l2" or "linf".
        epsilon: radius of the ball >= 0, for all images or for each, in units of a pixel.
        projections: K, the number of projections for each image.
        source: the randomness of the projections.

    Raises:
        InvalidInputError: as `dual_margins`, the l1 norm, or no projection.
    """
    radii = EstimatedRadii(_radius, projections, source, len(images))
    return _margins(_enclose(network, images, norm, epsilon, rounding=False, radii=radii), labels, rounding=False)


def _margins(found: "_Enclosure", labels: Tensor, *, rounding: bool) -> Float[Tensor, "batch classes"]:
    last = found.network.maps[-1]
    if labels.numel() and not (labels.min() >= 0 and labels.max() < found.network.classes):
        raise InvalidInputError(
            "labels",
            required=f"from 0 to {found.network.classes - 1}",
            got=f"{int(labels.min())} to {int(labels.max())}",
            remedy="The network has an output for each class.",
        )
    own = labels.long().unsqueeze(1)
    rows = torch.eye(found.network.classes).to(last.weight)
    rows = rows[labels.long()].unsqueeze(1) - rows
    centre = last.apply(found.centre)
    radius = _pull_back(found.network.maps[:-1], found.relaxations, found.ball, rows @ last.weight)
    if rounding:
        size = last.apply(found.magnitude, magnitude=True)
        radius = radius + found.unit * (size + size.gather(1, own))
    return (centre.gather(1, own) - centre - radius).scatter(1, own, 0.0)


@torch.no_grad()
def certified_robust(
    network: nn.Module,
    images: Float[Tensor, "batch *shape"],
    labels: Int[Tensor, " batch"],
    norm: NormLike,
    epsilon: Radius,
) -> Bool[Tensor, " batch"]:
    """Return for which images it is proven that every x' within epsilon is classified as `labels`.

    True means: f_y(x') > f_j(x') for all j != y and all real x' with |x' - x|_p <= epsilon, inside [0, 1] or not, where
    f is the network in exact arithmetic. This then holds for every smaller epsilon, although the dual bound may fail
    there: the slopes depend on the layer bounds, so margins need not decrease with epsilon. False proves nothing.

    Rounding: everything is computed in float64, and the bounds of each layer and the margins are widened by 8 u N S
    with u = 2^-53. N is the number of all pixels, units and classes: a number passes through fewer than 8 N roundings
    in the forward pass, the backward pass, the sum over the gaps and the norm together, for any order of the sums (but
    not for convolutions by Fourier or Winograd transforms). S is the result of a forward pass of |x| + |mean| +
    epsilon, biases and gaps through the absolute values of the weights: the sum of the sizes of all terms. To first
    order in u this exceeds every error of a centre, a radius and a gap; it is about 1e-8 for the small networks of
    [17]. The result does not cover the network as run in float32, whose logits have relative errors of about 1e-6: an
    x' with a smaller true margin may be classified differently.

    Args:
        network: an nn.Sequential of Conv2d (zero padding, no groups, no dilation), Linear, Flatten and ReLU, with
        affine
            layers and ReLUs alternating and a Linear layer last; optionally a normalisation first (`Normalise`,
            `with_normalisation`).
        images: the centres of the balls.
        labels: y; the network's predictions, to certify these.
        norm: norm of the perturbation: "l2", "linf" or "l1".
        epsilon: radius of the ball >= 0, for all images or for each, in units of a pixel.

    Raises:
        InvalidInputError: as `dual_margins`, or a layer with a hook.
    """
    require_bare(network)
    proven = []
    for start in range(0, len(images), _IMAGES):
        part = slice(start, start + _IMAGES)
        own = epsilon[part] if isinstance(epsilon, Tensor) and epsilon.ndim else epsilon
        margins = dual_margins(network, images[part].double(), labels[part], norm, own, rounding=True)
        others = margins.scatter(1, labels[part].long().unsqueeze(1), math.inf)
        proven.append((others > 0.0).all(dim=1))
    return torch.cat(proven) if proven else labels.new_zeros(0, dtype=torch.bool)


@dataclass(frozen=True)
class _Enclosure:
    """What the last layer's margins need: bounds and relaxations of the layers before it."""

    network: ReluNetwork
    ball: Ball
    bounds: list[LayerBounds]
    relaxations: list[Relaxation]
    centre: Tensor
    magnitude: Tensor
    unit: float


def _enclose(
    network: nn.Module,
    images: Tensor,
    norm: NormLike,
    epsilon: Radius,
    *,
    rounding: bool,
    radii: ExactRadii | None = None,
) -> _Enclosure:
    read = read_network(network, images.shape[1:], images.dtype, images.device)
    ball = Ball(Norm(norm), _checked(epsilon, images), read.scale.expand(images.shape[1:]))
    column = ball.epsilon.view(-1, *[1] * (images.ndim - 1))
    z = (images - read.mean) * read.scale
    size = (images.abs() + read.mean.abs() + column) * read.scale
    numbers = sum(layer.inputs.numel() for layer in read.maps) + read.classes
    unit = 4.0 * torch.finfo(images.dtype).eps * numbers  # eps is 2 u
    bounds: list[LayerBounds] = []
    relaxations: list[Relaxation] = []
    for i, layer in enumerate(read.maps[:-1]):
        centre = layer.apply(z)
        radius = (radii or _radius)(read.maps[: i + 1], relaxations, ball)
        size = layer.apply(size, magnitude=True)
        if rounding:
            radius = radius + unit * size
        bounds.append(LayerBounds(centre - radius, centre + radius))
        relaxations.append(relax(bounds[-1].lower, bounds[-1].upper))
        slope, half_gap = relaxations[-1].slope, relaxations[-1].half_gap
        z, size = slope * centre + half_gap, slope * size + half_gap
    return _Enclosure(read, ball, bounds, relaxations, z, size, unit)


def _checked(epsilon: Radius, images: Tensor) -> Float[Tensor, " #batch"]:
    radii = torch.as_tensor(epsilon, dtype=images.dtype, device=images.device).reshape(-1)
    if not bool((radii.isfinite() & (radii >= 0.0)).all()):
        raise InvalidInputError("epsilon", required="finite and >= 0", got=epsilon, remedy="It is in units of a pixel.")
    if len(radii) not in {1, len(images)}:
        raise InvalidInputError(
            "epsilon",
            required=f"one, or one for each of {len(images)} images",
            got=len(radii),
            remedy="Pass both alike.",
        )
    return radii


def _radius(maps: Sequence[Affine], relaxations: Sequence[Relaxation], ball: Ball) -> Float[Tensor, "#batch *outputs"]:
    """Return the radius of every unit of the last of these maps."""
    if sees_windows(maps):
        return window_radius(cast("Sequence[Convolution]", maps), relaxations, ball, _MEMORY)
    last = maps[-1]
    batch = len(relaxations[0].slope) if relaxations else 1
    chunk = max(1, _MEMORY // (batch * max(layer.inputs.numel() for layer in maps)))
    parts = [_pull_back(maps[:-1], relaxations, ball, rows) for rows in _rows(last, chunk)]
    return torch.cat(parts, dim=1).reshape(-1, *last.outputs)


def _rows(layer: Affine, chunk: int) -> list[Float[Tensor, "1 rows *inputs"]]:
    """Return the row of weights of every unit of a layer, some at a time."""
    if isinstance(layer, Dense):
        return [rows.unsqueeze(0) for rows in torch.split(layer.weight, chunk)]
    units = torch.arange(layer.outputs.numel(), device=layer.weight.device)
    return [
        layer.transposed(
            torch.zeros(len(part), len(units))
            .to(layer.weight)
            .scatter(1, part.unsqueeze(1), 1.0)
            .view(1, -1, *layer.outputs)
        )
        for part in torch.split(units, chunk)
    ]


def _pull_back(
    maps: Sequence[Affine],
    relaxations: Sequence[Relaxation],
    ball: Ball,
    rows: Float[Tensor, "#batch rows *inputs"],
) -> Float[Tensor, "#batch rows"]:
    """Return the radius of rows, given by their coefficients of the outputs of the last of `maps` behind its ReLU."""
    total: Tensor | None = None
    for layer, relaxation in zip(reversed(maps), reversed(relaxations), strict=True):
        flat = rows.flatten(2)
        gaps = (flat.abs() @ relaxation.half_gap.flatten(1).unsqueeze(2)).squeeze(2)
        total = gaps if total is None else total + gaps
        rows = flat * relaxation.slope.flatten(1).unsqueeze(1)
        rows = layer.transposed(rows.view(*rows.shape[:2], *layer.outputs))
    moved = ball.reach(rows.flatten(2) * ball.scale.flatten())
    return moved if total is None else moved + total
