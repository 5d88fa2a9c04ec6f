"""Is this what was recorded? Settings, classifier, noise, data, engine: each is compared here, and nowhere else.

Digests cover the weights of a torch module and the file of a factory. They do not see what a function closes over, a
helper that a factory imports, or data that lie beside an ONNX file. So a record keeps a fingerprint of its classifier
too, its outputs on noisy images, in `votes/answers-DIGEST.json`; every shard carries the digest.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float, Int

from noiseproof.classifiers.base import BaseClassifier
from noiseproof.errors import DamagedRecordError, InvalidInputError, RunError
from noiseproof.models import model_digest
from noiseproof.noises import Gaussian
from noiseproof.plugins import in_words
from noiseproof.storage.files import remove_leftovers, write_atomically
from noiseproof.storage.provenance import same_model

if TYPE_CHECKING:
    from noiseproof.runs.records import Record
    from noiseproof.runs.running import Engine, Running
    from noiseproof.runs.settings import ShardSettings
    from noiseproof.runs.subject import Subject

__all__ = [
    "FINGERPRINTED",
    "differences",
    "fingerprints",
    "require_digest",
    "require_fingerprint",
    "require_one_classifier",
    "require_recorded",
    "require_subject",
    "require_unchanged",
    "same_engine",
]

FINGERPRINTED = 64
"""Images whose outputs are kept."""

_COPIES, _COPIES_OF_LABELS = 4, 16
"""Noisy copies of each image; more for a classifier that gives labels alone, which say little each."""

_UNSMOOTHED = Gaussian(0.1)
"""What is added to images for a classifier without noise."""

_STEPS = 8
"""Of the bisection between two noisy images that leads to the decision boundary."""

_TOLERANCES = {"bf16": 0.1, "fp16": 0.02}
_TOLERANCE, _ROUNDED = 1e-3, 0.5
"""How far a single score may move, in parts of the scores' deviation: by rounding in 16 bits and in others, and from int8
to float32. Other batch sizes and threads move those of nine networks in float32 by 1e-6 at most and in bfloat16 by
nothing; bfloat16 lies 0.016 from float32 and int8 0.12 (docs/engine.md). No label may differ where scores do not."""

_EARLIER_FLIPS, _EARLIER_MOVED, _EARLIER_ROUNDED, _EARLIER_FLIPS_OF_LABELS = 0.05, 0.02, 0.1, 0.005
"""What earlier files are compared by: the part of the labels, and the average move of the best scores."""


_TOLD = {"draws": "eot_samples", "cap": "samples"}
"""Keys of records whose settings have other names now."""


def require_recorded(path: Path, recorded: Mapping[str, Any], here: Mapping[str, Any], *, remedy: str) -> None:
    """Raise RunError, with every difference, unless what is here is what was recorded in `path`."""
    changes = list(_changes(recorded, here))
    if changes:
        raise RunError(
            str(path),
            required="a record with " + ", ".join(f"{name} {in_words(new) or 'recorded'}" for name, _, new in changes),
            got=", ".join(f"{name} {in_words(old) or 'recorded'}" for name, old, _ in changes) + ", as recorded",
            remedy=remedy,
        )


def require_digest(subject: "Subject") -> None:
    """Raise InvalidInputError for a network under another one's digest; a digest of other classifiers cannot be checked."""
    module = BaseClassifier(subject.classifier, num_classes=subject.dataset.num_classes).runner.module
    if module is not None and (found := model_digest(module)) != subject.model.get("digest"):
        raise InvalidInputError(
            "model digest",
            required=f"that of the network, {found}",
            got=repr(subject.model.get("digest")),
            remedy="Subject.of and Subject.load fill it in.",
        )


def require_subject(
    path: Path,
    settings: Any,
    subject: "Subject",
    *,
    parts: Sequence[str] = ("model", "noise", "data"),
    remedy: str = "Name what was recorded: model= and weights=, data=.",
) -> None:
    """Raise RunError unless classifier, noise and data are those of the record in `path`: what it says is said of them.

    Args:
        path: the record's.
        settings: the record's.
        subject: what is compared with it.
        parts: which of the three.
        remedy: what to do if they are not.
    """
    one, other = ({part: said[part] for part in parts} for said in _compared_subjects(settings, subject))
    require_recorded(path, one, other, remedy=remedy)


