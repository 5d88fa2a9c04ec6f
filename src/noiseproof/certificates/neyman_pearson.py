"""The tight certificate for each noise, in closed form (for Gaussian noise Cohen et al. 2019, the paper's [40])."""

from dataclasses import dataclass

from noiseproof.certificates.base import Certificate, Flat
from noiseproof.noises import Noise

__all__ = ["NeymanPearson"]


@dataclass(frozen=True)
class NeymanPearson(Certificate):
    """R = (Q(p1) - Q(p2)) / 2, with Q the quantile function of one coordinate of the noise.

    - Gaussian noise, l2: R = sigma/2 (Phi^-1(p1) - Phi^-1(p2)), Theorem 1 of Cohen et al.; sigma Phi^-1(p1) for
      p2 = 1 - p1.
    - Laplace noise, l1: Q(p) = lambda ln 2p for p <= 1/2 and -lambda ln 2(1-p) otherwise.
    - Uniform noise on [-lambda, lambda], l1: R = lambda (p1 - p2) (Yang et al. 2020).

    Proof: `neyman_pearson.md`. Q(p(x)) is 1-Lipschitz in the norm of the noise, where p(x) is the probability of a
    class at x. In one dimension a classifier with two half-lines attains the radius, so no larger one holds for every
    classifier.

    Example:
        >>> from noiseproof.noises import Gaussian
        >>> round(NeymanPearson().radius(Gaussian(sigma=1.0), 0.9, 0.1), 8)
        1.28155157
    """

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Return half the distance between the two quantiles."""
        return 0.5 * noise.quantile_gap(p1, p2)
