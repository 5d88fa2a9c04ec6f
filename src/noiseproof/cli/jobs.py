"""The two ways to count: a number of votes fixed beforehand, or until it is known."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from noiseproof.cli.progress import Counting, Deciding
from noiseproof.data import Dataset
from noiseproof.noises import Noise
from noiseproof.runs.counts import count_into, plan
from noiseproof.runs.records import Record, VoteTable
from noiseproof.runs.sequential import TYPICAL_VOTES, decide_into, plan_decision
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.sequential import StoppingRule
from noiseproof.smoothing import SmoothedClassifier

__all__ = ["FixedVotes", "Job", "RecordT", "UntilKnown"]

RecordT = TypeVar("RecordT", Record, SequentialRecord)


class Job(ABC, Generic[RecordT]):
    """What is counted into which kind of record."""

    record: type[RecordT]
    votes: int
    """Votes to be expected for an image."""

    kept: str
    """What an interruption leaves."""

    @abstractmethod
    def plan(self, dataset: Dataset, smoothed: SmoothedClassifier, **choice: Any) -> Any:
        """Return the settings of the record; `choice`: model, seed, every, limit."""

    @abstractmethod
    def counting(self, images: int, noise: Noise) -> Counting:
        """Return what is shown while so many images are counted."""

    @abstractmethod
    def fill(self, record: RecordT, smoothed: SmoothedClassifier, dataset: Dataset, **ways: Any) -> list[int]:
        """Count; `ways`: shards, progress, on_shard, stopwatch. Returns the shards left to other processes."""


@dataclass(frozen=True)
class FixedVotes(Job[Record]):
    """As many votes for every image.

    Attributes:
        samples: votes per image.
        selection_samples: votes of the selection phase.
        watched: what the judge looks for.
        judge: how many images of a shard are certified; shown while counting.
    """

    samples: int
    selection_samples: int
    watched: str = ""
    judge: Callable[[VoteTable, Noise], int] = lambda _table, _noise: 0
    record = Record
    kept = "The votes of every finished shard are saved."

    @property
    def votes(self) -> int:  # type: ignore[override]
        """Votes of both phases."""
        return self.samples + self.selection_samples

    def plan(self, dataset: Dataset, smoothed: SmoothedClassifier, **choice: Any) -> Any:
        """Return the settings of the record."""
        return plan(dataset, smoothed, samples=self.samples, selection_samples=self.selection_samples, **choice)

    def counting(self, images: int, noise: Noise) -> Counting:
        """Show images, speed and how many are certified."""
        return Counting(self.votes, images, self.watched, lambda table: self.judge(table, noise))

    def fill(self, record: Record, smoothed: SmoothedClassifier, dataset: Dataset, **ways: Any) -> list[int]:
        """Count."""
        ways.pop("on_image")
        return count_into(record, smoothed, dataset, **ways)


@dataclass(frozen=True)
class UntilKnown(Job[SequentialRecord]):
    """As many votes as it takes.

    Attributes:
        rule: when sampling ends.
        watched: what is shown while deciding, such as "certified at 0.5".
    """

    rule: StoppingRule
    watched: str
    record = SequentialRecord
    votes = TYPICAL_VOTES
    kept = "The votes so far are saved, of every image."

    def plan(self, dataset: Dataset, smoothed: SmoothedClassifier, **choice: Any) -> Any:
        """Return the settings of the record."""
        return plan_decision(dataset, smoothed, self.rule, **choice)

    def counting(self, images: int, noise: Noise) -> Counting:
        """Show images decided, votes an image, and how many are certified."""
        test = self.rule.under(noise)

        def certified(table: VoteTable) -> int:
            return int((test.certify(table.votes).prediction == table.label).sum())

        return Deciding(images, self.watched, certified)

    def fill(self, record: SequentialRecord, smoothed: SmoothedClassifier, dataset: Dataset, **ways: Any) -> list[int]:
        """Decide."""
        return decide_into(record, smoothed, dataset, **ways)
