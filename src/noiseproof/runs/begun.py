"""The certification that was begun in a folder, as a job that resumes it. Nothing heavy is loaded where there is none."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseproof.errors import InvalidInputError
from noiseproof.plugins import in_words
from noiseproof.runs.registry import CERTIFICATIONS, record_in, sequential_within

if TYPE_CHECKING:
    from noiseproof.runs.counts import CountVotes
    from noiseproof.runs.records import Record
    from noiseproof.runs.sequential import SequentialVotes
    from noiseproof.runs.sequential_records import SequentialRecord
    from noiseproof.sequential import StoppingRule

    Certification = CountVotes | SequentialVotes

__all__ = ["begun_certification", "certification", "job_of", "rule_settings", "what_is_taken"]

_BELONGS_TO = {
    "selection_samples": ("samples",),
    "bound": ("samples",),
    "radii": ("samples", "rtol"),
    "beta": ("radius", "rtol"),
    "runner_up": ("radius",),
}
"""Settings that not every stopping rule has: setting -> rules; "samples" stands for a number fixed beforehand."""


def begun_certification(place: Path, *, within: bool = False) -> "tuple[Path, Certification | None]":
    """Return where a certification was begun, and the job that it is; None where there is none.

    Args:
        place: its folder.
        within: whether a folder without a record, and without a network that was trained there, stands for the only
            sequential certification in it.

    Raises:
        InvalidInputError: there are several of those; or the record names what this version does not know.
        RunError: the record is damaged.
    """
    if (record := record_in(place, CERTIFICATIONS)) is not None:
        return place, job_of(record)
    inside = sequential_within(place) if within else []
    if not inside:
        return place, None
    if len(inside) > 1:
        raise InvalidInputError(
            str(place),
            required="one certification, to go on with it",
            got=", ".join(path.name for path in inside),
            remedy=f"Name one of them, such as {inside[0]}, or samples= for a number of votes fixed beforehand.",
        )
    return begun_certification(inside[0])


def job_of(record: "Record | SequentialRecord") -> "Certification":
    """Return the job that resumes a record of votes: `execute(job_of(record), record.path, subject)`."""
    from noiseproof.runs.counts import CountVotes
    from noiseproof.runs.records import Record
    from noiseproof.runs.sequential import SequentialVotes

    return CountVotes.of(record) if isinstance(record, Record) else SequentialVotes.of(record)


def certification(begun: "Certification | None", named: Mapping[str, Any]) -> "Certification":
    """Return the job that is named; what is not named is as in the one that was begun, or else as usual.

    Args:
        begun: that one.
        named: settings of a job or a stopping rule by name, and the fields of a selection. `radius` or
            `rtol` make it sequential; `samples` is then the most that an image gets. `radii` are those of the printed
            table, which only some rules have.

    Raises:
        InvalidInputError: two stopping rules, or a setting that the rule, named here or begun with, does not have.
    """
    from noiseproof.runs.counts import CountVotes
    from noiseproof.runs.job import Selection
    from noiseproof.runs.sequential import SequentialVotes

    _require_of_one_rule(begun, named)
    job = begun or CountVotes()
    before: dict[str, Any] = {} if {"every", "subset"} & named.keys() else vars(job.selection)
    common: dict[str, Any] = {
        "selection": Selection(**before | _some(named, "every", "limit", "part", "subset", "subset_seed"))
    }
    common |= _some(named, "seed")
    if isinstance(job, SequentialVotes):
        return replace(job, rule=_rule(job.rule, named), **common)
    if "radius" in named or "rtol" in named:
        return SequentialVotes(_rule(None, named), **common)
    procedure = _some(named, "samples", "selection_samples", "alpha", "bound", "certificate")
    return replace(job, **procedure, **common)


def _require_of_one_rule(begun: "Certification | None", named: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for two stopping rules, or a setting that the rule, named here or begun with, has not."""
    from noiseproof.bounds.registry import BOUNDS

    if "radius" in named and "rtol" in named:
        raise InvalidInputError(
            "radius",
            required="left out with rtol=",
            got=in_words(named["radius"]),
            remedy="radius= decides radii, rtol= estimates the radius: name one of the two.",
        )
    before = getattr(begun, "rule", None)
    kind = "samples" if before is None else "rtol" if "precision" in before.spec() else "radius"
    kind = next((name for name in ("radius", "rtol") if name in named), kind)
    for name, value in named.items():
        belongs = _BELONGS_TO.get(name, (kind,))
        if kind not in belongs:
            raise InvalidInputError(
                name,
                required=f"left out with {'a fixed number of votes' if kind == 'samples' else f'{kind}='}",
                got="the option" if value is True else BOUNDS.name_of(value) if name == "bound" else in_words(value),
                remedy=f"It belongs to {' and '.join(f'{each}=' for each in belongs)}.",
            )


def _rule(before: "StoppingRule | None", named: Mapping[str, Any]) -> "StoppingRule":
    """Return the stopping rule that is named; of one of the same kind before it has the settings that are not."""
    from noiseproof.sequential import CertifyRadii, EstimateRadius

    settings = _some(named, "alpha", "certificate", "beta", "runner_up", "rtol")
    settings |= {} if "radius" not in named else {"radii": named["radius"]}
    settings |= {} if "samples" not in named else {"max_samples": named["samples"]}
    same_kind = isinstance(before, EstimateRadius if "rtol" in named else CertifyRadii)
    if before is not None and (same_kind or not named.keys() & {"radius", "rtol"}):
        return replace(before, **settings)
    return EstimateRadius(**settings) if "rtol" in named else CertifyRadii(**settings)


def rule_settings(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record says of a stopping rule, by the names of options; what a rule does not have is None."""
    from noiseproof.certificates.registry import CERTIFICATES

    options = {"radius": "radii", "rtol": "precision", "runner_up": "runner_up", "samples": "cap"}
    said = {option: rule.get(key) for option, key in options.items()}
    made = CERTIFICATES.from_spec(rule["certificate"])
    return said | {"alpha": rule["alpha"], "beta": rule["beta"], "certificate": CERTIFICATES.name_of(made)}


def what_is_taken(begun: "Certification", named: Collection[str]) -> str:
    """Return the settings that a begun job keeps, those that are not named, in the words of the command line."""
    from noiseproof.bounds.registry import BOUNDS
    from noiseproof.certificates.registry import CERTIFICATES
    from noiseproof.runs.counts import CountVotes
    from noiseproof.runs.keys import plain_seed

    said: dict[str, Any]
    if isinstance(begun, CountVotes):
        made_for = begun.procedure
        said = {"samples": begun.samples, "selection_samples": begun.selection_samples, "alpha": begun.alpha}
        said |= {"bound": BOUNDS.name_of(made_for.bound), "certificate": CERTIFICATES.name_of(made_for.certificate)}
    else:
        said = rule_settings(begun.rule.spec())
    said |= {name: getattr(begun.selection, name) for name in ("every", "limit", "subset")} | {
        "seed": plain_seed(begun.seed)
    }
    left = {name: value for name, value in said.items() if name not in named and value is not False}
    return in_words({name.replace("_", "-"): value for name, value in left.items()})


def _some(named: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: named[name] for name in names if name in named}
