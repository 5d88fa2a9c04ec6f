"""The record of a verification: a decision for every image, and the file that sums them up.

FOLDER/verification.json       which networks were verified, on what
FOLDER/votes/00000.parquet     index, label, the class decided on, whether it is certified, by which stage
FOLDER/verified.json           data, images, norm, radius, errors, stages and how often each decided, about
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from noiseproof.errors import RunError
from noiseproof.runs.settings import ShardSettings
from noiseproof.runs.store import ShardedRecord
from noiseproof.runs.tables import Table
from noiseproof.storage.files import write_atomically

__all__ = ["VerificationRecord", "VerificationSettings", "VerificationTable", "Verified"]

_FORMAT = 1


@dataclass(frozen=True)
class Verified:
    """What a deterministic verifier proved of a data set.

    Attributes:
        data: name, split, digest.
        images: how many were verified.
        start: index of the first.
        stop: index after the last.
        step: every how many one was taken.
        norm: of the perturbation.
        radius: in that norm, pixels in [0, 1].
        clean_error: share of the images that are classified wrongly.
        certified_error: share of those that are classified wrongly or not certified.
        stages: name and digest of each network, and how many images it answered.
        about: what decides nothing: seconds, time, command, device, versions.
        subset: how many images were drawn at random, of how many and by which seed; None: none were.
    """

    data: Mapping[str, Any]
    images: int
    start: int
    stop: int
    step: int
    norm: str
    radius: float
    clean_error: float
    certified_error: float
    stages: Sequence[Mapping[str, Any]]
    about: Mapping[str, Any]
    subset: Mapping[str, Any] | None = None

    configuration: ClassVar[str] = "verified.json"

    def write(self, folder: Path) -> Path:
        """Write the file and return its path.

        Raises:
            RunError: the folder cannot be written.
        """
        path = folder / self.configuration
        plain = {name: value for name, value in asdict(self).items() if value is not None}
        write_atomically(path, json.dumps({"format": _FORMAT} | plain, indent=2).encode())
        return path

    @staticmethod
    def open(folder: Path) -> "Verified":
        """Read a file.

        Raises:
            RunError: there is none, it is damaged, of a newer version, or its figures contradict each other.
        """
        path = folder / Verified.configuration
        damage = (OSError, ValueError, KeyError, TypeError, AttributeError)
        required, remedy = "the result of a verification", "Verify again: noiseproof verify --help"
        with RunError.instead_of(damage, str(path), required=required, remedy=remedy):
            content = json.loads(path.read_bytes())
            if content.pop("format") > _FORMAT:
                raise ValueError("a newer noiseproof wrote it")
            found = Verified(**content)
            found._require_possible()
        return found

    def _require_possible(self) -> None:
        """Raise ValueError for errors that no images have, or stages that did not answer all of them."""
        errors = (self.clean_error, self.certified_error)
        whole = all(math.isclose(error * self.images, round(error * self.images), abs_tol=1e-6) for error in errors)
        if not (whole and 0.0 <= self.clean_error <= self.certified_error <= 1.0):
            raise ValueError(f"errors {errors} of {self.images} images")
        if self.images != len(range(self.start, self.stop, self.step)) or self.images < 1:
            raise ValueError(f"{self.images} images from {self.start} to {self.stop}, every {self.step}")
        if sum(stage["answered"] for stage in self.stages) != self.images:
            raise ValueError("stages that did not answer every image once")


@dataclass(frozen=True, kw_only=True)
class VerificationSettings(ShardSettings):
    """What decisions follow from. Two records with equal settings hold equal decisions.

    Attributes:
        norm: of the perturbation.
        radius: in that norm, pixels in [0, 1].
    """

    norm: str
    radius: float
    seed: ClassVar[int] = 0
    """Nothing is drawn."""


@dataclass(frozen=True)
class VerificationTable(Table):
    """The rows of a verification, in the order of the data set.

    Attributes:
        index: (images,) index in the data set.
        label: (images,) true class.
        prediction: (images,) the class that the deciding stage names.
        certified: (images,) whether that stage certifies it.
        stage: (images,) which one that is, from 0.
    """

    prediction: Int[np.ndarray, " images"]
    certified: Bool[np.ndarray, " images"]
    stage: Int[np.ndarray, " images"]

    def columns(self) -> dict[str, pa.Array]:
        """Return the rows as columns of a file."""
        whole = {name: pa.array(getattr(self, name), pa.int64()) for name in ("prediction", "stage")}
        return super().columns() | whole | {"certified": pa.array(self.certified, pa.bool_())}


@dataclass(frozen=True)
class VerificationRecord(ShardedRecord[VerificationSettings, VerificationTable]):
    """A folder with the decisions of networks that were verified."""

    configuration = "verification.json"
    version = 1
    settings_type = VerificationSettings
    command = "verify"

    def result(self) -> Verified:
        """Sum the decisions up.

        Raises:
            RunError: some are missing or damaged.
        """
        settings, table = self.settings, self.read_whole("to be summed up")
        right = table.prediction == table.label
        stages = zip(self.about["stages"], settings.model["digests"], strict=True)
        return Verified(
            data=settings.data,
            images=len(table),
            start=settings.start,
            stop=settings.stop,
            step=settings.step,
            subset=settings.subset,
            norm=settings.norm,
            radius=settings.radius,
            clean_error=float((~right).sum()) / len(table),
            certified_error=float((~(right & table.certified)).sum()) / len(table),
            stages=[
                {"name": name, "digest": digest, "answered": int((table.stage == number).sum())}
                for number, (name, digest) in enumerate(stages)
            ],
            about={name: value for name, value in self.about.items() if name != "stages"}
            | {"seconds": round(sum(self.shard_about(shard)["seconds"] for shard in self.shards), 3)},
        )

    def _table(self, rows: pa.Table) -> VerificationTable:
        index, label, prediction, stage = (rows[name].to_numpy() for name in ("index", "label", "prediction", "stage"))
        certified = rows["certified"].to_numpy()
        stages, classes = len(self.settings.model["digests"]), self.settings.num_classes
        if not all(((part >= 0) & (part < classes)).all() for part in (label, prediction)):
            raise ValueError(f"labels that are none of {classes} classes")
        if not ((stage >= 0) & (stage < stages) & (certified | (stage == stages - 1))).all():
            raise ValueError("images left uncertified by a stage before the last")
        return VerificationTable(index, label, prediction, certified, stage)
