"""Time from votes to radii for 10 000 images of 1000 classes.

python benchmarks/bounds.py      1 minute; writes benchmarks/results/bounds.*
"""

import time
from typing import Any

import numpy as np
from networks import median, write

import noiseproof as npf
from noiseproof.bounds import Bonferroni, Bound, SinglePhase, TwoPhase, WinnerRunnerUp
from noiseproof.certificates import AnalyticPixelDP, Certificate, NeymanPearson, PixelDP, Renyi

IMAGES, CLASSES, VOTES, SELECTION = 10_000, 1000, 1000, 100


def timed(call: Any, repeats: int) -> float:
    """The median time of a call in seconds."""
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return median(seconds)


def main() -> None:
    """Measure all bounds, then all certificates."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.r_[20.0, np.full(CLASSES - 1, 0.01)], IMAGES)
    votes = rng.multinomial(VOTES, shares).astype(np.int64)
    selection = rng.multinomial(SELECTION, shares).astype(np.int64)
    bounds: list[Bound] = [TwoPhase(), SinglePhase(), WinnerRunnerUp(), Bonferroni()]
    certificates: list[Certificate] = [NeymanPearson(), Renyi(), PixelDP(), AnalyticPixelDP()]
    noise, figures = npf.Gaussian(0.5), {}
    found = TwoPhase()(votes, alpha=0.001, selection_votes=selection)
    for bound in bounds:
        figures[type(bound).__name__] = timed(lambda b=bound: b(votes, alpha=0.001, selection_votes=selection), 5)
    for certificate in certificates:
        figures[type(certificate).__name__] = timed(
            lambda c=certificate: c.radius(noise, found.p1_lower, found.p2_upper), 5
        )
    table = ["| from votes to probabilities | seconds |", "|---|---|"]
    table += [f"| {type(bound).__name__} | {figures[type(bound).__name__]:.3f} |" for bound in bounds]
    table += ["", "| from probabilities to radii | seconds |", "|---|---|"]
    table += [f"| {type(way).__name__} | {figures[type(way).__name__]:.3f} |" for way in certificates]
    write("bounds", f"{IMAGES:,} images of {CLASSES} classes, {VOTES} votes an image", table, figures)


if __name__ == "__main__":
    main()
