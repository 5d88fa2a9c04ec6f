"""Images and their indices as callers pass them, checked."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.errors import InvalidInputError

__all__ = ["Images", "as_indices", "as_pixels"]

Images = Float[Tensor, "images *shape"] | Float[np.ndarray, "images *shape"]


def as_indices(indices: Sequence[int] | None, images: int) -> Sequence[int]:
    """Return the keys of so many images, numbered from 0 where none are given, or raise `InvalidInputError`."""
    if indices is None:
        return range(images)
    if len(indices) != images:
        raise InvalidInputError(
            "indices",
            required=f"one for each of the {images} images",
            got=len(indices),
            remedy="Pass as many indices as images.",
        )
    if len(set(indices)) != len(indices) or not all(isinstance(index, int | np.integer) for index in indices):
        raise InvalidInputError(
            "indices",
            required="distinct integers",
            got=list(indices)[:5],
            remedy="Equal indices would share noise.",
        )
    return indices


def as_pixels(images: object) -> Float[Tensor, "images *shape"]:
    """Return images as a float32 CPU tensor, or raise `InvalidInputError` unless they are pixels in [0, 1]."""
    required = "a float torch tensor or NumPy array (images, *shape) of finite values in [0, 1]"
    if not isinstance(images, Tensor | np.ndarray):
        raise InvalidInputError("images", required=required, got=type(images).__name__, remedy="Convert them first.")
    if isinstance(images, np.ndarray):
        if images.dtype.kind not in "fiub":
            raise InvalidInputError(
                "images", required=required, got=f"dtype {images.dtype}", remedy="Convert them first."
            )
        images = np.ascontiguousarray(images)
    tensor = torch.as_tensor(images).detach().cpu()
    if not tensor.is_floating_point():
        raise InvalidInputError(
            "images", required=required, got=str(tensor.dtype), remedy="For 8-bit images divide by 255."
        )
    if tensor.ndim < 2:
        raise InvalidInputError(
            "images", required=required, got=f"shape {tuple(tensor.shape)}", remedy="Add a batch axis for one image."
        )
    if not bool(tensor.isfinite().all()):
        raise InvalidInputError("images", required=required, got="NaN or infinity", remedy="Clean the data first.")
    if tensor.numel() and not (tensor.min() >= 0.0 and tensor.max() <= 1.0):
        raise InvalidInputError(
            "images",
            required=required,
            got=f"values from {tensor.min().item():g} to {tensor.max().item():g}",
            remedy="Scale pixels to [0, 1] and put any normalisation into the classifier: sigma is in pixel units.",
        )
    return tensor.to(torch.float32)
