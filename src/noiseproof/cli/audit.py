"""`noiseproof audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.attack import recorded_engine
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

if TYPE_CHECKING:
    from noiseproof.attacking import Limits
    from noiseproof.bounds import Bound
    from noiseproof.certificates import Certificate
    from noiseproof.records import Record

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
            show_default="for pgd draws=64, steps=100, random_start=false: a random start is not wholly turned round",
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
    from noiseproof.audit import VERDICT_ALPHA, judge_audit
    from noiseproof.cli.counting import Engine
    from noiseproof.cli.defending import Opponent, chosen_subject, run_attack
    from noiseproof.cli.engine import PrecisionName
    from noiseproof.cli.subject import DataChoice
    from noiseproof.errors import RunError
    from noiseproof.records import Record
    from noiseproof.reports.attacked import NORM_ORDERS
    from noiseproof.robustness import answers

    record = Record.open(run)
    strongest = ["draws=64", "steps=100", "random_start=false"] if name is names.AttackName.pgd and not changes else []
    chosen = names.attack(name, [*strongest, *(changes or [])])
    (norm,) = (key for key, order in NORM_ORDERS.items() if order == record.noise.norm)
    names.NormName(norm)
    chosen.require_norm(norm)  # type: ignore[arg-type]
    limits = _limits(
        record, names.bound(bound, selection_samples=1), names.certificate(certificate), alpha, every, limit
    )
    (scale,) = (value for key, value in record.settings.noise.items() if key != "name")
    choice = DataChoice(data, None, data_dir, allow_unverified, None)
    subject = chosen_subject(run, model, weights, choice, scale)
    if subject.model.get("digest") != record.settings.model.get("digest") or subject.noise != record.noise:
        raise RunError(
            str(run),
            required=f"audited with the classifier that was certified, {dict(record.settings.model)} under {record.noise}",
            got=f"{subject.model} under {subject.noise}",
            remedy="Name that one: --model, --weights.",
        )
    where = out or run / "audit"
    attacked = int((limits.size > 0.0).sum())
    opponent = Opponent(
        subject,
        record.noise,
        Engine(device, PrecisionName.auto, None),
        recorded_engine(where) or record.settings.engine,
        votes=attacked * votes,
        seed=seed,
    )
    settings = record.settings
    made = run_attack(
        opponent,
        chosen,
        where,
        norm=norm,  # type: ignore[arg-type]
        sizes=[1.0],
        samples=votes,
        alpha=VERDICT_ALPHA,
        seed=seed,
        every=settings.step * every,
        limit=len(limits.size),
        limits=limits,
        title="audit",
    )
    table = made.read()
    found = answers(table.votes[:, -1], VERDICT_ALPHA)
    if len(table) < len(limits.size):
        say(f"[yellow]Incomplete:[/] {len(table)} of {len(limits.size)} images are attacked so far.")
    # by the attack's own rows: while others are missing they are no prefix of the run's
    result = judge_audit(table.label, table.sizes[:, -1].clip(min=0.0), table.index, found, alpha=alpha)
    if json:
        print_json({"run": str(run), "passed": result.passed} | result.plain())
    else:
        say(
            f"{result.attacked} certified images attacked within their radii by {escape(str(chosen))}; "
            f"{len(result.contradictions)} contradictions, {result.allowed:.2f} allowed on average at alpha {alpha:g}; "
            f"{result.undecided} undecided by {votes} votes."
        )
        if result.contradictions:
            say("Contradicted: images " + ", ".join(map(str, result.contradictions[:20])))
        say("[green]Passed.[/]" if result.passed else f"[bold red]Failed[/] (p = {result.p_value:.2g}).")
    if not result.passed:
        raise typer.Exit(1)


def _limits(
    record: "Record", bound: "Bound", certificate: "Certificate", alpha: float, every: int, limit: int | None
) -> "Limits":
    """The certified class and radius of the images to be audited."""
    import hashlib
    import json

    from noiseproof.attacking import Limits
    from noiseproof.audit import sizes_within
    from noiseproof.errors import RunError, require_count
    from noiseproof.records import recertify

    require_count("every", every, 1, "1 takes every image of the run.")
    require_count("limit", 1 if limit is None else limit, 1, "Leave it out to take all.")
    table = record.read()
    if len(table) < len(record.settings.indices):
        raise RunError(
            str(record.path),
            required="complete, to be audited",
            got=f"{len(table)} of {len(record.settings.indices)} images",
            remedy="Run certify again: it goes on.",
        )
    found = recertify(table, record.noise, alpha=alpha, bound=bound, certificate=certificate)
    digest = hashlib.sha256(json.dumps(record.settings.plain(), sort_keys=True).encode()).hexdigest()
    origin = {
        "record": digest,
        "bound": type(bound).__name__,
        "certificate": type(certificate).__name__,
        "alpha": alpha,
    }
    return Limits(found.prediction[::every][:limit], sizes_within(found.radius)[::every][:limit], origin)
