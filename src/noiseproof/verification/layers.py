"""A sequential ReLU network as a list of affine maps, each with its transpose, between which the ReLUs stand."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.errors import InvalidInputError
from noiseproof.models.normalise import Normalise

__all__ = ["Affine", "Convolution", "Dense", "ReluNetwork", "read_network", "require_bare"]

_REMEDY = "The dual is written for Conv2d, Linear, Flatten and ReLU, in an nn.Sequential, after a normalisation."


@dataclass(frozen=True)
class Affine(ABC):
    """z -> W z + b, in the shapes that z has before and after, without the batch."""

    weight: Tensor
    bias: Tensor
    inputs: torch.Size
    outputs: torch.Size

    @abstractmethod
    def apply(self, z: Float[Tensor, "batch *inputs"], *, magnitude: bool = False) -> Float[Tensor, "batch *outputs"]:
        """Return W z + b, or, as `magnitude`, |W| z + |b|: how large the terms of the sum are, for z >= 0."""

    @abstractmethod
    def transposed(self, rows: Float[Tensor, "batch rows *outputs"]) -> Float[Tensor, "batch rows *inputs"]:
        """Return W^T a of each row a."""


@dataclass(frozen=True)
class Dense(Affine):
    """A fully connected layer, of flattened images."""

    def apply(self, z: Float[Tensor, "batch *inputs"], *, magnitude: bool = False) -> Float[Tensor, "batch outputs"]:
        """Return W z + b, or |W| z + |b|."""
        weight, bias = (self.weight.abs(), self.bias.abs()) if magnitude else (self.weight, self.bias)
        return F.linear(z.flatten(1), weight, bias)

    def transposed(self, rows: Float[Tensor, "batch rows outputs"]) -> Float[Tensor, "batch rows inputs"]:
        """Return W^T a of each row a."""
        return rows @ self.weight


@dataclass(frozen=True)
class Convolution(Affine):
    """A convolution with zeros around the image."""

    stride: tuple[int, int]
    padding: tuple[int, int]

    def apply(
        self, z: Float[Tensor, "batch channels height width"], *, magnitude: bool = False
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """Return W z + b, or |W| z + |b|."""
        weight, bias = (self.weight.abs(), self.bias.abs()) if magnitude else (self.weight, self.bias)
        return F.conv2d(z, weight, bias, self.stride, self.padding)

    def transposed(self, rows: Float[Tensor, "batch rows *outputs"]) -> Float[Tensor, "batch rows *inputs"]:
        """Return W^T a of each row a."""
        lost = [
            have - ((size - 1) * stride - 2 * padding + kernel)
            for have, size, stride, padding, kernel in zip(
                self.inputs[1:], self.outputs[1:], self.stride, self.padding, self.weight.shape[2:], strict=True
            )
        ]  # rows and columns that no kernel reaches
        flat = F.conv_transpose2d(
            rows.reshape(-1, *self.outputs), self.weight, None, self.stride, self.padding, output_padding=lost
        )
        return flat.reshape(*rows.shape[:2], *self.inputs)


@dataclass(frozen=True)
class ReluNetwork:
    """x -> W_k relu( ... relu(W_1 (x - mean) / std + b_1) ... ) + b_k, with mean and 1 / std of every channel."""

    mean: Tensor
    scale: Tensor
    maps: tuple[Affine, ...]

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.maps[-1].outputs[0]


def read_network(network: nn.Module, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> ReluNetwork:
    """Read the affine maps of a network for inputs of a shape (without the batch); gradients reach its weights.

    A normalisation may have a deviation for each channel: it is a linear layer, and the ball stays in pixels.

    Raises:
        InvalidInputError: a layer of another kind, or layers in an order that is not affine, ReLU, affine, ..., affine.
    """
    mean = torch.zeros([1] * len(shape), dtype=dtype, device=device)
    scale = torch.ones_like(mean)
    maps: list[Affine] = []
    relus, size, normalised = 0, shape, False
    for layer in _leaves(network):
        if isinstance(layer, _Statistics):
            if maps or relus or normalised:
                raise _refused("one normalisation, only before the first layer", "one behind it, or a second one")
            mean, scale, normalised = layer.mean.to(mean), layer.std.to(mean).reciprocal(), True
        elif isinstance(layer, nn.ReLU | nn.Conv2d | nn.Linear) and (relus < len(maps)) is not isinstance(
            layer, nn.ReLU
        ):
            raise _refused(
                "affine, ReLU, affine, ..., affine", f"{layer} behind {len(maps)} affine maps, {relus} ReLUs"
            )
        elif isinstance(layer, nn.ReLU):
            relus += 1
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            maps.append(_read_affine(layer, size, dtype, device))
            size = maps[-1].outputs
        elif isinstance(layer, nn.Flatten):
            size = torch.Size([size.numel()])
    if not maps or relus != len(maps) - 1 or not isinstance(maps[-1], Dense):
        raise _refused("a network that ends with nn.Linear", f"{len(maps)} affine maps and {relus} ReLUs")
    return ReluNetwork(mean, scale, tuple(maps))


def require_bare(network: nn.Module) -> None:
    """Raise InvalidInputError where a hook, or a forward of its own, changes what a layer computes.

    A hook may change weights (spectral norm, pruning, weight norm of earlier torch), inputs or outputs.
    """
    for layer in network.modules():
        own = vars(layer)
        if own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own:
            raise _refused(
                "of layers without hooks, each with the forward of its class", f"a hook on {type(layer).__name__}"
            )


@dataclass(frozen=True)
class _Statistics:
    mean: Tensor
    std: Tensor


def _leaves(network: nn.Module) -> Iterator[nn.Module | _Statistics]:
    """Every layer in the order of the forward pass, the normalisation first; one that is used twice comes twice."""
    kind = type(network)
    own = getattr(network, "normalise_mean", None)
    if own is not None and kind.__bases__ == (nn.Sequential,):  # as models.with_normalisation makes them
        yield _Statistics(network.normalise_mean, network.normalise_std)  # type: ignore[arg-type]
        kind = nn.Sequential
    if kind is nn.Sequential:
        for child in network:  # type: ignore[attr-defined]  # children() would name a layer that is used twice once
            yield from _leaves(child)
    elif isinstance(network, Normalise):
        yield _Statistics(network.mean, network.std)
    elif (kind is nn.Flatten and [network.start_dim, network.end_dim] == [1, -1]) or kind in {
        nn.ReLU,
        nn.Linear,
        nn.Conv2d,
    }:
        yield network
    elif kind is not nn.Identity:
        raise _refused("made of Conv2d, Linear, Flatten and ReLU", kind.__name__)


def _read_affine(
    layer: nn.Conv2d | nn.Linear, size: torch.Size, dtype: torch.dtype, device: torch.device
) -> Dense | Convolution:
    weight = layer.weight.to(dtype=dtype, device=device)
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.to(dtype=dtype, device=device)
    if isinstance(layer, nn.Linear):
        if len(size) != 1 or size[0] != layer.in_features:
            raise _refused(f"given {layer.in_features} values, flattened, before {layer}", tuple(size))
        return Dense(weight, bias, size, torch.Size([layer.out_features]))
    if (
        isinstance(layer.padding, str)
        or layer.padding_mode != "zeros"
        or layer.groups != 1
        or tuple(layer.dilation) != (1, 1)
    ):
        raise _refused("of convolutions with a number of zeros around, without groups or dilation", layer)
    if len(size) != 3 or size[0] != layer.in_channels:
        raise _refused(f"given {layer.in_channels} channels before {layer}", tuple(size))
    stride, padding = (layer.stride[0], layer.stride[1]), (layer.padding[0], layer.padding[1])
    sides = [
        (have + 2 * around - kernel) // step + 1
        for have, around, kernel, step in zip(size[1:], padding, weight.shape[2:], stride, strict=True)
    ]
    return Convolution(weight, bias, size, torch.Size([layer.out_channels, *sides]), stride, padding)


def _refused(required: str, got: object) -> InvalidInputError:
    return InvalidInputError("network", required=required, got=got, remedy=_REMEDY)
