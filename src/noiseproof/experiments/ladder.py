"""The sanity ladder on MNIST, from records: does the evaluation of figures 3, 4 and 6 find what there is to find?

`noiseproof ladder` makes the records, and draws them itself; here they are read again, whoever made them. The rungs, all
judged in one engine, and the attack without bound have to be there; of the attacks that must not be stronger, those that
are missing are named. These and the attack without bound may have run elsewhere: rounding hardly moves a verdict, and
each record says what it ran in. The slow ones, Carlini-Wagner and the attacks on decisions, are figure 6's, on some of the
images.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from noiseproof.attacks import PGD
from noiseproof.evaluation.robust_accuracy import worst_so_far
from noiseproof.experiments.attack_figures import FIGURE6
from noiseproof.experiments.attacked import MADRY, NATURAL, STN_07, Attacked
from noiseproof.experiments.figure import Figure, Result, Table, drawn
from noiseproof.experiments.recipes import Missing, Step
from noiseproof.reports.attacked import found_verdicts
from noiseproof.reports.ladder import Ladder, controls, grid, unbounded
from noiseproof.runs.attack_records import AttackRecord

__all__ = ["FOLDER", "IMAGES", "LADDER", "SIZE", "FoundLadder"]

FOLDER = "mnist/stn-0.7/ladder-l2"
SIZE = 2.0
"""Of the attacks, in l2: a little more than half of the images withstand the white-box ones of figure 3."""

IMAGES = range(0, 10_000, 100)
_PIXELS = 28 * 28

_ANYWHERE = replace(STN_07, precision="auto")
"""The defence of what may have run in another precision than the rungs."""

_SOURCES = {f"transfer-{source.model.removeprefix('zoo:')}": source for source in (MADRY, NATURAL)}
_RUNG = Attacked(STN_07, PGD(), "l2", every=IMAGES.step, epsilons=(SIZE,))


def _recipes() -> tuple[dict[str, Attacked], dict[str, Attacked], dict[str, Attacked]]:
    """Return what there is no ladder without; what must not be stronger; and the slow ones of these."""
    boundless, largest = unbounded("l2", _PIXELS)
    needed = {name: replace(_RUNG, attack=attack) for name, attack in grid().items()}
    needed["unbounded"] = replace(_RUNG, defence=_ANYWHERE, attack=boundless, epsilons=(largest,))
    fast = controls("l2", decisions=False)
    others = {name: replace(_RUNG, defence=_ANYWHERE, attack=attack) for name, attack in fast.items()}
    for name, source in _SOURCES.items():
        others[name] = replace(_RUNG, defence=_ANYWHERE, attack=PGD(steps=100), source=source)
    needed, others = (
        {name: replace(recipe, place=f"{FOLDER}/{name}") for name, recipe in each.items()} for each in (needed, others)
    )
    names = controls("l2").keys() - fast.keys()
    slow = {each.name: each for each in FIGURE6.recipes if each.norm == "l2" and each.name in names}
    return needed, others, slow


def _all_at_once(records: Path) -> Step:
    """Return the command that makes all records but the slow ones, in one engine."""
    command = ["noiseproof", "ladder", str(records / STN_07.name), *STN_07.options, "--epsilon", f"{SIZE:g}"]
    command += [part for source in _SOURCES.values() for part in ("--source", source.model)]
    command += ["--limit", str(len(IMAGES)), "--no-decisions", "--out", str(records / FOLDER)]
    return Step(tuple(command), records / FOLDER, cost=(137.0, "an H100"))


@dataclass(frozen=True, kw_only=True)
class FoundLadder(Result):
    """The ladder; None without all its rungs."""

    ladder: Ladder | None


class _SanityLadder(Figure[FoundLadder]):
    name = "ladder"

    def compute(self, records: Path) -> FoundLadder:
        found: dict[str, AttackRecord] = {}
        missing: list[Missing] = []
        begun, rungs = (records / FOLDER).exists(), grid()
        engine: dict[str, object] = {}
        needed, others, slow = _recipes()
        for name, recipe in {**needed, **others, **slow}.items():
            record = recipe.find(records)
            if isinstance(record, AttackRecord) and name in rungs:
                engine = engine or dict(record.settings.engine)
                if record.settings.engine != engine:
                    why = f"it ran in another engine than the rungs before it, {engine}"
                    record = Missing(name, why, tuple(recipe.steps(records)), blocked=True)
            if isinstance(record, Missing):
                steps = record.steps if begun or name in slow else (_all_at_once(records),)
                missing.append(replace(record, what=name, steps=steps))
            else:
                found[name] = record
        ladder = None
        if needed.keys() <= found.keys():
            ladder = Ladder.of({name: record for name, record in found.items() if name not in slow})
            for name in (name for name in slow if name in found):
                ladder = _beside(ladder, name, found[name])
        return FoundLadder(ladder=ladder, missing=missing, sources={str(each.path): each for each in found.values()})

    def files(self, found: FoundLadder) -> dict[str, bytes]:
        if (ladder := found.ladder) is None:
            return {}
        numbers = {
            "size": ladder.size,
            "norm": ladder.norm,
            "robust": {name: ladder.robust(name) for name in ladder.verdicts},
            "checks": [{"check": each.text, "passed": each.passed, "found": each.found} for each in ladder.checks()],
            "plateau": {rung.what: str(rung) for rung in ladder.plateau()},
            "missing": {each.what: each.why for each in found.missing},
        }
        return drawn(self.name, ladder.draw(), numbers)

    def tables(self, found: FoundLadder) -> list[Table]:
        if (ladder := found.ladder) is None:
            return []
        rows = [["ok" if check.passed else "fails", check.text, check.found] for check in ladder.checks()]
        rows += [
            ["falls" if rung.falling else "settled", f"accuracy under more {rung.what} settles", str(rung)]
            for rung in ladder.plateau()
        ]
        title = f"ladder: MNIST, {len(IMAGES)} images, {ladder.norm} {ladder.size:g}"
        return [Table(title, ["", "check", "found"], rows, numeric=False)]

    def sound(self, found: FoundLadder) -> bool:
        return found.ladder is not None and all(check.passed for check in found.ladder.checks())

    def told(self, found: FoundLadder) -> dict[str, Any]:
        return {"sound": self.sound(found)}


LADDER = _SanityLadder()


def _beside(ladder: Ladder, name: str, record: AttackRecord) -> Ladder:
    """Put an attack beside the ladder: its verdicts at the ladder's size, on the images that both have."""
    own = np.asarray(record.settings.indices)
    column = list(record.settings.sizes).index(SIZE)
    verdicts = worst_so_far(found_verdicts(record))[column][np.isin(own, IMAGES)]
    rows = np.flatnonzero(np.isin(IMAGES, own))
    return replace(ladder, verdicts={**ladder.verdicts, name: verdicts}, rows={**ladder.rows, name: rows})
