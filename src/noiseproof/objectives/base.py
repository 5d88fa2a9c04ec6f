"""What every training objective is: the loss of one batch."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import final

from jaxtyping import Float, Int
from torch import Tensor, nn

from noiseproof.noises import Noise
from noiseproof.randomness import RandomSource

__all__ = ["BatchLoss", "Objective"]


@dataclass(frozen=True)
class BatchLoss:
    """Loss of a batch, to be minimised, and the logits by which progress shows the training accuracy."""

    loss: Float[Tensor, ""]
    logits: Float[Tensor, "batch classes"]


class Objective(ABC):
    """A training objective of section 5, or one compared with it: a frozen dataclass of its weights."""

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
            model: images to logits, in training mode.
            images: in [0, 1].
            labels: classes.
            noise: the noise the model will be certified with.
            source: all randomness of the step, one row of draws for every image; `randomness.as_source` makes one of
                a generator.
        """

    @final
    def spec(self) -> dict[str, str | float]:
        """Return the objective as plain data: its name and weights."""
        return {"name": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]
