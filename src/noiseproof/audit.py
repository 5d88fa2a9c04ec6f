"""Attack against certificate: does any attack change a certified answer within its radius?"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binom

from noiseproof.bounds.base import require_alpha

__all__ = ["VERDICT_ALPHA", "Audit", "judge_audit", "sizes_within"]

VERDICT_ALPHA = 1e-6
"""Level at which votes must show another class before they contradict a certificate: small beside any alpha in use."""

_LEVEL = 0.01
"""Level of the audit's test: valid certificates fail one audit in a hundred at most, and far fewer by their slack."""

_INSIDE = 1e-9
"""By how much, relative to the radius, an attack stays inside it: certificates hold for shifts shorter than it."""


@dataclass(frozen=True)
class Audit:
    """What an attack on certified images found.

    Attributes:
        attacked: images with a certified radius above 0.
        contradictions: the indices of those whose votes name another class than the certified one.
        undecided: those whose votes decide nothing at level `VERDICT_ALPHA`: near their boundary, and no contradiction.
        alpha: failure probability of each certificate.
        allowed: the number of contradictions that certificates valid at alpha have on average at most.
        p_value: P(X >= contradictions), X binomial of `attacked` and alpha + VERDICT_ALPHA: the probability, at most,
            that valid certificates are contradicted so often.
    """

    attacked: int
    contradictions: tuple[int, ...]
    undecided: int
    alpha: float
    allowed: float
    p_value: float

    @property
    def passed(self) -> bool:
        """Whether the contradictions are no more than valid certificates may have, at level 0.01."""
        return self.p_value >= _LEVEL

    def plain(self) -> dict[str, Any]:
        """Return the findings as JSON-compatible data."""
        return asdict(self) | {"contradictions": list(self.contradictions)}


def sizes_within(radius: Float[np.ndarray, " images"]) -> Float[np.ndarray, " images"]:
    """Return the largest attack on each image that its certificate speaks of: just shorter than the radius."""
    return radius * (1.0 - _INSIDE)


def judge_audit(
    prediction: Int[np.ndarray, " images"],
    radius: Float[np.ndarray, " images"],
    index: Int[np.ndarray, " images"],
    found: Int[np.ndarray, " images"],
    *,
    alpha: float,
) -> Audit:
    """Test the answers to attacked images against certificates.

    A certificate fails with probability at most alpha; where it holds, votes on a point inside its radius name another
    class with probability at most `VERDICT_ALPHA`. Noise is independent between images, so the contradictions of N
    images are at most binomial (N, alpha + VERDICT_ALPHA) in distribution, whatever the attack.

    Args:
        prediction: the certified class, or ABSTAIN.
        radius: certified; images with 0 are left out.
        index: of each image in the data set.
        found: the class that votes on the attacked image name at level VERDICT_ALPHA, or ABSTAIN.
        alpha: failure probability of a certificate.
    """
    require_alpha(alpha)
    certified = radius > 0.0
    contradicted = certified & (found >= 0) & (found != prediction)
    attacked, count = int(certified.sum()), int(contradicted.sum())
    probability = alpha + VERDICT_ALPHA
    return Audit(
        attacked=attacked,
        contradictions=tuple(int(number) for number in index[contradicted]),
        undecided=int((certified & (found < 0)).sum()),
        alpha=alpha,
        allowed=attacked * probability,
        p_value=float(binom.sf(count - 1, attacked, probability)),
    )
