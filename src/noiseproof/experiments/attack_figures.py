"""Figures 3, 4 and 6 of the paper: accuracy under attack, from records, with what is certified drawn beneath.

Figure 3   defences against white-box attacks (lines) and attacks transferred from Madry's model (dashed); of CIFAR-10 the
           network that the paper's authors released, white-box
Figure 4   stability training at several sigma, 0 among them
Figure 6   one defence against white-box, transferred and gradient-free attacks

Every curve is the worst case of the records of one or several attacks, see `attacked`. A missing or unfinished one is named
with its command; the curve of the others says that it is theirs alone ("1 of 2 attacks"), since what fewer attacks leave may
be too much.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noiseproof.attacks import BoundaryAttack, CarliniWagner, HopSkipJump, RandomSearch
from noiseproof.errors import NoiseproofError
from noiseproof.experiments.attacked import (
    FEW,
    MADRY,
    NATURAL,
    RELEASED,
    STN_05,
    STN_07,
    TRADES,
    Attacked,
    Defence,
    find_worst,
    transferred,
    white_box,
)
from noiseproof.experiments.figure import Figure, Result, Table, drawn
from noiseproof.experiments.recipes import NOT_THERE, Missing, Step
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.reports.attacked import certified_beside, other_engine
from noiseproof.reports.robustness import CertifiedCurve, Panel, RobustCurve, draw_robustness
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.records import Record

__all__ = ["FIGURE3", "FIGURE4", "FIGURE6", "AttackFigure", "Curve", "Plot", "UnderAttack"]

_DATA_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
_NORM_TITLES = {"l2": "ℓ2", "linf": "ℓ∞"}

Curve = tuple[str, tuple[Attacked, ...], int, bool]
"""Title, records whose worst case it is, colour, dashed."""


@dataclass(frozen=True)
class Plot:
    """A panel of a figure, as it is planned: the curves that it has where their records are there."""

    data: str
    norm: NormLike
    curves: list[Curve]

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"{_DATA_TITLES.get(self.data, self.data)} ({_NORM_TITLES[self.norm]})"


@dataclass(frozen=True, kw_only=True)
class UnderAttack(Result):
    """A figure's panels, those that have a curve."""

    panels: list[Panel]


@dataclass(frozen=True)
class AttackFigure(Figure[UnderAttack]):
    """A figure of the paper.

    Attributes:
        name: figure3, figure4 or figure6.
        plots: its panels.
        certified: (defence, colour): whose certified accuracy is drawn beneath.
    """

    name: str
    plots: list[Plot]
    certified: list[tuple[Defence, int]]

    @property
    def recipes(self) -> list[Attacked]:
        """All records of attacks that it is made of."""
        return [recipe for plot in self.plots for _, recipes, _, _ in plot.curves for recipe in recipes]

    def compute(self, records: Path) -> UnderAttack:
        """Return the panels from the records there are."""
        panels: list[Panel] = []
        missing: dict[str, Missing] = {}
        sources: dict[str, Any] = {}
        for plot in self.plots:
            curves: list[RobustCurve] = []
            attacked: dict[Defence, AttackRecord] = {}
            for title, recipes, colour, dashed in plot.curves:
                worst, found, gone = find_worst(recipes, records)
                missing |= {each.command: each for each in gone}
                sources |= {str(record.path): record for record in found}
                if worst is None:
                    continue
                name = f"{title} ({worst.images}" + (f", {len(found)} of {len(recipes)} attacks)" if gone else ")")
                curves.append(RobustCurve(name, worst.sizes, worst.robust, worst.low, worst.high, colour, dashed))
                attacked.setdefault(recipes[0].defence, found[0])
            areas = []
            for defence, colour in self.certified:
                if defence.data == plot.data:
                    area = _certified(defence, colour, attacked.get(defence), records)
                    if isinstance(area, CertifiedCurve):
                        areas.append(area)
                    elif area is not None:
                        missing[area.command] = area
            panels += [Panel(plot.title, plot.norm, curves, areas)] if curves else []
        return UnderAttack(panels=panels, missing=list(missing.values()), sources=sources)

    def files(self, found: UnderAttack) -> dict[str, bytes]:
        """Draw the panels side by side, as the paper does; more than two of them below each other, two by two."""
        numbers = [
            {"panel": panel.title, "curve": curve.name, **curve.plain()}
            for panel in found.panels
            for curve in panel.curves
        ]
        return drawn(self.name, draw_robustness(found.panels), numbers) if found.panels else {}

    def tables(self, found: UnderAttack) -> list[Table]:
        """Return a table for each panel."""
        return [
            Table(
                f"{self.name}: {panel.title}, still right",
                ["attack (images)", *(f"{size:g}" for size in panel.curves[0].sizes)],
                [[curve.name, *(f"{100 * share:.1f}" for share in curve.robust)] for curve in panel.curves],
            )
            for panel in found.panels
        ]


