"""All tables and figures from records, in one folder, with a self-contained page.

Commands, seeds, durations and machines are those that the records state. `differences.json` explains why printed numbers
differ, each with the experiment that shows it; what the experiments found is computed here.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from noiseproof.experiments import FIGURES, load_figure
from noiseproof.experiments.figure import Figure, Result
from noiseproof.experiments.figure1 import TABLE_RADII
from noiseproof.experiments.figure5 import claims
from noiseproof.experiments.gain import gains
from noiseproof.experiments.networks import CIFAR_SIGMA
from noiseproof.experiments.readings import CERTIFICATES, WAYS, crossed
from noiseproof.experiments.recipes import Missing, Reader
from noiseproof.experiments.table1 import RADII, WRITTEN
from noiseproof.experiments.votes import Run
from noiseproof.numerics.decimals import percent, percent_down, round_down
from noiseproof.reports.page import render
from noiseproof.reports.sources import sources
from noiseproof.reports.tables import Table, per_cent

__all__ = ["PAGE", "Page", "Reading"]

_REACHES = (WAYS[2], *WAYS[:2])
"""The procedures whose radius of unanimous votes is tabulated."""

_NEVER = [Missing("Figure 2, ImageNet", "no network and no record: ImageNet is not at hand")]
"""Results of the paper for which the package has no experiment."""


@dataclass(frozen=True)
class Reading:
    """The votes of one network, evaluated by several procedures.

    Attributes:
        run: the votes of its first seed that has a record.
    """

    run: Run

    @cached_property
    def certified(self) -> list[np.ndarray]:
        """Certified accuracy by each of `WAYS` at `TABLE_RADII`."""
        return [way.certified(self.run, TABLE_RADII[self.run.network.data]) for way in WAYS]

    def tables(self, name: str) -> Iterator[Table]:
        """Yield the table of `certified`, and that of every bound with every certificate at the radius of Table 1."""
        run, data, settings = self.run, self.run.network.data, self.run.record.settings
        title = f"{name}, certified in per cent at radius, nothing multiplied and nothing subtracted"
        rows = [
            [way.title, str(way.samples(run)), *per_cent(shares, percent_down)]
            for way, shares in zip(WAYS, self.certified, strict=True)
        ]
        yield Table(title, ("", "votes", *(round_down(radius, None) for radius in TABLE_RADII[data])), rows)
        title = f"{name}, certified in per cent at {WRITTEN[data]}, α 0.001, {settings.samples} votes"
        rows = [[bound, *per_cent(shares, percent_down)] for bound, shares in crossed(run, RADII[data])]
        note = f"Record: {run.record.path}. Readings of fewer votes take those of the selection phase."
        yield Table(title, ("", *(type(each).__name__ for each in CERTIFICATES)), rows, [note])

    def interval(self) -> str:
        """Return in words the accuracies at the printed radii by the released code, as mended, and by the text."""
        columns = zip(TABLE_RADII[self.run.network.data], *self.certified[:3], strict=True)
        words = "at {} {} passed .95, {} passed .05, {} by the text"
        parts = [
            words.format(round_down(radius, None), *map(percent_down, shares))
            for radius, *shares in columns
            if radius in {1.4, 1.58, 36 / 255}
        ]
        return f"{WAYS[0].samples(self.run)} votes: " + ", ".join(parts)


@dataclass(frozen=True)
class Page:
    """Everything computed from a folder of records.

    Attributes:
        records: the folder.
        figures: all figures and tables, by name.
        results: what they computed, by name.
        readings: the same votes evaluated by several procedures, by network.
    """

    records: Path
    figures: Mapping[str, Figure[Any]]
    results: Mapping[str, Result[Any]]
    readings: Mapping[str, Reading]

    @cached_property
    def reaches(self) -> dict[int, list[float]]:
        """Radius of unanimous votes in units of sigma, for every number of votes in use.

        By the paper's text, and by the released code with .95 and .05 as the argument of its interval.
        """
        counts = {way.samples(reading.run) for reading in self.readings.values() for way in WAYS} | {100}
        return {samples: [way.reach(samples) for way in _REACHES] for samples in sorted(counts)}

    @cached_property
    def differences(self) -> list[dict[str, str]]:
        """Differences from the printed numbers: where, printed, why, experiment, and what it found."""
        file = files("noiseproof.experiments").joinpath("differences.json")
        entries: list[dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))
        found = list(self._findings())
        for entry in entries:
            nothing = "nothing on it in these records" if entry["records"] else ""
            entry["found"] = "; ".join(text for key, text in found if key == entry["id"]) or nothing
            entry["experiment"] = entry["experiment"].replace("{records}", str(self.records))
        return entries

    def _findings(self) -> Iterator[tuple[str, str]]:
        """Yield what the experiments found, as pairs of the `id` of a difference and a sentence on it."""
        panels, runs = self.results["figure1"].content, self.results["figure1"].sources.values()
        for name, reading in self.readings.items():
            if reading.run.network.sigma in {0.7, CIFAR_SIGMA}:  # whose certified accuracy the paper prints
                yield "interval", f"{name}, {reading.interval()}"
        for samples, (by_text, *_) in self.reaches.items():
            yield "samples", f"{samples} votes: {round_down(by_text)} sigma"
        for curve in (curve for panel in panels.values() for curve in panel.curves if curve.name == "STN, sigma 0.7"):
            at = dict(zip(TABLE_RADII["mnist"].tolist(), map(percent_down, curve.table["ours"].mean), strict=True))
            yield "two-numbers", f"ours falls from {at[1.4]} at 1.4 to {at[1.58]} at 1.58"
        yield from (("stability", text) for text in gains([run for run in runs if isinstance(run, Run)]))
        for claim in claims(self.results["figure5"].content):
            yield "pixeldp", f"{claim.claim}: on {percent(claim.share)} of the grid"
        cells = [(row.model, *each) for row in self.results["table1"].content for each in row.cells.items()]
        for model, (data, kind), cell in cells:
            if kind == "natural" and model == "STN" and cell.paper is not None:
                yield "natural", f"{data}: {percent(cell.paper.mean)} voted, {cell.printed:.1f} % printed"
            elif kind == "robust" and cell.verified is not None:
                yield "verifier", f"{model}, {data}: {percent_down(cell.verified.mean)}, {cell.printed:.1f} % printed"


class _Page(Figure[Page]):
    name = "reproduction"
    title = "Certified Adversarial Robustness with Additive Noise (Li, Chen, Wang, Carin 2019), reproduced"

    def read(self, reader: Reader) -> Page:
        figures = {name: load_figure(name) for name in FIGURES if name != "all"}
        results = {name: figure.compute(reader.folder) for name, figure in figures.items()}
        missing: list[Missing] = []
        for name, result in results.items():
            reader.sources |= result.sources
            where = figures[name].title.partition(":")[0]
            missing += [replace(each, what=f"{where}: {each.what}") for each in result.missing]
        for each in _once([*missing, *_NEVER]):
            reader.miss(each)
        first: dict[str, Run] = {}
        for run in reader.sources.values():
            if isinstance(run, Run) and run.network.kind in {"stn", "released"}:
                first.setdefault(f"{run.network.title}, {run.network.data}", run)
        return Page(reader.folder, figures, results, {name: Reading(run) for name, run in first.items()})

    def numbers(self, found: Result[Page]) -> list[dict[str, str]] | None:
        """Return the missing records; the numbers are in the files of each figure. None where there is no record."""
        return [each.plain() for each in found.missing] if found.sources else None

    def files(self, found: Result[Page]) -> dict[str, bytes]:
        figures, results = found.content.figures, found.content.results
        made = {name: data for key, result in results.items() for name, data in figures[key].files(result).items()}
        page = render(
            "reproduction.html",
            title=self.title,
            page=found.content,
            missing=found.missing,
            sources=sources(found.sources),
            titles={name: figure.title for name, figure in figures.items()},
            tables={name: figures[name].tables(result.content) for name, result in results.items()},
            readings=self.tables(found.content),
            # In base64, so that names inside of the pictures cannot clash.
            pictures={name[:-4]: base64.b64encode(made[name]).decode() for name in made if name.endswith(".svg")},
        )
        missing = json.dumps([each.plain() for each in found.missing], indent=self.indent)
        return {"reproduction.html": page.encode(), "missing.json": missing.encode(), **made}

    def tables(self, content: Page) -> list[Table]:
        tables = [table for name, reading in content.readings.items() for table in reading.tables(name)]
        rows = [
            [str(samples), *(f"{round_down(value)} σ, {round_down(0.7 * value)} at σ = 0.7" for value in values)]
            for samples, values in content.reaches.items()
        ]
        heading = "the released code, passed .{} (proves nothing)"
        headings = ("votes", "the paper's text", heading.format("95"), heading.format("05"))
        return [*tables, Table("How far unanimous votes reach", headings, rows)]


PAGE = _Page()


def _once(missing: list[Missing]) -> list[Missing]:
    """Merge records that several figures miss: one entry per command, with the names of all figures."""
    found: dict[tuple[str, str], Missing] = {}
    for each in missing:
        key = (each.command or each.what, "" if each.command else each.why)
        before = found.setdefault(key, each)
        if each.what not in before.what:
            found[key] = replace(before, what=f"{before.what}; {each.what}")
    return list(found.values())
