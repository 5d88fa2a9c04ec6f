"""Recipes of votes: of a fixed number, and sequential until it is decided whether a radius is certified.

DIR/mnist/stn-0.7               10 000 votes on every tenth image
DIR/mnist/stn-0.7/radius-1.58   sequential votes on the same images; the folder with -runner-up takes precedence
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
from noiseproof.runs.identity import differences
from noiseproof.runs.records import Record, VoteTable
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.storage.provenance import same_model

__all__ = ["ALPHA", "FixedVotes", "Run", "SequentialVotes", "find_decided", "find_runs", "known_seeds"]

ALPHA = 0.001
"""Our failure probability per image."""

_EVERY = 10
_MOST = 1_000_000
"""Cap of sequential votes per image."""


@dataclass(frozen=True)
class Run:
    """A record of fixed votes with its rows.

    Attributes:
        network: the network.
        seed: its training seed.
        record: the record.
        votes: the rows of the record.
    """

    network: Network
    seed: int
    record: Record
    votes: VoteTable


def known_seeds(runs: Sequence[Run]) -> tuple[int, ...]:
    """Return the training seeds; none for a network with an unpublished seed or an ensemble, which has several."""
    return tuple(run.seed for run in runs if run.network.has_seed)


@dataclass(frozen=True)
class _Votes(Recipe[Found]):
    """Votes on a network of one training seed.

    Attributes:
        network: the network.
        seed: its training seed.
        beside: fixed votes with whose images and precision these are counted.
    """

    network: Network
    seed: int = 0

    def _certify(self, records: Path, seconds: float, first: Mapping[str, Any], last: Mapping[str, Any]) -> list[Step]:
        """Train if necessary and certify, with options before and after those that all votes share."""
        every, precision = _EVERY, None
        if self.beside:
            own = self.beside[0].settings
            every, precision = own.step, (own.engine or {}).get("precision", "auto")
        options = {**first, **self.network.options(self.seed, precision), "every": every, **last}
        run, cost = records / self.network.folder(self.seed), self.network.cost(seconds)
        certify = Step.of(records / self.folder, "certify", run, cost=cost, **options)
        return [*self.network.making(records, self.seed), certify]


@dataclass(frozen=True)
class FixedVotes(_Votes[Record]):
    """A fixed number of votes on a network of one training seed; `beside` are those of other seeds.

    Images, number of votes, precision and training must be the same: the band over seeds shows the seeds alone.
    """

    record = Record

    @property
    def title(self) -> str:
        """Network, data set and training seed."""
        return f"{self.network.title}, {self.network.data}" + ("" if self.network.released else f", seed {self.seed}")

    @property
    def folder(self) -> str:
        """The folder of the network."""
        return self.network.folder(self.seed)

    def steps(self, records: Path) -> list[Step]:
        """Train if necessary, and certify."""
        own = self.beside[0].settings if self.beside else None
        same = {} if own is None else {"samples": own.samples, "selection_samples": own.selection_samples}
        return self._certify(records, 60.0, {}, same)

    def facts(self, record: Record) -> Facts:
        """Compare network, noise and data, whether there is a selection phase, and the records of other seeds."""
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
            yield f"differences from {other.path}", "none", differences(other, record) or "none"
        same = [other.path for other in self.beside if other.settings.model["digest"] == settings.model["digest"]]
        yield "records of other seeds with the same weights", [], same


@dataclass(frozen=True)
class SequentialVotes(_Votes[SequentialRecord]):
    """Sequential votes until a radius is decided (`CertifyRadii`), on the images of the fixed votes in `beside`.

    Attributes:
        radius: the l2 radius.
        runner_up: whether winner and runner-up decide; else the winner alone.
    """

    radius: float = field(kw_only=True)
    runner_up: bool = True

    record = SequentialRecord

    @property
    def title(self) -> str:
        """Network and radius."""
        return f"{self.network.title}, sequential votes at {round_down(self.radius, None)}"

    @property
    def folder(self) -> str:
        """The folder that `noiseproof certify --radius` makes, inside that of the fixed votes."""
        return f"{self.network.folder(self.seed)}/radius-{self.radius:g}" + ("-runner-up" if self.runner_up else "")

    def steps(self, records: Path) -> list[Step]:
        """Train if necessary, and certify until winner and runner-up decide the radius."""
        return self._certify(records, 135.0, {"radius": self.radius, "runner_up": True, "samples": _MOST}, {})

    def facts(self, record: SequentialRecord) -> Facts:
        """Compare network, noise and images with the fixed votes, and the rule: this radius at `ALPHA`."""
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
    """Read the records of all seeds of a network that can be compared, also of seeds that no figure asks for."""
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
    """Return the sequential votes at a radius, of every seed or of none: by winner and runner-up, or by the winner alone.

    Records that do not fit are noted as missing, and if `wanted` those that do not exist as well.
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
