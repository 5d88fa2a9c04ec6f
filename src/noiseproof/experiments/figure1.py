"""Figure 1 of the paper: accuracy lower bounds against the l2 radius, on MNIST and, where there are networks, CIFAR-10.

STN at several sigma; without stability training (Gaussian augmentation); PixelDP, its certificate with the best (e, delta)
for each image on the votes of STN; TRADES under PGD, which is empirical and so no lower bound. Twice on the same votes:

    left    by the paper's procedure done right: Bonferroni, alpha .05, Rényi, what is certified times 95 %
    right   ours: two-phase, alpha .001, tight, what is certified less what chance may have certified (95 % confidence)

A line is the mean over the seeds of training, its band reaches from the least to the largest of them. The paper's own
curves are pictures and are not copied: its printed numbers are drawn as crosses.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from noiseproof.certificates import PixelDP
from noiseproof.errors import NoiseproofError
from noiseproof.experiments.attacked import TRADES, white_box
from noiseproof.experiments.procedures import ALPHA, PAPERS_ALPHA, Spread, allowance, ours, papers
from noiseproof.experiments.runs import CIFAR_SIGMA, Missing, Network, Run, read_runs
from noiseproof.reports.analysis import PAPER, TIGHT, largest_radius, percent_down
from noiseproof.reports.attacked import worst_case
from noiseproof.reports.curves import COLOURS, figure_png, figure_svg
from noiseproof.reports.robustness import RobustCurve
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.storage.files import write_atomically

__all__ = ["PRINTED", "PROCEDURES", "TABLE_RADII", "BoundCurve", "Figure1", "compute", "draw", "lines", "write"]

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


@dataclass(frozen=True)
class BoundCurve:
    """Accuracy lower bounds of one defence.

    Attributes:
        name: for the legend.
        data: the data set.
        seeds: of training.
        images: N.
        votes: n per image.
        radii: of the curve.
        papers: 95 % of what the paper's procedure certifies, at `radii`.
        ours: what ours certifies less its allowance, at `radii`; never below 0.
        at_papers: the first of the two at `TABLE_RADII`.
        at_ours: the second.
        colour: one for each sigma.
        style: of the line.
    """

    name: str
    data: str
    seeds: tuple[int, ...]
    images: int
    votes: int
    radii: Grid
    papers: Spread
    ours: Spread
    at_papers: Spread
    at_ours: Spread
    colour: int
    style: str


@dataclass(frozen=True)
class Figure1:
    """The figure.

    Attributes:
        curves: lower bounds.
        attacked: TRADES under PGD, or None.
        missing: what would complete it.
        sources: the records that were read, by the name of their folder.
    """

    curves: list[BoundCurve]
    attacked: RobustCurve | None
    missing: list[Missing]
    sources: dict[str, Run | AttackRecord] = field(default_factory=dict)


def compute(records: Path) -> Figure1:
    """Return the figure from the records there are."""
    figure = Figure1([], None, [])
    read: list[tuple[_Wanted, list[Run]]] = []
    for wanted in _CURVES:
        runs, missing = read_runs(wanted.network, records)
        figure.missing.extend(missing)
        figure.sources.update({str(run.record.path): run for run in runs})
        read += [(wanted, runs)] if runs else []
    for wanted, runs in read:
        data = wanted.network.data
        radii = np.linspace(0.0, _widest([each for other, each in read if other.network.data == data]), _POINTS)
        style = "--" if wanted.dashed else "-"
        figure.curves.append(_curve(wanted.network.title, runs, radii, wanted.colour, style, {}))
        if wanted.pixeldp:
            name = f"PixelDP's certificate, votes of {wanted.network.title}"
            figure.curves.append(_curve(name, runs, radii, _PIXELDP_COLOUR, ":", {"certificate": PixelDP()}))
    attacked = _attacked(figure, records)
    return Figure1(figure.curves, attacked, figure.missing, figure.sources)


def _widest(read: list[list[Run]]) -> float:
    """Return a little more than the longest radius that unanimous votes give under either procedure."""
    procedures = ((PAPER, PAPERS_ALPHA), (TIGHT, ALPHA))
    return 1.02 * max(largest_radius(runs[0].record, way, alpha) for runs in read for way, alpha in procedures)


def _curve(name: str, runs: list[Run], radii: Grid, colour: int, style: str, how: dict[str, Any]) -> BoundCurve:
    network, images = runs[0].network, len(runs[0].votes)
    every = np.concatenate([radii, TABLE_RADII[network.data]])
    theirs = papers(runs, every, **how).values
    mine = (ours(runs, every, **how).values - allowance(images, len(runs))).clip(min=0.0)
    return BoundCurve(
        name=name,
        data=network.data,
        seeds=network.known(runs),
        images=images,
        votes=runs[0].record.settings.samples,
        radii=radii,
        papers=Spread(theirs[:, : len(radii)]),
        ours=Spread(mine[:, : len(radii)]),
        at_papers=Spread(theirs[:, len(radii) :]),
        at_ours=Spread(mine[:, len(radii) :]),
        colour=colour,
        style=style,
    )


def _attacked(figure: Figure1, records: Path) -> RobustCurve | None:
    """Return TRADES under PGD with each of its losses, the worst of each image, or say in the figure what is missing."""
    cells = [cell for cell in white_box(TRADES, "l2") if cell.attack == "pgd"]
    found = []
    for cell in cells:
        what, path = f"{TRADES.title} under PGD, mnist", records / cell.folder
        try:
            record = cell.read(records)
        except NoiseproofError as error:
            figure.missing.append(Missing(what, str(error), cell.command(records)))
            continue
        if record is None:
            there = (path / AttackRecord.configuration).exists()
            why = "not all of it is there" if there else "not there"
            figure.missing.append(Missing(what, why, cell.command(records)))
        else:
            found.append(record)
    if len(found) < len(cells):
        return None
    try:
        worst = worst_case(found)
    except NoiseproofError as error:
        figure.missing.append(Missing(f"{TRADES.title} under PGD, mnist", str(error), cells[-1].command(records)))
        return None
    figure.sources.update({str(record.path): record for record in found})
    name = f"{TRADES.title} under PGD, empirical ({worst.images} images)"
    return RobustCurve(name, worst.sizes, worst.robust, worst.low, worst.high, _TRADES_COLOUR, dashed=True)


def draw(result: Figure1) -> Figure:
    """Draw a row of two panels for each data set that has a curve."""
    data = [name for name in _TITLES if any(curve.data == name for curve in result.curves)] or ["mnist"]
    figure = Figure(figsize=(12.8, 5.6 * len(data)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subfigures(len(data), 1, squeeze=False)[:, 0]
    for name, row in zip(data, rows, strict=True):
        panels = row.subplots(1, 2, sharey=True)
        for key, axes in zip(PROCEDURES, panels, strict=True):
            _draw_panel(axes, result, name, key)
        panels[0].set_ylabel("accuracy, as each procedure states it (%)")
        handles, labels = panels[0].get_legend_handles_labels()
        row.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw_panel(axes: Axes, result: Figure1, data: str, key: str) -> None:
    curves = [curve for curve in result.curves if curve.data == data]
    for curve in curves:
        spread: Spread = getattr(curve, key)
        colour = COLOURS[curve.colour]
        seeds = {0: "seed not told", 1: "1 seed"}.get(len(curve.seeds), f"{len(curve.seeds)} seeds")
        end = min(int((spread.most > 0.0).sum()) + 1, len(curve.radii))  # down to 0, and no further
        axes.step(
            curve.radii[:end],
            100 * spread.mean[:end],
            where="pre",
            color=colour,
            linestyle=curve.style,
            linewidth=2 if curve.style == "-" else 1.6,
            label=f"{curve.name} ({seeds}, {curve.votes} votes)",
        )
        if len(curve.seeds) > 1:
            band = (100 * spread.least[:end], 100 * spread.most[:end])
            axes.fill_between(curve.radii[:end], *band, step="pre", color=colour, alpha=0.18, linewidth=0)
    if data == "mnist" and result.attacked is not None:
        attacked, colour = result.attacked, COLOURS[result.attacked.colour]
        axes.fill_between(
            attacked.sizes, 100 * attacked.low, 100 * attacked.high, color=colour, alpha=0.12, linewidth=0
        )
        axes.plot(
            attacked.sizes, 100 * attacked.robust, color=colour, linestyle="-.", marker="o", ms=3.5, label=attacked.name
        )
    for number, (radius, share, where) in enumerate(PRINTED[data]):
        label = "printed in the paper, of STN" if number == 0 else None
        axes.plot(radius, 100 * share, "x", color="black", markersize=8, markeredgewidth=2, linestyle="", label=label)
        halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.5}
        axes.annotate(where, (radius, 100 * share), (8, 4), textcoords="offset points", fontsize=8, bbox=halo)
    axes.set_title(f"{_TITLES[data]}: {PROCEDURES[key]}", fontsize=10.5)
    axes.set(xlabel="ℓ2 radius (pixels in [0, 1])", ylim=(0, 100))
    axes.set_xlim(0, max((float(curve.radii[-1]) for curve in curves), default=3.0))
    axes.grid(visible=True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def lines(result: Figure1, data: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the numbers of a data set's curves: procedure, name, and the text at each of `TABLE_RADII`."""
    curves = [curve for curve in result.curves if curve.data == data]
    for key in PROCEDURES:
        for curve in curves:
            spread: Spread = getattr(curve, f"at_{key}")
            several = f", {len(curve.seeds)} seeds" if len(curve.seeds) > 1 else ""
            texts = []
            for mean, least, most in zip(spread.mean, spread.least, spread.most, strict=True):
                band = f" [{percent_down(least, '')} to {percent_down(most, '')}]" if several else ""
                texts.append(percent_down(mean, "") + band)
            yield key, f"{curve.name}{several}", texts
    printed = [f"{100 * share:.1f}" if share else "" for share in _printed_at(data)]
    yield "printed", "STN", printed