def same_engine(engine: "Engine", settings: "ShardSettings") -> bool:
    """Whether an engine is that of a record, as far as its settings tell before it runs."""
    same_precision = settings.precision == "as given" or engine.precision in {"auto", settings.precision}
    same_form = engine.compiled in {None, (settings.engine or {}).get("compile")}
    return same_precision and same_form and engine.sampler in {None, settings.sampler}


def require_unchanged(record: Any, running: "Running") -> None:
    """Raise RunError where a record names this subject, and the classifier's fingerprint is another.

    Nothing is compared for another classifier, noise or data set: such a record is not shown beside new results.
    """
    recorded, here = _compared_subjects(record.settings, running.subject)
    if recorded == here:
        require_fingerprint(record, running)


def _compared_subjects(settings: Any, subject: "Subject") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a record says of its subject, and the same of this one; what the record does not say is left out."""
    noise = None if settings.noise is None else dict(settings.noise)
    recorded: dict[str, Any] = {"model": dict(settings.model), "noise": noise, "data": dict(settings.data)}
    here = subject.identity()
    if same_model(recorded["model"], here["model"]):
        here["model"] = recorded["model"]
    return recorded, here | {"data": {key: here["data"].get(key) for key in recorded["data"]}}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name every setting that differs, inside of mappings too."""
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{prefix}{key} ")
        elif old != new:
            yield f"{prefix}{_TOLD.get(key, key)}", old, new


def differences(one: "Record", other: "Record") -> str:
    """Return in words in what two records of votes differ, seed and objective of training apart; empty if in nothing."""
    return ", ".join(name for name, _, _ in _changes(_compared(one), _compared(other)))


def _compared(record: "Record") -> dict[str, Any]:
    """Return what votes that are compared with each other must have in common."""
    settings, about = record.settings, record.about.get("training", {})
    training = {"start": about.get("start")} | about.get("settings", {})
    return {
        "images": settings.indices,
        "data": settings.data,
        "votes": (settings.samples, settings.selection_samples),
        "precision": settings.precision,
        "training": {key: value for key, value in training.items() if key not in {"seed", "objective"}},
    }


def require_fingerprint(record: Any, running: "Running") -> None:
    """Keep the classifier's outputs on noisy images beside the votes of a record, or compare with those that are kept.

    Whole score vectors are compared: on noisy copies, and on both sides of the decision boundary between two of them. A
    change that shows on a part q of noisy images is missed with probability (1 - q)^256, (1 - q)^1024 where there are
    labels alone; and so is one of scores that is smaller than the tolerance. The noise is that of no vote: it is drawn from
    a generator of its own.

    Args:
        record: of votes.
        running: the classifier with its noise; in float32 where the record is in int8, which is allowed for.

    Raises:
        RunError: the outputs differ from those with which the record was begun, or a file is damaged.
        ClassifierError: see `BaseClassifier.probe`.
    """
    run, settings = record.path, record.settings
    images = running.subject.dataset.read(settings.indices[:FINGERPRINTED])
    made, precision = settings.precision, running.engine()["precision"]
    tolerance = _ROUNDED if made == "int8" != precision else _TOLERANCES.get(precision, _TOLERANCE)
    outputs = _Outputs(running, images)
    if not fingerprints(run):
        content = json.dumps(outputs.found())
        _write(run, content)
    for path in fingerprints(run).values():
        kept = _kept(path, len(images))
        if np.ndim(kept["scores"]) == 1 and "weights" not in kept:
            difference = outputs.differs_from_earlier(kept, rounded=made == "int8" != precision)
        else:
            difference = _difference(outputs.found(kept["weights"]), kept, tolerance)
        if difference:
            raise RunError(
                "the classifier",
                required="the one that the record was begun with",
                got=difference,
                remedy="Its code, weights or surroundings have changed: choose another folder for its votes: out=.",
            )


