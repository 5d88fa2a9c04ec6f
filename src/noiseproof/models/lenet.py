"""LeNet, the MNIST network of later work on certified training (Jeong & Shin 2020 and others; LeCun et al. 1998)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LeNet", "lenet_wide"]


class LeNet(nn.Module):
    """conv 5x5-20, max-pool 2, conv 5x5-50, max-pool 2, FC 500, FC 10: 431 080 parameters.

    ReLU after every layer but the last, convolutions without padding, pixels in [0, 1]. A forward pass takes 2.3 million
    multiplications, a twentieth of those of the paper's network. Weights are initialised by torch's default.

    Args:
        channels: output channels of the two convolutions; (32, 64) is `lenet-wide`.
        hidden: units of the first dense layer.
    """

    def __init__(self, channels: tuple[int, int] = (20, 50), hidden: int = 500) -> None:
        super().__init__()
        first, second = channels
        self.conv1 = nn.Conv2d(1, first, 5)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.fc1 = nn.Linear(4 * 4 * second, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        """Return logits."""
        hidden = F.max_pool2d(F.relu(self.conv1(images)), 2)
        hidden = F.max_pool2d(F.relu(self.conv2(hidden)), 2)
        logits: Tensor = self.fc2(F.relu(self.fc1(hidden.flatten(1))))
        return logits


def lenet_wide() -> LeNet:
    """Build LeNet with 32 and 64 channels and 512 units: 582 026 parameters, 4.3 million multiplications."""
    return LeNet((32, 64), 512)
