"""A classifier whose nearest adversarial inputs are known: two classes on the two sides of a hyperplane."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from noiseproof.attacks import Batch
from noiseproof.attacks.copies import NoisyCopies
from noiseproof.noises import Noise
from noiseproof.perturbations.norms import Norm

SHAPE = (1, 4, 4)


class HalfSpace(nn.Module):
    """Scores scale * (t, -t) with t(x) = <w, x - 1/2>, |w|_2 = 1: class 0 where t > 0, at l_2 distance |t|."""

    def __init__(self, scale: float = 4.0, seed: int = 3) -> None:
        super().__init__()
        normal = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("normal", normal / normal.norm())
        self.scale = scale

    def heights(self, images: Tensor) -> Tensor:
        return ((images - 0.5) * self.normal).flatten(1).sum(1)

    def forward(self, images: Tensor) -> Tensor:
        heights = self.scale * self.heights(images)
        return torch.stack([heights, -heights], 1)


def images_at(heights: list[float], network: HalfSpace, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of these heights and far from grey, so that the way to the negative is a detour, and their classes."""
    rough = 0.5 + 0.5 * (torch.rand(len(heights), *SHAPE, generator=torch.Generator().manual_seed(seed)) - 0.5)
    wanted = torch.tensor(heights).view(-1, 1, 1, 1)
    images = rough + (wanted - network.heights(rough).view(-1, 1, 1, 1)) * network.normal
    assert images.min() > 0.0
    assert images.max() < 1.0
    return images, (wanted.flatten() < 0).long()


def smallest_distances(network: HalfSpace, batch: Batch, noise: Noise | None, eot_samples: int, norm: Norm) -> Tensor:
    """Of the majority of fixed draws z_i, even in number: class 0 up to t = -(the m/2 + 1 smallest of <w, z_i>)."""
    heights = network.heights(batch.images).double()
    if noise is not None:
        copies = NoisyCopies(
            noise, eot_samples, torch.device("cpu"), seed=batch.seed, indices=batch.indices, fixed=True
        )
        moved = (copies(torch.zeros_like(batch.images)) * network.normal).flatten(1).sum(1)
        heights += moved.view(len(batch), eot_samples).sort(1).values[:, eot_samples // 2].double()
    dual = network.normal.abs().sum() if norm == "linf" else 1.0
    return heights.abs() / dual


def ink() -> Callable[[np.ndarray], np.ndarray]:
    """Make a classifier of the digits without gradients: ten classes by the amount of ink."""
    return lambda batch: np.clip((batch.mean(axis=(1, 2, 3)) - 0.2) * 6 + 3, 0, 9).astype(np.int64)


def thin_ink() -> Callable[[np.ndarray], np.ndarray]:
    """Make another classifier of the same kind, in the same file."""
    return lambda batch: np.clip((batch.mean(axis=(1, 2, 3)) - 0.1) * 6 + 3, 0, 9).astype(np.int64)


def grey_of_1000() -> Callable[[np.ndarray], np.ndarray]:
    """Make scores of a thousand classes from the mean: class c has the grey level c / 4 of 255."""
    levels = np.arange(1000, dtype=np.float32)
    return lambda batch: -abs(batch.mean(axis=(1, 2, 3))[:, None] * 1020 - levels)
