"""The tight certificate: the Neyman-Pearson worst case, in closed form (Cohen et al. 2019, reference [40])."""

from dataclasses import dataclass

from noiseproof.certificates.base import Certificate, Flat
from noiseproof.noises import Noise

__all__ = ["NeymanPearson"]


@dataclass(frozen=True)
class NeymanPearson(Certificate):
    """R = (Q(p1) - Q(p2)) / 2, with Q the quantile function of one coordinate of the noise.

    Gaussian noise: R = sigma/2 (Phi^-1(p1) - Phi^-1(p2)) in l2, Theorem 1 of Cohen et al. No larger radius holds for
    every classifier with these probabilities: two parallel half-spaces attain it. With p2 = 1 - p1 it is
    sigma Phi^-1(p1).

    Example:
        >>> from noiseproof.noises import Gaussian
        >>> round(NeymanPearson().radius(Gaussian(sigma=1.0), 0.9, 0.1), 8)
        1.28155157
    """

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Halve the distance between the two quantiles."""
        return 0.5 * noise.quantile_gap(p1, p2)
