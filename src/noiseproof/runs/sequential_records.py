"""The on-disk format of a sequential certification: its stopping rule, and every image's votes at the stopping time.

    RUN/sequential.json       what is decided, and how
    RUN/votes/00000.parquet   index, label, votes per class where they stopped, a small picture, its file's name; where
                              certificates last, the votes at the look at which most radii were certified
    RUN/votes/00000.partial   the votes so far of a shard that is not whole yet, both kinds of each image

A format of its own: bounds for a number of votes fixed beforehand do not hold for these.
"""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from noiseproof.certified import Certified
from noiseproof.errors import RunError
from noiseproof.noises import Noise
from noiseproof.noises.registry import NOISES
from noiseproof.randomness import Seed
from noiseproof.runs.records import VoteTable
from noiseproof.runs.settings import ShardSettings
from noiseproof.runs.store import ShardedRecord
from noiseproof.runs.tables import as_rows
from noiseproof.sequential import LASTING, SequentialTest, StoppingRule, rule_from

__all__ = ["SequentialRecord", "SequentialSettings"]


@dataclass(frozen=True, kw_only=True)
class SequentialSettings(ShardSettings):
    """What decides the votes. Two records with equal settings hold equal votes.

    Attributes:
        noise: `Noise.spec()`.
        procedure: `StoppingRule.spec()`: radii or a precision, alpha, beta, cap, certificate.
        seed: key of the noise: a number, or a secret key, of which the file has the commitment.
    """

    noise: Mapping[str, Any]
    procedure: Mapping[str, Any]
    seed: Seed


@dataclass(frozen=True)
class SequentialRecord(ShardedRecord[SequentialSettings, VoteTable]):
    """A run folder with counts at the stopping time."""

    configuration = "sequential.json"
    version = 1
    settings_type = SequentialSettings
    command = "certify"

    @classmethod
    def create(cls, path: Path, settings: SequentialSettings, about: Mapping[str, Any]) -> "SequentialRecord":
        """Start a record, or go on with the one that is there: of equal settings, or with the same and a lower cap.

        Under a higher cap the votes that are there are kept, and images that are not decided by them go on. No evidence
        depends on the cap, and every number of votes may be the last, so that certificates hold at alpha as before, and
        all outcomes are those of a record begun under the higher cap.

        Raises:
            RunError: as `ShardedRecord.create`; or the cap is to be raised while another process is at work.
        """
        if (path / cls.configuration).exists():
            found = cls.open(path)
            if found.goes_on_under(settings):
                return found.raise_cap(found.as_begun(settings), about)
        return super().create(path, settings, about)

    def goes_on_under(self, settings: SequentialSettings) -> bool:
        """Whether these settings are the record's but for a higher cap."""
        settings = self.as_begun(settings)
        before, now = self.settings.procedure, settings.procedure
        if not before.get("cap", math.inf) < now.get("cap", -math.inf):
            return False
        return replace(self.settings, procedure=now) == settings and {**before, "cap": None} == {**now, "cap": None}

    def require_equal(self, settings: SequentialSettings) -> None:
        """Raise RunError, with every difference, unless these are the record's settings, as it was begun."""
        super().require_equal(self.as_begun(settings))

    def as_begun(self, settings: SequentialSettings) -> SequentialSettings:
        """Return the settings without lasting certificates where an earlier record has none: it goes on as it began."""
        if LASTING in self.settings.procedure:
            return settings
        return replace(settings, procedure={name: it for name, it in settings.procedure.items() if name != LASTING})

    @cached_property
    def noise(self) -> Noise:
        """The noise the votes were counted under."""
        return NOISES.from_spec(self.settings.noise)

    @cached_property
    def rule(self) -> StoppingRule:
        """When sampling ends, and what the votes then prove.

        Raises:
            InvalidInputError: the settings name no stopping rule.
        """
        return rule_from(self.settings.procedure)

    @cached_property
    def test(self) -> SequentialTest:
        """The rule under the noise of the record."""
        return self.rule.under(self.noise)

    def certify(self, table: VoteTable | None = None) -> Certified:
        """Return what the votes prove, of some rows or of all that are there, at the alpha they were counted for."""
        rows = self.read() if table is None else table
        return self.test.certify(rows.votes, rows.certifying)

    def raise_cap(self, settings: SequentialSettings, about: Mapping[str, Any]) -> "SequentialRecord":
        """Keep all votes for a record under a higher cap, and put it in the place of this one.

        Killed before the new configuration is there, it leaves this record as it is, but for votes of shards that are not
        whole; killed later, the new one.
        """
        past = {"cap": self.settings.procedure["cap"], "about": dict(self.about)}
        raised = SequentialRecord(self.path, settings, {**about, "raised_from": past})
        with ExitStack() as claims:
            for shard in self.shards:
                if not claims.enter_context(self.claim(shard)):
                    raise RunError(
                        str(self.path),
                        required="at rest, to raise its cap",
                        got=f"another process at work on shard {shard}",
                        remedy="Wait until it has ended, or stop it: nothing is lost.",
                    )
            for shard in self.shards:
                raised.keep(shard, self._so_far(shard))
            raised._write_configuration(replace=True)
            for shard in self.shards:
                self.shard_path(shard).unlink(missing_ok=True)
        return raised

    def _so_far(self, shard: int) -> dict[int, Int[np.ndarray, "*moments classes"]]:
        """The votes of a shard, whole or not."""
        if not self.holds(shard):
            return self.kept(shard)
        table = self.read_shard(shard)
        votes = table.votes if table.certifying is None else np.stack([table.votes, table.certifying], axis=1)
        return dict(zip(table.index.tolist(), votes, strict=True))

    def _table(self, rows: pa.Table) -> VoteTable:
        votes, criterion = as_rows(rows["votes"], self.settings.num_classes), self.test.criterion
        if (votes < 0).any() or (votes.sum(-1) > criterion.max_samples).any() or (votes.sum(-1) == 0).any():
            raise ValueError("votes that are no counts, or more than the cap")
        certifying, reached = None, None
        if criterion.lasting:
            certifying = as_rows(rows["certifying_votes"], self.settings.num_classes)
            if (certifying < 0).any() or (certifying > votes).any():
                raise ValueError("certifying votes that are not among the votes")
            reached = criterion.reached(certifying)
            if ((reached == 0) & certifying.any(-1)).any() or (reached < criterion.reached(votes)).any():
                raise ValueError("certifying votes that do not certify, or less than the last ones")
        if not criterion.ended(votes, reached).all():
            raise ValueError("votes that do not stop there")
        return replace(VoteTable.read(rows, votes), certifying=certifying)
