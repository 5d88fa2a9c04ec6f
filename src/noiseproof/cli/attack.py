"""`noiseproof attack`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from noiseproof.cli import names
from noiseproof.cli.console import console, print_json, require_all, say
from noiseproof.cli.options import (
    AttackOptions,
    ClassifierOptions,
    DataOptions,
    EngineOptions,
    ImageOptions,
    Json,
    NoiseOptions,
    Run,
    Seed,
)
from noiseproof.cli.progress import Shown
from noiseproof.numerics.decimals import percent, percent_down, percent_interval, percent_up, round_down

if TYPE_CHECKING:
    from noiseproof.attacks import Attack
    from noiseproof.evaluation.robust_accuracy import RobustSummary
    from noiseproof.runs import AttackRecord, DataChoice

__all__ = ["attack", "attack_table", "show_attack", "transferred"]


def attack(
    run: Run,
    /,
    *,
    attack: AttackOptions = AttackOptions(),
    images: ImageOptions = ImageOptions(),
    classifier: ClassifierOptions = ClassifierOptions(),
    noise: NoiseOptions = NoiseOptions(),
    data: DataOptions = DataOptions(),
    engine: EngineOptions = EngineOptions(),
    out: Annotated[
        Path | None, Parameter(help="Folder for the record of the attack.", show_default="RUN/attacks/ATTACK-NORM")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Attack a classifier, and measure its accuracy under the attack.

    The attacker knows the weights and the noise distribution, but not the noise that is drawn; --sigma 0 means no
    noise. Every point found is judged by fresh votes. Points and votes are written as they come: after Ctrl-C the same
    command resumes.
    """
    from noiseproof.attacks.escalation import default_epsilons
    from noiseproof.runs import AttackImages, Record, execute

    chosen, title = names.attack(attack.attack, attack.changes), f"{attack.attack}-{attack.norm}"
    chosen.require_norm(attack.norm)
    subject = classifier.load(run, data, noise=noise.noise, sigma=noise.sigma)
    epsilons = attack.epsilons or default_epsilons(attack.norm, subject.noise)
    if attack.source is not None:
        chosen, title = transferred(chosen, attack.source, data.choice(), engine.device), f"transfer-{title}"
    job = AttackImages(
        chosen,
        epsilons,
        attack.norm,
        samples=attack.samples,
        alpha=attack.alpha,
        seed=seed,
        selection=images.selection(),
        beside=Record.open(run) if (run / Record.configuration).exists() else None,
    )
    with Shown(job.kept, title) as shown:
        where = out or run / "attacks" / title
        record, left = execute(job, where, subject, engine=engine.engine(), listener=shown)
    show_attack(record, title, run, json=json)
    require_all(record, left)


def transferred(chosen: "Attack", source: str, choice: "DataChoice", device: str) -> "Attack":
    """Return the transfer attack from another network, a run folder or zoo:NAME, on the same images."""
    from torch import nn

    from noiseproof.attacks import Defence, Transfer
    from noiseproof.classifiers import accelerate
    from noiseproof.runs import Subject
    from noiseproof.runs.running import device_named

    named = source.startswith("zoo:") or source.endswith(".safetensors")
    subject = Subject.of_run(Path(source), source if named else None, data=choice)
    where, network = device_named(device), subject.classifier
    if isinstance(network, nn.Module):
        network = accelerate(network, device=where)
    defence = Defence(network, subject.noise, subject.dataset.num_classes)
    about = "no noise" if subject.noise is None else str(subject.noise)
    return Transfer(chosen, defence, f"{subject.model['name']} {subject.model['digest']}, {about}")


def show_attack(record: "AttackRecord", title: str, run: Path, *, json: bool) -> None:
    """Print accuracy under an attack, beside what is certified where the run has it, and draw it into the record."""
    from noiseproof.evaluation.robust_accuracy import Verdict
    from noiseproof.reports.attacked import certified_beside, draw_attack, other_engine, summarise_attack
    from noiseproof.reports.naming import incomplete
    from noiseproof.reports.plain import plain_attack

    summary = summarise_attack(record)
    certified = certified_beside(run, record)
    found = record.read_verdicts()
    begun = (found.verdicts[0] == Verdict.RIGHT) & (found.sizes[:, -1] > 0.0)  # what is wrong at 0 is not attacked
    still = int((begun & (found.distances[:, -1] == 0.0)).sum())
    other = None if certified is None else other_engine(run, record)
    picture = draw_attack(record, title, summary, certified)
    if json:
        about = {"attack": str(record.path), "picture": str(picture), "planned": len(record.settings.indices)}
        print_json(about | {"other_engine": other, "unmoved": still} | plain_attack(summary, certified))
        return
    if still:
        say(
            f"[yellow]Unmoved:[/] {still} images, at which the attack found nothing better than the image itself."
            + (" Does the network have gradients there?" if "loss" in record.settings.attack else "")
        )
    if missing := incomplete(record, summary.images):
        say(f"[yellow]Incomplete:[/] {missing}")
    console.print(attack_table(record, title, summary, certified))
    if other is not None:
        say(f"[yellow]Another engine:[/] certified accuracy is of a function that rounds differently: {escape(other)}")
    say(f"Picture: [bold]{escape(str(picture))}[/]")


def attack_table(record: "AttackRecord", title: str, summary: "RobustSummary", certified: Any) -> Table:
    """Return accuracy under an attack as a table, a row for each size."""
    noise = "no noise" if record.settings.noise is None else f"{record.settings.samples} votes"
    table = Table(
        title=f"{escape(str(record.path))}: {title}, {summary.images} images, {noise}",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
    )
    for heading in ("size", "still right", "95 % interval", "abstained", "wrong"):
        table.add_column(heading, justify="right", no_wrap=True)
    if certified is not None:
        table.add_column("certified", justify="right")
    for number, size in enumerate(summary.sizes):
        cells = [round_down(size, None), percent_up(summary.robust[number])]
        cells += [percent_interval(summary.low[number], summary.high[number]), percent(summary.abstained[number])]
        cells += [percent(summary.wrong[number])]
        table.add_row(*cells, *([] if certified is None else [percent_down(certified[number])]))
    return table
