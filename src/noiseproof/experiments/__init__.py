"""The paper's figures and tables, one small file each, computed from records that recipes describe."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseproof.experiments.figure import Figure

__all__ = ["FIGURES", "load_figure"]

FIGURES = {
    "table1": "table1:TABLE1",
    "figure1": "figure1:FIGURE1",
    "figure3": "attack_figures:FIGURE3",
    "figure4": "attack_figures:FIGURE4",
    "figure5": "figure5:FIGURE5",
    "figure6": "attack_figures:FIGURE6",
    "figure7": "attack_figures:FIGURE7",
    "ladder": "ladder:LADDER",
    "all": "page:PAGE",
}
"""Where each figure is defined, "module:attribute", by the name that the command line accepts."""


def load_figure(name: str) -> "Figure[Any]":
    """Return a figure by its name in `FIGURES`."""
    module, _, attribute = FIGURES[name].partition(":")
    found: Figure[Any] = getattr(import_module(module if "." in module else f"{__name__}.{module}"), attribute)
    return found
