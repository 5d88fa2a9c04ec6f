"""A small convolutional network for the built-in data set of 8 x 8 digits."""

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["DigitsCNN"]


class DigitsCNN(nn.Module):
    """conv 3x3-16, ReLU, conv 3x3-32, ReLU, max-pool 2, FC 64, ReLU, FC 10: 38 282 parameters, pixels in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, images: Float[Tensor, "batch 1 8 8"]) -> Float[Tensor, "batch 10"]:
        """Return logits."""
        logits: Tensor = self.layers(images)
        return logits
