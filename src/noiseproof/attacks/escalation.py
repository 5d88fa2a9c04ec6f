"""Attack at increasing epsilons: images not yet wrong are attacked again, and fresh votes evaluate every point."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from noiseproof.attacks.batch import Batch, Finder
from noiseproof.attacks.defence import Defence
from noiseproof.classifiers.batching import default_batch_size
from noiseproof.errors import ClassifierError, InvalidInputError
from noiseproof.evaluation.robust_accuracy import Verdict, verdicts, worst_so_far
from noiseproof.noises import Noise
from noiseproof.perturbations.norms import NormLike

__all__ = [
    "ROUNDING",
    "AttackResult",
    "default_epsilons",
    "escalate",
    "images_together",
    "require_epsilons",
    "searched_together",
]

ROUNDING = 1e-12
"""Relative tolerance of the distance of a point above epsilon, for the rounding of float64."""

_TOGETHER = 256
"""Largest number of images in a batch."""

_PIXELS_TOGETHER, _ROWS_TOGETHER = 2**16, 128
"""Limits on a CPU: above 16 rows of 28 x 28 pixels, larger batches do not make gradients faster per row."""


@dataclass(frozen=True, repr=False)
class AttackResult:
    """The points that an attack found at every epsilon, and the votes on them.

    Attributes:
        points: float32 in [0, 1], on the device of the images; the image itself where the attack found nothing.
        distances: distance of each point from its image in the norm, in units of a pixel in [0, 1].
        votes: votes on each point with fresh noise; without noise, one vote.
        verdicts: the `Verdict` of the votes on each point: right, abstained or wrong.
    """

    points: Float[Tensor, "epsilons images *shape"]
    distances: Float64[np.ndarray, "epsilons images"]
    votes: Int[np.ndarray, "epsilons images classes"]
    verdicts: Int[np.ndarray, "epsilons images"]

    def __repr__(self) -> str:
        epsilons, images = self.verdicts.shape
        right = ", ".join(f"{share:.3g}" for share in self.robust_accuracy)
        return f"AttackResult({images} images at {epsilons} epsilons; robust accuracy {right})"

    @property
    def success(self) -> Bool[np.ndarray, "epsilons images"]:
        """(epsilons, images): whether the votes select a class other than the label; an abstention is no success."""
        return np.asarray(self.verdicts == Verdict.WRONG)

    @property
    def robust_accuracy(self) -> Float64[np.ndarray, " epsilons"]:
        """Fraction of the images that are right at an epsilon and at every smaller one; an abstention is not right.

        For fractions with confidence intervals see `evaluation.summarise_verdicts(result.verdicts, epsilons)`.
        """
        return np.asarray((worst_so_far(self.verdicts) == Verdict.RIGHT).mean(1))


def escalate(
    find: Finder,
    defence: Defence,
    batch: Batch,
    epsilons: Float64[np.ndarray, "epsilons images"],
    norm: NormLike,
    *,
    samples: int,
    alpha: float,
    labels: Int[np.ndarray, " images"] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> AttackResult:
    """Attack a batch at increasing epsilons.

    At each epsilon, in increasing order, `find` searches for points of the images that are not yet wrong, and votes with
    fresh noise evaluate these points. An image that is wrong at one epsilon keeps its point and votes at all larger ones.

    Args:
        find: the function that `Attack.begin` returned for this batch.
        defence: the classifier under attack.
        batch: the images.
        epsilons: sizes of the attack for each image, in units of a pixel in [0, 1]. In the first row, which is 0, the
            images themselves are evaluated; in the others, an image whose epsilon is 0 or negative is not attacked.
        norm: norm of the perturbation.
        samples: number of votes on each point.
        alpha: probability, at most, that the votes select a class other than the most probable one.
        labels: the classes that count as right; None: the labels of the batch.
        progress: called with the number of images after each epsilon.

    Raises:
        ClassifierError: the classifier failed, or the attack returned a point outside its ball or [0, 1].
    """
    own = batch.labels.cpu().numpy() if labels is None else labels
    images = batch.images
    points = images.unsqueeze(0).repeat(len(epsilons), *[1] * images.ndim)
    distances = np.zeros(epsilons.shape)
    votes = np.zeros((*epsilons.shape, defence.num_classes), dtype=np.int64)
    found = np.zeros(epsilons.shape, dtype=np.int64)
    for number, allowed in enumerate(epsilons):
        rows = np.arange(len(batch))
        if number:
            for kept in (points, distances, votes, found):
                kept[number] = kept[number - 1]
            rows = rows[(found[number] != Verdict.WRONG) & (allowed > 0.0)]
        if number and len(rows):
            within = torch.as_tensor(allowed[rows]).to(images.device)
            moved, gone = defence.allowed(find(within, rows.tolist()), images[rows.tolist()], norm, within)
            _require_inside(moved, gone, norm, within)
            points[number, rows], distances[number, rows] = moved, gone.cpu().numpy()
        if len(rows):
            indices = [int(batch.indices[row]) for row in rows.tolist()]
            votes[number, rows] = defence.votes(points[number, rows], indices, samples=samples, seed=batch.seed)
            judged = votes[number, rows][None], own[rows], alpha
            found[number, rows] = verdicts(*judged, noisy=defence.noise is not None)[0]
        progress(len(batch))
    return AttackResult(points, distances, votes, found)


def images_together(image_shape: Sequence[int], rows_per_image: int) -> int:
    """Return how many images are attacked together: at most 256, so that all their copies fit in one batch."""
    return max(1, min(_TOGETHER, default_batch_size(image_shape) // rows_per_image))


def searched_together(image_shape: Sequence[int], rows_per_image: int, device: torch.device) -> int:
    """Return how many images of a record are attacked together: few on a CPU, so that an interruption loses little work.

    It depends on nothing else, since through rounding the points of an image depend on the other images of its batch.
    """
    if device.type == "cuda":
        return max(1, min(_TOGETHER, default_batch_size(image_shape, device) // rows_per_image))
    rows = min(_ROWS_TOGETHER, _PIXELS_TOGETHER // max(1, int(np.prod(image_shape))))
    return max(1, rows // rows_per_image)


def default_epsilons(norm: NormLike, noise: Noise | None) -> tuple[float, ...]:
    """Return the default sizes of l2 attacks on a smoothed classifier: 0.5, 1, 1.5, 2 and 3 times the noise scale.

    Raises:
        InvalidInputError: the norm is not l2 or there is no noise; there is no default for these.
    """
    if norm != "l2" or noise is None:
        raise InvalidInputError(
            "epsilons",
            required=f"given for attacks in {norm}" + (" without noise" if noise is None else ""),
            got="nothing",
            remedy="Sizes are in units of pixels in [0, 1], such as 0.1,0.2,0.3.",
        )
    return tuple(round(part * noise.scale, 6) for part in (0.5, 1.0, 1.5, 2.0, 3.0))


def require_epsilons(epsilons: Sequence[float]) -> list[float]:
    """Return the epsilons of an attack as floats.

    Raises:
        InvalidInputError: the list is empty or not increasing, or an epsilon is negative, infinite or NaN.
    """
    numbers = [float(epsilon) for epsilon in epsilons]
    valid = all(math.isfinite(number) and number >= 0.0 for number in numbers)
    if not numbers or not valid or any(after <= before for before, after in pairwise(numbers)):
        raise InvalidInputError(
            "epsilons",
            required="a list of rising finite numbers >= 0, in units of a pixel in [0, 1]",
            got=numbers,
            remedy="Example: epsilons=[0.5, 1.0, 1.5].",
        )
    return numbers


def _require_inside(
    points: Float[Tensor, "rows *shape"],
    gone: Float64[Tensor, " rows"],
    norm: NormLike,
    epsilons: Float64[Tensor, " rows"],
) -> None:
    """Raise `ClassifierError` if a point is outside its ball or [0, 1]."""
    inside = (points >= 0.0) & (points <= 1.0)
    if not bool((gone <= epsilons * (1.0 + ROUNDING)).all() and inside.all()):
        raise ClassifierError(
            "the points of the attack",
            required=f"within their epsilons in {norm} and within [0, 1]",
            got=f"distances up to {float((gone / epsilons).max()):.9g} times the epsilon",
            remedy="That is a fault of the attack: project what it finds (noiseproof.perturbations.balls.project).",
        )
