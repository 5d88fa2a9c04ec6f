"""Conversion of a certified radius from one norm to another."""

import math

from noiseproof.errors import require_count
from noiseproof.perturbations.norms import Norm, NormLike

__all__ = ["converted_radius"]


def converted_radius(radius: float, *, norm: NormLike, wanted: NormLike, dimension: int) -> float:
    """Return the radius that a certificate in one l_p norm implies in another.

    Proof: for x in d dimensions |x|_p <= d^max(0, 1/p - 1/q) |x|_q (Hölder), so every perturbation of l_q size below

        R_q = R_p d^-max(0, 1/p - 1/q)

    has l_p size below R_p. An l2 radius R implies R in l1 and R / sqrt(d) in l_inf; an l1 radius R implies R / sqrt(d)
    in l2 and R / d in l_inf. This is the largest l_q ball inside the certified one, and it is small: 0.5 in l2 is 0.018
    in l_inf at 28 x 28 pixels. Rounded down.

    Args:
        radius: R_p.
        norm: l_p, the norm of the certificate: "l1", "l2" or "linf".
        wanted: l_q.
        dimension: d, pixels times channels.

    Raises:
        InvalidInputError: an unknown norm, or a dimension below 1.
    """
    require_count("dimension", dimension, 1, "Count pixels times channels.")
    exponent = max(0.0, 1.0 / Norm(norm).order - 1.0 / Norm(wanted).order)
    if exponent == 0.0:
        return radius
    return math.nextafter(radius * float(dimension) ** -exponent, 0.0)
