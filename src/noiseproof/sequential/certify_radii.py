"""Certificates whose votes stop by themselves: from radii to goals, and from votes to what they prove."""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from inspect import isabstract
from typing import Any

import numpy as np
from jaxtyping import Int
from scipy.special import ndtri

from noiseproof import certificates
from noiseproof.certificates import Certificate, Divergence, NeymanPearson, separated
from noiseproof.certified import ABSTAIN, DEFAULT_CERTIFICATE, Certified
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.noises import Gaussian, Noise
from noiseproof.sequential import CERTIFIED, AheadOfAll, Exceeds, FittedPrior, Goal, Level, WithinPrecision

__all__ = [
    "DEFAULT_BETA",
    "DEFAULT_CAP",
    "DecideRadii",
    "KnowRadius",
    "Procedure",
    "asked_for",
    "level",
    "procedure_from",
    "required_radii",
]

DEFAULT_BETA = 0.001
"""One in a thousand images that could be certified is given up: less than shows in any table, and votes for images that
cannot be certified grow with its logarithm only."""

DEFAULT_CAP = 100_000
"""What peers spend on every image; here what the hardest may take."""

_SMALLEST_REST = 2.0**-40
"""Of 1 - p0, 7 sigma of Gaussian noise: more would take over 1e12 votes, and counts beyond 2^53 are no integers."""

Table = Int[np.ndarray, "images classes"]


def level(noise: Noise, radius: float, certificate: Certificate = DEFAULT_CERTIFICATE) -> Level:
    """Return the probability above which the top class is certified at a radius, whatever the others have.

        p0(r) = inf {p: certificate.radius(noise, p, 1 - p) >= r};   Gaussian noise, l2: Phi(r / sigma).

    By bisection in ln(1 - p), rounded up: the radius of p0 as it is returned is at least r.

    Raises:
        InvalidInputError: r is negative or not finite, or the certificate gives so large a radius to no probability up to
            1 - 2^-40.
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
            required=f"{'less than ' if most else ''}{most:g} for {noise} and {type(certificate).__name__}",
            got=f"{radius:g}",
            remedy="Ask for a smaller radius, or certify under larger noise.",
        )
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if reached(float(np.exp(middle))) else (low, middle)
    p0 = 1.0 - float(np.exp(low))
    return Level(p0, 1.0 - p0)  # the second difference is exact: what is tested and what is certified are one number


class Procedure(ABC):
    """When an image's votes stop, and what they prove where they stopped."""

    goal: Goal

    @abstractmethod
    def read(self, votes: Table) -> Certified:
        """Return what votes that stopped at the goal prove: with probability >= 1 - alpha per image, at any moment."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return the procedure as plain data, for records: `procedure_from`."""

    @abstractmethod
    def votes_needed(self, num_classes: int) -> int:
        """Return the smallest number of votes that certify anything: unanimous ones."""


class DecideRadii(Procedure):
    """Decide whether each of some radii is certified: `Exceeds` at the levels of the radii.

    `Certified.radius` is the largest radius that is certified, with all smaller ones, and `p1_lower` its level p0: the statement
    is "p1 > p0".

    With `runner_up`, every other class counts for itself: `AheadOfAll` at t = r / sigma. The statement is sigma/2 (Phi^-1(p1) -
    Phi^-1(p2)) > r, which follows from p1 > p0: images are certified whose p1 is below p0 too, and others sooner where the votes
    for other classes are spread. Of the probabilities themselves it implies p2 < 1 - p0 and p1 > 1 - (k - 1)(1 - p0), which are
    `p2_upper` and `p1_lower`. Where one class has all other votes it takes more: 4 to 5 % from half a sigma on at alpha
    .001, up to 45 % below, where naming the class is what takes long, and 20 to 30 % to give up among 10 to 100 classes.

    Args:
        noise: of the votes.
        radii: one or several, in the norm of the noise.
        alpha: failure probability per image, at all radii and moments together.
        beta: probability, per image and radius, of giving up although it could be certified.
        cap: votes per image at most.
        certificate: which radii belong to which probabilities.
        prior: see `Exceeds`.
        runner_up: whether the runner-up is told from the rest; for Gaussian noise and the tight certificate, without prior.

    Raises:
        InvalidInputError: radii that no probability reaches, an argument outside its domain, or `runner_up` with another
            noise or certificate or a prior.
    """

    def __init__(
        self,
        noise: Noise,
        radii: float | Sequence[float],
        *,
        alpha: float,
        beta: float = DEFAULT_BETA,
        cap: int = DEFAULT_CAP,
        certificate: Certificate = DEFAULT_CERTIFICATE,
        prior: FittedPrior | None = None,
        runner_up: bool = False,
    ) -> None:
        self.radii = required_radii(radii)
        self.certificate, self.runner_up = certificate, runner_up
        self.levels = tuple(level(noise, radius, certificate) for radius in self.radii)
        if runner_up:
            _require_pairs(noise, certificate, prior)
            # q0 was rounded down by more than its quantile is
            shifts = tuple(-float(ndtri(each.q0)) for each in self.levels)
            self.goal: Exceeds | AheadOfAll = AheadOfAll(shifts, alpha, beta, cap)
        else:
            self.goal = Exceeds(self.levels, alpha, beta, cap, prior)

    def read(self, votes: Table) -> Certified:
        """Return the largest radius certified, and the outcome at each."""
        outcome = self.goal.outcomes(votes)
        count = np.cumprod(outcome == CERTIFIED, axis=-1).sum(-1)
        some, of = count > 0, np.maximum(count - 1, 0)
        p0, q0 = (np.array([(each.p0, each.q0) for each in self.levels])[of]).T
        if self.runner_up:
            p0 = np.maximum(1.0 - (votes.shape[-1] - 1) * q0, 0.0)
        return Certified(
            prediction=np.where(some, votes.argmax(-1), ABSTAIN),
            radius=np.where(some, np.array(self.radii)[of], 0.0),
            p1_lower=np.where(some, p0, 0.0),
            p2_upper=np.where(some, q0, 1.0),
            votes=votes,
            selection_votes=None,
            outcome=outcome,
        )

    def votes_needed(self, num_classes: int) -> int:
        """Return what the smallest radius takes."""
        return self.goal.votes_needed() if isinstance(self.goal, Exceeds) else _unanimous(self, num_classes)

    def spec(self) -> dict[str, Any]:
        """Return the radii with the certificate and the goal's numbers."""
        numbers = {name: value for name, value in self.goal.spec().items() if name not in {"levels", "shifts"}}
        about = {"radii": list(self.radii), "certificate": _plain(self.certificate)} | numbers  # the radii say those
        return about | ({"runner_up": True} if self.runner_up else {})


