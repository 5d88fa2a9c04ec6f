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

from noiseproof.attack_records import AttackRecord
from noiseproof.attacks import PGD, Attack, RandomisedAutoAttack, RandomSearch
from noiseproof.errors import NoiseproofError, RunError
from noiseproof.experiments.attack_figures import FIGURES, LEVEL, MADRY, NATURAL, NOT_THERE, STN_07, Cell
from noiseproof.experiments.ladder import Ladder, controls, grid, unbounded
from noiseproof.experiments.runs import Missing
from noiseproof.files import write_atomically
from noiseproof.noises import Gaussian
from noiseproof.reports.attacked import found_verdicts
from noiseproof.robustness import worst_so_far

__all__ = ["FOLDER", "IMAGES", "SIZE", "command", "command_of", "compute", "write"]

FOLDER = "mnist/stn-0.7/ladder-l2"
SIZE = 2.0
"""Of the attacks, in l2: a little more than half of the images withstand the white-box ones of figure 3."""

IMAGES = range(0, 10_000, 100)
PIXELS = 28 * 28

_SOURCES = {f"transfer-{source.model.removeprefix('zoo:')}": source.model for source in (MADRY, NATURAL)}


_NAMES = {PGD: "pgd", RandomisedAutoAttack: "auto-attack", RandomSearch: "random"}
"""As `--attack`."""


def command(records: Path) -> str:
    """Return the command that makes all records, in one engine, and goes on where it was stopped."""
    parts = ["noiseproof", "ladder", str(records / STN_07.name), *STN_07.options, "--size", f"{SIZE:g}"]
    parts += [part for source in _SOURCES.values() for part in ("--source", source)]
    return shlex.join([*parts, "--limit", str(len(IMAGES)), "--no-decisions", "--out", str(records / FOLDER)])


def command_of(records: Path, name: str, attack: Attack, size: float) -> str:
    """Return the command that makes one of the records, beside others."""
    plain = type(attack)().spec()
    changes = [f"{key}={str(value).lower()}" for key, value in attack.spec().items() if value != plain[key]]
    parts = ["noiseproof", "attack", str(records / STN_07.name), *STN_07.options, "--attack", _NAMES[type(attack)]]
    parts += ["--norm", "l2", "--sizes", f"{size:g}", "--every", str(IMAGES.step)]
    parts += [part for change in changes for part in ("--set", change)]
    parts += ["--source", _SOURCES[name]] if name in _SOURCES else []
    return shlex.join([*parts, "--out", str(records / FOLDER / name)])


def compute(records: Path) -> tuple[Ladder | None, list[Missing], list[AttackRecord]]:
    """Return the ladder from the records there are, None without all its rungs; what is missing; and the records."""
    boundless, largest = unbounded("l2", PIXELS)
    needed: dict[str, Attack] = {**grid(), "unbounded": boundless}
    fast = controls("l2", decisions=False)
    wanted: dict[str, Attack] = {**needed, **fast, **dict.fromkeys(_SOURCES, PGD(steps=100))}
    found: dict[str, AttackRecord] = {}
    missing = []
    begun = (records / FOLDER).exists()
    engine: object = None
    for name, attack in wanted.items():
        size = largest if name == "unbounded" else SIZE
        made_by = command_of(records, name, attack, size) if begun else command(records)
        try:
            record = _read(records / FOLDER / name, name, attack, size, engine if name in grid() else None)
        except NoiseproofError as error:
            missing.append(Missing(name, str(error), made_by))
            continue
        if record is None:
            missing.append(Missing(name, NOT_THERE, made_by))
        else:
            found[name] = record
            engine = engine or dict(record.settings.engine)
    slow = {cell.attack: cell for cell in _cells() if cell.attack in controls("l2").keys() - fast.keys()}
    ladder = Ladder.of(found) if needed.keys() <= found.keys() else None
    for name, cell in slow.items():
        try:
            record = cell.read(records)
            why = NOT_THERE
        except NoiseproofError as error:
            record, why = None, str(error)
        if record is None:
            missing.append(Missing(name, why, cell.command(records)))
        elif ladder is not None:
            ladder = _beside(ladder, name, record)
    return ladder, missing, list(found.values())


def _cells() -> list[Cell]:
    return [cell for _, cells, _, _ in FIGURES["figure6"].curves["l2"] for cell in cells]


def _beside(ladder: Ladder, name: str, record: AttackRecord) -> Ladder:
    """Put an attack beside the ladder: its verdicts at the ladder's size, on the images that both have."""
    own = np.asarray(record.settings.indices)
    column = list(record.settings.sizes).index(SIZE)
    verdicts = worst_so_far(found_verdicts(record))[column][np.isin(own, IMAGES)]
    rows = np.flatnonzero(np.isin(IMAGES, own))
    return replace(ladder, verdicts={**ladder.verdicts, name: verdicts}, rows={**ladder.rows, name: rows})


def _read(path: Path, name: str, attack: Attack, size: float, engine: object) -> AttackRecord | None:
    """Return a record; None where there is none, or it is not finished. With an engine, it must have run in that.

    Raises:
        RunError: it is of another attack, or damaged.
    """
    if not (path / AttackRecord.configuration).exists():
        return None
    record = AttackRecord.open(path)
    settings = record.settings
    source, own = None, dict(settings.attack)
    if "attack" in own:
        source, own = str(own.get("source_name", "")).partition(" ")[0], dict(own["attack"])
    for what, required, got in (
        ("model", STN_07.model, settings.model["name"]),
        ("noise", Gaussian(STN_07.sigma or 0.0).spec(), None if settings.noise is None else dict(settings.noise)),
        ("attack", attack.spec(), own),
        ("source", _SOURCES.get(name), source),
        ("norm", "l2", settings.norm),
        ("sizes", [0.0, size], list(settings.sizes)),
        ("data", ("mnist", "test"), (settings.data.get("name"), settings.data.get("split"))),
        ("images", list(IMAGES), list(settings.indices)),
        ("votes, at least", max(1000, settings.samples), settings.samples),
        ("level", LEVEL, settings.alpha),
        ("limits", None, settings.limits),
        ("engine", engine or dict(settings.engine), dict(settings.engine)),
    ):
        if required != got:
            raise RunError(
                str(path),
                required=f"a record of this ladder, with {what} {required}",
                got=got,
                remedy="Move it away, and make it by the command.",
            )
    return None if record.missing()[0] else record


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
