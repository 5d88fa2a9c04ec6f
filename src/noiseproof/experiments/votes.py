"""Recipes of votes: a number fixed beforehand, and votes that stop once it is decided whether a radius is certified.

DIR/mnist/stn-0.7               10 000 votes on every tenth image
DIR/mnist/stn-0.7/radius-1.58   sequential votes on the same; -runner-up goes before
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noiseproof.errors import RunError
from noiseproof.experiments.networks import RELEASED_DIGEST, Network
from noiseproof.experiments.recipes import Missing, Recipe, Step, require, require_whole
from noiseproof.noises import Gaussian
from noiseproof.runs.records import Record, VoteTable
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.storage.provenance import same_model

__all__ = ["ALPHA", "FixedVotes", "Run", "SequentialVotes", "find_runs"]

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

    def differs(self, other: "Run") -> str:
        """Return in what the run differs from another one but seed and objective, in words; empty if in nothing."""
        one, two = self.record.settings, other.record.settings
        trainings = [
            {name: value for name, value in run.training.items() if name != "objective"} for run in (self, other)
        ]
        unlike = {
            "images": one.indices != two.indices,
            "data": dict(one.data) != dict(two.data),
            "votes": (one.samples, one.selection_samples) != (two.samples, two.selection_samples),
            "precision": _precision(self) != _precision(other),
            "training": trainings[0] != trainings[1],
        }
        return ", ".join(name for name, is_unlike in unlike.items() if is_unlike)

    @property
    def training(self) -> dict[str, Any]:
        """All settings of its training but the seed, and the network that it began with, if any."""
        about = self.record.about.get("training", {})
        settings = {"start": about.get("start")} | about.get("settings", {})
        return {name: value for name, value in settings.items() if name != "seed" and value is not None}


def _precision(run: Run) -> str | None:
    engine = run.record.settings.engine
    return engine.get("precision") if engine else None


@dataclass(frozen=True)
class FixedVotes(Recipe[Run]):
    """Fixed votes on a network of one seed.

    Attributes:
        network: which.
        seed: of training.
        beside: runs of other seeds, whose images, number of votes, precision and training these must have: a band over
            seeds varies by seeds alone.
    """

    network: Network
    seed: int = 0
    beside: tuple[Run, ...] = ()

    configuration = Record.configuration

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
            settings = self.beside[0].record.settings
            votes = ["--every", str(settings.step), "--samples", str(settings.samples)]
            votes += ["--selection-samples", str(settings.selection_samples)]
            precision = _precision(self.beside[0]) or "auto"
        options = [*self.network.options(self.seed), *_of_precision(precision), *votes]
        cost = (60.0, "an H100") if self.network.data == "mnist" else None
        certifying = Step(("noiseproof", "certify", str(run), *options), run, cost)
        return [*self.network.making(records, self.seed), certifying]

    def read(self, path: Path) -> Run:
        """Read a record of this network."""
        record = Record.open(path)
        require(path, self._facts(record))
        require_whole(record)
        run = Run(self.network, self.seed, record, record.read())
        self._require_beside(run)
        return run

    def _facts(self, record: Record) -> Iterator[tuple[str, object, object]]:
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

    def _require_beside(self, run: Run) -> None:
        if not self.beside:
            return
        first, path = self.beside[0], str(run.record.path)
        if unlike := first.differs(run):
            raise RunError(
                path,
                required=f"of the {unlike} of {first.record.path}, to be a seed beside it",
                got=f"of other {unlike}",
                remedy="Move it away, and make it by the same training, --every, --limit, --samples, --selection-samples "
                "and --precision.",
            )
        for other in self.beside:
            if other.record.settings.model["digest"] == run.record.settings.model["digest"]:
                raise RunError(
                    path,
                    required="of a network of its own",
                    got=f"the weights of {other.record.path}",
                    remedy="One network under two names is no second seed: train another.",
                )


@dataclass(frozen=True)
class SequentialVotes(Recipe[SequentialRecord]):
    """Votes that stop once it is decided whether a radius is certified, on the images of a run.

    Attributes:
        network: which.
        seed: of training.
        radius: that is decided.
        run: the fixed votes on the same network; None where they are missing, and nothing can be read.
        kind: of the folder: "-runner-up" where winner and runner-up decide, which goes before the winner alone.
    """

    network: Network
    seed: int
    radius: float
    run: Run | None = None
    kind: str = "-runner-up"

    configuration = SequentialRecord.configuration

    @property
    def title(self) -> str:
        """The network and the radius."""
        return f"{self.network.title}, sequential votes at {self.radius:g}"

    @property
    def folder(self) -> str:
        """In that of the fixed votes, as `noiseproof certify --radius` names it."""
        return f"{self.network.folder(self.seed)}/radius-{self.radius:g}{self.kind}"

    def steps(self, records: Path) -> list[Step]:
        """Train, where that is needed, and certify until the radius is decided."""
        run, every, precision = records / self.network.folder(self.seed), _EVERY, self.network.precision
        if self.run is not None:
            every, precision = self.run.record.settings.step, _precision(self.run) or "auto"
        command = ["noiseproof", "certify", str(run), "--radius", repr(self.radius), "--runner-up"]
        command += ["--samples", str(_MOST), *self.network.options(self.seed)]
        command += [*_of_precision(precision), "--every", str(every)]
        deciding = Step(tuple(command), records / self.folder, (135.0, "an H100"))
        return [*self.network.making(records, self.seed), deciding]

    def beside(self, records: Path) -> "SequentialVotes":
        """Return the recipe of the record that is there: by winner and runner-up, or else by the winner alone."""
        alone = replace(self, kind="")
        both = [recipe for recipe in (self, alone) if (records / recipe.folder / self.configuration).exists()]
        return both[0] if both else self

    def read(self, path: Path) -> SequentialRecord:
        """Read a record of the run's network, noise and images that decides this radius at `ALPHA`."""
        record = SequentialRecord.open(path)
        if self.run is None:
            raise RunError(
                str(path),
                required="beside the fixed votes on the same network",
                got="no such record that can be used",
                remedy="Make that one first.",
            )
        own, settings, procedure = self.run.record.settings, record.settings, record.settings.procedure
        facts: list[tuple[str, object, object]] = [
            ("network", own.model["digest"], settings.model.get("digest")),
            ("model", True, same_model(own.model, settings.model)),
            ("noise", dict(own.noise), dict(settings.noise)),
            ("data", dict(own.data), dict(settings.data)),
            ("images", list(own.indices), list(settings.indices)),
            ("radii", [self.radius], list(procedure.get("radii", []))),
            ("alpha", ALPHA, procedure["alpha"]),
        ]
        require(path, facts)
        require_whole(record)
        return record


def _of_precision(precision: str) -> list[str]:
    return [] if precision == "auto" else ["--precision", precision]


def find_runs(network: Network, records: Path) -> tuple[list[Run], list[Missing]]:
    """Read the records of a network's seeds that can be used together, further ones than are wanted too; name the others."""
    pattern = re.compile(rf"{re.escape(network.name)}-seed([1-9]\d*)")
    places = (records / network.data).glob(f"{network.name}-seed*/{Record.configuration}")
    there = {int(match[1]) for place in places if (match := pattern.fullmatch(place.parent.name))}
    runs: list[Run] = []
    missing: list[Missing] = []
    for seed in sorted({*network.seeds, *there}):
        found = FixedVotes(network, seed, tuple(runs)).find(records)
        if isinstance(found, Missing):
            missing.append(found)
        else:
            runs.append(found)
    return runs, missing
