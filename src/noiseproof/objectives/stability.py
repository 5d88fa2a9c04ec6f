"""Stability Training with Noise (STN), the paper's objective (section 5.1)."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, Objective, forward, kl_divergence, noisy_copies, nonnegative
from noiseproof.randomness import RandomSource

__all__ = ["Stability"]

_Form = Literal["paper", "released-first", "released-later", "two-copies"]


@dataclass(frozen=True)
class Stability(Objective):
    """CE(f(x), y) + weight * L_stability,   L_stability = -sum_j P(y_j | x) log P(y_j | x + d).

    P is the softmax of f. The clean image is trained with its label, and its softmax prediction is the target for the
    noisy copy. As printed, the gradient flows through both factors. Clean and noisy images share one forward pass.

    Several losses have been published under this name; `form` selects one:

    - "paper": as above, section 5.1.
    - "released-first": (CE(f(x), y) + CE(f(x + d), y)) / 2, the loss of the authors' code at publication. It has no
      stability term, and so no weight.
    - "released-later": L_stability = -sum_j z_j log P(y_j | x + d) with z = f(x), the raw logits instead of their
      softmax, as in the authors' code after a later commit. No gradient flows through z, as in the cross-entropy of
      TensorFlow 1 which that code calls. z is not a distribution, so the loss is not bounded below and training need
      not converge.
    - "two-copies": CE(f(x + d), y) + weight * KL(P(. | x + d) || P(. | x + d')), with the gradient through both, as in
      the code of Yang et al., "Randomized Smoothing of All Shapes and Sizes" (ICML 2020); their weight is 6.

    The two released forms are kept because training records may contain them; use "paper" for training.

    Args:
        weight: gamma of section 5.1; 1 in the paper's experiments.
        form: the loss, one of the above.

    Raises:
        InvalidInputError: weight is negative or not finite, or not 1 for "released-first"; an unknown form.
    """

    weight: float = 1.0
    form: _Form = "paper"

    noisy = True
    passes = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative("weight", self.weight, "1 is the paper's value."))
        if self.form not in get_args(_Form):
            raise InvalidInputError(
                "form", required=f"one of {', '.join(get_args(_Form))}", got=repr(self.form), remedy="Choose one."
            )
        if self.form == "released-first" and self.weight != 1.0:
            raise InvalidInputError(
                "weight",
                required="1 for the form 'released-first', which has no stability term",
                got=repr(self.weight),
                remedy="Leave it out, or choose another form.",
            )

    @property
    def ramps(self) -> str | None:
        """The weight, unless the form is "released-first", which has none."""
        return None if self.form == "released-first" else "weight"

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss; the logits are those of the clean images, or of the first copies where there are two."""
        if self.form == "two-copies":
            first, second = forward(model, noisy_copies(images, noise, source, 2)).chunk(2)
            apart = kl_divergence(first.log_softmax(1), second.log_softmax(1)).mean()
            return BatchLoss(F.cross_entropy(first, labels) + self.weight * apart, first)
        noisy = images + noise.draw(images, source)
        clean, copy = forward(model, torch.cat([images, noisy])).chunk(2)
        supervised = F.cross_entropy(clean, labels)
        if self.form == "released-first":
            return BatchLoss((supervised + F.cross_entropy(copy, labels)) / 2, clean)
        target = clean.softmax(1) if self.form == "paper" else clean.detach()
        return BatchLoss(supervised + self.weight * F.cross_entropy(copy, target), clean)
