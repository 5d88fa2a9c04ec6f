"""The law table of noises: each noise beside its law in SciPy. A new noise adds a row, and is held to every law."""

from typing import Any

from scipy import stats

from noiseproof.noises import Gaussian, Laplace, Noise, Uniform

__all__ = ["LAWS"]

LAWS: list[tuple[Noise, Any]] = [
    (Gaussian(0.25), stats.norm(scale=0.25)),
    (Laplace(0.25), stats.laplace(scale=0.25)),
    (Uniform(0.25), stats.uniform(loc=-0.25, scale=0.5)),
]
