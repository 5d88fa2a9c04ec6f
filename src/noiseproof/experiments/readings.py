"""The procedures that Table 1 and Figure 1 apply to the same votes.

the paper's   Bonferroni over all classes at alpha .05, Rényi (Lemma 1), certified accuracy times 95 % (section 6.1)
ours          two-phase at alpha .001, Neyman-Pearson, certified accuracy minus `allowance`
as released   the 100 votes of the selection phase, Sison-Glaz intervals with .95 in place of alpha: proves nothing
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from noiseproof.bounds import Bonferroni, Bound, SinglePhase, TwoPhase, WinnerRunnerUp
from noiseproof.certificates import AnalyticPixelDP, Certificate, NeymanPearson, PixelDP, Renyi
from noiseproof.evaluation.certified_accuracy import certified_accuracy, failure_allowance
from noiseproof.experiments.released import released_radius
from noiseproof.experiments.votes import ALPHA, Run
from noiseproof.noises import Gaussian
from noiseproof.reports.analysis import PAPER, TIGHT

__all__ = [
    "CERTIFICATES",
    "CONFIDENCE",
    "PAPERS_ALPHA",
    "WAYS",
    "Way",
    "allowance",
    "crossed",
    "ours",
    "papers",
    "reached",
]

PAPERS_ALPHA = 0.05
"""The paper's failure probability per image."""

CONFIDENCE = 0.95
"""Confidence of our statement about a data set, for all seeds of one network together."""

Radii = Float[np.ndarray, " radii"]
PerSeed = Float[np.ndarray, "seeds radii"]


@dataclass(frozen=True)
class Way:
    """A procedure from votes to certified accuracy, before anything is multiplied or subtracted.

    Attributes:
        title: the procedure in words.
        alpha: failure probability per image; for the released code the argument of its interval.
        bound: bound on p1 and p2; None for the released code, which proves nothing.
        certificate: certificate of the radius.
        few: whether the votes of the selection phase are evaluated. The released code draws 100 votes, as many as the
            selection phase has here.
    """

    title: str
    alpha: float
    bound: Bound | None = PAPER.bound
    certificate: Certificate = PAPER.certificate
    few: bool = False

    def samples(self, run: Run) -> int:
        """Return the number of votes per image that are evaluated."""
        return run.record.settings.selection_samples if self.few else run.record.settings.samples

    def certified(self, run: Run, radii: Radii) -> Radii:
        """Return the certified accuracy at each radius: the share of images classified rightly and certified there."""
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
        """Return the radius of unanimous votes in units of sigma, the largest that an image can have."""
        unanimous = np.array([[samples, *[0] * (num_classes - 1)]])
        if self.bound is None:
            return float(released_radius(unanimous, self.alpha)[0])
        found = self.bound(unanimous, alpha=self.alpha)
        return float(self.certificate.radius(Gaussian(sigma=1.0), found.p1_lower, found.p2_upper)[0])


_TEXT = Way("the paper's text: Bonferroni, alpha .05, Rényi", PAPERS_ALPHA)
_OURS = Way("ours: two-phase, alpha .001, tight", ALPHA, TIGHT.bound, TIGHT.certificate)
_RELEASED = Way("the released code: Sison-Glaz passed .95, Rényi (proves nothing)", 0.95, bound=None, few=True)
WAYS = (
    _RELEASED,
    replace(_RELEASED, title="the same, passed .05 (proves nothing)", alpha=PAPERS_ALPHA),
    replace(_TEXT, few=True),
    _TEXT,
    Way("Bonferroni, alpha .05, tight", PAPERS_ALPHA, certificate=TIGHT.certificate),
    Way("Bonferroni, alpha .001, tight", ALPHA, certificate=TIGHT.certificate),
    _OURS,
)
"""From the released code to our procedure, one change at a time."""


def papers(runs: Sequence[Run], radii: Radii, certificate: Certificate = _TEXT.certificate) -> PerSeed:
    """Return what the paper calls an accuracy lower bound (section 6.1): 95 % of the certified accuracy, by seed and radius.

    It is no lower bound: see `failure_allowance`. The intervals are those of the text, Clopper-Pearson at alpha .05.

    Args:
        runs: votes of at least one seed.
        radii: l_2 radii.
        certificate: another certificate in place of the paper's, for Figure 1.
    """
    way = replace(_TEXT, certificate=certificate)
    return (1.0 - PAPERS_ALPHA) * np.stack([way.certified(run, radii) for run in runs])


def ours(runs: Sequence[Run], radii: Radii, certificate: Certificate = _OURS.certificate) -> PerSeed:
    """Return the certified accuracy by our procedure; arguments as `papers`. Minus `allowance` it is a lower bound."""
    way = replace(_OURS, certificate=certificate)
    return np.stack([way.certified(run, radii) for run in runs])


def reached(run: Run, radii: Radii) -> Bool[np.ndarray, "images radii"]:
    """Return whether each image is classified rightly and certified at each radius, by our procedure."""
    found = run.record.certify(alpha=_OURS.alpha, bound=_OURS.bound, certificate=_OURS.certificate, table=run.votes)
    right = (found.prediction == run.votes.label)[:, None]
    certified: Bool[np.ndarray, "images radii"] = right & (found.radius[:, None] >= radii)
    return certified


def allowance(images: int, seeds: int) -> float:
    """Return what to subtract from certified accuracy for lower bounds that hold for all seeds together.

    Each seed has the failure probability .05 / seeds: several networks are certified under one noise key, so their votes
    are not independent and the union bound combines them. The bounds hold at all radii at once, and so does their mean.
    """
    return failure_allowance(images, ALPHA, (1.0 - CONFIDENCE) / seeds)


_BOUNDS: tuple[Bound, ...] = (Bonferroni(), SinglePhase(), WinnerRunnerUp(), TwoPhase())
CERTIFICATES: tuple[Certificate, ...] = (PixelDP(), AnalyticPixelDP(), Renyi(), NeymanPearson())
"""The l_2 certificates that the paper and its peers compare; `crossed` pairs them with all exact bounds."""


def crossed(run: Run, radius: float) -> list[tuple[str, list[float]]]:
    """Return the certified accuracy at a radius by every bound, one row each, with every certificate, at `ALPHA`."""
    at = np.array([radius])
    return [
        (type(bound).__name__, [float(Way("", ALPHA, bound, each).certified(run, at)[0]) for each in CERTIFICATES])
        for bound in _BOUNDS
    ]
