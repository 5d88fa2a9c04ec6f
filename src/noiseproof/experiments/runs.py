"""Records that Table 1 and Figure 1 are made of: where they lie, of which networks they must be, what makes them.

    DIR/mnist/stn-0.7               votes on a network of stability training, sigma 0.7, seed 0: figures 3, 4 and 6 attack it
    DIR/mnist/stn-0.7/radius-1.58   votes on it that stopped by themselves, for Table 1; optional; -runner-up goes before
    DIR/mnist/stn-0.7-seed1         votes on the same of seed 1, and so on; more seeds than are wanted are taken too
    DIR/mnist/gaussian-0.7          votes on a network of Gaussian augmentation
    DIR/mnist/smoothadv-0.6         votes on the network for Table 1's radius, beyond the paper
    DIR/mnist/ensemble-0.6          votes on four such networks as one
    DIR/mnist/smoothadv-long-0.6-at-0.55   votes under sigma .55 on one that was trained longer, at .6
    DIR/mnist/ensemble-early-0.6-at-0.55   the same on the four, of which the later ones are asked where the first are not sure
    DIR/cifar10/stn-0.392           sigma 100/255
    DIR/cifar10/stn-released        votes on the network that the paper's authors released
    DIR/mnist/kw-single             verified.json of reference [17], see `verified`; kw-cascade

A record counts as what it says of itself, never as what its folder is called: objective, sigma and seed of the training,
noise and data set of the votes. One that says something else is named as missing, and why.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseproof.errors import NoiseproofError, RunError
from noiseproof.models import shipped
from noiseproof.noises import Gaussian
from noiseproof.runs.records import Record, RecordSettings, VoteTable
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.storage.provenance import same_model
from noiseproof.training import CHECKPOINT

__all__ = ["CIFAR_SIGMA", "RELEASED_DIGEST", "Missing", "Network", "Run", "read_decided", "read_runs"]

CIFAR_SIGMA = 100 / 255

_EPOCHS = {"smoothadv": 18, "smoothadv-long": 50, "ensemble": 50, "ensemble-early": 50}
"""Of the networks of SmoothAdv with consistency, by the name of the folder: they go by how long they were trained."""

_SMOOTH_ADV: tuple[str, dict[str, Any]] = (
    "smooth-adv",
    {"name": "SmoothAdv", "consistency": 1.0, "epsilon": 1.0},
)

_OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "stn": ("stability", {"name": "Stability", "form": "paper", "weight": 1.0}),
    "gaussian": ("gaussian", {"name": "GaussianAugmentation"}),
    **dict.fromkeys(_EPOCHS, _SMOOTH_ADV),
}
"""By the name of the folder: the name on the command line, and what a training with it, or of each member, records."""

_ENSEMBLES: dict[str, dict[str, Any]] = {
    "ensemble": {"name": "Ensemble"},
    "ensemble-early": {"name": "Ensemble", "early_exit": 1.5},
}
"""By the name of the folder: what the making of an ensemble records."""

_MEMBERS = 4
"""Of an ensemble, of seeds 0, 1, 2 and 3."""

_RECIPES = {
    "mnist": "--schedule cosine --precision bf16 --batch-size 64 --epochs 12",
    "cifar10": "--schedule cosine --precision bf16 --epochs 150",
}

_LONG = (
    "--model lenet --set epsilon=1.0 --set steps=2 --set copies=2 --set consistency=1 --ramp-epochs 3 "
    "--schedule cosine --batch-size 256 --learning-rate 0.0015 --epochs 50 --average 0.998"
)

_OWN_RECIPES = dict.fromkeys(_EPOCHS, _LONG) | {
    "smoothadv": "--model lenet --set epsilon=1.0 --set steps=2 --set copies=2 --set consistency=1 --ramp-epochs 3 "
    "--schedule cosine --batch-size 128 --epochs 18 --average 0.999",
}
"""Of what the paper has not: by the name of the folder."""

_PRECISIONS = {"stn": "bf16", "gaussian": "bf16"} | dict.fromkeys(_EPOCHS, "fp32")
"""Of the votes, by the name of the folder: records are compared, and attacks stand beside them, in one precision."""

_RELEASED = "released"
RELEASED_DIGEST = "84486d01a1021329838e4b7048766249c363f7bd5721d68bc37785c5d356cc25"
"""`model_digest` of the weights that the authors released, read into PaperCIFAR."""


@dataclass(frozen=True)
class Missing:
    """What is not there, why, and the command that makes it."""

    what: str
    why: str
    command: str


@dataclass(frozen=True)
class Network:
    """A network of the paper's experiments.

    Attributes:
        data: the data set.
        kind: "stn" or "gaussian", by which it was trained here; "released" for the one that the authors released;
            "smoothadv", which goes beyond the paper (Salman et al. 2019, with the terms of Jeong & Shin 2020);
            "smoothadv-long", the same for 50 epochs; "ensemble", the mean of the logits of four of those;
            "ensemble-early", the same with early exit.
        sigma: of the noise, in training and in certification.
        seeds: of training; those that are wanted.
        trained: sigma of the noise in training, where it is another.
    """

    data: str
    kind: str
    sigma: float
    seeds: tuple[int, ...] = (0,)
    trained: float | None = None

    @property
    def title(self) -> str:
        """How figures call it."""
        names = {
            "stn": "STN",
            "gaussian": "without stability training",
            "smoothadv": "SmoothAdv with consistency",
            "smoothadv-long": "SmoothAdv with consistency, 50 epochs",
            "ensemble": f"{_MEMBERS} networks of SmoothAdv with consistency",
            "ensemble-early": f"{_MEMBERS} networks of SmoothAdv with consistency, early exit",
            _RELEASED: "STN, released by the authors",
        }
        trained = "" if self.trained is None else f", trained at {self.trained:g}"
        return f"{names[self.kind]}, sigma {self._sigma}{trained}"

    @property
    def _sigma(self) -> str:
        return "100/255" if self.sigma == CIFAR_SIGMA else f"{self.sigma:g}"

    @property
    def name(self) -> str:
        """Of its folder."""
        if self.kind == _RELEASED:
            return "stn-released"
        return f"{self.kind}-{self.trained_at:.3g}" + ("" if self.trained is None else f"-at-{self.sigma:.3g}")

    @property
    def trained_at(self) -> float:
        """Sigma of the noise in training."""
        return self.sigma if self.trained is None else self.trained

    def known(self, runs: "Sequence[Run]") -> tuple[int, ...]:
        """Return the seeds of training of runs of this network.

        None for the released one, whose seed nobody told, nor for an ensemble, whose members have each their own.
        """
        return () if self.kind in {_RELEASED, *_ENSEMBLES} else tuple(run.seed for run in runs)

    def folder(self, records: Path, seed: int) -> Path:
        """Where the record of a seed lies."""
        return records / self.data / (f"{self.name}-seed{seed}" if seed else self.name)

    def command(self, records: Path, seed: int, beside: RecordSettings | None = None) -> str:
        """Return the command that makes the record of a seed, after the one that trains the network where that is needed.

        Args:
            records: the folder.
            seed: of training.
            beside: of the record of another seed, whose images and votes this one must have.
        """
        run = self.folder(records, seed)
        certify = f"noiseproof certify {shlex.quote(str(run))}"
        precision = _PRECISIONS.get(self.kind, "auto")
        votes = " --every 10"
        if beside is not None:
            votes = f" --every {beside.step} --samples {beside.samples} --selection-samples {beside.selection_samples}"
            precision = beside.engine["precision"] if beside.engine else "auto"
        votes = ("" if precision == "auto" else f" --precision {precision}") + votes
        votes += "" if self.trained is None else f" --sigma {self.sigma!r}"
        if self.kind == _RELEASED:
            given = f"--model noiseproof.models:PaperCIFAR --weights model_cifar10 --data {self.data} --sigma {self.sigma!r}"
            return f"{certify} {given}{votes}"
        if seed == 0 and f"{self.data}-{self.name}" in shipped():
            return f"{certify} --model zoo:{self.data}-{self.name}{votes}"
        if (run / CHECKPOINT).exists():
            return f"{certify}{votes}"
        if self.kind not in _ENSEMBLES:
            return f"{self._training(seed, run)} && {certify}{votes}"
        return " && ".join([*self._combination(run), f"{certify}{votes}"])

    def deciding(self, run: "Run", radius: float, samples: int) -> str:
        """Return the command whose votes on a run's network stop when winner and runner-up have this radius, or have not."""
        settings = run.record.settings
        certify = f"noiseproof certify {shlex.quote(str(run.record.path))} --radius {radius!r} --runner-up --samples {samples}"
        if run.seed == 0 and f"{self.data}-{self.name}" in shipped():
            certify += f" --model zoo:{self.data}-{self.name}"
        precision = settings.engine["precision"] if settings.engine else "auto"
        certify += f" --every {settings.step}" + ("" if precision == "auto" else f" --precision {precision}")
        return certify + ("" if self.trained is None else f" --sigma {self.sigma!r}")

    def _combination(self, run: Path) -> list[str]:
        """The commands that make an ensemble's network: of the zoo's one of the same members, or of trainings."""
        place = f"{self.data}-ensemble-{self.trained_at:.3g}"
        trained = [run / f"member{member}" for member in range(_MEMBERS)]
        members = [f"zoo:{place}"] if place in shipped() else [str(path) for path in trained]
        training = [] if place in shipped() else [self._training(seed, path) for seed, path in enumerate(trained)]
        margin = _ENSEMBLES[self.kind].get("early_exit")
        option = [] if margin is None else ["--early-exit", str(margin)]
        return [*training, shlex.join(["noiseproof", "ensemble", *members, *option, "--out", str(run)])]

    def _training(self, seed: int, out: Path) -> str:
        train = (
            f"noiseproof train --data {self.data} --objective {_OBJECTIVES[self.kind][0]} --sigma {self.trained_at!r}"
        )
        return f"{train} --seed {seed} {_OWN_RECIPES.get(self.kind, _RECIPES[self.data])} --out {shlex.quote(str(out))}"


