"""Lines 2 to 5 of Algorithm 1: noisy copies of many images through the classifier, counted per class."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from noiseproof.classifier import INVALID
from noiseproof.errors import ClassifierError
from noiseproof.noises import Noise
from noiseproof.randomness import KeyedStream, Phase

__all__ = ["Classify", "Progress", "count_votes", "default_batch_size"]

Classify = Callable[[Float[Tensor, "batch *shape"]], Int[Tensor, " batch"]]
Progress = Callable[[int], None]
"""Called with the number of votes that were added since the last call."""

_PIXELS_PER_BATCH = 2**18


def default_batch_size(image_shape: Sequence[int]) -> int:
    """Choose about 260 000 pixels a batch, between 32 and 1024 images.

    Measured on two cores: the digits network peaks at 1024 images of 64 pixels and loses a third at 4096, since
    activations no longer fit the cache. Large images keep memory within reach: 32 of 224 x 224 x 3 pixels.
    """
    return int(np.clip(_PIXELS_PER_BATCH // max(1, int(np.prod(image_shape))), 32, 1024))


def count_votes(
    classify: Classify,
    images: Float[Tensor, "images *shape"],
    noise: Noise,
    *,
    num_classes: int,
    samples: int,
    seed: int,
    indices: Sequence[int],
    phase: Phase = Phase.CERTIFY,
    batch_size: int,
    progress: Progress | None = None,
) -> Int[np.ndarray, "images {num_classes}"]:
    """Count how often each class is the answer to an image plus noise.

    votes[i, j] = #{s : f(x_i + z_{i,s}) = j}, s = 0 .. samples - 1, with the noise z_{i,s} a pure function of
    (seed, indices[i], phase, s): see `KeyedStream`. Batches run across images, always full but for the last, which is
    filled up with copies of its last row, so that the classifier sees one batch shape.

    Args:
        classify: maps a batch to labels, `INVALID` where there is none.
        images: float32 in [0, 1], on the CPU.
        noise: added to every pixel; nothing is clipped afterwards.
        num_classes: k.
        samples: votes per image, n >= 1.
        seed: key of the noise, 0 to 2^64 - 1.
        indices: the key of each image's noise, usually its index in the data set.
        phase: votes of different phases share no noise.
        batch_size: rows per call of `classify`.
        progress: told of every batch.

    Raises:
        ClassifierError: some noisy images got no valid label; says how many, and of which images.
    """
    counts = torch.zeros(len(images) * (num_classes + 1), dtype=torch.int64)
    for batch, owners in _batches(images, noise, samples, KeyedStream(seed), indices, phase, batch_size):
        labels = classify(batch)[: len(owners)]
        cells = owners.to(labels.device) * (num_classes + 1) + labels + 1  # column 0 collects INVALID = -1
        counts = counts.to(labels.device)
        counts += torch.bincount(cells, minlength=len(counts))
        if progress is not None:
            progress(len(owners))
    table = counts.cpu().numpy().reshape(len(images), num_classes + 1)
    invalid, votes = table[:, INVALID + 1], table[:, INVALID + 2 :]
    if invalid.any():
        affected = np.flatnonzero(invalid)
        raise ClassifierError(
            "the classifier's output",
            required=f"scores without NaN, or labels from 0 to {num_classes - 1}, for every noisy image",
            got=f"{invalid.sum()} of {samples * len(images)} without, first at image {indices[affected[0]]}",
            remedy="Number classes from 0. Pixels leave [0, 1] once noise is added: the classifier must bear any finite input.",
        )
    return np.ascontiguousarray(votes)


def _batches(
    images: Float[Tensor, "images *shape"],
    noise: Noise,
    samples: int,
    stream: KeyedStream,
    indices: Sequence[int],
    phase: Phase,
    batch_size: int,
) -> Iterator[tuple[Float[Tensor, "batch *shape"], Int[Tensor, " rows"]]]:
    """Yield full batches of noisy copies with the position of each row's image; owners are fewer on the last."""
    total = samples * len(images)
    size = min(batch_size, total)
    batch, owners, filled = images.new_empty((size, *images.shape[1:])), torch.empty(size, dtype=torch.int64), 0
    for part in _blocks(images, noise, samples, stream, indices, phase):
        start = 0
        while start < len(part.rows):
            stop = start + min(size - filled, len(part.rows) - start)
            rows = slice(filled, filled + stop - start)
            batch[rows] = part.rows[start:stop]
            owners[rows] = part.owner
            filled, start = rows.stop, stop
            if filled == size:
                yield batch, owners
                # The classifier may keep or change what it is given, so every batch is its own memory.
                batch, owners, filled = torch.empty_like(batch), torch.empty_like(owners), 0
    if filled:
        batch[filled:] = batch[filled - 1]
        yield batch, owners[:filled]


@dataclass(frozen=True)
class _Block:
    rows: Float[Tensor, "rows *shape"]
    owner: int


def _blocks(
    images: Float[Tensor, "images *shape"],
    noise: Noise,
    samples: int,
    stream: KeyedStream,
    indices: Sequence[int],
    phase: Phase,
) -> Iterator[_Block]:
    for owner, (image, index) in enumerate(zip(images, indices, strict=True)):
        for generator, rows in stream.blocks(int(index), phase, samples):
            like = image.expand(rows, *image.shape)
            yield _Block(noise.sample(like, generator).add_(image), owner)
