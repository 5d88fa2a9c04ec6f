"""The auditor of a published table or list: is what it claims possible, and what does it prove?"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from noiseproof.errors import InvalidInputError
from noiseproof.evaluation import failure_allowance, population_lower_bound
from noiseproof.numerics.decimals import exact, percent, percent_up, round_down
from noiseproof.published.attainable import ALPHAS, Attainable, attainable_counts, largest_radius
from noiseproof.published.inversion import COMPARED, Inverted, invert
from noiseproof.published.lists import PublishedList
from noiseproof.published.printed import Printed, Rounding
from noiseproof.published.repeats import EqualCounts, equal_counts

__all__ = ["RADII", "Checked", "CheckedList", "Finding", "check_list", "statement"]

RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Where certified accuracy is computed where no radii are named, as far as they are certified at all."""

_RHO = 0.05
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """What is wrong with some rows of a file.

    Attributes:
        what: in words.
        rows: their numbers in the file, from 0.
        alpha: whether it is wrong at the stated n and alpha, rather than under any.
    """

    what: str
    rows: tuple[int, ...]
    alpha: bool = False

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.rows[:_SHOWN])) + (", ..." if len(self.rows) > _SHOWN else "")
        return f"{self.what}: {len(self.rows)} (rows from 0: {shown})"


