"""The attacks by name."""

from typing import TYPE_CHECKING

from noiseproof.plugins import Registry

if TYPE_CHECKING:
    from noiseproof.attacks.base import Attack

__all__ = ["ATTACKS", "gradient_free"]

ATTACKS: "Registry[Attack]" = Registry(
    "attack",
    "noiseproof.attacks",
    {
        "pgd": "pgd:PGD",
        "auto-pgd": "auto_pgd:AutoPGD",
        "auto-attack": "auto_pgd:RandomisedAutoAttack",
        "carlini-wagner": "carlini_wagner:CarliniWagner",
        "boundary": "boundary:BoundaryAttack",
        "hop-skip-jump": "hop_skip_jump:HopSkipJump",
        "random": "random_search:RandomSearch",
    },
    base="base:Attack",
    exports=(
        "batch:Batch",
        "batch:Finder",
        "defence:Defence",
        "escalation:AttackResult",
        "expectation:AttackLoss",
        "expectation:Expectation",
        "expectation:View",
        "expectation:attack_loss",
        "nearest:NearestAttack",
        "transfer:Transfer",
        "votes:Votes",
    ),
)


def gradient_free() -> list[str]:
    """Return the names of the attacks that need no gradients, but only the labels that a classifier returns."""
    return [name for name, kind in ATTACKS.items() if not getattr(kind, "follows_gradients", True)]
