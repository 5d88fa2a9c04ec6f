"""Accuracy under attack from records, and the certified accuracy of the same classifier beside it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from noiseproof.certified import Certified
from noiseproof.errors import InvalidInputError
from noiseproof.evaluation.certified_accuracy import certified_accuracy
from noiseproof.evaluation.robust_accuracy import RobustSummary, summarise_verdicts, worst_of
from noiseproof.perturbations.norms import Norm
from noiseproof.reports.analysis import procedure_of
from noiseproof.reports.figures import figure_svg
from noiseproof.reports.robustness import CertifiedCurve, Panel, RobustCurve, draw_robustness
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.records import Record
from noiseproof.storage.files import write_atomically
from noiseproof.storage.provenance import same_model

__all__ = [
    "certified_beside",
    "draw_attack",
    "found_verdicts",
    "other_engine",
    "summarise_attack",
    "worst_case",
]


def found_verdicts(record: AttackRecord) -> np.ndarray:
    """Return the verdicts of a record, (sizes, images), at the record's alpha."""
    return record.read_verdicts().verdicts


def summarise_attack(record: AttackRecord) -> RobustSummary:
    """Return the accuracy under the attack of a record, by its votes; without intervals (NaN) while images are missing.

    Raises:
        RunError: it has no votes, or they are damaged.
    """
    found = summarise_verdicts(found_verdicts(record), np.asarray(record.settings.sizes, dtype=np.float64))
    unknown = np.full_like(found.low, np.nan)
    return found if found.images == len(record.settings.indices) else replace(found, low=unknown, high=unknown)


def worst_case(records: Sequence[AttackRecord]) -> RobustSummary:
    """Return the accuracy under all attacks together: for each image the worst verdict of all attacks.

    Raises:
        InvalidInputError: no record, or of different classifiers, images or sizes.
        RunError: one has no votes, or damaged ones.
    """
    found = [record.read_verdicts() for record in records]
    compared = [
        (
            [str(record.settings.plain().get(key)) for key in ("model", "noise", "data", "norm", "sizes")],
            *(getattr(each, name).tolist() for name in ("index", "label")),
        )
        for record, each in zip(records, found, strict=True)
    ]
    if not records or any(one != compared[0] for one in compared):
        raise InvalidInputError(
            "attacks",
            required="at least one, all on the same images of one classifier, at the same sizes",
            got=[str(record.path) for record in records],
            remedy="Run them with the same norm=, epsilons=, every= and limit=.",
        )
    worst = worst_of([each.verdicts for each in found])
    return summarise_verdicts(worst, np.asarray(records[0].settings.sizes, dtype=np.float64))


def certified_beside(
    run: Path, attack: AttackRecord, sizes: Float[np.ndarray, " sizes"] | None = None
) -> Float[np.ndarray, " sizes"] | None:
    """Return the certified accuracy of the same classifier, noise and images at sizes in the attack's norm.

    By the tight procedure at the attack's alpha, from the certification record in `run`. An l_2 radius also covers the
    cube inside its ball, of size radius / sqrt(pixels) in l_inf.

    Args:
        run: the folder of the certification.
        attack: the record of the attack.
        sizes: None uses the attack's.

    Returns:
        The shares; None without a certification, or where it is of another classifier or noise, of fewer images, or in
        a norm that implies nothing about the attack's.

    Raises:
        RunError: one of the two records is damaged.
    """
    if not (run / Record.configuration).exists():
        return None
    record, settings = Record.open(run), attack.settings
    if (
        not same_model(record.settings.model, settings.model)
        or record.settings.data != settings.data
        or record.settings.noise != settings.noise
    ):
        return None
    scale = _radius_of_size(attack, record.noise.norm)
    if scale is None:
        return None
    votes, images = record.read(), np.asarray(attack.read_verdicts().index)
    if not set(images) <= set(votes.index):
        return None
    procedure = procedure_of(record)
    found = record.certify(alpha=settings.alpha, bound=procedure.bound, certificate=procedure.certificate, table=votes)
    rows = np.searchsorted(votes.index, images)
    chosen = Certified(
        found.prediction[rows], found.radius[rows], found.p1_lower[rows], found.p2_upper[rows], found.votes[rows], None
    )
    asked = np.asarray(settings.sizes if sizes is None else sizes, dtype=np.float64)
    return certified_accuracy(chosen, votes.label[rows], scale * asked)


def other_engine(run: Path, attack: AttackRecord) -> str | None:
    """Return in words the engines of the certification in `run` and of the attack; None if equal, or if one is unknown.

    A certificate is about the function that voted, rounding included. In another precision, with another calibration of
    int8 or on another kind of device a different function was attacked.
    """
    if not (run / Record.configuration).exists():
        return None
    certified, attacked = Record.open(run).settings.engine, attack.settings.engine
    if not certified or not attacked or dict(certified) == dict(attacked):
        return None
    names = sorted({*certified, *attacked})
    unlike = [name for name in names if certified.get(name) != attacked.get(name)]
    one, two = (", ".join(f"{name} {engine.get(name)}" for name in unlike) for engine in (certified, attacked))
    return f"certified with {one}; attacked with {two}"


def _radius_of_size(attack: AttackRecord, norm: Norm) -> float | None:
    """Return the least certified radius, in this norm, that covers an attack of size 1; None where none does."""
    if norm == attack.settings.norm:
        return 1.0
    shape = attack.image_shape() if (norm, attack.settings.norm) == (Norm.L2, Norm.LINF) else None
    return None if shape is None else math.sqrt(math.prod(shape))


def draw_attack(
    record: AttackRecord, title: str, summary: RobustSummary, certified: Float[np.ndarray, " sizes"] | None
) -> Path:
    """Draw the accuracy under one attack into its record and return the path of the picture."""
    curve = RobustCurve.of(title, summary)
    areas = [] if certified is None else [CertifiedCurve("the same classifier", summary.sizes, certified)]
    figure = draw_robustness([Panel(str(record.settings.model["name"]), record.settings.norm, [curve], areas)])
    picture = record.path / "attack.svg"
    write_atomically(picture, figure_svg(figure).encode())
    return picture