def fingerprints(run: Path) -> dict[str, Path]:
    """Return the files with the classifier's outputs beside the votes of a record, by the digest of their content."""
    files = sorted((run / "votes").glob("answers*.json"))
    return {hashlib.sha256(path.read_bytes()).hexdigest()[:16]: path for path in files}


def require_one_classifier(record: Any, shards: Mapping[str, Sequence[int]]) -> None:
    """Raise RunError, naming the shards, where those of a record were counted with different classifiers.

    Args:
        record: whose.
        shards: their numbers, by the digest of the fingerprint that they carry.
    """
    kept = fingerprints(record.path)
    first = next((digest for digest in shards if digest in kept), None)
    tolerance = _TOLERANCES.get(str(record.settings.precision), _TOLERANCE)
    for digest, numbers in shards.items():
        if digest == first or (first and digest in kept and _alike(kept[first], kept[digest], tolerance)):
            continue
        raise DamagedRecordError(
            str(record.path / "votes"),
            required="shards of one classifier",
            got="another one's in " + ", ".join(f"{number:05d}.parquet" for number in numbers),
            remedy="Remove them. Parts are merged with their fingerprints: copy votes/answers-*.json along with the shards.",
        )


def _alike(one: Path, other: Path, tolerance: float) -> bool:
    """Whether two fingerprints are of one classifier: the boundary of each was found by itself, the copies are the same."""
    copies = []
    for kept in (_kept(one, 0), _kept(other, 0)):
        count = len(kept["labels"]) - 2 * len(kept.get("weights", ()))
        copies.append({name: kept[name][:count] for name in ("labels", "scores")})
    return not _difference(copies[0], copies[1], tolerance)


def _write(run: Path, content: str) -> None:
    """Write a fingerprint unless there is one. One process at a time, so that what a killed one left is removed."""
    path = run / "votes" / f"answers-{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(".answers.lock")):
        if not fingerprints(run):
            for left in path.parent.glob("answers-*.part"):
                left.unlink()
            remove_leftovers(path)
            write_atomically(path, content.encode())


def _kept(path: Path, least: int) -> dict[str, Any]:
    """Read a fingerprint of at least so many images.

    Raises:
        RunError: it is damaged.
    """
    required, damage = "the fingerprint the record was begun with", (OSError, ValueError, KeyError, TypeError)
    remedy = "It is damaged: remove it if you are sure that the classifier is the same."
    with DamagedRecordError.instead_of(damage, str(path), required=required, remedy=remedy):
        kept = json.loads(path.read_text())
        labels, scores = np.asarray(kept["labels"]), np.asarray(kept["scores"], dtype=np.float64)
        if labels.ndim != 1 or len(labels) != len(scores) or len(labels) < least:
            raise ValueError(f"{labels.shape} labels and {scores.shape} scores of {least} images")
        return {"labels": labels, "scores": scores} | ({"weights": kept["weights"]} if "weights" in kept else {})


def _difference(here: Mapping[str, Any], kept: Mapping[str, Any], tolerance: float) -> str:
    """Return in words how two fingerprints differ by more than rounding; empty if they do not."""
    labels, then = np.asarray(here["labels"]), np.asarray(kept["labels"])
    scores, before = np.asarray(here["scores"]), np.asarray(kept["scores"])
    if labels.shape != then.shape or scores.shape != before.shape:
        return f"outputs {scores.shape} instead of {before.shape}"
    flips, moved = float((labels != then).mean()), float(np.abs(scores - before).max()) / (float(before.std()) + 1e-12)
    changed = moved > tolerance if before.any() or scores.any() else flips > 0.0
    if not changed:
        return ""
    return f"other labels for {flips:.1%} of {len(labels)} noisy images, scores moved by up to {moved:.2g} of their deviation"


