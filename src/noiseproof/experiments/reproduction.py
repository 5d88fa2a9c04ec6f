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

from noiseproof.errors import NoiseproofError
from noiseproof.experiments import attack_figures, figure1, figure5, table1
from noiseproof.experiments.procedures import Way, reach, ways
from noiseproof.experiments.runs import CIFAR_SIGMA, Missing, Run
from noiseproof.experiments.sources import Source, sources
from noiseproof.files import write_atomically
from noiseproof.reports.page import render
from noiseproof.reports.robustness import Panel

__all__ = ["PAGE", "Difference", "Reproduction", "compute", "write"]

PAGE = "reproduction.html"

_TITLES = {"figure3": "Figure 3", "figure4": "Figure 4", "figure6": "Figure 6"}

_PRINTED_SIGMAS = (0.7, CIFAR_SIGMA)
"""Of the networks whose certified accuracy the paper prints."""

_NEVER = [
    Missing("Figure 2, ImageNet", "no network and no record: ImageNet is not at hand", ""),
    Missing("Figures 3 and 4, CIFAR-10 panels", "no networks for CIFAR-10 that an attack could be run on", ""),
    Missing("Figure 7, CIFAR-10", "no networks for CIFAR-10 that an attack could be run on", ""),
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
class Reproduction:
    """Everything that the records give.

    Attributes:
        records: their folder.
        table: Table 1.
        bounds: Figure 1.
        attacked: panels of figures 3, 4 and 6, by name; none where all is missing.
        surfaces: Figure 5, which needs no records.
        readings: the same votes read several ways, by the network's name.
        reaches: (votes, largest radius in sigma) of unanimous votes under the paper's procedure.
        differences: from the print.
        sources: the records.
        missing: what is not there.
    """

    records: Path
    table: table1.Table1
    bounds: figure1.Figure1
    attacked: dict[str, list[Panel]]
    surfaces: figure5.Figure5
    readings: dict[str, tuple[Run, list[Way]]]
    reaches: list[tuple[int, float]]
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
        try:
            panels, commands = attack_figures.compute(figure, records)
        except NoiseproofError as error:
            panels, commands = [], []
            missing.append(Missing(_TITLES[name], str(error), ""))
        attacked[name] = panels
        folders = {cell.command(records): cell.folder for cell in _cells(figure)}
        missing += [
            Missing(
                f"{_TITLES[name]}: {folders.get(command, 'what is certified')}", "not there, or not all of it", command
            )
            for command in commands
        ]
        if panels:
            found = {str(records / cell.folder): cell.read(records) for cell in _cells(figure)}
            read |= {path: record for path, record in found.items() if record is not None}
    first = {str(run.record.path): run for run in read.values() if isinstance(run, Run) and run.seed == 0}
    readings = {
        f"{run.network.title}, {run.network.data}": (run, ways(run, figure1.TABLE_RADII[run.network.data]))
        for run in first.values()
        if run.network.kind != "gaussian"
    }
    counts = {way.samples for _, found in readings.values() for way in found} | {100}
    reaches = [(samples, reach(samples)) for samples in sorted(counts)]
    return Reproduction(
        records,
        table,
        bounds,
        attacked,
        surfaces,
        readings,
        reaches,
        _differences(records, _found(table, bounds, surfaces, readings, reaches)),
        sources(read),
        _once([*missing, *_NEVER]),
    )


def _of(title: str, missing: list[Missing]) -> list[Missing]:
    return [Missing(f"{title}: {each.what}", each.why, each.command) for each in missing]


def _cells(figure: attack_figures.AttackFigure) -> list[attack_figures.Cell]:
    return [cell for curves in figure.curves.values() for _, cells, _, _ in curves for cell in cells]


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
    readings: Mapping[str, tuple[Run, list[Way]]],
    reaches: list[tuple[int, float]],
) -> dict[str, str]:
    """Return what the experiments found, in words, by the difference that they explain."""
    found = {
        "interval": "; ".join(
            _interval(name, run, read) for name, (run, read) in readings.items() if run.network.sigma in _PRINTED_SIGMAS
        ),
        "samples": "; ".join(f"{votes} votes: {radius:.3f} sigma" for votes, radius in reaches),
        "pixeldp": "; ".join(f"{claim.text}: on {100 * claim.share:.1f} % of the grid" for claim in surfaces.claims),
    }
    curves = {(curve.name, curve.data): curve for curve in bounds.curves}
    stn, plain = (curves.get((f"{name}, sigma 0.7", "mnist")) for name in ("STN", "without stability training"))
    radii = figure1.TABLE_RADII["mnist"]
    if stn is not None:
        at = dict(zip(radii.tolist(), stn.at_ours.mean, strict=True))
        found["two-numbers"] = f"ours falls from {100 * at[1.4]:.1f} % at 1.4 to {100 * at[1.58]:.1f} % at 1.58"
    if stn is not None and plain is not None:
        gains = 100 * (stn.at_ours.mean - plain.at_ours.mean)
        seeds = f"{len(stn.seeds)} and {len(plain.seeds)} seeds"
        found["stability"] = f"points gained, ours, sigma 0.7, means of {seeds}: " + ", ".join(
            f"{gain:+.1f} at {radius:g}" for radius, gain in zip(radii, gains, strict=True)
        )
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


def _interval(name: str, run: Run, read: list[Way]) -> str:
    radii = figure1.TABLE_RADII[run.network.data]
    shown = [(number, radius) for number, radius in enumerate(radii) if radius in {1.4, 1.58, 36 / 255}]
    parts = [
        f"at {radius:.4g} {100 * read[0].accuracy[number]:.1f} % as released, {100 * read[1].accuracy[number]:.1f} % by the text"
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
            name: [f"{r:.4g}" for r in figure1.TABLE_RADII[run.network.data]]
            for name, (run, _) in result.readings.items()
        },
        "per_cent": lambda values: [f"{100 * value:.1f}" for value in np.asarray(values)],
        "attack_titles": {
            "figure3": "Figure 3: defences against white-box attacks and attacks transferred from Madry's model",
            "figure4": "Figure 4: stability training at several sigma",
            "figure6": "Figure 6: one defence against every kind of attack",
        },
    }
