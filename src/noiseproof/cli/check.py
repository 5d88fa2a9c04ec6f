"""`noiseproof check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from noiseproof.cli.console import console, print_json, say
from noiseproof.cli.options import Json, Radii

if TYPE_CHECKING:
    from noiseproof.published import Checked

__all__ = ["check"]


def check(
    file: Annotated[Path, Parameter(help="A table, a list of p1, JSON, or a run folder with votes.")],
    /,
    *files: Annotated[Path, Parameter(name="FILES", help="More of them, of the same sigma, n and alpha.")],
    sigma: Annotated[
        float | None, Parameter(help="Standard deviation of the Gaussian noise, for pixels in [0, 1]; radii need it.")
    ] = None,
    samples: Annotated[int, Parameter(help="Votes behind each radius, as the file's authors state.")] = 100_000,
    alpha: Annotated[float, Parameter(help="Failure probability of each radius, as its authors state.")] = 0.001,
    radii: Radii = None,
    json: Json = False,
) -> None:
    """Check result files of others: can the radii be true, and what do they prove?

    Tables have the columns index, label, predict, radius, and optionally correct and time, as in the files of Cohen et
    al. (2019). Every radius must come from a whole count of n votes at level alpha. The exit code is 1 if a file claims
    what cannot be true. Votes of run folders are certified again; sigma, n and alpha are their own.
    """
    from noiseproof.noises import Gaussian
    from noiseproof.published import check_file, largest_radius

    if sigma is not None:
        Gaussian(sigma)
    largest_radius(1.0 if sigma is None else sigma, samples, alpha)  # refuses wrong values before any file is read
    found = [check_file(path, sigma=sigma, samples=samples, alpha=alpha, radii=radii) for path in (file, *files)]
    if json:
        print_json({"files": [each.plain() for each in found]})
    else:
        for each in found:
            _show(each)
    if not all(each.possible for each in found):
        raise SystemExit(1)


def _show(found: "Checked") -> None:
    """Print what was found of one file."""
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in found.rows():
        facts.add_row(f"[bold]{escape(name)}[/]", escape(value))
    console.print(facts)
    if found.radii:
        console.print(_curves(found))
    for finding in found.findings:
        say(f"[bold red]Cannot be true:[/] {escape(str(finding))}.", console)
    if not found.findings:
        say("[green]Nothing is claimed that cannot be true.[/]", console)


def _curves(found: "Checked") -> Table:
    """Return the certified shares as a table; they are rounded down."""
    from noiseproof.numerics.decimals import percent_down, round_down

    table = Table(box=SIMPLE_HEAD, header_style="")
    population = {} if found.population is None else {"population*": found.population}
    columns = found.curves | population
    table.add_column("radius", justify="right")
    for name in columns:
        table.add_column(name.replace("-", "-\n"), justify="right")
    for number, radius in enumerate(found.radii):
        table.add_row(round_down(radius, None), *(percent_down(shares[number]) for shares in columns.values()))
    if population:
        table.caption = "* lower bound at 95 %, for one radius, if the images are a random sample"
    return table
