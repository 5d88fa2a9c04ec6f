"""The procedures that Table 1 and Figure 1 compare on the same votes.

the paper's   Bonferroni over all classes at alpha .05, Rényi, and what is certified times 95 %
ours          two-phase at alpha .001, the tight certificate, and what is certified minus what chance may have certified
as released   the votes of the selection phase, Sison-Glaz passed .95 in place of .05, its formula: proves nothing
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from noiseproof.bounds import Bonferroni, Bound, SinglePhase, TwoPhase, WinnerRunnerUp
from noiseproof.certificates import AnalyticPixelDP, Certificate, NeymanPearson, PixelDP, Renyi
from noiseproof.evaluation.certified_accuracy import certified_accuracy, failure_allowance
from noiseproof.experiments.released import released_radius
from noiseproof.experiments.votes import ALPHA, Run
from noiseproof.noises import Gaussian
from noiseproof.reports.analysis import PAPER, TIGHT
from noiseproof.reports.bands import Spread
from noiseproof.runs.records import VoteTable

__all__ = [
    "BOUNDS",
    "CERTIFICATES",
    "CONFIDENCE",
    "PAPERS_ALPHA",
    "Reach",
    "Way",
    "allowance",
    "crossed",
    "ours",
    "papers",
    "reach",
    "ways",
]

PAPERS_ALPHA = 0.05
"""Failure probability per image, the paper's."""

CONFIDENCE = 0.95
"""Of our statement about a data set, and of all seeds of one network together."""

Radii = Float[np.ndarray, " radii"]


def papers(runs: list[Run], radii: Radii, certificate: Certificate = PAPER.certificate) -> Spread:
    """Return the paper's accuracy lower bound: 95 % of what its intervals and its certificate certify at each radius.

    No bound: see `failure_allowance`. The intervals are those of the text at alpha .05.

    Args:
        runs: one at least; a row each.
        radii: in l_2.
        certificate: PixelDP's in place of the paper's, for Figure 1.
    """
    found = [_certified(run, run.votes, radii, PAPERS_ALPHA, PAPER.bound, certificate) for run in runs]
    return Spread((1.0 - PAPERS_ALPHA) * np.stack(found))


def ours(runs: list[Run], radii: Radii, certificate: Certificate = TIGHT.certificate) -> Spread:
    """Return what is certified at each radius under our procedure; arguments as `papers`. Less `allowance` it is a bound."""
    return Spread(np.stack([_certified(run, run.votes, radii, ALPHA, TIGHT.bound, certificate) for run in runs]))


def allowance(images: int, seeds: int) -> float:
    """Return what to subtract from what is certified, so that the differences hold for all seeds together.

    Each seed's statement has the failure probability .05 / seeds: votes of several networks under one key of noise are
    not independent, so only the union bound puts them together. They hold at all radii at once, and so does their mean.
    """
    return failure_allowance(images, ALPHA, (1.0 - CONFIDENCE) / seeds)


@dataclass(frozen=True)
class Way:
    """What one way of reading the same votes certifies, nothing multiplied and nothing subtracted.

    Attributes:
        title: the way.
        samples: votes per image that it reads.
        accuracy: at each radius.
        proves: whether it proves anything.
    """

    title: str
    samples: int
    accuracy: Radii
    proves: bool = True


def ways(run: Run, radii: Radii) -> list[Way]:
    """Return the ways from the released code's to ours, one change at a time, on the votes of one network.

    The released code draws 100 votes, as many as a selection phase usually has: those are read where it is imitated.
    """
    selection, samples = run.votes.selection_votes, run.record.settings.samples
    assert selection is not None  # noqa: S101 - the recipe requires them
    few, fewer = replace(run.votes, votes=selection, selection_votes=None), run.record.settings.selection_samples
    text = "the paper's text: Bonferroni, alpha .05, Rényi"

    def read(votes: VoteTable, alpha: float, certificate: Certificate) -> Radii:
        return _certified(run, votes, radii, alpha, PAPER.bound, certificate)

    return [
        Way("the released code: Sison-Glaz passed .95, Rényi", fewer, _released(run, few, radii, 0.95), proves=False),
        Way("the same, passed .05", fewer, _released(run, few, radii, PAPERS_ALPHA), proves=False),
        Way(text, fewer, read(few, PAPERS_ALPHA, PAPER.certificate)),
        Way(text, samples, read(run.votes, PAPERS_ALPHA, PAPER.certificate)),
        Way("Bonferroni, alpha .05, tight", samples, read(run.votes, PAPERS_ALPHA, TIGHT.certificate)),
        Way("Bonferroni, alpha .001, tight", samples, read(run.votes, ALPHA, TIGHT.certificate)),
        Way("ours: two-phase, alpha .001, tight", samples, ours([run], radii).values[0]),
    ]


BOUNDS: tuple[Bound, ...] = (Bonferroni(), SinglePhase(), WinnerRunnerUp(), TwoPhase())
CERTIFICATES: tuple[Certificate, ...] = (PixelDP(), AnalyticPixelDP(), Renyi(), NeymanPearson())
"""Of `crossed`: the exact bounds, and the certificates of l_2 that the paper and its peers compare."""


def crossed(run: Run, radius: float) -> list[tuple[str, list[float]]]:
    """Return what every bound (a row each, with its name) certifies with every certificate at a radius, all at `ALPHA`."""
    at = np.array([radius])
    return [
        (type(bound).__name__, [float(_certified(run, run.votes, at, ALPHA, bound, each)[0]) for each in CERTIFICATES])
        for bound in BOUNDS
    ]


def _released(run: Run, votes: VoteTable, radii: Radii, passed: float) -> Radii:
    """Return the share right and called robust at each radius by the formula of the released code."""
    noise = run.record.noise
    assert isinstance(noise, Gaussian)  # noqa: S101 - the recipe requires it
    reached = noise.sigma * released_radius(votes.votes, passed)
    right = votes.votes.argmax(-1) == votes.label
    return np.array([float((right & (reached > radius)).mean()) for radius in radii])


def _certified(run: Run, votes: VoteTable, radii: Radii, alpha: float, bound: Bound, certificate: Certificate) -> Radii:
    found = run.record.certify(alpha=alpha, bound=bound, certificate=certificate, table=votes)
    return certified_accuracy(found, votes.label, radii)


@dataclass(frozen=True)
class Reach:
    """How far unanimous votes reach, in sigma: no image gets a longer radius.

    Attributes:
        samples: votes per image.
        papers: under the paper's procedure.
        released: by the released code, its interval passed .95.
        mended: by the same passed .05.
    """

    samples: int
    papers: float
    released: float
    mended: float


def reach(samples: int, num_classes: int = 10) -> Reach:
    """Return how far unanimous votes reach."""
    unanimous = np.zeros((1, num_classes), dtype=np.int64)
    unanimous[0, 0] = samples
    found = PAPER.bound(unanimous, alpha=PAPERS_ALPHA)
    papers = PAPER.certificate.radius(Gaussian(sigma=1.0), found.p1_lower, found.p2_upper)[0]
    released, mended = (float(released_radius(unanimous, passed)[0]) for passed in (0.95, PAPERS_ALPHA))
    return Reach(samples, float(papers), released, mended)
