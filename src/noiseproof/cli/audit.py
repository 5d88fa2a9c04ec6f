"""`noiseproof audit`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.console import (
    DataDirOption,
    DataOption,
    DeviceOption,
    JsonOption,
    SeedOption,
    UnverifiedOption,
    print_json,
    say,
)
from noiseproof.cli.progress import Shown

__all__ = ["audit"]


def audit(
    run: Annotated[Path, typer.Argument(help="A run folder with votes.", show_default=False)],
    name: Annotated[names.AttackName, typer.Option("--attack", help="Which attack.")] = names.AttackName.pgd,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the attack.",
            show_default="for pgd eot_samples=64, steps=100, random_start=false",
        ),
    ] = None,
    votes: Annotated[int, typer.Option(help="Fresh votes that judge every point found.")] = 10_000,
    alpha: Annotated[float, typer.Option(help="Failure probability of each certificate.")] = 0.001,
    bound: Annotated[names.BoundName, typer.Option(help="From votes to probabilities.")] = names.BoundName.two_phase,
    certificate: Annotated[
        names.CertificateName, typer.Option(help="From probabilities to a radius.")
    ] = names.CertificateName.neyman_pearson,
    every: Annotated[int, typer.Option(help="Take every N-th image of the run.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Take at most so many images.", show_default="all")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the attack goes.", show_default="RUN/audit")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The classifier that was certified, where the run does not hold it.", show_default="found"),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights, for a factory.")] = None,
    data: DataOption = None,
    data_dir: DataDirOption = None,
    allow_unverified: UnverifiedOption = False,
    seed: SeedOption = 1,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Attack certified images inside their certified radii: no answer may change, but for the failures alpha allows.

    Each image is attacked within its own radius, and fresh votes judge what was found. More contradictions than
    certificates that fail with probability alpha can have (a binomial test at level 0.01) end with exit code 1.
    """
    from noiseproof.reports.attacked import other_engine
    from noiseproof.runs import Audit, DataChoice, Engine, Record, Selection, Subject, execute

    record = Record.open(run)
    chosen = names.attack(name, [*_strongest(name, changes or []), *(changes or [])])
    job = Audit(
        record,
        chosen,
        samples=votes,
        alpha=alpha,
        bound=names.bound(bound, selection_samples=1),
        certificate=names.certificate(certificate),
        seed=seed,
        selection=Selection(every, limit),
    )
    job.require_auditable()  # before anything is loaded
    (scale,) = (value for key, value in record.settings.noise.items() if key != "name")
    choice, noise = DataChoice(data, None, data_dir, allow_unverified, None), str(record.settings.noise["name"])
    subject = Subject.of_run(run, model, weights=weights, data=choice, noise=noise, sigma=scale)
    with Shown(job.kept, "audit") as shown:
        made, _ = execute(job, out or run / "audit", subject, engine=Engine(device), listener=shown)
    result = job.judge(made)
    other = other_engine(run, made)
    if json:
        procedure = {"attack": chosen.spec(), "votes": votes, "bound": bound.value, "certificate": certificate.value}
        print_json({"run": str(run), "passed": result.passed, "other_engine": other} | procedure | result.plain())
    else:
        if other:
            say(f"[yellow]Another engine:[/] {escape(other)}")
        if result.unmoved:
            say(f"[yellow]Unmoved:[/] {result.unmoved} images, at which the attack did nothing.")
        say(
            f"{result.images} images, {result.attacked} of them certified and attacked within their radii by "
            f"{escape(str(chosen))}: {len(result.contradictions)} contradictions, {result.allowed:.2f} allowed on average "
            f"at alpha {alpha:g}; {result.undecided} undecided by {votes} votes."
        )
        if result.contradictions:
            say("Contradicted: images " + ", ".join(map(str, result.contradictions[:20])))
        if result.blind:
            say(
                "[bold red]Nothing was audited:[/] the attack moved no image. Take one that needs no gradients: --attack random."
            )
        else:
            say("[green]Passed.[/]" if result.passed else f"[bold red]Failed[/] (p = {result.p_value:.2g}).")
    if not result.passed:
        raise typer.Exit(1)


def _strongest(name: names.AttackName, changes: list[str]) -> list[str]:
    """Return the settings of an audit's PGD; those that are named come after them and win."""
    if name is not names.AttackName.pgd:
        return []
    random = any(change.startswith("restarts=") for change in changes)
    return ["eot_samples=64", "steps=100", *([] if random else ["random_start=false"])]
