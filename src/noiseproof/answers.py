"""Is it still the classifier that the record was begun with? Its answers tell where digests cannot.

A digest covers the weights of a torch module and the file of a factory. It does not see what a function closes over, a
helper that a factory imports, or data that lie beside an ONNX file.
"""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from noiseproof.errors import RunError
from noiseproof.files import write_atomically
from noiseproof.smoothing import SmoothedClassifier

__all__ = ["ANSWERED", "require_same_answers"]

ANSWERED = 64
"""Images whose answers are kept."""

_FILE = "votes/answers.json"
"""Beside the votes: whoever removes those to begin anew removes it too."""

_FLIPS, _MOVED = 0.05, 0.02
"""What rounding may change: this part of the labels, and the best score by this part of the scores' deviation, on the
average. In bfloat16 another batch size changes under 1 % of labels; a wrong constant in a normalisation many more."""


def require_same_answers(run: Path, smoothed: SmoothedClassifier, images: Float[np.ndarray, "images *shape"]) -> None:
    """Keep the answers to noisy images in the run folder, or compare with those that are kept.

    The noise is that of no vote: it is drawn from a generator of its own.

    Args:
        run: the folder of the record.
        smoothed: the classifier with its noise.
        images: the first images of the record.

    Raises:
        RunError: the classifier answers differently than when the record was begun, or the file is damaged.
        ClassifierError: see `SmoothedClassifier.try_out`.
    """
    labels, scores = _answers(smoothed, images)
    content = json.dumps({"labels": labels.tolist(), "scores": scores.round(6).tolist()})
    if not (run / _FILE).exists() and write_atomically(run / _FILE, content.encode(), replace=False):
        return
    try:
        kept = json.loads((run / _FILE).read_text())
        labels_then, scores_then = np.asarray(kept["labels"]), np.asarray(kept["scores"])
        flips = float((labels != labels_then).mean())
        moved = float(np.abs(scores - scores_then).mean()) / (float(scores_then.std()) + 1e-12)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            str(run / _FILE),
            required="the answers the record was begun with",
            got=f"{type(error).__name__}: {error}",
            remedy="It is damaged: remove it if you are sure that the classifier is the same.",
        ) from error
    if flips > _FLIPS or (scores.any() and moved > _MOVED):
        raise RunError(
            "the classifier",
            required="the one that the record was begun with",
            got=f"other labels for {flips:.0%} of {len(labels)} noisy images, scores moved by {moved:.0%} of their deviation",
            remedy="Its code, weights or surroundings have changed: choose another folder (--out) for its votes.",
        )


def _answers(smoothed: SmoothedClassifier, images: Float[np.ndarray, "images *shape"]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and best scores; scores are 0 for a classifier that gives labels."""
    size = smoothed.try_out(images)
    classifier = smoothed.classifier.reading("numpy")
    pixels = torch.as_tensor(images)
    noisy = pixels + smoothed.noise.sample(pixels, np.random.default_rng(0xA45))
    rows = torch.arange(-(-len(noisy) // size) * size) % len(noisy)  # whole batches
    outputs = [classifier.scores(batch.to(classifier.device)).cpu() for batch in torch.split(noisy[rows], size)]
    output = torch.cat(outputs)[: len(noisy)]
    if not output.is_floating_point():
        return output.numpy().astype(np.int64), np.zeros(len(output))
    best = torch.nan_to_num(output.double()).max(1)
    return best.indices.numpy(), best.values.numpy()
