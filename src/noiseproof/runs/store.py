"""Run folders that hold results image by image, in shards: resumable, shared by processes, whole or absent."""

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from noiseproof.errors import DamagedRecordError, IncompleteError, RunError
from noiseproof.randomness import SecretKey
from noiseproof.runs.identity import fingerprints, require_one_classifier, require_recorded
from noiseproof.runs.keys import keep_key, seed_in
from noiseproof.runs.partial import keep_votes, kept_votes
from noiseproof.runs.registry import kinds_in
from noiseproof.runs.settings import ShardSettings
from noiseproof.runs.tables import Table
from noiseproof.storage.files import claimed, remove_leftovers, write_atomically

__all__ = ["CLASSIFIER", "CLASS_NAMES", "ShardedRecord"]

CLASS_NAMES = "class_names"
"""Key of `ShardedRecord.about`: the names of the classes, by their numbers, where the data have names."""

CLASSIFIER = "classifier"
"""Key of `ShardedRecord.shard_about`: the digest of the fingerprint of the classifier that was evaluated."""

_VOTES = "votes"


SettingsT = TypeVar("SettingsT", bound=ShardSettings)
TableT = TypeVar("TableT", bound=Table)
RecordT = TypeVar("RecordT", bound="ShardedRecord[Any, Any]")


