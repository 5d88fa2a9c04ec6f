"""One self-contained HTML page from records: curves, figures, images, settings."""

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from noiseproof.certified import ABSTAIN, Certified
from noiseproof.errors import InvalidInputError
from noiseproof.numerics.decimals import exact, percent, percent_down, percent_up, round_down
from noiseproof.perturbations.norms import Norm
from noiseproof.plugins import in_words
from noiseproof.reports.analysis import PAPER, Analysis
from noiseproof.reports.curves import draw_curves
from noiseproof.reports.figures import figure_png, figure_svg
from noiseproof.reports.naming import Analysed, apart, class_label, incomplete
from noiseproof.runs.records import Record, VoteTable
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.settings import which_images
from noiseproof.runs.store import ShardedRecord
from noiseproof.storage.files import write_atomically

__all__ = ["ReportFiles", "about_run", "render", "tile", "write_page", "write_report"]

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
    return write_page(
        "report.html",
        analyses,
        draw_curves(analyses),
        out,
        headline=_headline(analyses),
        grids=[_grids(analysis) for analysis in analyses],
        alpha=analyses[0].alpha,
        beside=any(analysis.curves[1:] for analysis in analyses),
        papers=[next((c for c in analysis.curves if c.procedure == PAPER), None) for analysis in analyses],
    )


def render(template: str, **values: Any) -> str:
    """Fill a template of this folder; values are escaped, and an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("noiseproof.reports"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.globals |= {"incomplete": incomplete, "norm": lambda record: Norm(record.settings.norm).label}
    environment.filters |= {"percent": percent, "percent_down": percent_down, "percent_up": percent_up}
    environment.filters |= {"radius": round_down, "short": partial(round_down, digits=None), "exact": exact}
    return environment.get_template(template).render(values)


def write_page(
    template: str, analyses: Sequence[Analysed[Any]], figure: Figure, out: Path, **values: Any
) -> ReportFiles:
    """Write a page of records to `out`, and its figure beside it.

    Args:
        template: of the page.
        analyses: of the records.
        figure: on the page, and beside it.
        out: ends in .html.
        values: further values of this template.

    Raises:
        InvalidInputError: another ending.
        RunError: a file cannot be written.
    """
    if out.suffix.lower() not in {".html", ".htm"}:
        raise InvalidInputError(
            "out", required="a name ending in .html", got=str(out), remedy="The curves go beside it as .png and .svg."
        )
    svg = figure_svg(figure)
    content = render(
        template,
        analyses=analyses,
        svg=svg[svg.index("<svg") :],
        apart=apart([each.record for each in analyses]),
        details=[about_run(each.record, each.counted, each.settings()) for each in analyses],
        **values,
    )
    files = ReportFiles(out, out.with_suffix(".png"), out.with_suffix(".svg"))
    write_atomically(files.png, figure_png(figure))
    write_atomically(files.svg, svg.encode())
    write_atomically(files.page, content.encode())
    return files


def _headline(analyses: Sequence[Analysis]) -> dict[str, Any]:
    """Return every model's lower bound at the middle radius of the table, which does not depend on the results."""
    summaries = [analysis.curves[0].summary for analysis in analyses]
    middle = len(summaries[0].radii) // 2
    bounds = [
        (analysis, summary.certified_accuracy[middle] - summary.allowance)
        for analysis, summary in zip(analyses, summaries, strict=True)
    ]
    return {
        "norm": analyses[0].record.noise.norm.label,
        "radius": summaries[0].radii[middle],
        "bounds": bounds,
        "confidence": next((each.confidence for each in summaries if not math.isnan(each.confidence)), None),
    }


def _grids(analysis: Analysis) -> list[dict[str, Any]]:
    """Return the images that are wrong or abstained, fewest votes for the true class first, and the right ones by radius."""
    certified, votes = analysis.curves[0].certified, analysis.votes
    share = np.take_along_axis(votes.votes, votes.label[:, None], axis=1)[:, 0] / votes.votes.sum(1)
    right = certified.prediction == votes.label
    hardest = [int(row) for row in np.lexsort((votes.index, share)) if not right[row]]
    safest = [int(row) for row in np.lexsort((votes.index, -certified.radius)) if right[row]]
    grids = [
        ("Hardest", hardest, "wrong or abstained, fewest votes for the true class first"),
        ("Safest", safest, "right, longest certified radius first"),
    ]
    return [
        {
            "title": title,
            "text": f"{len(rows)} {text}",
            "tiles": [tile(analysis.record, votes, row, certified) for row in rows[:_GRID]],
        }
        for title, rows, text in grids
        if rows
    ]


def tile(
    record: Record | SequentialRecord, votes: VoteTable, row: int, certified: Certified, abstained: str | None = None
) -> dict[str, Any]:
    """Return what a page shows of an image: its picture, and its classes by their names where they have some.

    Args:
        record: the record of the image.
        votes: of the record.
        row: of the image in `votes`.
        certified: the statements about all rows.
        abstained: the text where nothing is certified; None names the class with most votes.
    """
    label, prediction = int(votes.label[row]), int(certified.prediction[row])
    top = class_label(record, int(votes.votes[row].argmax()))
    picture = votes.thumbnails[row]
    state = "abstained" if prediction == ABSTAIN else "right" if prediction == label else "wrong"
    return {
        "image": base64.b64encode(picture).decode() if picture else "",
        "index": int(votes.index[row]),
        "file": "" if votes.files is None else votes.files[row],
        "label": class_label(record, label),
        "state": state,
        "said": abstained or f"abstains, leans to {top}"
        if state == "abstained"
        else f"says {class_label(record, prediction)}",
        "radius": None if state == "abstained" else float(certified.radius[row]),
        "votes": f"{int(votes.votes[row].max()):,} of {int(votes.votes[row].sum()):,} votes for {top}",
    }


def about_run(record: ShardedRecord[Any, Any], counted: int, more: Mapping[str, Any]) -> dict[str, str]:
    """Return the provenance of a record for a report, as pairs of name and text.

    Args:
        record: the record.
        counted: images with votes.
        more: further pairs; plain data are put into words.
    """
    settings, about = record.settings, record.about
    training: dict[str, Any] = about.get("training", {})
    details = {
        "Run folder": str(record.path),
        "Images": f"{counted} of {len(settings.indices)} counted: {which_images(vars(settings))}",
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
