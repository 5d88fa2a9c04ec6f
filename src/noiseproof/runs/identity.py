"""Is this what was recorded? Settings, classifier, noise, data, engine: each is compared here, and nowhere else.

Digests cover the weights of a torch module and the file of a factory. They do not see what a function closes over, a
helper that a factory imports, or data that lie beside an ONNX file. So a record keeps a fingerprint of its classifier
too, its outputs on noisy images, in `votes/answers.json`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float

from noiseproof.classifiers.base import BaseClassifier
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import model_digest
from noiseproof.plugins import in_words
from noiseproof.sampling import sampler_of
from noiseproof.storage.files import remove_leftovers, write_atomically
from noiseproof.storage.provenance import same_model

if TYPE_CHECKING:
    from noiseproof.runs.running import Engine, Running
    from noiseproof.runs.subject import Subject

__all__ = [
    "FINGERPRINTED",
    "require_digest",
    "require_fingerprint",
    "require_recorded",
    "require_subject",
    "require_unchanged",
    "same_engine",
]

FINGERPRINTED = 64
"""Images whose outputs are kept."""

_FILE = "votes/answers.json"
"""Beside the votes: whoever removes those to begin anew removes it too."""

_COPIES = 16
"""Noisy copies of each image for a classifier that gives labels alone, which say little each."""

_FLIPS, _MOVED = 0.05, 0.02
"""What rounding may change where there are scores: this part of the labels, and the best score by this part of the scores'
deviation, on the average. In bfloat16 another batch size changes under 1 % of labels; a wrong constant in a
normalisation many more."""

_ROUNDED = 0.1
"""The same of scores between int8 and float32: .014 and .020 for two MNIST networks in seven bits."""

_FLIPS_OF_LABELS = 0.005
"""Where there are labels alone. They mostly come from estimators in float64, which give the same ones again; a model
trained a little differently changes some in a hundred."""


def require_recorded(path: Path, recorded: Mapping[str, Any], here: Mapping[str, Any], *, remedy: str) -> None:
    """Raise RunError, with every difference, unless what is here is what was recorded in `path`."""
    changes = list(_changes(recorded, here))
    if changes:
        raise RunError(
            str(path),
            required="a record with " + ", ".join(f"{name} {in_words(new) or 'recorded'}" for name, _, new in changes),
            got=", ".join(f"{name} {in_words(old) or 'recorded'}" for name, old, _ in changes),
            remedy=remedy,
        )


def require_digest(subject: "Subject") -> None:
    """Raise InvalidInputError for a network under another one's digest; that of what has no weights is taken on trust."""
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
    remedy: str = "Name what was recorded: --model and --weights, --data.",
) -> None:
    """Raise RunError unless classifier, noise and data are those of the record in `path`: what it says is said of them.

    Args:
        path: the record's.
        settings: the record's.
        subject: what is compared with it.
        parts: which of the three.
        remedy: what to do if they are not.
    """
    recorded, here = _subject(settings), subject.identity()
    if same_model(recorded["model"], here["model"]):
        here["model"] = recorded["model"]
    here["data"] = {key: here["data"].get(key) for key in recorded["data"]}
    one, other = ({part: said[part] for part in parts} for said in (recorded, here))
    require_recorded(path, one, other, remedy=remedy)


def _is_of_subject(settings: Any, subject: "Subject") -> bool:
    """Whether a record's votes are said to be on this classifier, noise and data."""
    recorded, here = _subject(settings), subject.identity()
    alike = all(recorded[name] == here[name] for name in ("noise", "data"))
    return alike and same_model(recorded["model"], here["model"])


def same_engine(engine: "Engine", recorded: Mapping[str, Any] | None) -> bool:
    """Whether an engine is that of a record, as far as can be said without making it."""
    made = recorded or {}
    same_precision = engine.precision in {"auto", made.get("precision")} or made.get("precision") == "as given"
    return (
        same_precision and engine.compiled in {None, made.get("compile")} and engine.sampler in {None, sampler_of(made)}
    )


def require_unchanged(record: Any, running: "Running") -> None:
    """Raise RunError where a record's votes are said to be on this classifier, and its fingerprint is another.

    Nothing is compared for another classifier, noise or data set: nothing is then said beside those votes.
    """
    if _is_of_subject(record.settings, running.subject):
        require_fingerprint(record, running)