class KnowRadius(Procedure):
    """Know the radius to a relative precision: `WithinPrecision`.

    `Certified.radius` is that of the confidence sequence (`AnytimeSinglePhase`) where the votes stopped.

    Args:
        noise: of the votes.
        precision: relative, in (0, 1).
        alpha: failure probability per image, at all moments together.
        beta: probability, per image, that sampling ends before the radius is so precise.
        cap: votes per image at most.
        certificate: from probabilities to radii.

    Raises:
        InvalidInputError: an argument outside its domain.
    """

    def __init__(
        self,
        noise: Noise,
        precision: float,
        *,
        alpha: float,
        beta: float = DEFAULT_BETA,
        cap: int = DEFAULT_CAP,
        certificate: Certificate = DEFAULT_CERTIFICATE,
    ) -> None:
        self.noise, self.certificate = noise, certificate
        self.goal: WithinPrecision = WithinPrecision(precision, alpha, beta, cap, partial(certificate.radius, noise))

    def read(self, votes: Table) -> Certified:
        """Return the radius of the confidence sequence."""
        found = self.goal.statement(votes)
        some = separated(found.p1_lower, found.p2_upper)
        return Certified(
            prediction=np.where(some, found.prediction, ABSTAIN),
            radius=self.certificate.radius(self.noise, found.p1_lower, found.p2_upper),
            p1_lower=found.p1_lower,
            p2_upper=found.p2_upper,
            votes=votes,
            selection_votes=None,
            outcome=self.goal.outcomes(votes)[:, None],
        )

    def votes_needed(self, num_classes: int) -> int:
        """Return how many votes it takes to certify some radius."""
        return _unanimous(self, num_classes)

    def spec(self) -> dict[str, Any]:
        """Return the goal's numbers and the certificate."""
        return {"certificate": _plain(self.certificate)} | self.goal.spec()


def asked_for(
    noise: Noise,
    radius: float | Sequence[float] | None,
    precision: float | None,
    bound: object,
    budget: int | None,
    prior: FittedPrior | None,
    beta: float | None,
    runner_up: bool,
    **common: Any,
) -> Procedure | None:
    """Return the procedure that the arguments of `SmoothedClassifier.certify` ask for; None for a fixed number of votes.

    Raises:
        InvalidInputError: options that do not go together, or one outside its domain.
    """
    fault = None
    if radius is not None and precision is not None:
        fault = (
            "radius and precision",
            "one of them",
            "both",
            "Ask for the precision of any radius, or decide given ones.",
        )
    elif bound is not None and (radius is not None or precision is not None):
        fault = (
            "bound",
            "left out with radius or precision",
            repr(bound),
            "It holds for a number of votes fixed before.",
        )
    elif budget is not None and radius is None and precision is None:
        fault = ("budget", "given with radius or precision", repr(budget), "samples is the number of votes per image.")
    elif beta is not None and radius is None and precision is None:
        fault = ("beta", "given with radius or precision", repr(beta), "A fixed number of votes gives nothing up.")
    elif prior is not None and radius is None:
        fault = (
            "prior",
            "given with radius",
            "no radius",
            "It is a prior for the evidence that a radius is certified.",
        )
    elif runner_up and radius is None:
        fault = (
            "runner_up",
            "given with radius",
            "no radius",
            "For a number of votes fixed before, pass bound=WinnerRunnerUp().",
        )
    if fault is not None:
        name, required, got, remedy = fault
        raise InvalidInputError(name, required=required, got=got, remedy=remedy)
    if radius is not None or precision is not None:
        require_count("samples", common["cap"], 1, "It is the largest number of votes for an image.")
    common["beta"] = DEFAULT_BETA if beta is None else beta
    if radius is not None:
        return DecideRadii(noise, radius, prior=prior, runner_up=runner_up, **common)
    return None if precision is None else KnowRadius(noise, precision, **common)


