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
"""Level of each of the two tests by which votes contradict a certificate: small compared with any alpha in use."""

_LEVEL = 0.01
"""Level of the audit's test: valid certificates fail an audit with probability at most 0.01."""

_INSIDE = 1e-9
"""Relative distance that an attack keeps from the radius: certificates hold for shifts strictly below it."""


@dataclass(frozen=True)
class AuditResult:
    """The result of an attack on certified images.

    Attributes:
        images: N, the number of images under audit, including those without a certificate.
        attacked: the number of images with a certified radius above 0.
        unmoved: attacked images that the attack returned unchanged: it has no gradient there, or found nothing better.
            An image whose votes contradict its certificate before the attack is not counted.
        contradictions: the indices of the images whose votes contradict the certificate.
        undecided: attacked images whose votes decide for no class: close to the decision boundary, no contradiction.
        alpha: failure probability of each certificate.
        allowed: N (alpha + 2 VERDICT_ALPHA), the largest expected number of contradictions of valid certificates.
        p_value: P(X >= contradictions) for X ~ Binomial(N, alpha + 2 VERDICT_ALPHA): an upper bound of the probability
            that valid certificates have at least so many contradictions.
        tried: whether the attack evaluates other points even without gradients, as decision-based attacks do: an
            unchanged image then means that it found nothing better.
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
        """Whether the audit had power and the number of contradictions is compatible with alpha at level 0.01."""
        return self.p_value >= _LEVEL and not self.blind

    @property
    def blind(self) -> bool:
        """Whether the attack had no gradients and changed no image: an audit without power."""
        return self.unmoved == self.attacked and not self.tried

    def __str__(self) -> str:
        found = f"{len(self.contradictions)} contradictions in {self.attacked} certified images of {self.images}"
        verdict = (
            "passed" if self.passed else "nothing was audited" if self.blind else f"failed, p = {self.p_value:.2g}"
        )
        return f"{found}, {self.allowed:.2f} allowed on average at alpha {self.alpha:g}: {verdict}."

    def plain(self) -> dict[str, Any]:
        """Return the result as JSON-compatible data."""
        return asdict(self) | {"contradictions": list(self.contradictions)}


def sizes_within(radius: Float[np.ndarray, " images"]) -> Float[np.ndarray, " images"]:
    """Return the largest size of attack that each certificate covers: just below the radius."""
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

    For each image, a false certificate is issued with probability at most alpha. If a certificate is true, votes on a
    point inside its radius contradict it with probability at most 2 VERDICT_ALPHA: another class wins significantly
    (winner against runner-up), or, where a majority was certified (p2 = 1 - p1), the certified class has significantly
    less than half of the votes. Noise is independent across images, so the number of contradictions among N images is
    stochastically at most Binomial(N, alpha + 2 VERDICT_ALPHA), for every attack.

    Args:
        prediction: the certified class, or ABSTAIN.
        radius: the certified radius, 0 where there is none.
        index: the index of each image in the data set.
        votes: counts per class on the attacked image, drawn with noise independent of the attack.
        alpha: failure probability of a certificate.
        majority: whether the certificates prove that the class has at least probability 1/2.
        moved: whether the attack changed the image; None means that it changed all of them.
        tried: as in `AuditResult`.

    Raises:
        InvalidInputError: alpha outside (0, 1), or no image with a certificate.
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
