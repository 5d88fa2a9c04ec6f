"""The paper's MNIST network (section 6, after Tramèr et al.; layer sizes as in the released code)."""

from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.models.layers import Dropout, glorot_uniform

__all__ = ["PaperMNIST"]


class PaperMNIST(nn.Module):
    """conv 5x5-64, ReLU, conv 5x5-64, ReLU, dropout .25, FC 128, ReLU, dropout .5, FC 10; no padding.

    Weights are initialised by `glorot_uniform`, the default of Keras. Pixels in [0, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 64, 5),
            nn.ReLU(),
            nn.Conv2d(64, 64, 5),
            nn.ReLU(),
            Dropout(0.25),
            nn.Flatten(),
            nn.Linear(64 * 20 * 20, 128),
            nn.ReLU(),
            Dropout(0.5),
            nn.Linear(128, 10),
        )
        glorot_uniform(self)

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        """Return logits."""
        logits: Tensor = self.layers(images)
        return logits
