"""Images that are attacked together, and what an attack is once it has begun on them."""

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
"""From an epsilon (float64) for each row, and which rows of the batch they are, to points within these distances."""


@dataclass(frozen=True)
class Batch:
    """Images that are attacked together.

    Attributes:
        images: float32 in [0, 1], on the device of the network.
        labels: their classes.
        indices: the key of each image's randomness, usually its index in the data set.
        seed: key of all randomness.

    Raises:
        InvalidInputError: images that are not finite or leave [0, 1], labels that are no classes, labels or indices of
            another number, indices or a seed that are no (distinct) integers.
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
        """Return the `number`-th source of standard draws for the images in these rows: a row's depend on its index only."""
        spans = [Span(0, int(self.indices[row]), Phase.START, number, 1) for row in rows]
        return host_source(self.seed, Rows(spans, self.images.device))


def as_epsilons(epsilons: Float[Tensor, " rows"], rows: Sequence[int]) -> Float64[Tensor, " rows"]:
    """Return the epsilons that a finder is called with, in float64.

    Raises:
        InvalidInputError: one that is NaN, infinite or negative, or another number of epsilons than of rows.
    """
    if epsilons.shape != (len(rows),) or not bool((epsilons.isfinite() & (epsilons >= 0.0)).all()):
        raise InvalidInputError(
            "epsilons",
            required=f"finite numbers >= 0, one for each of the {len(rows)} rows",
            got=f"shape {tuple(epsilons.shape)}, {epsilons.flatten()[:5].tolist()}",
            remedy="They are distances in units of a pixel in [0, 1].",
        )
    return epsilons.double()
