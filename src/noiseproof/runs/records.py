"""The only on-disk format of a certification: its configuration, and the votes of every image.

    RUN/record.json           what was certified, and how
    RUN/votes/00000.parquet   index, label, votes per class, selection votes per class, a small picture

Votes are the truth; probabilities and radii are computed from them, under any bound, certificate and alpha.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from noiseproof.bounds import Bound
from noiseproof.certificates import Certificate
from noiseproof.certified import DEFAULT_BOUND, DEFAULT_CERTIFICATE, Certified, certify_votes
from noiseproof.noises import Noise, from_spec
from noiseproof.runs.store import ShardedRecord, ShardSettings, as_counts, as_matrix, require_sums

__all__ = ["DATA_IMAGES", "FORMAT", "Record", "RecordSettings", "VoteTable", "default_shard_size", "recertify"]

DATA_IMAGES = "data_images"
"""Where `Record.about` has the number of images of the whole data set."""

FORMAT = 2
"""Version of this layout; a record of a newer one is refused. Format 1 had no engine among its settings."""

_PIXELS_PER_SHARD = 2e8


def default_shard_size(samples: int, image_shape: Sequence[int]) -> int:
    """Choose images per shard so that a kill loses minutes: 250 000 votes of 28 x 28 pixels, 1300 of 3 x 224 x 224."""
    votes = _PIXELS_PER_SHARD / max(1, int(np.prod(image_shape)))
    return int(np.clip(votes // samples, 1, 256))


@dataclass(frozen=True)
class RecordSettings(ShardSettings):
    """What decides the votes. Two records with equal settings hold equal votes.

    Attributes:
        data: name, split, digest, image shape of the data set.
        model: name and digest of the classifier.
        noise: `Noise.spec()`.
        num_classes: k.
        samples: n, votes per image.
        selection_samples: votes per image of the selection phase; 0 for none.
        seed: key of the noise.
        start: index of the first image.
        stop: index after the last.
        step: every how many images one is taken.
        shard_size: images per file.
        engine: how the classifier ran and noise was drawn, `VoteCounter.settings()`; None in records of format 1,
            which can be read and not continued.
    """

    data: Mapping[str, Any]
    model: Mapping[str, Any]
    noise: Mapping[str, Any]
    num_classes: int
    samples: int
    selection_samples: int
    seed: int
    start: int
    stop: int
    step: int
    shard_size: int
    engine: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class VoteTable:
    """The rows of a record, in the order of the data set.

    Attributes:
        index: (images,) index in the data set.
        label: (images,) true class.
        votes: (images, classes) counts of n.
        selection_votes: (images, classes) counts of the selection phase, or None.
        thumbnails: a PNG for every image, empty where none was kept.
    """

    index: Int[np.ndarray, " images"]
    label: Int[np.ndarray, " images"]
    votes: Int[np.ndarray, "images classes"]
    selection_votes: Int[np.ndarray, "images classes"] | None
    thumbnails: list[bytes]

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Record(ShardedRecord[RecordSettings, VoteTable]):
    """A run folder with votes."""

    configuration = "record.json"
    version = FORMAT
    settings_type = RecordSettings
    command = "certify"

    @property
    def noise(self) -> Noise:
        """The noise the votes were counted under."""
        return from_spec(self.settings.noise)

    def write_shard(self, shard: int, table: VoteTable, about: Mapping[str, Any] | None = None) -> None:
        """Write the votes of one shard: whole, checksummed, or not at all.

        Args:
            shard: its number.
            table: its rows.
            about: how they were counted; decides nothing.

        Raises:
            RunError: the disk is full or not writable; shards written before are untouched.
        """
        columns = {
            "index": pa.array(table.index, pa.int64()),
            "label": pa.array(table.label, pa.int64()),
            "votes": as_matrix(table.votes),
            "thumbnail": pa.array(table.thumbnails, pa.binary()),
        }
        if table.selection_votes is not None:
            columns["selection_votes"] = as_matrix(table.selection_votes)
        self._write(shard, columns, about or {})

    def read(self) -> VoteTable:
        """Read all votes that are there; an interrupted record gives the images counted so far.

        Raises:
            RunError: there are none, or a shard is damaged or of another record.
        """
        tables = self._present()
        selection = [table.selection_votes for table in tables if table.selection_votes is not None]
        return VoteTable(
            index=np.concatenate([table.index for table in tables]),
            label=np.concatenate([table.label for table in tables]),
            votes=np.concatenate([table.votes for table in tables]),
            selection_votes=np.concatenate(selection) if selection else None,
            thumbnails=[picture for table in tables for picture in table.thumbnails],
        )

    def _table(self, shard: int, rows: pa.Table) -> VoteTable:  # noqa: ARG002 - every shard is checked alike
        settings = self.settings
        table = VoteTable(
            index=rows["index"].to_numpy(),
            label=rows["label"].to_numpy(),
            votes=as_counts(rows["votes"], settings.num_classes),
            selection_votes=as_counts(rows["selection_votes"], settings.num_classes)
            if settings.selection_samples
            else None,
            thumbnails=rows["thumbnail"].to_pylist(),
        )
        pairs = ((table.votes, settings.samples), (table.selection_votes, settings.selection_samples))
        for votes, samples in pairs:
            if votes is not None:
                require_sums(votes, samples)
        return table


def recertify(
    votes: VoteTable,
    noise: Noise,
    *,
    alpha: float,
    bound: Bound = DEFAULT_BOUND,
    certificate: Certificate = DEFAULT_CERTIFICATE,
) -> Certified:
    """Compute predictions and radii anew from recorded votes; no classifier is run. Arguments as `certify_votes`."""
    return certify_votes(
        votes.votes, noise, alpha=alpha, bound=bound, certificate=certificate, selection_votes=votes.selection_votes
    )
