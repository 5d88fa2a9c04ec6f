"""Recipes of votes: a number fixed beforehand, and votes that stop once it is decided whether a radius is certified.

DIR/mnist/stn-0.7               10 000 votes on every tenth image
DIR/mnist/stn-0.7/radius-1.58   sequential votes on the same; -runner-up goes before
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from noiseproof.experiments.networks import RELEASED_DIGEST, Network
from noiseproof.experiments.recipes import NOT_THERE, Facts, Missing, Reader, Recipe, Step
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
    return record.settings.engine.get("precision") if record.settings.engine else None


@dataclass(frozen=True)
class FixedVotes(Recipe[Record]):
    """Fixed votes on a network of one seed.

    Attributes:
        network: which.
        seed: of training.
        beside: records of other seeds, whose images, number of votes, precision and training these must have: a band
            over seeds varies by seeds alone.
    """

    network: Network
    seed: int = 0
    beside: tuple[Record, ...] = ()

    configuration = Record.configuration
    open = staticmethod(Record.open)

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
        run, precision, votes = records / self.folder, self.network.precision, ["--every", str(_EVERY)]
        if self.beside:
            settings, precision = self.beside[0].settings, _precision(self.beside[0]) or "auto"
            votes = ["--every", str(settings.step), "--samples", str(settings.samples)]
            votes += ["--selection-samples", str(settings.selection_samples)]
        command = ["noiseproof", "certify", str(run), *self.network.options(self.seed, precision), *votes]
        cost = (60.0, "an H100") if self.network.data == "mnist" else None
        return [*self.network.making(records, self.seed), Step(tuple(command), run, cost)]

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
class SequentialVotes(Recipe[SequentialRecord]):
    """Votes that stop once it is decided whether a radius is certified, on the images of a record of fixed votes.

    Attributes:
        network: which.
        seed: of training.
        radius: that is decided.
        fixed: the fixed votes on the same network; None where they are missing, and nothing can be read.
        kind: of the folder: "-runner-up" where winner and runner-up decide, which goes before the winner alone.
    """

    network: Network
    seed: int
    radius: float
    fixed: Record | None = None
    kind: str = "-runner-up"

    configuration = SequentialRecord.configuration
    open = staticmethod(SequentialRecord.open)

    @property
    def title(self) -> str:
        """The network and the radius."""
        return f"{self.network.title}, sequential votes at {round_down(self.radius, None)}"

    @property
    def folder(self) -> str:
        """In that of the fixed votes, as `noiseproof certify --radius` names it."""
        return f"{self.network.folder(self.seed)}/radius-{self.radius:g}{self.kind}"

    def steps(self, records: Path) -> list[Step]:
        """Train, where that is needed, and certify until the radius is decided."""
        run, every, precision = records / self.network.folder(self.seed), _EVERY, self.network.precision
        if self.fixed is not None:
            every, precision = self.fixed.settings.step, _precision(self.fixed) or "auto"
        command = ["noiseproof", "certify", str(run), "--radius", repr(self.radius), "--runner-up"]
        command += ["--samples", str(_MOST), *self.network.options(self.seed, precision), "--every", str(every)]
        step = Step(tuple(command), records / self.folder, (135.0, "an H100"))
        return [*self.network.making(records, self.seed), step]

    def facts(self, record: SequentialRecord) -> Facts:
        """Network, noise and images of the fixed votes; this radius, decided at `ALPHA`."""
        yield "fixed votes beside it", True, self.fixed is not None
        if self.fixed is None:
            return
        own, settings, rule = self.fixed.settings, record.settings, record.settings.procedure
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
    runs: list[Run] = []
    for seed in sorted({*network.seeds, *there}):
        found = reader.find(FixedVotes(network, seed, tuple(run.record for run in runs)))
        if found is not None:
            runs.append(Run(network, seed, found, found.read()))
    reader.sources |= {str(run.record.path): run for run in runs}
    return runs


def find_decided(
    network: Network, radius: float, runs: list[Run], reader: Reader, *, wanted: bool
) -> list[SequentialRecord]:
    """Return the sequential votes at a radius of every seed, by winner and runner-up or else by the winner; or none.

    What does not fit is missing, and so is what is not there if it is `wanted`.
    """
    found: list[SequentialRecord] = []
    fixed = {run.seed: run.record for run in runs}
    for seed in fixed or network.seeds:
        recipes = [SequentialVotes(network, seed, radius, fixed.get(seed), kind) for kind in ("-runner-up", "")]
        there = (each for each in recipes if (reader.folder / each.folder / each.configuration).exists())
        record = next(there, recipes[0]).find(reader.folder)
        if not isinstance(record, Missing):
            found.append(record)
        elif wanted or record.why != NOT_THERE:
            reader.miss(record)
    if len(found) < len(runs):
        return []
    if any(record.settings.procedure != found[0].settings.procedure for record in found):
        what = f"{network.title}, sequential votes at {round_down(radius, None)}"
        reader.miss(Missing(what, "those of the seeds were stopped by different rules"))
        return []
    reader.sources |= {str(record.path): record for record in found}
    return found
