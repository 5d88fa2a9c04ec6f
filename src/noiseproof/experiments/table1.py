"""Table 1 of the paper (section 6.1): STN and reference [17], on MNIST at 1.58 and on CIFAR-10 at 36/255 in l2.

Every cell has three values: as printed; by the paper's procedure done right (`readings.papers`); by ours (`readings.ours`,
with the lower bound `readings.allowance`). Those of STN come from votes, those of [17] (Wong et al. 2018) from
`verified.json`. A cell without a record is missing, with the command that makes it.

DIR/mnist/kw-single    one network of [17]
DIR/mnist/kw-cascade   two, the second for the images that the first does not certify

Where all seeds have sequential votes at the table's radius, our value is theirs. This is fixed before any vote is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noiseproof.evaluation.certified_accuracy import certified_accuracy
from noiseproof.experiments.figure import Figure, Result
from noiseproof.experiments.networks import CIFAR_SIGMA, TITLES, Network
from noiseproof.experiments.readings import PAPERS_ALPHA, allowance, ours, papers
from noiseproof.experiments.recipes import Facts, Reader, Recipe, Step
from noiseproof.experiments.votes import ALPHA, Run, find_decided, find_runs, known_seeds
from noiseproof.reports.accuracy_table import Cell, Column, Row, Value
from noiseproof.reports.tables import Table
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.verification_records import Verified
from noiseproof.training import CHECKPOINT

__all__ = ["COLUMNS", "LINES", "RADII", "TABLE1", "WRITTEN", "Verification"]

RADII = {"mnist": 1.58, "cifar10": 36 / 255}
"""The l2 radius, by data set; the paper writes 36.00 for 36/255."""

WRITTEN = {"mnist": "1.58", "cifar10": "36/255"}
"""The radii as text."""

COLUMNS = tuple((data, kind) for data in RADII for kind in ("robust", "natural"))
"""The paper's four columns: data set and kind of accuracy."""

LINES = {
    "printed": "as printed",
    "paper": f"the paper's procedure done right: Bonferroni, Rényi, α {PAPERS_ALPHA:g}, × 95 %",
    "ours": f"tight, α {ALPHA:g}, two-phase or sequential votes; at least, with 95 % confidence",
    "verified": "verified here, without noise: one value for both procedures",
}
"""The values of a cell by key; the last takes the place of the two before it where no votes are taken."""


_TRAINING = {"ramp_epochs": 1, "schedule": "cosine", "batch_size": 32, "epochs": 2, "seed": 0}
_HOUR = (4000.0, "one core")


@dataclass(frozen=True)
class Verification(Recipe[Verified]):
    """The verification of a network of reference [17], or of a cascade of two, in l2 at the table's radius.

    Attributes:
        data: name of the data set.
        cascade: whether it is a cascade of two networks.
    """

    data: str
    cascade: bool

    record = Verified

    @property
    def title(self) -> str:
        """Its name in Table 1, and the data set."""
        return f"[17] ({'Cascade' if self.cascade else 'Single'}), {self.data}"

    @property
    def folder(self) -> str:
        """A folder beside those of the networks with noise."""
        return f"{self.data}/kw-{'cascade' if self.cascade else 'single'}"

    def steps(self, records: Path) -> list[Step]:
        """Train the networks that do not exist yet, and verify.

        On CIFAR-10 the cascade is the one released by the authors of [17], its stages saved one by one; on MNIST its first
        stage is the single network.
        """
        folder, single, radius = records / self.folder, records / self.data / "kw-single", RADII[self.data]
        network = f"kw-{self.data.removesuffix('10')}-small"
        runs = [single] if not self.cascade else [single, folder / "stage2"] if self.data == "mnist" else []
        steps = []
        for number, run in enumerate(runs):
            if not (run / CHECKPOINT).exists():
                own = {"data": self.data, "model": network, "objective": "convex-outer", "set": f"epsilon={radius!r}"}
                steps.append(Step.of(run, "train", cost=_HOUR, **own, **_TRAINING, out=run, after=runs[:number]))
        stages = [str(run / CHECKPOINT) for run in runs] or [f"{network}=stage{number}.pth" for number in range(2)]
        options = {"data": self.data, "radius": radius, "every": 10, "stage": stages}
        return [*steps, Step.of(folder, "verify", folder, cost=(60.0, "one core"), **options)]

    def facts(self, record: Verified) -> Facts:
        """Compare data, norm and radius, and whether there are several networks."""
        yield "data", self.data, record.data.get("name")
        yield "split", "test", record.data.get("split")
        yield "norm", "l2", record.norm
        yield "radius", f"{RADII[self.data]:.9g}", f"{record.radius:.9g}"
        yield "a cascade", self.cascade, len(record.stages) > 1


