"""Figures 3, 4 and 6 of the paper: accuracy under attack, from records, with what is certified drawn beneath.

Figure 3   defences against white-box attacks (lines) and attacks transferred from Madry's model (dashed); of CIFAR-10 the
           network that the paper's authors released, white-box
Figure 4   stability training at several sigma, 0 among them
Figure 6   one defence against white-box, transferred and gradient-free attacks

Every curve is the worst case of the records of one or several attacks, see `attacked`. A missing or unfinished one is named
with its command; the curve of the others says that it is theirs alone ("1 of 2 attacks"), since what fewer attacks leave may
be too much.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from noiseproof.errors import NoiseproofError
from noiseproof.experiments.attacked import (
    FEW,
    MADRY,
    NATURAL,
    NOT_THERE,
    RELEASED,
    STN_05,
    STN_07,
    TRADES,
    Cell,
    Defender,
    transferred,
    white_box,
)
from noiseproof.experiments.runs import Missing
from noiseproof.reports.attacked import certified_beside, other_engine, worst_case
from noiseproof.reports.curves import figure_png, figure_svg
from noiseproof.reports.robustness import CertifiedCurve, Panel, RobustCurve, draw_robustness
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.records import Record
from noiseproof.storage.files import write_atomically

__all__ = ["FIGURES", "AttackFigure", "Curve", "Plot", "compute", "draw", "write"]
_DATA_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
_NORM_TITLES = {"l2": "ℓ2", "linf": "ℓ∞"}

Curve = tuple[str, tuple[Cell, ...], int, bool]
"""Title, records whose worst case it is, colour, dashed."""


@dataclass(frozen=True)
class Plot:
    """A panel of a figure, as it is planned.

    Attributes:
        data: the data set.
        norm: of the attacks.
        curves: that it has where their records are there.
    """

    data: str
    norm: str
    curves: list[Curve]

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"{_DATA_TITLES.get(self.data, self.data)} ({_NORM_TITLES[self.norm]})"


@dataclass(frozen=True)
class AttackFigure:
    """A figure of the paper.

    Attributes:
        name: figure3, figure4 or figure6.
        plots: its panels.
        certified: (defender, colour): whose certified accuracy is drawn beneath.
    """

    name: str
    plots: list[Plot]
    certified: list[tuple[Defender, int]]

    @property
    def cells(self) -> list[Cell]:
        """All records that it is made of."""
        return [cell for plot in self.plots for _, cells, _, _ in plot.curves for cell in cells]


def _figure3(norm: str) -> list[Curve]:
    defenders = (STN_07, TRADES, MADRY, NATURAL)
    white = [(f"{one.title}, white-box", white_box(one, norm), colour, False) for colour, one in enumerate(defenders)]
    black = [
        (f"{one.title}, from Madry's", transferred(one, MADRY, norm), colour, True)
        for colour, one in enumerate(defenders)
        if one is not MADRY
    ]
    return white + black


def _figure4(norm: str) -> list[Curve]:
    return [
        (one.title, white_box(one, norm), colour, False) for colour, one in ((3, NATURAL), (4, STN_05), (0, STN_07))
    ]


def _figure6(norm: str) -> list[Curve]:
    decisions: list[Curve] = [("HopSkipJump", (Cell(STN_07, "hop-skip-jump", norm, every=FEW),), 4, True)]
    if norm == "l2":
        decisions.insert(0, ("Boundary", (Cell(STN_07, "boundary", norm, every=FEW),), 2, True))
        decisions.insert(0, ("Carlini-Wagner", (Cell(STN_07, "carlini-wagner", norm, every=FEW),), 1, False))
    return [
        ("PGD, two losses", white_box(STN_07, norm), 0, False),
        *decisions,
        ("from Madry's model", transferred(STN_07, MADRY, norm), 5, True),
        ("from the undefended model", transferred(STN_07, NATURAL, norm), 3, True),
        ("random search", (Cell(STN_07, "random", norm),), 6, True),
    ]


_NORMS = ("l2", "linf")


def _plots(data: str, curves: Callable[[str], list[Curve]]) -> list[Plot]:
    return [Plot(data, norm, curves(norm)) for norm in _NORMS]


def _released(norm: str) -> list[Curve]:
    return [(f"{RELEASED.title}, white-box", white_box(RELEASED, norm), 0, False)]


FIGURES = {
    "figure3": AttackFigure(
        "figure3", [*_plots("mnist", _figure3), *_plots("cifar10", _released)], [(STN_07, 0), (RELEASED, 0)]
    ),
    "figure4": AttackFigure("figure4", _plots("mnist", _figure4), [(STN_05, 4), (STN_07, 0)]),
    "figure6": AttackFigure("figure6", _plots("mnist", _figure6), [(STN_07, 0)]),
}
"""The figures by name."""


def compute(figure: AttackFigure, records: Path) -> tuple[list[Panel], list[Missing]]:
    """Return the panels of a figure from the records there are, and what is missing, with the commands that make it.

    A record that is damaged, unfinished or of another attack than its folder says is missing, and spoils no other curve.
    """
    panels: list[Panel] = []
    missing: dict[str, Missing] = {}
    for plot in figure.plots:
        drawn: list[RobustCurve] = []
        attacked: dict[Defender, AttackRecord] = {}
        for title, cells, colour, dashed in plot.curves:
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
            if defender.data != plot.data:
                continue
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
            panels.append(Panel(plot.title, plot.norm, drawn, areas))
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
    """Draw the panels side by side, as the paper does; more than two of them below each other, two by two."""
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
