"""Decide a data set into a record: images of many shards share every batch, and leave as they are decided."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from noiseproof.certified import require_enough_samples
from noiseproof.classifiers.inputs import as_pixels
from noiseproof.data import Dataset
from noiseproof.errors import RunError, require_count
from noiseproof.randomness import require_seed
from noiseproof.runs.counts import still_missing, thumbnail
from noiseproof.runs.fingerprint import ANSWERED
from noiseproof.runs.records import VoteTable, default_shard_size
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.sampling.counts import Progress
from noiseproof.sampling.scheduler import Arrival
from noiseproof.sequential import StoppingRule
from noiseproof.smoothing import SmoothedClassifier
from noiseproof.storage.provenance import device_name
from noiseproof.storage.stopwatch import Stopwatch

__all__ = ["TYPICAL_VOTES", "decide_into", "plan_decision"]

_KEEP_EVERY = 30.0
"""Seconds after which the votes so far are written: what a kill can cost."""

TYPICAL_VOTES = 1_000
"""Votes an image, on average: what shards are sized for."""

_LEAST = 16
"""Images per shard at least. A shard that is open holds a file, and large batches take in thousands of images at once."""


def plan_decision(
    dataset: Dataset,
    smoothed: SmoothedClassifier,
    rule: StoppingRule,
    *,
    model: dict[str, Any],
    seed: int = 0,
    every: int = 1,
    limit: int | None = None,
) -> SequentialSettings:
    """Return the settings of a record of this data set: the first `limit` of every `every`-th image.

    Args:
        dataset: what is certified.
        smoothed: by what, with which noise.
        rule: when sampling ends, and what the votes then prove.
        model: name and digest of the classifier, for the record.
        seed: key of the noise.
        every: takes every n-th image, spread over the data set.
        limit: at most so many images.

    Raises:
        InvalidInputError: a count below 1, a cap with which nothing could be certified, or radii out of this noise's reach.
    """
    require_seed(seed)
    for name, value in {"every": every, "limit": 1 if limit is None else limit}.items():
        require_count(name, value, 1, "Pass another one.")
    needed = rule.under(smoothed.noise).votes_needed(dataset.num_classes)
    require_enough_samples(rule.max_samples, needed, rule.alpha, name="max_samples")
    indices = range(0, len(dataset), every)[:limit]
    return SequentialSettings(
        data=dataset.about(),
        model=dict(model),
        noise=smoothed.noise.spec(),
        num_classes=dataset.num_classes,
        procedure=rule.spec(),
        seed=int(seed),
        start=indices.start,
        stop=indices.stop,
        step=indices.step,
        shard_size=max(_LEAST, default_shard_size(min(rule.max_samples, TYPICAL_VOTES), dataset.image_shape)),
        engine=smoothed.counter.settings(),
    )


def decide_into(
    record: SequentialRecord,
    smoothed: SmoothedClassifier,
    dataset: Dataset,
    *,
    shards: Iterable[int] | None = None,
    progress: Progress = lambda _: None,
    on_image: Callable[[int], None] = lambda _votes: None,
    on_shard: Callable[[int, VoteTable], None] = lambda _number, _table: None,
    stopwatch: Stopwatch | None = None,
) -> list[int]:
    """Sample the images of every shard that is missing or damaged until they are decided, and write it when all are.

    An image's votes depend on the record's settings alone. The votes so far are kept every half minute and when it is
    interrupted, so that it goes on in the middle of an image. Several processes may work on one record: each takes the
    shards that no other holds.

    Args:
        record: where the votes go; its settings say what to decide.
        smoothed: the classifier and noise of those settings; a callable that is no torch module gets NumPy batches.
        dataset: the data set of those settings.
        shards: which shards; None takes all.
        progress: told the number of votes drawn since the last call.
        on_image: called with the votes of each image that is decided, those of earlier runs included.
        on_shard: called with each shard written and its votes.
        stopwatch: charged with the stages reading, noise, network, counting and writing.

    Returns:
        The shards that were left to another process, which holds them.

    Raises:
        RunError: the noise, classes, network, engine or data set are not those of the record's settings, the classifier
            gives other answers than when the record was begun, or a shard could not be written; those written stay.
        ClassifierError: the classifier failed; shards written before stay.
    """
    settings, watch = record.settings, stopwatch or Stopwatch()
    missing = still_missing(record, smoothed, dataset, shards, watch)
    if not missing:
        return []
    with watch.stage("reading"):
        known = dataset.read(settings.indices[:ANSWERED])
    kept = time.perf_counter()

    def drawn(votes: int) -> None:
        nonlocal kept
        progress(votes)
        if time.perf_counter() - kept >= _KEEP_EVERY:
            keep()
            kept = time.perf_counter()

    scheduler = smoothed.counter.scheduler(
        known, record.test.criterion, seed=settings.seed, progress=drawn, stopwatch=watch
    )

    def keep() -> None:
        with watch.stage("writing"):
            writer.keep(scheduler.snapshot())

    with ExitStack() as claims:
        writer = _ShardWriter(record, dataset, missing, scheduler.device, watch, claims)
        try:
            for departure in scheduler.run(writer.arrivals()):
                shard = writer.note(departure.index, departure.votes)
                on_image(int(departure.votes.sum()))
                if shard is not None:
                    about = {
                        "batch_size": smoothed.counter.batch_size_for(shard.images.shape[1:]),
                        "seconds": round(time.perf_counter() - shard.begun, 3),
                        "written": datetime.now(UTC).isoformat(timespec="seconds"),
                        "device": device_name(smoothed.classifier.device),
                        "versions": {name: version(name) for name in ("noiseproof", "torch", "numpy")},
                    }
                    on_shard(shard.number, writer.close(shard, about))
        except BaseException as failure:
            try:
                keep()
            except RunError as another:  # what failed first is what is told
                failure.add_note(f"The votes so far were not kept: {another}")
            raise
    return writer.busy


@dataclass
class _Shard:
    """A shard that is being decided."""

    number: int
    indices: range
    images: Float[np.ndarray, "images *shape"]
    claim: ExitStack
    votes: dict[int, Int[np.ndarray, " classes"]]
    done: set[int] = field(default_factory=set)
    begun: float = field(default_factory=time.perf_counter)


class _ShardWriter:
    """Opens shards as images are asked for, and closes them as their last image is decided."""

    def __init__(
        self,
        record: SequentialRecord,
        dataset: Dataset,
        missing: list[int],
        device: torch.device,
        watch: Stopwatch,
        claims: ExitStack,
    ) -> None:
        self.busy: list[int] = []
        self._record, self._dataset, self._missing = record, dataset, missing
        self._device, self._watch, self._claims = device, watch, claims
        self._open: dict[int, _Shard] = {}
        self._of: dict[int, int] = {}

    def arrivals(self) -> Iterator[Arrival]:
        """Yield the images of shard after shard, each with the votes that are kept of it."""
        for number in self._missing:
            shard = self._take(number)
            if shard is None:
                continue
            none = np.zeros(self._record.settings.num_classes, dtype=np.int64)
            for index, pixels in zip(shard.indices, as_pixels(shard.images), strict=True):
                yield Arrival(index, pixels.to(self._device), shard.votes.get(index, none))

    def note(self, index: int, votes: Int[np.ndarray, " classes"]) -> _Shard | None:
        """Take note of a decided image; returns its shard if it was the last one."""
        shard = self._open[self._of[index]]
        shard.votes[index] = votes
        shard.done.add(index)
        return shard if len(shard.done) == len(shard.indices) else None

    def close(self, shard: _Shard, about: dict[str, Any]) -> VoteTable:
        """Write a shard, and let go of it."""
        with self._watch.stage("writing"):
            table = VoteTable(
                index=np.asarray(shard.indices, dtype=np.int64),
                label=self._dataset.labels[np.asarray(shard.indices)],
                votes=np.stack([shard.votes[index] for index in shard.indices]),
                selection_votes=None,
                thumbnails=[thumbnail(image) for image in shard.images],
            )
            self._record.write_shard(shard.number, table, about)
        del self._open[shard.number]
        shard.claim.close()
        return table

    def keep(self, votes: dict[int, Int[np.ndarray, " classes"]]) -> None:
        """Write the votes so far of all open shards: of the images on hand, and of those that are decided."""
        for shard in self._open.values():
            mine = {index: votes[index] for index in shard.indices if index in votes}
            self._record.keep(shard.number, shard.votes | mine)

    def _take(self, number: int) -> _Shard | None:
        """Claim and read a shard; None where another process holds it, or has decided it since we looked."""
        claim = self._claims.enter_context(ExitStack())
        if not claim.enter_context(self._record.claim(number)):
            self.busy.append(number)
            return None
        if self._record.holds(number):
            claim.close()
            return None
        indices = self._record.shard_indices(number)
        with self._watch.stage("reading"):
            images = self._dataset.read(indices)
        self._of |= dict.fromkeys(indices, number)
        self._open[number] = _Shard(number, indices, images, claim, self._record.kept(number))
        return self._open[number]
