"""Recipes of votes: a number fixed beforehand, and votes that stop once it is decided whether a radius is certified.

DIR/mnist/stn-0.7               10 000 votes on every tenth image
DIR/mnist/stn-0.7/radius-1.58   sequential votes on the same; -runner-up goes before
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from noiseproof.experiments.networks import RELEASED_DIGEST, Network
from noiseproof.experiments.recipes import NOT_THERE, Facts, Found, Missing, Reader, Recipe, Step
from noiseproof.noises import Gaussian
from noiseproof.numerics.decimals import round_down
from noiseproof.runs.records import Record, VoteTable
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.storage.provenance import same_model

__all__ = ["ALPHA", "FixedVotes", "Run", "SequentialVotes", "find_decided", "find_runs", "known_seeds", "unlike"]

ALPHA = 0.001
"""Failure probability per image, ours."""

_EVERY = 10
_MOST = 1_000_000
"""Votes that an image may get where they are sequential."""


@dataclass(frozen=True)
class Run:
    """One record of fixed votes, read.

    Attributes:
        network: whose.
        seed: of its training.
        record: where the votes are from.
        votes: its rows.
    """

    network: Network
    seed: int
    record: Record
    votes: VoteTable


def known_seeds(runs: Sequence[Run]) -> tuple[int, ...]:
    """Return the seeds of runs; none for a network whose seed is unpublished, and for an ensemble, which has several."""
    return tuple(run.seed for run in runs if run.network.has_seed)


def unlike(one: Record, other: Record) -> str:
    """Return in what two records differ but seed and objective, in words; empty if in nothing."""
    first, second = _in_common(one), _in_common(other)
    return ", ".join(name for name in first if first[name] != second[name])


def _in_common(record: Record) -> dict[str, object]:
    """Return what records that are compared must have in common: of the training all settings but seed and objective."""
    settings, about = record.settings, record.about.get("training", {})
    training = {"start": about.get("start")} | about.get("settings", {})
    return {
        "images": settings.indices,
        "data": dict(settings.data),
        "votes": (settings.samples, settings.selection_samples),
        "precision": _precision(record),
        "training": {
            key: value for key, value in training.items() if key not in {"seed", "objective"} and value is not None
        },
    }


def _precision(record: Record) -> str | None:
    return (record.settings.engine or {}).get("precision")


@dataclass(frozen=True)
class _Votes(Recipe[Found]):
    """Votes on a network of one seed.

    Attributes:
        network: which.
        seed: of training.
        beside: fixed votes, whose images and precision these must have.
    """

    network: Network
    seed: int = 0

    def _certify(self, records: Path, seconds: float, first: Mapping[str, Any], last: Mapping[str, Any]) -> list[Step]:
        """Train, where that is needed, and certify; `first` and `last` stand before and after the options of all votes."""
        every, precision = _EVERY, self.network.precision
        if self.beside:
            every, precision = self.beside[0].settings.step, _precision(self.beside[0]) or "auto"
        options = {**first, **self.network.options(self.seed, precision), "every": every, **last}
        run, cost = records / self.network.folder(self.seed), self.network.cost(seconds)
        certify = Step.of(records / self.folder, "certify", run, cost=cost, **options)
        return [*self.network.making(records, self.seed), certify]


@dataclass(frozen=True)
class FixedVotes(_Votes[Record]):
    """Fixed votes on a network of one seed; `beside` are those of other seeds.

    They must have their number of votes and their training, too: a band over seeds varies by seeds alone.
    """

    record = Record

    @property
    def title(self) -> str:
        """The network, its data set and its seed."""
        return f"{self.network.title}, {self.network.data}" + ("" if self.network.released else f", seed {self.seed}")

    @property
    def folder(self) -> str:
        """That of the network."""
        return self.network.folder(self.seed)

    def steps(self, records: Path) -> list[Step]:
        """Train, where that is needed, and certify."""
        own = self.beside[0].settings if self.beside else None
        same = {} if own is None else {"samples": own.samples, "selection_samples": own.selection_samples}
        return self._certify(records, 60.0, {}, same)

    def facts(self, record: Record) -> Facts:
        """Network, noise, data; a selection phase; and what it has in common with the records beside it."""
        settings, network, noise = record.settings, self.network, record.noise
        yield "data set", network.data, settings.data["name"]
        yield "split", "test", settings.data.get("split")
        found = f"Gaussian(sigma={noise.sigma:.6g})" if isinstance(noise, Gaussian) else repr(noise)
        yield "noise", f"Gaussian(sigma={network.sigma:.6g})", found
        if network.released:
            yield "the weights that the authors released, digest", RELEASED_DIGEST, settings.model["digest"]
        else:
            yield from network.trained_as_said(record.about.get("training", {}), self.seed)
        yield "selection votes", True, settings.selection_samples > 0
        for other in self.beside[:1]:
            yield f"differences from {other.path}", "none", unlike(other, record) or "none"
        same = [other.path for other in self.beside if other.settings.model["digest"] == settings.model["digest"]]
        yield "records of other seeds with the same weights", [], same


@dataclass(frozen=True)
class SequentialVotes(_Votes[SequentialRecord]):
    """Votes that stop once it is decided whether a radius is certified; nothing is read without fixed ones beside them.

    Attributes:
        radius: that is decided.
        runner_up: whether winner and runner-up decide, which goes before the winner alone.
    """

    radius: float = field(kw_only=True)
    runner_up: bool = True

    record = SequentialRecord

    @property
    def title(self) -> str:
        """The network and the radius."""
        return f"{self.network.title}, sequential votes at {round_down(self.radius, None)}"

    @property
    def folder(self) -> str:
        """In that of the fixed votes, as `noiseproof certify --radius` names it."""
        return f"{self.network.folder(self.seed)}/radius-{self.radius:g}" + ("-runner-up" if self.runner_up else "")

    def steps(self, records: Path) -> list[Step]:
        """Train, where that is needed, and certify until the radius is decided, by winner and runner-up."""
        rule = {"radius": self.radius, "runner_up": True, "samples": _MOST}
        return self._certify(records, 135.0, rule, {})

    def facts(self, record: SequentialRecord) -> Facts:
        """Network, noise and images of the fixed votes; this radius, decided at `ALPHA`."""
        yield "fixed votes beside it", True, bool(self.beside)
        settings, rule = record.settings, record.settings.procedure
        for own in (fixed.settings for fixed in self.beside):
            yield "network", own.model["digest"], settings.model.get("digest")
            yield "model", True, same_model(own.model, settings.model)
            yield "noise", dict(own.noise), dict(settings.noise)
            yield "data", dict(own.data), dict(settings.data)
            yield "images", list(own.indices), list(settings.indices)
        yield "radii", [self.radius], list(rule.get("radii", []))
        yield "alpha", ALPHA, rule["alpha"]


def find_runs(network: Network, reader: Reader) -> list[Run]:
    """Read the records of a network's seeds that can be used together, further ones than are wanted too."""
    pattern = re.compile(rf"{re.escape(network.name)}-seed([1-9]\d*)")
    places = (reader.folder / network.data).glob(f"{network.name}-seed*/{Record.configuration}")
    there = {int(match[1]) for place in places if (match := pattern.fullmatch(place.parent.name))}
    found = reader.find_alike({seed: FixedVotes(network, seed) for seed in sorted({*network.seeds, *there})})
    runs = [Run(network, seed, record, record.read()) for seed, record in found.items()]
    reader.sources |= {str(run.record.path): run for run in runs}
    return runs


def find_decided(
    network: Network, radius: float, runs: list[Run], reader: Reader, *, wanted: bool
) -> list[SequentialRecord]:
    """Return the sequential votes at a radius of every seed, by winner and runner-up or else by the winner; or none.

    What does not fit is missing, and so is what is not there if it is `wanted`.
    """
    found: list[SequentialRecord] = []
    fixed = {run.seed: (run.record,) for run in runs}
    for seed in fixed or network.seeds:
        by_two = SequentialVotes(network, seed, radius=radius, beside=fixed.get(seed, ()))
        recipes = (by_two, replace(by_two, runner_up=False))
        record = next((each for each in recipes if each.exists(reader.folder)), by_two).find(reader.folder)
        if not isinstance(record, Missing):
            found.append(record)
        elif wanted or record.why != NOT_THERE:
            reader.miss(record)
    if len(found) < len(runs):
        return []
    if any(record.settings.procedure != found[0].settings.procedure for record in found):
        reader.miss(Missing(by_two.title, "those of the seeds were stopped by different rules"))
        return []
    reader.sources |= {str(record.path): record for record in found}
    return found
