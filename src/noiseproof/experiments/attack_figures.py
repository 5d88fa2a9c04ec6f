"""Figures 3, 4 and 6 of the paper: accuracy under attack, MNIST, from records, with what is certified drawn beneath.

Figure 3   defences against white-box attacks (lines) and attacks transferred from Madry's model (dashed)
Figure 4   stability training at several sigma, 0 among them
Figure 6   one defence against white-box, transferred and gradient-free attacks

Every curve is a record that `noiseproof attack` made; a missing one is named with its command, and not drawn.
"""

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from noiseproof.attack_records import AttackRecord
from noiseproof.evaluation import certified_accuracy
from noiseproof.files import write_atomically
from noiseproof.records import Record, recertify
from noiseproof.reports.analysis import TIGHT
from noiseproof.reports.attacked import summarise_attack
from noiseproof.reports.curves import figure_png, figure_svg
from noiseproof.reports.robustness import CertifiedCurve, Panel, RobustCurve, draw_robustness

__all__ = ["FIGURES", "AttackFigure", "Cell", "Defender", "compute", "draw", "write"]

_SIZES = {"l2": "0.5,1,1.5,2,2.5,3", "linf": "0.05,0.1,0.15,0.2,0.25,0.3"}
_TITLES = {"l2": "MNIST (ℓ2)", "linf": "MNIST (ℓ∞)"}
_ALPHA = 0.001


@dataclass(frozen=True)
class Defender:
    """A classifier of the figures.

    Attributes:
        name: of its folder of records.
        title: for legends.
        model: what `--model` takes.
    """

    name: str
    title: str
    model: str


STN_07 = Defender("stn-0.7", "STN, sigma 0.7", "zoo:mnist-stn-0.7")
STN_05 = Defender("stn-0.5", "STN, sigma 0.5", "zoo:mnist-stn-0.5")
TRADES = Defender("trades-linf", "TRADES (ℓ∞ 0.3)", "zoo:mnist-trades-linf")
MADRY = Defender("madry-linf", "Madry (ℓ∞ 0.3)", "zoo:mnist-madry-linf")
NATURAL = Defender("natural", "undefended (sigma 0)", "zoo:mnist-natural")


@dataclass(frozen=True)
class Cell:
    """One curve: a defence under an attack.

    Attributes:
        defender: which.
        attack: as `--attack`.
        norm: as `--norm`.
        changes: as `--set`.
        source: of a transfer, or None.
        every: of the 10 000 test images.
    """

    defender: Defender
    attack: str
    norm: str
    changes: tuple[str, ...] = ()
    source: Defender | None = None
    every: int = 20

    @property
    def folder(self) -> str:
        """Where its record lies, below the folder of records."""
        transfer = "" if self.source is None else f"transfer-{self.source.name}-"
        return f"{self.defender.name}/{transfer}{self.attack}-{self.norm}"

    def command(self, records: Path) -> str:
        """Return the command that makes its record."""
        parts = ["noiseproof", "attack", str(records / self.defender.name), "--model", self.defender.model]
        parts += [
            "--attack",
            self.attack,
            "--norm",
            self.norm,
            "--sizes",
            _SIZES[self.norm],
            "--every",
            str(self.every),
        ]
        parts += [part for change in self.changes for part in ("--set", change)]
        parts += [] if self.source is None else ["--source", self.source.model]
        return shlex.join([*parts, "--out", str(records / self.folder)])


def _white_box(defender: Defender, norm: str) -> Cell:
    """PGD with 16 draws and 40 steps against noise; where there is none, 100 steps and 5 restarts cost less than that."""
    noisy = defender in {STN_07, STN_05}
    return Cell(defender, "pgd", norm, ("draws=16", "steps=40") if noisy else ("steps=100", "restarts=5"))


def _transferred(defender: Defender, source: Defender, norm: str) -> Cell:
    return Cell(defender, "pgd", norm, ("steps=100", "restarts=5"), source)


@dataclass(frozen=True)
class AttackFigure:
    """A figure of the paper: curves with their titles for each norm.

    Attributes:
        name: figure3, figure4 or figure6.
        curves: (title, cell, colour, dashed) by norm.
        certified: (defender, colour): whose certified accuracy is drawn beneath.
    """

    name: str
    curves: dict[str, list[tuple[str, Cell, int, bool]]]
    certified: list[tuple[Defender, int]]


