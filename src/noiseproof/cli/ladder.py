"""`noiseproof ladder`."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from noiseproof.cli import names
from noiseproof.cli.attack import transferred
from noiseproof.cli.console import (
    DataDirOption,
    DataOption,
    DeviceOption,
    JsonOption,
    SeedOption,
    UnverifiedOption,
    console,
    print_json,
    say,
)
from noiseproof.cli.engine import PrecisionName
from noiseproof.cli.progress import Shown

if TYPE_CHECKING:
    from noiseproof.reports.ladder import Ladder

__all__ = ["ladder", "ladder_table"]


def ladder(
    run: Annotated[Path, typer.Argument(help="The run folder of a network trained with noise.", show_default=False)],
    size: Annotated[
        float, typer.Option(help="Size of the attacks: best where about half of the images withstand them.")
    ],
    norm: Annotated[names.NormName, typer.Option(help="In which it is measured.")] = names.NormName.l2,
    limit: Annotated[int, typer.Option(help="Take so many images, spread over the test split.")] = 100,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source", help="Also transfer attacks from this network: a run folder or zoo:NAME. May be repeated."
        ),
    ] = None,
    decisions: Annotated[
        bool,
        typer.Option("--decisions/--no-decisions", help="Also Boundary and HopSkipJump, the slow ones; extra attacks."),
    ] = True,
    votes: Annotated[int, typer.Option(help="Fresh votes that judge every point found.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Where it goes.", show_default="RUN/ladder-NORM")] = None,
    model: Annotated[
        str | None, typer.Option(help="zoo:NAME or net.safetensors.", show_default="the network of the run")
    ] = None,
    data: DataOption = None,
    data_dir: DataDirOption = None,
    allow_unverified: UnverifiedOption = False,
    precision: Annotated[PrecisionName, typer.Option(help="Of the votes.")] = PrecisionName.auto,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Check the evaluation itself: draws x steps x restarts of PGD, and attacks that must not beat it, as one picture.

    More draws, steps and restarts must never weaken the attack; without bound nothing may withstand it; attacks that
    know less, and random search, must not be stronger. Ends with exit code 1 if one of these fails beyond chance.
    """
    from noiseproof.attacks.escalation import require_epsilons
    from noiseproof.errors import InvalidInputError, require_count
    from noiseproof.reports.ladder import Ladder, controls, grid, unbounded
    from noiseproof.runs import AttackImages, DataChoice, Engine, Selection, Subject, execute

    require_epsilons([size])
    require_count("limit", limit, 1, "100 images show differences of ten per cent.")
    if size <= 0.0:
        raise InvalidInputError("--size", required="> 0", got=size, remedy="Example: --size 1.5")
    choice = DataChoice(data, None, data_dir, allow_unverified, None)
    transfers = {
        f"transfer-{Path(source.removeprefix('zoo:')).name}": transferred(
            names.attack(names.AttackName.pgd, ["steps=100"]), source, choice, device
        )
        for source in sources or []
    }
    if len(transfers) < len(sources or []):
        raise InvalidInputError("--source", required="of different names", got=sources, remedy="Rename the folders.")
    subject = Subject.of_run(run, model, data=choice)
    where = out or run / f"ladder-{norm.value}"
    attacks = grid() | controls(norm.value, decisions=decisions) | transfers
    boundless, largest = unbounded(norm.value, math.prod(subject.dataset.image_shape))
    images = min(limit, len(subject.dataset))
    selection = Selection(len(subject.dataset) // images, images)
    engine, records = Engine(device, precision.value), {}
    for name, attack in {**attacks, "unbounded": boundless}.items():
        epsilons = [largest if name == "unbounded" else size]
        job = AttackImages(attack, epsilons, norm.value, samples=votes, seed=seed, selection=selection)
        with Shown(job.kept, name) as shown:
            records[name], _ = execute(job, where / name, subject, engine=engine, listener=shown)
    result = Ladder.of(records)
    pictures = result.write(where)
    checks = result.checks()
    plateau = result.plateau()
    if json:
        print_json(
            {
                "norm": norm.value,
                "size": size,
                "images": images,
                "robust": {name: result.robust(name) for name in records},
                "checks": [{"check": check.text, "passed": check.passed, "found": check.found} for check in checks],
                "plateau": {rung.what: asdict(rung) | {"verdict": rung.verdict} for rung in plateau},
                "pictures": [str(path) for path in pictures],
            }
        )
    else:
        console.print(ladder_table(result, f"{where}, {images} images, {norm.value} {size:g}"))
        if any(rung.falling for rung in plateau):
            say("[yellow]Still falling:[/] accuracy under the topmost rung is not yet what an attack can do.")
        say(f"Picture: [bold]{escape(str(pictures[0]))}[/]")
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def ladder_table(result: "Ladder", title: str) -> Table:
    """Return the checks of a ladder, and whether its accuracies settle, as a table."""
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD)
    for heading in ("", "check", "found"):
        table.add_column(heading)
    for check in result.checks():
        table.add_row("[green]ok[/]" if check.passed else "[bold red]fails[/]", check.text, check.found)
    for rung in result.plateau():
        mark = "[yellow]falls[/]" if rung.falling else "[green]settled[/]"
        table.add_row(mark, f"accuracy under more {rung.what} settles", str(rung))
    return table
