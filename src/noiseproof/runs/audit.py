"""Audit certificates: attack every certified image inside its radius; no label may change, but for failures alpha allows."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from noiseproof.attacks import Attack
from noiseproof.attacks.registry import ATTACKS
from noiseproof.bounds import Bound
from noiseproof.certificates import Certificate
from noiseproof.certified import DEFAULT_BOUND, DEFAULT_CERTIFICATE, Certified
from noiseproof.errors import InvalidInputError
from noiseproof.evaluation.audit import VERDICT_ALPHA, AuditResult, judge_audit, sizes_within
from noiseproof.evaluation.robust_accuracy import voted_class
from noiseproof.runs.attack import AttackImages, Limits
from noiseproof.runs.attack_records import AttackRecord, AttackSettings
from noiseproof.runs.identity import require_subject
from noiseproof.runs.job import EVERY_IMAGE, Job, Selection
from noiseproof.runs.listener import Listener
from noiseproof.runs.records import Record
from noiseproof.runs.running import Running
from noiseproof.runs.shards import Shard, ShardWriter
from noiseproof.runs.subject import Subject
from noiseproof.runs.tables import Table

__all__ = ["Audit", "judge_record", "strongest"]

_MAJORITY = "majority"
"""Where `AttackRecord.about` of an audit says whether its certificates prove a majority."""

_MAJORITY_BOUNDS = frozenset({"TwoPhase", "SinglePhase"})
"""Bounds whose p2 is 1 - p1: each of their certificates proves that the class has at least half of the probability."""


@dataclass(frozen=True)
class Audit(Job[AttackRecord]):
    """Attack the certified images of a record within their radii, and judge by fresh votes what was found.

    `execute` makes the record of the attack, and `judge` says what it shows.

    Attributes:
        certified: the record of the certification; it must be whole.
        attack: the attack.
        samples: votes on each point.
        alpha: failure probability of each certificate.
        bound: from votes to probabilities.
        certificate: from probabilities to a radius.
        seed: key of the attack's randomness; another than that of the certification.
        selection: which images of the data set, of those that the record has.
    """

    certified: Record
    attack: Attack
    samples: int = 10_000
    alpha: float = 0.001
    bound: Bound = DEFAULT_BOUND
    certificate: Certificate = DEFAULT_CERTIFICATE
    seed: int = 1
    selection: Selection = EVERY_IMAGE
    record = AttackRecord

    @cached_property
    def _certificates(self) -> Certified:
        """The certificates of the whole record."""
        table = self.certified.read_whole("to be audited", "Run certify again: it goes on.")
        return self.certified.certify(alpha=self.alpha, bound=self.bound, certificate=self.certificate, table=table)

    @property
    def _stride(self) -> int:
        """Every how many rows of the record are attacked: those whose index in the data set is a multiple of `every`."""
        step = self.certified.settings.step
        return math.lcm(step, self.selection.every) // step

    @cached_property
    def limits(self) -> Limits:
        """The certified class and radius of the images under audit.

        Raises:
            RunError: the record is not whole, or damaged.
            InvalidInputError: a random subset of a record, or every n-th image of a record of one.
        """
        if self.selection.subset is not None:
            raise InvalidInputError(
                "subset",
                required="left out: an audit takes images of its record",
                got=self.selection.subset,
                remedy="A record of a random subset comes from certify.",
            )
        found = self._certificates
        chosen = Selection(self._stride, self.selection.limit).indices(len(found.radius))
        label, size = found.prediction[list(chosen)], sizes_within(found.radius)[list(chosen)]
        settings = json.dumps(self.certified.settings.plain(), sort_keys=True).encode()
        origin = {
            # with the classes and radii themselves: changed code must not find an audit of what it computed before
            "record": hashlib.sha256(settings + label.tobytes() + size.tobytes()).hexdigest(),
            "bound": type(self.bound).__name__,
            "certificate": type(self.certificate).__name__,
            "alpha": self.alpha,
        }
        return Limits(label, size, origin)

    @cached_property
    def _attack(self) -> AttackImages:
        """The attack of this audit."""
        settings = self.certified.settings
        return AttackImages(
            self.attack,
            [1.0],
            self.certified.noise.norm,
            samples=self.samples,
            alpha=VERDICT_ALPHA,
            seed=self.seed,
            selection=replace(
                Selection.of(self.certified), every=settings.step * self._stride, limit=len(self.limits.size)
            ),
            limits=self.limits,
            beside=self.certified,
        )

    @property
    def work(self) -> tuple[int, int]:
        """Return the votes on an image's points, and the number of its sizes."""
        return self._attack.work

    @property
    def beside(self) -> Record:
        """The certification."""
        return self.certified

    def plan(self, subject: Subject) -> AttackSettings:
        """Return the settings of the record of the attack.

        Raises:
            InvalidInputError: the attack does not support the norm of the certificates, or too few samples.
            RunError: the certification is not whole, or of another classifier, noise or data set.
        """
        require_subject(self.certified.path, self.certified.settings, subject)
        return self._attack.plan(subject)

    def about(self, running: Running) -> dict[str, Any]:
        """Return how the network was trained, the shape of an image, and whether the certificates prove a majority."""
        return self._attack.about(running) | {_MAJORITY: self._majority}

    def try_out(self, running: Running, listener: Listener) -> None:
        """Begin the attack on one image; the classifier's fingerprint must be that of the certification."""
        self._attack.try_out(running, listener)

    def require_unchanged(self, record: AttackRecord, running: Running) -> None:
        """Raise RunError where the classifier's fingerprint is not that of the certification."""
        self._attack.require_unchanged(record, running)

    def require_auditable(self) -> None:
        """Raise the errors of `plan` that need no classifier."""
        self.certificate.require_noise(self.certified.noise)
        self.attack.require_norm(self._attack.norm)

    def run(self, running: Running, writer: ShardWriter) -> Iterator[tuple[Shard, Table]]:
        """Attack shard after shard."""
        return self._attack.run(running, writer)

    def judge(self, made: AttackRecord) -> AuditResult:
        """Return what the record of the attack shows.

        Raises:
            RunError: it is not whole, or damaged.
            InvalidInputError: no image has a certificate: nothing was audited.
        """
        return judge_record(made, majority=self._majority)

    @cached_property
    def _majority(self) -> bool:
        """Whether the certificates prove that their class has at least half of the probability."""
        found = self._certificates
        certified = found.radius > 0.0
        return bool((found.p2_upper[certified] >= 1.0 - found.p1_lower[certified] - 1e-12).all())