@dataclass(frozen=True, kw_only=True)
class Checked(ABC):
    """What every checked file has.

    Attributes:
        name: of the file or folder.
        kind: what it is, in words.
        images: N.
        radii: where certified accuracy is given, in pixel units.
        findings: what cannot be true.
        alpha: the level at which the statements hold; None where none is made.
        allowance: `failure_allowance` of the images at this level, or None.
        population: `population_lower_bound` at each radius, or None.
    """

    name: str
    kind: str
    images: int
    radii: tuple[float, ...]
    alpha: float | None
    allowance: float | None
    population: tuple[float, ...] | None
    findings: tuple[Finding, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether nothing is claimed that cannot be true."""
        return not self.findings

    @property
    @abstractmethod
    def curves(self) -> dict[str, tuple[float, ...]]:
        """Shares of the images at each of `radii`, by name."""

    @abstractmethod
    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield what was found, for people: a name and what it says."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""

    def stated(self, first: str) -> Iterator[tuple[str, str]]:
        """Yield what a certified accuracy of the images proves."""
        if self.allowance is None or self.alpha is None:
            return
        lost, level = percent_up(self.allowance), f"alpha {self.alpha:g}"
        said = f"with 95 % confidence the true share is at least {first} minus {lost}, at all radii"
        yield "statement", f"{said} ({level}, noise independent across images)"

    def common(self) -> dict[str, Any]:
        """Return what all kinds share, as JSON-compatible data."""

        def at(values: Sequence[float]) -> dict[str, float]:
            return {exact(radius): value for radius, value in zip(self.radii, values, strict=True)}

        return {
            "file": self.name,
            "kind": self.kind,
            "images": self.images,
            "possible": self.possible,
            "findings": [
                {"what": each.what, "number": len(each.rows), "rows": list(each.rows)} for each in self.findings
            ],
            "certified": {name: at(values) for name, values in self.curves.items()},
            "statement": {
                "alpha": self.alpha,
                "confidence": None if self.allowance is None else 1.0 - _RHO,
                "allowance": self.allowance,
                "population_lower_bound": None if self.population is None else at(self.population),
            },
        }


@dataclass(frozen=True, kw_only=True)
class CheckedList(Checked):
    """A published table or list, checked.

    Attributes:
        source: what was checked.
        sigma: standard deviation of the Gaussian noise, in pixel units; None for a list of p1 without it.
        samples: the stated n.
        stated_alpha: the stated level.
        right: share of images with the right prediction; None without labels.
        abstained: share of images without a prediction; None likewise.
        largest: the largest attainable number at the stated n and alpha, a radius or a p1.
        unattainable: at each level that was tried, how many numbers no count of n gives.
        rounding: at each level, the rounding under which they are so few.
        counts: the counts that the numbers may come from, at `alpha`, or at the stated level if no level fits.
        inverted: the lower bounds p1, likewise.
        rounded_up: how many numbers are larger than anything attainable that they may stand for.
        excess: by how much at most.
        equal: the test for equal counts, or None.
        claimed: share of images that are right, with a printed number that certifies each radius.
        accuracy: share of images certified at each radius, by certificate: the smallest and the largest possible.
    """

    source: PublishedList = field(repr=False)
    sigma: float | None
    samples: int
    stated_alpha: float
    right: float | None
    abstained: float | None
    largest: float
    unattainable: dict[float, int]
    rounding: dict[float, Rounding]
    counts: Attainable = field(repr=False)
    inverted: Inverted = field(repr=False)
    rounded_up: int
    excess: float
    equal: EqualCounts | None
    claimed: tuple[float, ...]
    accuracy: dict[str, list[tuple[float, float]]]

    @property
    def fitting(self) -> tuple[float, ...]:
        """The levels at which all numbers are attainable; the stated one is among those tried."""
        return tuple(alpha for alpha, number in self.unattainable.items() if number == 0)

    @property
    def curves(self) -> dict[str, tuple[float, ...]]:
        """The claimed shares, and the smallest shares that the digits leave to each certificate."""
        low = {name: tuple(share for share, _ in curve) for name, curve in self.accuracy.items()}
        return ({"claimed": self.claimed} if self.claimed else {}) | low

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield what was found, for people."""
        stated = f"n {self.samples}, alpha {self.stated_alpha:g}"
        yield "file", f"{self.name}, {self.kind}"
        yield "images", str(self.images)
        if self.right is not None and self.abstained is not None:
            yield "right", f"{percent(self.right)}, abstained {percent(self.abstained)}"
        what = "radius" if self.source.quantity == "radius" else "p1"
        yield (
            f"largest {what}",
            f"{self.source.printed.value.max():g}; attainable at {stated}: {round_down(self.largest, 6)}",
        )
        wrong = self.unattainable[self.stated_alpha]
        yield "attainable", "all" if not wrong else f"all but {wrong} at {stated}"
        said = [f"{level:g}{_one_way(self.rounding[level])}" for level in self.fitting]
        yield "fitting alpha", ", ".join(said) or f"none of {len(self.unattainable)}"
        if self.rounded_up:
            yield "rounded up", f"{self.rounded_up} numbers, by {self.excess:.2g} at most"
        if self.equal is not None:
            yield "equal counts", str(self.equal)
        yield from self.stated("that of neyman-pearson")

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-compatible data; certified shares are the smallest possible, `at_most` the largest."""
        equal = self.equal
        return self.common() | {
            "sigma": self.sigma,
            "samples": self.samples,
            "alpha": self.stated_alpha,
            "right": self.right,
            "abstained": self.abstained,
            "largest_attainable": self.largest,
            "unattainable": {f"{alpha:g}": number for alpha, number in self.unattainable.items()},
            "fitting_alphas": list(self.fitting),
            "rounding": {f"{alpha:g}": rounding.name.lower() for alpha, rounding in self.rounding.items()},
            "rounded_up": self.rounded_up,
            "rounded_up_by": self.excess,
            "at_most": {
                name: {exact(at): high for at, (_, high) in zip(self.radii, curve, strict=True)}
                for name, curve in self.accuracy.items()
            },
            "equal_counts": None
            if equal is None
            else {"images": equal.images, "shared": equal.shared, "row": equal.row, "p_value": equal.p_value},
        }


def check_list(
    source: PublishedList,
    *,
    sigma: float | None = None,
    samples: int = 100_000,
    alpha: float = 0.001,
    radii: Sequence[float] | None = None,
) -> CheckedList:
    """Check a published table or list against the n and alpha that it states.

    Findings, each of which cannot be true: radii or p1 that no count of n votes gives at level alpha (`attainable_counts`);
    negative radii; a radius above 0 where the classifier abstained; an index twice; `correct` other than label = predict.

    What the numbers prove is computed at the stated alpha, or, if some are unattainable there, at the largest level at
    which none is. If there is no such level, or anything else is found, no statement is made.

    Args:
        source: radii by Cohen's formula under Gaussian noise, or lower bounds p1.
        sigma: standard deviation of the noise, in pixel units; required for radii.
        samples: n, the votes behind each number.
        alpha: failure probability of each number.
        radii: where certified accuracy is computed, in pixel units; None takes `RADII`.

    Raises:
        InvalidInputError: an argument outside its domain, or radii without sigma.
    """
    if sigma is None and source.quantity == "radius":
        needed = "given for radii: the standard deviation of the noise, for pixels in [0, 1]"
        raise InvalidInputError(
            "sigma", required=needed, got="nothing", remedy="It is in the paper or in the file's name."
        )
    scale = sigma if source.quantity == "radius" else None
    value, abstained, right = source.printed.value, source.abstained, source.right
    active = (value > 0.0) & ~abstained
    shown = Printed(np.where(active, value, 0.0), source.printed.unit)
    tried = {level: attainable_counts(shown, scale, samples, level) for level in dict.fromkeys((alpha, *ALPHAS))}
    unattainable = {level: int((~each.fits).sum()) for level, each in sorted(tried.items())}
    findings = (*_inconsistent(source), *_out_of_reach(tried[alpha], unattainable, alpha, samples))
    fitting = [level for level, number in unattainable.items() if number == 0]
    level = alpha if alpha in fitting else max(fitting, default=None)
    counts = tried[alpha if level is None else level]
    inverted = invert(shown, scale, samples, alpha if level is None else level, counts)
    noise, at = sigma, tuple(RADII if radii is None else radii)
    if noise is None:
        accuracy: dict[str, list[tuple[float, float]]] = {}
        at = ()
    else:
        top = inverted.radii("neyman-pearson", noise)[1].max()
        at = tuple(radius for radius in at if radius <= top) if radii is None else at
        accuracy = {name: inverted.curve(name, noise, right, at) for name in COMPARED}
    claimed = _claimed(value, right & active, at) if source.quantity == "radius" else ()
    known = level is not None and all(each.alpha for each in findings)
    lowest = [low for low, _ in accuracy.get("neyman-pearson", [])]
    allowance, population = statement(lowest, len(source), level if known else None)
    excess = _excess(shown, inverted, sigma if scale is not None else None, counts.fits & active)
    fits = counts.fits & active
    largest = largest_radius(1.0 if scale is None else scale, samples, alpha)
    return CheckedList(
        name=source.name,
        kind="radii by sigma Phi^-1(p1)" if source.quantity == "radius" else "lower bounds p1",
        images=len(source),
        radii=at,
        alpha=level if known else None,
        allowance=allowance,
        population=population,
        findings=findings,
        source=source,
        sigma=sigma,
        samples=samples,
        stated_alpha=alpha,
        right=None if source.label is None else float(right.mean()),
        abstained=None if source.predict is None else float(abstained.mean()),
        largest=largest if scale is not None else alpha ** (1.0 / samples),
        unattainable=unattainable,
        rounding={level: tried[level].rounding for level in unattainable},
        counts=counts,
        inverted=inverted,
        rounded_up=int((excess > 0.0).sum()),
        excess=float(excess.max(initial=0.0)),
        equal=equal_counts(counts.first[fits], counts.last[fits], samples),
        claimed=claimed,
        accuracy=accuracy,
    )


def statement(
    certified: Sequence[float], images: int, alpha: float | None
) -> tuple[float | None, tuple[float, ...] | None]:
    """Return `failure_allowance` and `population_lower_bound` of certified shares at 95 %; None where alpha is None.

    The second holds for one radius chosen beforehand, and only if the images are independent draws.
    """
    if alpha is None:
        return None, None
    right = np.rint(np.asarray(certified, dtype=np.float64) * images).astype(np.int64)
    bounds = population_lower_bound(right, images, alpha, _RHO) if len(right) else np.zeros(0)
    return failure_allowance(images, alpha, _RHO), tuple(bounds.tolist())


def _one_way(rounding: Rounding) -> str:
    """Return what a level needs that only fits under such a rounding."""
    return "" if rounding is Rounding.NEAREST else f" (if all were rounded {rounding.name.lower()})"


def _inconsistent(source: PublishedList) -> Iterator[Finding]:
    """Yield what cannot be true under any n and alpha."""
    value = source.printed.value
    yield from _finding("negative radii", value < 0.0)
    if source.predict is not None:
        yield from _finding("radii above 0 where the classifier abstained", source.abstained & (value > 0.0))
    if source.index is not None:
        first = np.zeros(len(source), dtype=np.bool_)
        first[np.unique(source.index, return_index=True)[1]] = True
        yield from _finding("rows with an index that an earlier row has", ~first)
    if source.correct is not None:
        yield from _finding("values of correct that differ from label = predict", (source.correct == 1) != source.right)


def _out_of_reach(found: Attainable, unattainable: dict[float, int], alpha: float, samples: int) -> Iterator[Finding]:
    fitting = [f"{level:g}" for level, number in unattainable.items() if number == 0]
    cure = f"all fit alpha {' or '.join(fitting)}" if fitting else "no usual alpha fits all"
    yield from _finding(f"numbers unattainable at n {samples}, alpha {alpha:g}; {cure}", ~found.fits, alpha=True)


def _finding(what: str, wrong: Bool[np.ndarray, " rows"], *, alpha: bool = False) -> Iterator[Finding]:
    if wrong.any():
        yield Finding(what, tuple(np.flatnonzero(wrong).tolist()), alpha)


def _claimed(
    value: Float[np.ndarray, " rows"], right: Bool[np.ndarray, " rows"], radii: Sequence[float]
) -> tuple[float, ...]:
    return tuple(float((right & (value >= radius)).mean()) for radius in radii)


def _excess(
    printed: Printed, inverted: Inverted, sigma: float | None, fits: Bool[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """By how much each number is above everything attainable that it may stand for; 0 within the error of arithmetic."""
    top = inverted.high if sigma is None else inverted.radii("neyman-pearson", sigma)[1]
    over = printed.value - top
    return np.where(fits & (over > 1e-6 * (top + (sigma or 1.0))), over, 0.0)
