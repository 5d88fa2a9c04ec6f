"""The small and large networks of Wong, Schmidt, Metzen & Kolter 2018, section 4 (the paper's [17]).

Weights have the names of the released files ("0.weight", "2.weight", ...). Each file contains a list of networks, the
stages of a cascade; save the one to load: `torch.save(torch.load(file, weights_only=True)["state_dict"][0], "stage.pth")`.
"""

from torch import nn

from noiseproof.models.normalise import with_normalisation

__all__ = ["kw_cifar_large", "kw_cifar_small", "kw_mnist_large", "kw_mnist_small"]

_CIFAR = ((0.485, 0.456, 0.406), (0.225, 0.225, 0.225))
"""Mean and standard deviation per channel in the authors' training; equal deviations map a ball to a ball."""


def kw_mnist_small() -> nn.Module:
    """Build conv 4x4/2-16, conv 4x4/2-32, FC 100, FC 10 for (1, 28, 28): 4804 ReLUs; pixels in [0, 1]."""
    return _small(1, 28)


def kw_mnist_large() -> nn.Module:
    """Build conv 3x3-32, 4x4/2-32, 3x3-64, 4x4/2-64, FC 512, FC 512, FC 10 for (1, 28, 28): 48 064 ReLUs."""
    return _large(1, 28)


def kw_cifar_small() -> nn.Module:
    """Build the small network for (3, 32, 32): 6244 ReLUs; pixels in [0, 1], normalised inside."""
    return with_normalisation(_small(3, 32), *_CIFAR)


def kw_cifar_large() -> nn.Module:
    """Build the large network for (3, 32, 32): 62 464 ReLUs; pixels in [0, 1], normalised inside."""
    return with_normalisation(_large(3, 32), *_CIFAR)


def _small(channels: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        *_halving(channels, 16),
        *_halving(16, 32),
        nn.Flatten(),
        nn.Linear(32 * (side // 4) ** 2, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def _large(channels: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        *_keeping(channels, 32),
        *_halving(32, 32),
        *_keeping(32, 64),
        *_halving(64, 64),
        nn.Flatten(),
        nn.Linear(64 * (side // 4) ** 2, 512),
        nn.ReLU(),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    )


def _keeping(inputs: int, outputs: int) -> tuple[nn.Conv2d, nn.ReLU]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()


def _halving(inputs: int, outputs: int) -> tuple[nn.Conv2d, nn.ReLU]:
    return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()
