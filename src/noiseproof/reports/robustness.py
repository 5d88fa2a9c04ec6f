"""Accuracy under attack against attack size, with certified accuracy drawn beneath it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from noiseproof.evaluation.robust_accuracy import RobustSummary
from noiseproof.numerics.decimals import percent_up, round_down
from noiseproof.perturbations.norms import Norm
from noiseproof.reports.figures import COLOURS, legend_under, new_figure, tidy
from noiseproof.reports.tables import Table, per_cent

__all__ = ["CertifiedCurve", "Panel", "RobustCurve", "draw_robustness"]

_HATCHES = ("///", "\\\\\\", "...")
"""Hatches of certified areas, by colour; intervals are filled, so that both are visible where they overlap."""


@dataclass(frozen=True)
class RobustCurve:
    """Accuracy of one classifier under one attack, or the worst of several.

    Attributes:
        name: for the legend.
        sizes: of the attack, ascending from 0.
        robust: share of images still classified rightly at each size.
        low: lower end of its confidence interval.
        high: upper end.
        colour: the same for all curves of one classifier.
        dashed: for transfer and attacks without gradients.
    """

    name: str
    sizes: Float[np.ndarray, " sizes"]
    robust: Float[np.ndarray, " sizes"]
    low: Float[np.ndarray, " sizes"]
    high: Float[np.ndarray, " sizes"]
    colour: int = 0
    dashed: bool = False

    @staticmethod
    def of(name: str, summary: RobustSummary, colour: int = 0, *, dashed: bool = False) -> "RobustCurve":
        """Return the curve of a summary."""
        return RobustCurve(name, summary.sizes, summary.robust, summary.low, summary.high, colour, dashed)

    def plain(self) -> dict[str, list[float]]:
        """Return the numbers as plain data, in full."""
        return {key: getattr(self, key).tolist() for key in ("sizes", "robust", "low", "high")}


@dataclass(frozen=True)
class CertifiedCurve:
    """Certified accuracy of a classifier.

    Accuracy under attack is at least this, up to the failure probability of the certificates and to abstentions: an image
    near a tie may be certified at 0 and abstain under other votes, and under attack an abstention does not count as
    right.
    """

    name: str
    radii: Float[np.ndarray, " radii"]
    accuracy: Float[np.ndarray, " radii"]
    colour: int = 0


@dataclass(frozen=True)
class Panel:
    """One plot: a norm, its curves, and the certified ones in that norm."""

    title: str
    norm: str
    curves: Sequence[RobustCurve]
    certified: Sequence[CertifiedCurve] = ()

    def plain(self) -> list[dict[str, Any]]:
        """Return its curves as plain data."""
        return [{"panel": self.title, "curve": curve.name, **curve.plain()} for curve in self.curves]

    def table(self, name: str) -> Table:
        """Return the accuracy of every curve at every size, in per cent, rounded up; `name` is that of the figure."""
        headings = ["attack (images)", *(round_down(size, None) for size in self.curves[0].sizes)]
        rows = [[curve.name, *per_cent(curve.robust, percent_up)] for curve in self.curves]
        return Table(f"{name}: {self.title}, still right", headings, rows)


def draw_robustness(panels: Sequence[Panel]) -> Figure:
    """Draw panels side by side, in rows of two: 95 % bands for attacks, hatched areas for what is certified."""
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = new_figure(6.4 * columns, 5.2 * rows)
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        for area in panel.certified:
            axes.fill_between(
                area.radii,
                100 * area.accuracy,
                step="pre",
                facecolor="none",
                edgecolor=COLOURS[area.colour % len(COLOURS)],
                alpha=0.45,
                linewidth=0,
                hatch=_HATCHES[area.colour % len(_HATCHES)],
                label=f"{area.name}: certified",
            )
        for curve in panel.curves:
            _draw(axes, curve)
        if panel.curves:
            axes.fill_between([], [], color="0.5", alpha=0.2, linewidth=0, label="filled: 95 % interval")
        axes.set(
            title=panel.title,
            xlabel=f"{Norm(panel.norm).label} size of the attack (pixels in [0, 1])",
            ylim=(0, 100),
        )
        if number % columns == 0:
            axes.set_ylabel("accuracy (%)")
        axes.set_xlim(0, max(float(curve.sizes[-1]) for curve in panel.curves))
        tidy(axes)
        legend_under(axes)
    return figure


def _draw(axes: Axes, curve: RobustCurve) -> None:
    colour = COLOURS[curve.colour % len(COLOURS)]
    axes.fill_between(curve.sizes, 100 * curve.low, 100 * curve.high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(
        curve.sizes,
        100 * curve.robust,
        color=colour,
        linestyle="--" if curve.dashed else "-",
        marker="s" if curve.dashed else "o",
        markersize=3.5,
        label=curve.name,
    )
