"""Any classifier as one function: from a batch of images to one label a row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from noiseproof.classifiers.runners import FunctionRunner, Kind, ModuleRunner, Runner, memory_named
from noiseproof.errors import ClassifierError, InvalidInputError, OutOfMemoryError, require_count

__all__ = ["INVALID", "BaseClassifier", "RowsCheck"]

_KINDS = "Torch modules get torch tensors; other callables get the kind of array that the images are."
_BATCH = f"Images are (images, channels, height, width): of one pass x[None], or x[:1] of several. {_KINDS}"

INVALID = -1
"""The label of a row whose output is NaN or names no class. It is counted apart, never as a vote."""

_SAME = 1e-3
"""Two scores are the same if they differ by less than this part of their size and of the usual size. Rounding moves one
by 1e-6 in float32; batch normalisation in training mode or a scale taken from the batch, by 1e-2 and more."""


@dataclass(frozen=True)
class RowsCheck:
    """Whether the output for an image depends, to the last bit, on its place in the batch and on the other images.

    Attributes:
        rows: how many rows were compared.
        changed: how many of them got another output.
        largest: the largest change of a score; 0 for labels.
        labels: how many got another label.
    """

    rows: int
    changed: int
    largest: float
    labels: int

    @staticmethod
    def of(pairs: Sequence[tuple[Tensor, Tensor]]) -> "RowsCheck":
        """Compare outputs, row by row: NaN equals NaN."""
        one, other = (torch.cat(side) for side in zip(*pairs, strict=True))
        if not one.is_floating_point():
            flips = int((one != other).sum())
            return RowsCheck(len(one), flips, 0.0, flips)
        differs = ((one != other) & ~(one.isnan() & other.isnan())).any(1)
        change = (one.double() - other.double()).abs().nan_to_num(0.0, 0.0)  # inf - inf
        labels = int((one.argmax(1) != other.argmax(1)).sum())
        return RowsCheck(len(one), int(differs.sum()), float(change.max()), labels)


class BaseClassifier:
    """The base classifier f of Algorithm 1, with its output checked.

    A `torch.nn.Module` gets torch batches on the device of its parameters, in evaluation and inference mode (its own
    mode is restored). Any other callable gets batches of the kind of the user's images, torch or NumPy, so a
    scikit-learn estimator's `predict` and a function written in NumPy work as they are. A backend (`Runner`), which is what
    `noiseproof.classifiers.accelerate` and `noiseproof.models.load` return, specifies its own input.

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
        where = None if device is None else torch.device(device)
        self.runner = _runner(function, kind, where)

    @property
    def device(self) -> torch.device:
        """Where batches go."""
        return self.runner.device

    def reading(self, kind: Kind) -> "BaseClassifier":
        """Return the same classifier for arrays of that kind, unless it specifies another."""
        if not isinstance(self.runner, FunctionRunner) or self.runner.kind == kind:
            return self
        return BaseClassifier(self.function, num_classes=self.num_classes, device=self.device, kind=kind)

    def probe(
        self,
        images: Float[Tensor, "images *shape"],
        batch_size: int,
        noise: Callable[[Tensor], Tensor] = torch.zeros_like,
    ) -> RowsCheck:
        """Classify a few images several times, so that a wrong classifier fails before time is spent.

        It classifies a batch of the size that will be used, the same batch again, and a batch with half of the images
        in other places among other images. All places are drawn at random: a reversed batch would keep neighbours
        together and miss ghost batch norm or an average over chunks. Then it classifies noisy copies of one image, as
        counting does: by themselves, and half of them among copies of other images.

        Args:
            images: at least one, clean, on the device of the classifier.
            batch_size: rows per batch.
            noise: returns noise for images like these, of the distribution of the votes.

        Returns:
            Whether outputs in other places are the same to the last bit. They may differ by rounding alone, as compiled
            code and some libraries do.

        Raises:
            ClassifierError: the classifier raised, its output is not scores or labels of num_classes classes, or an
                image's output changes from one call to the next or with the other images of its batch.
        """
        size = self.runner.batch_size or max(2, batch_size)
        half = size // 2
        ramp = torch.linspace(0.0, 1.0, size, device=images.device).reshape(-1, *[1] * (images.ndim - 1))
        # distinct rows, from the images to their negatives, so that no two batches have equal statistics
        chosen = images[torch.arange(size, device=images.device) % len(images)]
        rows = (1.0 - ramp) * chosen + ramp * (1.0 - chosen)
        order = torch.randperm(size, generator=torch.Generator().manual_seed(0)).to(images.device)
        stays = order < half
        moved = torch.cat([rows[:half], 8.0 * rows[half:] - 4.0])[order]  # noise takes pixels that far
        # copies, since a classifier may change what it is given
        first, again, other = (self._output(batch.clone()) for batch in (rows, rows, moved))
        labels = self._labels(self._output(chosen.clone()), size)
        if bool((labels == INVALID).any()):
            raise ClassifierError(
                "the classifier's output on a clean image",
                required=f"scores without NaN, or labels from 0 to {self.num_classes - 1}",
                got="NaN, or a label outside that range",
                remedy="Check the weights, the input range [0, 1] and num_classes.",
            )
        if not _same(first, again, flips=0):
            raise ClassifierError(
                "the classifier",
                required="a function: the same batch gives the same output",
                got="two outputs for one batch",
                remedy="Is dropout active, or noise added inside? Call eval() on the network; noiseproof adds the noise.",
            )
        copies, others = (batch + noise(batch) for batch in (images[:1].expand_as(rows), rows))
        alone = self._output(copies.clone())
        among = self._output(torch.cat([copies[:half], others[half:]])[order])
        pairs = ((first[order[stays]], other[stays]), (alone[order[stays]], among[stays]))
        if not all(_same(one, another, flips=half // 50) for one, another in pairs):
            raise ClassifierError(
                "the classifier's output for an image",
                required="independent of the other images in its batch, or votes are not those of one function",
                got="another output among other images",
                remedy="Is batch normalisation in training mode, or a scale taken from the batch (dynamic quantisation)? "
                "Call eval() on the network before wrapping or exporting it.",
            )
        return RowsCheck.of(pairs)

    def __call__(self, batch: Float[Tensor, "batch *shape"]) -> Int[Tensor, " batch"]:
        """Label every row; rows without a valid output get `INVALID`. Scores tie towards the smaller class."""
        return self._labels(self._output(batch), len(batch))

    def scores(self, batch: Float[Tensor, "batch *shape"]) -> Tensor:
        """Return what the classifier returns, scores or labels, as a tensor of checked shape.

        Raises:
            ClassifierError: as calling it.
        """
        output = self._output(batch)
        self._labels(output, len(batch))
        return output

    def _output(self, batch: Float[Tensor, "batch *shape"]) -> Tensor:
        what = f"a batch of {len(batch)} images of shape {tuple(batch.shape[1:])}"
        try:
            with memory_named(what), torch.inference_mode():
                fed = batch.to(self.runner.device)
                if self.runner.channels_last and fed.ndim == 4:
                    fed = fed.contiguous(memory_format=torch.channels_last)
                return _as_tensor(self.runner(fed.numpy() if self.runner.kind == "numpy" else fed))
        except OutOfMemoryError:
            raise
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
                required=f"able to take a float32 {self.runner.kind} batch of shape {tuple(batch.shape)}",
                got=f"{type(error).__name__}: {error}",
                remedy=_BATCH if batch.ndim < 4 else _KINDS,
            ) from error

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
            remedy="Check num_classes= and what the classifier returns; for a folder with some of the classes, name all: "
            "classes_file=.",
        )


