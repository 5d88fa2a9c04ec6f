"""The recipe of an attack on a network, and the worst case of several attacks, image by image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noiseproof.attacks import PGD, Attack
from noiseproof.attacks.registry import ATTACKS
from noiseproof.evaluation.robust_accuracy import RobustSummary
from noiseproof.experiments.networks import RELEASED_DIGEST, Network
from noiseproof.experiments.recipes import Facts, Reader, Recipe, Step
from noiseproof.noises import Gaussian
from noiseproof.perturbations.norms import NormLike
from noiseproof.plugins.spec import settings_of
from noiseproof.reports.attacked import worst_case
from noiseproof.runs.attack_records import AttackRecord

__all__ = ["Attacked", "find_worst"]

_LEVEL = 0.001
"""At which votes decide; else the classifier abstains."""

_EPSILONS = {
    ("mnist", "l2"): (0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    ("mnist", "linf"): (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    ("cifar10", "l2"): (0.25, 0.5, 1.0),
    ("cifar10", "linf"): (0.01, 0.02, 0.03),
}

_SECONDS = {"carlini-wagner": 30.0, "boundary": 920.0, "hop-skip-jump": 160.0}
"""That an attack takes on an H100, where it is not `_USUAL`."""

_USUAL = 60.0


@dataclass(frozen=True)
class Attacked(Recipe[AttackRecord]):
    """A defence under an attack.

    Attributes:
        defence: the network that is attacked, of seed 0.
        attack: with its settings.
        norm: in which it is measured.
        source: the network that is attacked in place of the defence, of a transfer.
        every: every how many of the test images is attacked.
        epsilons: sizes of the attack; none takes those of the data set and the norm.
        samples: by which points must have been judged, at the least, where there is noise.
        images: of the test split.
        place: of its record, below the folder of records, where that does not follow from the others.
        precision: as `--precision`; None takes that of the attacks on the defence.
        engine: in which it must have run; None takes any.
        beside: records of other attacks, whose classifier and data it must share.
    """

    defence: Network
    attack: Attack
    norm: NormLike
    source: Network | None = None
    every: int = 20
    epsilons: tuple[float, ...] = ()
    samples: int = 1000
    images: int = 10_000
    place: str = ""
    precision: str | None = None
    engine: Mapping[str, Any] | None = None
    beside: tuple[AttackRecord, ...] = ()

    configuration = AttackRecord.configuration
    open = staticmethod(AttackRecord.open)

    @property
    def name(self) -> str:
        """What `--attack` takes."""
        return next(name for name in ATTACKS if ATTACKS[name] is type(self.attack))

    @property
    def title(self) -> str:
        """Its folder."""
        return self.folder

    @property
    def folder(self) -> str:
        """In that of the defence, named by the attack."""
        if self.place:
            return self.place
        transfer = "" if self.source is None else f"transfer-{self.source.name}-"
        loss = f"-{self.attack.loss}" if isinstance(self.attack, PGD) else ""
        return f"{self.defence.folder()}/{transfer}{self.name}{loss}-{self.norm}"

    @property
    def sizes(self) -> tuple[float, ...]:
        """Its epsilons, by default those of the data set and the norm."""
        return self.epsilons or _EPSILONS[self.defence.data, self.norm]

    @property
    def changes(self) -> list[str]:
        """What differs from the attack's defaults, as `--set` takes it."""
        usual, names = type(self.attack)(), [part.name for part in settings_of(self.attack)]
        pairs = [(name, getattr(self.attack, name)) for name in names]
        return [f"{name}={_as_text(value)}" for name, value in pairs if value != getattr(usual, name)]

    def steps(self, records: Path) -> list[Step]:
        """Attack."""
        folder, precision = records / self.folder, self._precision
        command = ["noiseproof", "attack", str(records / self.defence.folder()), *self.defence.options()]
        command += [] if precision == "auto" else ["--precision", precision]
        command += ["--attack", self.name, "--norm", self.norm, "--every", str(self.every)]
        command += ["--epsilons", ",".join(repr(size).removesuffix(".0") for size in self.sizes)]
        command += [part for change in self.changes for part in ("--set", change)]
        command += [] if self.source is None else ["--source", str(self.source.model)]
        cost = (_SECONDS.get(self.name, _USUAL), "an H100") if self.defence.data == "mnist" else None
        return [Step((*command, "--out", str(folder)), folder, cost)]

    def facts(self, record: AttackRecord) -> Facts:
        """The defence, the attack, and the images."""
        settings, defence, engine = record.settings, self.defence, dict(record.settings.engine)
        spec = dict(settings.attack.get("attack", settings.attack))
        wanted, ran, digest = self.attack.spec(), engine.get("precision"), settings.model["digest"]
        noise = Gaussian(defence.sigma).spec() if defence.sigma else None
        yield "model", defence.model, settings.model["name"]
        yield "weights", RELEASED_DIGEST if defence.released else digest, digest
        yield "precision", ran if self._precision == "auto" else self._precision, ran
        yield "engine", engine if self.engine is None else dict(self.engine), engine
        yield "norm", self.norm, settings.norm
        yield "sizes", [0.0, *self.sizes], list(settings.sizes)
        yield "every", self.every, settings.step
        yield "attack", wanted.pop("name"), spec.pop("name", None)
        yield "source", None if self.source is None else self.source.model, _source(settings.attack)
        yield "settings", wanted, spec
        yield "noise", noise, None if settings.noise is None else dict(settings.noise)
        yield "data", (defence.data, "test"), (settings.data.get("name"), settings.data.get("split"))
        yield "images", list(range(0, self.images, self.every)), list(settings.indices)
        yield "votes, at least", max(self.samples if noise else 0, settings.samples), settings.samples
        yield "level", _LEVEL, settings.alpha
        yield "limits", None, settings.limits
        for other in self.beside[:1]:
            theirs, ours = ([dict(each.settings.model), dict(each.settings.data)] for each in (other, record))
            yield f"classifier and data of {other.path}", theirs, ours

    @property
    def _precision(self) -> str:
        return self.defence.attacked if self.precision is None else self.precision


def find_worst(recipes: Sequence[Attacked], reader: Reader) -> tuple[RobustSummary | None, list[AttackRecord]]:
    """Return the worst case of the records that are there and can be put together, and these records."""
    found: list[AttackRecord] = []
    for recipe in recipes:
        record = reader.find(replace(recipe, beside=tuple(found)))
        found += [] if record is None else [record]
    return (worst_case(found) if found else None), found


def _as_text(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _source(attack: Mapping[str, Any]) -> str | None:
    """Return what `--source` was, from the record of a transfer; None of any other attack."""
    return str(attack.get("source_name", "")).partition(" ")[0] if "attack" in attack else None
