"""The networks of the paper's tables and figures, and how each is trained.

DIR/mnist/stn-0.7               sigma 0.7, seed 0
DIR/mnist/stn-0.7-seed1         the same with seed 1, and so on
DIR/mnist/smoothadv-long-0.6-at-0.55   trained at sigma 0.6, certified at 0.55
DIR/cifar10/stn-0.392           sigma 100/255
DIR/cifar10/stn-released        the network released by the paper's authors
DIR/mnist/trades-linf           a network without noise, attacked in Figures 1 and 3
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from noiseproof.experiments.recipes import Cost, Facts, Step
from noiseproof.models import shipped
from noiseproof.training import CHECKPOINT

__all__ = ["CIFAR_SIGMA", "RELEASED_DIGEST", "TITLES", "Network"]

TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
"""Titles of the data sets, in the order of the figures."""

CIFAR_SIGMA = 100 / 255

RELEASED_DIGEST = "84486d01a1021329838e4b7048766249c363f7bd5721d68bc37785c5d356cc25"
"""`model_digest` of the authors' released weights, loaded into PaperCIFAR."""

_RELEASED_MODEL = "noiseproof.models:PaperCIFAR"

_MEMBERS = 4
"""Members of an ensemble, trained with seeds 0, 1, 2 and 3."""


@dataclass(frozen=True)
class _Kind:
    """What all networks of one kind share.

    Attributes:
        title: name in figures; {linf} stands for the size of the l_inf ball.
        objective: `--objective` of the network, or of each member of an ensemble; empty for networks not trained here.
        recorded: settings of the objective that a record of the training must contain.
        options: further options of `noiseproof train`, by data set.
        epochs: epochs that a record must state; None accepts any number.
        seconds: duration of the training on MNIST on an H100.
        ensemble: what `noiseproof ensemble` records; None for a single network.
        precision: `--precision` of the votes, in which records are compared.
        attacked: `--precision` of attacks; None for that of the votes, since a certificate holds for that function alone.
    """

    title: str
    objective: str = ""
    recorded: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    epochs: int | None = None
    seconds: float = 150.0
    ensemble: Mapping[str, Any] | None = None
    precision: str = "fp32"
    attacked: str | None = None


_PAPERS = {
    "mnist": {"schedule": "cosine", "precision": "bf16", "batch_size": 64, "epochs": 12},
    "cifar10": {"schedule": "cosine", "precision": "bf16", "epochs": 30},
}
"""The paper's networks. Those of CIFAR-10 are trained in 30 epochs, 40 to 80 minutes on two cores with bfloat16."""

_LINF = {"mnist": "0.3", "cifar10": "8/255"}
"""Size of the l_inf ball of adversarial training; `_RESIDUAL` has that of CIFAR-10."""

_RESIDUAL: dict[str, Any] = {"model": "cifar-resnet20", "set": [f"epsilon={8 / 255!r}", "steps=3"], "epochs": 10}
_RESIDUAL |= {"optimiser": "SGD", "learning_rate": 0.1, "weight_decay": 5e-4, "batch_size": 128}
_LINF_TRAINED = {"cifar10": _RESIDUAL | {"augment": "flip-crop", "schedule": "cosine", "precision": "bf16"}}
_TUNED = _PAPERS["cifar10"] | {"epochs": 10}
"""Fine-tuning for another sigma from the weights of 100/255, in a third of the time of a training of its own."""

_STN = _Kind("STN", "stability", {"name": "Stability", "form": "paper", "weight": 1.0}, _PAPERS, precision="bf16")
_GAUSSIAN = replace(
    _STN, title="without stability training", objective="gaussian", recorded={"name": "GaussianAugmentation"}
)

