"""Run folders of noiseproof under the same check: nothing is claimed there but votes, so radii are computed from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.certified import ABSTAIN, Certified
from noiseproof.errors import RunError
from noiseproof.evaluation import failure_allowance, file_lower_bound
from noiseproof.evaluation.certified_accuracy import certified_accuracy
from noiseproof.numerics.decimals import percent
from noiseproof.published.check import RADII, Checked
from noiseproof.published.repeats import EqualCounts, equal_counts
from noiseproof.runs.records import Record, VoteTable
from noiseproof.runs.registry import CERTIFICATIONS, record_in
from noiseproof.runs.sequential_records import SequentialRecord

__all__ = ["CheckedRun", "check_run"]

_TIGHT = "neyman-pearson"


@dataclass(frozen=True, kw_only=True)
class CheckedRun(Checked):
    """A run folder, checked.

    Attributes:
        planned: the number of images chosen beforehand; statements are made once all are counted.
        natural: share of images whose label has the most votes.
        abstained: share of images without a certificate.
        certificate: from probabilities to radii, by name.
        accuracy: share of images right and certified at each radius, by certificate.
        equal: the test for equal counts; None where no separate votes chose the class, or their number was not fixed.
    """

    planned: int
    natural: float
    abstained: float
    certificate: str
    accuracy: dict[str, tuple[float, ...]]
    equal: EqualCounts | None

    @property
    def curves(self) -> dict[str, tuple[float, ...]]:
        """The certified shares by certificate."""
        return self.accuracy

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield what was found, for people."""
        yield "folder", f"{self.name}, {self.kind}"
        yield "images", f"{self.images}" if self.images == self.planned else f"{self.images} of {self.planned} so far"
        yield "natural accuracy", f"{percent(self.natural)}, abstained {percent(self.abstained)}"
        yield "claims", "none: radii are computed from the votes"
        if self.equal is not None:
            yield "equal counts", str(self.equal)
        yield from self.stated(f"that of {self.certificate}")

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""
        return self.common() | {
            "planned": self.planned,
            "natural_accuracy": self.natural,
            "abstained": self.abstained,
            "certificate": self.certificate,
        }


def check_run(path: Path, radii: Sequence[float] | None = None) -> CheckedRun:
    """Compute what the votes of a run folder prove, by the procedure that they were counted for.

    The tight certificate of the same bounds is added where the procedure has another.

    Args:
        path: a run folder of `noiseproof certify`.
        radii: where certified accuracy is computed; None takes `RADII` as far as anything is certified.

    Raises:
        RunError: no such record, or a damaged one.
    """
    record = record_in(path, CERTIFICATIONS)
    if record is None:
        raise RunError(
            str(path),
            required="a run folder with votes, or a file with a table, a list or JSON",
            got="a folder without votes" if path.exists() else "no such file or folder",
            remedy="Attacks, audits and verifications are shown by noiseproof inspect.",
        )
    missing, faults = record.missing()
    if faults:
        raise faults[0]
    table: VoteTable = record.read()
    found, alpha, certificate, others, kind = _certify(record, table)
    top = max(float(each.radius.max()) for each in (found, *others.values()))
    at = tuple(radius for radius in RADII if radius <= top) if radii is None else tuple(radii)
    accuracy = {
        name: tuple(certified_accuracy(each, table.label, np.array(at, dtype=np.float64)).tolist())
        for name, each in {certificate: found, **others}.items()
    }
    images, whole, population = len(table), not missing, None
    of = record.images_of_file if whole and isinstance(record, Record) else None
    if of is not None:
        right = np.rint(np.array(accuracy[certificate]) * images).astype(np.int64)
        population = tuple(file_lower_bound(right, images, of, alpha).tolist())
    return CheckedRun(
        name=str(path),
        kind=kind,
        images=images,
        radii=at,
        alpha=alpha if whole else None,
        allowance=failure_allowance(images, alpha) if whole else None,
        population=population,
        planned=len(record.settings.indices),
        natural=float((table.votes.argmax(-1) == table.label).mean()),
        abstained=float((found.prediction == ABSTAIN).mean()),
        certificate=certificate,
        accuracy=accuracy,
        equal=_equal(table),
    )


def _certify(
    record: Record | SequentialRecord, table: VoteTable
) -> tuple[Certified, float, str, dict[str, Certified], str]:
    """What votes prove, at which alpha, by which certificate, by the tight one if it is another, and what they are."""
    if isinstance(record, SequentialRecord):
        rule = record.settings.procedure
        name = CERTIFICATES.name_of(CERTIFICATES.from_spec(rule["certificate"]))
        return record.certify(table), float(rule["alpha"]), name, {}, "counts at the stopping time"
    made_for = record.procedure
    name = CERTIFICATES.name_of(made_for.certificate)
    tight = {} if name == _TIGHT else {_TIGHT: record.certify(certificate=CERTIFICATES.make(_TIGHT), table=table)}
    return record.certify(table=table), made_for.alpha, name, tight, f"{record.settings.samples} votes an image"


def _equal(table: VoteTable) -> EqualCounts | None:
    """Test the counts of the classes that the selection votes chose."""
    if table.selection_votes is None or table.certifying is not None:
        return None
    chosen = table.selection_votes.argmax(-1)
    counts = np.take_along_axis(table.votes, chosen[:, None], axis=1)[:, 0]
    return equal_counts(counts, counts, int(table.votes[0].sum()))