def _figure3(norm: str) -> list[tuple[str, Cell, int, bool]]:
    defenders = (STN_07, TRADES, MADRY, NATURAL)
    white = [(f"{one.title}, white-box", _white_box(one, norm), colour, False) for colour, one in enumerate(defenders)]
    black = [
        (f"{one.title}, from Madry's", _transferred(one, MADRY, norm), colour, True)
        for colour, one in enumerate(defenders)
        if one is not MADRY
    ]
    return white + black


def _figure4(norm: str) -> list[tuple[str, Cell, int, bool]]:
    return [
        (one.title, _white_box(one, norm), colour, False) for colour, one in ((3, NATURAL), (4, STN_05), (0, STN_07))
    ]


def _figure6(norm: str) -> list[tuple[str, Cell, int, bool]]:
    slow = 100  # images apart: attacks on decisions and binary searches cost seconds to minutes an image
    decisions = [("HopSkipJump", Cell(STN_07, "hop-skip-jump", norm, every=slow), 4, True)]
    if norm == "l2":
        decisions.insert(0, ("Boundary", Cell(STN_07, "boundary", norm, every=slow), 2, True))
        decisions.insert(0, ("Carlini-Wagner", Cell(STN_07, "carlini-wagner", norm, every=slow), 1, False))
    return [
        ("PGD", _white_box(STN_07, norm), 0, False),
        *decisions,
        ("from Madry's model", _transferred(STN_07, MADRY, norm), 5, True),
        ("from the undefended model", _transferred(STN_07, NATURAL, norm), 3, True),
        ("random search", Cell(STN_07, "random", norm), 6, True),
    ]


_NORMS = ("l2", "linf")

FIGURES = {
    "figure3": AttackFigure("figure3", {norm: _figure3(norm) for norm in _NORMS}, [(STN_07, 0)]),
    "figure4": AttackFigure("figure4", {norm: _figure4(norm) for norm in _NORMS}, [(STN_05, 4), (STN_07, 0)]),
    "figure6": AttackFigure("figure6", {norm: _figure6(norm) for norm in _NORMS}, [(STN_07, 0)]),
}
"""The figures by name."""


def compute(figure: AttackFigure, records: Path) -> tuple[list[Panel], list[str]]:
    """Return the panels of a figure from the records there are, and the commands for those that are missing.

    Raises:
        RunError: a record is damaged.
    """
    panels, missing = [], []
    for norm, curves in figure.curves.items():
        drawn = []
        for title, cell, colour, dashed in curves:
            if not (records / cell.folder / AttackRecord.configuration).exists():
                missing.append(cell.command(records))
                continue
            found = summarise_attack(AttackRecord.open(records / cell.folder))
            name = f"{title} ({found.images})"
            drawn.append(RobustCurve(name, found.sizes, found.robust, found.low, found.high, colour, dashed))
        areas = []
        for defender, colour in figure.certified:
            area = _certified(records / defender.name, defender, norm, colour)
            if area is None:
                missing.append(f"noiseproof certify {records / defender.name} --model {defender.model} --every 10")
            else:
                areas.append(area)
        if drawn:
            panels.append(Panel(_TITLES[norm], norm, drawn, areas))
    return panels, list(dict.fromkeys(missing))


def _certified(run: Path, defender: Defender, norm: str, colour: int) -> CertifiedCurve | None:
    """Certified accuracy in l2 by the tight certificate; in l_inf of the cube inside the ball, r / sqrt(pixels)."""
    if not (run / Record.configuration).exists():
        return None
    record = Record.open(run)
    votes = record.read()
    found = recertify(votes, record.noise, alpha=_ALPHA, bound=TIGHT.bound, certificate=TIGHT.certificate)
    largest = max(float(size) for size in _SIZES[norm].split(","))
    radii = np.linspace(0.0, largest, 301)
    pixels = math.prod(record.settings.data["image_shape"])
    in_l2 = radii * (math.sqrt(pixels) if norm == "linf" else 1.0)
    accuracy: Float[np.ndarray, " radii"] = certified_accuracy(found, votes.label, in_l2)
    return CertifiedCurve(f"{defender.title} ({len(votes)})", radii, accuracy, colour)


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
