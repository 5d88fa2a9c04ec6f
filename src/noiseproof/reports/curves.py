"""Certified accuracy against radius, as a figure."""

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from noiseproof.reports.analysis import Analysis

__all__ = ["COLOURS", "draw_curves", "figure_png", "figure_svg"]

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
)  # Okabe and Ito: safe for colour-blind eyes
_STYLES = ("-", (0, (4, 2)), ":")


def draw_curves(analyses: Sequence[Analysis]) -> Figure:
    """Draw every analysis: one colour a model, one line style a procedure, a band down to the valid lower bound."""
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
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
                label=f"{analysis.name} – {curve.procedure.title}",
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
    axes.legend(frameon=False, fontsize=8.5, loc="lower left")
    return figure


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
