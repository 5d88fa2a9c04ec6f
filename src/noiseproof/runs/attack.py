"""Attack a data set into a record, shard by shard: points found at every size, and fresh votes on them."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from noiseproof.attacks import Attack, Batch, Defence
from noiseproof.attacks.base import require_verdicts
from noiseproof.attacks.escalation import escalate, images_together
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError, RunError, require_count
from noiseproof.perturbations.norms import Norm
from noiseproof.randomness import require_seed
from noiseproof.runs.attack_records import AttackRecord, AttackSettings, AttackTable
from noiseproof.storage.provenance import device_name

__all__ = ["Limits", "attack_into", "judge_into", "plan_attack", "require_sizes"]


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
    counts = {"every": every, "limit": 1 if limit is None else limit}
    for name, value in counts.items():
        require_count(name, value, 1, "Pass another one.")
    indices = range(0, len(dataset), every)[:limit]
    noise = defence.noise
    require_verdicts(samples, alpha, noisy=noise is not None)
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
        shard_size=images_together(dataset.image_shape, 1 if noise is None else attack.eot_samples),
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

    return _fill(
        record, lambda shard: _find(record, shard, attack, defence, dataset, limits, progress), defence, on_shard
    )


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
    settings, noise = record.settings, defence.noise
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


def _find(
    record: AttackRecord,
    shard: int,
    attack: Attack,
    defence: Defence,
    dataset: Dataset,
    limits: Limits | None,
    progress: Callable[[int], None],
) -> tuple[AttackTable, Float[np.ndarray, "images sizes *shape"]]:
    """Attack the images of a shard; one that is not attacked has the votes on itself at each size."""
    settings, indices = record.settings, record.shard_indices(shard)
    images = torch.as_tensor(dataset.read(indices)).to(defence.device)
    label, largest = dataset.labels[np.asarray(indices)].astype(np.int64), np.ones(len(indices))
    if limits is not None:
        first = shard * settings.shard_size
        label, largest = (part[first : first + len(indices)] for part in (limits.label, limits.size))
    sizes = np.where(largest[:, None] > 0.0, largest[:, None] * np.asarray(settings.sizes), -1.0)
    classes = torch.as_tensor(label).clamp(min=0)  # ABSTAIN: such an image is not attacked
    batch = Batch(images, classes.to(images.device), indices, settings.seed)
    norm: Norm = settings.norm  # type: ignore[assignment]
    found = escalate(
        attack.begin(defence, batch, norm),
        defence,
        batch,
        sizes.T,
        norm,
        samples=settings.samples,
        alpha=settings.alpha,
        labels=label,
        progress=progress,
    )
    votes = found.votes.transpose(1, 0, 2)
    table = AttackTable(np.asarray(indices), label, sizes, votes, found.distances.T)
    return table, found.points.transpose(0, 1).cpu().numpy()


def _require_the_recorded(settings: AttackSettings, attack: Attack, defence: Defence, dataset: Dataset) -> None:
    """Raise RunError where points would be recorded as something they are not."""
    noise = defence.noise
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
