"""Certified accuracy against radius, as a figure; legends and files of all figures."""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from noiseproof.reports.analysis import Analysis
from noiseproof.reports.naming import apart

__all__ = ["COLOURS", "MARKERS", "caption_of", "draw_curves", "figure_png", "figure_svg", "legend_below"]

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
)  # Okabe and Ito: safe for colour-blind eyes
MARKERS = ("", "o", "s", "^")
"""One for each time that all colours are used up."""
_STYLES = ("-", (0, (4, 2)), ":")

_WIDE = 55
"""Letters of the longest name of a legend with two columns, in a figure of 8 inches."""


def draw_curves(analyses: Sequence[Analysis]) -> Figure:
    """Draw every analysis: one colour a model, one line style a procedure, a band down to the valid lower bound."""
    figure = Figure(figsize=(8.0, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, analysis in enumerate(analyses):
        colour = COLOURS[number % len(COLOURS)]
        for curve, style in zip(analysis.curves, _STYLES, strict=False):
            axes.step(
                curve.radii,
                100 * curve.accuracy,
                where="pre",
                color=colour,
                linestyle=style,
                linewidth=2 if style == "-" else 1.4,
                marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
                markevery=40,
                markersize=5,
                label=f"{analysis.name} – {curve.procedure.title}{'' if analysis.complete else ' (incomplete)'}",
            )
        headline = analysis.curves[0]
        axes.fill_between(
            headline.radii,
            100 * (headline.accuracy - headline.summary.allowance).clip(min=0.0),
            100 * headline.accuracy,
            step="pre",
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
    norm = analyses[0].record.noise.norm.label
    axes.set_xlabel(f"{norm} radius of the perturbation (pixels in [0, 1])")
    axes.set_ylabel("certified accuracy (%)")
    axes.set_ylim(0, 100)
    axes.set_xlim(left=0)
    axes.grid(visible=True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    records = [analysis.record for analysis in analyses]
    legend_below(figure, title=caption_of([analysis.data for analysis in analyses], apart(records)))
    return figure


def caption_of(data: Sequence[str], difference: str | None) -> str:
    """Return what a legend says of the data: their name, or that they are not the same."""
    return difference or f"Data: {data[0]}"


def legend_below(figure: Figure, *, title: str | None = None) -> None:
    """Put one legend of all axes below them, where no curve is; the figure grows by its height.

    Args:
        figure: with labelled curves; of one label the first is shown.
        title: above the names.
    """
    shown: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    letters = _WIDE * figure.get_figwidth() / 8.0
    columns = 2 if len(shown) > 1 and max(map(len, shown)) <= letters else 1
    names = [textwrap.fill(name, round(2 * letters)) for name in shown]
    lines = sum(name.count("\n") + 1 for name in names) / columns + (0 if title is None else 1)
    figure.set_figheight(figure.get_figheight() + 0.19 * lines)
    heading = None if title is None else textwrap.fill(title, round(2 * letters))
    figure.legend(
        list(shown.values()),
        names,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        title=heading,
        title_fontsize=8.5,
        alignment="left",
    )


def figure_png(figure: Figure) -> bytes:
    """Render at 160 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def figure_svg(figure: Figure) -> str:
    """Render as SVG without a date, so that equal votes give equal files."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "noiseproof"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
