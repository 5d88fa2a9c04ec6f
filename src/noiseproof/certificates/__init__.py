"""Certificates: from (noise, p1, p2) to a radius, line 6 of Algorithm 1."""

from typing import TYPE_CHECKING, Any

from noiseproof.certificates.registry import CERTIFICATES

if TYPE_CHECKING:
    from noiseproof.certificates.base import Certificate as Certificate
    from noiseproof.certificates.base import clip_runner_up as clip_runner_up
    from noiseproof.certificates.base import separated as separated
    from noiseproof.certificates.conversion import converted_radius as converted_radius
    from noiseproof.certificates.f_divergence import ChiSquared as ChiSquared
    from noiseproof.certificates.f_divergence import Divergence as Divergence
    from noiseproof.certificates.f_divergence import FDivergence as FDivergence
    from noiseproof.certificates.f_divergence import Hellinger as Hellinger
    from noiseproof.certificates.f_divergence import KullbackLeibler as KullbackLeibler
    from noiseproof.certificates.f_divergence import RenyiOrder as RenyiOrder
    from noiseproof.certificates.f_divergence import TotalVariation as TotalVariation
    from noiseproof.certificates.neyman_pearson import NeymanPearson as NeymanPearson
    from noiseproof.certificates.pixeldp import AnalyticPixelDP as AnalyticPixelDP
    from noiseproof.certificates.pixeldp import PixelDP as PixelDP
    from noiseproof.certificates.renyi import Renyi as Renyi
    from noiseproof.certificates.teng import Teng as Teng
    from noiseproof.certificates.theorem3 import Theorem3 as Theorem3

__all__ = list(CERTIFICATES.exports)


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        return CERTIFICATES.export(name)


def __dir__() -> list[str]:
    return sorted(__all__)
