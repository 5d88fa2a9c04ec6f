"""One self-contained HTML page from records: curves, figures, images, settings."""

import base64
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from noiseproof.certified import ABSTAIN
from noiseproof.errors import InvalidInputError
from noiseproof.numerics.decimals import exact, percent, percent_down, percent_up, round_down
from noiseproof.plugins import in_words
from noiseproof.reports.analysis import PAPER, Analysis, Curve
from noiseproof.reports.curves import draw_curves, figure_png, figure_svg
from noiseproof.reports.naming import apart, class_label, incomplete
from noiseproof.runs.records import Record, VoteTable
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.store import ShardedRecord
from noiseproof.storage.files import write_atomically

__all__ = ["ReportFiles", "about_run", "render", "tile", "write_files", "write_report"]

_GRID = 12
"""Images shown of each kind: two rows of six on a desktop screen."""


@dataclass(frozen=True)
class ReportFiles:
    """The files of a report."""

    page: Path
    png: Path
    svg: Path


def write_report(analyses: Sequence[Analysis], out: Path) -> ReportFiles:
    """Write the page to `out`, and its curves beside it as PNG and SVG.

    The page is self-contained: styles and pictures are embedded. All numbers are computed from votes.

    Raises:
        InvalidInputError: nothing to report.
        RunError: a file cannot be written.
    """
    if not analyses:
        raise InvalidInputError(
            "runs", required="at least one run folder", got="none", remedy="Name the runs to report."
        )
    return write_files(
        out,
        draw_curves(analyses),
        lambda svg: render(
            "report.html",
            analyses=analyses,
            svg=svg,
            headline=_headline(analyses),
            grids=[_grids(analysis) for analysis in analyses],
            details=[_details(analysis) for analysis in analyses],
            alpha=analyses[0].alpha,
            beside=len({curve.procedure for analysis in analyses for curve in analysis.curves[1:]}) > 0,
            papers=[next((c for c in analysis.curves if c.procedure == PAPER), None) for analysis in analyses],
        ),
    )


def render(template: str, **values: Any) -> str:
    """Fill a template of this folder; values are escaped, and an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("noiseproof.reports"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.globals["incomplete"] = incomplete
    environment.filters |= {"percent": percent, "percent_down": percent_down, "percent_up": percent_up}
    environment.filters |= {"radius": round_down, "short": partial(round_down, digits=None), "exact": exact}
    return environment.get_template(template).render(values)


def write_files(out: Path, figure: Figure, page: Callable[[str], str]) -> ReportFiles:
    """Write a page to `out`, and its figure beside it.

    Args:
        out: ends in .html.
        figure: beside it.
        page: a function from the figure as an <svg> element to the page.

    Raises:
        InvalidInputError: another ending.
        RunError: a file cannot be written.
    """
    if out.suffix.lower() not in {".html", ".htm"}:
        raise InvalidInputError(
            "out", required="a name ending in .html", got=str(out), remedy="The curves go beside it as .png and .svg."
        )
    svg = figure_svg(figure)
    content = page(svg[svg.index("<svg") :])
    files = ReportFiles(out, out.with_suffix(".png"), out.with_suffix(".svg"))
    write_atomically(files.png, figure_png(figure))
    write_atomically(files.svg, svg.encode())
    write_atomically(files.page, content.encode())
    return files


def _headline(analyses: Sequence[Analysis]) -> dict[str, Any]:
    """Return every model's lower bound at the middle radius of the table; none is selected by its result."""
    summaries = [analysis.curves[0].summary for analysis in analyses]
    middle = len(summaries[0].radii) // 2
    bounds = [
        {
            "name": analysis.name,
            "images": summary.images,
            "planned": len(analysis.record.settings.indices),
            "data": analysis.data,
            "bound": summary.certified_accuracy[middle] - summary.allowance,
        }
        for analysis, summary in zip(analyses, summaries, strict=True)
    ]
    norm = analyses[0].record.noise.norm.label
    return {
        "norm": norm,
        "radius": summaries[0].radii[middle],
        "models": bounds,
        "confidence": next((each.confidence for each in summaries if not math.isnan(each.confidence)), None),
        "apart": apart([analysis.record for analysis in analyses]),
    }


