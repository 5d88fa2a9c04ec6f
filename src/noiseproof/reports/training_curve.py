"""Loss and accuracy of every epoch, as a figure."""

import json
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from noiseproof.errors import RunError
from noiseproof.reports.figures import figure_svg, new_figure
from noiseproof.storage.files import write_atomically

__all__ = ["write_training_curve"]

_LOSS, _ACCURACY = "#0072B2", "#D55E00"


def write_training_curve(log: Path, picture: Path) -> Path:
    """Draw a training log, a line of JSON per epoch, as an SVG.

    Args:
        log: `training.jsonl`.
        picture: path of the SVG.

    Returns:
        `picture`.

    Raises:
        RunError: the log is missing or damaged, or the picture cannot be written.
    """
    epochs = _read(log)
    numbers = [line["epoch"] for line in epochs]
    figure = new_figure(7.0, 3.6)
    left = figure.add_subplot()
    right = left.twinx()
    left.plot(numbers, [line["loss"] for line in epochs], color=_LOSS, marker="o", markersize=3)
    right.plot(numbers, [100 * line["accuracy"] for line in epochs], color=_ACCURACY, marker="s", markersize=3)
    left.set_xlabel("epoch")
    left.set_ylabel("mean loss", color=_LOSS)
    right.set_ylabel("training accuracy (%)", color=_ACCURACY)
    left.set_ylim(bottom=0.0)
    right.set_ylim(top=100.0)
    left.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    left.grid(visible=True, color="0.9", linewidth=0.8)
    for axes in (left, right):
        axes.spines["top"].set_visible(False)
    write_atomically(picture, figure_svg(figure).encode())
    return picture


def _read(log: Path) -> list[dict[str, float]]:
    required, damage = "a training log, a line of JSON per epoch", (OSError, ValueError, KeyError, TypeError)
    remedy = "Training writes it; restore it, or train again into another folder."
    with RunError.instead_of(damage, str(log), required=required, remedy=remedy):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        epochs = [{key: float(line[key]) for key in ("epoch", "loss", "accuracy")} for line in lines]
        if not epochs:
            raise ValueError("no line in it")
    return epochs
