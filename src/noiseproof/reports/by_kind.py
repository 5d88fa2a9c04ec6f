"""The report of run folders, of whichever kind their records are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseproof.bounds import Bound
from noiseproof.certificates import Certificate
from noiseproof.errors import InvalidInputError
from noiseproof.reports.analysis import Procedure, analyse
from noiseproof.reports.attack_page import analyse_attacks, analyse_audits, write_attack_report, write_audit_report
from noiseproof.reports.page import ReportFiles, write_report
from noiseproof.reports.plain import plain_analysis, plain_attacked, plain_audited, plain_sequential
from noiseproof.reports.sequential import analyse_sequential, write_sequential_report
from noiseproof.runs.inspection import find_of_one_kind

__all__ = ["ALPHA", "Report", "open_report"]

ALPHA = 0.001
"""Failure probability of each certificate where none is named."""

_PAGES: dict[str, tuple[Any, Any, Any]] = {
    "votes": (analyse, write_report, plain_analysis),
    "sequential votes": (analyse_sequential, write_sequential_report, plain_sequential),
    "attack": (analyse_attacks, write_attack_report, plain_attacked),
    "audit": (analyse_audits, write_audit_report, plain_audited),
}
"""By kind of record: the functions that analyse records, write their page, and return one as plain data."""


@dataclass(frozen=True)
class Report:
    """Records of one kind, analysed.

    Attributes:
        kind: of the records, `kind_of`.
        analyses: one for each, of the kind's own type.
    """

    kind: str
    analyses: Sequence[Any]

    def write(self, out: Path) -> ReportFiles:
        """Write the page of this kind to `out`, and its plot beside it; errors as `write_report`."""
        files: ReportFiles = _PAGES[self.kind][1](self.analyses, out)
        return files

    def plain(self) -> list[dict[str, Any]]:
        """Return the figures of every record as JSON-compatible data."""
        return [_PAGES[self.kind][2](each) for each in self.analyses]


def open_report(
    runs: Sequence[Path],
    *,
    alpha: float | None = None,
    radii: Sequence[float] | None = None,
    bound: Bound | None = None,
    certificate: Certificate | None = None,
    beside: Sequence[Procedure] = (),
) -> Report:
    """Read the records of run folders, or of folders of attacks or audits, and analyse them.

    Args:
        runs: the folders.
        alpha: as `analyse`, for votes whose number was fixed beforehand; None is that for which they were counted, and
            `ALPHA` where they differ in it.
        radii: as `analyse` and `analyse_sequential`.
        bound: from votes to probabilities; None is that for which the votes of each record were counted.
        certificate: from probabilities to a radius; None likewise.
        beside: as `analyse`.

    Raises:
        RunError: a folder holds no record, or a damaged one.
        InvalidInputError: records of several kinds, or a setting that their kind fixes in the record.
    """
    kind, records = find_of_one_kind(runs)
    if kind == "votes":
        recorded = {record.procedure.alpha for record in records}
        level = alpha if alpha is not None else recorded.pop() if len(recorded) == 1 else ALPHA
        found = analyse(records, alpha=level, radii=radii, bound=bound, certificate=certificate, beside=beside)
        return Report(kind, found)
    if kind not in _PAGES:
        raise InvalidInputError(
            "runs", required="votes, attacks or audits", got=kind, remedy="Its result is verified.json in its folder."
        )
    sequential = kind == "sequential votes"
    others = {"alpha": alpha is not None, "bound": bound is not None, "certificate": certificate is not None}
    others |= {"paper": bool(beside), "radii": radii is not None and not sequential}
    given = [name for name, chosen in others.items() if chosen]
    if given:
        raise InvalidInputError(
            ", ".join(given),
            required=f"left out for {kind}, whose record has its own",
            got="given",
            remedy="They apply only to votes whose number was fixed beforehand.",
        )
    return Report(kind, analyse_sequential(records, radii=radii) if sequential else _PAGES[kind][0](records))
