"""Noisy copies of images as an attacker has them: keyed by image and call, fresh or always the same."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.classifiers.inputs import as_indices
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.noises import Noise
from noiseproof.randomness import Phase, require_seed
from noiseproof.sampling import Rows, Span, sampler_for

__all__ = ["NoisyCopies"]


class NoisyCopies:
    """x + z_1, ..., x + z_m of every image of a batch, one image after the other, differentiable by x.

    The noise is a function of (seed, index, call, i), in a phase of its own: it never certifies or judges.

    Args:
        noise: the defence's, or None for none: then m is 1 and the copy is the image.
        eot_samples: m.
        device: where the images are.
        seed: key of the noise.
        indices: the key of each image; None numbers the rows of a call from 0.
        fixed: whether every call takes the noise of the first.

    Raises:
        InvalidInputError: eot_samples below 1, a seed or indices that are no (distinct) integers.
    """

    def __init__(
        self,
        noise: Noise | None,
        eot_samples: int,
        device: torch.device,
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> None:
        require_count("eot_samples", eot_samples, 1, "16 and more make a strong attack.")
        require_seed(seed)
        self.eot_samples = 1 if noise is None else int(eot_samples)
        self.indices = None if indices is None else list(as_indices(indices, len(indices)))
        self.fixed = fixed
        self.calls = 0
        self._sampler = None if noise is None else sampler_for(device, noise, seed)

    def __call__(
        self, images: Float[Tensor, "batch *shape"], rows: Sequence[int] | None = None
    ) -> Float[Tensor, "copies *shape"]:
        """Return the copies.

        Args:
            images: any floating-point batch.
            rows: which of the indices the images have; None: all of them.

        Raises:
            InvalidInputError: another number of images than of indices.
        """
        keys = self._keys(len(images), rows)
        call, self.calls = self.calls, self.calls + 1
        if self._sampler is None:
            return images
        first = 0 if self.fixed else call * self.eot_samples
        spans = Rows([Span(0, int(key), Phase.ATTACK, first, self.eot_samples) for key in keys], images.device)
        noise = images.new_empty((len(spans), *images.shape[1:]))
        self._sampler.fill(noise, torch.zeros_like(images[:1]), spans)  # 0 + z is z
        return images.repeat_interleave(self.eot_samples, 0) + noise

    def _keys(self, images: int, rows: Sequence[int] | None) -> Sequence[int]:
        if self.indices is None:
            return range(images) if rows is None else rows
        keys = self.indices if rows is None else [self.indices[row] for row in rows]
        if len(keys) != images:
            raise InvalidInputError(
                "images",
                required=f"{len(keys)}, one for each index",
                got=images,
                remedy="Leave indices out where a library calls with parts of a batch.",
            )
        return keys
