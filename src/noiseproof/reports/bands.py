"""Lower bounds of accuracy against the radius, of several seeds of training each: lines with bands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from noiseproof.numerics.decimals import percent, percent_down, round_down
from noiseproof.reports.figures import COLOURS, new_figure, tidy
from noiseproof.reports.robustness import RobustCurve
from noiseproof.reports.tables import Table, per_cent

__all__ = ["BoundCurve", "BoundPanel", "Printed", "Spread", "draw_bounds"]

Radii = Float[np.ndarray, " radii"]

Printed = Sequence[tuple[float, float, str]]
"""(radius, share, where) of what was printed as numbers."""


@dataclass(frozen=True)
class Spread:
    """A value for each seed at each radius.

    Attributes:
        values: shares of the images.
    """

    values: Float[np.ndarray, "seeds radii"]

    @property
    def mean(self) -> Radii:
        """Mean over the seeds."""
        return np.asarray(self.values.mean(0))

    @property
    def least(self) -> Radii:
        """The least of all seeds."""
        return np.asarray(self.values.min(0))

    @property
    def most(self) -> Radii:
        """The largest of all seeds."""
        return np.asarray(self.values.max(0))

    def plain(self) -> dict[str, list[float]]:
        """Return mean, least and most as plain data, unrounded: rounding a lower bound to nearest may invalidate it."""
        return {key: getattr(self, key).tolist() for key in ("mean", "least", "most")}


@dataclass(frozen=True)
class BoundCurve:
    """Accuracy lower bounds of one defence.

    Attributes:
        name: for the legend.
        data: the data set.
        seeds: of training; none where they are unpublished.
        images: N.
        votes: n per image.
        radii: of the curve.
        at: radii of a table.
        values: by procedure, for each seed at `radii` and then at `at`; never below 0.
        colour: one for each sigma.
        style: of the line.
    """

    name: str
    data: str
    seeds: tuple[int, ...]
    images: int
    votes: int
    radii: Radii
    at: Float[np.ndarray, " table"]
    values: Mapping[str, Float[np.ndarray, "seeds points"]]
    colour: int
    style: str

    @property
    def bounds(self) -> dict[str, Spread]:
        """By procedure, at the radii of the curve."""
        return {key: Spread(values[:, : len(self.radii)]) for key, values in self.values.items()}

    @property
    def table(self) -> dict[str, Spread]:
        """By procedure, at the radii of the table."""
        return {key: Spread(values[:, len(self.radii) :]) for key, values in self.values.items()}

    @property
    def title(self) -> str:
        """The name, with the number of seeds where there are several."""
        return self.name + (f", {len(self.seeds)} seeds" if len(self.seeds) > 1 else "")

    def texts(self, procedure: str) -> list[str]:
        """Return its text at each radius of the table, in per cent: the mean, of several seeds with least and largest."""
        spread = self.table[procedure]
        columns = [per_cent(each, percent_down) for each in (spread.mean, spread.least, spread.most)]
        band = " [{} to {}]" if len(self.seeds) > 1 else ""
        return [mean + band.format(least, most) for mean, least, most in zip(*columns, strict=True)]

    def plain(self) -> dict[str, Any]:
        """Return the numbers of the table as plain data."""
        about = {"curve": self.name, "data": self.data, "seeds": self.seeds, "images": self.images, "votes": self.votes}
        return about | {"radii": self.at.tolist()} | {key: spread.plain() for key, spread in self.table.items()}


@dataclass(frozen=True)
class BoundPanel:
    """The panel of one data set.

    Attributes:
        title: of the data set.
        curves: lower bounds.
        attacked: accuracy under an attack, or None.
        printed: drawn as crosses.
    """

    title: str
    curves: Sequence[BoundCurve]
    attacked: RobustCurve | None
    printed: Printed

    def tables(self, name: str, procedures: Mapping[str, str]) -> list[Table]:
        """Return the lower bounds by each procedure at the radii of the curves' tables, in per cent, and what was printed.

        Args:
            name: of the figure and the data set.
            procedures: by key, with their titles.
        """
        if not self.curves:
            return []
        known = {radius: percent(share).removesuffix(" %") for radius, share, _ in self.printed}
        rows = {title: [[curve.title, *curve.texts(key)] for curve in self.curves] for key, title in procedures.items()}
        rows["as printed"] = [["STN", *(known.get(radius, "") for radius in self.curves[0].at.tolist())]]
        headings = ["radius", *(round_down(radius, None) for radius in self.curves[0].at)]
        return [Table(f"{name}, lower bounds (%); {title}", headings, lines) for title, lines in rows.items()]


def draw_bounds(panels: Sequence[BoundPanel], procedures: Mapping[str, str]) -> Figure:
    """Draw a row for each data set, with a column for each procedure, by key with its title."""
    figure = new_figure(12.8, 5.6 * len(panels))
    rows = figure.subfigures(len(panels), 1, squeeze=False)[:, 0]
    for panel, row in zip(panels, rows, strict=True):
        columns = row.subplots(1, len(procedures), sharey=True)
        for (key, title), axes in zip(procedures.items(), columns, strict=True):
            _draw(axes, panel, key)
            axes.set_title(f"{panel.title}: {title}", fontsize=10.5)
        columns[0].set_ylabel("accuracy, as each procedure states it (%)")
        handles, labels = columns[0].get_legend_handles_labels()
        row.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw(axes: Axes, panel: BoundPanel, procedure: str) -> None:
    """Draw the curves by one procedure, what an attack left, and crosses for what was printed."""
    curves, attacked = panel.curves, panel.attacked
    for curve in curves:
        spread, colour = curve.bounds[procedure], COLOURS[curve.colour]
        seeds = {0: "seed unpublished", 1: "1 seed"}.get(len(curve.seeds), f"{len(curve.seeds)} seeds")
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
    if attacked is not None:
        sizes, colour = attacked.sizes, COLOURS[attacked.colour]
        axes.fill_between(sizes, 100 * attacked.low, 100 * attacked.high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(sizes, 100 * attacked.robust, "-.o", markersize=3.5, color=colour, label=attacked.name)
    for number, (radius, share, where) in enumerate(panel.printed):
        label = "printed in the paper, of STN" if number == 0 else None
        axes.plot(radius, 100 * share, "x", color="black", markersize=8, markeredgewidth=2, linestyle="", label=label)
        halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.5}
        axes.annotate(where, (radius, 100 * share), (8, 4), textcoords="offset points", fontsize=8, bbox=halo)
    axes.set(xlabel="ℓ2 radius (pixels in [0, 1])", ylim=(0, 100))
    axes.set_xlim(0, max((float(curve.radii[-1]) for curve in curves), default=3.0))
    tidy(axes)
