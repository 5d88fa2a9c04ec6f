"""`noiseproof certify`."""

import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

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
from noiseproof.cli.recertify import show

if TYPE_CHECKING:
    from noiseproof.noises import Noise
    from noiseproof.records import VoteTable

__all__ = ["certify"]

_MODEL, _ENGINE, _PROCEDURE = "A model of your own, or of the zoo", "Speed", "The printed table"


def certify(
    run: Annotated[
        Path,
        typer.Argument(help="The run folder of a trained network; with --model, where votes go.", show_default=False),
    ],
    samples: Annotated[
        int, typer.Option(help="Votes per image. 10000 reach radii of 3.2 sigma, 1000 reach 2.4 sigma.")
    ] = 10_000,
    alpha: Annotated[float, typer.Option(help="Failure probability of each certificate.")] = 0.001,
    sigma: Annotated[
        float | None,
        typer.Option("--sigma", "--scale", help="Size of the noise to certify with.", show_default="as in training"),
    ] = None,
    every: Annotated[int, typer.Option(help="Take every N-th test image.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Take at most so many images.", show_default="all")] = None,
    selection_samples: Annotated[
        int, typer.Option(help="Extra votes that only choose the class, for the two-phase bound.")
    ] = 100,
    out: Annotated[Path | None, typer.Option(help="Where the votes go.", show_default="the run folder")] = None,
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
        names.BoundName, typer.Option(help="From votes to probabilities.", rich_help_panel=_PROCEDURE)
    ] = names.BoundName.two_phase,
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
    from noiseproof.cli.counting import Engine, Selection, count_votes
    from noiseproof.cli.subject import DataChoice, Subject
    from noiseproof.errors import InvalidInputError
    from noiseproof.statements import require_enough_samples, samples_needed

    if model is None and (weights is not None or noise is not None):
        raise InvalidInputError(
            "--weights and --noise",
            required="given with --model",
            got="no --model",
            remedy="A run folder has its own; --sigma changes the size of its noise.",
        )
    choice = DataChoice(data, classes, data_dir, allow_unverified, image_size)
    subject = (
        Subject.trained(run, sigma, choice) if model is None else Subject.brought(model, weights, choice, noise, sigma)
    )
    chosen, way = names.bound(bound, selection_samples), names.certificate(certificate)
    require_enough_samples(samples, samples_needed(chosen, alpha, subject.dataset.num_classes), alpha)
    radius = next((value for value in wanted or [] if value > 0.0), _watched_radius(subject.noise))

    def judge(table: "VoteTable", noise: "Noise") -> int:
        from noiseproof.records import recertify

        found = recertify(table, noise, alpha=alpha, bound=chosen, certificate=way)
        return int(((found.prediction == table.label) & (found.radius >= radius)).sum())

    record = count_votes(
        subject,
        out or run,
        Selection(samples, selection_samples, every, limit, part),
        Engine(device, precision, compiled, batch_size, profile),
        seed=seed,
        watched=f"certified at {radius:g}",
        judge=judge,
    )
    if not any(record.shard_path(number).exists() for number in record.shards):
        say("Nothing is counted yet: this part is empty, or another process is counting it.")
        return
    show(record, alpha=alpha, bound=chosen, certificate=way, radii=radii, json=json)
    if not json:
        say(f"Next: [bold]noiseproof report {escape(quote(str(record.path)))}[/]")


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
