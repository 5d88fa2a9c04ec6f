"""The paper's Theorem 3: Laplace noise, l1, from the limit of infinite order."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from noiseproof.certificates.base import Certificate, Flat
from noiseproof.noises import Laplace, Noise
from noiseproof.numerics.logarithms import log_remaining

__all__ = ["Theorem3"]


@dataclass(frozen=True)
class Theorem3(Certificate):
    """L = -lambda log(1 - p1 + p2), as printed, for Laplace noise, in l1.

    Proof: the limit of `Renyi` for large orders, where Lemma 1 tends to -log(1 - p1 + p2) and the divergence of a shift
    by t to t / lambda.

    It is here for comparison with the paper: `Renyi` with Laplace noise also uses finite orders, which is better where
    p1 + p2 < 1, and `NeymanPearson` is never worse than either.
    """

    noises: ClassVar[tuple[type[Noise], ...]] = (Laplace,)

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Evaluate the formula."""
        assert isinstance(noise, Laplace)  # noqa: S101 - checked by `radius`
        return np.asarray(-noise.scale * log_remaining(p1, p2))
