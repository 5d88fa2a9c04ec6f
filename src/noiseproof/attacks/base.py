"""What every attack is: a search for inputs near images that a classifier gets wrong."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from noiseproof.classifiers.inputs import as_indices, as_pixels
from noiseproof.classifiers.runners import Runner
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise
from noiseproof.perturbations.norms import Norm
from noiseproof.plugins import spec_of
from noiseproof.randomness import Phase, RandomSource, require_seed
from noiseproof.sampling import Rows, Span, host_source

__all__ = ["Attack", "Batch", "Finder", "Target", "require_lengths"]

Finder = Callable[[Float[Tensor, " rows"], Sequence[int]], Float[Tensor, "rows *shape"]]
"""From a size (float64) for each row, and which rows of the batch they are, to points within these distances."""


@dataclass(frozen=True)
class Target:
    """What is attacked, as its attacker knows it: the base classifier, the noise and its size.

    Attributes:
        network: f, a torch module or a runner. Attacks on decisions take any; those that follow gradients need a module.
        noise: the defence's own; None for a classifier that adds none.
        num_classes: k.
    """

    network: nn.Module | Runner
    noise: Noise | None
    num_classes: int


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


class Attack(ABC):
    """An attack: a frozen dataclass of its settings.

    What it finds for an image depends on (target, image, label, index, seed, norm) and the sizes asked for so far: not
    on the other images of its batch, up to the rounding of the network.
    """

    norms: ClassVar[tuple[Norm, ...]]
    """In which norms it measures size."""

    follows_gradients: ClassVar[bool]
    """Whether it needs a differentiable network."""

    @property
    @abstractmethod
    def copies(self) -> int:
        """Rows that it sends through the network at once for each image."""

    @abstractmethod
    def begin(self, target: Target, batch: Batch, norm: Norm) -> Finder:
        """Prepare the attack on a batch and return what finds points at sizes; ask it for rising ones.

        A point lies within its size of its image, by `balls.distance` up to the rounding of float64, and in [0, 1].
        Finders check their sizes by `require_lengths`.

        Raises:
            InvalidInputError: a norm or a target that it does not support.
            ClassifierError: the network failed.
        """

    @final
    def spec(self) -> dict[str, Any]:
        """Return the attack as plain data: its name and settings, which are the fields that are compared."""
        return spec_of(self)

    @final
    def require_norm(self, norm: Norm) -> None:
        """Raise `InvalidInputError` unless the attack measures size in this norm."""
        if norm not in self.norms:
            raise InvalidInputError(
                "norm",
                required=f"{' or '.join(self.norms)} for {type(self).__name__}",
                got=repr(norm),
                remedy="Choose another norm or another attack; PGD and random search have all three.",
            )


def require_lengths(sizes: Float[Tensor, " rows"], rows: Sequence[int]) -> Float64[Tensor, " rows"]:
    """Return the sizes that a finder is asked for in float64.

    Raises:
        InvalidInputError: one that is NaN, infinite or negative, or another number of sizes than of rows.
    """
    if sizes.shape != (len(rows),) or not bool((sizes.isfinite() & (sizes >= 0.0)).all()):
        raise InvalidInputError(
            "sizes",
            required=f"finite numbers >= 0, one for each of the {len(rows)} rows",
            got=f"shape {tuple(sizes.shape)}, {sizes.flatten()[:5].tolist()}",
            remedy="They are distances in units of a pixel in [0, 1].",
        )
    return sizes.double()
