"""The only on-disk format of a certification: its configuration, and the votes of every image.

    RUN/record.json           what was certified, and how
    RUN/votes/00000.parquet   index, label, votes per class, selection votes per class, a small picture

Votes are the truth; probabilities and radii are computed from them, under any bound, certificate and alpha.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from jaxtyping import Int

from noiseproof.bounds import Bound
from noiseproof.certificates import Certificate
from noiseproof.errors import RunError
from noiseproof.files import remove_leftovers, write_atomically
from noiseproof.noises import Noise, from_spec
from noiseproof.smoothing import DEFAULT_BOUND, DEFAULT_CERTIFICATE, Certified, certify_votes

__all__ = ["FORMAT", "Record", "RecordSettings", "VoteTable", "default_shard_size", "recertify"]

FORMAT = 2
"""Version of this layout; a record of a newer one is refused. Format 1 had no engine among its settings."""

_CONFIGURATION, _VOTES = "record.json", "votes"

_PIXELS_PER_SHARD = 2e8


def default_shard_size(samples: int, image_shape: Sequence[int]) -> int:
    """Choose images per shard so that a kill loses minutes: 250 000 votes of 28 x 28 pixels, 1300 of 3 x 224 x 224."""
    votes = _PIXELS_PER_SHARD / max(1, int(np.prod(image_shape)))
    return int(np.clip(votes // samples, 1, 256))


@dataclass(frozen=True)
class RecordSettings:
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
        engine: how the classifier ran and noise was drawn, `SmoothedClassifier.engine()`; None in records of format 1,
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

    @property
    def indices(self) -> range:
        """The images of the record, by their index in the data set."""
        return range(self.start, self.stop, self.step)

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON-compatible data."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
class Record:
    """A run folder with votes.

    Attributes:
        path: the folder.
        settings: what decides the votes.
        about: what does not: versions, device, time, command.
    """

    path: Path
    settings: RecordSettings
    about: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def create(path: Path, settings: RecordSettings, about: Mapping[str, Any]) -> "Record":
        """Start a record in `path`, or continue the one with equal settings that is there.

        Raises:
            RunError: `path` holds a record with other settings, a damaged one, or cannot be written.
        """
        if (path / _CONFIGURATION).exists():
            found = Record.open(path)
            _require_equal(found, settings)
            return found
        if any((path / _VOTES).glob("*.parquet")):
            raise RunError(
                str(path / _VOTES),
                required=f"empty, or beside its {_CONFIGURATION}",
                got="votes whose configuration is missing",
                remedy=f"Restore {_CONFIGURATION}, or choose another folder: votes are never overwritten by others.",
            )
        content = {"format": FORMAT, "settings": settings.plain(), "about": dict(about)}
        if not write_atomically(path / _CONFIGURATION, json.dumps(content, indent=2).encode(), replace=False):
            found = Record.open(path)  # another process was first: share its record
            _require_equal(found, settings)
            return found
        return Record(path, settings, dict(about))

    @staticmethod
    def open(path: Path) -> "Record":
        """Open an existing record.

        Raises:
            RunError: there is none, it is damaged, or a newer version wrote it.
        """
        file = path / _CONFIGURATION
        if not file.is_file():
            raise RunError(
                str(path),
                required=f"a run folder with {_CONFIGURATION}",
                got="no such folder" if not path.exists() else "none there",
                remedy=f"Certify first: noiseproof certify {path}",
            )
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise RunError(
                str(file), required="readable", got=error.strerror or error, remedy="Check its permissions."
            ) from error
        try:
            content = json.loads(raw)
            version = int(content["format"])
            if version <= FORMAT:
                return Record(path, RecordSettings(**content["settings"]), content["about"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                str(file),
                required="the configuration of a record",
                got=f"{type(error).__name__}: {error}",
                remedy="It is damaged: restore it, or certify again into another folder.",
            ) from error
        raise RunError(
            str(file), required=f"of format {FORMAT} or older", got=version, remedy="Install a newer noiseproof."
        )

    @property
    def noise(self) -> Noise:
        """The noise the votes were counted under."""
        return from_spec(self.settings.noise)

    @property
    def shards(self) -> range:
        """The numbers of all shards."""
        return range(-(-len(self.settings.indices) // self.settings.shard_size))

    def shard_path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.path / _VOTES / f"{shard:05d}.parquet"

    def shard_indices(self, shard: int) -> range:
        """The images of a shard, by their index in the data set."""
        size = self.settings.shard_size
        return self.settings.indices[shard * size : (shard + 1) * size]

    def missing(self, shards: Iterable[int] | None = None) -> tuple[list[int], list[RunError]]:
        """Return the shards still to be counted, and what is wrong with those that exist but cannot be used.

        Args:
            shards: which to look at; None looks at all.
        """
        missing, faults = [], []
        for shard in self.shards if shards is None else shards:
            if not self.shard_path(shard).exists():
                missing.append(shard)
                continue
            try:
                self._read_shard(shard)
            except RunError as error:
                missing.append(shard)
                faults.append(error)
        return missing, faults

    def holds(self, shard: int) -> bool:
        """Whether the shard is there, whole and of this record."""
        return not self.missing([shard])[0]

    @contextmanager
    def claim(self, shard: int) -> Iterator[bool]:
        """Hold a shard against other processes of this machine; yields False where another one holds it.

        The system lets go of the lock when its process ends, however it ends. Two processes on machines that share no
        locks would do the same work twice and write the same votes.
        """
        path = self.shard_path(shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.stem}.lock"), blocking=False)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            remove_leftovers(path)
            yield True
        finally:
            lock.release()

    def shard_about(self, shard: int) -> dict[str, Any]:
        """Return how a shard was counted: batch size, seconds, time, device; empty for one that is not there."""
        if not self.shard_path(shard).exists():
            return {}
        metadata = pq.read_schema(self.shard_path(shard)).metadata or {}
        about: dict[str, Any] = json.loads(metadata.get(b"about", b"{}"))
        return about

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
            "votes": _matrix(table.votes),
            "thumbnail": pa.array(table.thumbnails, pa.binary()),
        }
        if table.selection_votes is not None:
            columns["selection_votes"] = _matrix(table.selection_votes)
        arrow = pa.table(columns).replace_schema_metadata(
            {"noiseproof": self._fingerprint, "about": json.dumps(dict(about or {}))}
        )
        buffer = io.BytesIO()
        pq.write_table(arrow, buffer, compression="zstd", write_page_checksum=True)
        write_atomically(self.shard_path(shard), buffer.getvalue())

    def read(self) -> VoteTable:
        """Read all votes that are there; an interrupted record gives the images counted so far.

        Raises:
            RunError: there are none, or a shard is damaged or of another record.
        """
        tables = [self._read_shard(shard) for shard in self.shards if self.shard_path(shard).exists()]
        if not tables:
            raise RunError(
                str(self.path / _VOTES), required="at least one shard", got="none", remedy="Run certify to count votes."
            )
        selection = [table.selection_votes for table in tables if table.selection_votes is not None]
        return VoteTable(
            index=np.concatenate([table.index for table in tables]),
            label=np.concatenate([table.label for table in tables]),
            votes=np.concatenate([table.votes for table in tables]),
            selection_votes=np.concatenate(selection) if selection else None,
            thumbnails=[picture for table in tables for picture in table.thumbnails],
        )

    @cached_property
    def _fingerprint(self) -> str:
        return json.dumps(self.settings.plain(), sort_keys=True)

    def _read_shard(self, shard: int) -> VoteTable:
        path = self.shard_path(shard)
        try:
            arrow = pq.ParquetFile(path, page_checksum_verification=True).read()
            if (arrow.schema.metadata or {}).get(b"noiseproof", b"").decode() != self._fingerprint:
                raise ValueError("votes of a record with other settings")  # noqa: TRY301 - one message for all damage
            table = VoteTable(
                index=arrow["index"].to_numpy(),
                label=arrow["label"].to_numpy(),
                votes=_counts(arrow["votes"], self.settings.num_classes),
                selection_votes=_counts(arrow["selection_votes"], self.settings.num_classes)
                if self.settings.selection_samples
                else None,
                thumbnails=arrow["thumbnail"].to_pylist(),
            )
            self._check(shard, table)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise RunError(
                str(path),
                required="a whole shard of this record",
                got=f"{type(error).__name__}: {error}",
                remedy="Run the command that made the record again (record.json keeps it): only this shard is counted anew.",
            ) from error
        return table

    def _check(self, shard: int, table: VoteTable) -> None:
        """Raise ValueError where the numbers contradict the settings: these are what a certificate rests on."""
        if list(table.index) != list(self.shard_indices(shard)):
            raise ValueError("images other than those of this shard")
        pairs = ((table.votes, self.settings.samples), (table.selection_votes, self.settings.selection_samples))
        for votes, samples in pairs:
            if votes is not None and ((votes < 0).any() or (votes.sum(1) != samples).any()):
                raise ValueError(f"votes that do not add up to {samples} per image")


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


def _matrix(votes: Int[np.ndarray, "images classes"]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(votes.ravel(), pa.int64()), votes.shape[1])


def _counts(column: pa.ChunkedArray, num_classes: int) -> Int[np.ndarray, "images classes"]:
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    counts: Int[np.ndarray, "images classes"] = flat.reshape(-1, num_classes)
    return counts


def _require_equal(found: Record, settings: RecordSettings) -> None:
    before, now = json.loads(json.dumps([found.settings.plain(), settings.plain()]))
    changes = list(_changes(before, now))
    if changes:
        raise RunError(
            str(found.path),
            required="a record with " + ", ".join(f"{name} {new}" for name, _, new in changes),
            got=", ".join(f"{name} {old}" for name, old, _ in changes),
            remedy="Votes of different settings must not mix: choose another folder (--out) for the new ones.",
        )


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name every setting that differs, inside of mappings too."""
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{prefix}{key} ")
        elif old != new:
            yield f"{prefix}{key}", old, new
