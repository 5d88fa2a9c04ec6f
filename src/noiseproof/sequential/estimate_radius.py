"""The stopping rule that estimates the radius to a relative error."""

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

    `Certified.radius` is the radius at the lower confidence bound of `AnytimeSinglePhase` at the stopping time.

    Args:
        rtol: relative error, in (0, 1).
        alpha: failure probability per image, over all times together.
        beta: probability, per image, that p1_upper is too small at some time, so that sampling may end too early.
        max_samples: largest number of votes per image.
        certificate: the certificate that relates probabilities to radii.

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
            InvalidInputError: the certificate does not hold for this noise.
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
        criterion: the criterion that ends sampling.
        noise: the noise under which the votes are counted.
        certificate: the certificate that relates probabilities to radii.
    """

    criterion: RelativeError
    noise: Noise
    certificate: Certificate

    def certify(self, votes: Table, certifying: Table | None = None) -> Certified:  # noqa: ARG002 - one statement
        """Return the radius at the lower confidence bound of each image."""
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
