"""Table 1 of the paper: STN beside reference [17], on MNIST at 1.58 and on CIFAR-10 at 36/255 in l2.

Every cell has three values: as printed in the paper; by the paper's procedure done right (`procedures.papers`); ours
(`procedures.ours`, with the statement that holds for the data set). STN's come from votes, those of [17] from
`verified.json`; what is not there is missing, with the command that makes it: `runs` says where it lies.

Where a run has votes that stopped by themselves at the table's radius, for all seeds, these are what ours certifies
there: so it is decided before any is read.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from noiseproof.errors import NoiseproofError, RunError
from noiseproof.evaluation.certified_accuracy import certified_accuracy
from noiseproof.experiments.procedures import ALPHA, PAPERS_ALPHA, allowance, ours, papers
from noiseproof.experiments.runs import CIFAR_SIGMA, Missing, Network, Run, read_decided, read_runs
from noiseproof.reports.analysis import percent_down
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.verification import FILE, Verified
from noiseproof.storage.files import write_atomically
from noiseproof.training import CHECKPOINT

__all__ = ["COLUMNS", "LINES", "RADII", "WRITTEN", "Cell", "Row", "Table1", "Value", "compute", "lines", "write"]

RADII = {"mnist": 1.58, "cifar10": 36 / 255}
"""Of the perturbation in l2, by data set; the paper writes 36.00 for the second."""

WRITTEN = {"mnist": "1.58", "cifar10": "36/255"}
"""The same as the paper means them."""

COLUMNS = tuple((data, kind) for data in RADII for kind in ("robust", "natural"))
"""Data set and kind of accuracy of the paper's four columns."""

LINES = {
    "printed": "as printed",
    "paper": f"the paper's procedure done right: Bonferroni, Rényi, α {PAPERS_ALPHA:g}, × 95 %",
    "ours": f"ours: tight, α {ALPHA:g}, two-phase or votes that stopped when it was known; at least, with 95 % confidence",
    "verified": "verified here, without noise: one value for both procedures",
}
"""The three values of a cell, and what they are called; the last stands for two of them where no votes are taken."""

_PRINTED = {
    "[17] (Single)": (43.5, 88.2, 53.0, 61.2),
    "[17] (Cascade)": (74.6, 81.4, 58.7, 68.8),
    "STN": (69.0, 98.9, 65.6, 80.5),
}
"""Per cent, in the order of COLUMNS."""

_FOLDERS = {"[17] (Single)": "kw-single", "[17] (Cascade)": "kw-cascade"}

_VERIFIED_RECIPE = shlex.split("--ramp-epochs 1 --schedule cosine --batch-size 32 --epochs 2 --seed 0")

_STN = {
    "STN": {"mnist": Network("mnist", "stn", 0.7, (0, 1, 2)), "cifar10": Network("cifar10", "stn", CIFAR_SIGMA)},
    "STN, released network": {"cifar10": Network("cifar10", "released", CIFAR_SIGMA)},
}

_BEYOND = {
    "Beyond the paper": {"mnist": Network("mnist", "smoothadv", 0.6)},
    "Beyond the paper, four networks as one": {"mnist": Network("mnist", "ensemble", 0.6)},
    "Beyond the paper, certified at less noise": {"mnist": Network("mnist", "smoothadv-long", 0.55, trained=0.6)},
    "Beyond the paper, four as one, at less noise": {"mnist": Network("mnist", "ensemble-early", 0.55, trained=0.6)},
}
"""What noise can do at the table's radius with training that came later."""

_MOST = 1_000_000
"""Votes that an image of these may take."""


@dataclass(frozen=True)
class Value:
    """One measured value: shares of the images, a number for each seed.

    Attributes:
        seeds: of training; none where they are not known.
        shares: one each.
        at_least: lower bound of their mean, with 95 % confidence; None where nothing of the kind is claimed.
        votes: per image; the most there can be where they stop by themselves; 0 for a verifier, which takes none.
        images: N.
        stopped: whether votes stopped by themselves, when the radius was decided.
        runner_up: whether winner and runner-up decided together.
    """

    seeds: tuple[int, ...]
    shares: tuple[float, ...]
    at_least: float | None
    votes: int
    images: int
    stopped: bool = False
    runner_up: bool = False

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.shares))


@dataclass(frozen=True)
class Cell:
    """A cell of the table; None is missing.

    Attributes:
        printed: per cent, as the paper has it; None where it has no such model.
        paper: by its procedure.
        ours: by ours.
        verified: by a deterministic verifier, in place of both.
    """

    printed: float | None
    paper: Value | None = None
    ours: Value | None = None
    verified: Value | None = None


