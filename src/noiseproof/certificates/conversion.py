"""A radius in one norm, as a radius in another."""

import math

from noiseproof.errors import require_count
from noiseproof.perturbations.norms import Norm, NormLike

__all__ = ["converted_radius"]


def converted_radius(radius: float, *, norm: NormLike, wanted: NormLike, dimension: int) -> float:
    """Return the radius that a certificate in one l_p norm proves in another.

    Proof: for x in d dimensions |x|_p <= d^max(0, 1/p - 1/q) |x|_q (Hölder), so every perturbation of l_q size below

        R_q = R_p d^-max(0, 1/p - 1/q)

    has l_p size below R_p. From l2: the l1 radius is the same, the l_inf radius is R / sqrt(d). From l1: l2 is
    R / sqrt(d), l_inf is R / d. This is the largest ball that fits, and it is small: 0.5 in l2 is 0.018 in l_inf at
    28 x 28 pixels.

    Args:
        radius: R_p.
        norm: l_p, that of the certificate: "l1", "l2" or "linf".
        wanted: l_q.
        dimension: d, pixels times channels.

    Raises:
        InvalidInputError: no such norm, or a dimension below 1.
    """
    require_count("dimension", dimension, 1, "Count pixels times channels.")
    exponent = max(0.0, 1.0 / Norm(norm).order - 1.0 / Norm(wanted).order)
    if exponent == 0.0:
        return radius
    return math.nextafter(radius * float(dimension) ** -exponent, 0.0)
