"""Figure 5 and appendix A of the paper: Rényi against PixelDP over the probability simplex, and what of it is true."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from noiseproof.certificates import AnalyticPixelDP, Certificate, NeymanPearson, PixelDP, Renyi
from noiseproof.experiments.figure import Figure, Result, Table, drawn
from noiseproof.noises import Gaussian

__all__ = ["FIGURE5", "Claim", "Figure5", "Surfaces", "draw"]

_CERTIFICATES: dict[str, Certificate] = {
    "Rényi (the paper)": Renyi(),
    "PixelDP, e <= 1 (valid)": PixelDP(),
    "PixelDP, analytic mechanism": AnalyticPixelDP(),
    "tight (Cohen et al.)": NeymanPearson(),
}
_COLOURS = ("#D55E00", "#0072B2", "#56B4E9", "#666666")
_LARGEST = 0.999
"""Where p1 ends: all radii grow without limit towards 1."""


@dataclass(frozen=True)
class Claim:
    """A sentence of appendix A, and where it holds.

    Attributes:
        text: the claim.
        share: of the grid's points where it holds.
        counterexample: (p1, p2, Rényi, other) where it fails most, or None.
    """

    text: str
    share: float
    counterexample: tuple[float, float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class Surfaces(Result):
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
class Figure5(Figure[Surfaces]):
    """The figure, which needs no records.

    Attributes:
        steps: every certificate is evaluated on a grid of `steps` by `steps` points.
    """

    steps: int = 100

    name = "figure5"

    def compute(self, records: Path) -> Surfaces:  # noqa: ARG002 - it needs none
        """Evaluate every certificate on the grid."""
        p1, p2 = np.meshgrid(np.linspace(0.01, _LARGEST, self.steps), np.linspace(0.0005, 0.5, self.steps))
        inside = (p1 > p2) & (p1 + p2 <= 1.0) & (p1 + p2 >= 0.2)
        radii = {}
        for name, certificate in _CERTIFICATES.items():
            surface = np.full(p1.shape, np.nan)
            surface[inside] = certificate.radius(Gaussian(sigma=1.0), p1[inside], p2[inside])
            radii[name] = surface
        renyi, classical, analytic, _ = (radii[name][inside] for name in _CERTIFICATES)
        points = p1[inside], p2[inside]
        claims = [
            _claim(f"{claim} {rival}", holds, renyi, other, points)
            for rival, other in (("PixelDP with e <= 1", classical), ("PixelDP with the analytic mechanism", analytic))
            for claim, holds in (
                ("Rényi is strictly higher than", lambda ours, theirs: ours > theirs),
                ("Rényi is more than twice as high as", lambda ours, theirs: ours > 2.0 * theirs),
            )
        ]
        return Surfaces(p1=p1, p2=p2, radii=radii, claims=claims, missing=[], sources={})

    def files(self, found: Surfaces) -> dict[str, bytes]:
        """Return the picture, with claims and grid."""
        grid = {"p1": found.p1[0].tolist(), "p2": found.p2[:, 0].tolist()}
        surfaces = {name: np.round(np.nan_to_num(each, nan=-1.0), 9).tolist() for name, each in found.radii.items()}
        numbers = self.told(found) | {"grid": grid, "radii (-1: outside)": surfaces}
        return drawn(self.name, draw(found), numbers, indent=None)

    def tables(self, found: Surfaces) -> list[Table]:
        """Return the claims."""
        where = "p = ({:.3f}, {:.3f}): {:.3f} against {:.3f}"
        rows = [
            (
                claim.text,
                f"{100 * claim.share:.1f} %",
                where.format(*claim.counterexample) if claim.counterexample else "nowhere",
            )
            for claim in found.claims
        ]
        return [Table("figure5: the paper's claims", ("claim", "holds on", "fails most at"), rows)]

    def told(self, found: Surfaces) -> dict[str, Any]:
        """Return the claims."""
        return {
            "claims": [{"claim": c.text, "share": c.share, "counterexample": c.counterexample} for c in found.claims]
        }


FIGURE5 = Figure5()


def _claim(
    text: str,
    holds: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ours: Float[np.ndarray, " points"],
    theirs: Float[np.ndarray, " points"],
    points: tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]],
) -> Claim:
    true = holds(ours, theirs)
    if true.all():
        return Claim(text, 1.0, None)
    worst = np.argmin(ours / theirs)
    example = (float(points[0][worst]), float(points[1][worst]), float(ours[worst]), float(theirs[worst]))
    return Claim(text, float(true.mean()), example)


def draw(result: Surfaces) -> Drawing:
    """Draw the surfaces, as the paper does, and two slices that can be read."""
    figure = Drawing(figsize=(13.0, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot(1, 3, 1, projection="3d")
    # Every second point is as fine as can be seen. Triangles, as the region is convex: plot_surface drops corners that
    # are NaN, and matplotlib pads the polygons that are left with memory it has not written.
    p1, p2, *surfaces = (values[::2, ::2] for values in (result.p1, result.p2, *result.radii.values()))
    inside = np.isfinite(surfaces[0])
    for name, surface, colour in zip(result.radii, surfaces[:2], ("#D55E00", "#0072B2"), strict=False):
        axes.plot_trisurf(p1[inside], p2[inside], surface[inside], color=colour, alpha=0.75, linewidth=0, label=name)
    axes.set(xlabel="p1", ylabel="p2", zlabel="radius / sigma")
    axes.view_init(elev=22, azim=-125)
    axes.legend(loc="upper left", fontsize=7.5)

    p1 = np.linspace(0.5005, _LARGEST, 400)
    slices = [
        (2, "two classes: p2 = 1 - p1", p1, 1.0 - p1),
        (3, "p2 = 0.05", np.linspace(0.151, 0.95, 400), np.array(0.05)),
    ]
    for position, title, first, second in slices:
        panel = figure.add_subplot(1, 3, position)
        for (name, certificate), colour in zip(_CERTIFICATES.items(), _COLOURS, strict=True):
            radii = certificate.radius(Gaussian(sigma=1.0), first, np.full(first.shape, second))
            panel.plot(first, radii, color=colour, label=name, linestyle="--" if "tight" in name else "-")
        panel.set(title=title, xlabel="p1", ylabel="radius / sigma")
        panel.set_ylim(bottom=0)
        panel.grid(visible=True, color="0.9")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=8)
    return figure
