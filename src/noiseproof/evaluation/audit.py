"""Attack against certificate: does any attack change the class within a certified radius?"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import binom

from noiseproof.bounds.base import require_alpha
from noiseproof.errors import InvalidInputError
from noiseproof.evaluation.robust_accuracy import voted_class

__all__ = ["VERDICT_ALPHA", "AuditResult", "judge_audit", "sizes_within"]

VERDICT_ALPHA = 1e-6
"""Level of each of the two tests by which votes contradict a certificate: small beside any alpha in use."""

_LEVEL = 0.01
"""Level of the audit's test: valid certificates fail one audit in a hundred at most."""

_INSIDE = 1e-9
"""By how much, relative to the radius, an attack stays inside it: certificates hold for shifts shorter than it."""


@dataclass(frozen=True)
class AuditResult:
    """What an attack on certified images found.

    Attributes:
        images: N, all under audit, those without a certificate too.
        attacked: those with a certified radius above 0.
        unmoved: attacked images at which the attack did nothing: it has no gradient there, or found nothing better. An
            image whose votes contradict its certificate before the attack is not among them.
        contradictions: the indices of those whose votes contradict the certificate.
        undecided: attacked images whose votes name no class: near their boundary, and no contradiction.
        alpha: failure probability of each certificate.
        allowed: the number of contradictions that certificates valid at alpha have on average at most.
        p_value: P(X >= contradictions), X binomial of N and alpha + 2 VERDICT_ALPHA: the probability, at most, that
            valid certificates are contradicted so often.
        tried: whether the attack tries points in any case, as those do that follow decisions: where it then returns the
            image, nothing better was found.
    """

    images: int
    attacked: int
    unmoved: int
    contradictions: tuple[int, ...]
    undecided: int
    alpha: float
    allowed: float
    p_value: float
    tried: bool = False

    @property
    def passed(self) -> bool:
        """Whether something was audited, and contradictions are no more than valid certificates have, at level 0.01."""
        return self.p_value >= _LEVEL and not self.blind

    @property
    def blind(self) -> bool:
        """Whether the attack did nothing at any image, having no gradients: an audit without power."""
        return self.unmoved == self.attacked and not self.tried

    def __str__(self) -> str:
        found = f"{len(self.contradictions)} contradictions in {self.attacked} certified images of {self.images}"
        verdict = (
            "passed" if self.passed else "nothing was audited" if self.blind else f"failed, p = {self.p_value:.2g}"
        )
        return f"{found}, {self.allowed:.2f} allowed on average at alpha {self.alpha:g}: {verdict}."

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
    votes: Int[np.ndarray, "images classes"],
    *,
    alpha: float,
    majority: bool,
    moved: Bool[np.ndarray, " images"] | None = None,
    tried: bool = False,
) -> AuditResult:
    """Test votes on attacked images against certificates.

    A certificate is issued and wrong with probability at most alpha for each image that was tried, certified in the end
    or not. Where it is right, votes on a point inside its radius contradict it with probability at most
    2 VERDICT_ALPHA: they name another class (winner against runner-up), or, where a majority was proven (p2 = 1 - p1),
    the certified class has significantly less than half of them. Noise is independent between images, so the
    contradictions of N images are at most binomial (N, alpha + 2 VERDICT_ALPHA) in distribution, whatever the attack.

    Args:
        prediction: the certified class, or ABSTAIN.
        radius: certified; 0 where nothing is.
        index: of each image in the data set.
        votes: on the attacked image.
        alpha: failure probability of a certificate.
        majority: whether the certificates prove that the class has at least half of the probability.
        moved: whether the attack changed the image; None: all of them.
        tried: whether the attack tries points in any case, see `AuditResult`.

    Raises:
        InvalidInputError: alpha outside (0, 1), or no image with a certificate: nothing would be audited.
    """
    require_alpha(alpha)
    certified = radius > 0.0
    if not certified.any():
        raise InvalidInputError(
            "the certificates",
            required="one at least with a radius above 0, to be audited",
            got=f"none among {len(radius)} images",
            remedy="Take more images, or a larger alpha.",
        )
    found = voted_class(votes, VERDICT_ALPHA)
    contradicted = certified & (found >= 0) & (found != prediction)
    if majority:
        own = np.take_along_axis(votes, prediction.clip(min=0)[:, None], axis=1)[:, 0]
        contradicted |= certified & (binom.cdf(own, votes.sum(1), 0.5) <= VERDICT_ALPHA)
    count, probability = int(contradicted.sum()), alpha + 2.0 * VERDICT_ALPHA
    return AuditResult(
        images=len(radius),
        attacked=int(certified.sum()),
        unmoved=0 if moved is None else int((certified & ~moved).sum()),
        contradictions=tuple(int(number) for number in index[contradicted]),
        undecided=int((certified & (found < 0) & ~contradicted).sum()),
        alpha=alpha,
        allowed=len(radius) * probability,
        p_value=float(binom.sf(count - 1, len(radius), probability)),
        tried=tried,
    )
