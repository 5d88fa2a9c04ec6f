"""Defences that the paper's figures attack, and the records of the attacks on them.

Every curve of figures 3, 4 and 6 is the worst case of one or several such records, image by image. Beside a network
without noise stand several attacks, since one alone is often misled (Schott et al. 2019; Tramèr et al. 2020).
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseproof import attacks
from noiseproof.attacks import Attack
from noiseproof.errors import RunError
from noiseproof.experiments.runs import CIFAR_SIGMA, RELEASED_DIGEST
from noiseproof.noises import Gaussian
from noiseproof.runs.attack_records import AttackRecord

__all__ = [
    "CLASSES",
    "FEW",
    "MADRY",
    "NATURAL",
    "NOT_THERE",
    "RELEASED",
    "STN_05",
    "STN_07",
    "TRADES",
    "Cell",
    "Defender",
    "transferred",
    "white_box",
]

CLASSES = {
    "pgd": "PGD",
    "auto-attack": "RandomisedAutoAttack",
    "carlini-wagner": "CarliniWagner",
    "boundary": "BoundaryAttack",
    "hop-skip-jump": "HopSkipJump",
    "random": "RandomSearch",
}
"""What records call the attacks, by `--attack`."""

NOT_THERE = "not there, or not all of it"

_LEVEL = 0.001
"""At which votes decide; else the classifier abstains."""

FEW = 200
"""Images apart, where an attack on one costs ten seconds to half a minute."""

_SIZES = {
    ("mnist", "l2"): "0.5,1,1.5,2,2.5,3",
    ("mnist", "linf"): "0.05,0.1,0.15,0.2,0.25,0.3",
    ("cifar10", "l2"): "0.25,0.5,1",
    ("cifar10", "linf"): "0.01,0.02,0.03",
}


@dataclass(frozen=True)
class Defender:
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
        weights: what `--weights` takes, where `model` is a factory; then data and sigma are named too.
        digest: of the weights, where the name of the model does not tell them.
    """

    name: str
    title: str
    model: str
    sigma: float | None = None
    precision: str = "auto"
    data: str = "mnist"
    images: int = 10_000
    weights: str = ""
    digest: str = ""

    @property
    def options(self) -> list[str]:
        """The options of every command about it."""
        given = ["--weights", self.weights, "--data", self.data, "--sigma", repr(self.sigma)] if self.weights else []
        precision = [] if self.precision == "auto" else ["--precision", self.precision]
        return ["--model", self.model, *given, *precision]


STN_07 = Defender("mnist/stn-0.7", "STN, sigma 0.7", "zoo:mnist-stn-0.7", 0.7, "bf16")
STN_05 = Defender("mnist/stn-0.5", "STN, sigma 0.5", "zoo:mnist-stn-0.5", 0.5, "bf16")
TRADES = Defender("mnist/trades-linf", "TRADES (ℓ∞ 0.3)", "zoo:mnist-trades-linf")
MADRY = Defender("mnist/madry-linf", "Madry (ℓ∞ 0.3)", "zoo:mnist-madry-linf")
NATURAL = Defender("mnist/natural", "undefended (sigma 0)", "zoo:mnist-natural", precision="bf16")
RELEASED = Defender(
    "cifar10/stn-released",
    "released STN, sigma 100/255",
    "noiseproof.models:PaperCIFAR",
    CIFAR_SIGMA,
    "fp32",
    data="cifar10",
    weights="model_cifar10",
    digest=RELEASED_DIGEST,
)


