"""Records of sequential certification: outcomes, votes used, and the information limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from noiseproof.bounds import clopper_pearson_lower
from noiseproof.certified import ABSTAIN, Certified
from noiseproof.errors import InvalidInputError
from noiseproof.reports.analysis import table_radii
from noiseproof.reports.figures import COLOURS, MARKERS, legend_below, new_figure, tidy
from noiseproof.reports.naming import Analysed, caption, entries
from noiseproof.reports.page import ReportFiles, tile, write_page
from noiseproof.runs.records import VoteTable
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.sequential import CERTIFIED, FUTILE, LASTING, UNDECIDED, Exceeds, RadiiTest

__all__ = [
    "FIXED",
    "LEANING",
    "Decided",
    "SequentialAnalysis",
    "Usage",
    "analyse_sequential",
    "draw_votes",
    "write_sequential_report",
]

FIXED = 100_000
"""Votes per image that are usual in the literature."""

LEANING = "Shards whose images need few votes finish first, so these shares are biased until all are complete."
"""Of records that are not finished."""

_TILES = 12


@dataclass(frozen=True)
class Usage:
    """Votes used, without surplus votes that were discarded.

    Attributes:
        total: of all images.
        mean: per image.
        median: per image.
        most: the 90 % quantile of the votes per image.
        largest: of one image.
        over_limit: sum of votes over the sum of information limits, of decided images; None for a relative error.
        fixed: the fixed number of votes with which the exact test certifies the same images, at the frequencies found:
            max over images of min {n: lo(floor(p n); n, alpha) > p0}. None for a relative error, for winner and
            runner-up, and where nothing is certified.
    """

    total: int
    mean: float
    median: float
    most: float
    largest: int
    over_limit: float | None
    fixed: int | None


@dataclass(frozen=True)
class Decided:
    """Shares of all images at one radius."""

    radius: float
    right: float
    wrong: float
    futile: float
    undecided: float


@dataclass(frozen=True)
class SequentialAnalysis(Analysed[SequentialRecord]):
    """One record and its statements.

    Attributes:
        votes: of its images.
        certified: their statements.
        rows: the outcome at every radius.
        usage: votes.
    """

    votes: VoteTable
    certified: Certified
    rows: tuple[Decided, ...]
    usage: Usage

    @property
    def alpha(self) -> float:
        """Failure probability of each certificate."""
        return float(self.record.settings.procedure["alpha"])

    @property
    def fixed(self) -> int:
        """Votes an image that the mean is compared with: those of the literature, or the limit of this run if it is lower."""
        return min(FIXED, int(self.record.settings.procedure["cap"]))

    @property
    def runner_up(self) -> bool:
        """Whether the test compared the winner with the runner-up."""
        return bool(self.record.settings.procedure.get("runner_up"))

    @property
    def counted(self) -> int:
        """Images with votes."""
        return len(self.votes)

    def settings(self) -> Mapping[str, Any]:
        """Return the stopping rule; of a prior only that it has one."""
        own = self.record.settings.procedure
        shown = {name: value for name, value in own.items() if name not in {"prior", "certificate"}}
        shown |= {"certificate": own["certificate"]["name"]} | (
            {"prior": "fitted on other images"} if "prior" in own else {}
        )
        early = len(own.get("radii", [])) > 1 and LASTING not in own
        return {"Until": shown | ({"read at": "the last votes"} if early else {})}

    @property
    def average_radius(self) -> float:
        """Mean over all images of the radius where the prediction is right, else 0 (ACR)."""
        right = self.certified.prediction == self.votes.label
        return float(np.where(right, self.certified.radius, 0.0).mean())


def analyse_sequential(
    records: Sequence[SequentialRecord], *, radii: Sequence[float] | None = None, names: Sequence[str] | None = None
) -> list[SequentialAnalysis]:
    """Read records of sequential certification.

    Args:
        records: all of one kind, radii or a relative error.
        radii: where certified accuracy is given for a relative error; None uses round numbers.
        names: one for each; None derives them from the records. Where the data differ, their name follows each.

    Raises:
        InvalidInputError: no record, both kinds, or radii for records that have their own.
        RunError: a record has no votes, or is damaged.
    """
    deciding = {isinstance(record.test, RadiiTest) for record in records}
    if len(deciding) != 1:
        raise InvalidInputError(
            "runs",
            required="runs that all certify radii, or all estimate a radius",
            got="none" if not records else "both kinds",
            remedy="Report them separately.",
        )
    if radii is not None and True in deciding:
        raise InvalidInputError(
            "radii", required="left out: the records have radii of their own", got=list(radii), remedy="Leave it out."
        )
    found = []
    for entry in entries(records, names):
        record = entry[-1]
        votes = record.read()
        certified = record.certify(votes)
        rows = _rows(record, votes, certified, radii)
        found.append(SequentialAnalysis(*entry, votes, certified, rows, _usage(record, votes, certified)))
    return found


def draw_votes(analyses: Sequence[SequentialAnalysis]) -> Figure:
    """Draw the votes of every image, sorted, on a logarithmic scale, with the information limit as a thin line."""
    figure = new_figure(8.0, 4.2)
    axes = figure.add_subplot()
    for number, analysis in enumerate(analyses):
        colour = COLOURS[number % len(COLOURS)]
        used = analysis.votes.votes.sum(-1)
        order = np.argsort(used, kind="stable")
        share = 100 * (np.arange(len(used)) + 1) / len(used)
        marker = MARKERS[number // len(COLOURS) % len(MARKERS)]
        style: dict[str, Any] = {
            "color": colour,
            "linewidth": 2,
            "marker": marker,
            "markevery": max(1, len(used) // 10),
        }
        axes.step(share, used[order], where="mid", label=analysis.name, **style)
        test = analysis.record.test
        if isinstance(test, RadiiTest):
            limit = test.criterion.limits(analysis.votes.votes)
            label = "information limit, at the frequencies found" if number == 0 else None
            axes.step(share, np.sort(limit), where="mid", color=colour, linewidth=1, linestyle=":", label=label)
    axes.axhline(FIXED, color="0.4", linewidth=1, linestyle="--", label=f"{FIXED:,} votes for each")
    axes.set(yscale="log", xlim=(0, 100), xlabel="images, easiest first (%)", ylabel="votes")
    axes.set_ylim(5, 3 * FIXED)
    tidy(axes)
    legend_below(figure, title=caption(analyses))
    return figure


def write_sequential_report(analyses: Sequence[SequentialAnalysis], out: Path) -> ReportFiles:
    """Write the page to `out`, and its plot beside it as PNG and SVG; it loads nothing.

    Raises:
        InvalidInputError: nothing to report, or a name that does not end in .html.
        RunError: a file cannot be written.
    """
    return write_page(
        "sequential.html",
        analyses,
        draw_votes(analyses),
        out,
        fixed=FIXED,
        leaning=LEANING,
        deciding=isinstance(analyses[0].record.test, RadiiTest),
        tiles=[_tiles(analysis) for analysis in analyses],
    )


def _rows(
    record: SequentialRecord, votes: VoteTable, certified: Certified, radii: Sequence[float] | None
) -> tuple[Decided, ...]:
    test, outcome = record.test, certified.outcome
    assert outcome is not None  # noqa: S101 - every sequential test gives it
    right = certified.prediction == votes.label
    if isinstance(test, RadiiTest):
        shown, columns = test.radii, outcome
    else:  # at every radius: the votes stopped for all of them
        widest = float(np.max(certified.radius, initial=0.0))
        shown = tuple(table_radii(widest) if radii is None else radii)
        reached = (certified.radius[:, None] >= np.array(shown)) & (certified.prediction != ABSTAIN)[:, None]
        columns = np.where(reached, CERTIFIED, np.where(outcome == FUTILE, FUTILE, UNDECIDED))
    return tuple(
        Decided(
            float(radius),
            float(((column == CERTIFIED) & right).mean()),
            float(((column == CERTIFIED) & ~right).mean()),
            float((column == FUTILE).mean()),
            float((column == UNDECIDED).mean()),
        )
        for radius, column in zip(shown, columns.T, strict=True)
    )


def _usage(record: SequentialRecord, table: VoteTable, certified: Certified) -> Usage:
    used, test = table.votes.sum(-1), record.test
    over, fixed = None, None
    if isinstance(test, RadiiTest):
        limits = test.criterion.limits(table.votes)
        assert certified.outcome is not None  # noqa: S101 - every sequential test gives it
        sure = (certified.outcome != UNDECIDED).all(-1) & np.isfinite(limits)
        over = float(used[sure].sum() / limits[sure].sum()) if sure.any() else None
        some = certified.prediction != ABSTAIN
        if some.any() and isinstance(test.criterion, Exceeds):
            proof = (table.votes if table.certifying is None else table.certifying)[some]
            top, n, p0 = proof.max(-1), proof.sum(-1), certified.p1_lower[some]
            fixed = int(_votes_to_certify(top, n, p0, test.criterion.alpha).max())
    return Usage(
        total=int(used.sum()),
        mean=float(used.mean()),
        median=float(np.median(used)),
        most=float(np.quantile(used, 0.9, method="inverted_cdf")),
        largest=int(used.max()),
        over_limit=over,
        fixed=fixed,
    )


def _votes_to_certify(
    top: Int[np.ndarray, " images"],
    used: Int[np.ndarray, " images"],
    p0: Float[np.ndarray, " images"],
    alpha: float,
) -> Int[np.ndarray, " images"]:
    """Return the fixed number of votes that certifies p > p0 at the frequency top / used; by bisection.

    `used` is enough: the evidence at any moment is at most 1 / P(Bin(used, p0) >= top), since its expectation is at most 1.
    """
    low, high = np.zeros_like(used), used.copy()
    while (open_ := high - low > 1).any():
        n = np.where(open_, (low + high) // 2, high)
        enough = clopper_pearson_lower(top * n // used, n, alpha) > p0
        high, low = np.where(enough, n, high), np.where(enough, low, n)
    return high


def _tiles(analysis: SequentialAnalysis) -> list[dict[str, Any]]:
    votes, used = analysis.votes, analysis.votes.votes.sum(-1)
    outcome = analysis.certified.outcome
    assert outcome is not None  # noqa: S101 - every sequential test gives it
    tiles = []
    for row in np.lexsort((votes.index, -used))[:_TILES].tolist():
        abstained = "futile" if (outcome[row] == FUTILE).any() else "undecided"
        tiles.append(tile(analysis.record, votes, row, analysis.certified, abstained))
    return tiles
