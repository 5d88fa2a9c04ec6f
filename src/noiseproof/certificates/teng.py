"""The l1 certificate of Teng et al., "l1 adversarial robustness certificates" (the paper's [20])."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from noiseproof.certificates.base import Certificate, Flat
from noiseproof.noises import Laplace, Noise
from noiseproof.numerics.logarithms import log_ratio, log_remaining

__all__ = ["Teng"]


@dataclass(frozen=True)
class Teng(Certificate):
    """L = lambda max(log(p1 / p2) / 2, -log(1 - p1 + p2)), for Laplace noise, in l1.

    The first term follows from differential privacy, the second is Theorem 3 of the paper.

    Proof: neither exceeds the tight radius R of `NeymanPearson`; with p2 = 1 - p1 the maximum equals it. For p1 > 1/2,
    e^(-2R / lambda) = 4 (1 - p1) p2, which is at most p2 / p1 since 4 p1 (1 - p1) <= 1, and at most (1 - p1 + p2)^2 by
    the inequality of arithmetic and geometric means. For p1 <= 1/2, R is the first term, and p1 (1 - p1 + p2)^2 >= p2:
    on [p2, 1/2] the left side increases and then decreases with p1, and it is at least p2 at both ends.
    """

    noises: ClassVar[tuple[type[Noise], ...]] = (Laplace,)

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Evaluate the formula."""
        assert isinstance(noise, Laplace)  # noqa: S101 - checked by `radius`
        return np.asarray(noise.scale * np.maximum(0.5 * log_ratio(p1, p2), -log_remaining(p1, p2)))
