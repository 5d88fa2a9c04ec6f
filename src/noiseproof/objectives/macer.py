"""MACER (Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", ICLR 2020)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.errors import InvalidInputError, require_count
from noiseproof.noises import Gaussian, Noise
from noiseproof.objectives.base import BatchLoss, Objective, forward, mean_prediction, noisy_copies, nonnegative
from noiseproof.randomness import RandomSource

__all__ = ["MACER"]


@dataclass(frozen=True)
class MACER(Objective):
    """-log mean_i F_y(x + d_i) + weight * sigma / 2 * max{margin - (Phi^-1(p1) - Phi^-1(p2)), 0}, for Gaussian noise.

    F is the softmax of f. p1 >= p2 are the two largest entries of p = mean_i softmax(inverse_temperature * f(x + d_i)).
    The second term is used only where the class of p1 is y: there it increases the certified radius sigma / 2
    (Phi^-1(p1) - Phi^-1(p2)) up to margin * sigma / 2. As in the released code, the first term has no temperature.

    Where p1 rounds to 1 or p2 to 0 the radius exceeds the margin, so the second term and its gradient are 0, never
    infinite. The first term is computed in log space and stays finite if every copy is misclassified with certainty.

    Args:
        weight: lambda of the paper: 12 on CIFAR-10 at sigma .25 (the released default), 4 at .5; on MNIST Jeong & Shin
            (2020) use 16 at .25 and .5, 6 at 1.
        margin: gamma of the paper, the threshold of the hinge in units of sigma / 2.
        inverse_temperature: beta of the paper.
        copies: k of the paper, the number of noisy copies of every image.

    Raises:
        InvalidInputError: a negative or infinite weight, margin or inverse_temperature, or fewer than 1 copy; when
            called, noise that is not Gaussian.
    """

    weight: float = 12.0
    margin: float = 8.0
    inverse_temperature: float = 16.0
    copies: int = 16

    noisy = True
    ramps = "weight"

    def __post_init__(self) -> None:
        for name in ("weight", "margin", "inverse_temperature"):
            value = nonnegative(name, getattr(self, name), "Published: weight 12, margin 8, inverse_temperature 16.")
            object.__setattr__(self, name, value)
        require_count("copies", self.copies, 1, "16 is the paper's.")

    @property
    def passes(self) -> int:
        """One for each copy."""
        return self.copies

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        noise: Noise,
        source: RandomSource,
    ) -> BatchLoss:
        """Compute the loss with all copies in one forward pass; the logits are those of the first copy."""
        if not isinstance(noise, Gaussian):
            raise InvalidInputError(
                "noise",
                required="Gaussian for MACER, which maximises the certified radius of Gaussian noise",
                got=repr(noise),
                remedy="Choose another objective for this noise.",
            )
        logits = forward(model, noisy_copies(images, noise, source, self.copies))
        copies = logits.reshape(self.copies, len(images), -1)
        supervised = F.nll_loss(mean_prediction(copies.log_softmax(2)), labels)
        short = self._short_of_margin(copies, labels).mean()
        return BatchLoss(supervised + self.weight * noise.sigma / 2 * short, copies[0])

    def _short_of_margin(
        self, logits: Float[Tensor, "copies batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return max{margin - (Phi^-1(p1) - Phi^-1(p2)), 0} where the smoothed prediction is right, otherwise 0."""
        top = (self.inverse_temperature * logits).softmax(2).mean(0).topk(2)
        p1, p2 = top.values.unbind(1)
        with torch.no_grad():
            right = top.indices[:, 0] == labels
            counts = right & (torch.special.ndtri(p1) - torch.special.ndtri(p2) < self.margin)
        # Chosen before the quantiles: 0 times the infinite derivative of a quantile would be NaN.
        gap = torch.special.ndtri(torch.where(counts, p1, 0.5)) - torch.special.ndtri(torch.where(counts, p2, 0.5))
        return torch.where(counts, self.margin - gap, 0.0)
