"""Is it still the classifier that the record was begun with? Its answers tell where digests cannot.

A digest covers the weights of a torch module and the file of a factory. It does not see what a function closes over, a
helper that a factory imports, or data that lie beside an ONNX file.
"""

import json
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float

from noiseproof.errors import RunError
from noiseproof.smoothing import SmoothedClassifier
from noiseproof.storage.files import remove_leftovers, write_atomically

__all__ = ["ANSWERED", "require_same_answers"]

ANSWERED = 64
"""Images whose answers are kept."""

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


def require_same_answers(
    run: Path, smoothed: SmoothedClassifier, images: Float[np.ndarray, "images *shape"], *, rounded: bool = False
) -> None:
    """Keep the answers to noisy images in the run folder, or compare with those that are kept.

    The noise is that of no vote: it is drawn from a generator of its own.

    Args:
        run: the folder of the record.
        smoothed: the classifier with its noise.
        images: the first images of the record.
        rounded: whether the record's answers are of an int8 form of the classifier, and these are not.

    Raises:
        RunError: the classifier answers differently than when the record was begun, or the file is damaged.
        ClassifierError: see `VoteCounter.try_out`.
    """
    labels, scores = _answers(smoothed, images)
    content = json.dumps({"labels": labels.tolist(), "scores": scores.round(6).tolist()})
    if _written(run / _FILE, content):
        return
    try:
        labels_then, scores_then = _kept(run / _FILE, len(images))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            str(run / _FILE),
            required="the answers the record was begun with",
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
    """Write the file if nobody has, and say so. One process at a time, so that what a killed one left is nobody's."""
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


def _answers(smoothed: SmoothedClassifier, images: Float[np.ndarray, "images *shape"]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and best scores; scores are 0 for a classifier that gives labels."""
    size = smoothed.counter.try_out(images)
    classifier = smoothed.classifier.reading("numpy")
    pixels, generator = torch.as_tensor(images), np.random.default_rng(0xA45)

    def output_of_noisy_copy() -> torch.Tensor:
        noisy = pixels + smoothed.noise.sample(pixels, generator)
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
