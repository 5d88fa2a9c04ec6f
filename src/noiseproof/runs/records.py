"""The only on-disk format of a certification: its configuration, and the votes of every image.

    RUN/record.json           what was certified, and how
    RUN/votes/00000.parquet   index, label, votes per class, selection votes per class, a small picture, its file's name
    RUN/votes/00000.partial   the votes so far of a shard that is not whole yet

Votes are the truth; probabilities and radii are computed from them, under any bound, certificate and alpha.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from noiseproof.bounds import Bonferroni, Bound, TwoPhase
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates import Certificate
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.certified import Certified, FixedSamples, certify_votes
from noiseproof.noises import Noise
from noiseproof.noises.registry import NOISES
from noiseproof.randomness import Seed
from noiseproof.runs.settings import ShardSettings
from noiseproof.runs.store import ShardedRecord
from noiseproof.runs.tables import Table, as_column, as_rows, require_sums

__all__ = [
    "DATA_IMAGES",
    "FORMAT",
    "PROCEDURE",
    "ROWS",
    "Record",
    "RecordSettings",
    "VoteTable",
    "default_bound",
    "default_shard_size",
]

DATA_IMAGES = "data_images"
"""Key of `Record.about`: the number of images of the whole data set."""

PROCEDURE = "procedure"
"""Key of `Record.about`: the bound, certificate and alpha that the votes were counted for."""

ROWS = "rows"
"""Key of `Record.about`: whether outputs depend on the place in a batch, `classifiers.base.RowsCheck`."""

FORMAT = 2
"""Version of this layout; a record of a newer one is refused. Format 1 had no engine among its settings."""

_PIXELS_PER_SHARD = 2e8

_THUMBNAIL = 64
"""Longest side of the pictures kept for reports; larger images are shrunk to it."""


def default_bound(selection_samples: int) -> Bound:
    """Return the bound of votes for which none is named: two-phase, or Bonferroni where no votes choose the class."""
    return TwoPhase(selection_samples) if selection_samples else Bonferroni()


def default_shard_size(samples: int, image_shape: Sequence[int]) -> int:
    """Choose images per shard so that a kill loses minutes: 250 000 votes of 28 x 28 pixels, 1300 of 3 x 224 x 224."""
    votes = _PIXELS_PER_SHARD / max(1, int(np.prod(image_shape)))
    return int(np.clip(votes // samples, 1, 256))


@dataclass(frozen=True, kw_only=True)
class RecordSettings(ShardSettings):
    """What decides the votes. Two records with equal settings hold equal votes.

    Attributes:
        noise: `Noise.spec()`.
        samples: n, votes per image.
        selection_samples: votes per image of the selection phase; 0 for none.
        seed: key of the noise: a number, or a secret key, of which the file has the commitment.
    """

    noise: Mapping[str, Any]
    samples: int
    selection_samples: int
    seed: Seed


@dataclass(frozen=True)
class VoteTable(Table):
    """The rows of a record of votes.

    Attributes:
        index: (images,) index in the data set.
        label: (images,) true class.
        votes: (images, classes) counts of n.
        selection_votes: (images, classes) counts of the selection phase, or None.
        thumbnails: a PNG for every image, empty where none was kept.
        files: the name of every image's file, empty where it is not recorded; None where no image has one.
        certifying: (images, classes) of a sequential certification whose certificates last, the counts at the look at
            which most radii were certified; None for others.
    """

    votes: Int[np.ndarray, "images classes"]
    selection_votes: Int[np.ndarray, "images classes"] | None
    thumbnails: list[bytes]
    files: Sequence[str] | None = None
    certifying: Int[np.ndarray, "images classes"] | None = None

    @staticmethod
    def of(
        indices: Sequence[int],
        label: Int[np.ndarray, " images"],
        votes: Int[np.ndarray, "images classes"],
        selection_votes: Int[np.ndarray, "images classes"] | None,
        images: Float[np.ndarray, "images *shape"],
        files: Sequence[str] | None = None,
    ) -> "VoteTable":
        """Return the rows of these images, with a small picture of each, and the name of its file where it has one."""
        pictures = [_thumbnail(image) for image in images]
        return VoteTable(np.asarray(indices, dtype=np.int64), label, votes, selection_votes, pictures, files)

    @staticmethod
    def read(
        rows: pa.Table,
        votes: Int[np.ndarray, "images classes"],
        selection_votes: Int[np.ndarray, "images classes"] | None = None,
    ) -> "VoteTable":
        """Return the rows of a file, of whose columns the votes are read already; names of files may be missing."""
        return VoteTable(
            index=rows["index"].to_numpy(),
            label=rows["label"].to_numpy(),
            votes=votes,
            selection_votes=selection_votes,
            thumbnails=rows["thumbnail"].to_pylist(),
            files=rows["file"].to_pylist() if "file" in rows.column_names else None,
        )

    @classmethod
    def joined(cls, tables: "Sequence[VoteTable]") -> "VoteTable":
        """Return the rows of one table after those of another; earlier shards name no files."""
        if any(table.files is not None for table in tables):
            tables = [replace(table, files=list(table.files or [""] * len(table))) for table in tables]
        return super().joined(tables)

    def columns(self) -> dict[str, pa.Array]:
        """Return the rows as columns of a file."""
        columns = {"votes": as_column(self.votes), "thumbnail": pa.array(self.thumbnails, pa.binary())}
        columns |= {} if self.files is None else {"file": pa.array(self.files, pa.string())}
        more = {"selection_votes": self.selection_votes, "certifying_votes": self.certifying}
        columns |= {name: as_column(counts) for name, counts in more.items() if counts is not None}
        return super().columns() | columns


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
        return NOISES.from_spec(self.settings.noise)

    @property
    def procedure(self) -> FixedSamples:
        """What the votes were counted for, as recorded before the first of them; the defaults for earlier records.

        Raises:
            InvalidInputError: a bound or certificate that this version does not know.
        """
        said, samples = self.about.get(PROCEDURE), self.settings.samples
        if not isinstance(said, Mapping):
            return FixedSamples(samples, bound=default_bound(self.settings.selection_samples))
        bound, certificate = BOUNDS.from_spec(said.get("bound")), CERTIFICATES.from_spec(said.get("certificate"))
        return FixedSamples(samples, alpha=said.get("alpha", 0.0), bound=bound, certificate=certificate)

    @property
    def images_of_file(self) -> int | None:
        """How many images the file has of which these are all, or a random subset, once all are counted; else None.

        The first images of a folder are ordered by class, and every n-th may be of one class as well.
        """
        if self.settings.subset is not None:
            return self.settings.drawn_from
        total = self.about.get(DATA_IMAGES)
        return total if isinstance(total, int) and total == len(self.settings.indices) else None

    def certify(
        self,
        *,
        alpha: float | None = None,
        bound: Bound | None = None,
        certificate: Certificate | None = None,
        table: VoteTable | None = None,
    ) -> Certified:
        """Compute predictions and radii from the votes; no classifier is run. Arguments as `certify_votes`.

        Args:
            alpha: failure probability per image; None is that of `procedure`.
            bound: from votes to probabilities; None likewise.
            certificate: from probabilities to a radius; None likewise.
            table: some of the rows; None reads all that are there.
        """
        rows, made_for = self.read() if table is None else table, self.procedure
        return certify_votes(
            rows.votes,
            self.noise,
            alpha=made_for.alpha if alpha is None else alpha,
            bound=bound or made_for.bound,
            certificate=certificate or made_for.certificate,
            selection_votes=rows.selection_votes,
        )

    def _table(self, rows: pa.Table) -> VoteTable:
        settings = self.settings
        votes = as_rows(rows["votes"], settings.num_classes)
        selected = as_rows(rows["selection_votes"], settings.num_classes) if settings.selection_samples else None
        require_sums(votes, settings.samples)
        if selected is not None:
            require_sums(selected, settings.selection_samples)
        return VoteTable.read(rows, votes, selected)


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
