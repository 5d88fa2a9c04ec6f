"""Check a record against its randomness: draw the noise of some images again, and count their votes again."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Int

from noiseproof.errors import IncompleteError, RunError
from noiseproof.runs.begun import job_of
from noiseproof.runs.identity import require_subject
from noiseproof.runs.job import Job, execute
from noiseproof.runs.listener import Listener
from noiseproof.runs.records import Record, VoteTable
from noiseproof.runs.running import Engine
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.subject import Subject

__all__ = ["Recount", "recount"]


@dataclass(frozen=True)
class Recount:
    """The result of counting the votes of a shard again.

    Attributes:
        shard: which.
        indices: its images.
        other: those whose votes differ.
        largest: the largest difference between two counts of a class.
    """

    shard: int
    indices: Sequence[int]
    other: Sequence[int]
    largest: int

    @property
    def images(self) -> str:
        """Its images in words."""
        return f"the {len(self.indices)} images of shard {self.shard}"


def recount(
    record: Record | SequentialRecord, subject: Subject, *, shard: int | None = None, listener: Listener | None = None
) -> Recount:
    """Count the votes of one shard again, on noise that is drawn again from the seed or the key of a record.

    Equal votes show that they were counted on this noise, by this classifier, and that no vote of the shard was changed
    afterwards. For a secret key the commitment that was recorded before the first vote is compared with the key's digest
    when the record is opened. Votes of a network can differ by a few on a processor that rounds in another way.

    Args:
        record: of votes.
        subject: its classifier, noise and data.
        shard: which; None draws one of those that are there, from the operating system's generator.
        listener: is told of every step.

    Raises:
        IncompleteError: no shard is there.
        RunError: another subject, a damaged shard, or a machine whose generator is another than the record's.
        InvalidInputError: the secret key is not at hand.
    """
    require_subject(record.path, record.settings, subject)
    there = sorted(set(record.shards) - set(record.missing()[0])) if shard is None else [shard]
    if not there:
        raise IncompleteError(
            str(record.path), required="at least one shard, to count it again", got="none", remedy="Certify first."
        )
    number, made, precision = secrets.choice(there), record.settings.engine or {}, record.settings.precision
    engine = Engine(sampler=record.settings.sampler)
    if precision not in {None, "as given"}:
        engine = replace(engine, precision=str(precision), compiled=made.get("compile"))
    job: Job[Any] = job_of(record)
    with TemporaryDirectory() as folder:
        again, _ = execute(job, Path(folder), subject, engine=engine, shards=[number], listener=listener)
        if (here := again.settings.engine or {}).get("sampler") != made.get("sampler"):
            raise RunError(
                str(record.path),
                required=f"noise from {made.get('sampler')}",
                got=f"{here.get('sampler')} on this machine",
                remedy="Check it on a machine with the device on which the votes were counted.",
            )
        after = again.read()
    whole = record.read()
    difference = np.abs(_counts(whole)[np.isin(whole.index, after.index)] - _counts(after)).max(axis=1)
    return Recount(number, after.index.tolist(), after.index[difference > 0].tolist(), int(difference.max()))


def _counts(table: VoteTable) -> Int[np.ndarray, "images counts"]:
    """Return all kinds of votes, side by side."""
    return np.hstack([each for each in (table.votes, table.selection_votes, table.certifying) if each is not None])
