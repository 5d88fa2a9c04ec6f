"""SmoothAdv (Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", 2019)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.errors import require_count
from noiseproof.noises import Noise
from noiseproof.objectives.base import BatchLoss, Objective, forward, inconsistency, mean_prediction, nonnegative
from noiseproof.objectives.inner import evaluating, step_or
from noiseproof.perturbations.ascent import ascend
from noiseproof.randomness import RandomSource

__all__ = ["SmoothAdv"]


@dataclass(frozen=True)
class SmoothAdv(Objective):
    """mean_i CE(f(x' + d_i), y) at x' = argmax over |x' - x|_2 <= epsilon of -log mean_i F_y(x' + d_i).

    F is the softmax of f: the attack is on the smoothed classifier, by projected gradient ascent from x (SmoothAdv_PGD
    of the paper) with the model in evaluation mode. Attack and loss use the same d_i. x' stays in [0, 1], as in the
    released code; x' + d_i is not clipped. The loss is over all copies (--train-multi-noise there).

    A consistency weight lambda adds lambda * mean_i KL(Fbar || F(x' + d_i)) + eta * H(Fbar), with Fbar the mean of the
    F(x' + d_i): "SmoothAdv + Consistency" of Jeong & Shin (2020), with lambda 1 and eta .5 on MNIST.

    Args:
        epsilon: radius of the l_2 ball, in units of a pixel; .25, .5, 1 and 2 in the paper's CIFAR-10 models, 1 in
        Jeong
            & Shin (2020) on MNIST. Published with a warm-up over the first epochs.
        steps: number of ascent steps; 2 to 10 in the paper.
        copies: m of the paper, the number of noisy copies of every image; 1 to 8 there, 4 in Jeong & Shin on MNIST.
        step_size: length of a step; None is 2 epsilon / steps, as in the released code.
        consistency: lambda; 0 (SmoothAdv as published) omits both terms.
        entropy_weight: eta, used if lambda is not 0.

    Raises:
        InvalidInputError: a negative or infinite epsilon, step size or weight, fewer than 1 step or copy, or consistency
            with a single copy.
    """

    epsilon: float = 1.0
    steps: int = 10
    copies: int = 4
    step_size: float | None = None
    consistency: float = 0.0
    entropy_weight: float = 0.5

    noisy = True
    ramps = "epsilon"

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", nonnegative("epsilon", self.epsilon, "It is in units of a pixel."))
        require_count("steps", self.steps, 1, "10 is the paper's largest.")
        for name in ("consistency", "entropy_weight"):
            object.__setattr__(self, name, nonnegative(name, getattr(self, name), "Published: 1, and 0.5."))
        require_count("copies", self.copies, 2 if self.consistency else 1, "Published: 1 to 8; 4 with consistency.")
        if self.step_size is not None:
            object.__setattr__(self, "step_size", nonnegative("step_size", self.step_size, "None chooses one."))

    @property
    def passes(self) -> int:
        """One for each copy in every step and in the loss."""
        return self.copies * (self.steps + 1)

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss with all copies in one forward pass; the logits are those of the first copy."""
        draws = torch.cat([noise.draw(images, source) for _ in range(self.copies)])
        repeats = (self.copies, *[1] * (images.ndim - 1))

        def smoothed_loss(points: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
            log_p = forward(network, points.repeat(repeats) + draws).log_softmax(1)
            return F.nll_loss(mean_prediction(log_p.reshape(self.copies, len(images), -1)), labels, reduction="none")

        with evaluating(model) as network:
            found = ascend(
                smoothed_loss,
                images.clone(),
                images,
                norm="l2",
                epsilon=self.epsilon,
                steps=self.steps,
                step_size=step_or(self.step_size, 2.0 * self.epsilon / self.steps),
            )
        logits = forward(model, found.repeat(repeats) + draws)
        loss = F.cross_entropy(logits, labels.repeat(self.copies))
        if self.consistency:
            log_p = logits.log_softmax(1).reshape(self.copies, len(images), -1)
            loss = loss + inconsistency(log_p, self.consistency, self.entropy_weight)
        return BatchLoss(loss, logits[: len(images)])