@dataclass(frozen=True)
class ShardedRecord(ABC, Generic[SettingsT, TableT]):
    """A folder with a configuration and shards of votes.

    A kind of record names its configuration file, its version, its settings, and how a shard is read.

    Attributes:
        path: the folder.
        settings: what decides the results.
        about: what does not: versions, device, time, command.
    """

    path: Path
    settings: SettingsT
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)

    configuration: ClassVar[str]
    """Name of the file with the settings."""

    version: ClassVar[int]
    """Of this layout; a record of a newer one is refused."""

    settings_type: ClassVar[type[ShardSettings]]

    command: ClassVar[str]
    """The command that makes it, for messages."""

    @abstractmethod
    def _table(self, rows: pa.Table) -> TableT:
        """Return rows of a shard; ValueError or KeyError where they contradict the settings."""

    @classmethod
    def create(  # noqa: PYI019 - the shape checks of the tests know no Self
        cls: type[RecordT], path: Path, settings: SettingsT, about: Mapping[str, Any]
    ) -> RecordT:
        """Start a record in `path`, or continue the one with equal settings that is there.

        Raises:
            RunError: `path` holds a record with other settings or of another kind, a damaged one, or cannot be written.
        """
        for kind in set(kinds_in(path)) - {cls.configuration}:
            raise RunError(
                str(path),
                required=f"a folder for a record with {cls.configuration}",
                got=f"one with {kind}",
                remedy="Votes of different kinds must not mix: choose another folder for the new ones: out=.",
            )
        if not (path / cls.configuration).exists():
            if any((path / _VOTES).glob("*.parquet")):
                raise RunError(
                    str(path / _VOTES),
                    required=f"empty, or beside its {cls.configuration}",
                    got="votes whose configuration is missing",
                    remedy=f"Restore {cls.configuration}, or choose another folder: votes are never overwritten by others.",
                )
            seed = getattr(settings, "seed", 0)
            if isinstance(seed, SecretKey):
                keep_key(path, seed)
            record = cls(path, settings, dict(about))
            if record._write_configuration(replace=False):
                return record
        found = cls.open(path)  # made before, or by another process in this moment
        found.require_equal(settings)
        return found

    def _write_configuration(self, *, replace: bool) -> bool:
        """Write what `open` reads; False where it must not replace, and another process was first."""
        content = {"format": self.version, "settings": self.settings.plain(), "about": dict(self.about)}
        return write_atomically(self.path / self.configuration, json.dumps(content, indent=2).encode(), replace=replace)

    @classmethod
    def open(cls: type[RecordT], path: Path) -> RecordT:  # noqa: PYI019
        """Open an existing record.

        Raises:
            RunError: there is none, it is damaged, or a newer version wrote it.
        """
        file = path / cls.configuration
        if not file.is_file():
            others = [f"but {kind}, a record of another kind" for kind in kinds_in(path)]
            raise RunError(
                str(path),
                required=f"a run folder with {cls.configuration}",
                got=" ".join(["none there", *others]) if path.exists() else "no such folder",
                remedy=f"To see what is there: noiseproof inspect {path}"
                if others  # a command would put its record beside one of another kind
                else f"{cls.command.capitalize()} first: noiseproof {cls.command} {path}",
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
            if version <= cls.version:
                said = dict(content["settings"])
                said |= {"seed": seed_in(path, said["seed"])} if "seed" in said else {}
                settings: Any = cls.settings_type(**said)
                _ = settings.indices  # a subset that cannot be drawn is told now
                return cls(path, settings, content["about"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedRecordError(
                str(file),
                required="the configuration of a record",
                got=f"{type(error).__name__}: {error}",
                remedy=f"It is damaged: restore it, or {cls.command} again into another folder.",
            ) from error
        raise RunError(
            str(file), required=f"of format {cls.version} or older", got=version, remedy="Install a newer noiseproof."
        )

    def require_equal(self, settings: SettingsT) -> None:
        """Raise RunError, with every difference, unless these are the record's settings."""
        before, now = json.loads(json.dumps([self.settings.plain(), settings.plain()]))
        require_recorded(
            self.path,
            before,
            now,
            remedy="Votes of different settings must not mix: choose another folder for the new ones: out=.",
        )

    def goes_on_under(self, settings: SettingsT) -> bool:  # noqa: ARG002 - only sequential records do
        """Whether `create` keeps the votes for settings that are not the record's."""
        return False

    def keep(self, shard: int, votes: Mapping[int, Int[np.ndarray, "*moments counts"]]) -> None:
        """Keep the votes so far of the images of a shard that is not whole, by index."""
        keep_votes(self._partial(shard), votes, self._fingerprint)

    def kept(self, shard: int) -> dict[int, Int[np.ndarray, "*moments counts"]]:
        """Return what is kept; nothing where it is damaged or of another record: equal votes are then counted again."""
        return kept_votes(self._partial(shard), self._fingerprint)

    def keep_rows(self, shard: int, table: TableT) -> None:
        """Keep the first rows of a shard that is not whole."""
        self._write(self._partial(shard), self._all_columns(table))

    def kept_rows(self, shard: int) -> TableT | None:
        """Return those; None where there are none, or damaged ones: equal rows are then made again."""
        try:
            return self._read_file(self._partial(shard), self.shard_indices(shard), whole=False)
        except (OSError, ValueError, KeyError, pa.ArrowException):
            return None

    def _all_columns(self, table: TableT) -> dict[str, pa.Array]:
        """Return the rows as columns, with what lies beside them once the shard is whole."""
        return table.columns()

    @property
    def class_names(self) -> Sequence[str] | None:
        """The names of the classes, by their numbers; None where the data have none, or in an earlier record."""
        names = self.about.get(CLASS_NAMES)
        return names if isinstance(names, list) and len(names) == self.settings.num_classes else None

    @property
    def shards(self) -> range:
        """The numbers of all shards."""
        return range(-(-len(self.settings.indices) // self.settings.shard_size))

    def shard_path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.path / _VOTES / f"{shard:05d}.parquet"

    def shard_indices(self, shard: int) -> Sequence[int]:
        """The images of a shard, by their index in the data set."""
        size = self.settings.shard_size
        return self.settings.indices[shard * size : (shard + 1) * size]

    def missing(self, shards: Iterable[int] | None = None) -> tuple[list[int], list[RunError]]:
        """Return the shards still to be made, and what is wrong with those that exist but cannot be used.

        Args:
            shards: which to look at; None looks at all.
        """
        missing, faults = [], []
        for shard in self.shards if shards is None else shards:
            if not self.shard_path(shard).exists():
                missing.append(shard)
                continue
            try:
                self._verify(shard)
            except RunError as error:
                missing.append(shard)
                faults.append(error)
        return missing, faults

    def holds(self, shard: int) -> bool:
        """Whether the shard is there, whole and of this record."""
        return not self.missing([shard])[0]

    def claim(self, shard: int) -> AbstractContextManager[bool]:
        """Hold a shard against other processes of this machine; gives False where another one holds it.

        Two processes on machines that share no locks would do the same work twice and write the same votes.
        """
        return claimed(self.shard_path(shard))

    def shard_about(self, shard: int) -> dict[str, Any]:
        """Return how a shard was made: batch size, seconds, time, device; empty for a missing one."""
        about: dict[str, Any] = json.loads(self._shard_metadata(shard).get("about", "{}"))
        return about

    def _shard_metadata(self, shard: int) -> dict[str, str]:
        """Return the metadata of a shard; empty for a missing one."""
        if not self.shard_path(shard).exists():
            return {}
        found = pq.read_schema(self.shard_path(shard)).metadata or {}
        return {key.decode(): value.decode() for key, value in found.items() if key != b"ARROW:schema"}

    def write_shard(self, shard: int, table: TableT, about: Mapping[str, Any] | None = None) -> None:
        """Write the rows of one shard: whole, checksummed, or not at all. What was kept of it goes.

        Args:
            shard: its number.
            table: its rows.
            about: how they were made; decides nothing.

        Raises:
            RunError: the disk is full or not writable; shards written before are untouched.
        """
        beside = self._write_beside(shard, table)
        self._write(self.shard_path(shard), table.columns(), about=json.dumps(dict(about or {})), **beside)
        remove_leftovers(self._partial(shard))
        self._partial(shard).unlink(missing_ok=True)

    def _write_beside(self, shard: int, table: TableT) -> dict[str, str]:  # noqa: ARG002 - only attacks have points
        """Write what lies beside the rows of a shard, before them; return what is said of it in their metadata."""
        return {}

    def read(self) -> TableT:
        """Read all rows that are there; an interrupted record gives the shards that are whole.

        Raises:
            RunError: there are none, or a shard is damaged or of another record.
        """
        tables = list(self.tables())
        return type(tables[0]).joined(tables)

    def _write(self, path: Path, columns: Mapping[str, pa.Array], **metadata: str) -> None:
        arrow = pa.table(dict(columns)).replace_schema_metadata({"noiseproof": self._fingerprint} | metadata)
        buffer = io.BytesIO()
        pq.write_table(arrow, buffer, compression="zstd", write_page_checksum=True)
        write_atomically(path, buffer.getvalue())

    def _partial(self, shard: int) -> Path:
        return self.shard_path(shard).with_suffix(".partial")

    def _read_file(self, path: Path, indices: Sequence[int], *, whole: bool = True) -> TableT:
        """Read the rows of these images, or of the first of them; raises what says why that cannot be."""
        rows = pq.ParquetFile(path, page_checksum_verification=True).read()
        if (rows.schema.metadata or {}).get(b"noiseproof", b"").decode() != self._fingerprint:
            raise ValueError("votes of a record with other settings")
        if rows["index"].to_pylist() != list(indices if whole else indices[: len(rows)]):
            raise ValueError("images other than those of this shard")
        return self._table(rows)

    def read_shard(self, shard: int) -> TableT:
        """Read the rows of a shard, or raise RunError: it is not there, damaged or of another record."""
        path = self.shard_path(shard)
        try:
            return self._read_file(path, self.shard_indices(shard))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise DamagedRecordError(
                str(path),
                required="a whole shard of this record",
                got=f"{type(error).__name__}: {error}",
                remedy=f"Run the command that made the record again ({self.configuration} keeps it): "
                "only this shard is counted anew.",
            ) from error

    def _verify(self, shard: int) -> None:
        """Raise RunError unless a shard is whole; a kind that keeps more than rows looks at that too."""
        self.read_shard(shard)
        carried = self._carried(shard)
        if carried is not None and carried not in fingerprints(self.path):
            require_one_classifier(self, {carried: [shard]})

    def tables(self) -> Iterator[TableT]:
        """Read the shards that are there, one after the other: votes of many classes need not be in memory together.

        Raises:
            RunError: there is none, or one is damaged or of another record.
        """
        yield from map(self.read_shard, self.present())

    def present(self) -> list[int]:
        """Return the shards that are there, of one classifier all.

        Raises:
            RunError: there is none, or they are of several classifiers.
        """
        present = [shard for shard in self.shards if self.shard_path(shard).exists()]
        if not present:
            again = f"Run {self.command} to count votes."
            raise IncompleteError(
                str(self.path / _VOTES), required="at least one shard", got="none", remedy=self.kept_in_words() or again
            )
        made: dict[str, list[int]] = {}
        for shard in present:
            if (digest := self._carried(shard)) is not None:
                made.setdefault(digest, []).append(shard)
        require_one_classifier(self, made)
        return present

    def read_whole(self, purpose: str, remedy: str = "Run the command that made it again: it goes on.") -> TableT:
        """Read all rows.

        Args:
            purpose: what for: "to be judged".
            remedy: what to do if some are missing.

        Raises:
            IncompleteError: some are missing.
            RunError: as `read`.
        """
        table, images = self.read(), len(self.settings.indices)
        if len(table) < images:
            raise IncompleteError(
                str(self.path), required=f"complete, {purpose}", got=f"{len(table)} of {images} images", remedy=remedy
            )
        return table

    def kept_in_words(self) -> str:
        """Return in words what is kept of unfinished shards, and the command that resumes them; empty for nothing."""
        begun = [
            shard for shard in self.shards if self._partial(shard).exists() and not self.shard_path(shard).exists()
        ]
        images = sum(len(self.kept(shard) or self.kept_rows(shard) or ()) for shard in begun)
        goes_on = f"noiseproof certify {self.path}" if self.command == "certify" else "the command that made it"
        return f"Votes of {images} images are kept, and {goes_on} goes on." if images else ""

    def _carried(self, shard: int) -> str | None:
        """The digest of the classifier's fingerprint that a shard carries; None for earlier ones, and for damaged ones."""
        try:
            digest = self.shard_about(shard).get(CLASSIFIER)
        except (OSError, ValueError, pa.ArrowException):
            return None  # reading it says what is wrong
        return digest if isinstance(digest, str) else None

    @cached_property
    def _fingerprint(self) -> str:
        return json.dumps(self.settings.plain(), sort_keys=True)
