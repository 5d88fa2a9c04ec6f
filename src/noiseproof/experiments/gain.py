"""Does stability training certify more than Gaussian augmentation (section 6.1)? Both on the same images, by our procedure.

At equal epochs, and at equal time: an epoch of stability training takes two passes, one of Gaussian augmentation takes one.
Several seeds show what chance in training can do: the mean difference, from the least to the largest. One seed has an
interval over images instead (`paired_difference`), which does not cover training.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from noiseproof.evaluation import paired_difference
from noiseproof.experiments.networks import CIFAR_SIGMA, TITLES, Network
from noiseproof.experiments.readings import reached
from noiseproof.experiments.votes import Run
from noiseproof.numerics.decimals import round_down
from noiseproof.runs.identity import differences

__all__ = ["RADII", "gains"]

RADII = {"mnist": (0.0, 0.5, 1.0, 1.4, 1.58), "cifar10": (0.0, 36 / 255, 0.25, 0.5, 1.0)}
"""Radii at which certified accuracy is compared and tabulated, by data set."""

_COMPARED = (
    ("epochs", Network("mnist", "stn", 0.7), Network("mnist", "gaussian", 0.7)),
    ("epochs", Network("cifar10", "stn", CIFAR_SIGMA), Network("cifar10", "gaussian", CIFAR_SIGMA)),
    ("time", Network("cifar10", "stn-short", CIFAR_SIGMA), Network("cifar10", "gaussian", CIFAR_SIGMA)),
)


def gains(runs: Sequence[Run]) -> Iterator[str]:
    """Yield in words what stability training gains, for each comparison whose records are among the runs.

    Records that differ in more than the objective, and at equal time the epochs, are not compared, and the text says so.
    """
    for equal, stn, other in _COMPARED:
        first, second = ({run.seed: run for run in runs if _same(run.network, one)} for one in (stn, other))
        pairs = [(run, second[seed]) for seed, run in first.items() if seed in second]
        unlike = [(one, two, differences(one.record, two.record)) for one, two in pairs]
        allowed = {"", "training epochs"} if equal == "time" else {""}
        if wrong := next((each for each in unlike if each[2] not in allowed), None):
            yield f"not comparable: {wrong[0].record.path} and {wrong[1].record.path} differ in {wrong[2]}"
        elif pairs:
            yield f"points gained at equal {equal}, certified by ours, {TITLES[stn.data]}, {_gained(pairs)}"


def _same(one: Network, other: Network) -> bool:
    return (one.data, one.name) == (other.data, other.name)


def _gained(pairs: Sequence[tuple[Run, Run]]) -> str:
    """The mean over pairs of the difference at each radius, with the spread of seeds or the interval over images."""
    network = pairs[0][0].network
    radii = np.array(RADII[network.data])
    right = [(reached(one, radii), reached(two, radii)) for one, two in pairs]
    found = []
    for column, radius in enumerate(radii):
        each = 100 * np.array([paired_difference(one[:, column], two[:, column]) for one, two in right])
        low, high = each[0, 1:] if len(pairs) == 1 else (each[:, 0].min(), each[:, 0].max())
        found.append(f"{each[:, 0].mean():+.1f} [{low:+.1f} to {high:+.1f}] at {round_down(radius, None)}")
    of = (
        f"{len(pairs)} seeds, each with the other of its seed"
        if len(pairs) > 1
        else "1 seed, intervals of 95 % over images"
    )
    sigma = "100/255" if network.sigma == CIFAR_SIGMA else f"{network.sigma:g}"
    return f"sigma {sigma}, {of}: {', '.join(found)}"
