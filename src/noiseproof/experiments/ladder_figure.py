"""The sanity ladder on MNIST, from records: does the evaluation of figures 3, 4 and 6 find what there is to find?

`noiseproof ladder` makes the records, and draws them itself; here they are read again, whoever made them. The rungs, all
judged in one engine, and the attack without bound have to be there; of the attacks that must not be stronger, those that
are missing are named. These and the attack without bound may have run elsewhere: rounding hardly moves a verdict, and
each record says what it ran in. The slow ones, Carlini-Wagner and the attacks on decisions, are figure 6's, on some of the
images.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from noiseproof.attacks import PGD, Attack
from noiseproof.errors import NoiseproofError
from noiseproof.evaluation.robust_accuracy import worst_so_far
from noiseproof.experiments.attack_figures import FIGURES
from noiseproof.experiments.attacked import CLASSES, MADRY, NATURAL, NOT_THERE, STN_07, Cell, Defender
from noiseproof.experiments.ladder import Ladder, controls, grid, unbounded
from noiseproof.experiments.runs import Missing
from noiseproof.reports.attacked import found_verdicts
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.storage.files import write_atomically

__all__ = ["FOLDER", "IMAGES", "SIZE", "command", "compute", "write"]

FOLDER = "mnist/stn-0.7/ladder-l2"
SIZE = 2.0
"""Of the attacks, in l2: a little more than half of the images withstand the white-box ones of figure 3."""

IMAGES = range(0, 10_000, 100)
PIXELS = 28 * 28

_ANYWHERE = replace(STN_07, precision="auto")
"""The defender of what may have run in another precision than the rungs."""

_SOURCES = {f"transfer-{source.model.removeprefix('zoo:')}": source for source in (MADRY, NATURAL)}


def command(records: Path) -> str:
    """Return the command that makes all records, in one engine, and goes on where it was stopped."""
    parts = ["noiseproof", "ladder", str(records / STN_07.name), *STN_07.options, "--size", f"{SIZE:g}"]
    parts += [part for source in _SOURCES.values() for part in ("--source", source.model)]
    return shlex.join([*parts, "--limit", str(len(IMAGES)), "--no-decisions", "--out", str(records / FOLDER)])


def compute(records: Path) -> tuple[Ladder | None, list[Missing], list[AttackRecord]]:
    """Return the ladder from the records there are, None without all its rungs; what is missing; and the records."""
    found: dict[str, AttackRecord] = {}
    missing = []
    begun, rungs = (records / FOLDER).exists(), grid()
    engine: dict[str, object] = {}
    needed, others = _needed(), _others()
    slow = {name: cell for name, cell in _figure6().items() if name in controls("l2").keys() - others.keys()}
    for name, cell in {**needed, **others, **slow}.items():
        record, why = _read(cell, records)
        if record is not None and name in rungs:
            engine = engine or dict(record.settings.engine)
            if record.settings.engine != engine:
                record, why = None, f"it ran in another engine than the rungs before it, {engine}"
        if record is None:
            missing.append(Missing(name, why, cell.command(records) if begun or name in slow else command(records)))
        else:
            found[name] = record
    if not needed.keys() <= found.keys():
        return None, missing, list(found.values())
    ladder = Ladder.of({name: record for name, record in found.items() if name not in slow})
    for name in slow:
        ladder = _beside(ladder, name, found[name]) if name in found else ladder
    return ladder, missing, list(found.values())


def _needed() -> dict[str, Cell]:
    """Without which there is no ladder."""
    boundless, largest = unbounded("l2", PIXELS)
    rungs = {name: _cell(STN_07, name, attack) for name, attack in grid().items()}
    return {**rungs, "unbounded": replace(_cell(_ANYWHERE, "unbounded", boundless), sizes=repr(largest))}


def _others() -> dict[str, Cell]:
    """What must not be stronger, but the slow ones."""
    fast = {name: _cell(_ANYWHERE, name, attack) for name, attack in controls("l2", decisions=False).items()}
    transfers = {name: replace(_cell(_ANYWHERE, name, PGD(steps=100)), source=one) for name, one in _SOURCES.items()}
    return {**fast, **transfers}


def _figure6() -> dict[str, Cell]:
    return {cell.attack: cell for cell in FIGURES["figure6"].cells if cell.norm == "l2"}


def _cell(defender: Defender, name: str, attack: Attack) -> Cell:
    usual = type(attack)().spec()
    changes = tuple(f"{key}={value}" for key, value in attack.spec().items() if value != usual[key])
    (kind,) = (kind for kind, known in CLASSES.items() if known == type(attack).__name__)
    place = f"{FOLDER}/{name}"
    return Cell(defender, kind, "l2", changes, every=IMAGES.step, sizes=f"{SIZE:g}", place=place)


def _read(cell: Cell, records: Path) -> tuple[AttackRecord | None, str]:
    """Return a record, or why there is none."""
    try:
        return cell.read(records), NOT_THERE
    except NoiseproofError as error:
        return None, str(error)


def _beside(ladder: Ladder, name: str, record: AttackRecord) -> Ladder:
    """Put an attack beside the ladder: its verdicts at the ladder's size, on the images that both have."""
    own = np.asarray(record.settings.indices)
    column = list(record.settings.sizes).index(SIZE)
    verdicts = worst_so_far(found_verdicts(record))[column][np.isin(own, IMAGES)]
    rows = np.flatnonzero(np.isin(IMAGES, own))
    return replace(ladder, verdicts={**ladder.verdicts, name: verdicts}, rows={**ladder.rows, name: rows})


def write(result: Ladder, missing: Mapping[str, str], folder: Path) -> list[Path]:
    """Write ladder.png, ladder.svg and ladder.json, and return their paths.

    Args:
        result: the ladder.
        missing: attacks that are not there, and why.
        folder: where to.
    """
    content = {
        "size": result.size,
        "norm": result.norm,
        "robust": {name: result.robust(name) for name in result.verdicts},
        "checks": [{"check": each.text, "passed": each.passed, "found": each.found} for each in result.checks()],
        "plateau": {rung.what: str(rung) for rung in result.plateau()},
        "missing": dict(missing),
    }
    write_atomically(folder / "ladder.json", json.dumps(content, indent=1).encode())
    return [*result.write(folder), folder / "ladder.json"]
