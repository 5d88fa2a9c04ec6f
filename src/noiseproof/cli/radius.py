"""`noiseproof radius`."""

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from noiseproof.cli import names
from noiseproof.cli.console import JsonOption, console, print_json

__all__ = ["radius"]


def radius(
    p1: Annotated[float, typer.Option(help="Lower bound of the winner's probability.", show_default=False)],
    p2: Annotated[
        float | None, typer.Option(help="Upper bound of every other class's probability.", show_default="1 - p1")
    ] = None,
    scale: Annotated[float, typer.Option("--scale", "--sigma", help="Size of the noise.")] = 1.0,
    json: JsonOption = False,
) -> None:
    """Print every certificate under every noise for given probabilities, side by side.

    Gaussian noise certifies in l2, Laplace and uniform noise in l1. A dash: the certificate is not for this noise.
    """
    from noiseproof.reports import round_down

    second = 1.0 - p1 if p2 is None else p2
    noises = [names.noise(name, scale) for name in names.NoiseName]
    found: dict[str, list[float | None]] = {}
    for name in names.CertificateName:
        certificate = names.certificate(name)
        found[name.value] = [
            certificate.radius(noise, p1, second) if isinstance(noise, certificate.noises) else None for noise in noises
        ]
    if json:
        columns = [noise.value for noise in names.NoiseName]
        radii = {name: dict(zip(columns, row, strict=True)) for name, row in found.items()}
        print_json({"p1": p1, "p2": second, "scale": scale, "radii": radii})
        return
    table = Table(title=f"p1 = {p1:g}, p2 = {second:g}", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("certificate")
    for noise in noises:
        table.add_column(f"{type(noise).__name__.lower()} {scale:g}\n{noise.norm}", justify="right")
    for certificate_name, row in found.items():
        table.add_row(certificate_name, *("-" if value is None else round_down(value, 6) for value in row))
    console.print(table)
