"""The attack of Carlini & Wagner (2017) on the smoothed classifier: gradient descent on the l_2 distance."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.attacks.batch import Batch
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.expectation import Expectation, margin
from noiseproof.attacks.foolbox_bridge import MOST_SAMPLES, foolbox_attack, run_foolbox
from noiseproof.attacks.nearest import NearestAttack
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.plugins import recorded_as

__all__ = ["CarliniWagner"]

_INSET = 1e-3
"""Distance from 0 and 1 at which the search begins. The derivative of (1 + tanh w) / 2 is 2e-3 there; at Foolbox's own
distance, 5e-7, it is 1e-6, and Adam needs dozens of steps to leave the bounds."""


@dataclass(frozen=True)
class CarliniWagner(NearestAttack):
    """Foolbox's version of the l_2 attack of Carlini & Wagner, on the logarithm of the averaged softmax.

    For each image Adam minimises over w, with x' = (1 + tanh w) / 2 in the box,

        |x' - x|_2^2 + c max(0, s_y(x') - max_{k != y} s_k(x') + confidence)      s_k = log (1/m) sum_i F_k(x' + z_i)

    and a bisection finds the smallest c that succeeds. The z_i are the same throughout, so that the bisection compares
    values of one function. The resulting x' is adversarial for this noise; `NearestAttack` then evaluates points on the
    line through x and x' with other noise. Foolbox's early stopping uses the sum of the losses of all images; it is
    turned off, so that images do not depend on one another. Cost: binary_search_steps * steps * m rows an image, forward
    and backward; 8000 by default. If the m samples already misclassify an image with this confidence, their number is
    doubled until they do not, up to 1024; if these still do, the image is not changed.

    Measured on 16 digits of 8 x 8 pixels and a network trained with noise of sigma 0.25, relative to the distance in the
    same direction at which 1000 fresh votes change: confidence 0 finds 0.95 times that distance, and the votes of 5
    images change; 0.25: 1.03 times and 10; 1: 1.23 times and 15. The directions are equally good (mean distances 0.70 to
    0.72), so points that are too far can be moved closer. Step sizes of 0.05, 0.1 and 0.2 agree within 1 %. Pixels are
    first clamped to [0.001, 0.999].

    Args:
        eot_samples: m, the number of noisy copies in each step.
        steps: steps of Adam for each c.
        binary_search_steps: number of values of c.
        step_size: step size of Adam, in units of w.
        confidence: margin of log mean probabilities, in nats, that an adversarial point must have.
        initial_constant: the first c; it is multiplied by ten until one succeeds.

    Raises:
        InvalidInputError: a count below 1, a step size or initial constant that is not > 0, a negative confidence.
    """

    eot_samples: int = field(default=16, metadata=recorded_as("draws"))
    steps: int = 100
    binary_search_steps: int = 5
    step_size: float = 0.1
    confidence: float = 0.25
    initial_constant: float = 1.0

    norms: ClassVar[tuple[Norm, ...]] = (Norm.L2,)
    follows_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count("eot_samples", self.eot_samples, 1, "16 and more make a strong attack.")
        require_count("steps", self.steps, 1, "100 and more are usual.")
        require_count("binary_search_steps", self.binary_search_steps, 1, "5 to 9 are usual.")
        for name, value in {"step_size": self.step_size, "initial_constant": self.initial_constant}.items():
            if not 0.0 < value < math.inf:
                raise InvalidInputError(name, required="a finite number > 0", got=repr(value), remedy="Pass another.")
        if not 0.0 <= self.confidence < math.inf:
            raise InvalidInputError(
                "confidence", required="a finite number >= 0", got=repr(self.confidence), remedy="0.25 is usual."
            )

    def nearest(self, defence: Defence, batch: Batch, norm: NormLike) -> Float[Tensor, "batch *shape"]:  # noqa: ARG002 - l_2
        """Attack all images that have enough samples at once, the others again with twice the samples."""
        attack = foolbox_attack(
            "L2CarliniWagnerAttack",
            steps=self.steps,
            binary_search_steps=self.binary_search_steps,
            stepsize=self.step_size,
            confidence=self.confidence,
            initial_const=self.initial_constant,
            abort_early=False,
        )
        nearest, eot_samples, left = batch.images.clone(), self.eot_samples, list(range(len(batch)))
        while left:
            inside, labels = batch.images[left].clamp(_INSET, 1.0 - _INSET), batch.labels[left]
            keys = [batch.indices[row] for row in left]
            smoothed = Expectation(
                defence.network, defence.noise, eot_samples=eot_samples, fixed=True, seed=batch.seed, indices=keys
            )
            with torch.no_grad():
                start = (margin(smoothed(inside), labels) < self.confidence).tolist()
            ready = [place for place, starts in enumerate(start) if starts]
            if ready:
                smoothed.noisy.indices = [keys[place] for place in ready]
                run = partial(run_foolbox, attack, smoothed, inside[ready], labels[ready])
                found = smoothed.fitting(
                    run, f"the gradients of {len(ready)} images by {eot_samples} noisy copies each"
                )
                none = (
                    (found == 0.0).flatten(1).all(1)
                )  # Foolbox's answer where no point was adversarial: a black image
                rows = [left[place] for place in ready]
                nearest[rows] = torch.where(none.view(-1, *[1] * (found.ndim - 1)), batch.images[rows], found)
            if defence.noise is None or eot_samples >= MOST_SAMPLES:
                break
            left, eot_samples = (
                [row for row, starts in zip(left, start, strict=True) if not starts],
                min(2 * eot_samples, MOST_SAMPLES),
            )
        return nearest
