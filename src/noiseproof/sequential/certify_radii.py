"""The stopping rule for given radii: stop when each of them is certified or cannot be."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from scipy.special import ndtri

from noiseproof.certificates import Certificate, NeymanPearson
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.certified import ABSTAIN, DEFAULT_CERTIFICATE, Certified
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Noise
from noiseproof.numerics.decimals import round_down
from noiseproof.sequential.base import CERTIFIED, SequentialTest, StoppingRule, certified_levels, require_beta
from noiseproof.sequential.exceeds import Exceeds, Level
from noiseproof.sequential.pairwise import AheadOfAll
from noiseproof.sequential.prior import FittedPrior

__all__ = ["LASTING", "CertifyRadii", "RadiiTest", "level", "required_radii"]

_SMALLEST_REST = 2.0**-40
"""The smallest 1 - p0, 7 sigma of Gaussian noise: less would take over 1e12 votes."""

LASTING = "lasting"
"""Key of `CertifyRadii.spec`: a radius that was certified at some time stays certified; earlier records lack it."""

Table = Int[np.ndarray, "images classes"]


@dataclass(frozen=True)
class CertifyRadii(StoppingRule):
    """Stop when each of the given radii is certified or cannot be certified; several radii share one alpha.

    A radius r is certified if p1 > p0(r) is (`level`, `Exceeds`). `Certified.radius` is the largest radius certified
    together with all smaller ones, and `Certified.p1_lower` is its level p0. The guarantee holds for all radii and all
    times together, so a certified radius stays certified while sampling continues for the others.

    With `runner_up` the winner is compared with each other class separately: `AheadOfAll` at t = r / sigma. It tests
    sigma/2 (Phi^-1(p1) - Phi^-1(p2)) > r, which is implied by p1 > p0. So it can also certify images with p1 below p0,
    and it needs fewer votes where several classes share the other votes. It implies p2 < 1 - p0 and p1 > 1 - (k - 1)(1
    - p0), which are `p2_upper` and `p1_lower`. Where one class has all other votes it needs more: 4 to 5 % for radii of
    half a sigma and more at alpha .001, up to 45 % for smaller ones, where identifying the class takes longest, and 20
    to 30 % for futility with 10 to 100 classes.

    Args:
        radii: one or several, in the norm of the noise and pixel units.
        alpha: failure probability per image, over all radii and all times together.
        beta: probability, per image and radius, of futility although the radius could be certified. The votes spent on
            images that cannot be certified grow only with its logarithm.
        max_samples: largest number of votes per image.
        certificate: the certificate that relates probabilities to radii.
        runner_up: whether the runner-up is counted separately; requires Gaussian noise, `NeymanPearson` and no prior.
        prior: weights learned from votes on other images (`fit_prior`), for one radius: fewer votes, the same guarantee.
        lasting: whether a radius that was certified at some time stays certified, for several radii. False evaluates
        all
            radii at the last votes, as records of earlier versions do. For one radius both are the same.

    Raises:
        InvalidInputError: an argument outside its domain, a prior with several radii, or `runner_up` with a prior or
            another certificate.

    Example:
        >>> CertifyRadii([0.5, 0.25]).radii
        (0.25, 0.5)
    """

    radii: float | Sequence[float]
    _: KW_ONLY
    beta: float = 0.001
    certificate: Certificate = DEFAULT_CERTIFICATE
    runner_up: bool = False
    prior: FittedPrior | None = None
    lasting: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "radii", required_radii(self.radii))
        object.__setattr__(self, "lasting", self.lasting or len(self._radii) == 1)
        require_beta(self.beta)
        if self.prior is not None and len(self._radii) > 1:
            raise InvalidInputError(
                "prior", required="left out with several radii", got=f"{len(self._radii)} radii", remedy="Leave it out."
            )
        if self.runner_up:
            _require(
                type(self.certificate) is NeymanPearson,
                "certificate",
                "NeymanPearson(), with runner_up=",
                self.certificate,
            )
            _require(self.prior is None, "prior", "left out with runner_up=", self.prior)

    def under(self, noise: Noise) -> "RadiiTest":
        """Return the test for votes counted under a noise.

        Raises:
            InvalidInputError: a radius that no probability certifies, a certificate that does not hold for this noise,
            or
                `runner_up` with noise that is not Gaussian.
        """
        self.certificate.require_noise(noise)
        levels = tuple(level(noise, radius, self.certificate) for radius in self._radii)
        lasting = self.lasting and len(levels) > 1
        if not self.runner_up:
            criterion = Exceeds(levels, self.alpha, self.beta, self.max_samples, self.prior, lasting)
            return RadiiTest(criterion, self._radii, levels)
        _require(isinstance(noise, Gaussian), "noise", "Gaussian noise, with runner_up=", noise)
        # q0 was rounded down by more than its quantile is
        shifts = tuple(-float(ndtri(each.q0)) for each in levels)
        return RadiiTest(AheadOfAll(shifts, self.alpha, self.beta, self.max_samples, lasting), self._radii, levels)

    def spec(self) -> dict[str, Any]:
        """Return all settings as plain data."""
        about: dict[str, Any] = {"radii": list(self._radii), "certificate": CERTIFICATES.spec(self.certificate)}
        about |= {"alpha": self.alpha, "beta": self.beta, "cap": self.max_samples}
        about |= {} if self.prior is None else {"prior": self.prior.plain()}
        about |= {LASTING: True} if self.lasting and len(self._radii) > 1 else {}
        return about | ({"runner_up": True} if self.runner_up else {})

    @property
    def _radii(self) -> tuple[float, ...]:
        assert isinstance(self.radii, tuple)  # noqa: S101 - made so at the beginning
        return self.radii


@dataclass(frozen=True)
class RadiiTest(SequentialTest):
    """`CertifyRadii` under a noise.

    Attributes:
        criterion: the criterion for all radii.
        radii: ascending.
        levels: p0 of each radius.
    """

    criterion: Exceeds | AheadOfAll
    radii: tuple[float, ...]
    levels: tuple[Level, ...]

    def certify(self, votes: Table, certifying: Table | None = None) -> Certified:
        """Return the largest certified radius of each image, and its outcome at every radius."""
        outcome, leader = self.criterion.outcomes(votes), votes.argmax(-1)
        count = certified_levels(outcome)
        if certifying is not None:
            earlier = self.criterion.reached(certifying)
            leader = np.where(earlier >= count, certifying.argmax(-1), leader)
            count = np.maximum(earlier, count)
            outcome = np.where(np.arange(len(self.radii)) < count[:, None], CERTIFIED, outcome)
        some, of = count > 0, np.maximum(count - 1, 0)
        p0, q0 = (np.array([(each.p0, each.q0) for each in self.levels])[of]).T
        if isinstance(self.criterion, AheadOfAll):
            p0 = np.maximum(1.0 - (votes.shape[-1] - 1) * q0, 0.0)
        return Certified(
            prediction=np.where(some, leader, ABSTAIN),
            radius=np.where(some, np.array(self.radii)[of], 0.0),
            p1_lower=np.where(some, p0, 0.0),
            p2_upper=np.where(some, q0, 1.0),
            votes=votes,
            selection_votes=None,
            outcome=outcome,
        )


def level(noise: Noise, radius: float, certificate: Certificate = DEFAULT_CERTIFICATE) -> Level:
    """Return the probability of the top class that certifies a radius, whatever the probabilities of the others.

        p0(r) = inf {p: certificate.radius(noise, p, 1 - p) >= r};   Gaussian noise, `NeymanPearson`: Phi(r / sigma).

    By bisection in ln(1 - p), rounded up: the radius at the returned p0 is at least r.

    Raises:
        InvalidInputError: r is negative or not finite, or no probability up to 1 - 2^-40 certifies it.
    """
    if not (np.isfinite(radius) and radius >= 0.0):
        raise InvalidInputError(
            "radius", required="finite and >= 0", got=repr(radius), remedy="In the norm of the noise, in pixel units."
        )
    if radius == 0.0:
        return Level(0.5, 0.5)

    def reached(q: float) -> bool:
        return certificate.radius(noise, 1.0 - q, 1.0 - (1.0 - q)) >= radius

    low, high = np.log(_SMALLEST_REST), np.log(0.5)
    if not reached(float(np.exp(low))):
        most = certificate.radius(noise, 1.0 - _SMALLEST_REST, _SMALLEST_REST)
        raise InvalidInputError(
            "radius",
            required=f"{'less than ' if most else ''}{round_down(most, None)} for {noise} and {type(certificate).__name__}",
            got=radius,
            remedy="Ask for a smaller radius, or certify under larger noise.",
        )
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if reached(float(np.exp(middle))) else (low, middle)
    p0 = 1.0 - float(np.exp(low))
    return Level(p0, 1.0 - p0)  # the second difference is exact: what is tested and what is certified are one number


def required_radii(radii: float | Sequence[float]) -> tuple[float, ...]:
    """Return one or several radii, ascending, as a tuple.

    Raises:
        InvalidInputError: no radius, or one that is not a number, negative, infinite or repeated.
    """
    try:
        given = np.atleast_1d(np.asarray(radii))
    except ValueError:  # lists of different lengths
        given = np.empty(0)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iuf" or not np.isfinite(given).all():
        raise InvalidInputError(
            "radii", required="a number or a list of numbers", got=repr(radii), remedy="For example 0.5."
        )
    if (given < 0.0).any() or len(np.unique(given)) < len(given):
        raise InvalidInputError(
            "radii", required=">= 0, each named once", got=repr(radii), remedy="For example [0.5, 1.0]."
        )
    return tuple(float(value) for value in np.sort(given))


def _require(fits: bool, name: str, required: str, got: object) -> None:
    if not fits:
        raise InvalidInputError(name, required=required, got=repr(got), remedy="Or leave it out: runner_up=.")
