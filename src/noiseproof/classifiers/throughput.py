"""Throughput and accuracy of a network on this machine, in each precision."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from noiseproof.classifiers.base import BaseClassifier
from noiseproof.errors import OutOfMemoryError

__all__ = ["Throughput", "find_batch_size", "images_per_second", "measure_throughput"]

_GAIN = 1.05
"""A batch twice as large must be faster by this factor to be taken: smaller ones waste less and fit more machines."""

_LARGEST = 4096


@dataclass(frozen=True)
class Throughput:
    """One precision on this machine.

    Attributes:
        name: precision, and whether compiled.
        images_per_second: of the network alone, at the batch size of the run.
        noisy_accuracy: part of the noisy images that got their true label.
        agreement: part that got the label of the first form measured, float32.
        images: how many noisy images the two are of.
    """

    name: str
    images_per_second: float
    noisy_accuracy: float
    agreement: float
    images: int


def images_per_second(
    classifier: Callable[[Tensor], Tensor], batch: Float[Tensor, "batch *shape"], seconds: float = 0.3
) -> float:
    """Return the images per second of a classifier: in the fastest of at least three batches, over about `seconds`.

    The fastest, not the mean: other work on the machine can only slow a batch down.
    """
    for _ in range(2):  # the first compiles, the second fills caches
        _timed(classifier, batch)
    fastest, spent, batches = math.inf, 0.0, 0
    while batches < 3 or spent < seconds:
        taken = _timed(classifier, batch)
        fastest, spent, batches = min(fastest, taken), spent + taken, batches + 1
    return len(batch) / fastest


def measure_throughput(
    name: str,
    classifier: BaseClassifier,
    noisy: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    batch_size: int,
    reference: Int[Tensor, " images"] | None = None,
) -> tuple[Throughput, Int[Tensor, " images"]]:
    """Measure one classifier; return its throughput and its labels, for comparison with later ones.

    Args:
        name: for the table.
        classifier: what is measured.
        noisy: noisy images; those beyond the last whole batch are left out.
        labels: their true labels.
        batch_size: rows per batch.
        reference: labels to agree with; None takes its own.
    """
    whole = len(noisy) // batch_size * batch_size
    found = torch.cat([classifier(batch.clone()).cpu() for batch in torch.split(noisy[:whole], batch_size)])
    speed = images_per_second(classifier, noisy[:batch_size])
    accuracy = float((found == labels[:whole]).double().mean())
    agreement = 1.0 if reference is None else float((found == reference[:whole]).double().mean())
    return Throughput(name, speed, accuracy, agreement, whole), found


def find_batch_size(
    classifier: Callable[[Tensor], Tensor], image_shape: Sequence[int], device: torch.device, *, start: int
) -> int:
    """Double the batch from `start` while that makes the classifier at least 5 % faster and memory suffices."""
    size, best = start, 0.0
    while True:
        batch = torch.rand((size, *image_shape), device=device)
        try:
            speed = images_per_second(classifier, batch)
        except OutOfMemoryError:
            return max(1, size // 2)
        if speed < _GAIN * best:
            return size // 2
        if size >= _LARGEST:
            return size
        size, best = 2 * size, speed


def _timed(classifier: Callable[[Tensor], Tensor], batch: Tensor) -> float:
    begun = time.perf_counter()
    classifier(batch).sum().item()  # the item waits for a GPU
    return time.perf_counter() - begun
