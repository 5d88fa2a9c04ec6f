"""Defences that the paper's figures attack, and the recipe of an attack on one of them.

Every curve of figures 3, 4 and 6 is the worst case of one or several such records, image by image. Beside a network
without noise stand several attacks, since one alone is often misled (Schott et al. 2019; Tramèr et al. 2020).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseproof.attacks import PGD, Attack, HopSkipJump, RandomisedAutoAttack
from noiseproof.attacks.registry import ATTACKS
from noiseproof.errors import NoiseproofError
from noiseproof.evaluation.robust_accuracy import RobustSummary
from noiseproof.experiments.networks import CIFAR_SIGMA, RELEASED_DIGEST, RELEASED_MODEL, RELEASED_OPTIONS
from noiseproof.experiments.recipes import Facts, Missing, Recipe, Step
from noiseproof.noises import Gaussian
from noiseproof.perturbations.norms import NormLike
from noiseproof.plugins.spec import settings_of
from noiseproof.reports.attacked import worst_case
from noiseproof.runs.attack_records import AttackRecord

__all__ = [
    "FEW",
    "MADRY",
    "NATURAL",
    "RELEASED",
    "STN_05",
    "STN_07",
    "TRADES",
    "Attacked",
    "Defence",
    "find_worst",
    "transferred",
    "white_box",
]

_LEVEL = 0.001
"""At which votes decide; else the classifier abstains."""

FEW = 200
"""Images apart, where an attack on one costs ten seconds to half a minute."""

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
class Defence:
    """A classifier of the figures.

    Attributes:
        name: of its folder, below the folder of records.
        title: for legends.
        model: what `--model` takes.
        sigma: of its noise; None for none.
        precision: as `--precision`. Of a network with noise that of its certificates, which speak of that function alone;
            of the undefended one, which is as large, bf16 too. The released one is certified in int8, in which nothing can
            be attacked, so attacks take and judge float32, and what is certified is drawn as of another engine.
        data: the data set.
        images: of its test split.
        naming: further options of every command about it.
        digest: of the weights, where the name of the model does not tell them.
    """

    name: str
    title: str
    model: str
    sigma: float | None = None
    precision: str = "auto"
    data: str = "mnist"
    images: int = 10_000
    naming: tuple[str, ...] = ()
    digest: str = ""

    @property
    def options(self) -> list[str]:
        """The options of every command about it."""
        precision = [] if self.precision == "auto" else ["--precision", self.precision]
        return ["--model", self.model, *self.naming, *precision]


STN_07 = Defence("mnist/stn-0.7", "STN, sigma 0.7", "zoo:mnist-stn-0.7", 0.7, "bf16")
STN_05 = Defence("mnist/stn-0.5", "STN, sigma 0.5", "zoo:mnist-stn-0.5", 0.5, "bf16")
TRADES = Defence("mnist/trades-linf", "TRADES (ℓ∞ 0.3)", "zoo:mnist-trades-linf")
MADRY = Defence("mnist/madry-linf", "Madry (ℓ∞ 0.3)", "zoo:mnist-madry-linf")
NATURAL = Defence("mnist/natural", "undefended (sigma 0)", "zoo:mnist-natural", precision="bf16")
RELEASED = Defence(
    "cifar10/stn-released",
    "released STN, sigma 100/255",
    RELEASED_MODEL,
    CIFAR_SIGMA,
    "fp32",
    data="cifar10",
    naming=RELEASED_OPTIONS,
    digest=RELEASED_DIGEST,
)


@dataclass(frozen=True)
class Attacked(Recipe[AttackRecord]):
    """A defence under an attack.

    Attributes:
        defence: which.
        attack: with its settings.
        norm: in which it is measured.
        source: the network that is attacked in place of the defence, of a transfer.
        every: of the test images.
        epsilons: sizes of the attack; none takes those of the data set and the norm.
        samples: by which points must have been judged, at the least, where there is noise.
        place: of its record, below the folder of records, where that does not follow from the others.
    """

    defence: Defence
    attack: Attack
    norm: NormLike
    source: Defence | None = None
    every: int = 20
    epsilons: tuple[float, ...] = ()
    samples: int = 1000
    place: str = ""

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
        transfer = "" if self.source is None else f"transfer-{Path(self.source.name).name}-"
        loss = f"-{self.attack.loss}" if isinstance(self.attack, PGD) else ""
        return f"{self.defence.name}/{transfer}{self.name}{loss}-{self.norm}"

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
        command = ["noiseproof", "attack", str(records / self.defence.name), *self.defence.options]
        command += ["--attack", self.name, "--norm", self.norm, "--every", str(self.every)]
        command += ["--epsilons", ",".join(repr(size).removesuffix(".0") for size in self.sizes)]
        command += [part for change in self.changes for part in ("--set", change)]
        command += [] if self.source is None else ["--source", self.source.model]
        place = records / self.folder
        return [Step((*command, "--out", str(place)), place, self._cost())]

    def facts(self, record: AttackRecord) -> Facts:
        """The defence, the attack, and the images."""
        settings, defence = record.settings, self.defence
        spec = dict(settings.attack.get("attack", settings.attack))
        wanted, ran = self.attack.spec(), settings.engine.get("precision")
        noise = None if defence.sigma is None else Gaussian(defence.sigma).spec()
        samples = 0 if noise is None else self.samples
        yield "model", defence.model, settings.model["name"]
        yield "weights", defence.digest or settings.model["digest"], settings.model["digest"]
        yield "precision", ran if defence.precision == "auto" else defence.precision, ran
        yield "norm", self.norm, settings.norm
        yield "sizes", [0.0, *self.sizes], list(settings.sizes)
        yield "every", self.every, settings.step
        yield "attack", wanted.pop("name"), spec.pop("name", None)
        yield "source", None if self.source is None else self.source.model, _source(settings.attack)
        yield "settings", wanted, spec
        yield "noise", noise, None if settings.noise is None else dict(settings.noise)
        yield "data", (defence.data, "test"), (settings.data.get("name"), settings.data.get("split"))
        yield "images", list(range(0, defence.images, self.every)), list(settings.indices)
        yield "votes, at least", max(samples, settings.samples), settings.samples
        yield "level", _LEVEL, settings.alpha
        yield "limits", None, settings.limits

    def _cost(self) -> tuple[float, str] | None:
        """None of CIFAR-10, which has no record of an H100."""
        return (_SECONDS.get(self.name, _USUAL), "an H100") if self.defence.data == "mnist" else None


def white_box(defence: Defence, norm: NormLike) -> tuple[Attacked, ...]:
    """Return the attacks whose worst case is a white-box curve.

    Against noise PGD by two losses with 16 draws and 40 steps; half of both for the large network of CIFAR-10, on fewer
    images. Where there is no noise, far more costs less than that: PGD by two losses, 100 steps and restarts, AutoAttack,
    and in l_2, where gradients of networks trained in l_inf are known to mislead, more restarts and HopSkipJump. What is
    undefended needs no restarts.
    """
    if defence == RELEASED:
        attacks: list[Attack] = [
            PGD(loss="log_mean", eot_samples=8, steps=20),
            PGD(loss="margin", eot_samples=8, steps=20),
        ]
        return tuple(Attacked(defence, attack, norm, every=FEW) for attack in attacks)
    if defence.sigma is not None:
        attacks = [PGD(loss="log_mean", eot_samples=16, steps=40), PGD(loss="margin", eot_samples=16, steps=40)]
    else:
        restarts = 1 if defence == NATURAL else 5 if norm == "l2" else 2
        attacks = [PGD(loss="log_mean", steps=100, restarts=restarts), PGD(loss="margin", steps=100, restarts=restarts)]
        attacks.append(RandomisedAutoAttack())
        attacks += [HopSkipJump()] if norm == "l2" and defence in {TRADES, MADRY} else []
    return tuple(Attacked(defence, attack, norm) for attack in attacks)


def transferred(defence: Defence, source: Defence, norm: NormLike) -> tuple[Attacked, ...]:
    """Return the attack on another network whose points are given to this one."""
    return (Attacked(defence, PGD(loss="margin", steps=100), norm, source),)


def find_worst(
    recipes: Sequence[Attacked], records: Path
) -> tuple[RobustSummary | None, list[AttackRecord], list[Missing]]:
    """Return the worst case of the records that are there, these records, and what is missing of the others."""
    found: list[AttackRecord] = []
    missing: list[Missing] = []
    worst: RobustSummary | None = None
    for recipe in recipes:
        record = recipe.find(records)
        if isinstance(record, Missing):
            missing.append(record)
            continue
        try:
            worst = worst_case([*found, record])  # of the same images and sizes as those before
            found.append(record)
        except NoiseproofError as error:
            missing.append(Missing(recipe.title, str(error), tuple(recipe.steps(records)), blocked=True))
    return worst, found, missing


def _as_text(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _source(attack: Mapping[str, Any]) -> str | None:
    """Return what `--source` was, from the record of a transfer; None of any other attack."""
    return str(attack.get("source_name", "")).partition(" ")[0] if "attack" in attack else None
