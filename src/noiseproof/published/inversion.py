"""From a printed radius back to the lower bound p1, and from p1 to the radii of other certificates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr

from noiseproof.bounds import clopper_pearson_lower
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.noises import Gaussian
from noiseproof.published.attainable import Attainable
from noiseproof.published.printed import Printed

__all__ = ["COMPARED", "Inverted", "invert"]

COMPARED = ("neyman-pearson", "renyi", "pixeldp-analytic", "pixeldp")
"""The certificates that are computed from p1 and p2 = 1 - p1, by name."""

Array = Float[np.ndarray, " rows"]


@dataclass(frozen=True)
class Inverted:
    """The lower confidence bounds that printed radii come from.

    Attributes:
        low: the smallest p1 that each number may stand for; 0 where no count gives it.
        high: the largest one.
    """

    low: Array
    high: Array

    def radii(self, certificate: str, sigma: float) -> tuple[Array, Array]:
        """Return the radius of a certificate at both ends, with p2 = 1 - p1, in pixel units.

        Args:
            certificate: its name, such as "renyi".
            sigma: standard deviation of the Gaussian noise.
        """
        made, ends = CERTIFICATES.make(certificate), np.stack([self.low, self.high])
        p1, place = np.unique(ends, return_inverse=True)
        low, high = made.radius(Gaussian(sigma), p1, 1.0 - p1)[place.reshape(ends.shape)]
        return low, high

    def curve(
        self, certificate: str, sigma: float, right: Bool[np.ndarray, " rows"], radii: Sequence[float]
    ) -> list[tuple[float, float]]:
        """Return the share of rows that are right and certified at each radius: the smallest and the largest possible.

        Args:
            certificate: its name.
            sigma: standard deviation of the Gaussian noise.
            right: whether each row counts, since its class is the label.
            radii: where; at radius 0 the share of rows that are right and certified at all.
        """
        low, high = (np.where(right, end, 0.0) for end in self.radii(certificate, sigma))
        return [(_share(low, radius), _share(high, radius)) for radius in radii]


def invert(printed: Printed, sigma: float | None, samples: int, alpha: float, counts: Attainable) -> Inverted:
    """Return the lower confidence bound p1 that each radius was computed from, as an interval.

    radius = sigma Phi^-1(p1), and p1 is the bound of one of the counts that the printed digits leave. Where none does, p1
    is at least 0, and at most what the digits say.

    Args:
        printed: radii in pixel units; probabilities p1 if sigma is None.
        sigma: standard deviation of the Gaussian noise, in pixel units.
        samples: n.
        alpha: failure probability of the one-sided bound.
        counts: `attainable_counts` of the same.
    """
    n, fits = np.full(len(printed), samples), counts.fits & (printed.value > 0.0)
    low, high = (clopper_pearson_lower(np.clip(end, 0, samples), n, alpha) for end in (counts.first, counts.last))
    digits = np.maximum(printed.interval(counts.rounding)[1], 0.0)
    said = np.where(printed.value > 0.0, np.clip(digits, 0.0, 1.0) if sigma is None else ndtr(digits / sigma), 0.0)
    return Inverted(np.where(fits, low, 0.0), np.where(fits, high, said))


def _share(radius: Array, at: float) -> float:
    return float(((radius > 0.0) & (radius >= at)).mean())
