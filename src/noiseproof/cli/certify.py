"""`noiseproof certify`."""

from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.cli import names
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
    Run,
    Seed,
    Shard,
    StoppingOptions,
)
from noiseproof.cli.progress import Shown
from noiseproof.cli.recertify import show
from noiseproof.cli.sequential import default_folder, sequential_rule, show_sequential_record
from noiseproof.errors import InvalidInputError
from noiseproof.numerics.decimals import round_down

if TYPE_CHECKING:
    from noiseproof.certificates import Certificate
    from noiseproof.runs import Job, Record, SequentialRecord, Subject
    from noiseproof.runs.records import VoteTable

    Watched = tuple[str, Callable[[VoteTable], int]]

__all__ = ["certify"]

_BELONGS_TO = {
    "--selection-samples": {"--samples"},
    "--bound": {"--samples"},
    "--radii": {"--samples", "--rtol"},
    "--beta": {"--radius", "--rtol"},
    "--runner-up": {"--radius"},
}
"""Options that not every stopping rule has, and those that have them; --samples stands for a number fixed beforehand."""


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
            help="Where the votes go.",
            show_default="the run folder; with --radius R or --rtol T, its folder radius-R, rtol-T",
        ),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Add noise to every test image many times, count the votes, and prove radii.

    Votes are written as they are counted. Stop it with Ctrl-C, or let the machine fail: run it again and it goes on. Start
    it as often as you like on one folder: each process takes what no other is counting.
    """
    rule = _rule(stopping, {"--bound": procedure.bound, "--radii": radii})  # before torch is loaded
    subject = classifier.load(run, data, noise=noise.noise, sigma=noise.sigma, smoothed=True)
    way = CERTIFICATES.make(procedure.certificate)
    common: dict[str, Any] = {"seed": seed, "selection": images.selection(shard)}
    if rule != "--samples":
        job, watched = _sequential_votes(subject, stopping, alpha=procedure.alpha, certificate=way, **common)
        place = out or default_folder(run, stopping)
        found, left = _counted(job, place, subject, engine, watched, profile=profile)
        if _is_counted(found):
            show_sequential_record(found, radii=radii, json=json)
            _say_next(found, json=json)
        require_all(found, left)
        return
    settings: dict[str, Any] = {
        "alpha": procedure.alpha,
        "bound": names.bound(procedure.bound, stopping.selecting),
        "certificate": way,
    }
    fixed, watched = _fixed_votes(subject, stopping, radii, settings, **common)
    record, left = _counted(fixed, out or run, subject, engine, watched, profile=profile)
    if _is_counted(record):
        show(record, **settings, radii=radii, json=json)
        _say_next(record, json=json)
    require_all(record, left)


def _rule(stopping: StoppingOptions, others: dict[str, object]) -> str:
    """Return the option that chooses the stopping rule.

    Raises:
        InvalidInputError: there are two, or an option is given that the rule has not.
    """
    if stopping.radius is not None and stopping.rtol is not None:
        raise InvalidInputError(
            "--radius and --rtol", required="one of them", got="both", remedy="Decide radii, or estimate the radius."
        )
    rule = "--radius" if stopping.radius is not None else "--rtol" if stopping.rtol is not None else "--samples"
    given = {
        "--selection-samples": stopping.selection_samples,
        "--beta": stopping.beta,
        "--runner-up": stopping.runner_up or None,
        **others,
    }
    for option, value in given.items():
        if value is not None and rule not in _BELONGS_TO[option]:
            raise InvalidInputError(
                option,
                required=f"left out with {'a fixed number of votes' if rule == '--samples' else rule}",
                got=value,
                remedy=f"Leave it out: it belongs to {' and '.join(sorted(_BELONGS_TO[option]))}.",
            )
    return rule


def _sequential_votes(
    subject: "Subject", stopping: StoppingOptions, *, alpha: float, certificate: "Certificate", **common: Any
) -> "tuple[Job[Any], Watched]":
    """Return the job of sequential certification, and what is watched meanwhile."""
    from noiseproof.runs import SequentialVotes
    from noiseproof.runs.subject import require_noise

    rule = sequential_rule(stopping, alpha=alpha, certificate=certificate)
    test = rule.under(require_noise(subject))
    watched = "certified" if stopping.radius is None else f"certified at {round_down(stopping.radius[0], None)}"
    return SequentialVotes(rule, **common), (
        watched,
        lambda table: int((test.certify(table.votes).prediction == table.label).sum()),
    )


def _fixed_votes(
    subject: "Subject",
    stopping: StoppingOptions,
    radii: tuple[float, ...] | None,
    settings: dict[str, Any],
    **common: Any,
) -> "tuple[Job[Any], Watched]":
    """Return the job of counting a number of votes fixed beforehand, and what is watched meanwhile, at one radius."""
    from noiseproof.certified import DEFAULT_SAMPLES, certify_votes, require_enough_samples, samples_needed
    from noiseproof.runs import CountVotes
    from noiseproof.runs.subject import require_noise

    noise = require_noise(subject)
    settings["certificate"].require_noise(noise)
    samples = DEFAULT_SAMPLES if stopping.samples is None else stopping.samples
    alpha, classes = settings["alpha"], subject.dataset.num_classes
    require_enough_samples(samples, samples_needed(settings["bound"], alpha, classes), alpha)
    radius = next((value for value in radii or () if value > 0.0), noise.scale)  # good classifiers reach it, for a part

    def judge(table: "VoteTable") -> int:
        found = certify_votes(table.votes, noise, selection_votes=table.selection_votes, **settings)
        return int(((found.prediction == table.label) & (found.radius >= radius)).sum())

    return CountVotes(samples, stopping.selecting, **common), (f"certified at {round_down(radius, None)}", judge)


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


def _say_next(record: "Record | SequentialRecord", *, json: bool) -> None:
    if not json:
        say(f"Next: [bold]noiseproof report {escape(quote(str(record.path)))}[/]")
