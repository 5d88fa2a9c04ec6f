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
            metavar="NETWORK...",
            help="Run folders, checkpoints or zoo:NAME, together two or more networks; an ensemble counts as its members.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The run folder to write.", show_default=False)],
    sigma: Annotated[
        float | None,
        typer.Option(
            "--sigma",
            "--scale",
            help="Size of the noise to certify with, where that of the networks is not the same.",
            show_default="that of the networks",
        ),
    ] = None,
    noise: Annotated[names.NoiseName, typer.Option(help="Of --sigma.")] = names.NoiseName.gaussian,
    early_exit: Annotated[
        float | None,
        typer.Option(
            "--early-exit",
            metavar="MARGIN",
            help="Ask in the order given, and no further network about a noisy copy once the two largest logits of the mean "
            "are so far apart.",
            show_default="all are asked",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Put trained networks together as one classifier: the mean of their logits.

    Several networks err less often on the same noisy copy than one, so that more is certified; a vote costs as much as
    all of them, or with --early-exit, where that is not compiled or in int8, little more than the first. The run folder is
    used like any other: certify, attack, audit.
    """
    from noiseproof.training import combine

    added = None if sigma is None else names.noise(noise, sigma)
    path = combine([(place, names.checkpoint(place)) for place in members], out, added, early_exit)
    if json:
        print_json({"run": str(out), "checkpoint": str(path), "members": members, "early_exit": early_exit})
        return
    say(f"As one network: {escape(str(path))}\nNext: [bold]noiseproof certify {escape(quote(str(out)))}[/]")
