"""The inner maximisation of adversarial training, with the model in evaluation mode (Madry et al. 2018)."""

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

    The maximum is approximated by `steps` steps of projected gradient ascent, along the sign of the gradient for l_inf
    and along the normalised gradient for l_2. During the ascent the model is in evaluation mode, so that dropout does
    not change the objective and batch normalisation does not use intermediate examples; afterwards the mode is
    restored.

    Args:
        norm: "linf" or "l2".
        epsilon: radius of the ball, in units of a pixel in [0, 1]; in l_inf .3 is usual on MNIST and 8/255 on CIFAR-10.
        steps: number of ascent steps; 40 in Madry et al., TRADES and logit pairing on MNIST; 7 to 10 on CIFAR-10.
        step_size: length of a step in the norm; None is 2.5 epsilon / steps (Madry et al.), with which the ascent can
            reach the boundary of the ball and move along it. As published on MNIST in l_inf: .01.

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
        """Return x' found from `start`, detached from the graph; `loss` maps logits to the loss of each image."""
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
    """Yield the network in evaluation mode; afterwards the mode of each of its modules is restored.

    The network is yielded without the wrappers of data-parallel training: the ascent has no parameter gradients to
    average, and Fabric's wrapper for mixed precision does not allow other gradients than its own. Run objectives under
    `fabric.autocast()` to run the ascent in mixed precision too.
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
