"""Teng et al., "l1 adversarial robustness certificates: a randomized smoothing approach" (the paper's [20])."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from noiseproof.certificates.base import Certificate, Flat
from noiseproof.noises import Laplace, Noise
from noiseproof.numerics.logarithms import log_ratio

__all__ = ["Teng"]


@dataclass(frozen=True)
class Teng(Certificate):
    """L = lambda max(log(p1 / p2) / 2, -log(1 - p1 + p2)).

    The first term is what differential privacy gives, the second is Theorem 3 of the paper. `NeymanPearson` is tight
    for any number of classes and never worse; both agree where p2 = 1 - p1.
    """

    noises: ClassVar[tuple[type[Noise], ...]] = (Laplace,)

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Evaluate the formula."""
        assert isinstance(noise, Laplace)  # noqa: S101 - checked by `radius`
        with np.errstate(divide="ignore"):
            return np.asarray(noise.scale * np.maximum(0.5 * log_ratio(p1, p2), -np.log1p(p2 - p1)))
