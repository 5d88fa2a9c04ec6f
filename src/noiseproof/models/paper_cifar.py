"""The paper's CIFAR-10 network (section 6; layer sizes as in the released code, after Springenberg et al. 2015)."""

from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.models.layers import Dropout, he_normal

__all__ = ["PaperCIFAR"]


class PaperCIFAR(nn.Module):
    """Convolutions with ELU and padding that keeps the size, without batch normalisation; pixels in [0, 1].

    5x5-96, 1x1-96, max-pool 3/2, dropout .5, 5x5-192, 1x1-192, max-pool 3/2, dropout .5, 3x3-256, 1x1-256, 1x1-10 and
    global average pooling. Weights are initialised by `he_normal`, as in the released network. Max-pooling pads at the end
    only, as TensorFlow's "same" does; with `padding=1` the accuracy of the released weights is 2 to 4 points lower.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(3, 96, 5),
            *_convolution(96, 96, 1),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Dropout(0.5),
            *_convolution(96, 192, 5),
            *_convolution(192, 192, 1),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Dropout(0.5),
            *_convolution(192, 256, 3),
            *_convolution(256, 256, 1),
            nn.Conv2d(256, 10, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        he_normal(self)

    def forward(self, images: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch 10"]:
        """Return logits."""
        logits: Tensor = self.layers(images)
        return logits


def _convolution(inputs: int, outputs: int, size: int) -> tuple[nn.Conv2d, nn.ELU]:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2), nn.ELU()
