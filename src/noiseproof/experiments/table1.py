"""Table 1 of the paper: STN beside reference [17], on MNIST at 1.58 and on CIFAR-10 at 36/255 in l2.

Every cell has three values: as printed in the paper; by the paper's procedure done right (`readings.papers`); ours
(`readings.ours`, with the statement that holds for the data set). STN's come from votes, those of [17] from
`verified.json`; what is not there is missing, with the command that makes it.

Where a run has sequential votes at the table's radius, for all seeds, these are what ours certifies there: so it is decided
before any is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noiseproof.evaluation.certified_accuracy import certified_accuracy
from noiseproof.experiments.figure import Figure, Result, Table, as_json
from noiseproof.experiments.networks import CIFAR_SIGMA, Network
from noiseproof.experiments.readings import PAPERS_ALPHA, allowance, ours, papers
from noiseproof.experiments.recipes import Reader
from noiseproof.experiments.verified import Verification
from noiseproof.experiments.votes import ALPHA, Run, find_decided, find_runs
from noiseproof.reports.accuracy_table import Cell, Column, Row, Value
from noiseproof.runs.sequential_records import SequentialRecord

__all__ = ["COLUMNS", "LINES", "RADII", "TABLE1", "WRITTEN", "Table1", "lines"]

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
        measured: by data set; a data set that is not there has no such model.
        printed: per cent, in the order of COLUMNS; none for what lies beyond the paper.
    """

    name: str
    measured: Mapping[str, Network | Verification]
    printed: tuple[float, ...] = ()


_STN_PRINTED = (69.0, 98.9, 65.6, 80.5)
_MODELS = (
    *(
        _Model(
            name,
            {data: Verification(data, radius, name == "[17] (Cascade)") for data, radius in RADII.items()},
            printed,
        )
        for name, printed in (("[17] (Single)", (43.5, 88.2, 53.0, 61.2)), ("[17] (Cascade)", (74.6, 81.4, 58.7, 68.8)))
    ),
    _Model(
        "STN",
        {"mnist": Network("mnist", "stn", 0.7, (0, 1, 2)), "cifar10": Network("cifar10", "stn", CIFAR_SIGMA)},
        _STN_PRINTED,
    ),
    _Model("STN, released network", {"cifar10": Network("cifar10", "released", CIFAR_SIGMA)}, _STN_PRINTED),
    # What noise can do at the table's radius with training that came later.
    _Model("Beyond the paper", {"mnist": Network("mnist", "smoothadv", 0.6)}),
    _Model("Beyond the paper, four networks as one", {"mnist": Network("mnist", "ensemble", 0.6)}),
    _Model(
        "Beyond the paper, certified at less noise", {"mnist": Network("mnist", "smoothadv-long", 0.55, trained=0.6)}
    ),
    _Model(
        "Beyond the paper, four as one, at less noise", {"mnist": Network("mnist", "ensemble-early", 0.55, trained=0.6)}
    ),
)


@dataclass(frozen=True, kw_only=True)
class Table1(Result):
    """The table: the paper's rows, one for the network that its authors released, and four beyond the paper."""

    rows: list[Row]


class _Table1(Figure[Table1]):
    name = "table1"

    def compute(self, records: Path) -> Table1:
        reader = Reader(records)
        rows = [_row(model, reader) for model in _MODELS]
        return Table1(rows=rows, missing=reader.missing, sources=reader.sources)

    def files(self, found: Table1) -> dict[str, bytes]:
        if not found.sources:
            return {}
        cells = [cell for row in found.rows for cell in row.plain(COLUMNS, RADII)]
        return {"table1.json": as_json({"cells": cells, "missing": [each.plain() for each in found.missing]})}

    def tables(self, found: Table1) -> list[Table]:
        headings = ("", "MNIST, robust", "MNIST, natural", "CIFAR-10, robust", "CIFAR-10, natural")
        rows = [line for row in found.rows for line in ([row.model], *([key, *texts] for key, texts in lines(row)))]
        notes = [f"{key}: {text.removeprefix(f'{key}: ')}" for key, text in LINES.items()]
        return [Table("table1", headings, rows, notes)]


TABLE1 = _Table1()


def lines(row: Row) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of a row: the key in LINES, and the text of every column."""
    return row.lines(COLUMNS, WRITTEN)


def _row(model: _Model, reader: Reader) -> Row:
    """Return a row: of reference [17] from what it verified, of networks with noise from votes."""
    printed = dict(zip(COLUMNS, model.printed, strict=False))
    cells: dict[Column, Cell] = {}
    verified: dict[str, str] = {}
    for data, source in model.measured.items():
        columns = [column for column in COLUMNS if column[0] == data]
        if isinstance(source, Network):
            runs = find_runs(source, reader)
            decided = find_decided(source, RADII[data], runs, reader, wanted=not model.printed)
            for column, radius in zip(columns, (RADII[data], 0.0), strict=True):
                cells[column] = _cell(printed.get(column), runs, decided, radius)
            continue
        found = reader.find(source)
        values: list[Value | None] = [None, None]
        if found is not None:
            verified[data] = ", ".join(stage["name"] for stage in found.stages)
            errors = (found.certified_error, found.clean_error)
            values = [Value((), (1.0 - error,), None, 0, found.images) for error in errors]
        cells |= {column: Cell(printed[column], verified=each) for column, each in zip(columns, values, strict=True)}
    return Row(model.name, cells, isinstance(source, Verification), verified)


def _cell(printed: float | None, runs: list[Run], decided: list[SequentialRecord], radius: float) -> Cell:
    """Return a cell of STN: certified at a radius, or, at 0, natural accuracy.

    The paper does not multiply natural accuracy, that of the class with most votes; ours is certified too: right, and
    proven to be what the smoothed classifier says.
    """
    if not runs:
        return Cell(printed)
    at, seeds = np.array([radius]), tuple(run.seed for run in runs if run.network.has_seed)
    images, votes = len(runs[0].votes), runs[0].record.settings.samples
    if radius:
        paper = papers(runs, at).values[:, 0]
    else:
        paper = np.array([(run.votes.votes.argmax(-1) == run.votes.label).mean() for run in runs])
    by_paper = Value(seeds, tuple(paper.tolist()), None, votes, images)
    sequential, by_two = bool(decided and radius), False
    if sequential:
        tables = [(record, record.read()) for record in decided]
        mine = np.array([certified_accuracy(record.certify(table), table.label, at)[0] for record, table in tables])
        procedure = decided[0].settings.procedure
        votes, by_two = procedure["cap"], bool(procedure.get("runner_up"))
    else:
        mine = ours(runs, at).values[:, 0]
    least = max(float(mine.mean()) - allowance(images, len(runs)), 0.0)
    return Cell(printed, by_paper, Value(seeds, tuple(mine.tolist()), least, votes, images, sequential, by_two))
