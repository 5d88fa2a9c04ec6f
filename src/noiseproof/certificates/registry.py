"""Every certificate by name."""

from typing import TYPE_CHECKING

from noiseproof.plugins import Registry

if TYPE_CHECKING:
    from noiseproof.certificates.base import Certificate

__all__ = ["CERTIFICATES"]

CERTIFICATES: "Registry[Certificate]" = Registry(
    "certificate",
    "noiseproof.certificates",
    {
        "neyman-pearson": "neyman_pearson:NeymanPearson",
        "renyi": "renyi:Renyi",
        "theorem3": "theorem3:Theorem3",
        "teng": "teng:Teng",
        "pixeldp": "pixeldp:PixelDP",
        "pixeldp-analytic": "pixeldp:AnalyticPixelDP",
        "kl": "f_divergence:by_kullback_leibler",
        "chi-squared": "f_divergence:by_chi_squared",
        "hellinger": "f_divergence:by_hellinger",
        "total-variation": "f_divergence:by_total_variation",
    },
    base="base:Certificate",
    exports=(
        "base:clip_runner_up",
        "base:separated",
        "conversion:converted_radius",
        "f_divergence:ChiSquared",
        "f_divergence:Divergence",
        "f_divergence:FDivergence",
        "f_divergence:Hellinger",
        "f_divergence:KullbackLeibler",
        "f_divergence:RenyiOrder",
        "f_divergence:TotalVariation",
    ),
)
