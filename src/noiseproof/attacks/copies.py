"""The noisy copies of images that attacks use, with fresh noise in each call or the same noise in all."""

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
    """Return x + z_1, ..., x + z_m for each image x of a batch, image by image; differentiable in x.

    The noise is a function of (seed, index, call, i) and independent of the noise of certification and evaluation.

    Args:
        noise: the noise distribution of the defence; None for no noise, where m is 1 and the copy is the image.
        eot_samples: m, the number of copies of each image.
        device: the device of the images.
        seed: key of the noise.
        indices: the key of each image; None numbers the rows of a call from 0.
        fixed: whether all calls use the noise of the first.

    Raises:
        InvalidInputError: eot_samples is below 1, the seed is no integer, or the indices are no distinct integers.
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
            images: a floating-point batch.
            rows: positions of the images in `indices`; None: all of them.

        Returns:
            Copies (m * batch, *shape), the m copies of an image next to each other.

        Raises:
            InvalidInputError: the numbers of images and of indices differ.
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