def _grids(analysis: Analysis) -> list[dict[str, Any]]:
    """Return the images that are wrong or abstained, fewest votes for the true class first, and the right ones by radius."""
    curve, votes = analysis.curves[0], analysis.votes
    share = np.take_along_axis(votes.votes, votes.label[:, None], axis=1)[:, 0] / votes.votes.sum(1)
    right = curve.certified.prediction == votes.label
    hardest = [int(row) for row in np.lexsort((votes.index, share)) if not right[row]]
    safest = [int(row) for row in np.lexsort((votes.index, -curve.certified.radius)) if right[row]]
    return [
        {
            "title": "Hardest",
            "text": f"{len(hardest)} wrong or abstained, fewest votes for the true class first",
            "tiles": _tiles(analysis, curve, hardest[:_GRID]),
        },
        {
            "title": "Safest",
            "text": f"{len(safest)} right, longest certified radius first",
            "tiles": _tiles(analysis, curve, safest[:_GRID]),
        },
    ]


def _tiles(analysis: Analysis, curve: Curve, rows: Sequence[int]) -> list[dict[str, Any]]:
    votes, certified = analysis.votes, curve.certified
    return [
        tile(analysis.record, votes, row, int(certified.prediction[row]))
        | {"radius": float(certified.radius[row]), "votes": int(votes.votes[row, votes.label[row]])}
        for row in rows
    ]


def tile(record: Record | SequentialRecord, votes: VoteTable, row: int, prediction: int) -> dict[str, Any]:
    """Return what a page shows of an image: its picture, and its classes by their names where they have some."""
    label = int(votes.label[row])
    state = "abstained" if prediction == ABSTAIN else "right" if prediction == label else "wrong"
    picture = votes.thumbnails[row]
    return {
        "image": base64.b64encode(picture).decode() if picture else "",
        "index": int(votes.index[row]),
        "file": "" if votes.files is None else votes.files[row],
        "label": class_label(record, label),
        "prediction": class_label(record, prediction),
        "state": state,
        "samples": int(votes.votes[row].sum()),
        "top": class_label(record, int(votes.votes[row].argmax())),
        "top_votes": int(votes.votes[row].max()),
    }


def _details(analysis: Analysis) -> dict[str, str]:
    settings = analysis.record.settings
    votes = f"{settings.samples}, and {settings.selection_samples} of the selection phase"
    return about_run(analysis.record, len(analysis.votes), {"Votes an image": votes})


def about_run(record: ShardedRecord[Any, Any], counted: int, more: Mapping[str, Any]) -> dict[str, str]:
    """Return the provenance of a record for a report, as pairs of words.

    Args:
        record: the record.
        counted: images with votes.
        more: further pairs; plain data are put into words.
    """
    settings, about = record.settings, record.about
    training: dict[str, Any] = about.get("training", {})
    details = {
        "Run folder": str(record.path),
        "Images": f"{counted} of {len(settings.indices)} counted: "
        f"{settings.start} to {settings.stop - 1}, every {settings.step}",
        **{name: in_words(value) if isinstance(value, Mapping) else str(value) for name, value in more.items()},
        "Seed": str(settings.seed),
        "Noise": in_words(settings.noise or {"": "none"}),
        "Data": in_words(settings.data),
        "Model": in_words(settings.model),
        "Engine": in_words(settings.engine or {"": "not recorded"}),
        "Made by": shlex.join(about.get("command", ["unknown"])),
    }
    if training:
        details["Trained by"] = shlex.join(training.get("made", {}).get("command", ["unknown"]))
        details["Training"] = in_words(training.get("settings", {}))
        details["Trained on"] = in_words(training.get("data", {}))
    for name in ("device", "processor", "threads", "python", "versions", "created"):
        if name in about:
            details[name.capitalize()] = in_words(about[name]) if isinstance(about[name], Mapping) else str(about[name])
    return details
