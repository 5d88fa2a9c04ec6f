"""Figure 1 of the paper (section 6.1): accuracy lower bounds against the l2 radius, on MNIST and CIFAR-10.

STN at several sigma; Gaussian augmentation, which is STN without the stability term; PixelDP's certificate, with the best
(e, delta) for each image, on the votes of STN; and TRADES under PGD, which is empirical and no lower bound. The same votes
are evaluated by two procedures:

    left    the paper's done right: Bonferroni at alpha .05, Rényi (Lemma 1), certified accuracy times 95 %
    right   ours: two-phase at alpha .001, Neyman-Pearson, certified accuracy minus `allowance` (95 % confidence)

A line is the mean over training seeds, its band reaches from the least to the largest. The paper's curves are pictures and
are not copied: the numbers it prints are drawn as crosses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure as Drawing

from noiseproof.certificates import Certificate, PixelDP
from noiseproof.experiments.attack_figures import white_box
from noiseproof.experiments.attacked import find_worst
from noiseproof.experiments.figure import Figure, Result
from noiseproof.experiments.gain import RADII
from noiseproof.experiments.networks import CIFAR_SIGMA, TITLES, Network
from noiseproof.experiments.readings import PAPERS_ALPHA, allowance, ours, papers
from noiseproof.experiments.recipes import Reader
from noiseproof.experiments.votes import ALPHA, Run, find_runs, known_seeds
from noiseproof.reports.analysis import PAPER, TIGHT, largest_radius
from noiseproof.reports.bands import BoundCurve, BoundPanel, draw_bounds
from noiseproof.reports.robustness import RobustCurve
from noiseproof.reports.tables import Table

__all__ = ["FIGURE1", "PRINTED", "PROCEDURES", "TABLE_RADII", "Panels"]

TABLE_RADII = {data: np.array(radii) for data, radii in RADII.items()}
"""Radii at which the curves are tabulated."""

PRINTED = {
    "mnist": [(1.4, 0.51, "section 6.1, sigma 0.7"), (1.58, 0.69, "Table 1")],
    "cifar10": [(36 / 255, 0.656, "Table 1")],
}
"""(radius, share, place in the paper) of the lower bounds of STN that are printed as numbers."""

PROCEDURES = {
    "papers": "the paper's procedure: Bonferroni, Rényi, α .05, × 95 %",
    "ours": "ours: two-phase, tight, α .001, lower bound at 95 %",
}
"""The two procedures; PixelDP's certificate takes the place of theirs where a curve says so."""

_POINTS = 401
_TRADES_COLOUR = 3

Grid = Float[np.ndarray, " points"]

Panels = Mapping[str, BoundPanel]
"""By data set, the panels for which there is a record."""


@dataclass(frozen=True)
class _Line:
    """A curve: the network, colour and style, and a certificate in place of those of both procedures."""

    network: Network
    colour: int
    style: str = "-"
    certificate: Certificate | None = None

    def curve(self, runs: Sequence[Run], radii: Grid) -> BoundCurve:
        """Return the lower bounds by both procedures, for every seed."""
        name, data, how = self.network.title, self.network.data, {}
        if self.certificate is not None:
            name, how = f"PixelDP's certificate, votes of {name}", {"certificate": self.certificate}
        images, votes, every = len(runs[0].votes), runs[0].record.settings.samples, np.append(radii, TABLE_RADII[data])
        mine = (ours(runs, every, **how) - allowance(images, len(runs))).clip(min=0.0)
        values, at = {"papers": papers(runs, every, **how), "ours": mine}, TABLE_RADII[data]
        return BoundCurve(name, data, known_seeds(runs), images, votes, radii, at, values, self.colour, self.style)


_STN_07 = Network("mnist", "stn", 0.7, (0, 1, 2))
_STN_CIFAR = Network("cifar10", "stn", CIFAR_SIGMA)
_LINES = (
    _Line(Network("mnist", "stn", 0.5), 5),
    _Line(_STN_07, 0),
    _Line(_STN_07, 1, ":", PixelDP()),
    _Line(Network("mnist", "stn", 1.0), 2),
    _Line(Network("mnist", "gaussian", 0.5), 5, "--"),
    _Line(Network("mnist", "gaussian", 0.7, (0, 1, 2)), 0, "--"),
    _Line(_STN_CIFAR, 0),
    _Line(_STN_CIFAR, 1, ":", PixelDP()),
    _Line(Network("cifar10", "stn-short", CIFAR_SIGMA), 0, "-."),
    _Line(Network("cifar10", "stn-tuned", 0.25), 5),
    _Line(Network("cifar10", "stn-tuned", 0.5), 4),
    _Line(Network("cifar10", "released", CIFAR_SIGMA), 2),
    _Line(Network("cifar10", "gaussian", CIFAR_SIGMA), 0, "--"),
    _Line(Network("cifar10", "gaussian-tuned", 0.25), 5, "--"),
)


class _Figure1(Figure[Panels]):
    name = "figure1"
    title = "Figure 1: accuracy lower bounds"

    def read(self, reader: Reader) -> Panels:
        networks = dict.fromkeys(line.network for line in _LINES)
        read = {network: runs for network in networks if (runs := find_runs(network, reader))}
        panels = {}
        for data, title in TITLES.items():
            radii = np.linspace(0.0, _widest([runs[0] for one, runs in read.items() if one.data == data]), _POINTS)
            lines = (line for line in _LINES if line.network in read and line.network.data == data)
            curves = [line.curve(read[line.network], radii) for line in lines]
            panel = BoundPanel(title, curves, _trades(data, reader), PRINTED[data])
            if panel.curves or panel.attacked is not None:
                panels[data] = panel
        return panels

    def draw(self, content: Panels) -> Drawing:
        return draw_bounds(list(content.values()), PROCEDURES)

    def numbers(self, found: Result[Panels]) -> dict[str, Any] | None:
        if not (panels := found.content):
            return None
        curves = [curve.plain() for panel in panels.values() for curve in panel.curves]
        trades = {data: panel.attacked.plain() for data, panel in panels.items() if panel.attacked is not None}
        return {
            "curves": curves,
            "procedures": PROCEDURES,
            "band": "least to largest of the seeds",
            "TRADES under PGD": trades or "missing",
            "printed": PRINTED,
            "missing": [each.plain() for each in found.missing],
        }

    def tables(self, content: Panels) -> list[Table]:
        return [each for data in content for each in content[data].tables(f"figure1, {data}", PROCEDURES)]


FIGURE1 = _Figure1()


def _trades(data: str, reader: Reader) -> RobustCurve | None:
    """Return the accuracy of TRADES under PGD on both losses; None unless there are records of both."""
    trades = Network(data, "trades-linf")
    recipes = [recipe for recipe in white_box(trades, "l2") if recipe.name == "pgd"]
    worst, found = find_worst(recipes, reader)
    if worst is None or len(found) < len(recipes):
        return None
    name = f"{trades.title} under PGD, empirical ({worst.images} images)"
    return RobustCurve.of(name, worst, _TRADES_COLOUR, dashed=True)


def _widest(runs: Sequence[Run]) -> float:
    """Return slightly more than the largest radius of unanimous votes under either procedure."""
    procedures = ((PAPER, PAPERS_ALPHA), (TIGHT, ALPHA))
    longest = (largest_radius(run.record, way, alpha) for run in runs for way, alpha in procedures)
    return 1.02 * max(longest, default=0.0)
