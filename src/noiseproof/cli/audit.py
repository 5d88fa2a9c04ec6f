"""`noiseproof audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from noiseproof.bounds import Bound
    from noiseproof.certificates import Certificate
    from noiseproof.cli.subject import Subject
    from noiseproof.runs.attack import Limits
    from noiseproof.runs.records import Record

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
    from noiseproof.cli.counting import Engine, require_unchanged
    from noiseproof.cli.defending import Opponent, run_attack
    from noiseproof.cli.engine import PrecisionName
    from noiseproof.errors import RunError
    from noiseproof.evaluation.audit import VERDICT_ALPHA, judge_audit
    from noiseproof.evaluation.robust_accuracy import answers
    from noiseproof.perturbations.norms import ORDERS
    from noiseproof.reports.attacked import other_engine
    from noiseproof.runs.records import Record

    record = Record.open(run)
    chosen = names.attack(name, [*_strongest(name, changes or []), *(changes or [])])
    (norm,) = (key for key, order in ORDERS.items() if order == record.noise.norm)
    chosen.require_norm(norm)  # type: ignore[arg-type]
    limits, majority = _limits(
        record, names.bound(bound, selection_samples=1), names.certificate(certificate), alpha, every, limit
    )
    subject = _certified_subject(record, model, weights, data, data_dir, allow_unverified=allow_unverified)
    require_unchanged(subject, record.noise, run, device)
    where = out or run / "audit"
    settings = record.settings
    opponent = Opponent(
        subject,
        record.noise,
        Engine(device, PrecisionName.auto, None),
        settings.engine,
        votes=len(limits.size) * votes,
        seed=seed,
    )
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
    if len(table) < len(limits.size):
        raise RunError(
            str(where),
            required="complete, to be judged",
            got=f"{len(table)} of {len(limits.size)} images attacked",
            remedy="Run the same command again when the other process has ended.",
        )
    first = answers(table.votes[:, 0], VERDICT_ALPHA)
    contradicted_before = (first >= 0) & (first != limits.label)  # such an image is not attacked
    result = judge_audit(
        limits.label,
        limits.size,
        table.index,
        table.votes[:, -1],
        alpha=alpha,
        majority=majority,
        moved=(table.distances[:, -1] > 0.0) | contradicted_before,
        tried=not chosen.follows_gradients,
    )
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


def _certified_subject(
    record: "Record",
    model: str | None,
    weights: Path | None,
    data: str | None,
    data_dir: Path | None,
    *,
    allow_unverified: bool,
) -> "Subject":
    """Return the classifier and the data that were certified, or raise RunError where others are named or found."""
    from noiseproof.cli.defending import chosen_subject, require_recorded
    from noiseproof.cli.subject import DataChoice

    settings = record.settings
    noise = names.NoiseName(str(settings.noise["name"]))
    (scale,) = (value for key, value in settings.noise.items() if key != "name")
    choice = DataChoice(data, None, data_dir, allow_unverified, None)
    subject = chosen_subject(record.path, model, weights, choice, scale, noise)
    require_recorded(record.path, subject, settings, done="certified")
    return subject


def _limits(
    record: "Record", bound: "Bound", certificate: "Certificate", alpha: float, every: int, limit: int | None
) -> "tuple[Limits, bool]":
    """The certified class and radius of the images to be audited, and whether a majority was proven for each."""
    import hashlib
    import json

    from noiseproof.errors import RunError, require_count
    from noiseproof.evaluation.audit import sizes_within
    from noiseproof.runs.attack import Limits
    from noiseproof.runs.records import recertify

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
    label, size = found.prediction[::every][:limit], sizes_within(found.radius)[::every][:limit]
    settings = json.dumps(record.settings.plain(), sort_keys=True).encode()
    origin = {
        # with the classes and radii themselves: changed code must not find an audit of what it computed before
        "record": hashlib.sha256(settings + label.tobytes() + size.tobytes()).hexdigest(),
        "bound": type(bound).__name__,
        "certificate": type(certificate).__name__,
        "alpha": alpha,
    }
    certified = found.radius > 0.0
    majority = bool((found.p2_upper[certified] >= 1.0 - found.p1_lower[certified] - 1e-12).all())
    return Limits(label, size, origin), majority
