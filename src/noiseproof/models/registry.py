"""Networks by name, so that a checkpoint can name its architecture."""

from collections.abc import Callable

from torch import nn

from noiseproof.errors import InvalidInputError
from noiseproof.models.digits_cnn import DigitsCNN
from noiseproof.models.paper_cifar import PaperCIFAR
from noiseproof.models.paper_mnist import PaperMNIST

__all__ = ["build", "names"]

_BY_NAME: dict[str, Callable[[], nn.Module]] = {
    "digits-cnn": DigitsCNN,
    "paper-mnist": PaperMNIST,
    "paper-cifar": PaperCIFAR,
}


def names() -> tuple[str, ...]:
    """Return the names that `build` knows."""
    return tuple(_BY_NAME)


def build(name: str) -> nn.Module:
    """Build a network with fresh weights from torch's global generator.

    Raises:
        InvalidInputError: no such name.
    """
    if name not in _BY_NAME:
        raise InvalidInputError(
            "model", required=f"one of {', '.join(_BY_NAME)}", got=repr(name), remedy="Own networks: use the library."
        )
    return _BY_NAME[name]()
