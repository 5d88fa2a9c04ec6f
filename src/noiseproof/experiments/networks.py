"""The networks whose votes Table 1 and Figure 1 are made of, and how each is trained, as data.

DIR/mnist/stn-0.7               sigma 0.7, seed 0
DIR/mnist/stn-0.7-seed1         the same of seed 1, and so on
DIR/mnist/smoothadv-long-0.6-at-0.55   trained at sigma 0.6, certified at 0.55
DIR/cifar10/stn-0.392           sigma 100/255
DIR/cifar10/stn-released        the network that the paper's authors released
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noiseproof.experiments.recipes import Facts, Step
from noiseproof.models import shipped
from noiseproof.training import CHECKPOINT

__all__ = ["CIFAR_SIGMA", "RELEASED_DIGEST", "RELEASED_OPTIONS", "Network"]

CIFAR_SIGMA = 100 / 255

RELEASED_DIGEST = "84486d01a1021329838e4b7048766249c363f7bd5721d68bc37785c5d356cc25"
"""`model_digest` of the weights that the authors released, read into PaperCIFAR."""

RELEASED_MODEL = "noiseproof.models:PaperCIFAR"
RELEASED_OPTIONS = ("--weights", "model_cifar10", "--data", "cifar10", "--sigma", repr(CIFAR_SIGMA))

_H100, _CORE = "an H100", "one core with AVX2"


@dataclass(frozen=True)
class _Training:
    """How a network is trained.

    Attributes:
        objective: as `--objective`.
        recorded: what a record of such a training says of the objective, at least.
        options: further ones, by data set.
        epochs: that a record must say; None takes any.
        seconds: that it takes on an H100, of MNIST.
    """

    objective: str
    recorded: Mapping[str, Any]
    options: Mapping[str, str]
    epochs: int | None = None
    seconds: float = 150.0


_PAPERS = {
    "mnist": "--schedule cosine --precision bf16 --batch-size 64 --epochs 12",
    "cifar10": "--schedule cosine --precision bf16 --epochs 150",
}
_SMOOTH_ADV: dict[str, Any] = {"name": "SmoothAdv", "consistency": 1.0, "epsilon": 1.0}
_SMOOTH_ADV_OPTIONS = (
    "--model lenet --set epsilon=1.0 --set steps=2 --set copies=2 --set consistency=1 --ramp-epochs 3 --schedule cosine"
)
_LONG = _Training(
    "smooth-adv",
    _SMOOTH_ADV,
    {"mnist": f"{_SMOOTH_ADV_OPTIONS} --batch-size 256 --learning-rate 0.0015 --epochs 50 --average 0.998"},
    epochs=50,
    seconds=98.0,
)
_TRAININGS = {
    "stn": _Training("stability", {"name": "Stability", "form": "paper", "weight": 1.0}, _PAPERS),
    "gaussian": _Training("gaussian", {"name": "GaussianAugmentation"}, _PAPERS),
    "smoothadv": replace(
        _LONG,
        options={"mnist": f"{_SMOOTH_ADV_OPTIONS} --batch-size 128 --epochs 18 --average 0.999"},
        epochs=18,
        seconds=60.0,
    ),
    "smoothadv-long": _LONG,
    "ensemble": _LONG,
    "ensemble-early": _LONG,
}
"""By kind of network: how it, or each of its members, is trained."""

_ENSEMBLES: dict[str, dict[str, Any]] = {
    "ensemble": {"name": "Ensemble"},
    "ensemble-early": {"name": "Ensemble", "early_exit": 1.5},
}
"""By kind: what the making of an ensemble records."""

_MEMBERS = 4
"""Of an ensemble, of seeds 0, 1, 2 and 3."""

_TITLES = {
    "stn": "STN",
    "gaussian": "without stability training",
    "smoothadv": "SmoothAdv with consistency",
    "smoothadv-long": "SmoothAdv with consistency, 50 epochs",
    "ensemble": f"{_MEMBERS} networks of SmoothAdv with consistency",
    "ensemble-early": f"{_MEMBERS} networks of SmoothAdv with consistency, early exit",
    "released": "STN, released by the authors",
}


@dataclass(frozen=True)
class Network:
    """A network of the experiments.

    Attributes:
        data: the data set.
        kind: "stn" or "gaussian", by which it is trained here; "released" for the one that the authors released;
            "smoothadv", which goes beyond the paper (Salman et al. 2019, with the terms of Jeong & Shin 2020);
            "smoothadv-long", the same for 50 epochs; "ensemble", the mean of the logits of four of those;
            "ensemble-early", the same with early exit.
        sigma: of the noise in certification.
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
        sigma = "100/255" if self.sigma == CIFAR_SIGMA else f"{self.sigma:g}"
        trained = "" if self.trained is None else f", trained at {self.trained:g}"
        return f"{_TITLES[self.kind]}, sigma {sigma}{trained}"

    @property
    def name(self) -> str:
        """Of its folder."""
        if self.released:
            return "stn-released"
        return f"{self.kind}-{self.trained_at:.3g}" + ("" if self.trained is None else f"-at-{self.sigma:.3g}")

    @property
    def released(self) -> bool:
        """Whether it is the authors' own, whose seed is unpublished."""
        return self.kind == "released"

    @property
    def has_seed(self) -> bool:
        """Whether it has one known seed: the released one has none, and the members of an ensemble have their own."""
        return not self.released and self.kind not in _ENSEMBLES

    @property
    def trained_at(self) -> float:
        """Sigma of the noise in training."""
        return self.sigma if self.trained is None else self.trained

    @property
    def precision(self) -> str:
        """Of the votes: records are compared, and attacks stand beside them, in one precision."""
        return {"stn": "bf16", "gaussian": "bf16", "released": "auto"}.get(self.kind, "fp32")

    def folder(self, seed: int) -> str:
        """Where what belongs to a seed lies, below the folder of records."""
        return f"{self.data}/{self.name}" + (f"-seed{seed}" if seed else "")

    def zoo(self, seed: int) -> str | None:
        """What `--model` takes where the zoo has it."""
        return f"zoo:{self.data}-{self.name}" if seed == 0 and f"{self.data}-{self.name}" in shipped() else None

    def options(self, seed: int) -> list[str]:
        """The options that name the network and its noise in a certification."""
        if self.released:
            return ["--model", RELEASED_MODEL, *RELEASED_OPTIONS]
        zoo = self.zoo(seed)
        sigma = [] if self.trained is None else ["--sigma", repr(self.sigma)]
        return ([] if zoo is None else ["--model", zoo]) + sigma

    def making(self, records: Path, seed: int) -> list[Step]:
        """Return the commands that make the network in its folder: none where it is there, released or in the zoo."""
        run = records / self.folder(seed)
        if self.released or self.zoo(seed) is not None or (run / CHECKPOINT).exists():
            return []
        if self.kind not in _ENSEMBLES:
            return [self._training(seed, run)]
        place = f"{self.data}-ensemble-{self.trained_at:.3g}"
        trained = [run / f"member{member}" for member in range(_MEMBERS)]
        members = [f"zoo:{place}"] if place in shipped() else [str(path) for path in trained]
        making = [] if place in shipped() else [self._training(seed, path) for seed, path in enumerate(trained)]
        margin = _ENSEMBLES[self.kind].get("early_exit")
        options = [] if margin is None else ["--early-exit", str(margin)]
        combining = ("noiseproof", "ensemble", *members, *options, "--out", str(run))
        return [*(step for step in making if not (step.folder / CHECKPOINT).exists()), Step(combining, run)]

    def _training(self, seed: int, out: Path) -> Step:
        training = _TRAININGS[self.kind]
        command = ["noiseproof", "train", "--data", self.data, "--objective", training.objective]
        command += ["--sigma", repr(self.trained_at), "--seed", str(seed)]
        command += [*shlex.split(training.options[self.data]), "--out", str(out)]
        cost = (training.seconds, _H100) if self.data == "mnist" else None
        return Step(tuple(command), out, cost)

    def trained_as_said(self, about: Mapping[str, Any], seed: int) -> Facts:
        """Compare what a record says of its training with this network: (what, required, got)."""
        if self.kind not in _ENSEMBLES:
            yield from self._trained(about.get("settings", {}), seed)
            return
        yield "objective", _ENSEMBLES[self.kind], about.get("settings", {}).get("objective", {})
        members = about.get("members", ())
        yield "members", _MEMBERS, len(members)
        for number, member in enumerate(members):
            yield from self._trained(member.get("settings", {}), number, f"member {number}: ")

    def _trained(self, settings: Mapping[str, Any], seed: int, of: str = "") -> Facts:
        training = _TRAININGS[self.kind]
        found = {"form": "paper"} | dict(settings.get("objective", {"name": "not recorded"}))  # early ones had one form
        yield f"{of}objective", training.recorded, {key: found.get(key) for key in training.recorded}
        yield f"{of}sigma of training", f"{self.trained_at:.6g}", f"{settings.get('noise', {}).get('sigma', 0.0):.6g}"
        yield f"{of}seed of training", seed, settings.get("seed")
        if training.epochs is not None:
            yield f"{of}epochs of training", training.epochs, settings.get("epochs")