_SETTINGS = ["epsilon=1.0", "steps=2", "copies=2", "consistency=1"]
_SHARED = {"model": "lenet", "set": _SETTINGS, "ramp_epochs": 3, "schedule": "cosine"}
_SHORT = {"mnist": _SHARED | {"batch_size": 128, "epochs": 18, "average": 0.999}}
_LONG = {"mnist": _SHARED | {"batch_size": 256, "learning_rate": 0.0015, "epochs": 50, "average": 0.998}}
_RECORDED = {"name": "SmoothAdv", "consistency": 1.0, "epsilon": 1.0}
_SMOOTH_ADV = _Kind("SmoothAdv with consistency", "smooth-adv", _RECORDED, _SHORT, epochs=18, seconds=60.0)
_LATER = replace(_SMOOTH_ADV, title=f"{_SMOOTH_ADV.title}, 50 epochs", options=_LONG, epochs=50, seconds=98.0)
_ENSEMBLE = replace(_LATER, title=f"{_MEMBERS} networks of {_SMOOTH_ADV.title}", ensemble={"name": "Ensemble"})

_KINDS = {
    "stn": _STN,
    "gaussian": _GAUSSIAN,
    "stn-short": replace(
        _STN, title="STN, 15 epochs", options={"cifar10": _PAPERS["cifar10"] | {"epochs": 15}}, epochs=15
    ),
    "stn-tuned": replace(
        _STN,
        title="STN, fine-tuned from 100/255",
        options={"cifar10": _TUNED | {"start_from": "zoo:cifar10-stn-0.39"}},
        epochs=10,
    ),
    "gaussian-tuned": replace(
        _GAUSSIAN,
        title="without stability training, fine-tuned from 100/255",
        options={"cifar10": _TUNED | {"start_from": "zoo:cifar10-gaussian-0.39"}},
        epochs=10,
    ),
    "released": _Kind("STN, released by the authors", precision="auto", attacked="fp32"),
    "smoothadv": _SMOOTH_ADV,
    "smoothadv-long": _LATER,
    "ensemble": _ENSEMBLE,
    "ensemble-early": replace(
        _ENSEMBLE, title=f"{_ENSEMBLE.title}, early exit", ensemble={"name": "Ensemble", "early_exit": 1.5}
    ),
    "natural": _Kind("undefended (sigma 0)", "natural", options={"cifar10": _PAPERS["cifar10"]}, precision="bf16"),
    "trades-linf": _Kind("TRADES (ℓ∞ {linf})", "trades", options=_LINF_TRAINED, precision="auto"),
    "madry-linf": _Kind("Madry (ℓ∞ {linf})", "adversarial", options=_LINF_TRAINED, precision="auto"),
}


