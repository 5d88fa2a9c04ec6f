"""A job is plain settings from which equal rows follow; `execute` is the one loop that fills a record with them.

    subject = Subject.load("zoo:mnist-stn-0.5", data="mnist")
    record, left = execute(CountVotes(samples=1000, selection=Selection(every=10)), Path("runs/x"), subject)

A job can be stopped at any moment and run again: it goes on where it was, and ends with the rows that it would have had
without the interruption. Several processes may run it on one folder: each takes the shards that no other holds.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, final

import torch
from torch import nn

from noiseproof.errors import InvalidInputError, RunError, require_count
from noiseproof.randomness import SecretKey, public_seed, require_word
from noiseproof.runs.identity import require_digest, require_fingerprint, same_engine
from noiseproof.runs.keys import reveal_key
from noiseproof.runs.listener import Listener
from noiseproof.runs.origin import KEPT
from noiseproof.runs.records import DATA_IMAGES
from noiseproof.runs.running import Engine, Running, device_named, run_subject
from noiseproof.runs.settings import chosen_indices
from noiseproof.runs.shards import Shard, ShardWriter
from noiseproof.runs.store import CLASS_NAMES, ShardedRecord
from noiseproof.runs.subject import Subject
from noiseproof.runs.tables import Table
from noiseproof.storage.provenance import provenance
from noiseproof.storage.stopwatch import Stopwatch

__all__ = ["EVERY_IMAGE", "Job", "Selection", "execute"]

RecordT = TypeVar("RecordT", bound=ShardedRecord[Any, Any])


@dataclass(frozen=True)
class Selection:
    """Which images of a data set, and which part of their shards.

    Only all images or a random subset allow statements over the whole data set: `evaluation.file_lower_bound`.

    Attributes:
        every: every how many images one is taken, spread over the data set.
        limit: at most so many; None takes all.
        part: (part, parts), from 1: every parts-th shard only. Parts merge by putting the files of their `votes` into one folder.
        subset: so many, drawn without replacement (`data.random_subset`), in the order of the data set; None draws none.
        subset_seed: of the drawing; it has nothing to do with the noise.

    Raises:
        InvalidInputError: a count below 1, a part that is none of the parts, or every n-th of a random subset.
    """

    every: int = 1
    limit: int | None = None
    part: tuple[int, int] | None = None
    subset: int | None = None
    subset_seed: int = 0

    def __post_init__(self) -> None:
        require_count("every", self.every, 1, "1 takes every image.")
        require_count("limit", 1 if self.limit is None else self.limit, 1, "Leave it out to take all.")
        require_count("subset", 1 if self.subset is None else self.subset, 1, "Leave it out to take all.")
        require_word("subset_seed", self.subset_seed)
        if self.part is not None and not 1 <= self.part[0] <= self.part[1]:
            raise InvalidInputError(
                "part", required="I of N with I from 1 to N", got=self.part, remedy="Example: (3, 16)."
            )
        alone = self.subset is None
        name, given, usual = ("subset_seed", self.subset_seed, 0) if alone else ("every", self.every, 1)
        if given != usual:
            raise InvalidInputError(
                name,
                required=f"left out {'without' if alone else 'with'} subset=",
                got=given,
                remedy="subset= draws so many images at random.",
            )

    def settings(self, images: int) -> dict[str, Any]:
        """Return the settings of a record that select its images from a data set of this many.

        Raises:
            InvalidInputError: a subset of more images than there are.
        """
        if self.subset is not None and self.subset > images:
            raise InvalidInputError(
                "subset",
                required=f"at most {images}, those of the data",
                got=self.subset,
                remedy="Leave it out to take all.",
            )
        chosen = range(0, images if self.subset is None else self.subset, self.every)[: self.limit]
        found: dict[str, Any] = {"start": chosen.start, "stop": chosen.stop, "step": chosen.step}
        drawn = {"images": self.subset, "of": images, "seed": self.subset_seed}
        return found if self.subset is None else found | {"subset": drawn}

    def indices(self, images: int) -> Sequence[int]:
        """Return the indices that are selected from a data set of this many images."""
        return chosen_indices(self.settings(images))

    @staticmethod
    def of(record: ShardedRecord[Any, Any]) -> "Selection":
        """Return the selection of a record, with a limit only where images of the data set were left out."""
        settings = record.settings
        drawn = settings.subset
        images = record.about.get(DATA_IMAGES, 0) if drawn is None else drawn["images"]
        whole = len(range(0, images, settings.step)) == len(settings.indices)
        limit = None if whole else len(settings.indices)
        more = {} if drawn is None else {"subset": drawn["images"], "subset_seed": drawn["seed"]}
        return Selection(settings.step, limit, **more)


EVERY_IMAGE = Selection()


class Job(ABC, Generic[RecordT]):
    """What is done with every image of a selection: a frozen dataclass of plain settings.

    Subclasses write `plan`, `run` and `work`.
    """

    record: ClassVar[type[Any]]
    """The kind of record that it fills."""

    kept: ClassVar[str] = "Every image that is done is saved."
    """What is kept after an interruption, in a sentence for people."""

    selection: Selection
    """Which images, and which part of their shards."""

    @abstractmethod
    def plan(self, subject: Subject) -> Any:
        """Return the settings of the record except its engine, which `ShardSettings.under` adds.

        Raises:
            InvalidInputError: settings with which nothing could be certified or decided on this subject.
        """

    @abstractmethod
    def run(self, running: Running, writer: ShardWriter) -> Iterator[tuple[Shard, Table]]:
        """Yield shards of `writer.shards()`, in any order, with all of their rows or with the next ones: `Shard.parts`."""

    @property
    @abstractmethod
    def work(self) -> tuple[int, int]:
        """Return the expected votes per image, and the counts per image that `progress` receives; 0 if these are unknown."""

    def about(self, running: Running) -> dict[str, Any]:
        """Return what the record has beside provenance: the training, the shape of an image, the names of the classes."""
        training, names = running.subject.training, running.subject.dataset.class_names
        about: dict[str, Any] = {"image_shape": list(running.subject.dataset.image_shape)}
        about |= {"training": dict(training)} if training else {}
        return about | ({} if names is None else {CLASS_NAMES: list(names)})

    def try_out(self, running: Running, listener: Listener) -> None:
        """Try the classifier before anything is written; raises where it cannot be used."""

    def require_unchanged(self, record: RecordT, running: Running) -> None:
        """Raise RunError where the classifier's fingerprint is not the one that the record was begun with."""
        require_fingerprint(record, running)

    @property
    def beside(self) -> ShardedRecord[Any, Any] | None:
        """The record with which the new one is compared: noise is added in the same way; None for a job of its own."""
        return None

    def sampler(self, subject: Subject, device: torch.device) -> str:  # noqa: ARG002 - jobs of votes choose by them
        """Return how noise is added in a new record, where that is not named: one of `sampling.SAMPLERS`."""
        return "float" if self.beside is None else self.beside.settings.sampler

    @final
    def common(self, subject: Subject) -> dict[str, Any]:
        """Return the settings that all records have: data, classifier, and selected images."""
        dataset = subject.dataset
        of = {"data": dataset.about(), "model": dict(subject.model), "num_classes": dataset.num_classes, "engine": {}}
        return of | self.selection.settings(len(dataset))


