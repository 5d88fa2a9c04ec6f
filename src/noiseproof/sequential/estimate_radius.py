"""Stop when the radius is known to a relative error."""

from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from noiseproof.certificates import Certificate, separated
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.certified import ABSTAIN, DEFAULT_CERTIFICATE, Certified
from noiseproof.noises import Noise
from noiseproof.sequential.base import SequentialTest, StoppingRule, require_beta
from noiseproof.sequential.relative_error import RelativeError, require_rtol

__all__ = ["EstimateRadius", "RadiusTest"]

Table = Int[np.ndarray, "images classes"]


@dataclass(frozen=True)
class EstimateRadius(StoppingRule):
    """Stop when the radius is known to a relative error: R(p1_lower) >= (1 - rtol) R(p1_upper) (`RelativeError`).

    `Certified.radius` is that of the confidence sequence (`AnytimeSinglePhase`) at the stopping time.

    Args:
        rtol: relative error, in (0, 1).
        alpha: failure probability per image, at all times together.
        beta: probability, per image, that sampling ends before the radius is known to that error.
        max_samples: votes per image at most.
        certificate: from probabilities to radii.

    Raises:
        InvalidInputError: an argument outside its domain.

    Example:
        >>> EstimateRadius(0.05).spec()["precision"]
        0.05
    """

    rtol: float
    _: KW_ONLY
    beta: float = 0.001
    certificate: Certificate = DEFAULT_CERTIFICATE

    def __post_init__(self) -> None:
        super().__post_init__()
        require_beta(self.beta)
        require_rtol(self.rtol)

    def under(self, noise: Noise) -> "RadiusTest":
        """Return the test for votes counted under a noise.

        Raises:
            InvalidInputError: the certificate is not for this noise.
        """
        self.certificate.require_noise(noise)
        criterion = RelativeError(
            self.rtol, self.alpha, self.beta, self.max_samples, partial(self.certificate.radius, noise)
        )
        return RadiusTest(criterion, noise, self.certificate)

    def spec(self) -> dict[str, Any]:
        """Return all settings as plain data; the key of rtol is "precision"."""
        about: dict[str, Any] = {"certificate": CERTIFICATES.spec(self.certificate), "precision": self.rtol}
        return about | {"alpha": self.alpha, "beta": self.beta, "cap": self.max_samples}


@dataclass(frozen=True)
class RadiusTest(SequentialTest):
    """`EstimateRadius` under a noise.

    Attributes:
        criterion: when the radius is known.
        noise: of the votes.
        certificate: from probabilities to radii.
    """

    criterion: RelativeError
    noise: Noise
    certificate: Certificate

    def certify(self, votes: Table, certifying: Table | None = None) -> Certified:  # noqa: ARG002 - one statement
        """Return the radius of the confidence sequence."""
        found = self.criterion.statement(votes)
        some = separated(found.p1_lower, found.p2_upper)
        return Certified(
            prediction=np.where(some, found.prediction, ABSTAIN),
            radius=self.certificate.radius(self.noise, found.p1_lower, found.p2_upper),
            p1_lower=found.p1_lower,
            p2_upper=found.p2_upper,
            votes=votes,
            selection_votes=None,
            outcome=self.criterion.outcomes(votes),
        )
