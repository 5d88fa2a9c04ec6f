"""One self-contained HTML page of attacks or of audits, from their records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from noiseproof.evaluation.audit import AuditResult
from noiseproof.evaluation.robust_accuracy import RobustSummary
from noiseproof.numerics.decimals import round_down
from noiseproof.perturbations.norms import Norm
from noiseproof.reports.attacked import certified_beside, summarise_attack
from noiseproof.reports.figures import COLOURS, legend_below, new_figure, tidy
from noiseproof.reports.naming import Analysed, caption, entries, titles
from noiseproof.reports.page import ReportFiles, write_page
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
class _Analysed(Analysed[AttackRecord]):
    """The record of an attack or of an audit."""

    @property
    def counted(self) -> int:
        return len(self.record.read_verdicts())

    def settings(self) -> Mapping[str, Any]:
        own = self.record.settings
        sizes = ", ".join(round_down(size, None) for size in own.sizes)
        asked = {"Sizes": f"{sizes} in {own.norm}"} if own.limits is None else {"Certificates": own.limits}
        return {"Attack": own.attack, **asked, "Votes on each point": str(own.samples)}


@dataclass(frozen=True)
class AttackAnalysis(_Analysed):
    """The record of an attack, and what it shows.

    Attributes:
        summary: accuracy at each size.
        certified: share of the same images that are certified at each size; None where no certification of them was
            found.
    """

    summary: RobustSummary
    certified: Float[np.ndarray, " sizes"] | None


@dataclass(frozen=True)
class AuditAnalysis(_Analysed):
    """The record of an audit, and its verdict.

    Attributes:
        table: its rows.
        result: the verdict.
    """

    table: AttackTable
    result: AuditResult


def analyse_attacks(records: Sequence[AttackRecord]) -> list[AttackAnalysis]:
    """Read the records of attacks, and certified accuracy from the run in whose folder they lie.

    Raises:
        RunError: one has no votes, or damaged ones.
    """
    analyses = []
    for entry in entries(records, _names(records)):
        record = entry[-1]
        beside = (certified_beside(run, record) for run in record.path.resolve().parents[:2])
        certified = next((found for found in beside if found is not None), None)
        analyses.append(AttackAnalysis(*entry, summarise_attack(record), certified))
    return analyses


def analyse_audits(records: Sequence[AttackRecord]) -> list[AuditAnalysis]:
    """Read the records of audits and judge them.

    Raises:
        RunError: one is incomplete or damaged.
        InvalidInputError: in one, no image has a certificate.
    """
    found = entries(records, _names(records))
    return [AuditAnalysis(*entry, entry[-1].read(), judge_record(entry[-1])) for entry in found]


def write_attack_report(analyses: Sequence[AttackAnalysis], out: Path) -> ReportFiles:
    """Write a page of attacks to `out`, and its plot, one panel per norm, beside it as PNG and SVG.

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
        curves = [RobustCurve.of(each.name, each.summary, number) for number, each in enumerate(shown)]
        panels.append(Panel(f"Data: {', '.join(dict.fromkeys(each.data for each in shown))}", norm, curves, areas))
    return write_page("attacked.html", analyses, draw_robustness(panels), out)


def write_audit_report(analyses: Sequence[AuditAnalysis], out: Path) -> ReportFiles:
    """Write a page of audits to `out`, and its plot beside it as PNG and SVG; errors as `write_attack_report`."""
    return write_page("audited.html", analyses, draw_audits(analyses), out)


def draw_audits(analyses: Sequence[AuditAnalysis]) -> Figure:
    """Draw, for every attacked image, the votes for its certified class at the point found, against its radius."""
    figure = new_figure(8.0, 4.2)
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
    tidy(axes)
    legend_below(figure, title=caption(analyses))
    return figure


def _names(records: Sequence[AttackRecord]) -> list[str]:
    """The folders' names, as a command gave them; after the classifier where there are several, or equal names."""
    names = [record.path.resolve().name for record in records]
    if len(set(names)) == len(names) and len({str(record.settings.model) for record in records}) < 2:
        return names
    named = [f"{title}: {name}" for title, name in zip(titles(records), names, strict=True)]
    whole = zip(named, records, strict=True)
    return [f"{name} [{record.path}]" if named.count(name) > 1 else name for name, record in whole]
