"""`noiseproof certify`."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.cli.console import require_all, say
from noiseproof.cli.options import (
    ClassifierOptions,
    DataOptions,
    EngineOptions,
    ImageOptions,
    Json,
    NoiseOptions,
    ProcedureOptions,
    Profile,
    Radii,
    Randomness,
    Run,
    Seed,
    Shard,
    StoppingOptions,
)
from noiseproof.cli.progress import Shown
from noiseproof.cli.recertify import show
from noiseproof.cli.sequential import default_folder, show_sequential_record

if TYPE_CHECKING:
    from noiseproof.runs import Job, Record, SequentialRecord, Subject
    from noiseproof.runs.counts import Watched

__all__ = ["certify"]


def certify(
    run: Run,
    /,
    *,
    stopping: StoppingOptions = StoppingOptions(),
    images: ImageOptions = ImageOptions(),
    shard: Shard = None,
    procedure: ProcedureOptions = ProcedureOptions(),
    radii: Radii = None,
    classifier: ClassifierOptions = ClassifierOptions(),
    noise: NoiseOptions = NoiseOptions(),
    data: DataOptions = DataOptions(),
    engine: EngineOptions = EngineOptions(),
    profile: Profile = False,
    out: Annotated[
        Path | None,
        Parameter(
            help="Folder for the votes.",
            show_default="the run folder; with --radius R or --rtol T, its folder radius-R, rtol-T",
        ),
    ] = None,
    seed: Annotated[Seed | None, Parameter(show_default="the run's, or 0")] = None,
    randomness: Randomness = None,
    json: Json = False,
) -> None:
    """Add noise to every test image many times, count the votes, and prove radii.

    Votes are written as they are counted. After Ctrl-C or a crash, `noiseproof certify RUN` resumes with the settings
    of the record. Several processes may work on one folder: each counts images that no other is counting.
    """
    from noiseproof.runs import CountVotes
    from noiseproof.runs.begun import begun_certification, certification, what_is_taken
    from noiseproof.runs.keys import named_seed

    within = out is None and stopping.rule is procedure.bound is None
    place, begun = begun_certification(out or default_folder(run, stopping), within=within)
    selecting = 100 if stopping.selection_samples is None else stopping.selection_samples
    named = vars(stopping) | vars(images) | procedure.named(selecting) | {"part": shard, "radii": radii}
    named["seed"] = named_seed(place, seed, randomness)
    named = {name: value for name, value in named.items() if value is not None and value is not False}
    job = certification(begun, named)
    subject = classifier.load(run, data, noise=noise.noise, sigma=noise.sigma, smoothed=True)
    if begun is not None:
        say(f"From {escape(str(place))}: {escape(what_is_taken(begun, named))}.")
    record, left = _counted(job, place, subject, engine, job.watched(subject, radii), profile=profile)
    if _is_counted(record):
        if isinstance(job, CountVotes):
            show(record, job.procedure, radii=radii, json=json)
        else:
            show_sequential_record(record, radii=radii, json=json)
        if not json:
            say(f"Next: [bold]noiseproof report {escape(quote(str(record.path)))}[/]")
    require_all(record, left)


def _counted(
    job: "Job[Any]", out: Path, subject: "Subject", engine: EngineOptions, watched: "Watched", *, profile: bool
) -> tuple[Any, list[int]]:
    """Run a job with progress, and return its record and what was left to other processes."""
    import torch

    from noiseproof.runs import execute
    from noiseproof.runs.running import device_named
    from noiseproof.storage.stopwatch import Stopwatch

    where = device_named(engine.device)
    gpu = profile and where.type == "cuda"
    stopwatch = Stopwatch((lambda: torch.cuda.synchronize(where)) if gpu else None)
    with Shown(job.kept, unit="votes", watched=watched[0], judge=watched[1]) as shown:
        record, left = execute(job, out, subject, engine=engine.engine(), listener=shown, stopwatch=stopwatch)
    if profile and stopwatch.seconds:
        shares = stopwatch.shares()
        say("Where the time went: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items()))
    return record, left


def _is_counted(record: "Record | SequentialRecord") -> bool:
    if any(record.shard_path(number).exists() for number in record.shards):
        return True
    say("Nothing is counted yet: this part is empty, or another process is counting it.")
    return False
