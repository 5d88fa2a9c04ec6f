"""Attack a data set: points found at every size, and fresh votes on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from noiseproof.attacks import Attack, Batch, Defence
from noiseproof.attacks.base import require_verdicts
from noiseproof.attacks.escalation import escalate, images_together, require_epsilons, searched_together
from noiseproof.attacks.expectation import differentiable
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.randomness import require_seed
from noiseproof.runs.attack_records import AttackRecord, AttackSettings, AttackTable
from noiseproof.runs.identity import require_unchanged
from noiseproof.runs.job import EVERY_IMAGE, Job, Selection
from noiseproof.runs.listener import Listener
from noiseproof.runs.records import Record
from noiseproof.runs.running import Running
from noiseproof.runs.shards import Shard, ShardWriter
from noiseproof.runs.subject import Subject
from noiseproof.runs.tables import Table

__all__ = ["AttackImages", "Limits"]

_A_SUM_OF_ONE = 0.01
"""How near to 1 the scores of a softmax add up, 16 bits included."""


@dataclass(frozen=True)
class Limits:
    """How far each image of a record may be attacked, and away from which class: those of certificates, for an audit.

    Attributes:
        label: (images,) the class to be changed, for each index of the record.
        size: (images,) the largest size; an image with 0 is left alone.
        origin: where they come from, for the record.
    """

    label: Int[np.ndarray, " images"]
    size: Float[np.ndarray, " images"]
    origin: Mapping[str, Any]


@dataclass(frozen=True)
class AttackImages(Job[AttackRecord]):
    """Attack every image at rising sizes, and judge by fresh votes what was found.

    At each size, smallest first, the attack looks for points of the images that still stand. An image that is classified
    wrongly at one size keeps its point at all larger ones.

    Attributes:
        attack: the attack.
        epsilons: its sizes; with limits, in shares of each image's own.
        norm: in which they are measured.
        samples: votes on each point.
        alpha: level of the verdicts.
        seed: key of all randomness.
        selection: which images.
        shard_size: images per file; None fills a batch with their copies.
        limits: each image's own size and class, for an audit.
        beside: a certification beside which accuracy is shown: where it is of this classifier by name and digest, so it
            must be by its fingerprint.
    """

    attack: Attack
    epsilons: Sequence[float]
    norm: NormLike = "l2"
    samples: int = 1000
    alpha: float = 0.001
    seed: int = 0
    selection: Selection = EVERY_IMAGE
    shard_size: int | None = None
    limits: Limits | None = None
    beside: Record | None = None
    record = AttackRecord

    @property
    def _sizes(self) -> list[float]:
        """The sizes, rising from 0 on, which is put before them."""
        return require_epsilons(sorted({0.0, *map(float, self.epsilons)} if len(self.epsilons) else ()))

    @property
    def work(self) -> tuple[int, int]:
        """Return the votes on an image's points, and the number of its sizes."""
        sizes = len(self._sizes)
        return self.samples * sizes, sizes

    def plan(self, subject: Subject) -> AttackSettings:
        """Return the settings of the record.

        Raises:
            InvalidInputError: a norm that the attack does not support, wrong sizes, a count below 1, or too few samples
                for any verdict at this alpha.
        """
        self.attack.require_norm(self.norm)
        require_seed(self.seed)
        dataset, noise = subject.dataset, subject.noise
        require_verdicts(self.samples, self.alpha, noisy=noise is not None)
        return AttackSettings(
            attack=self.attack.spec(),
            norm=str(self.norm),
            sizes=self._sizes,
            samples=1 if noise is None else self.samples,
            alpha=self.alpha,
            seed=int(self.seed),
            shard_size=self.shard_size or images_together(dataset.image_shape, self._copies(subject)),
            gradients="",
            noise=None if noise is None else noise.spec(),
            limits=None if self.limits is None else dict(self.limits.origin),
            **self.common(subject),
        )

    def try_out(self, running: Running, listener: Listener) -> None:
        """Begin the attack on one image, so that what cannot be attacked leaves no record behind."""
        self._require_beside(running)
        defence, dataset = running.defence(self.attack), running.subject.dataset
        images = torch.as_tensor(dataset.read(range(1))).to(defence.device)
        labels = torch.as_tensor(dataset.labels[:1]).to(defence.device)
        self.attack.begin(defence, Batch(images, labels, range(1)), self.norm)
        defence.try_out(images)
        if self.attack.follows_gradients:
            with torch.no_grad():
                scores = torch.as_tensor(differentiable(defence.network)(images)).double()
            if bool((scores >= 0.0).all()) and abs(float(scores.sum()) - 1.0) < _A_SUM_OF_ONE:
                listener.say(
                    "The network's scores add up to 1. Attacks take a softmax of scores, and that of a softmax has hardly "
                    "any slope: attack the network without its last layer, or it will look robust.",
                    "Probabilities?",
                )

    def require_unchanged(self, record: AttackRecord, running: Running) -> None:
        """Raise RunError where the classifier's fingerprint is not the record's, or that of the certification beside."""
        self._require_beside(running)
        super().require_unchanged(record, running)

    def _require_beside(self, running: Running) -> None:
        if self.beside is not None:
            require_unchanged(self.beside, running)

    def run(self, running: Running, writer: ShardWriter) -> Iterator[tuple[Shard, Table]]:
        """Attack shard after shard, always the same images together: a network's rounding depends on them."""
        defence, shape = running.defence(self.attack), running.subject.dataset.image_shape
        together = searched_together(shape, self._copies(running.subject), defence.device)
        for shard in writer.shards():
            for part in shard.parts(together):
                yield shard, self._attacked(writer.record.settings, shard, part, defence, writer.progress)

    def _attacked(
        self, settings: AttackSettings, shard: Shard, part: slice, defence: Defence, progress: Callable[[int], None]
    ) -> AttackTable:
        """Attack some images of a shard; one that is not attacked has the votes on itself at each size."""
        images, indices = torch.as_tensor(shard.images[part]).to(defence.device), shard.indices[part]
        label, largest = shard.labels[part].astype(np.int64), np.ones(len(images))
        if self.limits is not None:
            first = shard.number * settings.shard_size + part.start
            label, largest = (each[first : first + len(images)] for each in (self.limits.label, self.limits.size))
        sizes = np.where(largest[:, None] > 0.0, largest[:, None] * np.asarray(settings.sizes), -1.0)
        classes = torch.as_tensor(label).clamp(min=0)  # ABSTAIN: such an image is not attacked
        batch = Batch(images, classes.to(images.device), indices, settings.seed)
        norm = Norm(settings.norm)
        found = escalate(
            self.attack.begin(defence, batch, norm),
            defence,
            batch,
            sizes.T,
            norm,
            samples=settings.samples,
            alpha=settings.alpha,
            labels=label,
            progress=progress,
        )
        votes, points = found.votes.transpose(1, 0, 2), found.points.transpose(0, 1).cpu().numpy()
        return AttackTable(np.asarray(indices), label, sizes, votes, found.distances.T, points)

    def _copies(self, subject: Subject) -> int:
        """How many rows an image has in one pass through the network."""
        return 1 if subject.noise is None else self.attack.eot_samples
