"""Perturbations of an image: norms, their balls, and steps inside of them."""

from noiseproof.perturbations.norms import Norm, NormLike

__all__ = ["Norm", "NormLike"]
