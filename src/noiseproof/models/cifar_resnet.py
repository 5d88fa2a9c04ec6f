"""Residual networks for CIFAR-10 (He, Zhang, Ren & Sun 2016, "Deep residual learning", section 4.2)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError
from noiseproof.models.normalise import CIFAR10, with_normalisation

__all__ = ["CIFARResNet", "cifar_resnet20", "cifar_resnet110"]


def cifar_resnet20() -> nn.Module:
    """Build the network with 20 layers and 269 722 parameters; pixels in [0, 1], normalised inside by `CIFAR10`."""
    return with_normalisation(CIFARResNet(20), *CIFAR10)


def cifar_resnet110() -> nn.Module:
    """Build the network with 110 layers and 1 727 962 parameters; pixels in [0, 1], normalised inside by `CIFAR10`.

    SGD with a learning rate of .1 does not start to converge; He et al. use .01 until the training error is below 80 %.
    """
    return with_normalisation(CIFARResNet(110), *CIFAR10)


class CIFARResNet(nn.Module):
    """conv 3x3-16, n blocks each with 16, 32 and 64 channels, global average pooling and FC: 6n + 2 layers.

    A block is two 3x3 convolutions with batch normalisation and a shortcut; the first blocks with 32 and with 64 channels
    halve height and width. Weights have torchvision's names. Inputs must be normalised: see `with_normalisation`.

    Args:
        depth: number of layers, 6n + 2.
        projection: whether shortcuts that change the size are 1x1 convolutions with batch normalisation (option B of He
            et al.), as in the released networks of Cohen et al. (2019). Otherwise they take every second pixel and add
            channels of zeros (option A, the choice of He et al. for CIFAR-10, without parameters).
        num_classes: number of outputs.

    Raises:
        InvalidInputError: the depth is not 6n + 2 for an n >= 1.
    """

    def __init__(self, depth: int, *, projection: bool = False, num_classes: int = 10) -> None:
        super().__init__()
        n, rest = divmod(depth - 2, 6)
        if n < 1 or rest:
            raise InvalidInputError(
                "depth", required="6n + 2 for an n >= 1", got=depth, remedy="The paper has 20, 32, 44, 56 and 110."
            )
        self.conv1 = _conv3x3(3, 16, 1)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _blocks(n, 16, 16, 1, projection=projection)
        self.layer2 = _blocks(n, 16, 32, 2, projection=projection)
        self.layer3 = _blocks(n, 32, 64, 2, projection=projection)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Return logits."""
        features = F.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.fc(features.mean((2, 3)))
        return logits


class _Block(nn.Module):
    """relu(conv-bn-relu-conv-bn(x) + shortcut(x)); the shortcut has torchvision's name, `downsample`."""

    def __init__(self, inputs: int, outputs: int, stride: int, downsample: nn.Module) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv3x3(outputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = downsample

    def forward(self, features: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        residual: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(features)))))
        return F.relu(residual + self.downsample(features))


class _Padded(nn.Module):
    """The shortcut of option A: every stride-th pixel, and `more` channels of zeros after the existing ones."""

    def __init__(self, more: int, stride: int) -> None:
        super().__init__()
        self.more = more
        self.stride = stride

    def forward(self, features: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        return F.pad(features[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))


def _blocks(n: int, inputs: int, outputs: int, stride: int, *, projection: bool) -> nn.Sequential:
    shortcut: nn.Module = nn.Identity()
    if inputs != outputs and projection:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
    elif inputs != outputs:
        shortcut = _Padded(outputs - inputs, stride)
    first = _Block(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1, nn.Identity()) for _ in range(n - 1)))


def _conv3x3(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
