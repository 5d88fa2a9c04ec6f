"""The networks of the paper's tables and figures, and how each is trained, as data.

DIR/mnist/stn-0.7               sigma 0.7, seed 0
DIR/mnist/stn-0.7-seed1         the same of seed 1, and so on
DIR/mnist/smoothadv-long-0.6-at-0.55   trained at sigma 0.6, certified at 0.55
DIR/cifar10/stn-0.392           sigma 100/255
DIR/cifar10/stn-released        the network that the paper's authors released
DIR/mnist/trades-linf           a network without noise, which figures 1, 3 and 4 attack
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noiseproof.experiments.recipes import Facts, Step
from noiseproof.models import shipped
from noiseproof.training import CHECKPOINT

__all__ = ["CIFAR_SIGMA", "RELEASED_DIGEST", "TITLES", "Network"]

TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
"""Of the data sets of the experiments, in their order."""

CIFAR_SIGMA = 100 / 255

RELEASED_DIGEST = "84486d01a1021329838e4b7048766249c363f7bd5721d68bc37785c5d356cc25"
"""`model_digest` of the weights that the authors released, read into PaperCIFAR."""

_RELEASED_MODEL = "noiseproof.models:PaperCIFAR"
_RELEASED_OPTIONS = ("--weights", "model_cifar10", "--data", "cifar10", "--sigma", repr(CIFAR_SIGMA))

_MEMBERS = 4
"""Of an ensemble, of seeds 0, 1, 2 and 3."""


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


@dataclass(frozen=True)
class _Kind:
    """What the networks of one kind have in common.

    Attributes:
        title: how figures call them.
        training: of each network, or of each member of an ensemble; None for those that are not trained here.
        ensemble: what the making of an ensemble records; None for a single network.
        precision: of the votes, as `--precision`: records are compared in one.
        attacked: precision of attacks; None takes that of the votes, since certificates speak of that function alone.
    """

    title: str
    training: _Training | None = None
    ensemble: Mapping[str, Any] | None = None
    precision: str = "fp32"
    attacked: str | None = None


_PAPERS = {
    "mnist": "--schedule cosine --precision bf16 --batch-size 64 --epochs 12",
    "cifar10": "--schedule cosine --precision bf16 --epochs 150",
}
_SMOOTH_ADV: dict[str, Any] = {"name": "SmoothAdv", "consistency": 1.0, "epsilon": 1.0}
_SMOOTH_ADV_OPTIONS = (
    "--model lenet --set epsilon=1.0 --set steps=2 --set copies=2 --set consistency=1 --ramp-epochs 3 --schedule cosine"
)
_SHORT = {"mnist": f"{_SMOOTH_ADV_OPTIONS} --batch-size 128 --epochs 18 --average 0.999"}
_LONG = {"mnist": f"{_SMOOTH_ADV_OPTIONS} --batch-size 256 --learning-rate 0.0015 --epochs 50 --average 0.998"}
_LATER = _Training("smooth-adv", _SMOOTH_ADV, _LONG, epochs=50, seconds=98.0)
_STN = _Training("stability", {"name": "Stability", "form": "paper", "weight": 1.0}, _PAPERS)
_LATERS_TITLE = "SmoothAdv with consistency"
_ENSEMBLE = f"{_MEMBERS} networks of {_LATERS_TITLE}"
_KINDS = {
    "stn": _Kind("STN", _STN, precision="bf16"),
    "gaussian": _Kind(
        "without stability training",
        replace(_STN, objective="gaussian", recorded={"name": "GaussianAugmentation"}),
        precision="bf16",
    ),
    "released": _Kind("STN, released by the authors", precision="auto", attacked="fp32"),
    "smoothadv": _Kind(_LATERS_TITLE, replace(_LATER, options=_SHORT, epochs=18, seconds=60.0)),
    "smoothadv-long": _Kind(f"{_LATERS_TITLE}, 50 epochs", _LATER),
    "ensemble": _Kind(_ENSEMBLE, _LATER, {"name": "Ensemble"}),
    "ensemble-early": _Kind(f"{_ENSEMBLE}, early exit", _LATER, {"name": "Ensemble", "early_exit": 1.5}),
    "natural": _Kind("undefended (sigma 0)", precision="bf16"),
    "trades-linf": _Kind("TRADES (ℓ∞ 0.3)", precision="auto"),
    "madry-linf": _Kind("Madry (ℓ∞ 0.3)", precision="auto"),
}


@dataclass(frozen=True)
class Network:
    """A network of the experiments.

    Attributes:
        data: the data set.
        kind: "stn" or "gaussian", by which it is trained here; "released" for the one that the authors released;
            "smoothadv", which goes beyond the paper (Salman et al. 2019, with the terms of Jeong & Shin 2020);
            "smoothadv-long", the same for 50 epochs; "ensemble", the mean of the logits of four of those;
            "ensemble-early", the same with early exit; "natural", "trades-linf" and "madry-linf", which are attacked
            without noise.
        sigma: of the noise in certification; 0 for none.
        seeds: of training; those that are wanted.
        trained: sigma of the noise in training, where it is another.
    """

    data: str
    kind: str
    sigma: float = 0.0
    seeds: tuple[int, ...] = (0,)
    trained: float | None = None

    @property
    def title(self) -> str:
        """How figures call it."""
        sigma = "100/255" if self.sigma == CIFAR_SIGMA else f"{self.sigma:g}"
        trained = "" if self.trained is None else f", trained at {self.trained:g}"
        return _KINDS[self.kind].title + (f", sigma {sigma}{trained}" if self.sigma else "")

    @property
    def name(self) -> str:
        """Of its folder."""
        if self.released or not self.sigma:
            return "stn-released" if self.released else self.kind
        return f"{self.kind}-{self.trained_at:.3g}" + ("" if self.trained is None else f"-at-{self.sigma:.3g}")

    @property
    def released(self) -> bool:
        """Whether it is the authors' own, whose seed is unpublished."""
        return self.kind == "released"

    @property
    def has_seed(self) -> bool:
        """Whether it has one known seed: the released one has none, and the members of an ensemble have their own."""
        return not self.released and _KINDS[self.kind].ensemble is None

    @property
    def trained_at(self) -> float:
        """Sigma of the noise in training."""
        return self.sigma if self.trained is None else self.trained

    @property
    def precision(self) -> str:
        """Of its votes, as `--precision`: records are compared in one."""
        return _KINDS[self.kind].precision

    @property
    def attacked(self) -> str:
        """Precision of the attacks on it, as `--precision`.

        The released network is certified in int8, in which nothing can be attacked: attacks take and judge float32.
        """
        return _KINDS[self.kind].attacked or self.precision

    @property
    def model(self) -> str | None:
        """What `--model` takes for seed 0; None where neither the authors nor the zoo have it."""
        place = f"{self.data}-{self.name}"
        return _RELEASED_MODEL if self.released else f"zoo:{place}" if place in shipped() else None

    def folder(self, seed: int = 0) -> str:
        """Where what belongs to a seed lies, below the folder of records."""
        return f"{self.data}/{self.name}" + (f"-seed{seed}" if seed else "")

    def options(self, seed: int = 0, precision: str = "auto") -> list[str]:
        """The options that name the network, its noise and its precision in a certification or an attack."""
        options = [] if seed or self.model is None else ["--model", self.model]
        options += _RELEASED_OPTIONS if self.released else [] if self.trained is None else ["--sigma", repr(self.sigma)]
        return options + ([] if precision == "auto" else ["--precision", precision])

    def making(self, records: Path, seed: int) -> list[Step]:
        """Return the commands that make the network in its folder: none where it is there, released or in the zoo."""
        run, ensemble = records / self.folder(seed), _KINDS[self.kind].ensemble
        if (seed == 0 and self.model is not None) or (run / CHECKPOINT).exists():
            return []
        if ensemble is None:
            return [self._training(seed, run)]
        place = f"{self.data}-ensemble-{self.trained_at:.3g}"
        trainings = [self._training(member, run / f"member{member}") for member in range(_MEMBERS)]
        members = [f"zoo:{place}"] if place in shipped() else [str(step.folder) for step in trainings]
        making = [] if place in shipped() else [step for step in trainings if not (step.folder / CHECKPOINT).exists()]
        options = ["--early-exit", str(ensemble["early_exit"])] if "early_exit" in ensemble else []
        return [*making, Step(("noiseproof", "ensemble", *members, *options, "--out", str(run)), run)]

    @property
    def _trains(self) -> _Training:
        training = _KINDS[self.kind].training
        assert training is not None, f"{self.kind} is not trained here"  # noqa: S101 - our own recipes
        return training

    def _training(self, seed: int, out: Path) -> Step:
        command = ["noiseproof", "train", "--data", self.data, "--objective", self._trains.objective]
        command += ["--sigma", repr(self.trained_at), "--seed", str(seed)]
        command += [*shlex.split(self._trains.options[self.data]), "--out", str(out)]
        return Step(tuple(command), out, (self._trains.seconds, "an H100") if self.data == "mnist" else None)

    def trained_as_said(self, about: Mapping[str, Any], seed: int) -> Facts:
        """Compare what a record says of its training with this network: (what, required, got)."""
        networks = [("", seed, about)]
        if (ensemble := _KINDS[self.kind].ensemble) is not None:
            members = about.get("members", ())
            yield "objective", ensemble, about.get("settings", {}).get("objective", {})
            yield "members", _MEMBERS, len(members)
            networks = [(f"member {number}: ", number, member) for number, member in enumerate(members)]
        for of, number, network in networks:
            settings, recorded, epochs = network.get("settings", {}), self._trains.recorded, self._trains.epochs
            # early ones had one form
            objective = {"form": "paper"} | dict(settings.get("objective", {"name": "not recorded"}))
            sigma = settings.get("noise", {}).get("sigma", 0.0)
            yield f"{of}objective", recorded, {key: objective.get(key) for key in recorded}
            yield f"{of}sigma of training", f"{self.trained_at:.6g}", f"{sigma:.6g}"
            yield f"{of}seed of training", number, settings.get("seed")
            if epochs is not None:
                yield f"{of}epochs of training", epochs, settings.get("epochs")
