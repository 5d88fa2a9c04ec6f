"""Figures 3, 4, 6 and 7 of the paper (section 6.2, appendix D): accuracy under attack, with certified accuracy beneath.

Figure 3   defences under white-box attacks (lines) and attacks transferred from Madry's model (dashed)
Figure 4   stability training at several sigma, among them 0
Figure 6   one defence under white-box, transfer and gradient-free attacks, on MNIST
Figure 7   the same on CIFAR-10

A curve is the accuracy under the strongest of its attacks on each image. Where records of some attacks are missing or
incomplete, its legend says so ("1 of 2 attacks"): fewer attacks may overestimate the accuracy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from noiseproof import attacks
from noiseproof.attacks import PGD, Attack
from noiseproof.errors import NoiseproofError
from noiseproof.experiments.attacked import Attacked, find_worst
from noiseproof.experiments.figure import Figure, Result
from noiseproof.experiments.networks import CIFAR_SIGMA, TITLES, Network
from noiseproof.experiments.recipes import NOT_THERE, Missing, Reader
from noiseproof.experiments.votes import FixedVotes
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.reports.attacked import certified_beside, other_engine
from noiseproof.reports.robustness import CertifiedCurve, Panel, RobustCurve, draw_robustness
from noiseproof.reports.tables import Table
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.records import Record

__all__ = [
    "FEW",
    "FIGURE3",
    "FIGURE4",
    "FIGURE6",
    "FIGURE7",
    "MADRY",
    "NATURAL",
    "STN_07",
    "TRADES",
    "Curve",
    "white_box",
]

EVERY = {"mnist": 20, "cifar10": 50}
"""Which images are attacked, by data set: 500 of MNIST, 200 of CIFAR-10, whose network takes four times as long."""

FEW = 200
"""Every 200th image, for attacks that take ten to thirty seconds an image."""

STN_07 = Network("mnist", "stn", 0.7)
STN_05 = Network("mnist", "stn", 0.5)
STN_CIFAR = Network("cifar10", "stn", CIFAR_SIGMA)
RELEASED = Network("cifar10", "released", CIFAR_SIGMA)
TRADES, MADRY, NATURAL = (Network("mnist", kind) for kind in ("trades-linf", "madry-linf", "natural"))

Curve = tuple[str, tuple[Attacked, ...], int, bool]
"""Title, recipes of its attacks, colour, dashed; drawn where at least one of the records exists."""


@dataclass(frozen=True)
class _AttackFigure(Figure[list[Panel]]):
    """A figure of accuracy under attack: one panel per data set and norm in which there is a curve.

    Attributes:
        name: name of the figure.
        title: heading of the figure.
        planned: by data set, a function from the norm to the curves of the panel.
        certified: (defence, colour) of the certified accuracies drawn beneath.
    """

    name: str
    title: str
    planned: Mapping[str, Callable[[NormLike], list[Curve]]]
    certified: list[tuple[Network, int]]

    def read(self, reader: Reader) -> list[Panel]:
        panels = [self._panel(data, norm, reader) for data in self.planned for norm in (Norm.L2, Norm.LINF)]
        return [panel for panel in panels if panel.curves]

    def _panel(self, data: str, norm: Norm, reader: Reader) -> Panel:
        curves: list[RobustCurve] = []
        attacked: dict[Network, AttackRecord] = {}
        for title, recipes, colour, dashed in self.planned[data](norm):
            worst, found = find_worst(recipes, reader)
            if worst is not None:
                of = "" if len(found) == len(recipes) else f", {len(found)} of {len(recipes)} attacks"
                curves.append(RobustCurve.of(f"{title} ({worst.images}{of})", worst, colour, dashed=dashed))
                attacked.setdefault(recipes[0].defence, found[0])
        defences = [(one, colour) for one, colour in self.certified if one.data == data]
        areas = [_certified(one, colour, attacked.get(one), reader) for one, colour in defences]
        title = f"{TITLES.get(data, data)} ({norm.label})"
        return Panel(title, norm, curves, [area for area in areas if area is not None])

    def draw(self, content: list[Panel]) -> Drawing:
        return draw_robustness(content)

    def numbers(self, found: Result[list[Panel]]) -> list[dict[str, Any]] | None:
        return [curve for panel in found.content for curve in panel.plain()] or None

    def tables(self, content: list[Panel]) -> list[Table]:
        return [panel.table(self.name) for panel in content]


def _certified(defence: Network, colour: int, attack: AttackRecord | None, reader: Reader) -> CertifiedCurve | None:
    """Return the certified accuracy of a defence on the images that are attacked; None where it is not drawn."""
    run, why = reader.folder / defence.folder(), NOT_THERE
    if attack is not None:
        sizes, why = np.linspace(0.0, max(attack.settings.sizes), 301), f"{NOT_THERE}, or not of what is attacked"
        try:
            if (accuracy := certified_beside(run, attack, sizes)) is not None:
                images = str(len(attack.read_verdicts())) + (", in another engine" if other_engine(run, attack) else "")
                return CertifiedCurve(f"{defence.title} ({images})", sizes, accuracy, colour)
        except NoiseproofError as error:
            why = str(error)
    elif (run / Record.configuration).exists():
        return None
    reader.miss(Missing("what is certified", why, tuple(FixedVotes(defence).steps(reader.folder))))
    return None


def white_box(defence: Network, norm: NormLike) -> tuple[Attacked, ...]:
    """Return the attacks of a white-box curve (section 6.2): accuracy is that under the strongest of them on each image.

    Against a defence with noise: PGD on two losses, with 16 noise samples and 40 steps; half of both on CIFAR-10, and on
    fewer images for the released network, which is attacked in float32. Without noise a single attack often overestimates
    robustness (Schott et al. 2019; Tramèr et al. 2020), and steps are cheap: PGD on two losses with 100 steps and restarts,
    AutoAttack, and in l_2, where gradients of networks trained in l_inf mislead, more restarts and HopSkipJump. The
    undefended needs no restarts.
    """
    others: list[Attack] = []
    if defence.sigma:
        ascent = PGD(eot_samples=8, steps=20) if defence.data == "cifar10" else PGD(eot_samples=16, steps=40)
    else:
        trained = defence.kind != "natural"
        ascent = PGD(steps=100, restarts=(5 if norm == "l2" else 2) if trained else 1)
        others = [attacks.RandomisedAutoAttack(), *([attacks.HopSkipJump()] if norm == "l2" and trained else [])]
    every = FEW if defence.released else EVERY[defence.data]
    found = [replace(ascent, loss="log_mean"), replace(ascent, loss="margin"), *others]
    return tuple(Attacked(defence, attack, norm, every=every) for attack in found)


def _transferred(defence: Network, kind: str, norm: NormLike) -> tuple[Attacked, ...]:
    """Return the transfer attack: PGD on the source, a network of this kind, evaluated on the defence."""
    attack, source = PGD(loss="margin", steps=100), Network(defence.data, kind)
    return (Attacked(defence, attack, norm, source, every=EVERY[defence.data]),)


def _figure3(defence: Network, more: Sequence[Network], norm: NormLike) -> list[Curve]:
    others = [Network(defence.data, kind) for kind in ("trades-linf", "madry-linf", "natural")]
    defences = list(enumerate((defence, *others)))
    white = [(f"{one.title}, white-box", white_box(one, norm), colour, False) for colour, one in defences]
    further = [(f"{one.title}, white-box", white_box(one, norm), 4 + i, False) for i, one in enumerate(more)]
    black = [(one, _transferred(one, "madry-linf", norm), colour) for colour, one in defences if one != others[1]]
    return [
        *white,
        *further,
        *((f"{one.title}, from Madry's", recipes, colour, True) for one, recipes, colour in black),
    ]


def _figure4(defences: Sequence[tuple[Network, int]], norm: NormLike) -> list[Curve]:
    return [(one.title, white_box(one, norm), colour, False) for one, colour in defences]


def _figure6(defence: Network, norm: NormLike) -> list[Curve]:
    slow: list[tuple[str, Attack, int, bool]] = [
        ("Carlini-Wagner", attacks.CarliniWagner(), 1, False),
        ("Boundary", attacks.BoundaryAttack(), 2, True),
        ("HopSkipJump", attacks.HopSkipJump(), 4, True),
    ]
    search = Attacked(defence, attacks.RandomSearch(), norm, every=EVERY[defence.data])
    return [
        ("PGD, two losses", white_box(defence, norm), 0, False),
        *(
            (title, (Attacked(defence, attack, norm, every=FEW),), colour, dashed)
            for title, attack, colour, dashed in slow
            if norm in attack.norms
        ),
        ("from Madry's model", _transferred(defence, "madry-linf", norm), 5, True),
        ("from the undefended model", _transferred(defence, "natural", norm), 3, True),
        ("random search", (search,), 6, True),
    ]


_SWEPT = {
    "mnist": ((NATURAL, 3), (STN_05, 4), (STN_07, 0)),
    "cifar10": (
        (Network("cifar10", "natural"), 3),
        (Network("cifar10", "stn-tuned", 0.25), 4),
        (STN_CIFAR, 0),
        (Network("cifar10", "stn-tuned", 0.5), 2),
    ),
}
"""The networks of Figure 4 and their colours."""

FIGURE3 = _AttackFigure(
    "figure3",
    "Figure 3: defences against white-box attacks and attacks transferred from Madry's model",
    {"mnist": partial(_figure3, STN_07, ()), "cifar10": partial(_figure3, STN_CIFAR, (RELEASED,))},
    [(STN_07, 0), (STN_CIFAR, 0), (RELEASED, 4)],
)
FIGURE4 = _AttackFigure(
    "figure4",
    "Figure 4: stability training at several sigma",
    {data: partial(_figure4, defences) for data, defences in _SWEPT.items()},
    [(one, colour) for defences in _SWEPT.values() for one, colour in defences if one.sigma],
)
FIGURE6 = _AttackFigure(
    "figure6",
    "Figure 6: one defence against every kind of attack",
    {"mnist": partial(_figure6, STN_07)},
    [(STN_07, 0)],
)
FIGURE7 = _AttackFigure(
    "figure7",
    "Figure 7: one defence against every kind of attack, CIFAR-10",
    {"cifar10": partial(_figure6, STN_CIFAR)},
    [(STN_CIFAR, 0)],
)
