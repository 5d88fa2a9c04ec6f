"""Lines 2 to 5 of Algorithm 1: noisy copies of many images through the classifier, counted per class."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from noiseproof.classifiers.base import INVALID, BaseClassifier
from noiseproof.classifiers.batching import BatchSize
from noiseproof.classifiers.runners import memory_named
from noiseproof.errors import ClassifierError, OutOfMemoryError
from noiseproof.randomness import Phase
from noiseproof.sampling.rows import Rows, Span
from noiseproof.sampling.sampler import Sampler
from noiseproof.storage.stopwatch import Stopwatch

__all__ = ["Classify", "Progress", "Tally", "classify_rows", "count_votes", "new_batch", "no_valid_label"]

Classify = Callable[[Float[Tensor, "batch *shape"]], Int[Tensor, " batch"]]
Progress = Callable[[int], None]
"""Called with the number of votes that were added since the last call."""


def count_votes(
    classifier: BaseClassifier,
    images: Float[Tensor, "images *shape"],
    sampler: Sampler,
    *,
    samples: Mapping[Phase, int],
    indices: Sequence[int],
    batch: BatchSize,
    progress: Progress | None = None,
    stopwatch: Stopwatch | None = None,
    tally: "Tally | None" = None,
) -> dict[Phase, Int[np.ndarray, "images classes"]]:
    """Count how often the classifier returns each class for an image plus noise.

    votes[i, j] = #{s : f(x_i + z_{i,s}) = j}, s = 0 .. samples - 1, with the noise z_{i,s} a pure function of
    (seed, indices[i], phase, s): see `Sampler`. Batches run across images and phases, always full but for the last,
    which is filled up with copies of its last row to a size that `batch` allows. Votes are added up on the device of
    the images and come back once, at the end. A batch that does not fit the memory is repeated at half its
    size, which all later batches keep.

    Args:
        classifier: maps a batch to labels, `INVALID` where there is none; it sets the memory format of the batches.
        images: float32 in [0, 1], on the device where noise is added.
        sampler: adds the noise; nothing is clipped afterwards.
        samples: votes per image of each phase, 1 or more; phases share no noise.
        indices: the key of each image's noise, usually its index in the data set.
        batch: rows per call of the classifier.
        progress: called after every batch with the votes it added.
        stopwatch: charged with the stages noise, network and counting.
        tally: holds votes to go on with, and returns those so far (`Tally.so_far`).

    Raises:
        ClassifierError: some noisy images got no valid label; says how many, and of which images.
        OutOfMemoryError: not even one row fits, or the batch size is fixed.
    """
    plan, watch = _Plan(indices, samples), stopwatch or Stopwatch()
    columns = classifier.num_classes + 1  # column 0 collects INVALID = -1
    counts = (tally or Tally()).begin(plan, columns, images.device)
    queue = _Queue(images.device)
    done, channels_last = int(counts.sum()), classifier.runner.channels_last
    while done < plan.total:
        rows = Rows(plan.spans(done, batch.images), images.device)
        labels = classify_rows(classifier, images, sampler, rows, batch, channels_last=channels_last, watch=watch)
        if labels is None:
            continue
        with watch.stage("counting"):
            cells = rows.each([plan.row(span) * columns for span in rows.spans]) + labels.to(images.device) + 1
            counts.index_add_(0, cells, torch.ones_like(cells))
            queue.bound()
        done += len(rows)
        if progress is not None:
            progress(len(rows))
    table = counts.cpu().numpy().reshape(len(images), len(plan.phases), columns)
    invalid = table[:, :, INVALID + 1].sum(1)
    if invalid.any():
        affected = np.flatnonzero(invalid)
        raise no_valid_label(
            classifier.num_classes, f"{invalid.sum()} of {plan.total} without, first at image {indices[affected[0]]}"
        )
    return {phase: np.ascontiguousarray(table[:, i, INVALID + 2 :]) for i, phase in enumerate(plan.phases)}


def classify_rows(
    classify: Classify,
    images: Float[Tensor, "images *shape"],
    sampler: Sampler,
    rows: Rows,
    batch: BatchSize,
    *,
    channels_last: bool,
    watch: Stopwatch,
) -> Int[Tensor, " rows"] | None:
    """Classify the rows of one batch, filled up with copies of its last row to a size that `batch` allows.

    Args:
        classify: maps a batch to labels, `INVALID` where there is none.
        images: see `count_votes`.
        sampler: adds the noise.
        rows: which noisy copies, `batch.images` at most.
        batch: how many rows; halved where they do not fit the memory.
        channels_last: whether batches of images are stored channels-last.
        watch: charged with the stages noise and network.

    Returns:
        Labels; None where memory ran out, to be repeated with fewer rows.

    Raises:
        OutOfMemoryError: not even one row fits, or the batch size is fixed.
    """
    try:
        with watch.stage("noise"), memory_named(f"a batch of {batch.images} images"):
            noisy = new_batch(images, batch.holding(len(rows)), channels_last=channels_last)
            sampler.fill(noisy, images, rows)
            noisy[len(rows) :] = noisy[len(rows) - 1]
        with watch.stage("network"):
            return classify(noisy)[: len(rows)]
    except OutOfMemoryError as error:
        batch.halve(error)
        return None


def no_valid_label(num_classes: int, got: str) -> ClassifierError:
    """Return the error for noisy images that got no valid label; `got` says how many, and of which image."""
    return ClassifierError(
        "the classifier's output",
        required=f"scores without NaN, or labels from 0 to {num_classes - 1}, for every noisy image",
        got=got,
        remedy="Number classes from 0. Noisy pixels may leave [0, 1]: the classifier must accept any finite input.",
    )


def new_batch(
    images: Float[Tensor, "images *shape"], size: int, *, channels_last: bool
) -> Float[Tensor, "size *shape"]:
    """Return memory for a batch: its own for every batch, since a classifier may keep or change what it is given."""
    layout = torch.channels_last if channels_last and images.ndim == 4 else torch.contiguous_format
    return torch.empty((size, *images.shape[1:]), dtype=images.dtype, device=images.device, memory_format=layout)


class Tally:
    """The votes so far of a count that may be interrupted at any moment and resumed.

    Args:
        kept: what `so_far` returned before, of the same images, samples and seed.
    """

    def __init__(self, kept: Mapping[int, Int[np.ndarray, " counts"]] | None = None) -> None:
        self._kept = dict(kept or {})
        self._indices: list[int] = []
        self._counts = torch.zeros(0, 0, dtype=torch.int64)

    def begin(self, plan: "_Plan", columns: int, device: torch.device) -> Int[Tensor, " cells"]:
        """Return the table of counts, with the kept votes if they are valid and the first of this plan."""
        self._indices, rows = [int(index) for index in plan.indices], len(plan.phases) * columns
        table = np.zeros((len(self._indices), rows), dtype=np.int64)
        for row, index in enumerate(self._indices):
            if (found := self._kept.get(index)) is not None and found.shape == (rows,):
                table[row] = found
        lines = table.reshape(len(table) * len(plan.phases), columns)
        counted = lines.sum(1)
        if lines[:, INVALID + 1].any() or (counted != plan.counted(int(counted.sum()))).any():
            table[:] = 0
        self._counts = torch.as_tensor(table, device=device)
        return self._counts.view(-1)

    def so_far(self) -> dict[int, Int[np.ndarray, " counts"]]:
        """Return the counts of the images that have some, by index: for every phase, of no label and of each class."""
        table = self._counts.cpu().numpy()
        return {index: counts for index, counts in zip(self._indices, table, strict=True) if counts.any()}


@dataclass(frozen=True)
class _Plan:
    """All votes in one line: image by image, phase by phase, sample by sample."""

    indices: Sequence[int]
    samples: Mapping[Phase, int]

    @property
    def phases(self) -> list[Phase]:
        return list(self.samples)

    @property
    def total(self) -> int:
        return len(self.indices) * sum(self.samples.values())

    def counted(self, done: int) -> Int[np.ndarray, " lines"]:
        """How many of the first `done` votes each line of the table has."""
        sizes = np.tile(list(self.samples.values()), len(self.indices))
        counted: Int[np.ndarray, " lines"] = np.clip(done - (np.cumsum(sizes) - sizes), 0, sizes)
        return counted

    def row(self, span: Span) -> int:
        """The line of the table that a span counts into."""
        return span.image * len(self.samples) + self.phases.index(span.phase)

    def spans(self, start: int, size: int) -> list[Span]:
        """The spans from vote `start` on, `size` votes or all that are left."""
        return list(self._from(start, min(start + size, self.total)))

    def _from(self, start: int, stop: int) -> Iterator[Span]:
        per_image = sum(self.samples.values())
        for image in range(start // per_image, -(-stop // per_image)):
            begin = image * per_image
            for phase, samples in self.samples.items():
                first, last = max(start, begin), min(stop, begin + samples)
                if first < last:
                    yield Span(image, int(self.indices[image]), phase, first - begin, last - first)
                begin += samples


class _Queue:
    """Lets the host run a few batches ahead of a GPU, and no more: progress stays true and Ctrl-C works."""

    _AHEAD = 8

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: deque[torch.cuda.Event] = deque()

    def bound(self) -> None:
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)
        if len(self._events) > self._AHEAD:
            self._events.popleft().synchronize()
