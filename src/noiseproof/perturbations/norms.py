"""The norms in which perturbations are measured: one type for noises, certificates, attacks, verification and reports."""

from enum import StrEnum
from typing import Literal

from noiseproof.errors import InvalidInputError

__all__ = ["Norm", "NormLike"]


class Norm(StrEnum):
    """l_1, l_2 or l_inf.

    A member is its name, `Norm.L2 == "l2"`, and is found by its name or its order: `Norm("l2")`, `Norm(2.0)`.

    Raises:
        InvalidInputError: no norm has that name or order.

    Example:
        >>> Norm(2.0), Norm("linf").order, Norm.LINF.dual, Norm.L1.label
        (<Norm.L2: 'l2'>, inf, <Norm.L1: 'l1'>, 'ℓ1')
    """

    L2 = "l2"
    LINF = "linf"
    L1 = "l1"

    @property
    def order(self) -> float:
        """P of the l_p norm: 1.0, 2.0 or infinity."""
        return float(self.removeprefix("l"))

    @property
    def dual(self) -> "Norm":
        """The norm of order q with 1/p + 1/q = 1: the maximum of <a, v> over |v|_p <= 1 is |a|_q."""
        return {Norm.L1: Norm.LINF, Norm.L2: Norm.L2, Norm.LINF: Norm.L1}[self]

    @property
    def label(self) -> str:
        """How plots and pages write it: ℓ1, ℓ2 or ℓ∞."""
        return self.replace("l", "ℓ", 1).replace("inf", "∞")

    @classmethod
    def _missing_(cls, value: object) -> "Norm":
        for norm in cls:
            if value == norm.order:
                return norm
        raise InvalidInputError(
            "norm",
            required=" or ".join(map(repr, map(str, cls))),
            got=repr(value),
            remedy="Choose one; by their orders 2.0, inf or 1.0.",
        )


NormLike = Norm | Literal["l2", "linf", "l1"]
"""What functions accept: a norm or its name."""
