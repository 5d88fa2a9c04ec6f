"""`noiseproof audit`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.attacks.registry import ATTACKS
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.cli import names
from noiseproof.cli.console import console, print_json, say
from noiseproof.cli.options import (
    AttackChoice,
    ClassifierOptions,
    DataOptions,
    Device,
    ImageOptions,
    Json,
    JudgingSamples,
    ProcedureOptions,
    Seed,
)
from noiseproof.cli.progress import Shown

if TYPE_CHECKING:
    from noiseproof.evaluation.audit import AuditResult
    from noiseproof.runs import Audit

__all__ = ["audit"]


def audit(
    run: Annotated[Path, Parameter(help="A run folder with votes.")],
    /,
    *,
    attack: AttackChoice = AttackChoice(),
    samples: JudgingSamples = 10_000,
    images: ImageOptions = ImageOptions(),
    procedure: ProcedureOptions = ProcedureOptions(),
    classifier: ClassifierOptions = ClassifierOptions(),
    data: DataOptions = DataOptions(),
    device: Device = "auto",
    out: Annotated[Path | None, Parameter(help="Folder for the record of the audit.", show_default="RUN/audit")] = None,
    seed: Seed = 1,
    json: Json = False,
) -> None:
    """Attack certified images within their certified radii: no label may change, except for the failures alpha allows.

    Each image is attacked within its own radius, by pgd with eot_samples=64, steps=100 and random_start=false unless
    --attack or --set say otherwise, and fresh votes judge the points found. Of the run's images, --every N takes those
    whose index in the data set is a multiple of N, and --limit the first of them. The exit code is 1 if there are more
    contradictions than alpha allows (binomial test at level 0.01), or if the attack moved no image.
    """
    from noiseproof.reports.attacked import other_engine
    from noiseproof.runs import Audit, Engine, Record, execute
    from noiseproof.runs.audit import strongest

    record = Record.open(run)
    chosen = replace(record.procedure, **procedure.named())
    job = Audit(
        record,
        names.attack(attack.attack, strongest(attack.attack, attack.changes)),
        samples=samples,
        alpha=chosen.alpha,
        bound=chosen.bound,
        certificate=chosen.certificate,
        seed=seed,
        selection=images.selection(),
    )
    job.require_auditable()  # before anything is loaded
    noise = record.noise
    subject = classifier.load(run, data, noise=str(noise.spec()["name"]), sigma=noise.scale)
    with Shown(job.kept, "audit") as shown:
        made, _ = execute(job, out or run / "audit", subject, engine=Engine(device), listener=shown)
    result = job.judge(made)
    other = other_engine(run, made)
    if json:
        made_by = {"attack": job.attack.spec(), "votes": samples, "bound": BOUNDS.name_of(chosen.bound)}
        made_by["certificate"] = CERTIFICATES.name_of(chosen.certificate)
        print_json({"run": str(run), "passed": result.passed, "other_engine": other} | made_by | result.plain())
    else:
        _show(result, job, other)
    if not result.passed:
        raise SystemExit(1)


def _show(result: "AuditResult", job: "Audit", other: str | None) -> None:
    """Print what an audit showed."""
    if other:
        say(f"[yellow]Another engine:[/] {escape(other)}")
    if result.unmoved:
        say(f"[yellow]Unmoved:[/] {result.unmoved} images, which the attack left unchanged.")
    say(
        f"{result.images} images, {result.attacked} of them certified and attacked within their radii by "
        f"{escape(ATTACKS.told(job.attack.spec()))}: {len(result.contradictions)} contradictions, "
        f"{result.allowed:.2f} allowed on average at alpha {job.alpha:g}; "
        f"{result.undecided} undecided by {job.samples} votes.",
        console,
    )
    if result.contradictions:
        say("Contradicted: images " + ", ".join(map(str, result.contradictions[:20])), console)
    if result.blind:
        say("[bold red]Nothing was audited:[/] the attack moved no image. --attack random needs no gradients.", console)
    else:
        say("[green]Passed.[/]" if result.passed else f"[bold red]Failed[/] (p = {result.p_value:.2g}).", console)
