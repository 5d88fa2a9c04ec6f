"""Figures 3, 4 and 6 of the paper: accuracy under attack, MNIST, from records, with what is certified drawn beneath.

Figure 3   defences against white-box attacks (lines) and attacks transferred from Madry's model (dashed)
Figure 4   stability training at several sigma, 0 among them
Figure 6   one defence against white-box, transferred and gradient-free attacks

Every curve is the worst case of one or several records that `noiseproof attack` made, image by image. A missing or
unfinished one is named with its command; the curve of the others says that it is theirs alone ("1 of 2 attacks"), since
what fewer attacks leave may be too much. Beside a network without noise stand several attacks, since one alone is often
misled (Schott et al. 2019; Tramèr et al. 2020).
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from noiseproof import attacks
from noiseproof.attack_records import AttackRecord
from noiseproof.attacks import Attack
from noiseproof.errors import NoiseproofError, RunError
from noiseproof.experiments.runs import Missing
from noiseproof.files import write_atomically
from noiseproof.noises import Gaussian
from noiseproof.records import Record
from noiseproof.reports.attacked import certified_beside, other_engine, worst_case
from noiseproof.reports.curves import figure_png, figure_svg
from noiseproof.reports.robustness import CertifiedCurve, Panel, RobustCurve, draw_robustness

__all__ = [
    "CLASSES",
    "FIGURES",
    "NOT_THERE",
    "TRADES",
    "AttackFigure",
    "Cell",
    "Curve",
    "Defender",
    "compute",
    "draw",
    "white_box",
    "write",
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

_SIZES = {"l2": "0.5,1,1.5,2,2.5,3", "linf": "0.05,0.1,0.15,0.2,0.25,0.3"}
_TITLES = {"l2": "MNIST (ℓ2)", "linf": "MNIST (ℓ∞)"}


@dataclass(frozen=True)
class Defender:
    """A classifier of the figures.

    Attributes:
        name: of its folder, below the folder of records.
        title: for legends.
        model: what `--model` takes.
        sigma: of its noise; None for none.
        precision: as `--precision`. Of a network with noise that of its certificates, which speak of that function alone;
            of the undefended one, which is as large, bf16 too.
        data: the data set.
        images: of its test split.
    """

    name: str
    title: str
    model: str
    sigma: float | None = None
    precision: str = "auto"
    data: str = "mnist"
    images: int = 10_000

    @property
    def options(self) -> list[str]:
        """The options of every command about it."""
        return ["--model", self.model, *([] if self.precision == "auto" else ["--precision", self.precision])]


STN_07 = Defender("mnist/stn-0.7", "STN, sigma 0.7", "zoo:mnist-stn-0.7", 0.7, "bf16")
STN_05 = Defender("mnist/stn-0.5", "STN, sigma 0.5", "zoo:mnist-stn-0.5", 0.5, "bf16")
TRADES = Defender("mnist/trades-linf", "TRADES (ℓ∞ 0.3)", "zoo:mnist-trades-linf")
MADRY = Defender("mnist/madry-linf", "Madry (ℓ∞ 0.3)", "zoo:mnist-madry-linf")
NATURAL = Defender("mnist/natural", "undefended (sigma 0)", "zoo:mnist-natural", precision="bf16")


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
        return self.sizes or _SIZES[self.norm]

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

    Against noise PGD by two losses with 16 draws and 40 steps. Where there is no noise, far more costs less than that:
    PGD by two losses, 100 steps and restarts, AutoAttack, and in l_2, where gradients of networks trained in l_inf are
    known to mislead, more restarts and HopSkipJump. What is undefended needs no restarts.
    """
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


def _transferred(defender: Defender, source: Defender, norm: str) -> tuple[Cell, ...]:
    return (Cell(defender, "pgd", norm, ("loss=margin", "steps=100"), source),)


def _source(attack: Mapping[str, Any]) -> str | None:
    """Return what `--source` was, from the record of a transfer; None of any other attack."""
    return str(attack.get("source_name", "")).partition(" ")[0] if "attack" in attack else None


Curve = tuple[str, tuple[Cell, ...], int, bool]
"""Title, records whose worst case it is, colour, dashed."""


@dataclass(frozen=True)
class AttackFigure:
    """A figure of the paper: curves for each norm.

    Attributes:
        name: figure3, figure4 or figure6.
        curves: by norm.
        certified: (defender, colour): whose certified accuracy is drawn beneath.
    """

    name: str
    curves: dict[str, list[Curve]]
    certified: list[tuple[Defender, int]]


def _figure3(norm: str) -> list[Curve]:
    defenders = (STN_07, TRADES, MADRY, NATURAL)
    white = [(f"{one.title}, white-box", white_box(one, norm), colour, False) for colour, one in enumerate(defenders)]
    black = [
        (f"{one.title}, from Madry's", _transferred(one, MADRY, norm), colour, True)
        for colour, one in enumerate(defenders)
        if one is not MADRY
    ]
    return white + black


def _figure4(norm: str) -> list[Curve]:
    return [
        (one.title, white_box(one, norm), colour, False) for colour, one in ((3, NATURAL), (4, STN_05), (0, STN_07))
    ]


