"""Radii of hidden units, estimated by random projections (section 3.2 of reference [17]): for training, not for proofs.

The radius of a unit is epsilon |a_1|_q + sum over layers i and units j of |a_ij| g_ij (see `convex_outer`). A forward
pass of random numbers at the inputs and at the gaps gives <a, numbers> for all units of a layer at once, whereas a
itself takes a backward pass for every unit:

    standard normal at the inputs:               N(0, |a_1|_2^2)          |a_1|_2 = sqrt(mean square)
    g_ij times a standard Cauchy, at every gap:  Cauchy of scale sum |a_ij| g_ij    = median of absolute values

and epsilon times a Cauchy at every input adds epsilon |a_1|_1 to that scale (l_inf balls): a sum of l_1 norms is the l_1
norm of all their coefficients, so one set of Cauchy projections suffices for all layers, where the paper has one per
layer. With K projections the relative standard deviation is 1 / sqrt(2 K) for the first and pi / (2 sqrt K) for the
second.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.errors import InvalidInputError, require_count
from noiseproof.randomness import RandomSource
from noiseproof.verification.layers import Affine
from noiseproof.verification.relaxation import Ball, Relaxation

__all__ = ["EstimatedRadii", "ExactRadii"]

ExactRadii = Callable[[Sequence[Affine], Sequence[Relaxation], Ball], Float[Tensor, "#batch *outputs"]]
"""Computes the radius of every unit of the last affine map, from all maps and the relaxations between them."""


class EstimatedRadii:
    """Estimates the radii of a layer's units from K projections of each image, where this takes fewer passes.

    It is called for one layer of a network after the other. The first layer, whose coefficients are the same for all
    images, and layers of at most K units are computed exactly.

    Args:
        exact: computes exact radii.
        count: K.
        source: the random numbers, one row for every image.
        images: the number of images.

    Raises:
        InvalidInputError: K < 1.
    """

    def __init__(self, exact: ExactRadii, count: int, source: RandomSource, images: int) -> None:
        require_count("projections", count, 1, "Try 50.")
        self.exact, self.count, self.source, self.images = exact, count, source, images
        self.pushed = 0
        self.inputs: Tensor | None = None  # <a_1, normal>, of l_2 balls
        self.gaps: Tensor | None = None  # <a, Cauchy> of all gaps, and of the inputs of l_inf balls

    def __call__(
        self, maps: Sequence[Affine], relaxations: Sequence[Relaxation], ball: Ball
    ) -> Float[Tensor, "#batch *outputs"]:
        """Return the radius of every unit of the last map, or its estimate.

        Raises:
            InvalidInputError: an l_1 ball, whose dual norm is a maximum, which projections cannot estimate.
        """
        if ball.norm == "l1":
            raise InvalidInputError(
                "norm", required="'l2' or 'linf' with random projections", got="'l1'", remedy="Leave projections out."
            )
        if not relaxations or not _pays(maps[-1].outputs.numel(), self.count):
            return self.exact(maps, relaxations, ball)
        for depth in range(self.pushed, len(maps)):
            self._push(maps[depth], relaxations[depth - 1] if depth else None, ball)
        self.pushed = len(maps)
        total: Tensor = cast("Tensor", self.gaps).abs().median(dim=1).values
        if self.inputs is not None:
            lengths = torch.linalg.vector_norm(self.inputs, dim=1) / math.sqrt(self.count)
            total = total + ball.epsilon.view(-1, *[1] * (lengths.ndim - 1)) * lengths
        return total

    def _push(self, layer: Affine, relaxation: Relaxation | None, ball: Ball) -> None:
        """Take the projections from the outputs of the map before, or from the pixels, to those of `layer`."""
        if relaxation is None:
            shape = ball.scale.new_empty((self.images, self.count, *ball.scale.shape))
            if ball.norm == "l2":
                self.inputs = _linear(layer, self.source.normal(shape) * ball.scale)
            else:
                epsilon = ball.epsilon.view(-1, *[1] * (shape.ndim - 1))
                self.gaps = _linear(layer, self._cauchy(shape) * (epsilon * ball.scale))
            return
        slope, half_gap = relaxation.slope.unsqueeze(1), relaxation.half_gap.unsqueeze(1)
        added = half_gap * self._cauchy(half_gap.expand(-1, self.count, *half_gap.shape[2:]))
        self.gaps = _linear(layer, added if self.gaps is None else added + slope * self.gaps)
        if self.inputs is not None:
            self.inputs = _linear(layer, slope * self.inputs)

    def _cauchy(self, like: Float[Tensor, "batch projections *shape"]) -> Float[Tensor, "batch projections *shape"]:
        return torch.tan(math.pi * (self.source.uniform(like.new_empty(like.shape)) - 0.5))


def _pays(units: int, count: int) -> bool:
    """Whether a pass forward for each projection is less than one back for each unit."""
    return units > count


def _linear(
    layer: Affine, rows: Float[Tensor, "batch projections *inputs"]
) -> Float[Tensor, "batch projections *outputs"]:
    """Return W z of every row z."""
    found = replace(layer, bias=torch.zeros_like(layer.bias)).apply(rows.flatten(0, 1))
    return found.view(*rows.shape[:2], *layer.outputs)
