"""`noiseproof certify`."""

from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.console import (
    DeviceOption,
    JsonOption,
    RadiiOption,
    SeedOption,
    parse_radii,
    progress_bar,
    resumable,
    say,
)
from noiseproof.cli.recertify import show

if TYPE_CHECKING:
    from noiseproof.records import Record

__all__ = ["certify", "count_votes"]


def certify(
    run: Annotated[Path, typer.Argument(help="The run folder of a trained network.", show_default=False)],
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
    bound: Annotated[
        names.BoundName, typer.Option(help="From votes to probabilities, in the printed table.")
    ] = names.BoundName.two_phase,
    certificate: Annotated[
        names.CertificateName, typer.Option(help="From probabilities to a radius, in the printed table.")
    ] = names.CertificateName.neyman_pearson,
    radii: RadiiOption = None,
    out: Annotated[Path | None, typer.Option(help="Where the votes go.", show_default="the run folder")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per call of the network.", show_default="by image size")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Add noise to every test image many times, count the votes, and prove radii.

    Votes are written as they are counted. Stop it with Ctrl-C, or let the machine fail: run it again and it goes on.
    """
    from noiseproof.smoothing import require_enough_samples, samples_needed

    parse_radii(radii)  # before votes are counted
    chosen = names.bound(bound, selection_samples)
    record = count_votes(
        run,
        out or run,
        samples=samples,
        selection_samples=selection_samples,
        sigma=sigma,
        every=every,
        limit=limit,
        batch_size=batch_size,
        seed=seed,
        device=device,
        check=lambda classes: require_enough_samples(samples, samples_needed(chosen, alpha, classes), alpha),
    )
    show(record, alpha=alpha, bound=chosen, certificate=names.certificate(certificate), radii=radii, json=json)
    if not json:
        say(f"Next: [bold]noiseproof report {escape(quote(str(record.path)))}[/]")


def count_votes(
    run: Path,
    out: Path,
    *,
    samples: int,
    selection_samples: int,
    sigma: float | None,
    every: int,
    limit: int | None,
    batch_size: int | None,
    seed: int,
    device: str,
    check: Callable[[int], None],
) -> "Record":
    """Count the votes of the trained network in `run` into a record in `out`, with a progress bar."""
    from noiseproof.certification import count_into, plan
    from noiseproof.data import load
    from noiseproof.models import load_checkpoint, model_digest
    from noiseproof.noises import from_spec
    from noiseproof.provenance import provenance
    from noiseproof.records import Record
    from noiseproof.smoothing import SmoothedClassifier
    from noiseproof.training import CHECKPOINT

    checkpoint = load_checkpoint(run / CHECKPOINT)
    noise = from_spec(checkpoint.record["settings"]["noise"])
    if sigma is not None:
        noise = from_spec({key: value if key == "name" else sigma for key, value in noise.spec().items()})
    dataset = load(checkpoint.record["data"]["name"], "test")
    check(dataset.num_classes)
    where = names.device(device)
    smoothed = SmoothedClassifier(
        checkpoint.model.to(where), noise, dataset.num_classes, device=where, batch_size=batch_size
    )
    settings = plan(
        dataset,
        noise,
        model={"name": checkpoint.model_name, "digest": model_digest(checkpoint.model)},
        samples=samples,
        selection_samples=selection_samples,
        seed=seed,
        every=every,
        limit=limit,
    )
    record = Record.create(out, settings, provenance(where) | {"training": checkpoint.record})
    missing, faults = record.missing()
    for fault in faults:
        say(f"[yellow]Counted anew:[/] {escape(str(fault))}")
    total = len(settings.indices)
    done = total - sum(len(record.shard_indices(shard)) for shard in missing)
    if done:
        say(f"{done} of {total} images were counted before.")
    per_image = samples + selection_samples
    kept = "The votes of every finished shard are saved."
    with resumable(kept), progress_bar("certify", (total - done) * per_image) as (bar, task):
        count_into(record, smoothed, dataset, progress=lambda votes: bar.advance(task, votes))
    return record
