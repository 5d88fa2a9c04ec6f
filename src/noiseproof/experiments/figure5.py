"""Figure 5 and appendix A of the paper: Rényi against PixelDP over the probability simplex, and what of it is true."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure as Drawing

from noiseproof.certificates import AnalyticPixelDP, Certificate, NeymanPearson, PixelDP, Renyi
from noiseproof.experiments.figure import Figure, Result, Table
from noiseproof.experiments.recipes import Reader
from noiseproof.noises import Gaussian
from noiseproof.numerics.decimals import percent, round_down
from noiseproof.reports.surfaces import LARGEST, draw_surfaces

__all__ = ["FIGURE5", "Claim", "Surfaces"]

_CERTIFICATES: dict[str, Certificate] = {
    "Rényi (the paper)": Renyi(),
    "PixelDP, e <= 1 (valid)": PixelDP(),
    "PixelDP, analytic mechanism": AnalyticPixelDP(),
    "tight (Cohen et al.)": NeymanPearson(),
}
_RIVALS = {"PixelDP, e <= 1 (valid)": "PixelDP with e <= 1"} | {
    "PixelDP, analytic mechanism": "PixelDP with the analytic mechanism"
}
_CLAIMS = {"Rényi is strictly higher than": 1.0, "Rényi is more than twice as high as": 2.0}

Points = Float[np.ndarray, " points"]


@dataclass(frozen=True)
class Claim:
    """A sentence of appendix A, and where it holds.

    Attributes:
        claim: the sentence.
        share: of the grid's points where it holds.
        counterexample: (p1, p2, Rényi, other) where it fails most, or None.
    """

    claim: str
    share: float
    counterexample: tuple[float, float, float, float] | None

    @property
    def fails_most_at(self) -> str:
        """The counterexample in words, its radii rounded down."""
        if self.counterexample is None:
            return "nowhere"
        p1, p2, renyi, other = self.counterexample
        return f"p = ({p1:.3f}, {p2:.3f}): {round_down(renyi)} against {round_down(other)}"


@dataclass(frozen=True)
class Surfaces:
    """All radii, in units of sigma, on a grid of the simplex p1 >= p2 >= 0, 0.2 <= p1 + p2 <= 1.

    Attributes:
        p1: grid points; NaN radii lie outside the simplex.
        p2: likewise.
        radii: one surface per certificate.
        claims: the paper's two claims against both forms of PixelDP.
    """

    p1: Float[np.ndarray, "steps steps"]
    p2: Float[np.ndarray, "steps steps"]
    radii: dict[str, Float[np.ndarray, "steps steps"]]
    claims: list[Claim]


@dataclass(frozen=True)
class _Figure5(Figure[Surfaces]):
    """The figure, which needs no records: the surfaces, as the paper draws them, and two slices that can be read.

    Attributes:
        steps: every certificate is evaluated on a grid of `steps` by `steps` points.
    """

    steps: int = 100

    name = "figure5"
    title = "Figure 5: Rényi against PixelDP"
    indent = None

    def read(self, reader: Reader) -> Surfaces:  # noqa: ARG002 - it needs no records
        p1, p2 = np.meshgrid(np.linspace(0.01, LARGEST, self.steps), np.linspace(0.0005, 0.5, self.steps))
        inside = (p1 > p2) & (p1 + p2 <= 1.0) & (p1 + p2 >= 0.2)
        radii = {}
        for name, certificate in _CERTIFICATES.items():
            radii[name] = np.full(p1.shape, np.nan)
            radii[name][inside] = certificate.radius(Gaussian(sigma=1.0), p1[inside], p2[inside])
        renyi = radii["Rényi (the paper)"][inside]
        claims = [
            _claim(f"{claim} {words}", factor, renyi, radii[rival][inside], (p1[inside], p2[inside]))
            for rival, words in _RIVALS.items()
            for claim, factor in _CLAIMS.items()
        ]
        return Surfaces(p1, p2, radii, claims)

    def draw(self, content: Surfaces) -> Drawing:
        return draw_surfaces(content.p1, content.p2, content.radii, _CERTIFICATES)

    def numbers(self, found: Result[Surfaces]) -> dict[str, Any]:
        p1, p2, surfaces = found.content.p1, found.content.p2, found.content.radii
        radii = {name: np.round(np.nan_to_num(each, nan=-1.0), 9).tolist() for name, each in surfaces.items()}
        grid = {"p1": p1[0].tolist(), "p2": p2[:, 0].tolist()}
        return self.told(found.content) | {"grid": grid, "radii (-1: outside)": radii}

    def tables(self, content: Surfaces) -> list[Table]:
        rows = [[each.claim, percent(each.share), each.fails_most_at] for each in content.claims]
        return [Table("figure5: the paper's claims", ("claim", "holds on", "fails most at"), rows)]

    def told(self, content: Surfaces) -> dict[str, Any]:
        return {"claims": [asdict(each) for each in content.claims]}


FIGURE5 = _Figure5()


def _claim(text: str, factor: float, ours: Points, theirs: Points, points: tuple[Points, Points]) -> Claim:
    """Return where ours is more than `factor` times theirs."""
    true = ours > factor * theirs
    if true.all():
        return Claim(text, 1.0, None)
    worst = np.argmin(ours / theirs)
    example = (float(points[0][worst]), float(points[1][worst]), float(ours[worst]), float(theirs[worst]))
    return Claim(text, float(true.mean()), example)