def procedure_from(noise: Noise, spec: Mapping[str, Any]) -> Procedure:
    """Return the procedure of a record, the inverse of `Procedure.spec`.

    Raises:
        InvalidInputError: it is none that this version knows.
    """
    try:
        common: dict[str, Any] = {name: spec[name] for name in ("alpha", "beta", "cap")}
        common["certificate"] = _certificate_from(spec["certificate"])
        if "precision" in spec:
            return KnowRadius(noise, spec["precision"], **common)
        prior = FittedPrior.from_plain(spec["prior"]) if "prior" in spec else None
        return DecideRadii(noise, spec["radii"], prior=prior, runner_up=bool(spec.get("runner_up")), **common)
    except (AttributeError, KeyError, TypeError) as error:
        raise InvalidInputError(
            "procedure",
            required="radii or a precision, with alpha, beta, cap and a certificate",
            got=f"{type(error).__name__}: {error}",
            remedy="Is the record damaged, or of a newer version?",
        ) from error


def _unanimous(procedure: Procedure, num_classes: int) -> int:
    """Return the smallest number of unanimous votes that certify anything."""

    def suffices(n: int) -> bool:
        votes = np.zeros((1, num_classes), dtype=np.int64)
        votes[0, 0] = n
        return bool((procedure.read(votes).prediction != ABSTAIN).all())

    high = 1
    while not suffices(high):
        high *= 2
    return bisect_left(range(high), True, lo=high // 2 + 1, key=suffices)


def _require_pairs(noise: Noise, certificate: Certificate, prior: FittedPrior | None) -> None:
    """Raise `InvalidInputError` unless winner and runner-up decide together here."""
    wanted: dict[str, tuple[bool, object, str]] = {
        "noise": (isinstance(noise, Gaussian), noise, "Gaussian noise, with runner_up"),
        "certificate": (type(certificate) is NeymanPearson, certificate, "NeymanPearson(), with runner_up"),
        "prior": (prior is None, prior, "left out with runner_up"),
    }
    for name, (fits, got, required) in wanted.items():
        if not fits:
            raise InvalidInputError(name, required=required, got=repr(got), remedy="Or leave runner_up out.")


def _plain(part: object) -> Any:
    """Return a certificate as plain data, or raise `InvalidInputError` for one that records cannot name."""
    if isinstance(part, float | int):
        return part
    name = type(part).__name__
    if _PARTS.get(name) is not type(part):
        raise InvalidInputError(
            "certificate",
            required=f"made of {', '.join(sorted(_PARTS))}, for a record",
            got=repr(part),
            remedy="A record must tell those who read it what was proven: add yours to noiseproof.certificates.",
        )
    return {"name": name} | {each.name: _plain(getattr(part, each.name)) for each in fields(part)}  # type: ignore[arg-type]


def _certificate_from(about: Any) -> Certificate:
    """Return the certificate that `_plain` describes, or raise `KeyError` or `TypeError` where there is none."""
    found = _from_plain(about)
    if not isinstance(found, Certificate):
        raise TypeError(f"{about!r} is no certificate")
    return found


def _from_plain(about: Any) -> Any:
    if not isinstance(about, Mapping):
        return about
    settings = dict(about)
    kind = _PARTS[settings.pop("name")]
    return kind(**{name: _from_plain(value) for name, value in settings.items()})


_PARTS: dict[str, type] = {
    name: kind
    for name, kind in vars(certificates).items()
    if isinstance(kind, type) and issubclass(kind, Certificate | Divergence) and not isabstract(kind)
}


def required_radii(radius: float | Sequence[float]) -> tuple[float, ...]:
    """Return one or several radii, ascending, as a tuple.

    Raises:
        InvalidInputError: none, or one that is no number, negative, infinite or named twice.
    """
    try:
        given = np.atleast_1d(np.asarray(radius))
    except ValueError:  # lists of different lengths
        given = np.empty(0)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iuf" or not np.isfinite(given).all():
        raise InvalidInputError(
            "radius", required="a number or a list of numbers", got=repr(radius), remedy="For example 0.5."
        )
    if (given < 0.0).any() or len(np.unique(given)) < len(given):
        raise InvalidInputError(
            "radius", required=">= 0, each named once", got=repr(radius), remedy="For example [0.5, 1.0]."
        )
    return tuple(float(value) for value in np.sort(given))
