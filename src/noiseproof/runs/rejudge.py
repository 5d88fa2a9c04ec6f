"""Judge the points of an attack again by fresh votes, of any number; nothing is attacked again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noiseproof.errors import IncompleteError
from noiseproof.runs.attack_records import AttackRecord, AttackSettings
from noiseproof.runs.identity import require_subject
from noiseproof.runs.job import EVERY_IMAGE, Job
from noiseproof.runs.listener import Listener
from noiseproof.runs.records import Record
from noiseproof.runs.running import Running
from noiseproof.runs.shards import Shard, ShardWriter
from noiseproof.runs.subject import Subject
from noiseproof.runs.tables import Table
from noiseproof.training import CHECKPOINT

__all__ = ["Rejudge", "run_above"]


@dataclass(frozen=True)
class Rejudge(Job[AttackRecord]):
    """Vote anew on the points of a record of an attack, which are copied.

    The votes of the attack decided which points it kept, so they lean towards it a little; these do not.

    Attributes:
        found: the record with the points.
        samples: votes on each point.
        seed: key of their noise; None takes the next one after the attack's.
        alpha: level of the verdicts; None takes that of the attack.
    """

    found: AttackRecord
    samples: int = 10_000
    seed: int | None = None
    alpha: float | None = None
    record = AttackRecord
    selection = EVERY_IMAGE

    @property
    def settings(self) -> AttackSettings:
        """The settings of the record, but for the engine; see `AttackSettings.again` for what it raises."""
        return self.found.settings.again({}, samples=self.samples, seed=self.seed, alpha=self.alpha)

    @property
    def work(self) -> tuple[int, int]:
        """Return the votes on an image's points, and the number of its sizes."""
        sizes = len(self.found.settings.sizes)
        return self.samples * sizes, sizes

    @property
    def beside(self) -> AttackRecord:
        """The record of the attack."""
        return self.found

    def plan(self, subject: Subject) -> AttackSettings:
        """Return the settings of the record.

        Raises:
            InvalidInputError: see `AttackSettings.again`.
            RunError: the record of the attack is not whole, or of another classifier, noise or data set.
        """
        settings, (missing, faults) = self.settings, self.found.missing()
        if faults:
            raise faults[0]
        if missing:
            raise IncompleteError(
                str(self.found.path),
                required="complete, to be judged again",
                got=f"{len(missing)} of {len(self.found.shards)} shards missing",
                remedy="Run the command that made it again: it goes on.",
            )
        self.found.present()  # of one classifier
        require_subject(self.found.path, settings, subject)
        return settings

    def about(self, running: Running) -> dict[str, Any]:
        """Return what every record has, and the record that the points are from."""
        return super().about(running) | {"points": str(self.found.path)}

    def try_out(self, running: Running, listener: Listener) -> None:  # noqa: ARG002 - there is nothing to tell
        """Try the classifier on one image."""
        defence = running.defence()
        defence.try_out(torch.as_tensor(running.subject.dataset.read(range(1))).to(defence.device))

    def run(self, running: Running, writer: ShardWriter) -> Iterator[tuple[Shard, Table]]:
        """Judge shard after shard; a point that was kept has the votes it has."""
        defence, settings = running.defence(), self.settings
        for shard in writer.shards():
            all_points, whole = self.found.read_points(shard.number), self.found.read_shard(shard.number)
            for part in shard.parts():
                points, table = all_points[part], whole[part]
                votes, rows = np.zeros_like(table.votes), np.arange(len(table))
                for number in range(votes.shape[1]):
                    if number:
                        votes[:, number] = votes[:, number - 1]
                        moved = points[:, number] != points[:, number - 1]
                        rows = moved.reshape(len(table), -1).any(1).nonzero()[0]
                    if len(rows):
                        these, keys = (
                            torch.as_tensor(points[rows, number]).to(defence.device),
                            table.index[rows].tolist(),
                        )
                        votes[rows, number] = defence.votes(these, keys, samples=self.samples, seed=settings.seed)
                    writer.progress(len(votes))
                yield shard, replace(table, votes=votes, points=points)


def run_above(attacked: Path) -> Path:
    """Return the nearest folder above a record of an attack that holds a network or votes; without one, its own."""
    above = list(attacked.resolve().parents)[:3]
    return next(
        (path for path in above for name in (CHECKPOINT, Record.configuration) if (path / name).exists()), attacked
    )
