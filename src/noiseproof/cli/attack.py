"""`noiseproof attack`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from noiseproof.cli import names
from noiseproof.cli.console import (
    ClassesOption,
    DataDirOption,
    DataOption,
    DeviceOption,
    ImageSizeOption,
    JsonOption,
    SeedOption,
    UnverifiedOption,
    console,
    parse_numbers,
    print_json,
    say,
)
from noiseproof.cli.engine import PrecisionName
from noiseproof.cli.progress import Shown

if TYPE_CHECKING:
    import numpy as np

    from noiseproof.attacks import Attack
    from noiseproof.evaluation.robust_accuracy import RobustSummary
    from noiseproof.runs import AttackRecord, DataChoice

__all__ = ["attack", "show_attack", "transferred"]

_ATTACK, _MODEL, _ENGINE = "The attack", "A model of your own, or of the zoo", "Speed"


def attack(
    run: Annotated[
        Path,
        typer.Argument(
            help="The run folder of a trained network; with --model, where the attack goes.", show_default=False
        ),
    ],
    name: Annotated[names.AttackName, typer.Option("--attack", help="Which attack.")] = names.AttackName.pgd,
    norm: Annotated[names.NormName, typer.Option(help="In which its size is measured.")] = names.NormName.l2,
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="E,E,...",
            help="Sizes of the attack, pixels in [0, 1].",
            show_default="for l2 0.5, 1, 1.5, 2 and 3 times the noise",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the attack, such as eot_samples=64.",
            rich_help_panel=_ATTACK,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Attack this network instead, and try on RUN what was found: a run folder, zoo:NAME, net.safetensors.",
            rich_help_panel=_ATTACK,
        ),
    ] = None,
    votes: Annotated[
        int, typer.Option(help="Fresh votes that judge every point found.", rich_help_panel=_ATTACK)
    ] = 1000,
    alpha: Annotated[
        float, typer.Option(help="Level at which votes decide; else the classifier abstains.", rich_help_panel=_ATTACK)
    ] = 0.001,
    sigma: Annotated[
        float | None,
        typer.Option(
            "--sigma",
            "--scale",
            help="Size of the defence's noise, which the attacker knows; 0 attacks the network without noise.",
            show_default="as in training; none for networks trained without",
        ),
    ] = None,
    every: Annotated[int, typer.Option(help="Take every N-th test image.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Take at most so many images.", show_default="all")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the attack goes.", show_default="RUN/attacks/ATTACK-NORM")
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="zoo:NAME, net.safetensors, or package.module:factory, whose code is run.", rich_help_panel=_MODEL
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights for a factory's network: .safetensors, or .pt of tensors.", rich_help_panel=_MODEL),
    ] = None,
    noise: Annotated[
        names.NoiseName | None,
        typer.Option(help="Noise for --model.", show_default="gaussian, or as in training", rich_help_panel=_MODEL),
    ] = None,
    data: DataOption = None,
    data_dir: DataDirOption = None,
    allow_unverified: UnverifiedOption = False,
    image_size: ImageSizeOption = None,
    classes: ClassesOption = None,
    precision: Annotated[
        PrecisionName,
        typer.Option(help="Of the votes; gradients are in 16 bits where votes are.", rich_help_panel=_ENGINE),
    ] = PrecisionName.auto,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the votes' network.",
            show_default="for long runs",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Attack a classifier, and count how many images it still gets right.

    The attacker knows everything but the noise that is drawn: weights, noise and its size. What it finds is judged by
    fresh votes. Points and votes are written as they come: stop it with Ctrl-C, run it again and it goes on.
    """
    wanted = None if sizes is None else parse_numbers(sizes, "--sizes", "0.5,1,1.5")  # before torch is loaded
    from noiseproof.errors import InvalidInputError
    from noiseproof.runs import AttackImages, DataChoice, Engine, Record, Selection, Subject, execute

    if model is None and noise is not None:
        raise InvalidInputError(
            "--noise", required="given with --model", got="no --model", remedy="A run folder has its own."
        )
    chosen = names.attack(name, changes or [])
    chosen.require_norm(norm.value)
    choice = DataChoice(data, classes, data_dir, allow_unverified, image_size)
    subject = Subject.of_run(run, model, weights=weights, data=choice, noise=noise, sigma=sigma)
    if wanted is None:
        wanted = _default_sizes(norm, subject.noise)
    title = f"{name.value}-{norm.value}"
    if source is not None:
        chosen, title = transferred(chosen, source, choice, device), f"transfer-{title}"
    job = AttackImages(
        chosen,
        wanted,
        norm.value,
        samples=votes,
        alpha=alpha,
        seed=seed,
        selection=Selection(every, limit),
        beside=Record.open(run) if (run / Record.configuration).exists() else None,
    )
    with Shown(job.kept, title) as shown:
        engine = Engine(device, precision.value, compiled)
        record, _ = execute(job, out or run / "attacks" / title, subject, engine=engine, listener=shown)
    show_attack(record, title, run, json=json)


