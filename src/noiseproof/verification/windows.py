"""Radii of the units of a convolution, each computed on its receptive field alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from noiseproof.verification.layers import Affine, Convolution
from noiseproof.verification.relaxation import Ball, Relaxation

__all__ = ["Window", "sees_windows", "window_radius"]

_FEW_CHANNELS = 4
"""Up to this number, a matrix product and a fold are twice as fast as a transposed convolution."""


@dataclass(frozen=True)
class Window:
    """The receptive field of place p in an earlier layer: the kernel rows from stride * p - padding on."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @classmethod
    def of(cls, layer: Convolution) -> "Window":
        """Return the window of a convolution in its own input."""
        return cls((layer.weight.shape[2], layer.weight.shape[3]), layer.stride, layer.padding)

    def through(self, layer: Convolution) -> "Window":
        """Return the window in the input of `layer`, where this one is in its output."""
        own = Window.of(layer)
        down, across = own.stride
        return Window(
            ((self.kernel[0] - 1) * down + own.kernel[0], (self.kernel[1] - 1) * across + own.kernel[1]),
            (self.stride[0] * down, self.stride[1] * across),
            (self.padding[0] * down + own.padding[0], self.padding[1] * across + own.padding[1]),
        )

    def cut(
        self, values: Float[Tensor, "batch channels height width"], places: Sequence[int]
    ) -> Float[Tensor, "batch places channels kernel_height kernel_width"]:
        """Return the values in the window of each place, padded with zeros outside the image."""
        cut = F.unfold(values, self.kernel, padding=self.padding, stride=self.stride)
        sides = [
            (side + 2 * around - kernel) // stride + 1
            for side, around, kernel, stride in zip(
                values.shape[2:], self.padding, self.kernel, self.stride, strict=True
            )
        ]  # flooring in between may leave more places than the layer has
        grid = cut.view(*cut.shape[:2], *sides)[:, :, : places[0], : places[1]].flatten(2)
        return grid.transpose(1, 2).reshape(len(cut), -1, values.shape[1], *self.kernel)


def sees_windows(maps: Sequence[Affine]) -> bool:
    """Whether all maps are convolutions and the receptive fields of the last one's units are smaller than the input."""
    convolutions = [layer for layer in maps if isinstance(layer, Convolution)]
    if len(convolutions) < len(maps):
        return False
    window = _windows(convolutions)[-1]
    return all(kernel <= side for kernel, side in zip(window.kernel, maps[0].inputs[1:], strict=True))


def window_radius(
    maps: Sequence[Convolution], relaxations: Sequence[Relaxation], ball: Ball, memory: int
) -> Float[Tensor, "batch *outputs"]:
    """Return the radius of every unit of the last convolution, as `convex_outer` defines it.

    The coefficients of a unit lie in a window that grows from layer to layer; places form a second batch dimension.

    Args:
        maps: the convolutions up to that layer.
        relaxations: the relaxations of the ReLUs between them.
        ball: the ball of the input.
        memory: approximate number of coefficients in memory at a time, without a graph.
    """
    units, windows = len(maps[-1].weight), _windows(maps)
    places = maps[-1].outputs[1:].numel()
    widest = max(
        places * layer.inputs[0] * window.kernel[0] * window.kernel[1]
        for layer, window in zip(reversed(maps), windows, strict=True)
    )
    images = max(1, memory // (widest * units))
    channels = min(units, max(1, memory // widest))
    batch = len(relaxations[0].slope) if relaxations else len(ball.epsilon)
    parts = [
        torch.cat(
            [
                _part(
                    maps, windows, [relaxation[i : i + images] for relaxation in relaxations], ball[i : i + images], c
                )
                for c in torch.split(maps[-1].weight, channels)
            ],
            dim=1,
        )
        for i in range(0, batch, images)
    ]
    return torch.cat(parts)


def _part(
    maps: Sequence[Convolution],
    windows: Sequence[Window],
    relaxations: Sequence[Relaxation],
    ball: Ball,
    weight: Tensor,
) -> Float[Tensor, "batch units height width"]:
    """Return the radii of the units of some output channels, those of `weight`."""
    last, places = maps[-1], maps[-1].outputs[1:]
    rows = weight[None, None]
    total: Tensor | None = None
    for layer, window, relaxation in zip(maps[-2::-1], windows, reversed(relaxations), strict=False):
        if total is None:  # the coefficients are still the same for all images and places
            total = F.conv2d(relaxation.half_gap, weight.abs(), None, last.stride, last.padding).flatten(2)
        else:
            gaps = window.cut(relaxation.half_gap, places).flatten(2).unsqueeze(3)
            total = total + (rows.abs().flatten(3) @ gaps).squeeze(3).transpose(1, 2)
        rows = rows * window.cut(relaxation.slope, places).unsqueeze(2)
        pulled = _spread(rows.flatten(0, 2), layer)
        rows = pulled.view(*rows.shape[:3], *pulled.shape[1:])
    scale = windows[-1].cut(ball.scale.unsqueeze(0), places)
    moved = ball.reach((rows * scale.unsqueeze(2)).flatten(3)).transpose(1, 2)
    return (moved if total is None else moved + total).reshape(-1, len(weight), *places)


def _spread(
    rows: Float[Tensor, "rows channels height width"], layer: Convolution
) -> Float[Tensor, "rows inputs kernel_height kernel_width"]:
    """Return W^T of windows in the output of a convolution, in its input."""
    if layer.inputs[0] > _FEW_CHANNELS:
        return F.conv_transpose2d(rows, layer.weight, None, layer.stride)
    window = Window((rows.shape[2], rows.shape[3]), (1, 1), (0, 0)).through(layer)
    return F.fold(
        layer.weight.flatten(1).t() @ rows.flatten(2), window.kernel, layer.weight.shape[2:], 1, 0, layer.stride
    )


def _windows(maps: Sequence[Convolution]) -> list[Window]:
    """Of the last convolution's units, in its own input first and in that of the first convolution last."""
    windows = [Window.of(maps[-1])]
    for layer in maps[-2::-1]:
        windows.append(windows[-1].through(layer))
    return windows
