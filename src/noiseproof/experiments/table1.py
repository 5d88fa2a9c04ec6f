"""Table 1 of the paper: STN beside reference [17], on MNIST at 1.58 and on CIFAR-10 at 36/255 in l2.

Every cell has three values: as printed in the paper; by the paper's procedure done right (`readings.papers`); ours
(`readings.ours`, with the statement that holds for the data set). STN's come from votes, those of [17] from
`verified.json`; what is not there is missing, with the command that makes it.

Where a run has sequential votes at the table's radius, for all seeds, these are what ours certifies there: so it is decided
before any is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from noiseproof.evaluation.certified_accuracy import certified_accuracy
from noiseproof.experiments.figure import Figure, Result, Table
from noiseproof.experiments.networks import CIFAR_SIGMA, TITLES, Network
from noiseproof.experiments.readings import PAPERS_ALPHA, allowance, ours, papers
from noiseproof.experiments.recipes import Reader
from noiseproof.experiments.verified import Verification
from noiseproof.experiments.votes import ALPHA, Run, find_decided, find_runs, known_seeds
from noiseproof.reports.accuracy_table import Cell, Column, Row, Value
from noiseproof.runs.sequential_records import SequentialRecord

__all__ = ["COLUMNS", "LINES", "RADII", "TABLE1", "WRITTEN"]

RADII = {"mnist": 1.58, "cifar10": 36 / 255}
"""Of the perturbation in l2, by data set; the paper writes 36.00 for the second."""

WRITTEN = {"mnist": "1.58", "cifar10": "36/255"}
"""The same as the paper means them."""

COLUMNS = tuple((data, kind) for data in RADII for kind in ("robust", "natural"))
"""Data set and kind of accuracy of the paper's four columns."""

LINES = {
    "printed": "as printed",
    "paper": f"the paper's procedure done right: Bonferroni, Rényi, α {PAPERS_ALPHA:g}, × 95 %",
    "ours": f"ours: tight, α {ALPHA:g}, two-phase or sequential votes; at least, with 95 % confidence",
    "verified": "verified here, without noise: one value for both procedures",
}
"""The three values of a cell, and what they are called; the last stands for two of them where no votes are taken."""


@dataclass(frozen=True)
class _Model:
    """A row of the table.

    Attributes:
        name: as it stands there.
        measured: what it is on each data set; on one that is not there nobody has such a model.
        printed: per cent, in the order of COLUMNS; none for what lies beyond the paper.
    """

    name: str
    measured: Sequence[Network | Verification]
    printed: tuple[float, ...] = ()


def _reference17(*, cascade: bool) -> list[Verification]:
    return [Verification(data, radius, cascade) for data, radius in RADII.items()]


_STN_PRINTED = (69.0, 98.9, 65.6, 80.5)
_MODELS = (
    _Model("[17] (Single)", _reference17(cascade=False), (43.5, 88.2, 53.0, 61.2)),
    _Model("[17] (Cascade)", _reference17(cascade=True), (74.6, 81.4, 58.7, 68.8)),
    _Model("STN", [Network("mnist", "stn", 0.7, (0, 1, 2)), Network("cifar10", "stn", CIFAR_SIGMA)], _STN_PRINTED),
    _Model("STN, released network", [Network("cifar10", "released", CIFAR_SIGMA)], _STN_PRINTED),
    # What noise can do at the table's radius with training that came later.
    _Model("Beyond the paper", [Network("mnist", "smoothadv", 0.6)]),
    _Model("Beyond the paper, four networks as one", [Network("mnist", "ensemble", 0.6)]),
    _Model("Beyond the paper, certified at less noise", [Network("mnist", "smoothadv-long", 0.55, trained=0.6)]),
    _Model("Beyond the paper, four as one, at less noise", [Network("mnist", "ensemble-early", 0.55, trained=0.6)]),
)


class _Table1(Figure[list[Row]]):
    """The table: the paper's rows, one for the network that its authors released, and four beyond the paper."""

    name = "table1"
    title = "Table 1"

    def read(self, reader: Reader) -> list[Row]:
        return [_row(model, reader) for model in _MODELS]

    def numbers(self, found: Result[list[Row]]) -> dict[str, Any] | None:
        cells = [cell for row in found.content for cell in row.plain(COLUMNS, RADII)]
        return {"cells": cells, "missing": [each.plain() for each in found.missing]} if found.sources else None

    def tables(self, content: list[Row]) -> list[Table]:
        headings = ["", *(f"{TITLES[data]}, {kind}" for data, kind in COLUMNS)]
        rows = [
            line
            for row in content
            for line in ([row.model], *([key, *texts] for key, texts in row.lines(COLUMNS, WRITTEN)))
        ]
        notes = [f"{key}: {text.removeprefix(f'{key}: ')}" for key, text in LINES.items()]
        return [Table("table1", headings, rows, notes)]


TABLE1 = _Table1()


def _row(model: _Model, reader: Reader) -> Row:
    """Return a row: of reference [17] from what it verified, of networks with noise from votes."""
    printed = dict(zip(COLUMNS, model.printed, strict=False))
    cells: dict[Column, Cell] = {}
    verified: dict[str, str] = {}
    for source in model.measured:
        robust, natural = (column for column in COLUMNS if column[0] == source.data)
        if isinstance(source, Network):
            runs = find_runs(source, reader)
            decided = find_decided(source, RADII[source.data], runs, reader, wanted=not model.printed)
            cells[robust] = _cell(printed.get(robust), runs, RADII[source.data], decided)
            cells[natural] = _cell(printed.get(natural), runs, 0.0)
        elif (found := reader.find(source)) is None:
            cells |= {column: Cell(printed[column]) for column in (robust, natural)}
        else:
            verified[source.data] = ", ".join(stage["name"] for stage in found.stages)
            for column, error in ((robust, found.certified_error), (natural, found.clean_error)):
                value = Value((), (1.0 - error,), None, 0, found.images)
                cells[column] = Cell(printed[column], verified=value)
    return Row(model.name, cells, isinstance(source, Verification), verified)


def _cell(printed: float | None, runs: list[Run], radius: float, decided: Sequence[SequentialRecord] = ()) -> Cell:
    """Return a cell of STN: certified at a radius, or, at 0, natural accuracy.

    The paper does not multiply natural accuracy, that of the class with most votes; ours is certified too: right, and
    proven to be what the smoothed classifier says.

    Args:
        printed: per cent; None where the paper has none.
        runs: fixed votes of each seed; none where they are missing.
        radius: in l2.
        decided: sequential votes at the radius of each seed, which go before the fixed ones under our procedure.
    """
    if not runs:
        return Cell(printed)
    at, seeds = np.array([radius]), known_seeds(runs)
    images, votes, by_two = len(runs[0].votes), runs[0].record.settings.samples, False
    natural = [float((run.votes.votes.argmax(-1) == run.votes.label).mean()) for run in runs]
    paper = Value(seeds, tuple(papers(runs, at)[:, 0].tolist() if radius else natural), None, votes, images)
    mine = ours(runs, at)[:, 0]
    if decided:
        tables = [(record, record.read()) for record in decided]
        mine = np.array([certified_accuracy(record.certify(table), table.label, at)[0] for record, table in tables])
        procedure = decided[0].settings.procedure
        votes, by_two = procedure["cap"], bool(procedure.get("runner_up"))
    least = max(float(mine.mean()) - allowance(images, len(runs)), 0.0)
    return Cell(printed, paper, Value(seeds, tuple(mine.tolist()), least, votes, images, bool(decided), by_two))
