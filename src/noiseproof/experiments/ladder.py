"""The sanity ladder on MNIST, from records: do the attacks of figures 3, 4 and 6 find what there is to find?

`noiseproof ladder` makes the records and draws them; here they are read again, whoever made them. The rungs, all judged in
one engine, and the attack without bound must be there. Of the attacks that must not be stronger, those that are missing
are named. These and the attack without bound may have run in another engine: rounding hardly moves a verdict, and each
record says what it ran in. The slow ones, Carlini-Wagner and the attacks on decisions, are those of figure 6, on some of
the images.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Drawing

from noiseproof.attacks import PGD, Attack
from noiseproof.experiments.attack_figures import FEW, MADRY, NATURAL, STN_07
from noiseproof.experiments.attacked import Attacked
from noiseproof.experiments.figure import Figure, Result, Table
from noiseproof.experiments.networks import Network
from noiseproof.experiments.recipes import Facts, Reader, Step
from noiseproof.numerics.decimals import exact, round_down
from noiseproof.reports.ladder import Ladder, controls, grid, unbounded
from noiseproof.runs.attack_records import AttackRecord

__all__ = ["FOLDER", "IMAGES", "LADDER", "SIZE"]

FOLDER = "mnist/stn-0.7/ladder-l2"
SIZE = 2.0
"""Of the attacks, in l2: a little more than half of the images withstand the white-box ones of figure 3."""

IMAGES = range(0, 10_000, 100)
_PIXELS = 28 * 28
_SOURCES = {f"transfer-{source.model.removeprefix('zoo:')}": source for source in (MADRY, NATURAL) if source.model}


@dataclass(frozen=True)
class _Rung(Attacked):
    """An attack of the ladder, in its folder under its own name.

    Attributes:
        called: that name.
    """

    called: str = ""

    @property
    def folder(self) -> str:
        return f"{FOLDER}/{self.called}"

    def steps(self, records: Path) -> list[Step]:
        """Attack; where nothing of the ladder is there, one command makes all of it but the slow attacks, in one engine."""
        if (records / FOLDER).exists():
            return super().steps(records)
        folder, options = records / FOLDER, STN_07.options(precision=STN_07.attacked)
        options |= {"epsilon": exact(SIZE), "source": [source.model for source in _SOURCES.values()]}
        options |= {"limit": len(IMAGES), "no_decisions": True, "out": folder}
        return [Step.of(folder, "ladder", records / STN_07.folder(), cost=(137.0, "an H100"), **options)]

    def facts(self, record: AttackRecord) -> Facts:
        """Compare the engine, too, unless any precision will do."""
        yield from super().facts(record)
        if self.precision is None and self.beside:
            yield "engine", dict(self.beside[0].settings.engine), dict(record.settings.engine)


def _rung(called: str, attack: Attack, source: Network | None = None, size: float = SIZE) -> _Rung:
    """Return an attack that may have run in another precision than that of the defence."""
    return _Rung(STN_07, attack, "l2", source, IMAGES.step, (size,), precision="auto", called=called)


def _recipes() -> dict[str, Attacked]:
    """Return the rungs; the other attacks in folders of the ladder, without bound or not stronger; and the slow ones."""
    boundless, largest = unbounded("l2", _PIXELS)
    fast, slow = controls("l2", decisions=False), controls("l2")
    recipes: dict[str, Attacked] = {name: replace(_rung(name, each), precision=None) for name, each in grid().items()}
    recipes["unbounded"] = _rung("unbounded", boundless, size=largest)
    recipes |= {name: _rung(name, attack) for name, attack in fast.items()}
    recipes |= {name: _rung(name, PGD(steps=100), source) for name, source in _SOURCES.items()}
    return recipes | {name: Attacked(STN_07, slow[name], "l2", every=FEW) for name in slow if name not in fast}


class _SanityLadder(Figure[Ladder | None]):
    """The ladder; None without all its rungs."""

    name = "ladder"
    title = "The ladder: do these attacks find what there is to find?"

    def read(self, reader: Reader) -> Ladder | None:
        recipes = _recipes()
        found = reader.find_alike(recipes)
        if not {*grid(), "unbounded"} <= found.keys():
            return None
        ladder = Ladder.of({name: record for name, record in found.items() if isinstance(recipes[name], _Rung)})
        for name, record in found.items():
            ladder = ladder if name in ladder.verdicts else ladder.beside(name, record, IMAGES)
        return ladder

    def draw(self, content: Ladder | None) -> Drawing | None:
        return None if content is None else content.draw()

    def numbers(self, found: Result[Ladder | None]) -> dict[str, Any] | None:
        if (ladder := found.content) is None:
            return None
        plateau = {rung.what: str(rung) for rung in ladder.plateau()}
        missing = {each.what: each.why for each in found.missing}
        return {"size": ladder.size, "norm": ladder.norm, **ladder.plain(), "plateau": plateau, "missing": missing}

    def tables(self, content: Ladder | None) -> list[Table]:
        if content is None:
            return []
        title = f"ladder: MNIST, {len(IMAGES)} images, {content.norm} {round_down(content.size, None)}"
        return [Table(title, ["", "check", "found"], content.lines(), numeric=False)]

    def sound(self, content: Ladder | None) -> bool:
        return content is not None and all(check.passed for check in content.checks())

    def told(self, content: Ladder | None) -> dict[str, Any]:
        return {"sound": self.sound(content)}


LADDER = _SanityLadder()