@dataclass(frozen=True)
class Run:
    """One record of a network, read.

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
        recipes = [{name: value for name, value in run.recipe.items() if name != "objective"} for run in (self, other)]
        unlike = {
            "images": one.indices != two.indices,
            "data": dict(one.data) != dict(two.data),
            "votes": (one.samples, one.selection_samples) != (two.samples, two.selection_samples),
            "precision": (one.engine or {}).get("precision") != (two.engine or {}).get("precision"),
            "training": recipes[0] != recipes[1],
        }
        return ", ".join(name for name, is_unlike in unlike.items() if is_unlike)

    @property
    def recipe(self) -> dict[str, Any]:
        """Of its training: all settings but the seed, and the network that it began with, if any."""
        training = self.record.about.get("training", {})
        settings = {"start": training.get("start")} | training.get("settings", {})
        return {name: value for name, value in settings.items() if name != "seed" and value is not None}


def read_runs(network: Network, records: Path) -> tuple[list[Run], list[Missing]]:
    """Read the records of a network's seeds that can be used together, and name the others.

    A band over seeds varies by seeds alone, so the records after the first must be of its images, number of votes,
    precision and training.
    """
    runs: list[Run] = []
    missing: list[Missing] = []
    for seed in sorted({*network.seeds, *_found_seeds(network, records)}):
        what = f"{network.title}, {network.data}" + ("" if network.kind == _RELEASED else f", seed {seed}")
        beside = runs[0].record.settings if runs else None
        path, command = network.folder(records, seed), network.command(records, seed, beside)
        if not (path / Record.configuration).exists():
            missing.append(Missing(what, "not there", command))
            continue
        try:
            run = _read(network, path, seed)
            _require_alike([*runs, run])
        except _UnfinishedError as error:
            made_by = Record.open(path).about.get("command")
            missing.append(Missing(what, str(error), command if made_by is None else shlex.join(made_by)))
        except NoiseproofError as error:
            missing.append(Missing(what, str(error), command))
        else:
            runs.append(run)
    return runs, missing


def read_decided(run: Run, radius: float) -> SequentialRecord | None:
    """Return the votes on a run's network that stopped when it was known whether this radius is certified.

    Looked for in the run's folder, under the names that `noiseproof certify --radius` gives, by winner and runner-up first;
    None where there are none.

    Raises:
        RunError: they are not whole, of another network, noise or data set, or decide something else.
    """
    places = [run.record.path / f"radius-{radius:g}{kind}" for kind in ("-runner-up", "")]
    path = next((place for place in places if (place / SequentialRecord.configuration).exists()), None)
    if path is None:
        return None
    record, own = SequentialRecord.open(path), run.record.settings
    settings, procedure = record.settings, record.settings.procedure
    _require(path, "network", own.model["digest"], settings.model.get("digest"))
    _require(path, "model", True, same_model(own.model, settings.model))
    _require(path, "noise", dict(own.noise), dict(settings.noise))
    _require(path, "data", dict(own.data), dict(settings.data))
    _require(path, "images", list(own.indices), list(settings.indices))
    _require(path, "radii", [radius], list(procedure.get("radii", [])))
    _require_whole(record)
    return record


class _UnfinishedError(RunError):
    """A record with shards that are missing or damaged: the command that made it goes on."""


def _found_seeds(network: Network, records: Path) -> set[int]:
    pattern = re.compile(rf"{re.escape(network.name)}-seed([1-9]\d*)")
    places = (records / network.data).glob(f"{network.name}-seed*/{Record.configuration}")
    return {int(found[1]) for place in places if (found := pattern.fullmatch(place.parent.name))}


def _read(network: Network, path: Path, seed: int) -> Run:
    record = Record.open(path)
    settings, training = record.settings, record.about.get("training", {})
    _require(path, "data set", network.data, settings.data["name"])
    _require(path, "split", "test", settings.data.get("split"))
    _require(path, "noise", f"Gaussian(sigma={network.sigma:.6g})", _rounded(record.noise))
    if network.kind == _RELEASED:
        _require(path, "the weights that the authors released, digest", RELEASED_DIGEST, settings.model["digest"])
    else:
        _require_training(path, network, seed, training)
    _require(path, "selection votes", True, settings.selection_samples > 0)
    _require_whole(record)
    return Run(network, seed, record, record.read())


def _rounded(noise: object) -> str:
    return f"Gaussian(sigma={noise.sigma:.6g})" if isinstance(noise, Gaussian) else repr(noise)


def _require_training(path: Path, network: Network, seed: int, training: Mapping[str, Any]) -> None:
    if network.kind not in _ENSEMBLES:
        _require_trained(path, network, seed, training.get("settings", {}))
        return
    _require(path, "objective", _ENSEMBLES[network.kind], training.get("settings", {}).get("objective", {}))
    members = training.get("members", ())
    _require(path, "members", _MEMBERS, len(members))
    for number, member in enumerate(members):
        _require_trained(path, network, number, member.get("settings", {}))


def _require_trained(path: Path, network: Network, seed: int, trained: Mapping[str, Any]) -> None:
    wanted = _OBJECTIVES[network.kind][1]
    found = {"form": "paper"} | dict(trained.get("objective", {"name": "not recorded"}))  # early ones had one form
    _require(path, "objective", wanted, {key: found.get(key) for key in wanted})
    sigma = trained.get("noise", {}).get("sigma", 0.0)
    _require(path, "sigma of training", f"{network.trained_at:.6g}", f"{sigma:.6g}")
    _require(path, "seed of training", seed, trained.get("seed"))
    if network.kind in _EPOCHS:
        _require(path, "epochs of training", _EPOCHS[network.kind], trained.get("epochs"))


def _require_alike(runs: list[Run]) -> None:
    if unlike := runs[0].differs(runs[-1]):
        raise RunError(
            str(runs[-1].record.path),
            required=f"of the {unlike} of {runs[0].record.path}, to be a seed beside it",
            got=f"of other {unlike}",
            remedy="Move it away, and make it by the same training, --every, --limit, --samples, --selection-samples and "
            "--precision.",
        )
    digests = [run.record.settings.model["digest"] for run in runs]
    if digests[-1] in digests[:-1]:
        other = runs[digests.index(digests[-1])].record.path
        raise RunError(
            str(runs[-1].record.path),
            required="of a network of its own",
            got=f"the weights of {other}",
            remedy="One network under two names is no second seed: train another.",
        )


def _require_whole(record: Record | SequentialRecord) -> None:
    left, faults = record.missing()
    if left:
        raise _UnfinishedError(
            str(record.path),
            required=f"whole, {len(record.shards)} shards" + "".join(f" ({fault})" for fault in faults),
            got=f"{len(left)} that are missing or damaged",
            remedy="The command that made the record goes on with it.",
        )


def _require(path: Path, what: str, required: object, got: object) -> None:
    if required != got:
        raise RunError(
            str(path),
            required=f"what its folder says, with {what} {required}",
            got=got,
            remedy="Move it away, and make the one that belongs here.",
        )
