"""Figure 1 of the paper: accuracy lower bounds against the l2 radius, on MNIST and, where there are networks, CIFAR-10.

STN at several sigma; without stability training (Gaussian augmentation); PixelDP, its certificate with the best (e, delta)
for each image on the votes of STN; TRADES under PGD, which is empirical and so no lower bound. Twice on the same votes:

    left    by the paper's procedure done right: Bonferroni, alpha .05, Rényi, what is certified times 95 %
    right   ours: two-phase, alpha .001, tight, what is certified less what chance may have certified (95 % confidence)

A line is the mean over the seeds of training, its band reaches from the least to the largest of them. The paper's own
curves are pictures and are not copied: its printed numbers are drawn as crosses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure as Drawing

from noiseproof.certificates import Certificate, PixelDP
from noiseproof.experiments.attack_figures import TRADES, white_box
from noiseproof.experiments.attacked import find_worst
from noiseproof.experiments.figure import Figure, Result, Table, drawn
from noiseproof.experiments.networks import CIFAR_SIGMA, Network
from noiseproof.experiments.readings import PAPERS_ALPHA, allowance, ours, papers
from noiseproof.experiments.recipes import Reader
from noiseproof.experiments.votes import ALPHA, Run, find_runs
from noiseproof.numerics.decimals import percent_down, round_down
from noiseproof.reports.analysis import PAPER, TIGHT, largest_radius
from noiseproof.reports.bands import BoundCurve, BoundPanel, Spread, draw_bounds
from noiseproof.reports.robustness import RobustCurve

__all__ = ["FIGURE1", "PRINTED", "PROCEDURES", "TABLE_RADII", "Figure1", "draw", "lines"]

TABLE_RADII = {"mnist": np.array([0.0, 0.5, 1.0, 1.4, 1.58]), "cifar10": np.array([0.0, 36 / 255, 0.25, 0.5, 1.0])}
"""Where the curves are given as numbers."""

PRINTED = {
    "mnist": [(1.4, 0.51, "section 6.1, sigma 0.7"), (1.58, 0.69, "Table 1")],
    "cifar10": [(36 / 255, 0.656, "Table 1")],
}
"""(radius, share, where) of the lower bounds of STN that the paper prints as numbers."""

_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
PROCEDURES = {
    "papers": "the paper's procedure: Bonferroni, Rényi, α .05, × 95 %",
    "ours": "ours: two-phase, tight, α .001, lower bound at 95 %",
}
"""What the curves are computed by; for PixelDP with its certificate."""

_POINTS = 401

Grid = Float[np.ndarray, " points"]


@dataclass(frozen=True)
class _Wanted:
    """A curve of the figure: whose votes, how it looks, and whether PixelDP reads them too."""

    network: Network
    colour: int
    dashed: bool = False
    pixeldp: bool = False


_CURVES = (
    _Wanted(Network("mnist", "stn", 0.5), 5),
    _Wanted(Network("mnist", "stn", 0.7, (0, 1, 2)), 0, pixeldp=True),
    _Wanted(Network("mnist", "stn", 1.0), 2),
    _Wanted(Network("mnist", "gaussian", 0.5), 5, dashed=True),
    _Wanted(Network("mnist", "gaussian", 0.7, (0, 1, 2)), 0, dashed=True),
    _Wanted(Network("cifar10", "stn", CIFAR_SIGMA), 0, pixeldp=True),
    _Wanted(Network("cifar10", "released", CIFAR_SIGMA), 2),
    _Wanted(Network("cifar10", "gaussian", CIFAR_SIGMA), 0, dashed=True),
)
_PIXELDP_COLOUR, _TRADES_COLOUR = 1, 3


@dataclass(frozen=True, kw_only=True)
class Figure1(Result):
    """The figure.

    Attributes:
        curves: lower bounds.
        attacked: TRADES under PGD, or None.
    """

    curves: list[BoundCurve]
    attacked: RobustCurve | None


class _Figure1(Figure[Figure1]):
    name = "figure1"

    def compute(self, records: Path) -> Figure1:
        reader = Reader(records)
        read = [(wanted, runs) for wanted in _CURVES if (runs := find_runs(wanted.network, reader))]
        curves = []
        for wanted, runs in read:
            data, name = wanted.network.data, wanted.network.title
            radii = np.linspace(0.0, _widest([each for other, each in read if other.network.data == data]), _POINTS)
            curves.append(_curve(name, runs, radii, wanted.colour, "--" if wanted.dashed else "-"))
            if wanted.pixeldp:
                name = f"PixelDP's certificate, votes of {name}"
                curves.append(_curve(name, runs, radii, _PIXELDP_COLOUR, ":", certificate=PixelDP()))
        recipes = [recipe for recipe in white_box(TRADES, "l2") if recipe.name == "pgd"]
        worst, found = find_worst(recipes, reader)
        attacked = None
        if worst is not None and len(found) == len(recipes):
            name = f"{TRADES.title} under PGD, empirical ({worst.images} images)"
            attacked = RobustCurve.of(name, worst, _TRADES_COLOUR, dashed=True)
        return Figure1(curves=curves, attacked=attacked, missing=reader.missing, sources=reader.sources)

    def files(self, found: Figure1) -> dict[str, bytes]:
        if not found.curves and found.attacked is None:
            return {}
        return drawn(self.name, draw(found), _numbers(found))

    def tables(self, found: Figure1) -> list[Table]:
        tables = []
        for data in dict.fromkeys(curve.data for curve in found.curves):
            headings = ["radius", *(round_down(radius, None) for radius in TABLE_RADII[data])]
            for key, procedure in {**PROCEDURES, "printed": "as printed"}.items():
                rows = [[name, *texts] for own, name, texts in lines(found, data) if own == key]
                tables.append(Table(f"figure1, {data}, lower bounds (%); {procedure}", headings, rows))
        return tables


FIGURE1 = _Figure1()


def _widest(read: list[list[Run]]) -> float:
    """Return a little more than the longest radius that unanimous votes give under either procedure."""
    procedures = ((PAPER, PAPERS_ALPHA), (TIGHT, ALPHA))
    return 1.02 * max(largest_radius(runs[0].record, way, alpha) for runs in read for way, alpha in procedures)


def _curve(name: str, runs: list[Run], radii: Grid, colour: int, style: str, **how: Certificate) -> BoundCurve:
    network, images, count = runs[0].network, len(runs[0].votes), len(radii)
    every = np.concatenate([radii, TABLE_RADII[network.data]])
    mine = (ours(runs, every, **how).values - allowance(images, len(runs))).clip(min=0.0)
    found = {"papers": papers(runs, every, **how).values, "ours": mine}
    seeds = tuple(run.seed for run in runs if network.has_seed)
    bounds = {key: Spread(values[:, :count]) for key, values in found.items()}
    table = {key: Spread(values[:, count:]) for key, values in found.items()}
    votes = runs[0].record.settings.samples
    return BoundCurve(name, network.data, seeds, images, votes, radii, bounds, table, colour, style)


def draw(result: Figure1) -> Drawing:
    """Draw a row of two panels for each data set that has a curve."""
    data = [name for name in _TITLES if any(curve.data == name for curve in result.curves)] or ["mnist"]
    panels = [
        BoundPanel(
            _TITLES[name],
            [curve for curve in result.curves if curve.data == name],
            result.attacked if name == "mnist" else None,
            PRINTED[name],
        )
        for name in data
    ]
    return draw_bounds(panels, PROCEDURES)


def lines(result: Figure1, data: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the numbers of a data set's curves: procedure, name, and the text at each of `TABLE_RADII`."""
    for key in PROCEDURES:
        for curve in (each for each in result.curves if each.data == data):
            spread = curve.table[key]
            several = f", {len(curve.seeds)} seeds" if len(curve.seeds) > 1 else ""
            texts = []
            for mean, least, most in zip(spread.mean, spread.least, spread.most, strict=True):
                band = f" [{percent_down(least, '')} to {percent_down(most, '')}]" if several else ""
                texts.append(percent_down(mean, "") + band)
            yield key, f"{curve.name}{several}", texts
    known = {radius: share for radius, share, _ in PRINTED[data]}
    yield "printed", "STN", [f"{100 * known[r]:.1f}" if r in known else "" for r in TABLE_RADII[data].tolist()]


def _numbers(result: Figure1) -> dict[str, Any]:
    """Return the numbers at `TABLE_RADII` as plain data."""
    curves = [
        {
            "curve": curve.name,
            "data": curve.data,
            "seeds": curve.seeds,
            "images": curve.images,
            "votes": curve.votes,
            "radii": TABLE_RADII[curve.data].tolist(),
            **{key: curve.table[key].plain() for key in PROCEDURES},
        }
        for curve in result.curves
    ]
    return {
        "curves": curves,
        "procedures": PROCEDURES,
        "band": "least to largest of the seeds",
        "TRADES under PGD": "missing" if result.attacked is None else result.attacked.plain(),
        "printed": PRINTED,
        "missing": [each.plain() for each in result.missing],
    }
