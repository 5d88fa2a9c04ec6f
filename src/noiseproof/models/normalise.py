"""Normalisation as a part of the network, so that sigma and radii stay in units of pixels in [0, 1]."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError

__all__ = ["CIFAR10", "IMAGENET", "Normalise", "with_normalisation"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of red, green and blue, used by torchvision and most other published weights."""

CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
"""As used by Cohen et al. and most published weights. The deviations are averages of the deviation within each training
image; over all pixels together they are .2470, .2435 and .2616."""


class Normalise(nn.Module):
    """(x - mean) / std, channel by channel: the first layer of a network that was trained on such inputs.

    Mean and standard deviation are buffers that are not part of the state_dict, since published weight files do not
    have them; they belong to the architecture, and `model_digest` covers them.

    Args:
        mean: mean of each channel, for pixels in [0, 1].
        std: standard deviation of each channel, > 0.

    Raises:
        InvalidInputError: different numbers of both, a value that is not finite, or a deviation that is not > 0.
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
        """Return the normalised images.

        Raises:
            InvalidInputError: the number of channels is different.
        """
        return _normalised(images, self.mean, self.std)


def with_normalisation(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Add a normalisation of the input to a network without changing the names of its weights, so that files load.

    `nn.Sequential(Normalise(mean, std), network)` computes the same, but renames every weight to `1.NAME`. Here the
    class of the network is replaced by a new subclass of it. The network cannot be pickled; save its state_dict.

    Args:
        network: changed in place; its forward takes images as the only argument.
        mean: mean of each channel, for pixels in [0, 1].
        std: standard deviation of each channel, > 0.

    Returns:
        The same network.

    Raises:
        InvalidInputError: as `Normalise`, or the network already has a normalisation.
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