def judge_record(made: AttackRecord, *, majority: bool | None = None) -> AuditResult:
    """Return what the record of an audit shows; neither the certification nor the classifier is needed.

    Args:
        made: the record.
        majority: whether the certificates prove a majority; None takes what the record says, and of an older one what
            holds for every certificate of its bound.

    Raises:
        RunError: it is not whole, or damaged.
        InvalidInputError: no image has a certificate: nothing was audited.
    """
    table, settings = made.read_whole("to be judged"), made.settings
    limits = dict(settings.limits or {})
    if majority is None:
        majority = bool(made.about.get(_MAJORITY, limits["bound"] in _MAJORITY_BOUNDS))
    first = voted_class(table.votes[:, 0], VERDICT_ALPHA)
    contradicted_before = (first >= 0) & (first != table.label)  # such an image is not attacked
    return judge_audit(
        table.label,
        table.sizes[:, -1],
        table.index,
        table.votes[:, -1],
        alpha=float(limits["alpha"]),
        majority=majority,
        moved=(table.distances[:, -1] > 0.0) | contradicted_before,
        tried=not ATTACKS.export(settings.attack["name"]).follows_gradients,
    )


def strongest(attack: str, changes: Sequence[str]) -> list[str]:
    """Return the settings of an audit's attack: PGD searches longer; what is named comes last and wins."""
    if attack != "pgd":
        return list(changes)
    random = any(change.startswith("restarts=") for change in changes)
    return ["eot_samples=64", "steps=100", *([] if random else ["random_start=false"]), *changes]
