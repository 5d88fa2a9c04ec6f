"""One record under the paper's procedure and under the tight one: curves and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from noiseproof.bounds import Bonferroni, Bound, TwoPhase
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates import Certificate, NeymanPearson, Renyi
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.certified import Certified, require_enough_samples, samples_needed
from noiseproof.errors import InvalidInputError
from noiseproof.evaluation.certified_accuracy import Summary, certified_accuracy, summarise
from noiseproof.numerics.decimals import round_down
from noiseproof.reports.naming import Analysed, entries
from noiseproof.runs.records import PROCEDURE, Record, VoteTable

__all__ = [
    "PAPER",
    "TIGHT",
    "Analysis",
    "Curve",
    "Procedure",
    "analyse",
    "analyse_procedure",
    "departure",
    "images_of_file",
    "largest_radius",
    "named",
    "names_of",
    "procedure_of",
    "table_radii",
]

_CURVE_POINTS = 401
_TABLE_RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)


@dataclass(frozen=True)
class Procedure:
    """A bound and a certificate, with their names in reports."""

    title: str
    bound: Bound
    certificate: Certificate


TIGHT = Procedure("tight: two-phase, Neyman-Pearson", TwoPhase(), NeymanPearson())
PAPER = Procedure("paper: Bonferroni, Rényi", Bonferroni(), Renyi())
_WITHOUT_SELECTION = Procedure("Bonferroni, Neyman-Pearson", Bonferroni(), NeymanPearson())
"""Of records without votes of a selection phase, which the two-phase bound needs."""


@dataclass(frozen=True)
class Curve:
    """Certified accuracy of one record under one procedure."""

    procedure: Procedure
    certified: Certified
    radii: Float[np.ndarray, " points"]
    accuracy: Float[np.ndarray, " points"]
    summary: Summary
    largest_radius: float


@dataclass(frozen=True)
class Analysis(Analysed[Record]):
    """One record, certified under every procedure that a report compares.

    Attributes:
        votes: of its images.
        alpha: failure probability per image.
        curves: one per procedure, the main one first.
    """

    votes: VoteTable
    alpha: float
    curves: tuple[Curve, ...]

    @property
    def counted(self) -> int:
        """Images with votes."""
        return len(self.votes)

    def settings(self) -> Mapping[str, Any]:
        """Return how many votes an image has."""
        own = self.record.settings
        return {"Votes an image": f"{own.samples}, and {own.selection_samples} of the selection phase"}

    @property
    def departure(self) -> str | None:
        """See `departure`."""
        return departure(self.record, self.curves[0].procedure, self.alpha)


def procedure_of(record: Record, bound: Bound | None = None, certificate: Certificate | None = None) -> Procedure:
    """Return a procedure; None is the one the votes were counted for, in records that do not name it the default."""
    made_for = record.procedure
    return named(bound or made_for.bound, certificate or made_for.certificate)


def departure(record: Record, procedure: Procedure, alpha: float) -> str | None:
    """Say that votes were counted for a procedure other than this one; None if not, or if none is recorded.

    Bounds hold at level alpha for the procedure that was chosen before the votes were seen.
    """
    made_for = record.procedure
    same = made_for.bound.alike(procedure.bound) and made_for.certificate == procedure.certificate
    if PROCEDURE not in record.about or (same and made_for.alpha == alpha):
        return None
    bound, certificate = BOUNDS.told(BOUNDS.spec(made_for.bound)), CERTIFICATES.name_of(made_for.certificate)
    recorded = f"{bound}, {certificate}, alpha {made_for.alpha:g}"
    return (
        f"{record.path} was counted for {recorded}. What another procedure says of the same votes holds at its level only "
        "if it was chosen before they were seen."
    )


def named(bound: Bound, certificate: Certificate) -> Procedure:
    """Return a procedure with its title in reports."""
    for known in (TIGHT, PAPER, _WITHOUT_SELECTION):
        if isinstance(bound, type(known.bound)) and certificate == known.certificate:
            return Procedure(known.title, bound, certificate)
    return Procedure(names_of(bound, certificate), bound, certificate)


def names_of(bound: Bound, certificate: Certificate) -> str:
    """Return the names that the command line has for a bound and a certificate."""
    return f"{BOUNDS.name_of(bound)}, {CERTIFICATES.name_of(certificate)}"


def analyse(
    records: Sequence[Record],
    *,
    alpha: float,
    names: Sequence[str] | None = None,
    radii: Sequence[float] | None = None,
    bound: Bound | None = None,
    certificate: Certificate | None = None,
    beside: Sequence[Procedure] = (),
) -> list[Analysis]:
    """Certify the votes of every record under one procedure, and under those drawn beside it, for one report.

    Args:
        records: each with at least one shard, all certified in the same norm.
        alpha: failure probability per image.
        names: one per record; None takes training objective and sigma, or else the folder's name. Where the data differ,
            the name of the data set follows each.
        radii: for the table; None uses round numbers up to the largest radius that the votes can certify.
        bound: from votes to probabilities; None is that for which the votes of each record were counted.
        certificate: from probabilities to a radius; None likewise.
        beside: further procedures, such as `PAPER`.

    Raises:
        RunError: a record without votes, or with damaged ones.
        InvalidInputError: alpha outside (0, 1), no record, records of different norms, or a bound that needs selection
            votes where a record has none.
    """
    norms = {record.noise.norm for record in records}
    if len(norms) != 1:
        raise InvalidInputError(
            "runs",
            required="at least one, all certified in the same norm",
            got=f"norms {', '.join(sorted(norms)) or 'none'}",
            remedy="Report runs of different norms separately: their radii cannot be compared.",
        )
    # of each record the main procedure first, and each once
    ways = [tuple(dict.fromkeys((procedure_of(record, bound, certificate), *beside))) for record in records]
    for record, its in zip(records, ways, strict=True):
        for each in its:
            _require_decidable(record, each, alpha)
    widest = max(largest_radius(record, each, alpha) for record, its in zip(records, ways, strict=True) for each in its)
    analyses = []
    for entry, its in zip(entries(records, names), ways, strict=True):
        votes = entry[-1].read()
        curves = tuple(_curve(entry[-1], each, votes, alpha, radii, widest) for each in its)
        analyses.append(Analysis(*entry, votes, alpha, curves))
    return analyses


def analyse_procedure(
    record: Record, procedure: Procedure, *, alpha: float, radii: Sequence[float] | None = None
) -> tuple[VoteTable, Curve]:
    """Certify the votes of one record under one procedure; arguments and errors as `analyse`."""
    _require_decidable(record, procedure, alpha)
    votes = record.read()
    return votes, _curve(record, procedure, votes, alpha, radii, largest_radius(record, procedure, alpha))


def _require_decidable(record: Record, procedure: Procedure, alpha: float) -> None:
    needed = samples_needed(procedure.bound, alpha, record.settings.num_classes)
    require_enough_samples(record.settings.samples, needed, alpha)


def _curve(
    record: Record,
    procedure: Procedure,
    votes: VoteTable,
    alpha: float,
    radii: Sequence[float] | None,
    widest: float,
) -> Curve:
    table = np.asarray(table_radii(widest) if radii is None else radii, dtype=np.float64)
    grid = np.linspace(0.0, 1.05 * widest, _CURVE_POINTS)
    certified = record.certify(alpha=alpha, bound=procedure.bound, certificate=procedure.certificate, table=votes)
    whole, of = len(votes) == len(record.settings.indices), images_of_file(record, len(votes))
    return Curve(
        procedure,
        certified,
        grid,
        certified_accuracy(certified, votes.label, grid),
        summarise(certified, votes.label, table, alpha=alpha, of=of, whole=whole),
        largest_radius(record, procedure, alpha),
    )


def images_of_file(record: Record, counted: int) -> int | None:
    """Return how many images the file has of which a record holds all, or a whole random subset; else None."""
    return record.images_of_file if counted == len(record.settings.indices) else None


def largest_radius(record: Record, procedure: Procedure, alpha: float) -> float:
    """Return the radius of unanimous votes: no image can get a larger one with this n, alpha and procedure."""
    unanimous = np.zeros((1, record.settings.num_classes), dtype=np.int64)
    unanimous[0, 0] = record.settings.samples
    found = procedure.bound(unanimous, alpha=alpha, selection_votes=unanimous)
    return float(procedure.certificate.radius(record.noise, found.p1_lower, found.p2_upper)[0])


def table_radii(widest: float) -> list[float]:
    """Return round radii up to the largest, or fractions of it."""
    chosen = [radius for radius in _TABLE_RADII if radius <= widest]
    return chosen if len(chosen) > 1 else [0.0, *(float(round_down(widest * part, 2)) for part in (0.25, 0.5, 0.75))]
