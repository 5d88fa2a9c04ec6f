"""Networks and ensembles of networks by the name that a checkpoint stores."""

import math
from collections.abc import Sequence

from torch import nn

from noiseproof.errors import InvalidInputError
from noiseproof.models.ensemble import Ensemble
from noiseproof.models.registry import MODELS

__all__ = ["MOST_MEMBERS", "build", "ensemble_name", "member_names", "names"]

MOST_MEMBERS = 50
"""Largest number of networks in an ensemble that is built by name, so that a name cannot exhaust the memory."""

_ENSEMBLE = "ensemble:"
_EARLY_EXIT = ";early-exit="


def names() -> tuple[str, ...]:
    """Return the names of the networks that `build` makes."""
    return tuple(MODELS)


def ensemble_name(members: Sequence[str], early_exit: float | None = None) -> str:
    """Return the name for which `build` makes an `Ensemble` of networks with these names.

    Args:
        members: names of networks.
        early_exit: the early-exit margin of the `Ensemble`, in logits; None: it has none.

    Raises:
        InvalidInputError: there are more than `MOST_MEMBERS` names.
    """
    _require_few(members)
    return _ENSEMBLE + ",".join(members) + ("" if early_exit is None else f"{_EARLY_EXIT}{float(early_exit)!r}")


def member_names(name: str) -> tuple[str, ...]:
    """Return the names of the networks in the name of an ensemble; an empty tuple for the name of one network."""
    listed = name.removeprefix(_ENSEMBLE).partition(_EARLY_EXIT)[0]
    return tuple(listed.split(",")) if name.startswith(_ENSEMBLE) else ()


def build(name: str) -> nn.Module:
    """Build a network, or an `Ensemble` of networks, with random weights from torch's global generator.

    Args:
        name: one of `names()`, or a name that `ensemble_name` returns.

    Raises:
        InvalidInputError: there is no network of this name.
        MissingExtraError: the network needs a package that is not installed.
    """
    if name.startswith(_ENSEMBLE):
        members, margin = member_names(name), _margin(name)
        _require_few(members)
        return Ensemble([MODELS.make(member) for member in members], margin)
    return MODELS.make(name)


def _require_few(members: Sequence[str]) -> None:
    if len(members) > MOST_MEMBERS:
        raise InvalidInputError(
            "ensemble",
            required=f"at most {MOST_MEMBERS} networks",
            got=len(members),
            remedy="For more, build noiseproof.models.Ensemble in a factory of your own.",
        )


def _margin(name: str) -> float | None:
    _, has_margin, text = name.partition(_EARLY_EXIT)
    if not has_margin:
        return None
    try:
        margin = float(text)
    except ValueError:
        margin = math.nan
    if ensemble_name(member_names(name), margin) != name:
        raise InvalidInputError(
            "model",
            required="the name of an ensemble, as noiseproof.models.ensemble_name gives it",
            got=repr(name),
            remedy=f"After {_EARLY_EXIT[1:]} stands a number, such as 1.5.",
        )
    return margin
