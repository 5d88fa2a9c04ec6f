"""The sanity ladder: does accuracy under attack settle with more noise samples, steps and restarts?

The sanity checks of an adversarial evaluation (Athalye et al. 2018; Carlini et al. 2019; Tramèr et al. 2020), from
records of attacks on the same images at one size, and of one unbounded attack.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure
from scipy.stats import binom, binomtest

from noiseproof.attacks import (
    PGD,
    Attack,
    BoundaryAttack,
    CarliniWagner,
    HopSkipJump,
    RandomisedAutoAttack,
    RandomSearch,
)
from noiseproof.errors import RunError
from noiseproof.evaluation.robust_accuracy import Verdict, summarise_verdicts, worst_so_far
from noiseproof.numerics.decimals import percent, percent_up, round_down
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.reports.attacked import found_verdicts
from noiseproof.reports.figures import COLOURS, figure_png, figure_svg, legend_under, new_figure, tidy
from noiseproof.reports.tables import Table
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.storage.files import write_atomically

__all__ = ["DRAWS", "RESTARTS", "STEPS", "Check", "Ladder", "LastRung", "controls", "grid", "unbounded"]

DRAWS, STEPS, RESTARTS = (1, 4, 16, 64), (10, 20, 50, 100), (1, 2, 4)
"""The rungs: noise samples per gradient, steps, restarts."""

_MIDDLE = (16, 50)
"""Noise samples and steps at which restarts and the unbounded attack are tried."""

_LEVEL = 0.01
"""Level of each check; divided by the number of its comparisons."""

_TAIL = 0.025
"""Level of a one-sided test for a plateau: one end of a 95 % interval."""


def grid() -> dict[str, Attack]:
    """Return the rungs of PGD by name: every number of noise samples with every number of steps, and restarts."""
    rungs: dict[str, Attack] = {
        _rung(draws, steps): PGD(eot_samples=draws, steps=steps) for draws in DRAWS for steps in STEPS
    }
    draws, steps = _MIDDLE
    return rungs | {
        f"pgd-restarts{restarts}": PGD(eot_samples=draws, steps=steps, restarts=restarts) for restarts in RESTARTS[1:]
    }


def controls(norm: NormLike, *, decisions: bool = True) -> dict[str, Attack]:
    """Return the controls, which must not be stronger than the topmost rung: other attacks, or less knowledge.

    Args:
        norm: controls that do not support it are left out.
        decisions: whether to include decision-based attacks and Carlini-Wagner, the slow ones of the extra `attacks`.
    """
    draws, steps = _MIDDLE
    fast = {
        "margin": PGD(loss="margin", eot_samples=draws, steps=steps),
        "auto-attack": RandomisedAutoAttack(),
        "random": RandomSearch(),
    }
    slow = {"carlini-wagner": CarliniWagner(), "boundary": BoundaryAttack(), "hop-skip-jump": HopSkipJump()}
    return {name: attack for name, attack in (fast | (slow if decisions else {})).items() if norm in attack.norms}


def unbounded(norm: NormLike, pixels: int) -> tuple[Attack, float]:
    """Return an unbounded attack and its size, the diameter of the box [0, 1]^pixels: nothing withstands it.

    It starts at the image: a random start in so large a ball is mostly noise and would succeed without gradients.
    """
    draws, steps = _MIDDLE
    return PGD(eot_samples=draws, steps=steps, random_start=False), {
        "linf": 1.0,
        "l2": math.sqrt(pixels),
        "l1": float(pixels),
    }[norm]


@dataclass(frozen=True)
class Check:
    """A statement that must hold of a sound evaluation, and whether it does.

    Attributes:
        text: the statement.
        passed: whether the records are compatible with it.
        found: the figures.
    """

    text: str
    passed: bool
    found: str


@dataclass(frozen=True)
class LastRung:
    """What the last rung gains over the one before, on the same images, and whether that is more than chance.

    Attributes:
        what: eot_samples, steps or restarts.
        before: how many of them the rung before the last has.
        last: how many the last has.
        gain: by how much accuracy falls between the two, as a share of the images.
        most: upper end of the 95 % interval (Clopper-Pearson) of the share that the last rung alone makes wrong: the
            gain may be as large as this if the images are independent draws from a population.
        p_value: of the one-sided exact sign test that the last rung is no stronger than the one before.
    """

    what: str
    before: int
    last: int
    gain: float
    most: float
    p_value: float

    @property
    def falling(self) -> bool:
        """Whether accuracy still falls by more than its error: the exact sign test at the 2.5 % of one end."""
        return self.p_value <= _TAIL

    @property
    def verdict(self) -> str:
        """The verdict in words; "no longer falling" means that no fall was seen, not that none is possible."""
        return "still falling" if self.falling else "no longer falling within the error"

    def __str__(self) -> str:
        gains = f"{100 * self.gain:+.1f} % gained by {self.before} to {self.last} {self.what}, {percent_up(self.most)} at most"
        return f"{self.verdict}: {gains}"


@dataclass(frozen=True)
class Ladder:
    """The verdicts of every attack of the ladder on the same images, at its largest size.

    Attributes:
        verdicts: (images,) of each attack, by name.
        size: of the attacks.
        norm: of the size.
        rows: for an attack on some of the images, such as a slow one, the rows of these; comparisons with it use them
            alone.
    """

    verdicts: Mapping[str, Int[np.ndarray, " images"]]
    size: float
    norm: str
    rows: Mapping[str, Int[np.ndarray, " some"]] = field(default_factory=dict)

    @staticmethod
    def of(records: Mapping[str, AttackRecord]) -> "Ladder":
        """Read the ladder from records.

        Raises:
            RunError: one is not complete.
        """
        first = next(iter(records.values())).settings
        for name, record in records.items():
            left = record.missing()[0]
            if left:
                raise RunError(
                    str(record.path),
                    required="complete, to be a rung of the ladder",
                    got=f"{len(left)} shards missing in {name}",
                    remedy="Run the same command again when the other process has ended.",
                )
        found = {name: worst_so_far(found_verdicts(record))[-1] for name, record in records.items()}
        return Ladder(found, float(first.sizes[-1]), first.norm)

    def robust(self, name: str) -> float:
        """Return the share of images that withstand an attack."""
        return float((self.verdicts[name] == Verdict.RIGHT).mean())

    @property
    def strongest(self) -> str:
        """The name of the topmost rung: most draws and steps, whatever it found."""
        return _rung(DRAWS[-1], STEPS[-1])

    def checks(self) -> list[Check]:
        """Return the checks: each an exact sign test on the images on which two attacks differ."""
        checks = [self._monotone("eot_samples", [[_rung(d, s) for d in DRAWS] for s in STEPS])]
        checks.append(self._monotone("steps", [[_rung(d, s) for s in STEPS] for d in DRAWS]))
        checks.append(self._monotone("restarts", [_by_restarts()]))
        for name in self.verdicts:
            if name == "unbounded":
                wrong = float((self.verdicts[name] == Verdict.WRONG).mean())
                checks.append(Check("an attack without bound makes every image wrong", wrong == 1.0, percent(wrong)))
            elif not name.startswith("pgd-"):
                checks.append(self._not_stronger(name))
        return checks

    def plateau(self) -> list[LastRung]:
        """Return the gains of the last rungs, in noise samples, in steps, and in restarts."""
        return [
            self._last_rung("eot_samples", DRAWS, [_rung(draws, STEPS[-1]) for draws in DRAWS]),
            self._last_rung("steps", STEPS, [_rung(DRAWS[-1], steps) for steps in STEPS]),
            self._last_rung("restarts", RESTARTS, _by_restarts()),
        ]

    def lines(self) -> list[tuple[str, str, str]]:
        """Return each check and whether each accuracy settles, as (verdict, statement, figures)."""
        checks = [("ok" if check.passed else "fails", check.text, check.found) for check in self.checks()]
        text = "accuracy under more {} settles"
        rungs = [("falls" if r.falling else "settled", text.format(r.what), str(r)) for r in self.plateau()]
        return checks + rungs

    def table(self, title: str) -> Table:
        """Return the lines as a table."""
        return Table(title, ["", "check", "found"], self.lines(), numeric=False)

    def plain(self) -> dict[str, Any]:
        """Return the accuracy under each attack, and the checks, as plain data."""
        checks = [{"check": each.text, "passed": each.passed, "found": each.found} for each in self.checks()]
        return {"robust": {name: self.robust(name) for name in self.verdicts}, "checks": checks}

    def beside(self, name: str, record: AttackRecord, images: Sequence[int]) -> "Ladder":
        """Return the ladder with a further attack, compared at the ladder's size on the images that both have.

        Args:
            name: of the attack.
            record: of it, with the ladder's size among its sizes.
            images: index of each image of the ladder.
        """
        own, column = np.asarray(record.settings.indices), list(record.settings.sizes).index(self.size)
        verdicts = worst_so_far(found_verdicts(record))[column][np.isin(own, images)]
        rows = np.flatnonzero(np.isin(images, own))
        return replace(self, verdicts={**self.verdicts, name: verdicts}, rows={**self.rows, name: rows})

    def _last_rung(self, what: str, rungs: Sequence[int], names: Sequence[str]) -> LastRung:
        before, last = names[-2:]
        fallen = int(((self.verdicts[before] == Verdict.RIGHT) & (self.verdicts[last] != Verdict.RIGHT)).sum())
        most = binomtest(fallen, len(self.verdicts[last])).proportion_ci(1.0 - 2.0 * _TAIL).high
        gain = self.robust(before) - self.robust(last)
        return LastRung(what, rungs[-2], rungs[-1], gain, float(most), self._p_value(last, before))

    def _monotone(self, what: str, lines: Sequence[Sequence[str]]) -> Check:
        """Check that no rung is weaker than one below it, and none than the first of its line, beyond chance."""
        pairs = [(line[low], line[high]) for line in lines for high in range(len(line)) for low in range(high)]
        values = {pair: self._p_value(*pair) for pair in pairs}
        worst = min(values, key=lambda pair: values[pair])
        passed = values[worst] >= _LEVEL / len(pairs)
        first, last = lines[-1][0], lines[-1][-1]
        found = f"{percent_up(self.robust(first))} at {first}, {percent_up(self.robust(last))} at {last}"
        if not passed:
            found += f"; but {worst[1]} leaves more than {worst[0]}, p = {values[worst]:.2g}"
        return Check(f"more {what} never make the attack weaker", passed, found)

    def _not_stronger(self, name: str) -> Check:
        value = self._p_value(name, self.strongest)
        rows = self.rows.get(name)
        against = self.verdicts[self.strongest] if rows is None else self.verdicts[self.strongest][rows]
        found = f"{percent_up(self.robust(name))} against {percent_up(float((against == Verdict.RIGHT).mean()))}"
        found += "" if rows is None else f", {len(rows)} of the images"
        return Check(f"{name} is not stronger than PGD with most eot_samples and steps", value >= _LEVEL, found)

    def _p_value(self, weaker: str, stronger: str) -> float:
        """Return P(so many images or more fall to the weaker alone), if each that tells them apart is a fair coin."""
        one, other = (self.verdicts[name] != Verdict.RIGHT for name in (weaker, stronger))
        if (rows := self.rows.get(weaker)) is not None:
            other = other[rows]
        alone, apart = int((one & ~other).sum()), int((one ^ other).sum())
        return float(binom.sf(alone - 1, apart, 0.5))

    def draw(self) -> Figure:
        """Draw accuracy against steps, a line for each number of noise samples, and the other attacks as bars."""
        figure = new_figure(11.0, 5.0)
        left, right = figure.subplots(1, 2)
        for number, draws in enumerate(DRAWS):
            values = [100 * self.robust(_rung(draws, steps)) for steps in STEPS]
            label = f"eot_samples {draws}"
            left.plot(STEPS, values, color=COLOURS[number], marker="o", label=label)
        top = summarise_verdicts(self.verdicts[self.strongest][None], np.zeros(1))
        left.axhspan(
            100 * top.low[0], 100 * top.high[0], color="0.5", alpha=0.12, label="95 % interval of the strongest"
        )
        left.set_xscale("log")
        left.set_xticks(STEPS, [str(steps) for steps in STEPS])
        left.minorticks_off()
        left.set_xlabel("steps of PGD")
        left.set_ylabel(f"accuracy under attack of size {round_down(self.size, None)} in {Norm(self.norm).label} (%)")
        legend_under(left)
        others = [name for name in self.verdicts if not name.startswith("pgd-draws")]
        bars = [self.strongest, *others]
        colours = ["#009E73", *("#0072B2" if name.startswith("pgd-") else "#999999" for name in others)]
        drawn = right.barh(range(len(bars)), [100 * self.robust(name) for name in bars], color=colours)
        right.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8)
        labels = [f"{name} ({len(self.rows[name])} images)" if name in self.rows else name for name in bars]
        right.set_yticks(range(len(bars)), labels, fontsize=8)
        right.invert_yaxis()
        right.set_xlim(0, 108)
        right.set_xlabel("accuracy under attack (%)")
        caption = "\n".join(f"Accuracy under more {rung.what} is {rung}" for rung in self.plateau())
        figure.supxlabel(caption, fontsize=8, x=0.01, ha="left")
        for axes in (left, right):
            tidy(axes)
        return figure

    def write(self, folder: Path) -> list[Path]:
        """Write ladder.png and ladder.svg and return their paths."""
        figure = self.draw()
        files = {"ladder.png": figure_png(figure), "ladder.svg": figure_svg(figure).encode()}
        for name, content in files.items():
            write_atomically(folder / name, content)
        return [folder / name for name in files]


def _rung(draws: int, steps: int) -> str:
    return f"pgd-draws{draws}-steps{steps}"


def _by_restarts() -> list[str]:
    return [_rung(*_MIDDLE), *(f"pgd-restarts{restarts}" for restarts in RESTARTS[1:])]
