"""`noiseproof ladder`."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from noiseproof.cli import names
from noiseproof.cli.attack import transferred
from noiseproof.cli.console import console, print_json, require_all, say
from noiseproof.cli.options import (
    ClassifierOptions,
    DataOptions,
    EngineOptions,
    Json,
    JudgingSamples,
    NormChoice,
    Run,
    Seed,
)
from noiseproof.cli.progress import Shown
from noiseproof.errors import InvalidInputError

if TYPE_CHECKING:
    from noiseproof.attacks import Attack
    from noiseproof.reports.ladder import Ladder
from noiseproof.numerics.decimals import round_down
from noiseproof.perturbations.norms import Norm

__all__ = ["ladder", "ladder_table"]


def ladder(
    run: Run,
    /,
    *,
    epsilon: Annotated[float, Parameter(help="Size of the attacks: best one that about half of the images withstand.")],
    norm: NormChoice = Norm.L2,
    limit: Annotated[int, Parameter(help="Number of images, spread over the test split.")] = 100,
    sources: Annotated[
        tuple[str, ...],
        Parameter(
            name="--source",
            metavar="NETWORK",
            help="Also transfer attacks from this network: a run folder or zoo:NAME. May be repeated.",
            show_default="none",
        ),
    ] = (),
    decisions: Annotated[
        bool, Parameter(negative="--no-decisions", help="Also Boundary and HopSkipJump, the slow ones; extra attacks.")
    ] = True,
    samples: JudgingSamples = 1000,
    classifier: ClassifierOptions = ClassifierOptions(),
    data: DataOptions = DataOptions(),
    engine: EngineOptions = EngineOptions(),
    out: Annotated[Path | None, Parameter(help="Folder for the result.", show_default="RUN/ladder-NORM")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Check the attacks themselves: PGD with more and more eot_samples, steps and restarts, beside other attacks.

    More eot_samples, steps and restarts must never weaken the attack; nothing may withstand an unbounded attack;
    attacks that know less, and random search, must not be stronger. Exit code 1 if one of these fails beyond chance.
    """
    from noiseproof.errors import require_count
    from noiseproof.reports.ladder import Ladder, controls, grid, unbounded
    from noiseproof.runs import AttackImages, Selection, execute

    require_count("limit", limit, 1, "100 images show differences of ten per cent.")
    if not 0.0 < epsilon < math.inf:
        raise InvalidInputError("--epsilon", required="finite and > 0", got=epsilon, remedy="Example: --epsilon 1.5")
    transfers = _transfers(sources, data, engine.device)
    subject = classifier.load(run, data)
    where = out or run / f"ladder-{norm}"
    attacks = grid() | controls(norm, decisions=decisions) | transfers
    boundless, largest = unbounded(norm, math.prod(subject.dataset.image_shape))
    images = min(limit, len(subject.dataset))
    selection, records = Selection(len(subject.dataset) // images, images), {}
    for name, attack in {**attacks, "unbounded": boundless}.items():
        epsilons = [largest if name == "unbounded" else epsilon]
        job = AttackImages(attack, epsilons, norm, samples=samples, seed=seed, selection=selection)
        with Shown(job.kept, name) as shown:
            records[name], left = execute(job, where / name, subject, engine=engine.engine(), listener=shown)
        require_all(records[name], left)
    result = Ladder.of(records)
    pictures = result.write(where)
    plateau = result.plateau()
    if json:
        print_json(
            {
                "norm": norm,
                "size": epsilon,
                "images": images,
                **result.plain(),
                "plateau": {rung.what: asdict(rung) | {"verdict": rung.verdict} for rung in plateau},
                "pictures": [str(path) for path in pictures],
            }
        )
    else:
        console.print(ladder_table(result, f"{where}, {images} images, {norm} {round_down(epsilon, None)}"))
        if any(rung.falling for rung in plateau):
            say(
                "[yellow]Still falling:[/] accuracy under the topmost rung has not settled: stronger attacks may lower it."
            )
        say(f"Picture: [bold]{escape(str(pictures[0]))}[/]")
    if not all(check.passed for check in result.checks()):
        raise SystemExit(1)


def _transfers(sources: tuple[str, ...], data: DataOptions, device: str) -> "dict[str, Attack]":
    """Return the transfer attacks from other networks, by name."""
    found = {
        f"transfer-{Path(source.removeprefix('zoo:')).name}": transferred(
            names.attack("pgd", ["steps=100"]), source, data.choice(), device
        )
        for source in sources
    }
    if len(found) < len(sources):
        raise InvalidInputError(
            "--source", required="of different names", got=", ".join(sources), remedy="Rename the folders."
        )
    return found


def ladder_table(result: "Ladder", title: str) -> Table:
    """Return the checks of a ladder, and whether its accuracies settle, as a table."""
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD)
    for heading in ("", "check", "found"):
        table.add_column(heading)
    colours = {"ok": "green", "fails": "bold red", "settled": "green", "falls": "yellow"}
    for verdict, statement, found in result.lines():
        table.add_row(f"[{colours[verdict]}]{verdict}[/]", statement, found)
    return table
