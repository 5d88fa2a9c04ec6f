"""Every attack with small settings, and what it needs: the common laws run over this table."""

from dataclasses import dataclass

from noiseproof.attacks import (
    PGD,
    Attack,
    AutoPGD,
    BoundaryAttack,
    CarliniWagner,
    HopSkipJump,
    RandomisedAutoAttack,
    RandomSearch,
)
from noiseproof.perturbations.norms import Norm

__all__ = ["TABLE", "Row"]


@dataclass(frozen=True)
class Row:
    """An attack of the registry.

    Attributes:
        attacks: it, in each of its forms, with so few steps that a law takes a second.
        norms: in which it measures distances.
        gradients: whether it needs a differentiable network.
    """

    attacks: tuple[Attack, ...]
    norms: tuple[Norm, ...]
    gradients: bool


TABLE: dict[str, Row] = {
    "pgd": Row(
        (PGD(eot_samples=2, steps=2, restarts=2), PGD(eot_samples=2, steps=3, fixed=True, step_size=2.0)),
        ("linf", "l2", "l1"),
        gradients=True,
    ),
    "auto-pgd": Row(
        (AutoPGD(eot_samples=2, steps=5), AutoPGD(eot_samples=2, steps=5, loss="dlr")), ("linf", "l2"), gradients=True
    ),
    "auto-attack": Row((RandomisedAutoAttack(eot_samples=2, steps=3),), ("linf", "l2"), gradients=True),
    "carlini-wagner": Row(
        (CarliniWagner(eot_samples=4, steps=20, binary_search_steps=2, initial_constant=10.0),), ("l2",), gradients=True
    ),
    "boundary": Row((BoundaryAttack(steps=10, eot_samples=4),), ("l2",), gradients=False),
    "hop-skip-jump": Row((HopSkipJump(steps=2, queries=10, eot_samples=4),), ("linf", "l2"), gradients=False),
    "random": Row((RandomSearch(tries=4, eot_samples=8),), ("linf", "l2", "l1"), gradients=False),
}
