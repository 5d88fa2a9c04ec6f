"""Radii of several certificates over p1 and p2, in units of sigma: surfaces, and slices of them that can be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from noiseproof.certificates import Certificate
from noiseproof.noises import Gaussian
from noiseproof.reports.figures import new_figure, tidy

__all__ = ["Surfaces"]

_LARGEST = 0.999
"""Where p1 ends: all radii grow without limit towards 1."""

_COLOURS = ("#D55E00", "#0072B2", "#56B4E9", "#666666")

Surface = Float[np.ndarray, "steps steps"]


@dataclass(frozen=True)
class Surfaces:
    """Radii of several certificates, in units of sigma, on a grid of the simplex p1 >= p2 >= 0, 0.2 <= p1 + p2 <= 1.

    Attributes:
        certificates: by name.
        p1: grid points.
        p2: likewise.
        inside: whether a point lies in the simplex.
        radii: a surface for each certificate; NaN outside the simplex.
    """

    certificates: Mapping[str, Certificate]
    p1: Surface
    p2: Surface
    inside: Bool[np.ndarray, "steps steps"]
    radii: Mapping[str, Surface]

    @staticmethod
    def of(certificates: Mapping[str, Certificate], steps: int) -> "Surfaces":
        """Evaluate certificates on a grid of `steps` by `steps` points."""
        p1, p2 = np.meshgrid(np.linspace(0.01, _LARGEST, steps), np.linspace(0.0005, 0.5, steps))
        inside = (p1 > p2) & (p1 + p2 <= 1.0) & (p1 + p2 >= 0.2)
        radii = {name: np.full(p1.shape, np.nan) for name in certificates}
        for name, certificate in certificates.items():
            radii[name][inside] = certificate.radius(Gaussian(sigma=1.0), p1[inside], p2[inside])
        return Surfaces(certificates, p1, p2, inside, radii)

    def plain(self) -> dict[str, Any]:
        """Return grid and radii as plain data, to nine decimal places."""
        radii = {name: np.round(np.nan_to_num(each, nan=-1.0), 9).tolist() for name, each in self.radii.items()}
        return {"grid": {"p1": self.p1[0].tolist(), "p2": self.p2[:, 0].tolist()}, "radii (-1: outside)": radii}

    def draw(self) -> Figure:
        """Draw the surfaces of the first two certificates, and two slices of all."""
        figure = new_figure(13.0, 4.6)
        axes: Any = figure.add_subplot(1, 3, 1, projection="3d")
        # Every second point is as fine as can be seen. Triangles, as the region is convex: plot_surface drops corners that
        # are NaN, and matplotlib pads the polygons that are left with memory it has not written.
        coarse_p1, coarse_p2, *surfaces = (values[::2, ::2] for values in (self.p1, self.p2, *self.radii.values()))
        inside = np.isfinite(surfaces[0])
        grid = coarse_p1[inside], coarse_p2[inside]
        for name, surface, colour in zip(self.radii, surfaces[:2], _COLOURS, strict=False):
            axes.plot_trisurf(*grid, surface[inside], color=colour, alpha=0.75, linewidth=0, label=name)
        axes.set(xlabel="p1", ylabel="p2", zlabel="radius / sigma")
        axes.view_init(elev=22, azim=-125)
        axes.legend(loc="upper left", fontsize=7.5)

        line = np.linspace(0.5005, _LARGEST, 400)
        slices = [
            (2, "two classes: p2 = 1 - p1", line, 1.0 - line),
            (3, "p2 = 0.05", np.linspace(0.151, 0.95, 400), np.array(0.05)),
        ]
        for position, title, first, second in slices:
            panel = figure.add_subplot(1, 3, position)
            for (name, certificate), colour in zip(self.certificates.items(), _COLOURS, strict=True):
                reached = certificate.radius(Gaussian(sigma=1.0), first, np.full(first.shape, second))
                panel.plot(first, reached, color=colour, label=name, linestyle="--" if "tight" in name else "-")
            panel.set(title=title, xlabel="p1", ylabel="radius / sigma")
            panel.set_ylim(bottom=0)
            tidy(panel)
            panel.legend(frameon=False, fontsize=8)
        return figure
