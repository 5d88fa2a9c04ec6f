"""Every noise by name."""

from typing import TYPE_CHECKING

from noiseproof.plugins import Registry

if TYPE_CHECKING:
    from noiseproof.noises.base import Noise

__all__ = ["NOISES"]

NOISES: "Registry[Noise]" = Registry(
    "noise",
    "noiseproof.noises",
    {
        "gaussian": "gaussian:Gaussian",
        "laplace": "laplace:Laplace",
        "uniform": "uniform:Uniform",
    },
    base="base:Noise",
)
