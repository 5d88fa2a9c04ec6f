"""Deterministic certificates of networks: reference [17], with which the paper's table 1 compares."""

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