def _printed_at(data: str) -> list[float]:
    known = {radius: share for radius, share, _ in PRINTED[data]}
    return [known.get(float(radius), 0.0) for radius in TABLE_RADII[data]]


def write(result: Figure1, folder: Path) -> list[Path]:
    """Write figure1.png, figure1.svg and figure1.json, the numbers at `TABLE_RADII`, and return their paths."""
    figure = draw(result)
    curves = [
        {
            "curve": curve.name,
            "data": curve.data,
            "seeds": curve.seeds,
            "images": curve.images,
            "votes": curve.votes,
            "radii": TABLE_RADII[curve.data].tolist(),
            **{key: _plain(getattr(curve, f"at_{key}")) for key in PROCEDURES},
        }
        for curve in result.curves
    ]
    attacked = result.attacked
    plain = attacked and {key: getattr(attacked, key).round(6).tolist() for key in ("sizes", "robust", "low", "high")}
    content = {
        "curves": curves,
        "procedures": PROCEDURES,
        "band": "least to largest of the seeds",
        "TRADES under PGD": plain or "missing",
        "printed": PRINTED,
        "missing": [asdict(each) for each in result.missing],
    }
    files = {
        "figure1.png": figure_png(figure),
        "figure1.svg": figure_svg(figure).encode(),
        "figure1.json": json.dumps(content, indent=1).encode(),
    }
    for name, data in files.items():
        write_atomically(folder / name, data)
    return [folder / name for name in files]


def _plain(spread: Spread) -> dict[str, list[float]]:
    return {key: getattr(spread, key).round(6).tolist() for key in ("mean", "least", "most")}