def _default_sizes(norm: names.NormName, noise: Any) -> list[float]:
    from noiseproof.errors import InvalidInputError

    if norm is not names.NormName.l2 or noise is None:
        raise InvalidInputError(
            "--sizes",
            required=f"given for attacks in {norm.value}" + (" without noise" if noise is None else ""),
            got="nothing",
            remedy="Example: --sizes 0.1,0.2,0.3",
        )
    scale = next(value for key, value in noise.spec().items() if key != "name")
    return [round(part * scale, 6) for part in (0.5, 1.0, 1.5, 2.0, 3.0)]


def transferred(chosen: "Attack", source: str, choice: "DataChoice", device: str) -> "Attack":
    """Return the attack on another network, a run folder or zoo:NAME, which sees the same images."""
    from torch import nn

    from noiseproof.attacks import Defence, Transfer
    from noiseproof.classifiers import accelerate
    from noiseproof.runs import Subject

    named = source.startswith("zoo:") or source.endswith(".safetensors")
    subject = Subject.of_run(Path(source), source if named else None, data=choice)
    where, network = names.device(device), subject.classifier
    if isinstance(network, nn.Module):
        network = accelerate(network, device=where)
    defence = Defence(network, subject.noise, subject.dataset.num_classes)
    about = "no noise" if subject.noise is None else str(subject.noise)
    return Transfer(chosen, defence, f"{subject.model['name']} {subject.model['digest']}, {about}")


def show_attack(record: "AttackRecord", title: str, run: Path, *, json: bool) -> None:
    """Print accuracy under an attack, beside what is certified where the run has it, and draw it into the record."""
    from noiseproof.evaluation.robust_accuracy import Verdict
    from noiseproof.reports.attacked import certified_beside, draw_attack, other_engine, summarise_attack

    summary = summarise_attack(record)
    certified = certified_beside(run, record)
    found = record.read_verdicts()
    begun = (found.verdicts[0] == Verdict.RIGHT) & (found.sizes[:, -1] > 0.0)  # what is wrong at 0 is not attacked
    still = int((begun & (found.distances[:, -1] == 0.0)).sum())
    other = None if certified is None else other_engine(run, record)
    picture = draw_attack(record, title, summary, certified)
    if json:
        about = {"attack": str(record.path), "picture": str(picture), "planned": len(record.settings.indices)}
        print_json(about | {"other_engine": other, "unmoved": still} | _as_data(summary, certified))
        return
    counted, planned = summary.images, len(record.settings.indices)
    if still:
        say(
            f"[yellow]Unmoved:[/] {still} images, at which the attack found nothing better than the image itself."
            + (" Does the network have gradients there?" if "loss" in record.settings.attack else "")
        )
    if counted < planned:
        say(f"[yellow]Incomplete:[/] {counted} of {planned} images are attacked so far.")
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
        cells = [f"{size:g}", _percent(summary.robust[number])]
        cells += [f"{100 * summary.low[number]:.1f}-{100 * summary.high[number]:.1f} %"]
        cells += [_percent(summary.abstained[number]), _percent(summary.wrong[number])]
        table.add_row(*cells, *([] if certified is None else [_percent(certified[number])]))
    console.print(table)
    if other is not None:
        say(
            f"[yellow]Another engine:[/] what stands under certified is of a function that rounds otherwise: {escape(other)}"
        )
    say(f"Picture: [bold]{escape(str(picture))}[/]")


def _as_data(summary: "RobustSummary", certified: "np.ndarray | None") -> dict[str, Any]:
    columns = {
        name: [float(value) for value in getattr(summary, name)]
        for name in ("sizes", "robust", "low", "high", "abstained", "wrong")
    }
    return {"images": summary.images, "certified": None if certified is None else certified.tolist()} | columns


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