class _NoNumbersError(TypeError):
    """The classifier returned something that holds no numbers."""


def _runner(function: Callable[[Any], Any], kind: Kind, device: torch.device | None) -> Runner:
    if isinstance(function, Runner):
        return function
    return ModuleRunner(function, device) if isinstance(function, nn.Module) else FunctionRunner(function, kind, device)


def _same(one: Tensor, other: Tensor, *, flips: int) -> bool:
    """Whether scores agree up to rounding; of labels, which rounding can flip, so many may differ.

    The usual size of a score leaves out those far beyond the best one, such as -1e9 for classes that are masked.
    """
    if not one.is_floating_point():
        return int((one != other).sum()) <= flips
    sizes = one.abs()
    best = torch.where(one.isfinite(), one, -torch.inf).amax(1, keepdim=True).abs()
    usual = sizes[(sizes <= 100.0 * (1.0 + best)) & one.isfinite()]
    scale = float(usual.median()) if usual.numel() else 0.0
    return bool(torch.isclose(one, other, rtol=_SAME, atol=_SAME * scale, equal_nan=True).all())


def _as_tensor(output: object) -> Tensor:
    if isinstance(output, Tensor):
        return output.detach()
    array = np.asarray(output)
    if array.dtype.kind not in "iuf":
        raise _NoNumbersError(f"{type(output).__name__} of {array.dtype}")
    return torch.as_tensor(array)
