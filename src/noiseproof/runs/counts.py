"""Certify a data set: a number of votes for every image that is fixed beforehand (Algorithm 1)."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import torch

from noiseproof.bounds import Bound
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates import Certificate
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.certified import DEFAULT_ALPHA, DEFAULT_CERTIFICATE, FixedSamples, require_enough_samples
from noiseproof.classifiers.input_scale import require_input_scale
from noiseproof.errors import require_count
from noiseproof.noises import Noise
from noiseproof.numerics.decimals import round_down
from noiseproof.randomness import Phase, Seed, as_seed
from noiseproof.runs.job import EVERY_IMAGE, Job, RecordT, Selection
from noiseproof.runs.listener import Listener
from noiseproof.runs.records import (
    DATA_IMAGES,
    PROCEDURE,
    ROWS,
    Record,
    RecordSettings,
    VoteTable,
    default_bound,
    default_shard_size,
)
from noiseproof.runs.running import Running
from noiseproof.runs.shards import Shard, ShardWriter
from noiseproof.runs.subject import Subject, require_noise
from noiseproof.runs.tables import Table
from noiseproof.sampling.counts import Tally

__all__ = ["CountVotes", "VoteJob", "Watched"]

Watched = tuple[str, Callable[[VoteTable], int]]

_PROBED = 64
"""Clean images on which the scale of the input is checked."""

_TELLING = 20
"""With fewer images the check of the scale could fail by chance."""

_AT_CHANCE = 1.5
"""A warning is given where clean accuracy is below this many times that of guessing."""


class VoteJob(Job[RecordT]):
    """A job whose record holds votes on the images of a data set."""

    def about(self, running: Running) -> dict[str, Any]:
        """Return what every record has, the number of images of the data set, and whether outputs depend on the batch."""
        rows = running.counter.rows
        found = {} if rows is None else {ROWS: asdict(rows)}
        return super().about(running) | {DATA_IMAGES: len(running.subject.dataset)} | found

    @final
    def sampler(self, subject: Subject, device: torch.device) -> str:
        """Return "exact" for 8-bit images on a CPU, where it takes no longer: certificates then cover the arithmetic.

        "float" elsewhere: for images with other pixels, for noise without `cumulative`, and on GPUs, where the exact
        sampler has not been timed.
        """
        known = type(require_noise(subject)).cumulative is not Noise.cumulative
        return "exact" if subject.dataset.eight_bit and known and device.type == "cpu" else "float"

    @abstractmethod
    def watched(self, subject: Subject, radii: Sequence[float] | None) -> Watched:
        """Return what is shown while votes are counted: its name, and the function that counts such images of a table.

        Args:
            subject: whose votes.
            radii: those that the user wants to see.
        """

    @final
    def try_out(self, running: Running, listener: Listener) -> None:
        """Try the classifier, and check the scale of its input, on images spread over the whole data set."""
        counter, dataset = running.counter, running.subject.dataset
        chosen = range(len(dataset))[:: max(1, len(dataset) // _PROBED)][:_PROBED]
        images = dataset.read(chosen)
        size = counter.try_out(images)
        if len(chosen) < _TELLING:
            return
        accuracy = require_input_scale(counter.classifier.reading("numpy"), images, dataset.labels[list(chosen)], size)
        if accuracy < _AT_CHANCE / dataset.num_classes:
            listener.say(
                f"It gets {accuracy:.0%} of {len(chosen)} clean images right; guessing gets {1 / dataset.num_classes:.0%}. "
                "Check weights, normalisation and the order of the classes.",
                "Is this the right classifier?",
            )


@dataclass(frozen=True)
class CountVotes(VoteJob[Record]):
    """Count as many votes for every image; bounds and certificates are computed from them: `Record.certify`.

    The votes so far are kept every half minute and when it is interrupted, so that it goes on in the middle of an image.

    Attributes:
        samples: n, votes per image.
        selection_samples: votes that only choose the class, for the two-phase bound; 0 for none.
        seed: key of the noise; a secret key is kept beside the record until the last vote is counted, and then revealed.
        selection: which images.
        shard_size: images per shard; None chooses by image size.
        alpha: failure probability per image that the votes are counted for.
        bound: from votes to probabilities; None is the `default_bound` of so many selection votes.
        certificate: from probabilities to a radius.

    The last three decide no vote. They are recorded before the first one is counted, so that whoever reads the record can
    tell whether they were chosen before the votes were seen: `Record.procedure`.

    Example:
        >>> from tempfile import mkdtemp
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from noiseproof import data
        >>> from noiseproof.noises import Gaussian
        >>> from noiseproof.runs import execute
        >>> ink = lambda batch: np.clip(20 * batch.mean(axis=(1, 2, 3)), 0, 9).astype(int)
        >>> subject = Subject.of(ink, Gaussian(sigma=0.25), data.load("digits", "test"), name="ink")
        >>> job = CountVotes(samples=500, selection=Selection(every=20))
        >>> record, left = execute(job, Path(mkdtemp()), subject)
        >>> record.read().votes.shape
        (30, 10)
    """

    samples: int = 10_000
    selection_samples: int = 100
    seed: Seed = 0
    selection: Selection = EVERY_IMAGE
    shard_size: int | None = None
    alpha: float = DEFAULT_ALPHA
    bound: Bound | None = None
    certificate: Certificate = DEFAULT_CERTIFICATE
    record = Record
    kept = "The votes so far are saved, of every image."

    @staticmethod
    def of(record: Record) -> "CountVotes":
        """Return the job that a record is of, so that it goes on: `execute(CountVotes.of(record), record.path, subject)`."""
        settings, made_for = record.settings, record.procedure
        return CountVotes(
            settings.samples,
            settings.selection_samples,
            settings.seed,
            Selection.of(record),
            settings.shard_size,
            made_for.alpha,
            made_for.bound,
            made_for.certificate,
        )

    @property
    def procedure(self) -> FixedSamples:
        """What the votes are counted for."""
        bound = default_bound(self.selection_samples) if self.bound is None else self.bound
        return FixedSamples(self.samples, alpha=self.alpha, bound=bound, certificate=self.certificate)

    @property
    def work(self) -> tuple[int, int]:
        """Return the votes of both phases."""
        return (self.samples + self.selection_samples,) * 2

    def plan(self, subject: Subject) -> RecordSettings:
        """Return the settings of the record.

        Raises:
            InvalidInputError: a count below 1 (0 for selection_samples), no noise, a certificate that is not for it, or so
                few samples that nothing could be certified.
        """
        require_count("samples", self.samples, 1, "At least one vote is needed.")
        require_count("selection_samples", self.selection_samples, 0, "0 leaves the selection phase out.")
        dataset, made_for = subject.dataset, self.procedure
        made_for.certificate.require_noise(require_noise(subject))
        require_enough_samples(self.samples, made_for.votes_needed(dataset.num_classes), self.alpha)
        return RecordSettings(
            noise=require_noise(subject).spec(),
            samples=self.samples,
            selection_samples=self.selection_samples,
            seed=as_seed(self.seed),
            shard_size=self.shard_size or default_shard_size(self.samples, dataset.image_shape),
            **self.common(subject),
        )

    def watched(self, subject: Subject, radii: Sequence[float] | None) -> Watched:
        """Watch the images certified at the first radius above 0, or at the scale of the noise: good classifiers reach it."""
        noise = require_noise(subject)
        radius = next((value for value in radii or () if value > 0.0), noise.scale)

        def judge(table: VoteTable) -> int:
            found = self.procedure.certify(table.votes, noise, table.selection_votes)
            return int(((found.prediction == table.label) & (found.radius >= radius)).sum())

        return f"certified at {round_down(radius, None)}", judge

    def about(self, running: Running) -> dict[str, Any]:
        """Return how the network was trained, the number of images of the data set, and what the votes are counted for."""
        made_for = self.procedure
        certificate = CERTIFICATES.spec(made_for.certificate)
        procedure = {"alpha": made_for.alpha, "bound": BOUNDS.spec(made_for.bound), "certificate": certificate}
        return super().about(running) | {PROCEDURE: procedure}

    def run(self, running: Running, writer: ShardWriter) -> Iterator[tuple[Shard, Table]]:
        """Count shard after shard."""
        selected = {Phase.SELECT: self.selection_samples} if self.selection_samples else {}
        for shard in writer.shards():
            tally = Tally(shard.votes)
            writer.so_far = tally.so_far
            votes = running.counter.count(
                shard.images,
                selected | {Phase.CERTIFY: self.samples},
                seed=self.seed,
                indices=shard.indices,
                progress=writer.progress,
                stopwatch=writer.watch,
                tally=tally,
            )
            with writer.watch.stage("writing"):
                both = votes[Phase.CERTIFY], votes.get(Phase.SELECT)
                table = VoteTable.of(shard.indices, shard.labels, *both, shard.images, shard.files)
            yield shard, table
