"""The sanity ladder on MNIST: have the attacks of Figures 3, 4 and 6 reached their plateau?

Sanity checks of an adversarial evaluation (Athalye et al. 2018; Carlini et al. 2019), computed from records that
`noiseproof ladder` makes. All rungs, from one engine, and the unbounded attack are required; missing controls, which must
not be stronger than the topmost rung, are named. Controls and the unbounded attack may come from another engine: rounding
hardly changes a verdict, and each record names its engine. The slow controls, Carlini-Wagner and the decision-based
attacks, are those of Figure 6, on some of the images.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Drawing

from noiseproof.attacks import PGD
from noiseproof.experiments.attack_figures import FEW, MADRY, NATURAL, STN_07
from noiseproof.experiments.attacked import Attacked
from noiseproof.experiments.figure import Figure, Result
from noiseproof.experiments.recipes import Facts, Reader, Step
from noiseproof.numerics.decimals import exact, round_down
from noiseproof.reports.ladder import Ladder, controls, grid, unbounded
from noiseproof.reports.tables import Table
from noiseproof.runs.attack_records import AttackRecord

__all__ = ["FOLDER", "IMAGES", "LADDER", "SIZE"]

FOLDER = "mnist/stn-0.7/ladder-l2"
SIZE = 2.0
"""Size of the attacks in l2, at which slightly more than half of the images withstand those of Figure 3."""

IMAGES = range(0, 10_000, 100)
_PIXELS = 28 * 28
_SOURCES = {f"transfer-{source.model.removeprefix('zoo:')}": source for source in (MADRY, NATURAL) if source.model}


@dataclass(frozen=True)
class _Rung(Attacked):
    """An attack of the ladder, whose record lies in the folder of the ladder.

    Attributes:
        called: name of the attack there.
    """

    called: str = ""

    @property
    def folder(self) -> str:
        return f"{FOLDER}/{self.called}"

    def steps(self, records: Path) -> list[Step]:
        """Return the attack; where the ladder has no record yet, the one command that makes all but its slow attacks."""
        if (records / FOLDER).exists():
            return super().steps(records)
        folder, options = records / FOLDER, STN_07.options(precision=STN_07.attacked)
        options |= {"epsilon": exact(SIZE), "source": [source.model for source in _SOURCES.values()]}
        options |= {"limit": len(IMAGES), "no_decisions": True, "out": folder}
        return [Step.of(folder, "ladder", records / STN_07.folder(), cost=(137.0, "an H100"), **options)]

    def facts(self, record: AttackRecord) -> Facts:
        """Compare the engine as well, unless any precision is accepted."""
        yield from super().facts(record)
        if self.precision is None and self.beside:
            yield "engine", dict(self.beside[0].settings.engine), dict(record.settings.engine)


_rung = partial(_Rung, STN_07, norm="l2", every=IMAGES.step, epsilons=(SIZE,), precision="auto")
"""An attack of the ladder that may have run in any precision."""


def _recipes() -> dict[str, Attacked]:
    """Return the recipes by name: the rungs, the unbounded attack, the controls, and the slow controls of Figure 6."""
    boundless, largest = unbounded("l2", _PIXELS)
    fast, slow = controls("l2", decisions=False), controls("l2")
    recipes: dict[str, Attacked] = {name: _rung(each, precision=None, called=name) for name, each in grid().items()}
    recipes["unbounded"] = _rung(boundless, epsilons=(largest,), called="unbounded")
    recipes |= {name: _rung(attack, called=name) for name, attack in fast.items()}
    recipes |= {name: _rung(PGD(steps=100), source=source, called=name) for name, source in _SOURCES.items()}
    return recipes | {name: Attacked(STN_07, slow[name], "l2", every=FEW) for name in slow if name not in fast}


class _SanityLadder(Figure[Ladder | None]):
    """The ladder; None unless all rungs and the unbounded attack are there."""

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
        return [content.table(title)]

    def sound(self, content: Ladder | None) -> bool:
        return content is not None and all(check.passed for check in content.checks())

    def told(self, content: Ladder | None) -> dict[str, Any]:
        return {"sound": self.sound(content)}


LADDER = _SanityLadder()
