"""Normalisation as a part of the network, so that sigma and radii stay in units of pixels in [0, 1]."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError

__all__ = ["CIFAR10", "IMAGENET", "Normalise", "with_normalisation"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of red, green and blue, as torchvision's and most other published weights have them."""

CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
"""As Cohen et al. and most published weights have them. The deviations are the mean of those within each training
image; over all pixels together they are .2470, .2435 and .2616."""


class Normalise(nn.Module):
    """(x - mean) / std, channel by channel: the first layer of a network that was trained on such inputs.

    Mean and deviation are buffers that a state_dict leaves out, since weight files of others have none; they belong to
    the architecture, and `model_digest` sees them.

    Args:
        mean: of each channel, in pixels in [0, 1].
        std: of each channel, > 0.

    Raises:
        InvalidInputError: not as many of both, one is not finite, or a deviation is not > 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in zip(("mean", "std"), _columns(mean, std), strict=True):
            self.register_buffer(name, values, persistent=False)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the images, normalised.

        Raises:
            InvalidInputError: the images have another number of channels.
        """
        return _normalised(images, self.mean, self.std)


def with_normalisation(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Let a network normalise its input itself, and keep the names of its weights, so that published files load.

    `nn.Sequential(Normalise(mean, std), network)` computes the same but calls every weight `1.NAME`. Here the network
    becomes an instance of a subclass of its class, made for it; save its state_dict, as it cannot be pickled.

    Args:
        network: changed in place; its forward has no argument but images.
        mean: of each channel, in pixels in [0, 1].
        std: of each channel, > 0.

    Returns:
        The same network.

    Raises:
        InvalidInputError: as `Normalise`, or the network normalises its input already.
    """
    kind: Any = type(network)
    if hasattr(network, "normalise_mean"):
        raise InvalidInputError(
            "network", required="without a normalisation of its own", got=kind.__name__, remedy="Once is enough."
        )

    def forward(self: Any, images: Tensor) -> Any:
        return kind.forward(self, _normalised(images, self.normalise_mean, self.normalise_std))

    for name, values in zip(("mean", "std"), _columns(mean, std), strict=True):
        network.register_buffer(f"normalise_{name}", values, persistent=False)
    network.__class__ = type(f"Normalised{kind.__name__}", (kind,), {"forward": forward, "__doc__": kind.__doc__})
    return network


def _columns(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Both as (channels, 1, 1), checked."""
    columns = tuple(torch.tensor([float(value) for value in values]).reshape(-1, 1, 1) for values in (mean, std))
    finite = all(bool(column.isfinite().all()) for column in columns)
    if not (0 < len(columns[0]) == len(columns[1]) and finite and bool((columns[1] > 0.0).all())):
        raise InvalidInputError(
            "mean and std",
            required="one finite number a channel each, the deviations > 0",
            got=f"{tuple(mean)} and {tuple(std)}",
            remedy="For pixels in [0, 1]: statistics of 8-bit values are 255 times as large.",
        )
    return columns[0], columns[1]


def _normalised(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] != len(mean):  # one channel would be spread over three without a word
        raise InvalidInputError(
            "images",
            required=f"of shape (batch, {len(mean)}, height, width)",
            got=tuple(images.shape),
            remedy="This network normalises channel by channel; give it images of its own kind.",
        )
    return (images - mean) / std
