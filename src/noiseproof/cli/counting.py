"""From names on the command line to votes in a record: what `certify` and `demo` share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from torch import nn

from noiseproof.classifiers import accelerate, keep_large_blocks
from noiseproof.classifiers.autotune import choose
from noiseproof.classifiers.batching import default_batch_size
from noiseproof.classifiers.input_scale import require_right_scale
from noiseproof.classifiers.runners import Runner
from noiseproof.cli import names
from noiseproof.cli.console import messages, resumable, say
from noiseproof.cli.engine import PrecisionName, say_if_emulated, speed_table
from noiseproof.cli.jobs import Job, RecordT
from noiseproof.cli.progress import counting_progress
from noiseproof.cli.subject import Subject
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError, OutOfMemoryError
from noiseproof.noises import from_spec
from noiseproof.runs.fingerprint import ANSWERED, require_same_answers
from noiseproof.runs.records import DATA_IMAGES, Record
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.smoothing import SmoothedClassifier
from noiseproof.storage.provenance import provenance, same_model
from noiseproof.storage.stopwatch import Stopwatch

if TYPE_CHECKING:
    import torch

    from noiseproof.noises import Noise

__all__ = ["Engine", "Selection", "count_votes", "require_unchanged", "running"]

_PROBED = 64
"""Clean images that tell whether the classifier is fed on the right scale."""

_TELLING = 20
"""With fewer images, luck could speak for another scale."""

_AT_CHANCE = 1.5
"""A clean accuracy below this many times that of guessing is worth a word."""


@dataclass(frozen=True)
class Selection:
    """Which images.

    Attributes:
        every: every how many images one is taken.
        limit: at most so many.
        shard: (part, parts): only every parts-th shard, from the part-th on.
    """

    every: int = 1
    limit: int | None = None
    shard: tuple[int, int] | None = None


@dataclass(frozen=True)
class Engine:
    """How the classifier runs.

    Attributes:
        device: its name.
        precision: or auto.
        compiled: None leaves it open.
        batch_size: None leaves it open.
        profile: whether to print where the time went.
    """

    device: str = "auto"
    precision: PrecisionName = PrecisionName.fp32
    compiled: bool | None = False
    batch_size: int | None = None
    profile: bool = False


def count_votes(
    subject: Subject, out: Path, selection: Selection, job: Job[RecordT], engine: Engine, *, seed: int
) -> RecordT:
    """Count the votes of a classifier into a record in `out`, with progress; goes on where it was stopped.

    Args:
        subject: what is certified.
        out: where the votes go.
        selection: which images.
        job: how many votes.
        engine: how it runs.
        seed: key of the noise.
    """
    keep_large_blocks()
    where = names.device(engine.device)
    dataset, noise = subject.dataset, subject.noise
    plain = SmoothedClassifier(subject.classifier, noise, dataset.num_classes)
    settings = job.plan(dataset, plain, model=subject.model, seed=seed, every=selection.every, limit=selection.limit)
    recorded = _recorded(job.record, out, settings)
    raised = recorded is not None and _is_raised(recorded, _as_recorded(settings, recorded))
    if recorded is not None and (raised or not recorded.missing()[0]) and _keeps(engine, recorded):
        _require_answers(subject, recorded, where)
        if not raised:
            say(f"All {len(settings.indices)} images were counted before.")
            return recorded
    classifier, batch_size = running(
        subject,
        engine,
        None if recorded is None else recorded.settings.engine,
        votes=len(settings.indices) * job.votes,
        seed=seed,
        where=where,
        parts=1 if selection.shard is None else selection.shard[1],
    )
    smoothed = SmoothedClassifier(classifier, noise, dataset.num_classes, device=where, batch_size=batch_size)
    settings = replace(settings, engine=smoothed.counter.settings())
    about = provenance(smoothed.classifier.device) | {DATA_IMAGES: len(dataset)}
    about |= {"training": subject.training} if subject.training else {}
    record = job.record.create(out, settings, about)
    missing, faults = record.missing()
    for fault in faults:
        say(f"[yellow]Counted anew:[/] {escape(str(fault))}")
    images = {shard: len(record.shard_indices(shard)) for shard in record.shards}
    done = len(settings.indices) - sum(images[shard] for shard in missing)
    if raised:
        say("The votes that were counted before are kept: they go on under the higher --samples.")
    if done:
        say(f"{done} of {len(settings.indices)} images were counted before.")
    part = set(_shards(record, selection.shard))
    left = [shard for shard in missing if shard in part]
    if not left:
        return record
    _probe(smoothed, dataset)
    stopwatch = Stopwatch(_wait_for(where) if engine.profile else None)
    counting = job.counting(sum(images[shard] for shard in left), noise)
    with resumable(job.kept), counting_progress(counting) as add:
        stopwatch.restart()
        busy = job.fill(
            record,
            smoothed,
            dataset,
            shards=left,
            progress=add,
            on_image=counting.image,
            on_shard=counting.shard,
            stopwatch=stopwatch,
        )
    if smoothed.batch_size is not None and batch_size is not None and smoothed.batch_size < batch_size:
        say(f"[yellow]Memory ran out:[/] went on with {smoothed.batch_size} images a batch instead of {batch_size}.")
    if busy:
        others = sum(images[shard] for shard in busy)
        say(
            f"[yellow]Left to another process:[/] {others} images that it is counting now. Run the same command again "
            "when it has ended, for the whole table."
        )
    say(f"Counted {counting} in {counting.seconds:.0f} s.")
    if engine.profile:
        _show_profile(stopwatch)
    return record


def _recorded(kind: type[RecordT], out: Path, settings: Any) -> RecordT | None:
    """The record that is there, checked before time is spent on the engine, whose settings it keeps."""
    if not (out / kind.configuration).exists():
        return None
    found = kind.open(out)
    wanted = _as_recorded(settings, found)
    return found if _is_raised(found, wanted) else kind.create(out, wanted, {})


def _as_recorded(settings: Any, recorded: Record | SequentialRecord) -> Any:
    """The settings, in the engine of the record where it has one."""
    return replace(settings, engine=recorded.settings.engine or settings.engine)


def _is_raised(recorded: Record | SequentialRecord, settings: Any) -> bool:
    """Whether the votes of a record are to go on under a higher cap."""
    return isinstance(recorded, SequentialRecord) and recorded.goes_on_under(settings)


def _keeps(engine: Engine, recorded: Record | SequentialRecord) -> bool:
    """Whether what is asked for is what the record was made with, as far as can be said without making it."""
    made = recorded.settings.engine or {}
    same_precision = engine.precision.value in {"auto", made["precision"]} or made["precision"] == "as given"
    return same_precision and engine.compiled in {None, made["compile"]}


def require_unchanged(subject: Subject, noise: "Noise | None", run: Path, device: str) -> None:
    """Raise RunError where a run holds votes on this classifier by name and digest, and it answers otherwise now.

    Nothing is asked where the run has none, or of another classifier, noise or data: nothing is then said beside them.
    """
    if noise is None or not (run / Record.configuration).exists():
        return
    recorded = Record.open(run)
    settings = recorded.settings
    alike = same_model(settings.model, subject.model) and from_spec(settings.noise) == noise
    if alike and dict(settings.data) == dict(subject.dataset.about()):
        _require_answers(subject, recorded, names.device(device))


def _require_answers(subject: Subject, recorded: Record | SequentialRecord, where: "torch.device") -> None:
    """Raise RunError where the votes of a whole record, which nothing will be added to, are another classifier's.

    Uncompiled, and int8 in float32, which `require_same_answers` allows for: a look at 64 images shall not take a minute.
    """
    network, engine = subject.classifier, recorded.settings.engine or {}
    if isinstance(network, nn.Module):
        precision = str(engine.get("precision", "fp32"))
        network = accelerate(network, precision="fp32" if precision == "int8" else precision, device=where)
    size = None if isinstance(network, Runner) and network.batch_size is not None else ANSWERED
    smoothed = SmoothedClassifier(network, subject.noise, subject.dataset.num_classes, device=where, batch_size=size)
    images = subject.dataset.read(recorded.settings.indices[:ANSWERED])
    require_same_answers(recorded.path, smoothed, images, rounded=engine.get("precision") == "int8")


def running(
    subject: Subject,
    engine: Engine,
    recorded: Any,
    *,
    votes: int,
    seed: int,
    where: "torch.device",
    parts: int = 1,
) -> tuple[Any, int | None]:
    """Return the classifier as it will run, and the batch size where one was chosen.

    Args:
        subject: whose classifier.
        engine: how it is to run.
        recorded: the engine of the record to be continued, or None.
        votes: how many will be counted.
        seed: of the run.
        where: the device.
        parts: processes that count parts of it.
    """
    if not isinstance(subject.classifier, nn.Module):
        return _as_given(subject, engine)
    if parts > 1 and engine.precision is PrecisionName.auto and recorded is None:
        raise InvalidInputError(
            "--precision",
            required="named with --shard: every part must run the same function, and each would choose for itself",
            got="auto",
            remedy="Take fp32 or bf16; noiseproof measure shows what each gives here.",
        )
    say_if_emulated(engine.precision, where)
    module, size = subject.classifier.to(where), engine.batch_size
    while True:
        try:
            choice = choose(
                module,
                subject.dataset,
                subject.noise,
                precision=engine.precision.value,
                compiled=engine.compiled,
                batch_size=size,
                recorded=recorded,
                votes=votes,
                seed=seed,
                device=where,
            )
            break
        except OutOfMemoryError:
            size = (size or default_batch_size(subject.dataset.image_shape, where)) // 2
            if size == 0:
                raise
            say(f"[yellow]Memory ran out:[/] trying {size} images a batch.")
    if choice.measured:
        messages.print(speed_table(choice.measured))
        if choice.split == "test":
            say("There is no training split: measured on the images to be certified, under other noise.")
    ran = choice.classifier.settings()
    name = ran["precision"] + (", compiled" if ran["compile"] and ran["precision"] != "int8" else "")
    say(f"Running in {name} on {where}, {choice.batch_size} images a batch.")
    return choice.classifier, choice.batch_size


def _as_given(subject: Subject, engine: Engine) -> tuple[Any, int | None]:
    """A classifier that is no torch module runs as it is."""
    if engine.precision not in {PrecisionName.auto, PrecisionName.fp32} or engine.compiled:
        raise InvalidInputError(
            "--precision and --compile",
            required="left out for what is no torch module",
            got=f"{engine.precision.value} for {subject.model['name']}",
            remedy="It runs in the precision it has.",
        )
    if engine.device not in {"auto", "cpu"}:
        raise InvalidInputError(
            "--device",
            required="auto or cpu for what is no torch module",
            got=engine.device,
            remedy="Leave it out.",
        )
    fixed = subject.classifier.batch_size if isinstance(subject.classifier, Runner) else None
    if fixed is not None and engine.batch_size not in {None, fixed}:
        raise InvalidInputError(
            "--batch-size",
            required=f"{fixed}, as in the model's file",
            got=engine.batch_size,
            remedy="Leave it out.",
        )
    return subject.classifier, engine.batch_size


def _shards(record: Record | SequentialRecord, part: tuple[int, int] | None) -> range:
    """The shards of one part: every parts-th, so that all parts have as many images, give or take one shard."""
    if part is None:
        return record.shards
    number, parts = part
    if parts > len(record.shards):
        say(f"[yellow]Fewer shards than parts:[/] {len(record.shards)} shards, so some of the {parts} parts are empty.")
    return record.shards[number - 1 :: parts]


def _probe(smoothed: SmoothedClassifier, dataset: Dataset) -> None:
    """Try the classifier, and see that it is fed on the right scale: on images spread over the whole data set."""
    chosen = range(len(dataset))[:: max(1, len(dataset) // _PROBED)][:_PROBED]
    images = dataset.read(chosen)
    size = smoothed.counter.try_out(images)
    if len(chosen) < _TELLING:
        return
    accuracy = require_right_scale(smoothed.classifier.reading("numpy"), images, dataset.labels[list(chosen)], size)
    if accuracy < _AT_CHANCE / dataset.num_classes:
        say(
            f"[yellow]Is this the right classifier?[/] It gets {accuracy:.0%} of {len(chosen)} clean images right; "
            f"guessing gets {1 / dataset.num_classes:.0%}. Check weights, normalisation and the order of the classes."
        )


def _wait_for(where: "torch.device") -> Callable[[], None] | None:
    import torch

    return (lambda: torch.cuda.synchronize(where)) if where.type == "cuda" else None


def _show_profile(stopwatch: Stopwatch) -> None:
    shares = stopwatch.shares()
    say("Where the time went: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items()))
