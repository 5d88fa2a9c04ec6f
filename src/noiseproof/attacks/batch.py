"""A batch of images under attack, and the function that an attack returns for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from noiseproof.classifiers.inputs import as_indices, as_pixels
from noiseproof.errors import InvalidInputError
from noiseproof.randomness import Phase, RandomSource, require_seed
from noiseproof.sampling import Rows, Span, host_source

__all__ = ["Batch", "Finder", "as_epsilons"]

Finder = Callable[[Float[Tensor, " rows"], Sequence[int]], Float[Tensor, "rows *shape"]]
"""Maps epsilons (float64), one per row, and the numbers of these rows in the batch to points within these distances."""


@dataclass(frozen=True)
class Batch:
    """Images that are attacked together.

    Attributes:
        images: float32 in [0, 1], on the device of the network.
        labels: classes of the images, int64.
        indices: the key of each image's randomness, usually its index in the data set.
        seed: key of all randomness.

    Raises:
        InvalidInputError: images are not finite or not in [0, 1]; labels are no classes; the numbers of images, labels
            and indices differ; indices are no distinct integers, or the seed is no integer.
    """

    images: Float[Tensor, "batch *shape"]
    labels: Int[Tensor, " batch"]
    indices: Sequence[int]
    seed: int = 0

    def __post_init__(self) -> None:
        as_pixels(self.images)
        if (
            self.labels.shape != (len(self.images),)
            or self.labels.dtype != torch.int64
            or bool((self.labels < 0).any())
        ):
            raise InvalidInputError(
                "labels",
                required=f"int64 classes >= 0 ({len(self.images)},), one for each image",
                got=f"{self.labels.dtype} of shape {tuple(self.labels.shape)} and values {self.labels[:5].tolist()}",
                remedy="Pass images and labels alike.",
            )
        as_indices(self.indices, len(self.images))
        require_seed(self.seed)

    def __len__(self) -> int:
        return len(self.images)

    def source(self, rows: Sequence[int], number: int) -> RandomSource:
        """Return the `number`-th source of random numbers for these rows; those of a row depend on its index only."""
        spans = [Span(0, int(self.indices[row]), Phase.START, number, 1) for row in rows]
        return host_source(self.seed, Rows(spans, self.images.device))


def as_epsilons(epsilons: Float[Tensor, " rows"], rows: Sequence[int]) -> Float64[Tensor, " rows"]:
    """Return the epsilons that a finder is called with, in float64.

    Raises:
        InvalidInputError: an epsilon is NaN, infinite or negative, or the numbers of epsilons and rows differ.
    """
    if epsilons.shape != (len(rows),) or not bool((epsilons.isfinite() & (epsilons >= 0.0)).all()):
        raise InvalidInputError(
            "epsilons",
            required=f"finite numbers >= 0, one for each of the {len(rows)} rows",
            got=f"shape {tuple(epsilons.shape)}, {epsilons.flatten()[:5].tolist()}",
            remedy="They are distances in units of a pixel in [0, 1].",
        )
    return epsilons.double()
