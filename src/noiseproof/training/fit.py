"""Checks, before any computation, that a network accepts the images of a data set and has its number of classes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof import data, models
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError

__all__ = ["require_fit", "require_fit_by_name"]


def require_fit(model: nn.Module, name: str, dataset: Dataset) -> None:
    """Raise InvalidInputError unless the network accepts the images of the data set and has its number of classes."""
    if not len(dataset):
        raise InvalidInputError("data", required="images to train on", got="none", remedy="Check the data set.")
    _require_fit(model, name, torch.from_numpy(dataset.read([0])), dataset.num_classes, dataset.name)


def require_fit_by_name(name: str, dataset: str) -> None:
    """Raise the InvalidInputError of `require_fit` for a published data set before its files are read or downloaded."""
    published = data.SHAPES.get(dataset)
    if published is not None:
        with torch.random.fork_rng(devices=[]):
            network = models.build(name)
        _require_fit(network, name, torch.zeros(1, *published[0]), published[1], dataset)


def _require_fit(model: nn.Module, name: str, image: Float[Tensor, "1 *shape"], classes: int, dataset: str) -> None:
    found: int | str
    try:
        with torch.inference_mode():
            found = model.eval()(image).shape[1]
    except RuntimeError as error:
        found = f"{error}"
    if found != classes:
        raise InvalidInputError(
            "model",
            required=f"a network for images {tuple(image.shape[1:])} of {classes} classes ({dataset})",
            got=f"{name}: {found}",
            remedy="Choose another network or data set, or set the number of classes: num_classes=, classes_file=.",
        )