def execute(
    job: Job[RecordT],
    path: Path,
    subject: Subject,
    *,
    engine: Engine | None = None,
    shards: Iterable[int] | None = None,
    listener: Listener | None = None,
    stopwatch: Stopwatch | None = None,
) -> tuple[RecordT, list[int]]:
    """Run a job on a subject into the record in `path`: all shards that are missing or damaged.

    Every row depends on the record's settings alone, so that an interrupted record, continued, ends with the rows that
    it would have had without the interruption.

    Args:
        job: what to do.
        path: the folder; one with a record of equal settings is continued.
        subject: the classifier, its noise and the data.
        engine: how it runs; None leaves that open: as the record began, or what is fastest here.
        shards: which shards; None takes those of `job.selection`.
        listener: is told of every step.
        stopwatch: charged with the stages reading, noise, network, counting and writing.

    Returns:
        The record, and the shards that were left to other processes, which hold them.

    Raises:
        RunError: the folder holds a record of other settings or of another classifier, or cannot be written; shards
            written before stay.
        ClassifierError: the classifier failed; shards written before stay.
        InvalidInputError: settings with which nothing could be certified or decided on this subject.
    """
    told, asked = listener or Listener(), engine or Engine()
    require_digest(subject)
    settings = job.plan(subject)
    recorded, raised = _recorded(job, path, settings)
    if recorded is not None and (raised or not recorded.missing()[0]) and same_engine(asked, recorded.settings):
        job.require_unchanged(recorded, Running.simply(subject, recorded.settings.engine, device_named(asked.device)))
        if not raised:
            told.say(f"All {len(recorded.settings.indices)} images were done before.")
            _reveal(recorded)
            return recorded, []
    running = _running(job, settings, subject, asked, recorded, told)
    size = running.batch_size_for(subject.dataset.image_shape)  # trying the classifier may already halve it
    job.try_out(running, told)
    about = provenance(running.device) | job.about(running)
    about |= {} if subject.origin is None else {KEPT: subject.origin.kept_in(path)}
    record: RecordT = job.record.create(path, settings.under(running.engine(settings.seed)), about)
    wanted = list(dict.fromkeys(_part(record, job.selection, told) if shards is None else shards))
    if wanted:
        job.require_unchanged(record, running)
    left = _left(record, wanted, told, raised=raised)
    if not left:
        _reveal(record)
        return record, []
    told.begin(sum(len(record.shard_indices(shard)) for shard in left), job.work[1])
    busy = _fill(job, record, running, left, told, stopwatch or Stopwatch())
    now = running.batch_size_for(subject.dataset.image_shape)
    if now < size:
        told.say(f"went on with {now} images a batch instead of {size}.", "Memory ran out")
    if busy:
        others = sum(len(record.shard_indices(shard)) for shard in busy)
        told.say(
            f"{others} images that it is working on now. Run the same command again when it has ended, for the whole record.",
            "Left to another process",
        )
    _reveal(record)
    return record, busy


