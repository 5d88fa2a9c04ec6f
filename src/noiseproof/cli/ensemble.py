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
            help="Run folders, checkpoints or zoo:NAME, at least two networks in all; an ensemble counts as its members.",
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
            help="Evaluate the networks in the order given, and stop once the two largest logits of the mean differ by "
            "this margin.",
            show_default="all are evaluated",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Combine trained networks into one classifier: the mean of their logits.

    The mean errs less often on a noisy copy than one network, so that more images are certified. A vote costs as much
    as all networks together; with --early-exit, unless compiled or in int8, little more than the first alone. The run
    folder is used like any other: certify, attack, audit.
    """
    from noiseproof.training import combine

    added = None if noise.sigma is None else NOISES[noise.noise or "gaussian"](noise.sigma)
    path = combine([(place, names.checkpoint(place)) for place in members], out, added, early_exit)
    if json:
        print_json({"run": str(out), "checkpoint": str(path), "members": members, "early_exit": early_exit})
        return
    say(f"As one network: {escape(str(path))}\nNext: [bold]noiseproof certify {escape(quote(str(out)))}[/]")