def _subject(settings: Any) -> dict[str, Any]:
    noise = None if settings.noise is None else dict(settings.noise)
    return {"model": dict(settings.model), "noise": noise, "data": dict(settings.data)}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name every setting that differs, inside of mappings too."""
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{prefix}{key} ")
        elif old != new:
            yield f"{prefix}{key}", old, new


def require_fingerprint(record: Any, running: "Running") -> None:
    """Keep the classifier's outputs on noisy images beside the votes of a record, or compare with those that are kept.

    The noise is that of no vote: it is drawn from a generator of its own.

    Args:
        record: of votes.
        running: the classifier with its noise; in float32 where the record is in int8, which is allowed for.

    Raises:
        RunError: the outputs differ from those with which the record was begun, or the file is damaged.
        ClassifierError: see `BaseClassifier.probe`.
    """
    run, settings = record.path, record.settings
    images = running.subject.dataset.read(settings.indices[:FINGERPRINTED])
    rounded = (settings.engine or {}).get("precision") == "int8" != running.engine()["precision"]
    labels, scores = _outputs(running, images)
    content = json.dumps({"labels": labels.tolist(), "scores": scores.round(6).tolist()})
    if _written(run / _FILE, content):
        return
    try:
        labels_then, scores_then = _kept(run / _FILE, len(images))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            str(run / _FILE),
            required="the fingerprint the record was begun with",
            got=f"{type(error).__name__}: {error}",
            remedy="It is damaged: remove it if you are sure that the classifier is the same.",
        ) from error
    common = min(len(labels), len(labels_then))  # one copy of each image where there are scores, and in earlier files
    labels, scores, labels_then, scores_then = (each[:common] for each in (labels, scores, labels_then, scores_then))
    flips = float((labels != labels_then).mean())
    moved = float(np.abs(scores - scores_then).mean()) / (float(scores_then.std()) + 1e-12)
    flipped = flips > (_FLIPS if scores.any() else _FLIPS_OF_LABELS)
    if flipped or (scores.any() and moved > (_ROUNDED if rounded else _MOVED)):
        raise RunError(
            "the classifier",
            required="the one that the record was begun with",
            got=f"other labels for {flips:.1%} of {len(labels)} noisy images, scores moved by {moved:.0%} of their deviation",
            remedy="Its code, weights or surroundings have changed: choose another folder (--out) for its votes.",
        )


def _written(path: Path, content: str) -> bool:
    """Write the file unless it is there, and say so. One process at a time, so that what a killed one left is removed."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(".answers.lock")):
        remove_leftovers(path)
        return not path.exists() and write_atomically(path, content.encode())


def _kept(path: Path, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Read labels and best scores.

    Raises:
        OSError, ValueError, KeyError, TypeError: there are none, or fewer than `least`.
    """
    kept = json.loads(path.read_text())
    labels, scores = np.asarray(kept["labels"]), np.asarray(kept["scores"])
    if labels.shape != scores.shape or labels.ndim != 1 or len(labels) < least:
        raise ValueError(f"{labels.shape} labels and {scores.shape} scores of {least} images")
    return labels, scores


def _outputs(running: "Running", images: Float[np.ndarray, "images *shape"]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and best scores; scores are 0 for a classifier that gives labels."""
    counter = running.counter
    size = counter.try_out(images)
    classifier = counter.classifier.reading("numpy")
    pixels, generator = torch.as_tensor(images), np.random.default_rng(0xA45)

    def output_of_noisy_copy() -> torch.Tensor:
        noisy = pixels + counter.noise.sample(pixels, generator)
        rows = torch.arange(-(-len(noisy) // size) * size) % len(noisy)  # whole batches
        outputs = [classifier.scores(batch.to(classifier.device)).cpu() for batch in torch.split(noisy[rows], size)]
        return torch.cat(outputs)[: len(noisy)]

    output = output_of_noisy_copy()
    if not output.is_floating_point():
        copies = [output, *(output_of_noisy_copy() for _ in range(_COPIES - 1))]
        labels = torch.cat(copies).numpy().astype(np.int64)
        return labels, np.zeros(len(labels))
    best = torch.nan_to_num(output.double()).max(1)
    return best.indices.numpy(), best.values.numpy()
