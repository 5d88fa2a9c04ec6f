"""The on-disk format of an attack: its settings, the points it found, and the votes on them.

    ATTACK/attack.json                what was attacked, and how
    ATTACK/points/00000.safetensors   the points at every size: the large part, which may be left out of a copy
    ATTACK/votes/00000.parquet        index, label, size of each attack, votes on each point

Votes are the truth; verdicts and accuracies are computed from them, at any alpha. Points can be judged again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.numpy import load, save

from noiseproof.attacks.defence import gradient_precision
from noiseproof.attacks.escalation import ROUNDING
from noiseproof.bounds import votes_to_verify
from noiseproof.bounds.base import require_alpha
from noiseproof.certified import ABSTAIN, require_enough_samples
from noiseproof.errors import DamagedRecordError, InvalidInputError, RunError, require_count
from noiseproof.evaluation.robust_accuracy import verdicts
from noiseproof.randomness import require_seed
from noiseproof.runs.settings import ShardSettings
from noiseproof.runs.store import ShardedRecord
from noiseproof.runs.tables import Table, as_column, as_rows, require_sums
from noiseproof.storage.files import remove_leftovers, write_atomically

__all__ = ["FORMAT", "AttackRecord", "AttackSettings", "AttackTable", "AttackVerdicts"]

FORMAT = 1
"""Version of this layout; a record of a newer one is refused."""


@dataclass(frozen=True, kw_only=True)
class AttackSettings(ShardSettings):
    """What decides the points and the votes.

    Attributes:
        attack: `Attack.spec()`.
        norm: in which sizes are measured.
        sizes: of the attack, rising from 0; for an audit (0, 1), in shares of what `limits` says.
        samples: votes on each point; 1 without noise.
        alpha: level of the verdicts by which an attack goes on or has succeeded.
        seed: key of all randomness.
        gradients: in which precision the attack followed gradients.
        noise: `Noise.spec()`, or None for a classifier without noise.
        limits: where each image's own size comes from, for an audit; None: all have the same.
        points: digest and seed of the record whose points these votes judge again; None: found under these settings.
    """

    attack: Mapping[str, Any]
    norm: str
    sizes: Sequence[float]
    samples: int
    alpha: float
    seed: int
    engine: Mapping[str, Any]
    gradients: str
    noise: Mapping[str, Any] | None = None
    limits: Mapping[str, Any] | None = None
    points: Mapping[str, Any] | None = None

    def under(self, engine: Mapping[str, Any]) -> "AttackSettings":
        """Return the settings for a classifier that runs like that; gradients are in 16 bits where votes are."""
        found = gradient_precision(engine["precision"], torch.device(engine["device"]))
        gradients = self.gradients if self.points is not None else found
        return replace(self, engine=dict(engine), gradients=gradients)

    def again(
        self, engine: Mapping[str, Any], *, samples: int, seed: int | None = None, alpha: float | None = None
    ) -> "AttackSettings":
        """Return the settings of a record that judges the points of this one by other votes.

        The votes of this one decided which points were kept: an image that they called wrong kept its point for larger
        sizes. So they lean towards the attacker, and votes under another seed do not.

        Args:
            engine: how the classifier runs.
            samples: votes on each point.
            seed: key of their noise; None takes the next one.
            alpha: level of the verdicts; None leaves it.

        Raises:
            InvalidInputError: this is an audit, whose verdict is another, or has no noise; a seed by which these points
                were found or judged; a count below 1, or too few samples for any verdict at this alpha.
        """
        if self.limits is not None or self.noise is None:
            raise InvalidInputError(
                "what is judged again",
                required="an attack at listed sizes on a classifier with noise",
                got="one without noise" if self.noise is None else "an audit",
                remedy="Without noise all votes are the same."
                if self.noise is None
                else "Audit again, with more votes: noiseproof audit --samples --out.",
            )
        content = json.dumps(self.plain(), sort_keys=True).encode()
        points = self.points or {"record": hashlib.sha256(content).hexdigest(), "seed": self.seed}
        used, chosen = {self.seed, points["seed"]}, self.seed + 1 if seed is None else seed
        require_seed(chosen)
        if chosen in used:
            raise InvalidInputError(
                "seed",
                required=f"another than {', '.join(map(str, sorted(used)))}",
                got=chosen,
                remedy="The same noise is no new evidence.",
            )
        level = self.alpha if alpha is None else alpha
        require_count("samples", samples, 1, "Pass another one.")
        require_alpha(level)
        require_enough_samples(samples, votes_to_verify(level), level)
        return replace(
            self, samples=int(samples), seed=int(chosen), alpha=level, engine=dict(engine), points=dict(points)
        )


@dataclass(frozen=True)
class AttackTable(Table):
    """The rows of an attack.

    Attributes:
        index: (images,) index in the data set.
        label: (images,) the class that the attack wants changed: the true one, or in an audit the certified one.
        sizes: (images, sizes) how far the attack might go; -1 where an image is not attacked.
        votes: (images, sizes, classes) on the point found at each size.
        distances: (images, sizes) how far each point is from its image, in the norm; 0 where the attack did nothing.
        points: (images, sizes, *shape) float32, what the votes are on: to be written; None where rows were read.
    """

    sizes: Float[np.ndarray, "images sizes"]
    votes: Int[np.ndarray, "images sizes classes"]
    distances: Float[np.ndarray, "images sizes"]
    points: Float[np.ndarray, "images sizes *shape"] | None = None

    def columns(self) -> dict[str, pa.Array]:
        """Return the rows as columns of a file, without the points."""
        votes = as_column(self.votes.reshape(len(self), -1))
        return super().columns() | {
            "sizes": as_column(self.sizes),
            "votes": votes,
            "distances": as_column(self.distances),
        }


@dataclass(frozen=True)
class AttackVerdicts(Table):
    """What the votes of an attack say, without the votes; the other columns are those of `AttackTable`.

    Attributes:
        each: (images, sizes), the `Verdict` on each point at the record's alpha.
    """

    sizes: Float[np.ndarray, "images sizes"]
    distances: Float[np.ndarray, "images sizes"]
    each: Int[np.ndarray, "images sizes"]

    @property
    def verdicts(self) -> Int[np.ndarray, "sizes images"]:
        """The verdicts by size, as `evaluation` takes them."""
        return self.each.T


@dataclass(frozen=True)
class AttackRecord(ShardedRecord[AttackSettings, AttackTable]):
    """A folder with the points that an attack found, and the votes on them."""

    configuration = "attack.json"
    version = FORMAT
    settings_type = AttackSettings
    command = "attack"

    def points_path(self, shard: int) -> Path:
        """The file with the points of a shard."""
        return self.path / "points" / f"{shard:05d}.safetensors"

    def _write_beside(self, shard: int, table: AttackTable) -> dict[str, str]:
        """Write the points of a shard; its votes, which mark it as done, come after them."""
        content = _saved(table.points)
        remove_leftovers(self.points_path(shard))
        write_atomically(self.points_path(shard), content)
        return {"points": hashlib.sha256(content).hexdigest()}

    def _all_columns(self, table: AttackTable) -> dict[str, pa.Array]:
        each = [] if table.points is None else [_saved(points) for points in table.points]
        return table.columns() | {"points": pa.array(each, pa.binary())}

    def read_verdicts(self) -> AttackVerdicts:
        """Read what the votes that are there say, shard by shard: votes of all images are never in memory together.

        Raises:
            RunError: as `read`.
        """
        alpha, noisy = self.settings.alpha, self.settings.noise is not None

        def judged(table: AttackTable) -> AttackVerdicts:
            found = verdicts(table.votes.transpose(1, 0, 2), table.label, alpha, noisy=noisy)
            return AttackVerdicts(table.index, table.label, table.sizes, table.distances, found.T)

        return AttackVerdicts.joined(list(map(judged, self.tables())))

    def image_shape(self) -> tuple[int, ...] | None:
        """Return the shape of an image: as written beside the settings, or of its points; None where neither is there.

        Raises:
            RunError: the points are damaged.
        """
        if "image_shape" in self.about:
            return tuple(self.about["image_shape"])
        kept = (shard for shard in self.shards if self.points_path(shard).exists() and self.shard_path(shard).exists())
        return next((self.read_points(shard).shape[2:] for shard in kept), None)

    def read_points(self, shard: int) -> Float[np.ndarray, "images sizes *shape"]:
        """Read the points of a shard.

        Raises:
            RunError: they are not there, as in a copy without them, or not those that were voted on.
        """
        path = self.points_path(shard)
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != self._shard_metadata(shard).get("points"):
                raise ValueError("other points than those that were voted on")  # noqa: TRY301 - one message
            points: Float[np.ndarray, "images sizes *shape"] = load(content)["points"]
        except (OSError, ValueError, KeyError, SafetensorError, pa.ArrowException) as error:
            kind = RunError if isinstance(error, FileNotFoundError) else DamagedRecordError
            raise kind(
                str(path),
                required="the points that the attack found",
                got=f"{type(error).__name__}: {error}",
                remedy="Large files may be left out of copies: fetch it from where the record was made. One that is damaged "
                "is found anew by the command that made the record. The votes can be read without it.",
            ) from error
        return points

    def _verify(self, shard: int) -> None:
        super()._verify(shard)
        if self.points_path(shard).exists():
            self.read_points(shard)

    def _table(self, rows: pa.Table) -> AttackTable:
        settings, sizes = self.settings, len(self.settings.sizes)
        votes = as_rows(rows["votes"], sizes * settings.num_classes).reshape(-1, sizes, settings.num_classes)
        require_sums(votes, settings.samples)
        measured, distances = (as_rows(rows[name], sizes) for name in ("sizes", "distances"))
        label = rows["label"].to_numpy()
        least = 0 if settings.limits is None else ABSTAIN  # an image without a certificate is not attacked
        if not ((label >= least) & (label < settings.num_classes)).all():
            raise ValueError(f"labels that are none of {settings.num_classes} classes")
        if settings.limits is None and (measured != np.asarray(settings.sizes)).any():
            raise ValueError("sizes other than those of the settings")
        if not (np.isfinite(measured).all() and np.isfinite(distances).all()):
            raise ValueError("sizes that are no numbers")
        if (distances > measured.clip(min=0.0) * (1.0 + ROUNDING)).any():
            raise ValueError("points beyond their sizes")
        points = None
        if "points" in rows.column_names:  # of a shard that is not whole yet
            points = np.stack([load(content)["points"] for content in rows["points"].to_pylist()])
        return AttackTable(rows["index"].to_numpy(), label, measured, votes, distances, points)


def _saved(points: Float[np.ndarray, "*shape"] | None) -> bytes:
    if points is None:
        raise ValueError("rows without the points that their votes are on")
    return save({"points": np.ascontiguousarray(points)})