def _figure6(norm: str) -> list[Curve]:
    slow = 200  # images apart: attacks on decisions and binary searches cost ten seconds to half a minute an image
    decisions: list[Curve] = [("HopSkipJump", (Cell(STN_07, "hop-skip-jump", norm, every=slow),), 4, True)]
    if norm == "l2":
        decisions.insert(0, ("Boundary", (Cell(STN_07, "boundary", norm, every=slow),), 2, True))
        decisions.insert(0, ("Carlini-Wagner", (Cell(STN_07, "carlini-wagner", norm, every=slow),), 1, False))
    return [
        ("PGD, two losses", white_box(STN_07, norm), 0, False),
        *decisions,
        ("from Madry's model", _transferred(STN_07, MADRY, norm), 5, True),
        ("from the undefended model", _transferred(STN_07, NATURAL, norm), 3, True),
        ("random search", (Cell(STN_07, "random", norm),), 6, True),
    ]


_NORMS = ("l2", "linf")

FIGURES = {
    "figure3": AttackFigure("figure3", {norm: _figure3(norm) for norm in _NORMS}, [(STN_07, 0)]),
    "figure4": AttackFigure("figure4", {norm: _figure4(norm) for norm in _NORMS}, [(STN_05, 4), (STN_07, 0)]),
    "figure6": AttackFigure("figure6", {norm: _figure6(norm) for norm in _NORMS}, [(STN_07, 0)]),
}
"""The figures by name."""


def compute(figure: AttackFigure, records: Path) -> tuple[list[Panel], list[Missing]]:
    """Return the panels of a figure from the records there are, and what is missing, with the commands that make it.

    A record that is damaged, unfinished or of another attack than its folder says is missing, and spoils no other curve.
    """
    panels: list[Panel] = []
    missing: dict[str, Missing] = {}
    for norm, curves in figure.curves.items():
        drawn: list[RobustCurve] = []
        attacked: dict[Defender, AttackRecord] = {}
        for title, cells, colour, dashed in curves:
            found, gone = _read(cells, records)
            missing |= {each.command: each for each in gone}
            if not found:
                continue
            worst = worst_case(found)
            name = f"{title} ({worst.images}" + (f", {len(found)} of {len(cells)} attacks)" if gone else ")")
            drawn.append(RobustCurve(name, worst.sizes, worst.robust, worst.low, worst.high, colour, dashed))
            attacked.setdefault(cells[0].defender, found[0])
        areas = []
        for defender, colour in figure.certified:
            run, attack = records / defender.name, attacked.get(defender)
            command = shlex.join(["noiseproof", "certify", str(run), *defender.options, "--every", "10"])
            try:
                area = None if attack is None else _certified(run, defender, colour, attack)
                why = NOT_THERE
            except NoiseproofError as error:
                area, why = None, str(error)
            if area is not None:
                areas.append(area)
            elif attack is not None or not (run / Record.configuration).exists():
                missing[command] = Missing("what is certified", why, command)
        if drawn:
            panels.append(Panel(_TITLES[norm], norm, drawn, areas))
    return panels, list(missing.values())


def _read(cells: Sequence[Cell], records: Path) -> tuple[list[AttackRecord], list[Missing]]:
    """Read the records of a curve, and name those that cannot be used."""
    found: list[AttackRecord] = []
    gone: list[Missing] = []
    for cell in cells:
        try:
            record = cell.read(records)
            if record is not None:
                worst_case([*found, record])  # of the same images and sizes as those before
                found.append(record)
            else:
                gone.append(Missing(cell.folder, NOT_THERE, cell.command(records)))
        except NoiseproofError as error:
            gone.append(Missing(cell.folder, str(error), cell.command(records)))
    return found, gone


def _certified(run: Path, defender: Defender, colour: int, attack: AttackRecord) -> CertifiedCurve | None:
    """What is proven of a defence for the images of an attack on it, or None."""
    sizes = np.linspace(0.0, max(attack.settings.sizes), 301)
    accuracy = certified_beside(run, attack, sizes)
    if accuracy is None:
        return None
    images = str(len(attack.read_verdicts())) + (", in another engine" if other_engine(run, attack) else "")
    return CertifiedCurve(f"{defender.title} ({images})", sizes, accuracy, colour)


def draw(panels: Sequence[Panel]) -> Figure:
    """Draw the panels side by side, as the paper does."""
    return draw_robustness(panels)


def write(name: str, panels: Sequence[Panel], folder: Path) -> list[Path]:
    """Write NAME.png, NAME.svg and NAME.json, the numbers, and return their paths."""
    figure = draw(panels)
    numbers: list[dict[str, Any]] = [
        {
            "panel": panel.title,
            "curve": curve.name,
            **{key: getattr(curve, key).round(6).tolist() for key in ("sizes", "robust", "low", "high")},
        }
        for panel in panels
        for curve in panel.curves
    ]
    files = {
        f"{name}.png": figure_png(figure),
        f"{name}.svg": figure_svg(figure).encode(),
        f"{name}.json": json.dumps(numbers, indent=1).encode(),
    }
    for file, content in files.items():
        write_atomically(folder / file, content)
    return [folder / file for file in files]