@dataclass(frozen=True)
class Network:
    """A network of the experiments.

    Attributes:
        data: name of the data set.
        kind: "stn" (section 5.1), "stn-short" with half of the epochs, "gaussian", and "stn-tuned" and "gaussian-tuned",
            fine-tuned from the weights of 100/255, trained here; "released", trained by the authors; beyond the paper
            "smoothadv" (Salman et al. 2019, with the consistency term of Jeong and Shin 2020), "smoothadv-long" with 50
            epochs, the mean of the logits of four of these, "ensemble", and with early exit "ensemble-early"; attacked
            without noise "natural", "trades-linf" (Zhang et al. 2019) and "madry-linf" (Madry et al. 2018); on CIFAR-10 the
            last two are ResNet-20 with three inner steps.
        sigma: standard deviation of the noise in certification; 0 for none.
        seeds: training seeds that the figures ask for.
        trained: sigma in training, where it differs.
    """

    data: str
    kind: str
    sigma: float = 0.0
    seeds: tuple[int, ...] = (0,)
    trained: float | None = None

    @property
    def title(self) -> str:
        """Name in figures."""
        sigma = "100/255" if self.sigma == CIFAR_SIGMA else f"{self.sigma:g}"
        trained = "" if self.trained is None else f", trained at {self.trained:g}"
        title = _KINDS[self.kind].title.format(linf=_LINF[self.data])
        return title + (f", sigma {sigma}{trained}" if self.sigma else "")

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self._named(3)

    def _named(self, digits: int) -> str:
        if self.released or not self.sigma:
            return "stn-released" if self.released else self.kind
        at = "" if self.trained is None else f"-at-{self.sigma:.{digits}g}"
        return f"{self.kind}-{self.trained_at:.{digits}g}{at}"

    @property
    def released(self) -> bool:
        """Whether it is the authors' released network, whose seed is unpublished."""
        return self.kind == "released"

    @property
    def has_seed(self) -> bool:
        """Whether it has one known seed: the released network has none, an ensemble has one for each member."""
        return not self.released and _KINDS[self.kind].ensemble is None

    @property
    def trained_at(self) -> float:
        """Standard deviation of the noise in training."""
        return self.sigma if self.trained is None else self.trained

    @property
    def attacked(self) -> str:
        """`--precision` of attacks on it.

        The released network is certified in int8, which has no gradients: it is attacked and judged in float32.
        """
        return _KINDS[self.kind].attacked or _KINDS[self.kind].precision

    @property
    def model(self) -> str | None:
        """`--model` for seed 0: the authors' network or one of the zoo; None where there is neither."""
        place = f"{self.data}-{self._named(2)}"  # of 100/255 the names of the zoo have two digits
        return _RELEASED_MODEL if self.released else f"zoo:{place}" if place in shipped() else None

    def folder(self, seed: int = 0) -> str:
        """Folder of the network with this seed, relative to the folder of records."""
        return f"{self.data}/{self.name}" + (f"-seed{seed}" if seed else "")

    def options(self, seed: int = 0, precision: str | None = None) -> dict[str, Any]:
        """Return the options for the network, its noise and its precision, by default that of its votes."""
        precision = precision or _KINDS[self.kind].precision
        options: dict[str, Any] = {"model": None if seed else self.model}
        options |= {"weights": "model_cifar10", "data": self.data} if self.released else {}
        options["sigma"] = self.sigma if self.released or self.trained is not None else None
        return options | {"precision": None if precision == "auto" else precision}

    def cost(self, seconds: float) -> Cost | None:
        """Return the duration of a step as measured on an H100; None for CIFAR-10, which was not measured."""
        return (seconds, "an H100") if self.data == "mnist" else None

    def making(self, records: Path, seed: int) -> list[Step]:
        """Return the commands that train the network; none where it exists, is released or is in the zoo."""
        run, ensemble = records / self.folder(seed), _KINDS[self.kind].ensemble
        if (seed == 0 and self.model is not None) or (run / CHECKPOINT).exists():
            return []
        if ensemble is None:
            return [self._training(seed, run)]
        place = f"{self.data}-ensemble-{self.trained_at:.3g}"
        trainings = [self._training(member, run / f"member{member}") for member in range(_MEMBERS)]
        members = [f"zoo:{place}"] if place in shipped() else [str(step.folder) for step in trainings]
        making = [] if place in shipped() else [step for step in trainings if not (step.folder / CHECKPOINT).exists()]
        return [*making, Step.of(run, "ensemble", *members, early_exit=ensemble.get("early_exit"), out=run)]

    def _training(self, seed: int, out: Path) -> Step:
        how = _KINDS[self.kind]
        own = {"data": self.data, "objective": how.objective, "sigma": self.trained_at or None, "seed": seed}
        return Step.of(out, "train", cost=self.cost(how.seconds), **own, **how.options[self.data], out=out)

    def trained_as_said(self, about: Mapping[str, Any], seed: int) -> Facts:
        """Compare the training that a record states with this network: objective, sigma, seed and epochs."""
        kind, networks = _KINDS[self.kind], [("", seed, about)]
        if kind.ensemble is not None:
            members = about.get("members", ())
            yield "objective", kind.ensemble, about.get("settings", {}).get("objective", {})
            yield "members", _MEMBERS, len(members)
            networks = [(f"member {number}: ", number, member) for number, member in enumerate(members)]
        for of, number, network in networks:
            settings = network.get("settings", {})
            # early ones had one form
            objective = {"form": "paper"} | dict(settings.get("objective", {"name": "not recorded"}))
            sigma = settings.get("noise", {}).get("sigma", 0.0)
            yield f"{of}objective", kind.recorded, {key: objective.get(key) for key in kind.recorded}
            yield f"{of}sigma of training", f"{self.trained_at:.6g}", f"{sigma:.6g}"
            yield f"{of}seed of training", number, settings.get("seed")
            if kind.epochs is not None:
                yield f"{of}epochs of training", kind.epochs, settings.get("epochs")
