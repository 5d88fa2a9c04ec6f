"""Certified accuracy against radius, as a figure."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from noiseproof.reports.analysis import Analysis
from noiseproof.reports.figures import COLOURS, MARKERS, legend_below, new_figure, tidy
from noiseproof.reports.naming import caption

__all__ = ["draw_curves"]

_STYLES = ("-", (0, (4, 2)), ":")


def draw_curves(analyses: Sequence[Analysis]) -> Figure:
    """Draw every analysis: a colour for each model, a line style for each procedure, a band down to the lower bound."""
    figure = new_figure(8.0, 4.4)
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
                clip_on=False,  # at 0 and at 100 the whole width of the line is seen
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
    tidy(axes)
    legend_below(figure, title=caption(analyses))
    return figure
