"""Check of the pixel scale: a few clean images show whether the classifier expects another one."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from noiseproof.classifiers.base import BaseClassifier
from noiseproof.classifiers.batching import filled_up
from noiseproof.errors import InvalidInputError

__all__ = ["require_input_scale"]

_BETTER = 0.3
"""How much more accurate another scale must make the classifier to be taken for the right one."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def require_input_scale(
    classifier: BaseClassifier,
    images: Float[np.ndarray, "images *shape"],
    labels: Int[np.ndarray, " images"],
    batch_size: int,
) -> float:
    """Return the accuracy on clean images, or refuse a classifier that clearly expects pixels on another scale.

    Noise is added to pixels in [0, 1], so a conversion to 8-bit or normalised values belongs in the first layer.
    Accuracy is compared with that for pixels times 255, in [-1, 1], and normalised by ImageNet's mean and deviation.

    Args:
        classifier: f.
        images: some tens of clean images, in [0, 1].
        labels: their classes.
        batch_size: rows a call.

    Raises:
        InvalidInputError: on another scale its accuracy is higher by at least 30 percentage points.
        ClassifierError: it raised, or returned something that is no vote.
    """
    pixels = torch.as_tensor(images)
    truth = torch.as_tensor(labels)
    accuracy = _accuracy(classifier, pixels, truth, batch_size)
    for description, scaled in _OTHER_SCALES.items():
        if accuracy > 1.0 - _BETTER:
            break
        other = scaled(pixels)
        found = 0.0 if other is None else _accuracy(classifier, other, truth, batch_size)
        if found >= accuracy + _BETTER:
            raise InvalidInputError(
                "the classifier's input",
                required="pixels in [0, 1], which is where noise is added",
                got=f"{accuracy:.0%} of {len(images)} clean images right as they are, {found:.0%} {description}",
                remedy="Make that step the first layer of the network: noise in pixel units needs it there.",
            )
    return accuracy


def _accuracy(classifier: BaseClassifier, images: Tensor, labels: Tensor, batch_size: int) -> float:
    parts = [filled_up(part, batch_size) for part in torch.split(images.to(classifier.device), batch_size)]
    found = torch.cat([classifier(part).cpu() for part in parts])[: len(images)]
    return float((found == labels).double().mean())


def _imagenet(images: Tensor) -> Tensor | None:
    if images.ndim != 4 or images.shape[1] != 3:
        return None
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (_MEAN, _STD))
    return (images - mean) / std


_OTHER_SCALES: dict[str, Callable[[Tensor], Tensor | None]] = {
    "with pixels from 0 to 255": lambda images: images * 255.0,
    "with pixels from -1 to 1": lambda images: images * 2.0 - 1.0,
    "normalised by ImageNet's mean and standard deviation": _imagenet,
}
