"""What reports show, as plain data: what `--json` and `--csv` print, for programs and for Python alike."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from noiseproof.certified import Certified
from noiseproof.evaluation.certified_accuracy import Summary
from noiseproof.evaluation.robust_accuracy import RobustSummary
from noiseproof.numerics.decimals import exact
from noiseproof.reports.analysis import Analysis
from noiseproof.reports.attack_page import AttackAnalysis, AuditAnalysis
from noiseproof.reports.naming import WITHHELD, Analysed, class_label
from noiseproof.reports.sequential import SequentialAnalysis
from noiseproof.runs.records import Record, VoteTable

__all__ = [
    "plain_analysis",
    "plain_attack",
    "plain_attacked",
    "plain_audited",
    "plain_sequential",
    "plain_summary",
    "votes_as_csv",
]


def plain_summary(title: str, summary: Summary) -> dict[str, Any]:
    """Return a summary as JSON-compatible data.

    Args:
        title: of the procedure.
        summary: its figures.
    """
    population = summary.population
    return {
        "procedure": title,
        "images": summary.images,
        "natural_accuracy": summary.natural_accuracy,
        "abstained": summary.abstained,
        "average_certified_radius": summary.average_certified_radius,
        "certified_accuracy": {
            exact(radius): float(accuracy)
            for radius, accuracy in zip(summary.radii, summary.certified_accuracy, strict=True)
        },
        "allowance": _stated(summary.allowance),
        "population_lower_bound": None
        if population is None
        else {exact(radius): float(bound) for radius, bound in zip(summary.radii, population, strict=True)},
        "confidence": _stated(summary.confidence),
    } | ({"withheld": WITHHELD} if math.isnan(summary.confidence) else {})


def plain_analysis(analysis: Analysis) -> dict[str, Any]:
    """Return the figures of a record under every procedure as JSON-compatible data."""
    return _about(analysis) | {
        "alpha": analysis.alpha,
        "complete": analysis.complete,
        "procedures": [plain_summary(curve.procedure.title, curve.summary) for curve in analysis.curves],
    }


def plain_sequential(analysis: SequentialAnalysis) -> dict[str, Any]:
    """Return the figures of a sequential certification as JSON-compatible data."""
    usage = analysis.usage
    return _about(analysis) | {
        "alpha": analysis.alpha,
        "runner_up": analysis.runner_up,
        "counted": analysis.counted,
        "planned": analysis.planned,
        "certified_accuracy": {exact(row.radius): row.right for row in analysis.rows},
        "outcomes": {
            exact(row.radius): {
                "certified_right": row.right,
                "certified_wrong": row.wrong,
                "not_certifiable": row.futile,
                "undecided": row.undecided,
            }
            for row in analysis.rows
        },
        "average_certified_radius": analysis.average_radius,
        "votes": {
            "total": usage.total,
            "mean": usage.mean,
            "median": usage.median,
            "largest": usage.largest,
            "over_information_limit": usage.over_limit,
            "fixed_number_for_the_same": usage.fixed,
        },
    }


def plain_attack(summary: RobustSummary, certified: Float[np.ndarray, " sizes"] | None) -> dict[str, Any]:
    """Return accuracy under attack as JSON-compatible data.

    Args:
        summary: accuracy at each size.
        certified: share of the same images that are certified at each size; None where that is not known.
    """
    columns = {
        name: [_stated(float(value)) for value in getattr(summary, name)]
        for name in ("sizes", "robust", "low", "high", "abstained", "wrong")
    }
    withheld = {"withheld": WITHHELD} if np.isnan(summary.low).any() else {}
    return (
        {"images": summary.images, "certified": None if certified is None else certified.tolist()} | columns | withheld
    )


def _about(analysis: Analysed[Any]) -> dict[str, Any]:
    return {"name": analysis.name, "run": str(analysis.record.path), "data": analysis.data}


def _stated(value: float) -> float | None:
    """Return a number; None for NaN, which says nothing, and which JSON has not."""
    return None if math.isnan(value) else value


def plain_attacked(analysis: AttackAnalysis) -> dict[str, Any]:
    """Return the figures of an attack as JSON-compatible data."""
    return (
        _about(analysis) | {"norm": analysis.record.settings.norm} | plain_attack(analysis.summary, analysis.certified)
    )


def plain_audited(analysis: AuditAnalysis) -> dict[str, Any]:
    """Return the verdict of an audit as JSON-compatible data."""
    return _about(analysis) | {"passed": analysis.result.passed} | analysis.result.plain()


def votes_as_csv(record: Record, votes: VoteTable, found: Certified) -> bytes:
    """Return CSV with one line per image; floats are written in full, so nothing is rounded up.

    Names of classes and of files are further columns, where the data have them.
    """
    columns = {
        "index": votes.index,
        "label": votes.label,
        "prediction": found.prediction,
        "p1_lower": found.p1_lower,
        "p2_upper": found.p2_upper,
        "radius": found.radius,
    }
    plain: dict[str, Sequence[Any]] = {name: column.tolist() for name, column in columns.items()}
    if record.class_names is not None:
        for name in ("label", "prediction"):
            plain[f"{name}_name"] = [class_label(record, number) for number in plain[name]]
    if votes.files is not None:
        plain["file"] = votes.files
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(plain)
    writer.writerows(zip(*plain.values(), strict=True))
    return text.getvalue().encode()