@dataclass(frozen=True)
class Row:
    """A model of the table.

    Attributes:
        model: its name.
        cells: by column; a column that is not there has no such model.
        deterministic: whether it is verified and not voted on.
        networks: by data set, what was verified, as its file says.
    """

    model: str
    cells: Mapping[tuple[str, str], Cell]
    deterministic: bool = False
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table1:
    """The table.

    Attributes:
        rows: the paper's, one for the network that its authors released, and four beyond the paper.
        missing: what would fill the cells that are missing.
        sources: the records that were read, by the name of their folder.
    """

    rows: list[Row]
    missing: list[Missing]
    sources: dict[str, Run | SequentialRecord | Verified] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """Whether any cell has more than the print."""
        return bool(self.sources)


def compute(records: Path) -> Table1:
    """Return the table from the records there are."""
    table = Table1([], [])
    for model, folder in _FOLDERS.items():
        cells, names = {}, {}
        for data in RADII:
            found = _verified(table, records / data / folder, data, model)
            for kind, error in (("robust", "certified_error"), ("natural", "clean_error")):
                printed = _PRINTED[model][COLUMNS.index((data, kind))]
                value = None
                if found is not None:
                    right = 1.0 - getattr(found, error)
                    value = Value((), (right,), None, 0, found.images)
                cells[data, kind] = Cell(printed, verified=value)
            if found is not None:
                names[data] = ", ".join(stage["name"] for stage in found.stages)
        table.rows.append(Row(model, cells, deterministic=True, networks=names))
    for model, networks in (_STN | _BEYOND).items():
        cells = {}
        for data, network in networks.items():
            runs, missing = read_runs(network, records)
            table.missing.extend(missing)
            table.sources.update({str(run.record.path): run for run in runs})
            decided = _decided(table, runs, RADII[data], wanted=model in _BEYOND)
            for kind in ("robust", "natural"):
                of_stn = _PRINTED["STN"][COLUMNS.index((data, kind))] if model in _STN else None
                cells[data, kind] = _cell(of_stn, runs, decided, RADII[data] if kind == "robust" else 0.0)
        table.rows.append(Row(model, cells))
    return table


def _verified(table: Table1, folder: Path, data: str, model: str) -> Verified | None:
    """Read the result of a verification, or say in the table why there is none."""
    cascade = folder.name == _FOLDERS["[17] (Cascade)"]
    command = _verification(folder, data)
    what = f"{model}, {data}"
    if not (folder / FILE).exists():
        table.missing.append(Missing(what, "not there", command))
        return None
    try:
        found = Verified.read(folder)
        wanted = {"data": data, "split": "test", "norm": "l2", "radius": f"{RADII[data]:.9g}", "cascade": cascade}
        about = {"data": found.data.get("name"), "split": found.data.get("split"), "norm": found.norm}
        about |= {"radius": f"{found.radius:.9g}", "cascade": len(found.stages) > 1}
        if wanted != about:
            raise RunError(
                str(folder / FILE),
                required=f"of {wanted}",
                got=about,
                remedy="Move it away, and verify what is wanted.",
            )
    except NoiseproofError as error:
        table.missing.append(Missing(what, str(error), command))
        return None
    table.sources[str(folder)] = found
    return found


def _verification(folder: Path, data: str) -> str:
    """Return the command that trains what is not there yet, and verifies it.

    CIFAR-10's cascade is the one that the authors released, its stages saved one by one; MNIST's goes on from the single
    network.
    """
    network, radius, single = f"kw-{data.removesuffix('10')}-small", RADII[data], folder.parent / "kw-single"
    if folder.name != _FOLDERS["[17] (Cascade)"]:
        runs = [single]
    elif data == "mnist":
        runs = [single, folder / "stage2"]
    else:
        runs = []
    commands = []
    for number, run in enumerate(runs):
        if not (run / CHECKPOINT).exists():
            train = ["noiseproof", "train", "--data", data, "--model", network, "--objective", "convex-outer"]
            train += ["--set", f"epsilon={radius!r}", *_VERIFIED_RECIPE, "--out", str(run)]
            commands.append(
                shlex.join([*train, *(part for before in runs[:number] for part in ("--after", str(before)))])
            )
    stages = [str(run / CHECKPOINT) for run in runs] or [f"{network}=stage{number}.pth" for number in range(2)]
    verify = ["python", "-m", "noiseproof.runs.verification", str(folder), "--data", data, "--radius", repr(radius)]
    verify += ["--every", "10", *(part for stage in stages for part in ("--stage", stage))]
    return " && ".join([*commands, shlex.join(verify)])


