"""`noiseproof reproduce all`: every table and figure from records, in one folder, with a page that loads nothing.

What the page says of commands, seeds, times and machines is what the records say of themselves. `differences.json` holds
the sentences on why the print differs, each with the experiment that shows it; the numbers in them are computed here.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from noiseproof.experiments import attack_figures, figure1, figure5, ladder_figure, table1
from noiseproof.experiments.ladder import Ladder
from noiseproof.experiments.procedures import CERTIFICATES, Reach, Way, crossed, ours, reach, ways
from noiseproof.experiments.runs import CIFAR_SIGMA, Missing, Run
from noiseproof.experiments.sources import Source, sources
from noiseproof.reports.analysis import percent_down
from noiseproof.reports.page import render
from noiseproof.reports.robustness import Panel
from noiseproof.storage.files import write_atomically

__all__ = ["PAGE", "Difference", "Reading", "Reproduction", "compute", "write"]

PAGE = "reproduction.html"

_TITLES = {"figure3": "Figure 3", "figure4": "Figure 4", "figure6": "Figure 6"}

_PRINTED_SIGMAS = (0.7, CIFAR_SIGMA)
"""Of the networks whose certified accuracy the paper prints."""

_NEVER = [
    Missing("Figure 2, ImageNet", "no network and no record: ImageNet is not at hand", ""),
    Missing("Figure 1, CIFAR-10: other sigma than 100/255, TRADES under PGD", "no experiment in this package yet", ""),
    Missing(
        "Figure 3, CIFAR-10: TRADES, and what is transferred from Madry's", "no experiment in this package yet", ""
    ),
    Missing("Figure 4, CIFAR-10 panels", "no experiment in this package yet", ""),
    Missing("Figure 7, CIFAR-10", "no experiment in this package yet", ""),
]
"""What the package has no experiment for."""


@dataclass(frozen=True)
class Difference:
    """Where the print differs, why, and what shows it.

    Attributes:
        where: table or figure.
        printed: what the paper has.
        why: the reason.
        experiment: that shows it.
        found: what it found here; empty where it is no question of records.
    """

    where: str
    printed: str
    why: str
    experiment: str
    found: str


@dataclass(frozen=True)
class Reading:
    """The votes of one network, read in several ways.

    Attributes:
        run: of the first of its seeds that is there.
        ways: from the released code's to ours.
        crossed: every bound with every certificate at Table 1's radius.
    """

    run: Run
    ways: list[Way]
    crossed: list[tuple[str, list[float]]]


@dataclass(frozen=True)
class Reproduction:
    """Everything that the records give.

    Attributes:
        records: their folder.
        table: Table 1.
        bounds: Figure 1.
        attacked: panels of figures 3, 4 and 6, by name; none where all is missing.
        surfaces: Figure 5, which needs no records.
        ladder: whether the attacks find what there is to find; None where a rung is missing.
        unladdered: attacks that are missing of it.
        readings: the same votes read several ways, by the network's name.
        reaches: how far unanimous votes reach, for every number of votes.
        differences: from the print.
        sources: the records.
        missing: what is not there.
    """

    records: Path
    table: table1.Table1
    bounds: figure1.Figure1
    attacked: dict[str, list[Panel]]
    surfaces: figure5.Figure5
    ladder: Ladder | None
    unladdered: list[Missing]
    readings: dict[str, Reading]
    reaches: list[Reach]
    differences: list[Difference]
    sources: list[Source]
    missing: list[Missing]


def compute(records: Path) -> Reproduction:
    """Compute everything from the records there are; one that is damaged is named, and spoils no other."""
    table, bounds, surfaces = table1.compute(records), figure1.compute(records), figure5.compute()
    attacked: dict[str, list[Panel]] = {}
    missing = [*_of("Table 1", table.missing), *_of("Figure 1", bounds.missing)]
    read: dict[str, Any] = {**table.sources, **bounds.sources}
    for name, figure in attack_figures.FIGURES.items():
        attacked[name], gone = attack_figures.compute(figure, records)
        missing += _of(_TITLES[name], gone)
        commands = {each.command for each in gone}
        for cell in figure.cells:
            if cell.command(records) not in commands and (record := cell.read(records)) is not None:
                read[str(records / cell.folder)] = record
    ladder, unladdered, rungs = ladder_figure.compute(records)
    read |= {str(rung.path): rung for rung in rungs}
    missing += _of("The ladder", unladdered)
    readings: dict[str, Reading] = {}
    for run in read.values():
        if isinstance(run, Run) and run.network.kind in {"stn", "released"}:
            data = run.network.data
            readings.setdefault(
                f"{run.network.title}, {data}",
                Reading(run, ways(run, figure1.TABLE_RADII[data]), crossed(run, table1.RADII[data])),
            )
    counts = {way.samples for reading in readings.values() for way in reading.ways} | {100}
    reaches = [reach(samples) for samples in sorted(counts)]
    return Reproduction(
        records,
        table,
        bounds,
        attacked,
        surfaces,
        ladder,
        unladdered,
        readings,
        reaches,
        _differences(records, _found(table, bounds, surfaces, readings, reaches)),
        sources(read),
        _once([*missing, *_NEVER]),
    )


def _of(title: str, missing: list[Missing]) -> list[Missing]:
    return [Missing(f"{title}: {each.what}", each.why, each.command) for each in missing]


def _once(missing: list[Missing]) -> list[Missing]:
    """Name what several figures miss once: by its command, with the names of all of them."""
    found: dict[tuple[str, str], Missing] = {}
    for each in missing:
        key = (each.command or each.what, "" if each.command else each.why)
        before = found.get(key)
        if before is None:
            found[key] = each
        elif each.what not in before.what:
            found[key] = Missing(f"{before.what}; {each.what}", before.why, before.command)
    return list(found.values())


def _differences(records: Path, found: Mapping[str, str]) -> list[Difference]:
    entries = json.loads(files("noiseproof.experiments").joinpath("differences.json").read_text(encoding="utf-8"))
    return [
        Difference(
            entry["where"],
            entry["printed"],
            entry["why"],
            entry["experiment"].replace("{records}", str(records)),
            found.get(entry["id"], "nothing on it in these records" if entry["records"] else ""),
        )
        for entry in entries
    ]


def _found(
    table: table1.Table1,
    bounds: figure1.Figure1,
    surfaces: figure5.Figure5,
    readings: Mapping[str, Reading],
    reaches: list[Reach],
) -> dict[str, str]:
    """Return what the experiments found, in words, by the difference that they explain."""
    found = {
        "interval": "; ".join(
            _interval(name, reading)
            for name, reading in readings.items()
            if reading.run.network.sigma in _PRINTED_SIGMAS
        ),
        "samples": "; ".join(f"{reach.samples} votes: {reach.papers:.3f} sigma" for reach in reaches),
        "pixeldp": "; ".join(f"{claim.text}: on {100 * claim.share:.1f} % of the grid" for claim in surfaces.claims),
    }
    curves = {(curve.name, curve.data): curve for curve in bounds.curves}
    stn = curves.get(("STN, sigma 0.7", "mnist"))
    radii = figure1.TABLE_RADII["mnist"]
    if stn is not None:
        at = dict(zip(radii.tolist(), stn.at_ours.mean, strict=True))
        found["two-numbers"] = f"ours falls from {percent_down(at[1.4])} at 1.4 to {percent_down(at[1.58])} at 1.58"
    found["stability"] = _gain([run for run in bounds.sources.values() if isinstance(run, Run)], radii)
    natural = [
        f"{data}: {100 * cell.paper.mean:.1f} % voted, {cell.printed:.1f} % printed"
        for row in table.rows
        for (data, kind), cell in row.cells.items()
        if kind == "natural" and cell.paper is not None and row.model == "STN"
    ]
    verified = [
        f"{row.model}, {data}: {100 * cell.verified.mean:.1f} %, {cell.printed:.1f} % printed"
        for row in table.rows
        for (data, kind), cell in row.cells.items()
        if kind == "robust" and cell.verified is not None
    ]
    found |= {"natural": "; ".join(natural), "verifier": "; ".join(verified)}
    return {key: text for key, text in found.items() if text}


def _gain(runs: list[Run], radii: Float[np.ndarray, " radii"]) -> str:
    """Return what stability training gains at sigma 0.7, seed by seed, where nothing but the objective differs."""
    pairs = [
        (one, other)
        for one in runs
        for other in runs
        if (one.network.kind, other.network.kind) == ("stn", "gaussian")
        and one.network.sigma == other.network.sigma == 0.7
        and one.network.data == other.network.data == "mnist"
        and one.seed == other.seed
    ]
    if not pairs:
        return ""
    for one, other in pairs:
        if unlike := one.differs(other):
            return f"not comparable: {one.record.path} and {other.record.path} differ in {unlike}"
    first, second = zip(*pairs, strict=True)
    gains = 100 * (ours(list(first), radii).values - ours(list(second), radii).values)
    seeds = f"{len(pairs)} seeds, each with the other of its seed" if len(pairs) > 1 else "1 seed"
    return f"points gained, certified by ours, sigma 0.7, {seeds}: " + ", ".join(
        f"{gain.mean():+.1f} [{gain.min():+.1f} to {gain.max():+.1f}] at {radius:g}"
        for radius, gain in zip(radii, gains.T, strict=True)
    )


def _interval(name: str, reading: Reading) -> str:
    radii, read = figure1.TABLE_RADII[reading.run.network.data], reading.ways
    shown = [(number, radius) for number, radius in enumerate(radii) if radius in {1.4, 1.58, 36 / 255}]
    parts = [
        f"at {radius:.4g} {100 * read[0].accuracy[number]:.1f} % passed .95, {100 * read[1].accuracy[number]:.1f} % passed .05, "
        f"{100 * read[2].accuracy[number]:.1f} % by the text"
        for number, radius in shown
    ]
    return f"{name}, {read[0].samples} votes: " + ", ".join(parts)


def write(result: Reproduction, folder: Path) -> list[Path]:
    """Write every figure and table, with the page that shows them, and return the paths, the page first."""
    paths = [*table1.write(result.table, folder), *figure5.write(result.surfaces, folder)]
    if result.bounds.curves or result.bounds.attacked is not None:
        paths += figure1.write(result.bounds, folder)
    for name, panels in result.attacked.items():
        paths += attack_figures.write(name, panels, folder) if panels else []
    if result.ladder is not None:
        paths += ladder_figure.write(result.ladder, {each.what: each.why for each in result.unladdered}, folder)
    pictures = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in paths if path.suffix == ".svg"}
    page = render("reproduction.html", **_shown(result, pictures))
    missing = [asdict(each) for each in result.missing]
    write_atomically(folder / "missing.json", json.dumps(missing, indent=1).encode())
    write_atomically(folder / PAGE, page.encode())
    return [folder / PAGE, folder / "missing.json", *paths]


def _shown(result: Reproduction, pictures: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page's template shows: texts, and pictures as base64 so that their names inside cannot clash."""
    return {
        "result": result,
        "pictures": pictures,
        "procedures": figure1.PROCEDURES | {"printed": "as printed"},
        "rows": [(row, [(table1.LINES[key], texts) for key, texts in table1.lines(row)]) for row in result.table.rows],
        "numbers": [
            (title, [f"{radius:.4g}" for radius in figure1.TABLE_RADII[data]], list(figure1.lines(result.bounds, data)))
            for data, title in (("mnist", "MNIST"), ("cifar10", "CIFAR-10"))
            if any(curve.data == data for curve in result.bounds.curves)
        ],
        "radii": {
            name: [f"{r:.4g}" for r in figure1.TABLE_RADII[reading.run.network.data]]
            for name, reading in result.readings.items()
        },
        "certificates": [type(each).__name__ for each in CERTIFICATES],
        "crossed_at": {name: table1.WRITTEN[reading.run.network.data] for name, reading in result.readings.items()},
        "per_cent": lambda values: [f"{100 * value:.1f}" for value in np.asarray(values)],
        "attack_titles": {
            "figure3": "Figure 3: defences against white-box attacks and attacks transferred from Madry's model",
            "figure4": "Figure 4: stability training at several sigma",
            "figure6": "Figure 6: one defence against every kind of attack",
        },
    }
