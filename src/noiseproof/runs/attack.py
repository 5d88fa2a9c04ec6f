"""Attack a data set into a record, shard by shard: points found at every size, and fresh votes on them."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from noiseproof.attacks import Attack, Batch, Target, Votes
from noiseproof.bounds import votes_to_verify
from noiseproof.bounds.base import require_alpha
from noiseproof.certified import require_enough_samples
from noiseproof.classifiers.batching import default_batch_size
from noiseproof.classifiers.runners import FunctionRunner, Runner
from noiseproof.data import Dataset
from noiseproof.errors import ClassifierError, InvalidInputError, RunError, require_count
from noiseproof.evaluation.robust_accuracy import Verdict, verdicts
from noiseproof.perturbations.norms import Norm, distance
from noiseproof.randomness import Phase, require_seed
from noiseproof.runs.attack_records import ROUNDING, AttackRecord, AttackSettings, AttackTable
from noiseproof.smoothing import SmoothedClassifier
from noiseproof.storage.provenance import device_name

__all__ = ["Defence", "Limits", "attack_into", "judge_into", "plan_attack", "require_sizes"]

_TOGETHER = 256
"""Images in a shard at most: a kill loses minutes."""


@dataclass(frozen=True)
class Defence:
    """A classifier under attack.

    Attributes:
        target: what the attacker has: the differentiable network, if there is one, and the noise.
        voter: f as it votes: a module, a runner such as `engine.accelerate` makes, or a function.
        batch_size: images per call of the voter; None chooses by image size.
    """

    target: Target
    voter: Callable[[Any], Any]
    batch_size: int | None = None

    def votes(
        self, points: Float[Tensor, "batch *shape"], indices: Sequence[int], *, samples: int, seed: int
    ) -> Int[np.ndarray, "batch classes"]:
        """Return votes on points, by noise that no attack has seen; without noise the one answer of the classifier."""
        if self._smoothed is not None:
            return self._smoothed.count(points, samples=samples, seed=seed, indices=indices, phase=Phase.JUDGE)
        answers: Int[np.ndarray, "batch classes"] = self._plain(points).cpu().numpy().astype(np.int64)
        return answers

    def engine(self) -> dict[str, Any]:
        """Return what decides the votes beside classifier, noise and seed."""
        return self._plain.classifier.runner.settings() if self._smoothed is None else self._smoothed.engine()

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return (self._plain if self._smoothed is None else self._smoothed).classifier.device

    def try_out(self, images: Float[Tensor, "batch *shape"]) -> None:
        """Try the classifier on a few images.

        Raises:
            ClassifierError: it failed, or depends on its batch: see `BaseClassifier.probe`.
        """
        if self._smoothed is None:
            self._plain.classifier.probe(images, self.batch_size or len(images))
        else:
            self._smoothed.try_out(images)

    @cached_property
    def _smoothed(self) -> SmoothedClassifier | None:
        """What votes; None for a classifier without noise."""
        if self.target.noise is None:
            return None
        return SmoothedClassifier(self.voter, self.target.noise, self.target.num_classes, batch_size=self.batch_size)

    @cached_property
    def _plain(self) -> Votes:
        """What answers where there is no noise."""
        voter = self.voter if isinstance(self.voter, nn.Module | Runner) else FunctionRunner(self.voter, "torch")
        return Votes(voter, None, self.target.num_classes, batch_size=self.batch_size)


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


def require_sizes(sizes: Sequence[float]) -> tuple[float, ...]:
    """Return attack sizes as rising numbers from 0 on, which is put before them.

    Raises:
        InvalidInputError: none, a negative or infinite one.
    """
    if not sizes or not all(math.isfinite(size) and size >= 0.0 for size in sizes):
        raise InvalidInputError(
            "sizes",
            required="a list of finite numbers >= 0, in units of a pixel in [0, 1]",
            got=list(sizes),
            remedy="Example: 0.5,1,1.5",
        )
    return tuple(sorted({0.0, *(float(size) for size in sizes)}))


def plan_attack(
    dataset: Dataset,
    defence: Defence,
    attack: Attack,
    *,
    model: Mapping[str, Any],
    norm: Norm,
    sizes: Sequence[float],
    samples: int = 1000,
    alpha: float = 0.001,
    seed: int = 0,
    every: int = 1,
    limit: int | None = None,
    limits: Limits | None = None,
    gradients: str = "fp32",
) -> AttackSettings:
    """Return the settings of a record of an attack on the first `limit` of every `every`-th image.

    Args:
        dataset: whose images are attacked.
        defence: the classifier.
        attack: the attack.
        model: name and digest of the classifier, for the record.
        norm: in which sizes are measured.
        sizes: of the attack; with limits, in shares of each image's own.
        samples: votes on each point.
        alpha: level of the verdicts.
        seed: key of all randomness.
        every: takes every n-th image, spread over the data set.
        limit: at most so many images.
        limits: each image's own size and class, for an audit.
        gradients: precision of the network that the attack differentiates.

    Raises:
        InvalidInputError: a norm that the attack does not support, wrong sizes, a count below 1, or too few samples for
            any verdict at this alpha.
    """
    attack.require_norm(norm)
    require_seed(seed)
    counts = {"samples": samples, "every": every, "limit": 1 if limit is None else limit}
    for name, value in counts.items():
        require_count(name, value, 1, "Pass another one.")
    indices = range(0, len(dataset), every)[:limit]
    noise = defence.target.noise
    require_alpha(alpha)
    if noise is not None:
        require_enough_samples(samples, votes_to_verify(alpha), alpha)
    return AttackSettings(
        data=dataset.about(),
        model=dict(model),
        num_classes=dataset.num_classes,
        attack=attack.spec(),
        norm=norm,
        sizes=list(require_sizes(sizes)),
        samples=1 if noise is None else int(samples),
        alpha=alpha,
        seed=int(seed),
        start=indices.start,
        stop=indices.stop,
        step=indices.step,
        shard_size=_shard_size(dataset, attack if noise is not None else None),
        engine=defence.engine(),
        gradients=gradients,
        noise=None if noise is None else noise.spec(),
        limits=None if limits is None else dict(limits.origin),
    )


def attack_into(
    record: AttackRecord,
    attack: Attack,
    defence: Defence,
    dataset: Dataset,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] = lambda _: None,
    on_shard: Callable[[AttackTable], None] = lambda _table: None,
) -> list[int]:
    """Attack every shard that is missing or damaged, and write each when it is complete.

    At each size, smallest first, the attack looks for points of the images that still stand; fresh votes judge what it
    found. An image that is classified wrongly at one size keeps its point at all larger ones.

    Args:
        record: where points and votes go; its settings say what to do.
        attack: the attack of these settings.
        defence: the classifier.
        dataset: whose images are attacked.
        limits: those of the settings.
        progress: told of every image and size that is done.
        on_shard: called with every shard written.

    Returns:
        The shards that were left to another process, which holds them.

    Raises:
        RunError: attack, noise or data set are not those of the record, or a shard could not be written.
        ClassifierError: the classifier failed; shards written before stay.
    """
    _require_the_recorded(record.settings, attack, defence, dataset)

    def find(shard: int) -> tuple[AttackTable, np.ndarray]:
        run = _Shard(record, shard, attack, defence, dataset, limits)
        run.attack(progress)
        return run.table, run.points.cpu().numpy()

    return _fill(record, find, defence, on_shard)


def judge_into(
    record: AttackRecord, found: AttackRecord, defence: Defence, *, progress: Callable[[int], None] = lambda _: None
) -> list[int]:
    """Vote anew on the points of another record, which are copied; otherwise as `attack_into`.

    Args:
        record: where points and votes go; its settings are those of `AttackSettings.again`.
        found: whose points.
        defence: the classifier.
        progress: told of every image and size that is done.

    Returns:
        The shards that were left to another process.

    Raises:
        RunError: the settings are others, a shard of `found` is missing or damaged, or one could not be written.
    """
    settings, noise = record.settings, defence.target.noise
    samples, seed = settings.samples, settings.seed
    again = found.settings.again(defence.engine(), samples=samples, seed=seed, alpha=settings.alpha)
    record.require_equal(replace(again, noise=None if noise is None else noise.spec()))

    def judge(shard: int) -> tuple[AttackTable, np.ndarray]:
        points, table = found.read_points(shard), found.read_shard(shard)
        votes, rows = np.zeros_like(table.votes), np.arange(len(table))
        for number in range(votes.shape[1]):
            if number:  # a point that was kept has the votes it has
                votes[:, number] = votes[:, number - 1]
                rows = (points[:, number] != points[:, number - 1]).reshape(len(table), -1).any(1).nonzero()[0]
            if len(rows):
                these = torch.as_tensor(points[rows, number]).to(defence.device)
                votes[rows, number] = defence.votes(these, table.index[rows].tolist(), samples=samples, seed=seed)
            progress(len(votes))
        return replace(table, votes=votes), points

    return _fill(record, judge, defence, lambda _: None)


def _fill(
    record: AttackRecord,
    make: Callable[[int], tuple[AttackTable, np.ndarray]],
    defence: Defence,
    on_shard: Callable[[AttackTable], None],
) -> list[int]:
    """Write every shard that is missing and that no other process holds; return those held."""
    busy = []
    for shard in record.missing()[0]:
        with record.claim(shard) as claimed:
            if not claimed:
                busy.append(shard)
                continue
            if record.holds(shard):
                continue  # another process has made it since we looked
            begun = time.perf_counter()
            table, points = make(shard)
            about = {
                "seconds": round(time.perf_counter() - begun, 3),
                "written": datetime.now(UTC).isoformat(timespec="seconds"),
                "device": device_name(defence.device),
                "versions": {name: version(name) for name in ("noiseproof", "torch", "numpy")},
            }
            record.write_shard(shard, table, points, about)
        on_shard(table)
    return busy


class _Shard:
    """The images of one shard, while they are attacked."""

    def __init__(
        self,
        record: AttackRecord,
        shard: int,
        attack: Attack,
        defence: Defence,
        dataset: Dataset,
        limits: Limits | None,
    ) -> None:
        self.settings, self.defence = record.settings, defence
        indices = record.shard_indices(shard)
        images = torch.as_tensor(dataset.read(indices)).to(defence.device)
        label, largest = dataset.labels[np.asarray(indices)], np.ones(len(indices))
        if limits is not None:
            first = shard * self.settings.shard_size
            label, largest = (part[first : first + len(indices)] for part in (limits.label, limits.size))
        attacked = largest[:, None] > 0.0
        sizes = np.where(attacked, largest[:, None] * np.asarray(self.settings.sizes), -1.0)
        count = len(self.settings.sizes)
        votes = np.zeros((len(indices), count, self.settings.num_classes), dtype=np.int64)
        distances = np.zeros_like(sizes)
        self.table = AttackTable(np.asarray(indices), label.astype(np.int64), sizes, votes, distances)
        self.points = images.unsqueeze(1).repeat(1, count, *[1] * (images.ndim - 1))
        labels = torch.as_tensor(self.table.label).clamp(min=0)  # ABSTAIN: such an image is not attacked
        self.batch = Batch(images, labels.to(images.device), indices, self.settings.seed)
        self.find = attack.begin(defence.target, self.batch, self.settings.norm)  # type: ignore[arg-type]

    def attack(self, progress: Callable[[int], None]) -> None:
        """Go through the sizes; an image that is not attacked has the votes on itself at each."""
        every = np.arange(len(self.batch))
        standing = every
        for number, share in enumerate(self.settings.sizes):
            if number:
                self.points[:, number] = self.points[:, number - 1]
                self.table.votes[:, number] = self.table.votes[:, number - 1]
                self.table.distances[:, number] = self.table.distances[:, number - 1]
            rows = standing[self.table.sizes[standing, number] > 0.0] if share else every
            if share and len(rows):
                self.points[rows, number] = self._found(rows, number)
            if len(rows):
                self.table.votes[rows, number] = self.defence.votes(
                    self.points[rows, number],
                    [self.batch.indices[row] for row in rows.tolist()],
                    samples=self.settings.samples,
                    seed=self.settings.seed,
                )
            standing = standing[self._verdicts(standing, number) != Verdict.WRONG]
            progress(len(every))

    def _found(self, rows: Int[np.ndarray, " rows"], number: int) -> Float[Tensor, "rows *shape"]:
        """Run the attack at one size, and hold it to its size: a point outside would not be what it is taken for."""
        sizes = torch.as_tensor(self.table.sizes[rows, number]).to(self.batch.images.device)
        found = self.find(sizes, rows.tolist())
        gone = distance(found, self.batch.images[rows.tolist()], self.settings.norm)  # type: ignore[arg-type]
        inside = (found >= 0.0) & (found <= 1.0)
        if not bool((gone <= sizes * (1.0 + ROUNDING)).all() and inside.all()):
            raise ClassifierError(
                "the points of the attack",
                required=f"within their sizes in {self.settings.norm} and within [0, 1]",
                got=f"distances up to {float((gone / sizes).max()):.9g} times the size",
                remedy="That is a fault of the attack: project what it finds (noiseproof.perturbations.norms.project).",
            )
        self.table.distances[rows, number] = gone.cpu().numpy()
        return found

    def _verdicts(self, rows: Int[np.ndarray, " rows"], number: int) -> Int[np.ndarray, " rows"]:
        noisy = self.settings.noise is not None
        votes, label = self.table.votes[rows, number], self.table.label[rows]
        return np.asarray(verdicts(votes[None], label, self.settings.alpha, noisy=noisy)[0])


def _shard_size(dataset: Dataset, attack: Attack | None) -> int:
    """Images whose copies fill a batch: then the network runs at full speed and nothing is computed twice."""
    rows = default_batch_size(dataset.image_shape)
    return max(1, min(_TOGETHER, rows // (1 if attack is None else attack.copies)))


def _require_the_recorded(settings: AttackSettings, attack: Attack, defence: Defence, dataset: Dataset) -> None:
    """Raise RunError where points would be recorded as something they are not."""
    noise = defence.target.noise
    found: dict[str, object] = {
        "attack": attack.spec(),
        "noise": None if noise is None else noise.spec(),
        "engine": defence.engine(),
        "data": dataset.about(),
        "points": None,
    }
    for name, value in found.items():
        planned = getattr(settings, name)
        if planned != value:
            raise RunError(
                f"the {name} of this attack",
                required=f"the record's, {planned}",
                got=value,
                remedy="Pass what the record was planned with, or plan another record.",
            )
