"""Any classifier as one function: a batch of images in, one label a row out."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from noiseproof.errors import ClassifierError, InvalidInputError, require_count

__all__ = ["INVALID", "BaseClassifier"]

INVALID = -1
"""The label of a row whose output is NaN or names no class. It is counted apart, never as a vote."""

Kind = Literal["torch", "numpy"]


class BaseClassifier:
    """The base classifier f of Algorithm 1, with its output checked.

    A `torch.nn.Module` gets torch batches on the device of its parameters, in evaluation and inference mode (its own
    mode is restored). Any other callable gets batches of the kind of the user's images, torch or NumPy, so a
    scikit-learn estimator's `predict` and a function written in NumPy work as they are.

    Args:
        function: maps float32 images (batch, *shape) to scores (batch, num_classes) or integer labels (batch,).
        num_classes: k >= 2.
        device: where batches go; None is the module's own device, or the CPU.
        kind: the arrays a callable that is no module gets.

    Raises:
        InvalidInputError: function is not callable or num_classes is not an integer >= 2.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        num_classes: int,
        device: torch.device | str | None = None,
        kind: Kind = "torch",
    ) -> None:
        if not callable(function):
            raise InvalidInputError(
                "classifier",
                required="callable on a batch of images",
                got=type(function).__name__,
                remedy="For a scikit-learn estimator pass its method: classifier=estimator.predict.",
            )
        require_count("num_classes", num_classes, 2, "Count the classes of f.")
        self.function = function
        self.num_classes = int(num_classes)
        self.kind = kind
        self.device = torch.device(device) if device is not None else _device_of(function)

    def reading(self, kind: Kind) -> "BaseClassifier":
        """Return the same classifier, fed with arrays of that kind."""
        return BaseClassifier(self.function, num_classes=self.num_classes, device=self.device, kind=kind)

    def probe(self, image: Float[Tensor, "*shape"]) -> None:
        """Classify one clean image twice, as a batch of 2, so that a wrong classifier fails before time is spent.

        Raises:
            ClassifierError: the classifier raised, or its output is not scores or labels of num_classes classes.
        """
        labels = self(torch.stack([image, image]))
        if bool((labels == INVALID).any()):
            raise ClassifierError(
                "the classifier's output on a clean image",
                required=f"scores without NaN, or labels from 0 to {self.num_classes - 1}",
                got="NaN, or a label outside that range",
                remedy="Check the weights, the input range [0, 1] and num_classes.",
            )

    def __call__(self, batch: Float[Tensor, "batch *shape"]) -> Int[Tensor, " batch"]:
        """Label every row; rows without a valid answer get `INVALID`. Scores tie towards the smaller class."""
        try:
            output = self._run(batch)
        except _NoNumbersError as error:
            raise ClassifierError(
                "the classifier's output",
                required=f"float scores ({len(batch)}, {self.num_classes}) or integer labels ({len(batch)},)",
                got=f"{error}, not numbers",
                remedy="Return a torch tensor or a NumPy array.",
            ) from error
        except Exception as error:
            raise ClassifierError(
                "the classifier",
                required=f"able to take a float32 {self._fed_kind} batch of shape {tuple(batch.shape)}",
                got=f"{type(error).__name__}: {error}",
                remedy="Torch modules get torch tensors; other callables get the kind of array that the images are.",
            ) from error
        return self._labels(output, len(batch))

    @property
    def _fed_kind(self) -> Kind:
        return "torch" if isinstance(self.function, nn.Module) else self.kind

    def _run(self, batch: Float[Tensor, "batch *shape"]) -> Tensor:
        with torch.inference_mode():
            if isinstance(self.function, nn.Module):
                return _as_tensor(_in_evaluation_mode(self.function, batch.to(self.device)))
            return _as_tensor(self.function(batch.numpy() if self._fed_kind == "numpy" else batch.to(self.device)))

    def _labels(self, output: Tensor, rows: int) -> Int[Tensor, " batch"]:
        if output.shape == (rows, self.num_classes) and output.is_floating_point():
            labels = output.argmax(1)
            return labels.masked_fill(output.isnan().any(1), INVALID)
        integral = not output.is_floating_point() and not output.is_complex()
        if output.shape == (rows,) and integral and output.dtype != torch.bool:
            labels = output.long()
            return labels.masked_fill((labels < 0) | (labels >= self.num_classes), INVALID)
        raise ClassifierError(
            f"the classifier's output for {rows} images",
            required=f"float scores of shape ({rows}, {self.num_classes}) or integer labels of shape ({rows},)",
            got=f"{output.dtype} of shape {tuple(output.shape)}",
            remedy=f"Check num_classes={self.num_classes} and what the classifier returns.",
        )


class _NoNumbersError(TypeError):
    """The classifier returned something that holds no numbers."""


def _device_of(function: object) -> torch.device:
    if isinstance(function, nn.Module):
        for tensor in (*function.parameters(), *function.buffers()):
            return tensor.device
    return torch.device("cpu")


def _in_evaluation_mode(module: nn.Module, batch: Tensor) -> object:
    """Run in evaluation mode and restore each submodule's own mode: some users freeze parts on purpose."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        return module(batch)
    finally:
        for part in training:
            part.training = True


def _as_tensor(output: object) -> Tensor:
    if isinstance(output, Tensor):
        return output.detach()
    array = np.asarray(output)
    if array.dtype.kind not in "iuf":
        raise _NoNumbersError(f"{type(output).__name__} of {array.dtype}")
    return torch.as_tensor(array)
