"""Certify a data set sequentially: images of many shards share every batch until they are decided."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from noiseproof.certified import require_enough_samples
from noiseproof.classifiers.inputs import as_pixels
from noiseproof.numerics.decimals import round_down
from noiseproof.randomness import Seed, as_seed
from noiseproof.runs.counts import VoteJob, Watched
from noiseproof.runs.job import EVERY_IMAGE, Selection
from noiseproof.runs.records import VoteTable, default_shard_size
from noiseproof.runs.running import Running
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.runs.shards import Shard, ShardWriter
from noiseproof.runs.subject import Subject, require_noise
from noiseproof.runs.tables import Table
from noiseproof.sampling.scheduler import QueuedImage
from noiseproof.sequential import StoppingRule

__all__ = ["SequentialVotes"]

_TYPICAL = 1_000
"""Votes an image, on average: what shards are sized for."""

_LEAST = 16
"""Images per shard at least. A shard that is open holds a file, and large batches take in thousands of images at once."""


@dataclass(frozen=True)
class SequentialVotes(VoteJob[SequentialRecord]):
    """Sample every image until a stopping rule says that it is decided.

    The votes so far are kept every half minute and when it is interrupted, so that it goes on in the middle of an image.

    Attributes:
        rule: when an image's votes stop, and what they prove.
        seed: key of the noise; a secret key is kept beside the record until the last vote is counted, and then revealed.
        selection: which images.
        shard_size: images per shard; None chooses by image size.
    """

    rule: StoppingRule
    seed: Seed = 0
    selection: Selection = EVERY_IMAGE
    shard_size: int | None = None
    record = SequentialRecord
    kept = "The votes so far are saved, of every image."

    @staticmethod
    def of(record: SequentialRecord) -> "SequentialVotes":
        """Return the job that a record is of, so that it goes on."""
        settings = record.settings
        return SequentialVotes(record.rule, settings.seed, Selection.of(record), settings.shard_size)

    @property
    def work(self) -> tuple[int, int]:
        """Return a typical number of votes; the actual number is not known beforehand."""
        return _TYPICAL, 0

    def plan(self, subject: Subject) -> SequentialSettings:
        """Return the settings of the record.

        Raises:
            InvalidInputError: so few samples that nothing could be certified, radii out of the noise's reach, or no noise.
        """
        dataset, noise = subject.dataset, require_noise(subject)
        rule, cap = self.rule, self.rule.max_samples
        needed = rule.under(noise).votes_needed(dataset.num_classes)
        require_enough_samples(cap, needed, rule.alpha, name="max_samples")
        return SequentialSettings(
            noise=noise.spec(),
            procedure=rule.spec(),
            seed=as_seed(self.seed),
            shard_size=self.shard_size or max(_LEAST, default_shard_size(min(cap, _TYPICAL), dataset.image_shape)),
            **self.common(subject),
        )

    def watched(self, subject: Subject, radii: Sequence[float] | None) -> Watched:  # noqa: ARG002 - the rule has its own
        """Watch the images certified, at the first radius of the rule where it has radii."""
        test, own = self.rule.under(require_noise(subject)), self.rule.spec().get("radii")
        watched = f"certified at {round_down(own[0], None)}" if own else "certified"
        return watched, lambda table: int((test.certify(table.votes, table.certifying).prediction == table.label).sum())

    def run(self, running: Running, writer: ShardWriter) -> Iterator[tuple[Shard, Table]]:
        """Sample the images of shard after shard; a shard is complete when its last image is decided."""
        settings: SequentialSettings = writer.record.settings
        of: dict[int, int] = {}
        left: dict[int, int] = {}

        def queue() -> Iterator[QueuedImage]:
            none = np.zeros((1, settings.num_classes), dtype=np.int64)
            for shard in writer.shards():
                left[shard.number] = len(shard.indices)
                of.update(dict.fromkeys(shard.indices, shard.number))
                for index, pixels in zip(shard.indices, as_pixels(shard.images), strict=True):
                    so_far = np.atleast_2d(shard.votes.get(index, none))
                    yield QueuedImage(index, pixels.to(scheduler.device), *so_far)

        scheduler = running.counter.scheduler(
            running.subject.dataset.read(settings.indices[:1]),
            writer.record.test.criterion,
            seed=settings.seed,
            progress=writer.progress,
            stopwatch=writer.watch,
        )
        writer.so_far = scheduler.snapshot
        for retired in scheduler.run(queue()):
            shard = writer.open[of[retired.index]]
            shard.votes[retired.index] = retired.kept
            left[shard.number] -= 1
            writer.listener.image(int(retired.votes.sum()))
            if not left[shard.number]:
                with writer.watch.stage("writing"):
                    kept = [np.atleast_2d(shard.votes[index]) for index in shard.indices]
                    votes, *certifying = np.stack(kept, axis=1)
                    table = VoteTable.of(shard.indices, shard.labels, votes, None, shard.images, shard.files)
                yield shard, replace(table, certifying=certifying[0]) if certifying else table
