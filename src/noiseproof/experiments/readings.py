"""The procedures that Table 1 and Figure 1 compare on the same votes.

the paper's   Bonferroni over all classes at alpha .05, Rényi, and what is certified times 95 %
ours          two-phase at alpha .001, the tight certificate, and what is certified minus what chance may have certified
as released   the votes of the selection phase, Sison-Glaz passed .95 in place of .05, its formula: proves nothing
"""

from collections.abc import Sequence
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

__all__ = ["CERTIFICATES", "CONFIDENCE", "PAPERS_ALPHA", "WAYS", "Way", "allowance", "crossed", "ours", "papers"]

PAPERS_ALPHA = 0.05
"""Failure probability per image, the paper's."""

CONFIDENCE = 0.95
"""Of our statement about a data set, and of all seeds of one network together."""

Radii = Float[np.ndarray, " radii"]
PerSeed = Float[np.ndarray, "seeds radii"]


@dataclass(frozen=True)
class Way:
    """A way of reading votes; nothing is multiplied and nothing subtracted.

    Attributes:
        title: of it.
        alpha: failure probability per image; of the released code what its interval is passed for it.
        bound: of p1 and p2; None for the released code, which proves nothing.
        certificate: of the radius.
        few: whether the votes of the selection phase are read. The released code draws 100 votes, as many as that has
            usually.
    """

    title: str
    alpha: float
    bound: Bound | None = PAPER.bound
    certificate: Certificate = PAPER.certificate
    few: bool = False

    def samples(self, run: Run) -> int:
        """Return the votes per image that are read."""
        return run.record.settings.selection_samples if self.few else run.record.settings.samples

    def certified(self, run: Run, radii: Radii) -> Radii:
        """Return the share of the images that are right and certified at each radius."""
        votes, noise = run.votes, run.record.noise
        if self.few:
            assert votes.selection_votes is not None  # noqa: S101 - the recipe requires them
            votes = replace(votes, votes=votes.selection_votes, selection_votes=None)
        if self.bound is None:
            assert isinstance(noise, Gaussian)  # noqa: S101 - the recipe requires it
            reached = noise.sigma * released_radius(votes.votes, self.alpha)
            right = votes.votes.argmax(-1) == votes.label
            return np.array([float((right & (reached > radius)).mean()) for radius in radii])
        found = run.record.certify(alpha=self.alpha, bound=self.bound, certificate=self.certificate, table=votes)
        return certified_accuracy(found, votes.label, radii)

    def reach(self, samples: int, num_classes: int = 10) -> float:
        """Return the radius of unanimous votes, in sigma: no image gets a longer one."""
        unanimous = np.zeros((1, num_classes), dtype=np.int64)
        unanimous[0, 0] = samples
        if self.bound is None:
            return float(released_radius(unanimous, self.alpha)[0])
        found = self.bound(unanimous, alpha=self.alpha)
        return float(self.certificate.radius(Gaussian(sigma=1.0), found.p1_lower, found.p2_upper)[0])


_TEXT = Way("the paper's text: Bonferroni, alpha .05, Rényi", PAPERS_ALPHA)
_OURS = Way("ours: two-phase, alpha .001, tight", ALPHA, TIGHT.bound, TIGHT.certificate)
_RELEASED = Way("the released code: Sison-Glaz passed .95, Rényi", 0.95, bound=None, few=True)
WAYS = (
    _RELEASED,
    replace(_RELEASED, title="the same, passed .05", alpha=PAPERS_ALPHA),
    replace(_TEXT, few=True),
    _TEXT,
    Way("Bonferroni, alpha .05, tight", PAPERS_ALPHA, certificate=TIGHT.certificate),
    Way("Bonferroni, alpha .001, tight", ALPHA, certificate=TIGHT.certificate),
    _OURS,
)
"""From the released code's to ours, one change at a time."""


def papers(runs: Sequence[Run], radii: Radii, certificate: Certificate = _TEXT.certificate) -> PerSeed:
    """Return the paper's accuracy lower bound: 95 % of what its intervals and its certificate certify at each radius.

    No bound: see `failure_allowance`. The intervals are those of the text at alpha .05.

    Args:
        runs: one at least; a row each.
        radii: in l_2.
        certificate: PixelDP's in place of the paper's, for Figure 1.
    """
    way = replace(_TEXT, certificate=certificate)
    return (1.0 - PAPERS_ALPHA) * np.stack([way.certified(run, radii) for run in runs])


def ours(runs: Sequence[Run], radii: Radii, certificate: Certificate = _OURS.certificate) -> PerSeed:
    """Return what is certified at each radius under our procedure; arguments as `papers`. Less `allowance` it is a bound."""
    way = replace(_OURS, certificate=certificate)
    return np.stack([way.certified(run, radii) for run in runs])


def allowance(images: int, seeds: int) -> float:
    """Return what to subtract from what is certified, so that the differences hold for all seeds together.

    Each seed's statement has the failure probability .05 / seeds: votes of several networks under one key of noise are
    not independent, so only the union bound puts them together. They hold at all radii at once, and so does their mean.
    """
    return failure_allowance(images, ALPHA, (1.0 - CONFIDENCE) / seeds)


_BOUNDS: tuple[Bound, ...] = (Bonferroni(), SinglePhase(), WinnerRunnerUp(), TwoPhase())
CERTIFICATES: tuple[Certificate, ...] = (PixelDP(), AnalyticPixelDP(), Renyi(), NeymanPearson())
"""Of `crossed`: the exact bounds, and the certificates of l_2 that the paper and its peers compare."""


def crossed(run: Run, radius: float) -> list[tuple[str, list[float]]]:
    """Return what every bound (a row each, with its name) certifies with every certificate at a radius, all at `ALPHA`."""
    at = np.array([radius])
    return [
        (type(bound).__name__, [float(Way("", ALPHA, bound, each).certified(run, at)[0]) for each in CERTIFICATES])
        for bound in _BOUNDS
    ]
