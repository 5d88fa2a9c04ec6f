"""Shards while they are made: claimed lazily, computed part by part, kept every half minute, written with their last row."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from noiseproof.data import Dataset
from noiseproof.runs.identity import fingerprints
from noiseproof.runs.listener import Listener
from noiseproof.runs.running import Running
from noiseproof.runs.store import CLASSIFIER
from noiseproof.runs.tables import Table
from noiseproof.storage.provenance import device_name
from noiseproof.storage.stopwatch import Stopwatch

__all__ = ["Pace", "Shard", "ShardWriter"]

KEEP_EVERY = 30.0
"""Seconds after which unfinished work is kept, and that one part should take: a kill costs both together at most."""


_MOST = 32
"""Images in a part at most: larger parts are no faster, and later images may take much longer than earlier ones."""


class Pace:
    """How many images are computed together: as many as take half a minute, by the slower of the last two parts."""

    def __init__(self) -> None:
        self.images = 1
        self._before = 0.0

    def took(self, images: int, seconds: float) -> None:
        """Record how long a part took; the next part has at most twice as many images."""
        each = seconds / images
        slower, self._before = max(each, self._before), each
        self.images = max(1, int(min(2 * self.images, _MOST, KEEP_EVERY / max(slower, 1e-9))))


@dataclass(eq=False)
class Shard:
    """A shard while it is made.

    Attributes:
        number: of the shard.
        indices: its images in the data set.
        votes: what was counted so far, by index; a certification goes on with them.
        rows: those of its first images, of a job that makes rows image by image; None before the first.
        begun: when it was claimed.
    """

    number: int
    indices: Sequence[int]
    votes: dict[int, Int[np.ndarray, "*moments classes"]]
    rows: Table | None
    dataset: Dataset
    watch: Stopwatch
    pace: Pace
    claim: ExitStack
    begun: float = field(default_factory=time.perf_counter)

    @cached_property
    def images(self) -> Float[np.ndarray, "images *shape"]:
        """Its images, read when they are needed."""
        with self.watch.stage("reading"):
            return self.dataset.read(self.indices)

    @property
    def labels(self) -> Int[np.ndarray, " images"]:
        """Their classes."""
        labels: Int[np.ndarray, " images"] = self.dataset.labels[np.asarray(self.indices)]
        return labels

    @property
    def files(self) -> list[str] | None:
        """The names of its images' files; None where the data have none."""
        names = self.dataset.file_names
        return None if names is None else [names[index] for index in self.indices]

    @property
    def done(self) -> int:
        """How many of its images have rows."""
        return 0 if self.rows is None else len(self.rows)

    def parts(self, together: int | None = None) -> Iterator[slice]:
        """Yield the images to compute next, beginning with the first that has no row, until all have rows.

        Args:
            together: how many at once; None: as many as take half a minute, for rows that do not depend on it.
        """
        while (first := self.done) < len(self.indices):
            part = slice(first, min(first + (together or self.pace.images), len(self.indices)))
            begun = time.perf_counter()
            yield part
            self.pace.took(part.stop - first, time.perf_counter() - begun)


class ShardWriter:
    """Opens shards as a job needs them, keeps what is made of them, and writes each with its last row.

    Attributes:
        record: where they go.
        listener: is told of every step.
        watch: charged with the stages reading and writing.
        busy: shards that other processes hold.
        open: shards that are being made, by number.
        so_far: the votes so far of images that are being sampled, by index; set by a job that goes on with them.
    """

    def __init__(
        self, record: Any, running: Running, shards: list[int], claims: ExitStack, listener: Listener, watch: Stopwatch
    ) -> None:
        self.record, self.listener, self.watch = record, listener, watch
        self.busy: list[int] = []
        self.so_far: Callable[[], Mapping[int, Int[np.ndarray, "*moments classes"]]] | None = None
        self._running, self._dataset = running, running.subject.dataset
        self._left, self._claims = shards, claims
        self.open: dict[int, Shard] = {}
        self._pace = Pace()
        self._kept = time.perf_counter()

    def shards(self) -> Iterator[Shard]:
        """Claim and yield shard after shard, except those that other processes hold or have made in the meantime."""
        for number in self._left:
            claim = self._claims.enter_context(ExitStack())
            if not claim.enter_context(self.record.claim(number)):
                self.busy.append(number)
            elif self.record.holds(number):
                claim.close()
            else:
                shard = self.open[number] = Shard(
                    number,
                    self.record.shard_indices(number),
                    self.record.kept(number),
                    self.record.kept_rows(number),
                    self._dataset,
                    self.watch,
                    self._pace,
                    claim,
                )
                self.listener.kept(sum(int(np.atleast_2d(each)[0].sum()) for each in shard.votes.values()), shard.done)
                if shard.rows is not None and shard.done == len(shard.indices):  # a kill came before they were written
                    self._write(shard, shard.rows)
                else:
                    yield shard

    def progress(self, count: int) -> None:
        """Record that so many votes were counted; every half minute the votes so far are kept."""
        self.listener.progress(count)
        if self.so_far is not None:
            self._keep_if_due()

    def take(self, shard: Shard, rows: Table) -> None:
        """Add the next rows of a shard: unfinished shards are kept every half minute, a complete one is written."""
        shard.rows = rows if shard.rows is None else type(rows).joined([shard.rows, rows])
        if len(shard.rows) == len(shard.indices):
            self._write(shard, shard.rows)
        else:
            self._keep_if_due()

    def keep(self) -> None:
        """Keep the rows of all open shards, or the votes of their images that are being sampled or are decided."""
        with self.watch.stage("writing"):
            sampled = {} if self.so_far is None else self.so_far()
            for number, shard in self.open.items():
                votes = shard.votes | {index: sampled[index] for index in shard.indices if index in sampled}
                if shard.rows is not None:
                    self.record.keep_rows(number, shard.rows)
                elif votes:
                    self.record.keep(number, votes)

    def _keep_if_due(self) -> None:
        if time.perf_counter() - self._kept >= KEEP_EVERY:
            self.keep()
            self._kept = time.perf_counter()

    def _write(self, shard: Shard, rows: Table) -> None:
        """Write a shard and release its claim."""
        with self.watch.stage("writing"):
            about = {
                "batch_size": self._running.batch_size_for(self._dataset.image_shape),
                "seconds": round(time.perf_counter() - shard.begun, 3),
                "written": datetime.now(UTC).isoformat(timespec="seconds"),
                "device": device_name(self._running.device),
                "versions": {name: version(name) for name in ("noiseproof", "torch", "numpy")},
            }
            if (carried := next(iter(fingerprints(self.record.path)), None)) is not None:
                about[CLASSIFIER] = carried
            self.record.write_shard(shard.number, rows, about=about)
        del self.open[shard.number]
        shard.claim.close()
        self.listener.shard(shard.number, rows)
