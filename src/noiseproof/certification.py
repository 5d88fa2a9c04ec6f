"""Certify a data set into a record, shard by shard; what is written is never counted again."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from noiseproof.data import Dataset
from noiseproof.errors import RunError, require_count
from noiseproof.models import model_digest
from noiseproof.noises import Noise
from noiseproof.randomness import Phase, require_seed
from noiseproof.records import Record, RecordSettings, VoteTable, default_shard_size
from noiseproof.sampling import Progress
from noiseproof.smoothing import SmoothedClassifier

__all__ = ["count_into", "plan"]

_THUMBNAIL = 64
"""Longest side of the pictures kept for reports; larger images are shrunk to it."""


def count_into(
    record: Record,
    smoothed: SmoothedClassifier,
    dataset: Dataset,
    *,
    progress: Progress = lambda _: None,
    on_shard: Callable[[int, VoteTable], None] = lambda _number, _table: None,
) -> None:
    """Count the votes of every shard that is missing or damaged, and write each when it is complete.

    The votes of an image depend on the record's settings alone, so an interrupted record, continued, ends with the
    votes it would have had without the interruption; a kill loses at most the shard in flight.

    Args:
        record: where the votes go; its settings say what to count.
        smoothed: the classifier and noise of those settings; a callable that is no torch module gets NumPy batches.
        dataset: the data set of those settings.
        progress: told the number of votes counted since the last call.
        on_shard: called with each shard written and its votes.

    Raises:
        RunError: the noise, classes, network or data set are not those of the record's settings.
        ClassifierError: the classifier failed; shards written before stay.
        RunError: a shard could not be written; shards written before stay.
    """
    settings = record.settings
    _require_the_recorded(settings, smoothed, dataset)
    missing, _ = record.missing()
    for shard in missing:
        indices = record.shard_indices(shard)
        images = dataset.read(indices)
        selection = None
        if settings.selection_samples:
            selection = smoothed.count(
                images,
                samples=settings.selection_samples,
                seed=settings.seed,
                indices=indices,
                phase=Phase.SELECT,
                progress=progress,
            )
        votes = smoothed.count(images, samples=settings.samples, seed=settings.seed, indices=indices, progress=progress)
        table = VoteTable(
            index=np.asarray(indices, dtype=np.int64),
            label=dataset.labels[np.asarray(indices)],
            votes=votes,
            selection_votes=selection,
            thumbnails=[_thumbnail(image) for image in images],
        )
        record.write_shard(shard, table)
        on_shard(shard, table)


def plan(
    dataset: Dataset,
    noise: Noise,
    *,
    model: Mapping[str, Any],
    samples: int,
    selection_samples: int,
    seed: int = 0,
    every: int = 1,
    limit: int | None = None,
) -> RecordSettings:
    """Return the settings of a record of this data set: the first `limit` of every `every`-th image.

    Args:
        dataset: what is certified.
        noise: with which.
        model: name and digest of the classifier, for the record.
        samples: votes per image.
        selection_samples: votes of the selection phase; 0 for none.
        seed: key of the noise.
        every: takes every n-th image, spread over the data set.
        limit: at most so many images.

    Raises:
        InvalidInputError: a count below 1 (0 for selection_samples).
    """
    require_seed(seed)
    counts = {"samples": (samples, 1), "selection_samples": (selection_samples, 0), "every": (every, 1)}
    for name, (value, least) in (counts | {"limit": (1 if limit is None else limit, 1)}).items():
        require_count(name, value, least, "Pass another one.")
    indices = range(0, len(dataset), every)[:limit]
    return RecordSettings(
        data={"name": dataset.name, "split": dataset.split, "digest": dataset.digest()},
        model=dict(model),
        noise=noise.spec(),
        num_classes=dataset.num_classes,
        samples=samples,
        selection_samples=selection_samples,
        seed=seed,
        start=indices.start,
        stop=indices.stop,
        step=indices.step,
        shard_size=default_shard_size(samples),
    )


def _require_the_recorded(settings: RecordSettings, smoothed: SmoothedClassifier, dataset: Dataset) -> None:
    """Raise RunError where votes would be recorded as something they are not; a callable's own digest is taken on trust."""
    found: dict[str, object] = {
        "noise": smoothed.noise.spec(),
        "num_classes": smoothed.classifier.num_classes,
        "data": {"name": dataset.name, "split": dataset.split, "digest": dataset.digest()},
    }
    planned = {name: getattr(settings, name) for name in found}
    if isinstance(smoothed.classifier.function, nn.Module):
        found["model digest"] = model_digest(smoothed.classifier.function)
        planned["model digest"] = settings.model.get("digest")
    for name, value in planned.items():
        if value != found[name]:
            raise RunError(
                f"the {name} to be counted",
                required=f"the record's, {value}",
                got=found[name],
                remedy="Pass what the record was planned with, or plan another record.",
            )


def _thumbnail(image: Float[np.ndarray, "channels height width"]) -> bytes:
    """Encode one image as a PNG of at most 64 pixels a side; empty for arrays that are no picture."""
    from PIL import Image

    channels = image.shape[0]
    if channels not in {1, 3}:
        return b""
    pixels = np.rint(image * 255.0).astype(np.uint8)
    picture = Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