@dataclass(frozen=True)
class _Model:
    """A row of the table.

    Attributes:
        name: its name in the table.
        measured: the network on each data set for which there is such a model.
        printed: per cent, in the order of COLUMNS; empty for models beyond the paper.
    """

    name: str
    measured: Sequence[Network | Verification]
    printed: tuple[float, ...] = ()


_STN_PRINTED = (69.0, 98.9, 65.6, 80.5)
_MODELS = (
    _Model(
        "[17] (Single)",
        [Verification(data, cascade=False) for data in RADII],
        (43.5, 88.2, 53.0, 61.2),
    ),
    _Model(
        "[17] (Cascade)",
        [Verification(data, cascade=True) for data in RADII],
        (74.6, 81.4, 58.7, 68.8),
    ),
    _Model("STN", [Network("mnist", "stn", 0.7, (0, 1, 2)), Network("cifar10", "stn", CIFAR_SIGMA)], _STN_PRINTED),
    _Model("STN, released network", [Network("cifar10", "released", CIFAR_SIGMA)], _STN_PRINTED),
    # What noise can do at the table's radius with training that came later.
    _Model("Beyond the paper", [Network("mnist", "smoothadv", 0.6)]),
    _Model("Beyond the paper, four networks as one", [Network("mnist", "ensemble", 0.6)]),
    _Model("Beyond the paper, certified at less noise", [Network("mnist", "smoothadv-long", 0.55, trained=0.6)]),
    _Model("Beyond the paper, four as one, at less noise", [Network("mnist", "ensemble-early", 0.55, trained=0.6)]),
)


class _Table1(Figure[list[Row]]):
    """The table: the paper's rows, one for the network released by its authors, and four beyond the paper."""

    name = "table1"
    title = "Table 1"

    def read(self, reader: Reader) -> list[Row]:
        return [_row(model, reader) for model in _MODELS]

    def numbers(self, found: Result[list[Row]]) -> dict[str, Any] | None:
        cells = [cell for row in found.content for cell in row.plain(COLUMNS, RADII)]
        return {"cells": cells, "missing": [each.plain() for each in found.missing]} if found.sources else None

    def tables(self, content: list[Row]) -> list[Table]:
        headings = ["", *(f"{TITLES[data]}, {kind}" for data, kind in COLUMNS)]
        rows = [line for row in content for line in row.table(COLUMNS, WRITTEN)]
        return [Table("table1", headings, rows, [f"{key}: {text}" for key, text in LINES.items()])]


TABLE1 = _Table1()


def _row(model: _Model, reader: Reader) -> Row:
    """Return a row: from the verification for reference [17], from votes for networks with noise."""
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
    """Return a cell from votes: certified accuracy at a radius or, at 0, natural accuracy.

    The paper's natural accuracy is that of the class with most votes and is not multiplied. Ours is certified: the class is
    right and proven to be the prediction of the smoothed classifier.

    Args:
        printed: per cent; None where the paper prints none.
        runs: fixed votes of each seed; empty where they are missing.
        radius: l2 radius.
        decided: sequential votes of each seed at the radius, which our procedure uses in place of the fixed ones.
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