def _reveal(record: ShardedRecord[Any, Any]) -> None:
    """Reveal the secret key of a record's noise once every vote is counted."""
    if isinstance(record.settings.seed, SecretKey) and not record.missing()[0]:
        reveal_key(record.path)


def _fill(
    job: Job[RecordT], record: RecordT, running: Running, shards: list[int], listener: Listener, watch: Stopwatch
) -> list[int]:
    """The loop. However it ends, unfinished shards are kept, so that the job can be resumed."""
    watch.restart()
    with ExitStack() as claims:
        writer = ShardWriter(record, running, shards, claims, listener, watch)
        try:
            for shard, rows in job.run(running, writer):
                writer.take(shard, rows)
        except BaseException as failure:
            try:
                writer.keep()
            except RunError as another:  # what failed first is what is told
                failure.add_note(f"The votes so far were not kept: {another}")
            raise
    there = [shard for shard in record.shards if record.shard_path(shard).exists()]
    listener.end(sum(len(record.shard_indices(shard)) for shard in there), len(record.settings.indices))
    missing = set(record.missing()[0]) if writer.busy else ()
    return [shard for shard in writer.busy if shard in missing]  # others may have finished theirs meanwhile


def _recorded(job: Job[RecordT], path: Path, settings: Any) -> tuple[RecordT | None, bool]:
    """Return the existing record, compared before an engine is chosen, and whether its cap is to be raised."""
    if not (path / job.record.configuration).exists():
        return None, False
    found: RecordT = job.record.open(path)
    wanted = settings.under(found.settings.engine or {})
    raised = found.goes_on_under(wanted)
    if not raised:
        found.require_equal(wanted)
    return found, raised


def _running(
    job: Job[RecordT], settings: Any, subject: Subject, engine: Engine, recorded: RecordT | None, listener: Listener
) -> Running:
    module, part = isinstance(subject.classifier, nn.Module), job.selection.part
    if part is not None and part[1] > 1 and engine.precision == "auto" and recorded is None and module:
        raise InvalidInputError(
            "precision",
            required="named with part=: every part must run the same function, and each would choose for itself",
            got="auto",
            remedy="Take fp32 or bf16; noiseproof measure shows what each gives here.",
        )
    before, votes = None if recorded is None else recorded.settings.engine, len(settings.indices) * job.work[0]
    usual = (
        recorded.settings.sampler
        if recorded is not None and before
        else job.sampler(subject, device_named(engine.device))
    )
    engine = replace(engine, sampler=engine.sampler or usual)
    return run_subject(subject, engine, before, votes=votes, seed=public_seed(settings.seed), listener=listener)


def _part(record: RecordT, selection: Selection, listener: Listener) -> range:
    """The shards of one part: every parts-th, so that all parts have as many images, give or take one shard."""
    if selection.part is None:
        return record.shards
    number, parts = selection.part
    if parts > len(record.shards):
        listener.say(f"{len(record.shards)} shards, so some of the {parts} parts are empty.", "Fewer shards than parts")
    return record.shards[number - 1 :: parts]


def _left(record: RecordT, wanted: list[int], listener: Listener, *, raised: bool) -> list[int]:
    """Return the shards to be made, and tell the listener what was done before."""
    missing, faults = record.missing()
    for fault in faults:
        listener.say(str(fault), "Made anew")
    images = len(record.settings.indices)
    done = images - sum(len(record.shard_indices(shard)) for shard in missing)
    if raised:
        listener.say("The votes that were counted before are kept: they go on under the higher limit.")
    if done:
        listener.say(f"{done} of {images} images were done before.")
    return [shard for shard in wanted if shard in set(missing)]
