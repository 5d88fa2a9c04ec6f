"""`noiseproof ensemble`."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.console import JsonOption, print_json, say

__all__ = ["ensemble"]


def ensemble(
    members: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...", help="Two or more: run folders, checkpoints or zoo:NAME.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The run folder to write.", show_default=False)],
    sigma: Annotated[
        float | None,
        typer.Option(
            "--sigma",
            "--scale",
            help="Size of the noise to certify with, where the members were trained with different ones.",
            show_default="that of the members",
        ),
    ] = None,
    noise: Annotated[names.NoiseName, typer.Option(help="Of --sigma.")] = names.NoiseName.gaussian,
    json: JsonOption = False,
) -> None:
    """Put trained networks together as one classifier: the mean of their logits.

    Several networks err less often on the same noisy copy than one, so that more is certified; a vote costs as much as
    all of them. The run folder is used like any other: certify, attack, audit.
    """
    from noiseproof.training import combine

    added = None if sigma is None else names.noise(noise, sigma)
    path = combine([(place, names.checkpoint(place)) for place in members], out, added)
    if json:
        print_json({"run": str(out), "checkpoint": str(path), "members": members})
        return
    say(
        f"{len(members)} networks as one: {escape(str(path))}\n"
        f"Next: [bold]noiseproof certify {escape(quote(str(out)))}[/]"
    )
