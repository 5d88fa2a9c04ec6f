"""The interface of a training objective: the loss of one batch."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise
from noiseproof.plugins import spec_of
from noiseproof.randomness import RandomSource

__all__ = [
    "BatchLoss",
    "Objective",
    "forward",
    "inconsistency",
    "kl_divergence",
    "mean_prediction",
    "noisy_copies",
    "nonnegative",
]


@dataclass(frozen=True)
class BatchLoss:
    """The loss of a batch, to be minimised, and the logits from which the training accuracy is computed."""

    loss: Float[Tensor, ""]
    logits: Float[Tensor, "batch classes"]


class Objective(ABC):
    """A training objective of section 5, or one compared with it: a frozen dataclass of its hyperparameters."""

    noisy: ClassVar[bool]
    """Whether it trains on noisy images; otherwise the noise is used for certification only."""

    @property
    @abstractmethod
    def ramps(self) -> str | None:
        """The name of the field that a warm-up scales (a weight or epsilon), or None if there is none."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """Forward and backward passes of a training step, as a multiple of natural training."""

    @abstractmethod
    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss with fresh noise for every image.

        Args:
            model: the network, from images to logits, in training mode.
            images: pixels in [0, 1].
            labels: the true classes.
            noise: the noise under which the model will be certified.
            source: the source of all randomness of the step; `randomness.as_source` makes one from a generator.
        """

    @final
    def spec(self) -> dict[str, str | float | None]:
        """Return the objective as plain data: its name and hyperparameters."""
        return spec_of(self)

    @final
    def ramped(self, fraction: float) -> "Objective":
        """Return this objective with the field `ramps` multiplied by a fraction, for a warm-up.

        Raises:
            InvalidInputError: fraction is not in [0, 1], or the objective has no regularisation.
        """
        if self.ramps is None:
            raise InvalidInputError(
                "objective",
                required="one with a regularisation, for a warm-up",
                got=f"{self!r}, which has nothing to warm up",
                remedy="Leave the ramp out: ramp_epochs=.",
            )
        if not 0.0 <= fraction <= 1.0:
            raise InvalidInputError(
                "fraction", required="in [0, 1]", got=repr(fraction), remedy="1 is the full strength."
            )
        return replace(self, **{self.ramps: fraction * getattr(self, self.ramps)})  # type: ignore[type-var]


def nonnegative(name: str, value: object, remedy: str) -> float:
    """Return `value` as a float, or raise `InvalidInputError` unless it is a finite number >= 0."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:  # type: ignore[arg-type, operator]
        raise InvalidInputError(name, required="a finite number >= 0", got=repr(value), remedy=remedy)
    return float(value)  # type: ignore[arg-type]


def forward(model: nn.Module, images: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
    """Return the logits of a model, converted from half precision to float32, in which losses are computed."""
    logits: Tensor = model(images)
    return logits.float() if logits.dtype in {torch.float16, torch.bfloat16} else logits


def noisy_copies(
    images: Float[Tensor, "batch *shape"], noise: Noise, source: RandomSource, copies: int
) -> Float[Tensor, "rows *shape"]:
    """Return x + d_1, ..., x + d_m of a batch, concatenated (rows = copies * batch), with independent d_i."""
    return torch.cat([images + noise.draw(images, source) for _ in range(copies)])


def kl_divergence(
    log_p: Float[Tensor, "*shape classes"], log_q: Float[Tensor, "*shape classes"]
) -> Float[Tensor, "*shape"]:
    """Return KL(p || q) = sum_j p_j (log p_j - log q_j) in nats, from log probabilities."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def mean_prediction(log_p: Float[Tensor, "copies batch classes"]) -> Float[Tensor, "batch classes"]:
    """Return log((p_1 + ... + p_m) / m), which is finite if one of the log p_i is."""
    return log_p.logsumexp(0) - math.log(len(log_p))


def inconsistency(
    log_p: Float[Tensor, "copies batch classes"], weight: float, entropy_weight: float
) -> Float[Tensor, ""]:
    """Return weight * mean KL(Fbar || F_i) + entropy_weight * mean H(Fbar), Fbar the mean of the F_i (Jeong & Shin 2020)."""
    mean = mean_prediction(log_p)
    apart = kl_divergence(mean.expand_as(log_p), log_p).mean()
    entropy = -(mean.exp() * mean).sum(1).mean()
    return weight * apart + entropy_weight * entropy
