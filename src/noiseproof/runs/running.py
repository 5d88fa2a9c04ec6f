"""A subject as it runs: in which precision, on which device, in batches of which size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

from noiseproof.attacks import Attack, Defence
from noiseproof.attacks.defence import gradient_precision
from noiseproof.classifiers import accelerate, keep_large_blocks, multiplies_bfloat16
from noiseproof.classifiers.autotune import autotune
from noiseproof.classifiers.base import BaseClassifier
from noiseproof.classifiers.batching import default_batch_size
from noiseproof.classifiers.runners import FunctionRunner, Runner
from noiseproof.errors import InvalidInputError, OutOfMemoryError, require_count
from noiseproof.randomness import Seed
from noiseproof.runs.identity import FINGERPRINTED
from noiseproof.runs.listener import Listener
from noiseproof.runs.subject import Subject, require_noise
from noiseproof.sampling import sampler_of
from noiseproof.sampling.counter import VoteCounter

__all__ = ["Engine", "Running", "device_named", "run_subject"]


@dataclass(frozen=True)
class Engine:
    """How a classifier shall run.

    Attributes:
        device: auto (a GPU if there is one), cpu, cuda, cuda:1.
        precision: auto, fp32, bf16, fp16 or int8. auto keeps a record's own; for a new run of over a minute it takes 16
            bits where they are 1.5 times as fast and keep 99 % of noisy labels.
        compiled: whether to compile the network first; None does for runs over ten minutes.
        batch_size: images per call of the network; None chooses by image size.
        sampler: one of `sampling.SAMPLERS`; None keeps a record's own; a new run takes that of its
            job (`Job.sampler`).
    """

    device: str = "auto"
    precision: str = "auto"
    compiled: bool | None = None
    batch_size: int | None = None
    sampler: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            require_count("batch_size", self.batch_size, 1, "Leave it out to have it chosen.")


@dataclass(frozen=True)
class Running:
    """A subject as it runs.

    Attributes:
        subject: whose classifier.
        classifier: f as it votes: a runner or a function.
        batch_size: images per call of f; None chooses by image size.
        device: where.
        sampler: how noise is added.
    """

    subject: Subject
    classifier: Any
    batch_size: int | None
    device: torch.device
    sampler: str = "float"

    @cached_property
    def base(self) -> BaseClassifier:
        """The base classifier."""
        return BaseClassifier(self.classifier, num_classes=self.subject.dataset.num_classes, device=self.device)

    @cached_property
    def counter(self) -> VoteCounter:
        """What counts its votes, or InvalidInputError where there is no noise."""
        noise = require_noise(self.subject)
        return VoteCounter(self.base, noise, self.batch_size, sampler=self.sampler)

    @staticmethod
    def simply(subject: Subject, recorded: Mapping[str, Any] | None, device: torch.device) -> "Running":
        """Return a subject as it runs in the precision of a record, ready at once: uncompiled, and float32 for int8."""
        classifier, precision = subject.classifier, str((recorded or {}).get("precision", "fp32"))
        if isinstance(classifier, nn.Module):
            known = precision if precision in {"bf16", "fp16"} else "fp32"
            classifier = accelerate(classifier, precision=known, device=device)
        fixed = isinstance(classifier, Runner) and classifier.batch_size is not None
        return Running(subject, classifier, None if fixed else FINGERPRINTED, device, sampler_of(recorded or {}))

    def batch_size_for(self, shape: Sequence[int]) -> int:
        """Return how many images of a shape go through f at once."""
        if self.subject.noise is not None:
            return self.counter.batch_size_for(shape)
        fixed = self.classifier.batch_size if isinstance(self.classifier, Runner) else None
        return fixed or self.batch_size or default_batch_size(shape, self.device)

    def engine(self, seed: Seed = 0) -> dict[str, Any]:
        """Return what decides the votes beside classifier, noise and seed; it names the generator that the seed is for."""
        return self.defence().engine(seed)

    def defence(self, attack: Attack | None = None) -> Defence:
        """Return the classifier as an attack meets it; None: as it votes on points that were found before.

        An attack on decisions evaluates the voter itself, the others differentiate. A voter of one large batch size
        would fill up every call of a few rows: there the network that others differentiate is evaluated. It differs by
        its rounding, and the voter itself judges what was found.
        """
        voter = self.classifier
        if not isinstance(voter, Runner):
            voter = FunctionRunner(voter, "numpy")  # what it gets when it is certified
        network = voter
        if attack is not None and (attack.follows_gradients or voter.batch_size is not None):
            module = self.subject.classifier
            if isinstance(module, nn.Module):
                precision = gradient_precision(voter.settings()["precision"], voter.device)
                network = accelerate(module, precision=precision, device=self.device)
        noise, classes = self.subject.noise, self.subject.dataset.num_classes
        return Defence(network, noise, classes, voter, self.batch_size, self.sampler)


def device_named(name: str) -> torch.device:
    """Return the named device; "auto" is the first GPU, or else the CPU.

    Raises:
        InvalidInputError: torch does not know the name, or the machine lacks the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InvalidInputError(
            "device", required="auto or cpu: there is no CUDA device here", got=repr(name), remedy='Use device="cpu".'
        )
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InvalidInputError(
            "device", required="auto, cpu, cuda or cuda:N on this machine", got=repr(name), remedy='Use device="cpu".'
        ) from error
    return chosen