class _Outputs:
    """The outputs of a classifier on noisy copies of some images, and at its decision boundary."""

    def __init__(self, running: "Running", images: Float[np.ndarray, "images *shape"]) -> None:
        pixels, generator = torch.as_tensor(images), np.random.default_rng(0xA45)
        noise, self._classifier = running.subject.noise, running.base.reading("numpy")
        self._size = FINGERPRINTED if noise is None else running.counter.try_out(images)
        self._size = self._classifier.runner.batch_size or self._size

        def copies() -> torch.Tensor:
            if noise is None:  # such a classifier is shown nothing outside of [0, 1]
                return (pixels + _UNSMOOTHED.sample(pixels, generator)).clamp(0.0, 1.0)
            return pixels + noise.sample(pixels, generator)

        self._copies = [copies()]
        self._output = [self._on(self._copies[0])]
        self.scored = self._output[0].is_floating_point()
        for _ in range((_COPIES if self.scored else _COPIES_OF_LABELS) - 1):
            self._copies.append(copies())
            self._output.append(self._on(self._copies[-1]))

    def _on(self, rows: torch.Tensor) -> torch.Tensor:
        """The outputs of whole batches."""
        filled = torch.arange(-(-len(rows) // self._size) * self._size) % len(rows)
        device = self._classifier.device
        found = [self._classifier.scores(each.to(device)).cpu() for each in torch.split(rows[filled], self._size)]
        output: torch.Tensor = torch.cat(found)[: len(rows)]
        return output

    def _between(self, weights: torch.Tensor) -> torch.Tensor:
        """Each noisy image mixed with the one before it."""
        one = self._copies[0]
        share = weights.to(one.dtype).reshape(-1, *[1] * (one.ndim - 1)) / 2**_STEPS
        mixed: torch.Tensor = (1.0 - share) * one + share * one.roll(1, 0)
        return mixed

    def _boundary(self) -> list[int]:
        """How far each image goes towards the one before it until its label changes, in parts of 2^8."""
        weights, label = torch.zeros(len(self._copies[0]), dtype=torch.int64), _labels(self._output[0])
        for step in (2**power for power in reversed(range(_STEPS))):
            same = torch.as_tensor(_labels(self._on(self._between(weights + step))) == label)
            weights += step * same
        found: list[int] = weights.tolist()
        return found

    def found(self, weights: Sequence[int] | None = None) -> dict[str, Any]:
        """Return labels and scores as plain data: of the copies, and at both sides of the boundary."""
        chosen = self._boundary() if weights is None else list(weights)
        at = torch.tensor(chosen)
        output = torch.cat([*self._output, self._on(self._between(at)), self._on(self._between(at + 1))])
        scores = output.double() if self.scored else torch.zeros(len(output), 1)
        plain = torch.nan_to_num(scores).numpy().round(7).tolist()
        return {"labels": _labels(output).tolist(), "scores": plain, "weights": chosen}

    def differs_from_earlier(self, kept: Mapping[str, Any], *, rounded: bool) -> str:
        """Say how they differ from a file with best scores; empty if they do not."""
        output = torch.cat(self._output)[: len(kept["labels"])]
        then, before = kept["labels"][: len(output)], kept["scores"][: len(output)]
        best = torch.nan_to_num(output.double()).amax(1).numpy() if self.scored else np.zeros(len(output))
        flips = float((_labels(output) != then).mean())
        moved = float(np.abs(best - before).mean()) / (float(before.std()) + 1e-12)
        flipped = flips > (_EARLIER_FLIPS if self.scored else _EARLIER_FLIPS_OF_LABELS)
        if not flipped and not (self.scored and moved > (_EARLIER_ROUNDED if rounded else _EARLIER_MOVED)):
            return ""
        return f"other labels for {flips:.1%} of {len(output)} noisy images, scores moved by {moved:.0%} of their deviation"


def _labels(output: torch.Tensor) -> Int[np.ndarray, " rows"]:
    found = torch.nan_to_num(output.double()).argmax(1) if output.is_floating_point() else output
    labels: Int[np.ndarray, " rows"] = found.numpy().astype(np.int64)
    return labels
