"""Certificates without noise: the dual bound and the cascades of reference [17]."""

from noiseproof.verification.cascade import Cascade, CascadeAnswer
from noiseproof.verification.convex_outer import (
    LayerBounds,
    certified_robust,
    dual_margins,
    estimated_margins,
    layer_bounds,
)

__all__ = [
    "Cascade",
    "CascadeAnswer",
    "LayerBounds",
    "certified_robust",
    "dual_margins",
    "estimated_margins",
    "layer_bounds",
]
