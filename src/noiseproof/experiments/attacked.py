"""The recipe of an attack on a network, and the worst case of several attacks, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from noiseproof.attacks import PGD, Attack
from noiseproof.attacks.registry import ATTACKS
from noiseproof.evaluation.robust_accuracy import RobustSummary
from noiseproof.experiments.networks import RELEASED_DIGEST, Network
from noiseproof.experiments.recipes import Facts, Reader, Recipe, Step
from noiseproof.noises import Gaussian
from noiseproof.numerics.decimals import exact
from noiseproof.perturbations.norms import NormLike
from noiseproof.plugins import changes_of
from noiseproof.reports.attacked import worst_case
from noiseproof.runs.attack_records import AttackRecord

__all__ = ["Attacked", "find_worst"]

_LEVEL = 0.001
"""Alpha of the votes that judge a point; the classifier abstains where they do not decide."""

_EPSILONS = {
    ("mnist", "l2"): (0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    ("mnist", "linf"): (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    ("cifar10", "l2"): (0.25, 0.5, 1.0),
    ("cifar10", "linf"): (0.01, 0.02, 0.03),
}

_SECONDS = {"carlini-wagner": 30.0, "boundary": 920.0, "hop-skip-jump": 160.0}
"""Of an attack on an H100, where they are not `_USUAL`."""

_USUAL = 60.0


@dataclass(frozen=True)
class Attacked(Recipe[AttackRecord]):
    """A defence under an attack.

    Attributes:
        defence: the network that is attacked, of seed 0.
        attack: with its settings.
        norm: of the perturbation.
        source: of a transfer, the network that is attacked in place of the defence.
        every: every how many of the test images is attacked.
        epsilons: sizes of the attack; none takes those of the data set and the norm.
        samples: least number of votes that judge a point, where there is noise.
        images: of the test split.
        precision: as `--precision`; None takes that of the attacks on the defence.
        beside: records of other attacks, whose classifier and data this one must share.
    """

    defence: Network
    attack: Attack
    norm: NormLike
    source: Network | None = None
    every: int = 20
    epsilons: tuple[float, ...] = ()
    samples: int = 1000
    images: int = 10_000
    precision: str | None = None

    record = AttackRecord

    @property
    def name(self) -> str:
        """As `--attack` takes it."""
        return next(name for name in ATTACKS if ATTACKS[name] is type(self.attack))

    @property
    def folder(self) -> str:
        """Below the folder of the defence, named by the attack."""
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
        return changes_of(self.attack)

    def steps(self, records: Path) -> list[Step]:
        """Return the attack."""
        folder, options = records / self.folder, self.defence.options(precision=self._precision)
        options |= {"attack": self.name, "norm": self.norm, "every": self.every}
        options |= {"epsilons": ",".join(map(exact, self.sizes)), "set": self.changes}
        options["source"] = None if self.source is None else self.source.model
        cost = self.defence.cost(_SECONDS.get(self.name, _USUAL))
        return [Step.of(folder, "attack", records / self.defence.folder(), cost=cost, **options, out=folder)]

    def facts(self, record: AttackRecord) -> Facts:
        """Compare the defence, the attack, and the images."""
        settings, defence, attack = record.settings, self.defence, record.settings.attack
        source = str(attack.get("source_name", "")).partition(" ")[0] if "attack" in attack else None  # of a transfer
        wanted, spec = self.attack.spec(), dict(attack.get("attack", attack))
        ran, digest = settings.engine.get("precision"), settings.model["digest"]
        noise = Gaussian(defence.sigma).spec() if defence.sigma else None
        yield "model", defence.model, settings.model["name"]
        yield "weights", RELEASED_DIGEST if defence.released else digest, digest
        yield "precision", ran if self._precision == "auto" else self._precision, ran
        yield "norm", self.norm, settings.norm
        yield "sizes", [0.0, *self.sizes], list(settings.sizes)
        yield "every", self.every, settings.step
        yield "attack", wanted.pop("name"), spec.pop("name", None)
        yield "source", None if self.source is None else self.source.model, source
        yield "settings", wanted, spec
        yield "noise", noise, None if settings.noise is None else dict(settings.noise)
        yield "data", (defence.data, "test"), (settings.data.get("name"), settings.data.get("split"))
        yield "images", list(range(0, self.images, self.every)), list(settings.indices)
        yield "votes, at least", max(self.samples if noise else 0, settings.samples), settings.samples
        yield "level", _LEVEL, settings.alpha
        yield "limits", None, settings.limits
        for other in self.beside[:1]:
            theirs, ours = ([dict(each.settings.model), dict(each.settings.data)] for each in (other, record))
            yield f"the classifier and data of {other.path}", theirs, ours

    @property
    def _precision(self) -> str:
        return self.precision or self.defence.attacked


def find_worst(recipes: Sequence[Attacked], reader: Reader) -> tuple[RobustSummary | None, list[AttackRecord]]:
    """Return the worst case over the records that are there and alike, image by image, and these records."""
    found = list(reader.find_alike({recipe.folder: recipe for recipe in recipes}).values())
    return (worst_case(found) if found else None), found