def _certified(
    defence: Defence, colour: int, attack: AttackRecord | None, records: Path
) -> CertifiedCurve | Missing | None:
    """Return what is certified of a defence for the images of an attack on it; None where nothing of it is drawn."""
    run, why = records / defence.name, NOT_THERE if attack is None else f"{NOT_THERE}, or not of what is attacked"
    if attack is None and (run / Record.configuration).exists():
        return None
    try:
        sizes = np.linspace(0.0, max(attack.settings.sizes), 301) if attack else None
        accuracy = certified_beside(run, attack, sizes) if attack else None
        if attack and sizes is not None and accuracy is not None:
            images = str(len(attack.read_verdicts())) + (", in another engine" if other_engine(run, attack) else "")
            return CertifiedCurve(f"{defence.title} ({images})", sizes, accuracy, colour)
    except NoiseproofError as error:
        why = str(error)
    command = ("noiseproof", "certify", str(run), *defence.options, "--every", "10")
    return Missing("what is certified", why, (Step(command, run, (60.0, "an H100")),))


def _figure3(norm: NormLike) -> list[Curve]:
    defences = (STN_07, TRADES, MADRY, NATURAL)
    white = [(f"{one.title}, white-box", white_box(one, norm), colour, False) for colour, one in enumerate(defences)]
    black = [
        (f"{one.title}, from Madry's", transferred(one, MADRY, norm), colour, True)
        for colour, one in enumerate(defences)
        if one is not MADRY
    ]
    return white + black


def _released(norm: NormLike) -> list[Curve]:
    return [(f"{RELEASED.title}, white-box", white_box(RELEASED, norm), 0, False)]


def _figure4(norm: NormLike) -> list[Curve]:
    defences = ((3, NATURAL), (4, STN_05), (0, STN_07))
    return [(one.title, white_box(one, norm), colour, False) for colour, one in defences]


def _figure6(norm: NormLike) -> list[Curve]:
    slow: list[Curve] = [("HopSkipJump", (Attacked(STN_07, HopSkipJump(), norm, every=FEW),), 4, True)]
    if norm == "l2":
        slow.insert(0, ("Boundary", (Attacked(STN_07, BoundaryAttack(), norm, every=FEW),), 2, True))
        slow.insert(0, ("Carlini-Wagner", (Attacked(STN_07, CarliniWagner(), norm, every=FEW),), 1, False))
    return [
        ("PGD, two losses", white_box(STN_07, norm), 0, False),
        *slow,
        ("from Madry's model", transferred(STN_07, MADRY, norm), 5, True),
        ("from the undefended model", transferred(STN_07, NATURAL, norm), 3, True),
        ("random search", (Attacked(STN_07, RandomSearch(), norm),), 6, True),
    ]


def _plots(data: str, curves: Callable[[NormLike], list[Curve]]) -> list[Plot]:
    norms = (Norm.L2, Norm.LINF)
    return [Plot(data, norm, curves(norm)) for norm in norms]


FIGURE3 = AttackFigure(
    "figure3", [*_plots("mnist", _figure3), *_plots("cifar10", _released)], [(STN_07, 0), (RELEASED, 0)]
)
FIGURE4 = AttackFigure("figure4", _plots("mnist", _figure4), [(STN_05, 4), (STN_07, 0)])
FIGURE6 = AttackFigure("figure6", _plots("mnist", _figure6), [(STN_07, 0)])
