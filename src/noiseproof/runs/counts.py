"""Certify a data set into a record, shard by shard; what is written is never counted again."""

import io
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float

from noiseproof.data import Dataset
from noiseproof.errors import RunError, require_count
from noiseproof.models import model_digest
from noiseproof.randomness import Phase, require_seed
from noiseproof.runs.fingerprint import ANSWERED, require_same_answers
from noiseproof.runs.records import Record, RecordSettings, VoteTable, default_shard_size
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.sampling.counts import Progress
from noiseproof.smoothing import SmoothedClassifier
from noiseproof.storage.provenance import device_name
from noiseproof.storage.stopwatch import Stopwatch

__all__ = ["count_into", "plan", "require_the_recorded", "still_missing", "thumbnail"]

_THUMBNAIL = 64
"""Longest side of the pictures kept for reports; larger images are shrunk to it."""


def count_into(
    record: Record,
    smoothed: SmoothedClassifier,
    dataset: Dataset,
    *,
    shards: Iterable[int] | None = None,
    progress: Progress = lambda _: None,
    on_shard: Callable[[int, VoteTable], None] = lambda _number, _table: None,
    stopwatch: Stopwatch | None = None,
) -> list[int]:
    """Count the votes of every shard that is missing or damaged, and write each when it is complete.

    The votes of an image depend on the record's settings alone, so an interrupted record, continued, ends with the
    votes it would have had without the interruption; a kill loses at most the shard in flight. Several processes may
    work on one record: each takes the shards that no other holds.

    Args:
        record: where the votes go; its settings say what to count.
        smoothed: the classifier and noise of those settings; a callable that is no torch module gets NumPy batches.
        dataset: the data set of those settings.
        shards: which shards to count; None counts all.
        progress: told the number of votes counted since the last call.
        on_shard: called with each shard written and its votes.
        stopwatch: charged with the stages reading, noise, network, counting and writing.

    Returns:
        The shards that were left to another process, which holds them.

    Raises:
        RunError: the noise, classes, network, engine or data set are not those of the record's settings, or the
            classifier gives other answers than when the record was begun.
        ClassifierError: the classifier failed; shards written before stay.
        RunError: a shard could not be written; shards written before stay.
    """
    settings, watch = record.settings, stopwatch or Stopwatch()
    missing = still_missing(record, smoothed, dataset, shards, watch)
    busy = []
    for shard in missing:
        with record.claim(shard) as claimed:
            if not claimed:
                busy.append(shard)
                continue
            if record.holds(shard):
                continue  # another process has counted it since we looked
            begun = time.perf_counter()
            indices = record.shard_indices(shard)
            with watch.stage("reading"):
                images = dataset.read(indices)
            phases = {Phase.SELECT: settings.selection_samples} if settings.selection_samples else {}
            votes = smoothed.counter.count(
                images,
                phases | {Phase.CERTIFY: settings.samples},
                seed=settings.seed,
                indices=indices,
                progress=progress,
                stopwatch=watch,
            )
            with watch.stage("writing"):
                table = VoteTable(
                    index=np.asarray(indices, dtype=np.int64),
                    label=dataset.labels[np.asarray(indices)],
                    votes=votes[Phase.CERTIFY],
                    selection_votes=votes.get(Phase.SELECT),
                    thumbnails=[thumbnail(image) for image in images],
                )
                about = {
                    "batch_size": smoothed.counter.batch_size_for(images.shape[1:]),
                    "seconds": round(time.perf_counter() - begun, 3),
                    "written": datetime.now(UTC).isoformat(timespec="seconds"),
                    "device": device_name(smoothed.classifier.device),
                    "versions": {name: version(name) for name in ("noiseproof", "torch", "numpy")},
                }
                record.write_shard(shard, table, about)
        on_shard(shard, table)
    return busy


def plan(
    dataset: Dataset,
    smoothed: SmoothedClassifier,
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
        smoothed: by what, with which noise.
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
        data=dataset.about(),
        model=dict(model),
        noise=smoothed.noise.spec(),
        num_classes=dataset.num_classes,
        samples=samples,
        selection_samples=selection_samples,
        seed=int(seed),
        start=indices.start,
        stop=indices.stop,
        step=indices.step,
        shard_size=default_shard_size(samples, dataset.image_shape),
        engine=smoothed.counter.settings(),
    )


def still_missing(
    record: Record | SequentialRecord,
    smoothed: SmoothedClassifier,
    dataset: Dataset,
    shards: Iterable[int] | None,
    watch: Stopwatch,
) -> list[int]:
    """Return which of the shards that are asked for are to be made, the classifier being the record's.

    That is asked of a whole record too: its votes are shown as this classifier's. Arguments and errors as `count_into`.
    """
    require_the_recorded(record.settings, smoothed, dataset)
    asked = record.shards if shards is None else list(dict.fromkeys(shards))
    if not asked:
        return []
    with watch.stage("reading"):
        known = dataset.read(record.settings.indices[:ANSWERED])
    require_same_answers(record.path, smoothed, known)
    return record.missing(asked)[0]


def require_the_recorded(
    settings: RecordSettings | SequentialSettings, smoothed: SmoothedClassifier, dataset: Dataset
) -> None:
    """Raise RunError where votes would be recorded as something they are not; a callable's own digest is taken on trust."""
    found: dict[str, object] = {
        "noise": smoothed.noise.spec(),
        "engine": smoothed.counter.settings(),
        "num_classes": smoothed.classifier.num_classes,
        "data": dataset.about(),
    }
    planned = {name: getattr(settings, name) for name in found}
    module = smoothed.classifier.runner.module
    if module is not None:
        found["model digest"] = model_digest(module)
        planned["model digest"] = settings.model.get("digest")
    for name, value in planned.items():
        if value != found[name]:
            raise RunError(
                f"the {name} to be counted",
                required=f"the record's, {value}",
                got=found[name],
                remedy="Pass what the record was planned with, or plan another record.",
            )


def thumbnail(image: Float[np.ndarray, "channels height width"]) -> bytes:
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
