"""Certificates: from (noise, p1, p2) to a radius, line 6 of Algorithm 1."""

from noiseproof.certificates.base import Certificate, clip_runner_up, separated
from noiseproof.certificates.conversion import converted_radius
from noiseproof.certificates.f_divergence import (
    ChiSquared,
    Divergence,
    FDivergence,
    Hellinger,
    KullbackLeibler,
    RenyiOrder,
    TotalVariation,
)
from noiseproof.certificates.lemma1 import lemma1
from noiseproof.certificates.neyman_pearson import NeymanPearson
from noiseproof.certificates.pixeldp import AnalyticPixelDP, PixelDP
from noiseproof.certificates.renyi import Renyi
from noiseproof.certificates.teng import Teng
from noiseproof.certificates.theorem3 import Theorem3

__all__ = [
    "AnalyticPixelDP",
    "Certificate",
    "ChiSquared",
    "Divergence",
    "FDivergence",
    "Hellinger",
    "KullbackLeibler",
    "NeymanPearson",
    "PixelDP",
    "Renyi",
    "RenyiOrder",
    "Teng",
    "Theorem3",
    "TotalVariation",
    "clip_runner_up",
    "converted_radius",
    "lemma1",
    "separated",
]
