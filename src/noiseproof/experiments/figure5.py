"""Figure 5 and appendix A of the paper: the Rényi bound against PixelDP over the probability simplex, and its claims."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from noiseproof.certificates import AnalyticPixelDP, Certificate, NeymanPearson, PixelDP, Renyi
from noiseproof.experiments.figure import Figure, Result
from noiseproof.experiments.recipes import Reader
from noiseproof.numerics.decimals import percent, round_down
from noiseproof.reports.surfaces import Surfaces
from noiseproof.reports.tables import Table

__all__ = ["FIGURE5", "Claim", "claims"]

_RENYI = "Rényi (the paper)"
_CERTIFICATES: dict[str, Certificate] = {
    _RENYI: Renyi(),
    "PixelDP, e <= 1 (valid)": PixelDP(),
    "PixelDP, analytic mechanism": AnalyticPixelDP(),
    "tight (Cohen et al.)": NeymanPearson(),
}
_RIVALS = {
    "PixelDP, e <= 1 (valid)": "PixelDP with e <= 1",
    "PixelDP, analytic mechanism": "PixelDP with the analytic mechanism",
}
_CLAIMS = {"Rényi is strictly higher than": 1.0, "Rényi is more than twice as high as": 2.0}


@dataclass(frozen=True)
class Claim:
    """A claim of appendix A, and where it holds.

    Attributes:
        claim: the claim in words.
        share: share of the grid points at which it holds.
        counterexample: (p1, p2, Rényi radius, other radius), in units of sigma, where the ratio is least; None if it
            holds everywhere.
    """

    claim: str
    share: float
    counterexample: tuple[float, ...] | None

    @property
    def fails_most_at(self) -> str:
        """The counterexample in words, radii rounded down."""
        if self.counterexample is None:
            return "nowhere"
        p1, p2, renyi, other = self.counterexample
        return f"p = ({p1:.3f}, {p2:.3f}): {round_down(renyi)} against {round_down(other)}"


def claims(surfaces: Surfaces) -> list[Claim]:
    """Evaluate the two claims of appendix A at every grid point: "strictly higher" and "more than twice as high".

    The paper makes them about PixelDP with e <= 1 (Lecuyer et al. 2019). Those about the analytic Gaussian mechanism
    (Balle and Wang 2018) are ours: they show how much of the gain is owed to PixelDP's classical mechanism.
    """
    found = []
    p1, p2, renyi = (each[surfaces.inside] for each in (surfaces.p1, surfaces.p2, surfaces.radii[_RENYI]))
    for rival, words in _RIVALS.items():
        other = surfaces.radii[rival][surfaces.inside]
        for claim, factor in _CLAIMS.items():
            true = renyi > factor * other
            worst = tuple(float(each[np.argmin(renyi / other)]) for each in (p1, p2, renyi, other))
            found.append(Claim(f"{claim} {words}", float(true.mean()), None if true.all() else worst))
    return found


@dataclass(frozen=True)
class _Figure5(Figure[Surfaces]):
    """Surfaces as in the paper, and two slices. It is computed from the formulas and needs no records.

    Attributes:
        steps: the grid has `steps` by `steps` points.
    """

    steps: int = 100

    name = "figure5"
    title = "Figure 5: Rényi against PixelDP"
    indent = None

    def read(self, reader: Reader) -> Surfaces:  # noqa: ARG002 - it needs no records
        return Surfaces.of(_CERTIFICATES, self.steps)

    def draw(self, content: Surfaces) -> Drawing:
        return content.draw()

    def numbers(self, found: Result[Surfaces]) -> dict[str, Any]:
        return self.told(found.content) | found.content.plain()

    def tables(self, content: Surfaces) -> list[Table]:
        rows = [[each.claim, percent(each.share), each.fails_most_at] for each in claims(content)]
        return [Table("figure5: the paper's claims", ("claim", "holds on", "fails most at"), rows)]

    def told(self, content: Surfaces) -> dict[str, Any]:
        return {"claims": [asdict(each) for each in claims(content)]}


FIGURE5 = _Figure5()
