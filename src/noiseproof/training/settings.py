"""All settings that decide the trained weights."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from noiseproof.data import require_data
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.models.registry import MODELS
from noiseproof.noises import Noise
from noiseproof.objectives import Objective
from noiseproof.randomness import require_seed

__all__ = [
    "Augmentation",
    "OptimiserName",
    "Precision",
    "Schedule",
    "TrainingSettings",
    "usual_epochs",
    "usual_model",
    "with_defaults",
]

_USUAL_MODELS = {"digits": "digits-cnn", "mnist": "paper-mnist", "cifar10": "paper-cifar"}

_MOMENTUM = 0.9
"""That of SGD where none is named; records of Adam have it too."""

OptimiserName = Literal["Adam", "SGD"]
Schedule = Literal["constant", "cosine", "step"]
Precision = Literal["auto", "fp32", "bf16"]
Augmentation = Literal["none", "flip-crop", "deform"]

_FRACTION_LEFT: dict[Schedule, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "step": lambda done: 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01,
}


@dataclass(frozen=True)
class TrainingSettings:
    """All settings that decide the trained weights, except the data.

    Args:
        model: name of the network.
        objective: the loss.
        noise: in training, and by default in certification.
        epochs: passes over the training split.
        batch_size: images per step, over all processes; 64 is the paper's.
        learning_rate: the highest one of the schedule; 1e-3, of Adam, is the paper's.
        seed: of the initial weights, the order of the batches, the noise and dropout.
        optimiser: "Adam" (the paper's) or "SGD".
        momentum: of SGD; Adam has none, and another than the default is refused with it.
        weight_decay: L2 penalty; the paper has none.
        schedule: "constant" (the paper's), "cosine" to zero, or "step": a tenth after half the epochs, a hundredth after
            three quarters (He et al. 2016).
        warmup_epochs: the learning rate rises linearly from zero over so many epochs.
        ramp_epochs: the objective's regularisation rises linearly from zero over so many epochs.
        average: decay per step of an exponential moving average of the weights, which then replaces them in the
            checkpoint; None for no average.
        clip: largest l2 norm of the gradient of a step; None for no limit.
        precision: "fp32"; "bf16": products in bfloat16, weights and sums in float32; or "auto", of which `train` makes one
            of them by `usual_precision`.
        augment: "none" (the paper's); "flip-crop": mirrored half the time, cropped from 4 pixels of black border; or
            "deform": rotated, scaled, sheared, shifted and bent a little, for handwriting.

    Raises:
        InvalidInputError: a number outside its domain, an unknown name, or a ramp of an objective without regularisation.
    """

    model: str
    objective: Objective
    noise: Noise
    epochs: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    optimiser: OptimiserName = "Adam"
    momentum: float = _MOMENTUM
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    warmup_epochs: float = 0.0
    ramp_epochs: float = 0.0
    average: float | None = None
    clip: float | None = None
    precision: Precision = "auto"
    augment: Augmentation = "none"

    def __post_init__(self) -> None:
        require_count("epochs", self.epochs, 1, "Raise it.")
        require_count("batch_size", self.batch_size, 1, "64 is the paper's.")
        require_seed(self.seed)
        for name in ("epochs", "batch_size", "seed"):
            object.__setattr__(self, name, operator.index(getattr(self, name)))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InvalidInputError(
                    name, required=" or ".join(choices), got=repr(getattr(self, name)), remedy="Name one of them."
                )
        self._require("learning_rate", lambda value: value > 0, "finite and > 0", "Adam's usual is 1e-3.")
        self._require("momentum", lambda value: 0 <= value < 1, "from 0 to below 1", "0.9 is usual.")
        if self.optimiser == "Adam" and self.momentum != _MOMENTUM:
            raise InvalidInputError(
                "momentum",
                required='left out with optimiser="Adam", which does not use it',
                got=self.momentum,
                remedy='Leave it out, or take optimiser="SGD".',
            )
        self._require("weight_decay", lambda value: value >= 0, "finite and >= 0", "1e-4 is usual.")
        self._require("average", lambda value: 0 < value < 1, "between 0 and 1", "0.999 is usual.")
        self._require("clip", lambda value: value > 0, "finite and > 0", "Leave it out for no limit.")
        for name in ("warmup_epochs", "ramp_epochs"):
            self._require(
                name,
                lambda value: 0 <= value <= self.epochs,
                f"from 0 to {self.epochs}, the epochs",
                "0 leaves it out.",
            )
        if self.ramp_epochs:
            self.objective.ramped(0.0)

    def _require(self, name: str, holds: Callable[[float], bool], required: str, remedy: str) -> None:
        value = getattr(self, name)
        if value is None and name in _OPTIONAL:
            return
        number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and holds(value)):
            raise InvalidInputError(name, required=required, got=repr(value), remedy=remedy)
        object.__setattr__(self, name, float(value))

    def learning_rate_at(self, epochs_done: float) -> float:
        """Return the learning rate after so many epochs, which need not be whole."""
        risen = min(1.0, epochs_done / self.warmup_epochs) if self.warmup_epochs else 1.0
        return self.learning_rate * risen * _FRACTION_LEFT[self.schedule](min(1.0, epochs_done / self.epochs))

    def objective_at(self, epochs_done: float) -> Objective:
        """Return the objective, its regularisation at the strength it has after so many epochs."""
        if epochs_done >= self.ramp_epochs:
            return self.objective
        return self.objective.ramped(epochs_done / self.ramp_epochs)

    def spec(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {"objective": self.objective.spec(), "noise": self.noise.spec()}


_OPTIONAL = ("average", "clip")

_CHOICES: dict[str, tuple[str, ...]] = {
    "optimiser": get_args(OptimiserName),
    "schedule": get_args(Schedule),
    "precision": get_args(Precision),
    "augment": get_args(Augmentation),
}


def with_defaults(spec: dict[str, Any]) -> dict[str, Any]:
    """Return stored settings with defaults for those that an earlier version did not have."""
    found: dict[str, Any] = {field.name: field.default for field in fields(TrainingSettings) if field.name in _NEWER}
    found |= {"precision": "fp32"} | spec
    objective: dict[str, Any] = found.get("objective") or {}
    newer = _NEWER_OF_OBJECTIVES.get(str(objective.get("name")), {})
    return found | ({"objective": newer | objective} if newer else {})


_NEWER = (
    "momentum",
    "weight_decay",
    "schedule",
    "warmup_epochs",
    "ramp_epochs",
    "average",
    "clip",
    "precision",
    "augment",
)

_NEWER_OF_OBJECTIVES: dict[str, dict[str, Any]] = {"ConvexOuter": {"projections": None}}


def usual_model(data: str) -> str:
    """Return the name of the default network of a data set.

    Raises:
        InvalidInputError: the data are the user's own, or there are none of that name.
    """
    require_data(data)
    if data not in _USUAL_MODELS:
        raise InvalidInputError(
            "model",
            required="named for data of your own",
            got="nothing",
            remedy=f"Choose among {', '.join(MODELS)}.",
        )
    return _USUAL_MODELS[data]


def usual_epochs(data: str) -> int:
    """Return the default number of epochs of a data set."""
    return 10 if data == "mnist" else 60
