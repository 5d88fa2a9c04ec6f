"""The inner maximisation of adversarial training, while the model is in evaluation mode (Madry et al. 2018)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from noiseproof.errors import InvalidInputError, require_count
from noiseproof.objectives.base import Objective, forward, nonnegative
from noiseproof.perturbations.ascent import ascend
from noiseproof.perturbations.norms import Norm, NormLike

__all__ = ["AdversarialObjective", "evaluating", "step_or"]

"""Norms in which adversarial training is published."""


@dataclass(frozen=True)
class AdversarialObjective(Objective):
    """An objective that trains on x' = argmax over |x' - x| <= epsilon, x' in [0, 1], of an inner loss.

    The maximum is sought by `steps` steps of projected gradient ascent: by the sign of the gradient for l_inf, along the
    normalised gradient for l_2. Meanwhile the model is in evaluation mode, so that dropout does not move the maximum
    and batch normalisation does not learn from unfinished examples; the mode is then as it was.

    Args:
        norm: "linf" or "l2".
        epsilon: radius of the ball, in units of a pixel in [0, 1]; .3 is the usual one of MNIST in l_inf, 8/255 that
            of CIFAR-10.
        steps: of the ascent; 40 is what Madry et al., TRADES and logit pairing take on MNIST, 10 on CIFAR-10.
        step_size: length of a step in the norm; None is 2.5 epsilon / steps (Madry et al.), by which the ascent can
            reach and follow the ball's surface. As published on MNIST in l_inf: .01.

    Raises:
        InvalidInputError: another norm, a negative or infinite epsilon or step size, or fewer than 1 step.
    """

    norm: NormLike = "linf"
    epsilon: float = 0.3
    steps: int = 40
    step_size: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", Norm(self.norm))
        if self.norm == Norm.L1:
            raise InvalidInputError("norm", required="'linf' or 'l2'", got="'l1'", remedy="Choose one.")
        object.__setattr__(self, "epsilon", nonnegative("epsilon", self.epsilon, "It is in units of a pixel."))
        require_count("steps", self.steps, 1, "40 is usual on MNIST, 10 on CIFAR-10.")
        if self.step_size is not None:
            object.__setattr__(self, "step_size", nonnegative("step_size", self.step_size, "None chooses one."))

    def attack(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        start: Float[Tensor, "batch *shape"],
        loss: Callable[[Float[Tensor, "batch classes"]], Float[Tensor, " batch"]],
    ) -> Float[Tensor, "batch *shape"]:
        """Return x' found from `start`, without a graph; `loss` is that of each image by its logits."""
        with evaluating(model) as network:
            return ascend(
                lambda points: loss(forward(network, points)),
                start,
                images,
                norm=self.norm,
                epsilon=self.epsilon,
                steps=self.steps,
                step_size=step_or(self.step_size, 2.5 * self.epsilon / self.steps),
            )


def step_or(step_size: float | None, default: float) -> float:
    """Return the given step size, or the default."""
    return default if step_size is None else step_size


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the network in evaluation mode; afterwards each of its modules is in the mode in which it was.

    The network is yielded without the wrappers of data-parallel training: the ascent has no parameter gradients to
    average, and Fabric's wrapper of mixed precision refuses any gradient but its own. Run objectives under
    `fabric.autocast()` to have the ascent in mixed precision too.
    """
    network = model
    while isinstance(network, DistributedDataParallel) or type(network).__name__ == "_FabricModule":
        network = cast("nn.Module", network.module)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield network
    finally:
        for module, mode in modes:
            module.training = mode
