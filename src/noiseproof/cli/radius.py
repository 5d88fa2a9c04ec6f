"""`noiseproof radius`."""

from typing import Annotated

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.table import Table

from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.cli.console import console, print_json
from noiseproof.cli.options import Json
from noiseproof.noises.registry import NOISES

__all__ = ["radius"]


def radius(
    *,
    p1: Annotated[float, Parameter(help="Lower bound of the winner's probability.")],
    p2: Annotated[
        float | None, Parameter(help="Upper bound of every other class's probability.", show_default="1 - p1")
    ] = None,
    scale: Annotated[float, Parameter(name=("--scale", "--sigma"), help="Scale of the noise.")] = 1.0,
    json: Json = False,
) -> None:
    """Print the radii of every certificate under every noise for given probabilities.

    Gaussian noise certifies in l2, Laplace and uniform noise in l1. A dash: not for this noise.
    """
    from noiseproof.numerics.decimals import exact, round_down

    second = 1.0 - p1 if p2 is None else p2
    noises = [NOISES[name](scale) for name in NOISES]
    found: dict[str, list[float | None]] = {}
    for name in CERTIFICATES:
        certificate = CERTIFICATES.make(name)
        found[name] = [
            certificate.radius(noise, p1, second) if isinstance(noise, certificate.noises) else None for noise in noises
        ]
    if json:
        radii = {name: dict(zip(NOISES, row, strict=True)) for name, row in found.items()}
        print_json({"p1": p1, "p2": second, "scale": scale, "radii": radii})
        return
    table = Table(title=f"p1 = {exact(p1)}, p2 = {exact(second)}", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("certificate")
    for noise in noises:
        table.add_column(f"{type(noise).__name__.lower()} {scale:g}\n{noise.norm}", justify="right")
    for certificate_name, row in found.items():
        table.add_row(certificate_name, *("-" if value is None else round_down(value, 6) for value in row))
    console.print(table)
