"""`noiseproof certify`."""

import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.console import (
    ClassesOption,
    DataDirOption,
    DataOption,
    DeviceOption,
    ImageSizeOption,
    JsonOption,
    RadiiOption,
    SeedOption,
    UnverifiedOption,
    parse_radii,
    say,
)
from noiseproof.cli.engine import PrecisionName
from noiseproof.cli.progress import Shown
from noiseproof.cli.recertify import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from noiseproof.noises import Noise
    from noiseproof.runs import Engine, Job, Record, SequentialRecord, Subject
    from noiseproof.runs.records import VoteTable
    from noiseproof.sequential import SequentialTest

__all__ = ["certify"]

_MODEL, _ENGINE, _PROCEDURE = "A model of your own, or of the zoo", "Speed", "The printed table"
_STOP = "Stop when it is known"


def certify(
    run: Annotated[
        Path,
        typer.Argument(help="The run folder of a trained network; with --model, where votes go.", show_default=False),
    ],
    radius: Annotated[
        str | None,
        typer.Option(
            metavar="R[,R,...]",
            help="Only decide whether these radii are certified: every image's votes stop as soon as that is known.",
            rich_help_panel=_STOP,
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            help="Stop when an image's radius is known up to this part of it, such as 0.1.", rich_help_panel=_STOP
        ),
    ] = None,
    runner_up: Annotated[
        bool,
        typer.Option(
            "--runner-up",
            help="With --radius and Gaussian noise: decide by winner and runner-up, not by the winner alone. More images "
            "are certified where other classes share the rest of the votes.",
            rich_help_panel=_STOP,
        ),
    ] = False,
    beta: Annotated[
        float | None,
        typer.Option(
            help="Probability of giving up an image that could be certified.",
            show_default="0.001",
            rich_help_panel=_STOP,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Votes per image: 10000 reach radii of 3.2 sigma, 1000 reach 2.4 sigma. The most there can be, with "
            "--radius or --within.",
            show_default="10000; 100000 at most with --radius or --within",
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Failure probability of each certificate.")] = 0.001,
    sigma: Annotated[
        float | None,
        typer.Option("--sigma", "--scale", help="Size of the noise to certify with.", show_default="as in training"),
    ] = None,
    every: Annotated[int, typer.Option(help="Take every N-th test image.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Take at most so many images.", show_default="all")] = None,
    selection_samples: Annotated[
        int | None,
        typer.Option(help="Extra votes that only choose the class, for the two-phase bound.", show_default="100"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the votes go.", show_default="the run folder; with --radius R, its folder radius-R"),
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="zoo:NAME, net.safetensors of noiseproof, net.onnx, net.pt2 of torch.export, or package.module:factory, whose "
            "code is run.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights for a factory's network: .safetensors, .pt of tensors, or .h5 of Keras 2.",
            rich_help_panel=_MODEL,
        ),
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
        typer.Option(
            help="auto keeps a record's own; for a new run of over a minute it takes 16 bits where they are 1.5 x as fast.",
            rich_help_panel=_ENGINE,
        ),
    ] = PrecisionName.auto,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Make code for this network first, 5 to 60 s.",
            show_default="for runs over ten minutes",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images per call of the network.", show_default="found", rich_help_panel=_ENGINE),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Count only part I of N, such as 3/16; parts merge in one folder.",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print where the time went.", rich_help_panel=_ENGINE)
    ] = False,
    device: DeviceOption = "auto",
    bound: Annotated[
        names.BoundName | None,
        typer.Option(help="From votes to probabilities.", show_default="two-phase", rich_help_panel=_PROCEDURE),
    ] = None,
    certificate: Annotated[
        names.CertificateName, typer.Option(help="From probabilities to a radius.", rich_help_panel=_PROCEDURE)
    ] = names.CertificateName.neyman_pearson,
    radii: RadiiOption = None,
) -> None:
    """Add noise to every test image many times, count the votes, and prove radii.

    Votes are written as they are counted. Stop it with Ctrl-C, or let the machine fail: run it again and it goes on.
    Start it as often as you like on one folder: each process takes what no other is counting.
    """
    wanted = parse_radii(radii)  # before votes are counted, and before torch is loaded
    part = _parse_shard(shard)
    stopping = radius is not None or within is not None
    if stopping:
        _require_none("--radius or --within", {"--bound": bound, "--selection-samples": selection_samples})
        _require_none("--radius", {"--radii": None if radius is None else radii})
    else:
        _require_none("a fixed number of votes", {"--beta": beta})
    if radius is None:
        _require_none("no --radius", {"--runner-up": runner_up or None})
    from noiseproof.errors import InvalidInputError
    from noiseproof.runs import DataChoice, Engine, Selection, Subject

    if model is None and (weights is not None or noise is not None):
        raise InvalidInputError(
            "--weights and --noise",
            required="given with --model",
            got="no --model",
            remedy="A run folder has its own; --sigma changes the size of its noise.",
        )
    choice = DataChoice(data, classes, data_dir, allow_unverified, image_size)
    subject = Subject.load(model or run, weights=weights, data=choice, noise=noise, sigma=sigma)
    way = names.certificate(certificate)
    common: dict[str, Any] = {"seed": seed, "selection": Selection(every, limit, part)}
    engine = Engine(device, precision.value, compiled, batch_size)
    assert subject.noise is not None  # noqa: S101 - a subject that is loaded to be certified has one
    if stopping:
        from noiseproof.cli.stopped import default_folder, parse_rule, show_stopped_record
        from noiseproof.runs import SequentialVotes

        rule = parse_rule(
            radius,
            within,
            alpha=alpha,
            beta=beta,
            cap=samples,
            certificate=way,
            runner_up=runner_up,
        )
        watched = "certified" if radius is None else f"certified at {radius.split(',')[0]}"
        place = out or default_folder(run, radius, within, runner_up=runner_up)
        stopped = _counted(
            SequentialVotes(rule, **common),
            place,
            subject,
            engine,
            watched,
            _certified(rule.under(subject.noise)),
            profile=profile,
        )
        if _is_counted(stopped):
            show_stopped_record(stopped, radii=wanted, json=json)
            _say_next(stopped, json=json)
        return
    from noiseproof.certified import DEFAULT_SAMPLES, require_enough_samples, samples_needed
    from noiseproof.runs import CountVotes

    selecting = 100 if selection_samples is None else selection_samples  # kept for any bound of later
    chosen = names.bound(bound or names.BoundName.two_phase, selecting)
    count = DEFAULT_SAMPLES if samples is None else samples
    require_enough_samples(count, samples_needed(chosen, alpha, subject.dataset.num_classes), alpha)
    at = next((value for value in wanted or [] if value > 0.0), _watched_radius(subject.noise))
    judge = _reaches(subject.noise, at, alpha=alpha, bound=chosen, certificate=way)
    job = CountVotes(count, selecting, **common)
    record = _counted(job, out or run, subject, engine, f"certified at {at:g}", judge, profile=profile)
    if _is_counted(record):
        show(record, alpha=alpha, bound=chosen, certificate=way, radii=radii, json=json)
        _say_next(record, json=json)


def _counted(
    job: "Job[Any]",
    out: Path,
    subject: "Subject",
    engine: "Engine",
    watched: str,
    judge: "Callable[[VoteTable], int]",
    *,
    profile: bool,
) -> Any:
    """Run a job with progress, and return its record."""
    import torch

    from noiseproof.runs import execute
    from noiseproof.runs.running import device_named
    from noiseproof.storage.stopwatch import Stopwatch

    where = device_named(engine.device)
    gpu = profile and where.type == "cuda"
    stopwatch = Stopwatch((lambda: torch.cuda.synchronize(where)) if gpu else None)
    with Shown(job.kept, unit="votes", watched=watched, judge=judge) as shown:
        record, _ = execute(job, out, subject, engine=engine, listener=shown, stopwatch=stopwatch)
    if profile and stopwatch.seconds:
        shares = stopwatch.shares()
        say("Where the time went: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items()))
    return record


def _certified(test: "SequentialTest") -> "Callable[[VoteTable], int]":
    """Return what counts the images of a table whose class is right and certified."""
    return lambda table: int((test.certify(table.votes).prediction == table.label).sum())


def _reaches(noise: "Noise", radius: float, **ways: Any) -> "Callable[[VoteTable], int]":
    """Return what counts the images of a table whose class is right and certified at a radius."""
    from noiseproof.certified import certify_votes

    def judge(table: "VoteTable") -> int:
        found = certify_votes(table.votes, noise, selection_votes=table.selection_votes, **ways)
        return int(((found.prediction == table.label) & (found.radius >= radius)).sum())

    return judge


def _is_counted(record: "Record | SequentialRecord") -> bool:
    if any(record.shard_path(number).exists() for number in record.shards):
        return True
    say("Nothing is counted yet: this part is empty, or another process is counting it.")
    return False


def _say_next(record: "Record | SequentialRecord", *, json: bool) -> None:
    if not json:
        say(f"Next: [bold]noiseproof report {escape(quote(str(record.path)))}[/]")


def _require_none(beside: str, options: dict[str, object]) -> None:
    """Raise `InvalidInputError` for options that mean nothing beside another."""
    from noiseproof.errors import InvalidInputError

    for name, value in options.items():
        if value is not None:
            raise InvalidInputError(name, required=f"left out with {beside}", got=value, remedy="Leave it out.")


def _watched_radius(noise: "Noise") -> float:
    """The scale of the noise: a radius that good classifiers reach for part of the images."""
    return float(next(value for key, value in noise.spec().items() if key != "name"))


def _parse_shard(text: str | None) -> tuple[int, int] | None:
    """Parse the value of --shard.

    Raises:
        InvalidInputError: not I/N with 1 <= I <= N.
    """
    from noiseproof.errors import InvalidInputError

    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts:
        raise InvalidInputError(
            "--shard", required="I/N with I from 1 to N", got=repr(text), remedy="Example: --shard 3/16."
        )
    return part, parts
