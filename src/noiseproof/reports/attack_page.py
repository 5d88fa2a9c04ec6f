"""One self-contained HTML page of attacks or of audits, from their records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from noiseproof.evaluation.audit import AuditResult
from noiseproof.evaluation.robust_accuracy import RobustSummary
from noiseproof.numerics.decimals import round_down
from noiseproof.perturbations.norms import Norm
from noiseproof.reports.attacked import certified_beside, summarise_attack
from noiseproof.reports.curves import COLOURS, caption_of, legend_below
from noiseproof.reports.naming import apart, class_label, data_names, labelled, titles
from noiseproof.reports.page import ReportFiles, about_run, render, write_files
from noiseproof.reports.robustness import CertifiedCurve, Panel, RobustCurve, draw_robustness
from noiseproof.runs.attack_records import AttackRecord, AttackTable
from noiseproof.runs.audit import judge_record

__all__ = [
    "AttackAnalysis",
    "AuditAnalysis",
    "analyse_attacks",
    "analyse_audits",
    "draw_audits",
    "write_attack_report",
    "write_audit_report",
]


@dataclass(frozen=True)
class AttackAnalysis:
    """The record of an attack, and what it shows.

    Attributes:
        name: in the report.
        data: the name of its data set.
        record: the record.
        summary: accuracy at each size.
        certified: share of the same images that are certified at each size; None where no run around it says that.
    """

    name: str
    data: str
    record: AttackRecord
    summary: RobustSummary
    certified: Float[np.ndarray, " sizes"] | None


@dataclass(frozen=True)
class AuditAnalysis:
    """The record of an audit, and its verdict.

    Attributes:
        name: in the report.
        data: the name of its data set.
        record: the record.
        table: its rows.
        result: the verdict.
    """

    name: str
    data: str
    record: AttackRecord
    table: AttackTable
    result: AuditResult


def analyse_attacks(records: Sequence[AttackRecord]) -> list[AttackAnalysis]:
    """Read the records of attacks; what is certified is taken from the run in whose folder they lie.

    Raises:
        RunError: one has no votes, or damaged ones.
    """
    analyses = []
    for record, name, data in zip(records, labelled(records, _names(records)), data_names(records), strict=True):
        beside = (certified_beside(run, record) for run in record.path.resolve().parents[:2])
        certified = next((found for found in beside if found is not None), None)
        analyses.append(AttackAnalysis(name, data, record, summarise_attack(record), certified))
    return analyses


def analyse_audits(records: Sequence[AttackRecord]) -> list[AuditAnalysis]:
    """Read the records of audits and judge them.

    Raises:
        RunError: one is not whole, or damaged.
        InvalidInputError: of one no image has a certificate.
    """
    labels = zip(records, labelled(records, _names(records)), data_names(records), strict=True)
    return [AuditAnalysis(name, data, record, record.read(), judge_record(record)) for record, name, data in labels]


def write_attack_report(analyses: Sequence[AttackAnalysis], out: Path) -> ReportFiles:
    """Write a page of attacks to `out`, and its plot, a panel a norm, beside it as PNG and SVG.

    Raises:
        InvalidInputError: a name that does not end in .html.
        RunError: a file cannot be written.
    """
    panels = []
    for norm in dict.fromkeys(each.record.settings.norm for each in analyses):
        shown = [each for each in analyses if each.record.settings.norm == norm]
        areas = [
            CertifiedCurve(each.name, each.summary.sizes, each.certified, number)
            for number, each in enumerate(shown)
            if each.certified is not None
        ]
        curves = [
            RobustCurve(each.name, each.summary.sizes, each.summary.robust, each.summary.low, each.summary.high, number)
            for number, each in enumerate(shown)
        ]
        panels.append(Panel(f"Data: {', '.join(dict.fromkeys(each.data for each in shown))}", norm, curves, areas))
    return write_files(out, draw_robustness(panels), lambda svg: _page("attacked.html", analyses, svg))


def write_audit_report(analyses: Sequence[AuditAnalysis], out: Path) -> ReportFiles:
    """Write a page of audits to `out`, and its plot beside it as PNG and SVG; errors as `write_attack_report`."""
    return write_files(out, draw_audits(analyses), lambda svg: _page("audited.html", analyses, svg))


def draw_audits(analyses: Sequence[AuditAnalysis]) -> Figure:
    """Draw every attacked image: the votes for its certified class on the point that was found, against its radius."""
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, analysis in enumerate(analyses):
        rows = np.flatnonzero(analysis.table.sizes[:, -1] > 0.0)
        votes, label = analysis.table.votes[rows, -1], analysis.table.label[rows]
        share = 100 * np.take_along_axis(votes, label[:, None], axis=1)[:, 0] / votes.sum(1)
        radius, colour = analysis.table.sizes[rows, -1], COLOURS[number % len(COLOURS)]
        axes.plot(radius, share, "o", color=colour, alpha=0.6, markersize=4, label=analysis.name)
        bad = np.isin(analysis.table.index[rows], analysis.result.contradictions)
        if bad.any():
            axes.plot(radius[bad], share[bad], "x", color="#b3261e", markersize=9, label="contradicts its certificate")
    norms = ", ".join(dict.fromkeys(Norm(each.record.settings.norm).label for each in analyses))
    axes.set(xlabel=f"certified radius, within which it was attacked ({norms})", ylim=(0, 101))
    axes.set_ylabel("votes for the certified class (%)")
    axes.axhline(50, color="0.4", linewidth=1, linestyle="--", label="half of the votes")
    axes.grid(visible=True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure, title=caption_of([each.data for each in analyses], apart([each.record for each in analyses])))
    return figure


def _page(template: str, analyses: "Sequence[AttackAnalysis] | Sequence[AuditAnalysis]", svg: str) -> str:
    return render(
        template,
        analyses=analyses,
        svg=svg,
        apart=apart([each.record for each in analyses]),
        norm=lambda record: Norm(record.settings.norm).label,
        class_label=class_label,
        details=[about_run(each.record, len(each.record.read_verdicts()), _settings(each.record)) for each in analyses],
    )


def _settings(record: AttackRecord) -> dict[str, object]:
    settings = record.settings
    sizes = ", ".join(round_down(size, None) for size in settings.sizes)
    asked = (
        {"Certificates": settings.limits} if settings.limits is not None else {"Sizes": f"{sizes} in {settings.norm}"}
    )
    return {"Attack": settings.attack, **asked, "Votes on each point": str(settings.samples)}


def _names(records: Sequence[AttackRecord]) -> list[str]:
    """The folders' names, as a command gave them; after the classifier where there are several, or equal names."""
    names = [record.path.resolve().name for record in records]
    if len(set(names)) == len(names) and len({str(record.settings.model) for record in records}) < 2:
        return names
    named = [f"{title}: {name}" for title, name in zip(titles(records), names, strict=True)]
    whole = zip(named, records, strict=True)
    return [f"{name} [{record.path}]" if named.count(name) > 1 else name for name, record in whole]