def run_subject(
    subject: Subject,
    engine: Engine,
    recorded: Mapping[str, Any] | None = None,
    *,
    votes: int,
    seed: int,
    listener: Listener | None = None,
) -> Running:
    """Choose how a subject runs: as asked, as its record began, or what is fastest here.

    Args:
        subject: whose classifier.
        engine: how it shall run.
        recorded: the engine of the record to be continued, or None.
        votes: how many will be counted.
        seed: of the run.
        listener: is told what was measured and chosen.

    Raises:
        InvalidInputError: the device or precision is not there, or the classifier has its own.
        OutOfMemoryError: not even a batch of one image fits.
    """
    told, where, sampler = (
        listener or Listener(),
        device_named(engine.device),
        engine.sampler or sampler_of(recorded or {}),
    )
    keep_large_blocks()
    if not isinstance(subject.classifier, nn.Module):
        return replace(_as_given(subject, engine, where), sampler=sampler)
    if engine.precision == "bf16" and not multiplies_bfloat16(where):
        told.say("several times slower than float32: fp32 is faster.", "bfloat16 is emulated here")
    module, size = subject.classifier.to(where), engine.batch_size
    while True:
        try:
            choice = autotune(
                module,
                subject.dataset,
                subject.noise,
                precision=engine.precision,
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
            told.say(f"trying {size} images a batch.", "Memory ran out")
    if choice.measured:
        told.measured(choice.measured)
        if choice.split == "test":
            told.say("There is no training split: measured on the images to be certified, under other noise.")
    ran = choice.classifier.settings()
    name = ran["precision"] + (", compiled" if ran["compile"] and ran["precision"] != "int8" else "")
    told.say(f"Running in {name} on {where}, {choice.batch_size} images a batch.")
    return Running(subject, choice.classifier, choice.batch_size, where, sampler)


def _as_given(subject: Subject, engine: Engine, where: torch.device) -> Running:
    """A classifier that is no torch module runs as it is."""
    fixed = subject.classifier.batch_size if isinstance(subject.classifier, Runner) else None
    mine, own = "for what is no torch module", f"{engine.precision} for {subject.model['name']}"
    agreed = engine.precision in {"auto", "fp32"} and not engine.compiled
    for name, agrees, required, got in (
        ("precision= and compiled=", agreed, f"left out {mine}", own),
        ("device", engine.device in {"auto", "cpu"}, f"auto or cpu {mine}", engine.device),
        (
            "batch_size",
            engine.batch_size in {None, fixed or engine.batch_size},
            f"{fixed}, as in its file",
            engine.batch_size,
        ),
    ):
        if not agrees:
            raise InvalidInputError(name, required=required, got=got, remedy="Leave it out: it runs as it is.")
    at = subject.classifier.device if isinstance(subject.classifier, Runner) else where
    return Running(subject, subject.classifier, engine.batch_size, at)
