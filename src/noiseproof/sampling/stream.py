"""Streams of batches, such as those of a `torch.utils.data.DataLoader`: never all in memory at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor

from noiseproof.classifiers.inputs import Images
from noiseproof.data import Dataset, IndexedImages
from noiseproof.errors import InvalidInputError

__all__ = ["Stream", "is_stream", "numbered"]

Stream = Iterable[Images | IndexedImages] | Dataset


def is_stream(images: object) -> TypeGuard[Stream]:
    """Whether images come in batches. A list does not count as a stream: it may hold single images."""
    if isinstance(images, Dataset):
        return True
    return isinstance(images, Iterable) and not isinstance(images, Tensor | np.ndarray | Sequence | Mapping)


def numbered(stream: Stream) -> Iterator[tuple[Any, list[int]]]:
    """Yield the images of every batch and their indices.

    A batch is images alone, which are numbered in the order in which they come, from 0; or `IndexedImages`. A pair of
    another kind is refused: its second part might be labels, and might be indices.

    Raises:
        InvalidInputError: a batch of another kind, an index that occurred before, or no batch at all.
    """
    seen: set[int] = set()
    batches = stream.batches() if isinstance(stream, Dataset) else stream
    for batch in batches:
        images, indices = _parts(batch, len(seen))
        repeated = seen.intersection(indices)
        if repeated:
            raise InvalidInputError(
                "indices",
                required="distinct over all batches",
                got=f"{min(repeated)} twice",
                remedy="Equal indices would share noise. Images alone are numbered in order: give indices to all or none.",
            )
        seen.update(indices)
        yield images, indices
    if not seen:
        raise InvalidInputError(
            "images",
            required="at least one batch",
            got="none",
            remedy="A generator can be read once: make a new one for each call.",
        )


def _parts(batch: object, before: int) -> tuple[Any, list[int]]:
    """Return images and indices of a batch that comes after so many images."""
    if isinstance(batch, IndexedImages):
        given = batch.indices
        return batch.images, np.atleast_1d(given.cpu() if isinstance(given, Tensor) else np.asarray(given)).tolist()
    if isinstance(batch, Tensor | np.ndarray) and batch.ndim:
        return batch, list(range(before, before + len(batch)))
    raise InvalidInputError(
        "a batch",
        required="images alone, or noiseproof.data.IndexedImages(images, indices)",
        got=f"a {type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list) else type(batch).__name__,
        remedy="Labels and indices look alike. Of batches (images, labels) in order, pass the images: "
        "(images for images, labels in loader).",
    )
