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
from noiseproof.experiments.attack_figures import FEW, MADRY, NATURAL, STN_07
from noiseproof.experiments.attacked import Attacked
from noiseproof.experiments.figure import Figure, Result, Table, drawn
from noiseproof.experiments.recipes import Reader, Step
from noiseproof.numerics.decimals import round_down
from noiseproof.reports.attacked import found_verdicts
from noiseproof.reports.ladder import Ladder, controls, grid, unbounded
from noiseproof.runs.attack_records import AttackRecord

__all__ = ["FOLDER", "IMAGES", "LADDER", "SIZE", "FoundLadder"]

FOLDER = "mnist/stn-0.7/ladder-l2"
SIZE = 2.0
"""Of the attacks, in l2: a little more than half of the images withstand the white-box ones of figure 3."""

IMAGES = range(0, 10_000, 100)
_PIXELS = 28 * 28

_SOURCES = {f"transfer-{source.model.removeprefix('zoo:')}": source for source in (MADRY, NATURAL) if source.model}


_RUNG = Attacked(STN_07, PGD(), "l2", every=IMAGES.step, epsilons=(SIZE,))
_ANYWHERE = replace(_RUNG, precision="auto")
"""What may have run in another precision than the rungs."""


def _recipes() -> tuple[dict[str, Attacked], ...]:
    """Return the rungs; the attack without bound; what must not be stronger; and the slow ones of these."""
    boundless, largest = unbounded("l2", _PIXELS)
    every, fast = controls("l2"), controls("l2", decisions=False)
    rungs = {name: replace(_RUNG, attack=attack) for name, attack in grid().items()}
    others = {name: replace(_ANYWHERE, attack=attack) for name, attack in fast.items()}
    others |= {name: replace(_ANYWHERE, attack=PGD(steps=100), source=source) for name, source in _SOURCES.items()}
    ladder = (rungs, {"unbounded": replace(_ANYWHERE, attack=boundless, epsilons=(largest,))}, others)
    slow = {name: Attacked(STN_07, attack, "l2", every=FEW) for name, attack in every.items() if name not in fast}
    return *({name: replace(each, place=f"{FOLDER}/{name}") for name, each in part.items()} for part in ladder), slow


def _all_at_once(records: Path) -> Step:
    """Return the command that makes all records but the slow ones, in one engine."""
    command = [
        "noiseproof",
        "ladder",
        str(records / STN_07.folder()),
        *STN_07.options(),
        "--precision",
        STN_07.attacked,
    ]
    command += ["--epsilon", f"{SIZE:g}"]
    command += [part for source in _SOURCES.values() for part in ("--source", str(source.model))]
    command += ["--limit", str(len(IMAGES)), "--no-decisions", "--out", str(records / FOLDER)]
    return Step(tuple(command), records / FOLDER, cost=(137.0, "an H100"))


@dataclass(frozen=True, kw_only=True)
class FoundLadder(Result):
    """The ladder; None without all its rungs."""

    ladder: Ladder | None


class _SanityLadder(Figure[FoundLadder]):
    name = "ladder"

    def compute(self, records: Path) -> FoundLadder:
        reader, found, engine = Reader(records), dict[str, AttackRecord](), None
        rungs, boundless, others, slow = _recipes()
        for name, recipe in (rungs | boundless | others | slow).items():
            record = reader.find(replace(recipe, engine=engine) if name in rungs else recipe)
            if record is not None:
                found[name] = record
                engine = record.settings.engine if engine is None else engine
        ladder = None
        if (rungs | boundless).keys() <= found.keys():
            ladder = Ladder.of({name: record for name, record in found.items() if name not in slow})
            for name in (name for name in slow if name in found):
                ladder = _beside(ladder, name, found[name])
        missing, apart = reader.missing, {recipe.title for recipe in slow.values()}
        if not (records / FOLDER).exists():
            at_once = (_all_at_once(records),)
            missing = [each if each.what in apart else replace(each, steps=at_once) for each in missing]
        return FoundLadder(ladder=ladder, missing=missing, sources=reader.sources)

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
        title = f"ladder: MNIST, {len(IMAGES)} images, {ladder.norm} {round_down(ladder.size, None)}"
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
