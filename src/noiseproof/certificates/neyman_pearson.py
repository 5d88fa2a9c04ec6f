"""The tight certificate of every noise, in closed form (for Gaussian noise Cohen et al. 2019, the paper's [40])."""

from dataclasses import dataclass

from noiseproof.certificates.base import Certificate, Flat
from noiseproof.noises import Noise

__all__ = ["NeymanPearson"]


@dataclass(frozen=True)
class NeymanPearson(Certificate):
    """R = (Q(p1) - Q(p2)) / 2, with Q the quantile function of one coordinate of the noise.

    Gaussian noise, l2: R = sigma/2 (Phi^-1(p1) - Phi^-1(p2)), Theorem 1 of Cohen et al.; sigma Phi^-1(p1) for
    p2 = 1 - p1. Two parallel half-spaces attain it. Laplace noise, l1: Q(p) = lambda ln 2p for p <= 1/2 and
    -lambda ln 2(1-p) otherwise. Uniform noise on [-lambda, lambda], l1: R = lambda (p1 - p2) (Yang et al. 2020).

    Proof for all of them. Let p(x) be the probability of a class at x. Q(p(x)) is 1-Lipschitz in the noise's norm: then
    over a distance below R the top class's Q falls by less than R, every other one's rises by less than R, and they do
    not meet.
    Gaussian: Lemma 2 of Salman et al. 2019. Laplace, with density f: |dp / dx_i| = |E[1_A sign(z_i)]| / lambda
    <= min(p, 1-p) / lambda, since sign(z_i) is 1 or -1 and has mean 0, and Q'(p) = lambda / min(p, 1-p); in l1 the
    largest of the partial derivatives is the Lipschitz constant. Uniform: moving x by t in l1 leaves the two boxes an
    overlap of at least 1 - t / 2 lambda, so p changes by at most t / 2 lambda, and Q' = 2 lambda.
    Each is attained in one dimension, by the half-line {z <= Q(p1)}, so none can be improved.

    Example:
        >>> from noiseproof.noises import Gaussian
        >>> round(NeymanPearson().radius(Gaussian(sigma=1.0), 0.9, 0.1), 8)
        1.28155157
    """

    def tolerable_shift(self, noise: Noise, p1: Flat, p2: Flat) -> Flat:
        """Halve the distance between the two quantiles."""
        return 0.5 * noise.quantile_gap(p1, p2)
