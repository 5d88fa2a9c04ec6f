"""Section 6.2 of the paper: the recipe of an attack on a network, and the worst case over several attacks."""

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
"""Measured duration of an attack on MNIST on an H100; 60 seconds for every other attack."""


@dataclass(frozen=True)
class Attacked(Recipe[AttackRecord]):
    """The record of one attack on one defence.

    Attributes:
        defence: the network under attack, the one of seed 0.
        attack: the attack with its settings.
        norm: norm of the perturbation.
        source: for a transfer attack, the network on which the adversarial examples are found.
        every: the attack runs on every so many-th image of the test split.
        epsilons: attack sizes; empty for those of the data set and norm.
        samples: least number of votes that judge a point, where the defence adds noise.
        images: number of images in the test split.
        precision: as `--precision`; None for the one in which the defence is attacked.
        beside: records of other attacks, which must share classifier and data with this one.
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
        """Name of the attack, as `--attack` accepts it."""
        return next(name for name in ATTACKS if ATTACKS[name] is type(self.attack))

    @property
    def folder(self) -> str:
        """A folder named after the attack, inside that of the defence."""
        transfer = "" if self.source is None else f"transfer-{self.source.name}-"
        loss = f"-{self.attack.loss}" if isinstance(self.attack, PGD) else ""
        return f"{self.defence.folder()}/{transfer}{self.name}{loss}-{self.norm}"

    @property
    def sizes(self) -> tuple[float, ...]:
        """The attack sizes: `epsilons`, or those of the data set and norm."""
        return self.epsilons or _EPSILONS[self.defence.data, self.norm]

    def steps(self, records: Path) -> list[Step]:
        """Return the trainings of networks that are neither in the zoo nor there, and the attack."""
        networks = [self.defence, *([] if self.source is None else [self.source])]
        trainings = [step for network in networks for step in network.making(records, 0)]
        folder, options = records / self.folder, self.defence.options(precision=self.precision or self.defence.attacked)
        options |= {"attack": self.name, "norm": self.norm, "every": self.every}
        options |= {"epsilons": ",".join(map(exact, self.sizes)), "set": changes_of(self.attack)}
        if self.source is not None:
            options["source"] = self.source.model or records / self.source.folder()
        cost = self.defence.cost(_SECONDS.get(self.name, 60.0))
        return [
            *trainings,
            Step.of(folder, "attack", records / self.defence.folder(), cost=cost, **options, out=folder),
        ]

    def facts(self, record: AttackRecord) -> Facts:
        """Compare defence, attack and images."""
        settings, defence, attack = record.settings, self.defence, record.settings.attack
        source = str(attack.get("source_name", "")).partition(" ")[0] if "attack" in attack else None  # of a transfer
        wanted, spec = self.attack.spec(), dict(attack.get("attack", attack))
        ran, digest = settings.engine.get("precision"), settings.model["digest"]
        precision, noise = self.precision or defence.attacked, Gaussian(defence.sigma).spec() if defence.sigma else None
        yield "model", defence.model or settings.model["name"], settings.model["name"]
        yield "weights", RELEASED_DIGEST if defence.released else digest, digest
        yield "precision", ran if precision == "auto" else precision, ran
        yield "norm", self.norm, settings.norm
        yield "sizes", [0.0, *self.sizes], list(settings.sizes)
        yield "every", self.every, settings.step
        yield "attack", wanted.pop("name"), spec.pop("name", None)
        yield "source", None if self.source is None else self.source.model or source, source
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


def find_worst(recipes: Sequence[Attacked], reader: Reader) -> tuple[RobustSummary | None, list[AttackRecord]]:
    """Return the accuracy under the strongest attack on each image, over the records found, and these records."""
    found = list(reader.find_alike({recipe.folder: recipe for recipe in recipes}).values())
    return (worst_case(found) if found else None), found
