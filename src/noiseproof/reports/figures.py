"""What all figures share: colours, frames, legends outside the plot, files."""

import io
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "MARKERS",
    "figure_png",
    "figure_svg",
    "legend_below",
    "legend_under",
    "new_figure",
    "tidy",
]

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

_WIDE = 55
"""Letters of the longest name of a legend with two columns, in a figure of 8 inches."""

_TWO_COLUMNS = 45
"""Letters of the longest name of a legend with two columns under one plot."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches, laid out without overlaps and not registered with pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: Axes) -> None:
    """Draw a thin grid behind the curves, and no frame above and on the right."""
    axes.grid(visible=True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Figure, *, title: str | None = None) -> None:
    """Put one legend of all axes below them, clear of the curves; the figure grows by its height.

    Args:
        figure: with labelled curves; a label that repeats is shown once.
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


def legend_under(axes: Axes) -> None:
    """Put the legend of one plot under it, in one column where two are wider than the plot."""
    longest = max(len(name) for name in axes.get_legend_handles_labels()[1])
    columns = 2 if longest <= _TWO_COLUMNS else 1
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=columns)


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