@dataclass(frozen=True)
class Cell:
    """One record: a defence under an attack.

    Attributes:
        defender: which.
        attack: as `--attack`.
        norm: as `--norm`.
        changes: as `--set`.
        source: of a transfer, or None.
        every: of the 10 000 test images.
        sizes: as `--sizes`.
        votes: by which points must have been judged, at the least, where there is noise.
        place: of its record, below the folder of records, where that does not follow from the others.
    """

    defender: Defender
    attack: str
    norm: str
    changes: tuple[str, ...] = ()
    source: Defender | None = None
    every: int = 20
    sizes: str = ""
    votes: int = 1000
    place: str = ""

    @property
    def folder(self) -> str:
        """Where its record lies, below the folder of records."""
        if self.place:
            return self.place
        transfer = "" if self.source is None else f"transfer-{Path(self.source.name).name}-"
        loss = "".join(f"-{change.removeprefix('loss=')}" for change in self.changes if change.startswith("loss="))
        return f"{self.defender.name}/{transfer}{self.attack}{loss}-{self.norm}"

    @property
    def wanted_sizes(self) -> str:
        """Its sizes, by default those of its norm."""
        return self.sizes or _SIZES[self.defender.data, self.norm]

    def command(self, records: Path) -> str:
        """Return the command that makes its record."""
        parts = ["noiseproof", "attack", str(records / self.defender.name), *self.defender.options]
        parts += [
            "--attack",
            self.attack,
            "--norm",
            self.norm,
            "--sizes",
            self.wanted_sizes,
            "--every",
            str(self.every),
        ]
        parts += [part for change in self.changes for part in ("--set", change)]
        parts += [] if self.source is None else ["--source", self.source.model]
        return shlex.join([*parts, "--out", str(records / self.folder)])

    def read(self, records: Path) -> AttackRecord | None:
        """Return its record; None where there is none, or it is not finished.

        Raises:
            RunError: the folder holds another attack, or a damaged one.
        """
        path = records / self.folder
        if not (path / AttackRecord.configuration).exists():
            return None
        record = AttackRecord.open(path)
        settings = record.settings
        spec = dict(settings.attack.get("attack", settings.attack))
        wanted = [float(size) for size in self.wanted_sizes.split(",")]
        ran, wanted_precision = settings.engine.get("precision"), self.defender.precision
        changes = {name: value for name, _, value in (change.partition("=") for change in self.changes)}
        changed = {name: str(value) for name, value in spec.items() if name != "name"}
        noise = None if self.defender.sigma is None else Gaussian(self.defender.sigma).spec()
        images, votes = range(0, self.defender.images, self.every), 0 if noise is None else self.votes
        for what, required, got in (
            ("model", self.defender.model, settings.model["name"]),
            ("weights", self.defender.digest or settings.model["digest"], settings.model["digest"]),
            ("precision", ran if wanted_precision == "auto" else wanted_precision, ran),
            ("norm", self.norm, settings.norm),
            ("sizes", [0.0, *wanted], list(settings.sizes)),
            ("every", self.every, settings.step),
            ("attack", CLASSES[self.attack], spec.get("name")),
            ("source", None if self.source is None else self.source.model, _source(settings.attack)),
            ("settings", {name: str(value) for name, value in self._defaults().items()} | changes, changed),
            ("noise", noise, None if settings.noise is None else dict(settings.noise)),
            ("data", (self.defender.data, "test"), (settings.data.get("name"), settings.data.get("split"))),
            ("images", list(images), list(settings.indices)),
            ("votes, at least", max(votes, settings.samples), settings.samples),
            ("level", _LEVEL, settings.alpha),
            ("limits", None, settings.limits),
        ):
            if required != got:
                raise RunError(
                    str(path),
                    required=f"the record of this curve, with {what} {required}",
                    got=got,
                    remedy=f"Move it away, and make it: {self.command(records)}",
                )
        return None if record.missing()[0] else record

    def _defaults(self) -> dict[str, Any]:
        """Return the settings of the attack that `--set` does not change."""
        made: Attack = getattr(attacks, CLASSES[self.attack])()
        return {name: value for name, value in made.spec().items() if name != "name"}


def white_box(defender: Defender, norm: str) -> tuple[Cell, ...]:
    """Return the attacks whose worst case is a white-box curve.

    Against noise PGD by two losses with 16 draws and 40 steps; half of both for the large network of CIFAR-10, on fewer
    images. Where there is no noise, far more costs less than that: PGD by two losses, 100 steps and restarts, AutoAttack,
    and in l_2, where gradients of networks trained in l_inf are known to mislead, more restarts and HopSkipJump. What is
    undefended needs no restarts.
    """
    if defender == RELEASED:
        return tuple(
            Cell(defender, "pgd", norm, (f"loss={loss}", "draws=8", "steps=20"), every=FEW)
            for loss in ("log_mean", "margin")
        )
    if defender in {STN_07, STN_05}:
        return tuple(
            Cell(defender, "pgd", norm, (f"loss={loss}", "draws=16", "steps=40")) for loss in ("log_mean", "margin")
        )
    restarts = 1 if defender == NATURAL else 5 if norm == "l2" else 2
    settings = ("steps=100", f"restarts={restarts}")
    cells = [Cell(defender, "pgd", norm, (f"loss={loss}", *settings)) for loss in ("log_mean", "margin")]
    cells.append(Cell(defender, "auto-attack", norm))
    if norm == "l2" and defender in {TRADES, MADRY}:
        cells.append(Cell(defender, "hop-skip-jump", norm))
    return tuple(cells)


def transferred(defender: Defender, source: Defender, norm: str) -> tuple[Cell, ...]:
    """Return the attack on another network whose points are given to this one."""
    return (Cell(defender, "pgd", norm, ("loss=margin", "steps=100"), source),)


def _source(attack: Mapping[str, Any]) -> str | None:
    """Return what `--source` was, from the record of a transfer; None of any other attack."""
    return str(attack.get("source_name", "")).partition(" ")[0] if "attack" in attack else None
