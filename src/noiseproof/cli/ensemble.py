"""`noiseproof ensemble`."""

from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.console import print_json, say
from noiseproof.cli.options import Json, NoiseOptions
from noiseproof.noises.registry import NOISES

__all__ = ["ensemble"]


def ensemble(
    members: Annotated[
        list[str],
        Parameter(
            name="NETWORK",
            help="Run folders, checkpoints or zoo:NAME, together two or more networks; an ensemble counts as its members.",
        ),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="The run folder to write.")],
    noise: NoiseOptions = NoiseOptions(),
    early_exit: Annotated[
        float | None,
        Parameter(
            metavar="MARGIN",
            help="Evaluate the networks in the order given, and no further one of them on a noisy copy once the two largest "
            "logits of the mean are so far apart.",
            show_default="all are evaluated",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Put trained networks together as one classifier: the mean of their logits.

    Several networks err less often on the same noisy copy than one, so that more is certified; a vote costs as much as
    all of them, or with --early-exit, where that is not compiled or in int8, little more than the first. The run folder is
    used like any other: certify, attack, audit.
    """
    from noiseproof.training import combine

    added = None if noise.sigma is None else NOISES[noise.noise or "gaussian"](noise.sigma)
    path = combine([(place, names.checkpoint(place)) for place in members], out, added, early_exit)
    if json:
        print_json({"run": str(out), "checkpoint": str(path), "members": members, "early_exit": early_exit})
        return
    say(f"As one network: {escape(str(path))}\nNext: [bold]noiseproof certify {escape(quote(str(out)))}[/]")