def _decided(table: Table1, runs: list[Run], radius: float, *, wanted: bool) -> list[SequentialRecord] | None:
    """Return the votes that stopped by themselves, of every seed, or None; what does not fit, or is wanted, is named."""
    found = []
    for run in runs:
        what = f"{run.network.title}, votes that stop at {radius:g}"
        try:
            record = read_decided(run, radius)
            if record is not None and record.settings.procedure["alpha"] != ALPHA:
                raise RunError(
                    str(record.path),
                    required=f"decided at alpha {ALPHA:g}",
                    got=record.settings.procedure["alpha"],
                    remedy="Decide it again with --alpha, or move it away.",
                )
        except NoiseproofError as error:
            table.missing.append(Missing(what, str(error), run.network.deciding(run, radius, _MOST)))
        else:
            found += [] if record is None else [record]
            if record is None and wanted:
                table.missing.append(Missing(what, "not there", run.network.deciding(run, radius, _MOST)))
    if not runs or len(found) < len(runs):
        return None
    procedures = [record.settings.procedure for record in found]
    if any(procedure != procedures[0] for procedure in procedures):
        what = f"{runs[0].network.title}, votes that stop at {radius:g}"
        table.missing.append(Missing(what, "those of the seeds were stopped by different procedures", ""))
        return None
    table.sources.update({str(record.path): record for record in found})
    return found


def _cell(printed: float | None, runs: list[Run], decided: list[SequentialRecord] | None, radius: float) -> Cell:
    """Return a cell of STN: certified at a radius, or, at 0, natural accuracy.

    The paper does not multiply natural accuracy, that of the class with most votes; ours is certified too: right, and
    proven to be what the smoothed classifier says.
    """
    if not runs:
        return Cell(printed)
    at, seeds = np.array([radius]), runs[0].network.known(runs)
    images, votes = len(runs[0].votes), runs[0].record.settings.samples
    if radius:
        paper = papers(runs, at).values[:, 0]
    else:
        paper = np.array([(run.votes.votes.argmax(-1) == run.votes.label).mean() for run in runs])
    mine, allowed = ours(runs, at).values[:, 0], allowance(images, len(runs))
    ours_votes, stopped, by_two = votes, decided is not None and radius > 0.0, False
    if decided is not None and radius:
        tables = [record.read() for record in decided]
        mine = np.array(
            [
                certified_accuracy(record.certify(table), table.label, at)[0]
                for record, table in zip(decided, tables, strict=True)
            ]
        )
        ours_votes = decided[0].settings.procedure["cap"]
        by_two = bool(decided[0].settings.procedure.get("runner_up"))
    least = max(float(mine.mean()) - allowed, 0.0)
    return Cell(
        printed,
        Value(seeds, tuple(paper.tolist()), None, votes, images),
        Value(seeds, tuple(mine.tolist()), least, ours_votes, images, stopped, by_two),
    )


def lines(row: Row) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of a row: the key in LINES, and the text of every column."""
    for key in ("printed", "verified") if row.deterministic else ("printed", "paper", "ours"):
        yield key, [_text(row.cells.get(column), key, column) for column in COLUMNS]


def _text(cell: Cell | None, key: str, column: tuple[str, str]) -> str:
    """Return what stands in a cell: "a (b %)", as the paper writes a bound a with an accuracy b."""
    data, kind = column
    if cell is None:
        return "–"
    value: Value | float | None = getattr(cell, key)
    if value is None:
        return "–" if key == "printed" else "missing"
    if isinstance(value, float):
        text = f"{value:.1f} %"
    else:
        # the paper's is called a bound, and is rounded as one
        as_bound = key == "paper" and kind == "robust"
        mean, low, high = (
            percent_down(share, "") if as_bound else f"{100 * share:.1f}"
            for share in (value.mean, min(value.shares), max(value.shares))
        )
        text = f"{mean} %" + (f" [{low} to {high}]" if len(value.shares) > 1 else "")
    text = f"{WRITTEN[data]} ({text})" if kind == "robust" else text
    least = value.at_least if isinstance(value, Value) else None
    return text if least is None else f"{text}, at least {percent_down(least)}"


def write(table: Table1, folder: Path) -> list[Path]:
    """Write table1.json, all values with their seeds, and return its path."""
    content = [
        {"model": row.model, "data": data, "accuracy": kind, **_plain(row.cells[data, kind], data, kind)}
        for row in table.rows
        for data, kind in COLUMNS
        if (data, kind) in row.cells
    ]
    path = folder / "table1.json"
    missing = [asdict(each) for each in table.missing]
    write_atomically(path, json.dumps({"cells": content, "missing": missing}, indent=1).encode())
    return [path]


def _plain(cell: Cell, data: str, kind: str) -> dict[str, Any]:
    values = {key: value for key, value in asdict(cell).items() if key != "printed" and value is not None}
    radius: dict[str, Any] = {"radius": RADII[data]} if kind == "robust" else {}
    printed = None if cell.printed is None else cell.printed / 100
    return radius | {"printed": printed} | (values or {"measured": "missing"})
