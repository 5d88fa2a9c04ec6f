"""Objects by their names on the command line, where a registry alone does not suffice."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noiseproof.attacks.registry import ATTACKS
from noiseproof.bounds.registry import BOUNDS
from noiseproof.errors import InvalidInputError
from noiseproof.plugins import changed

if TYPE_CHECKING:
    from noiseproof.attacks import Attack
    from noiseproof.bounds import Bound
    from noiseproof.models import Checkpoint

__all__ = ["RENAMED_SETTINGS", "attack", "bound", "checkpoint"]

RENAMED_SETTINGS = {"draws": "eot_samples"}
"""Settings of attacks that had another name before: the old name and the new."""


def attack(name: str, changes: Sequence[str] = ()) -> "Attack":
    """Make an attack with its default settings except for the changes, such as "steps=100".

    Raises:
        InvalidInputError: a change that is not NAME=VALUE with a setting of this attack.
    """
    made = ATTACKS.make(name)
    for change in changes:
        old = change.partition("=")[0]
        new = RENAMED_SETTINGS.get(old)
        if new is not None:
            raise InvalidInputError(
                f"--set {old}", required=f"written --set {new}", got="its old name", remedy="A wrong name lists all."
            )
    return changed(made, changes)


def bound(name: str, selection_samples: int) -> "Bound":
    """Make a bound; only two-phase has selection samples."""
    return BOUNDS.make(name, **({"selection_samples": selection_samples} if name == "two-phase" else {}))


def checkpoint(place: str) -> "Checkpoint":
    """Load a network that noiseproof trained: a run folder, a checkpoint, or zoo:NAME."""
    from noiseproof.models import find_checkpoint, load_checkpoint

    return load_checkpoint(find_checkpoint(place) or Path(place))
