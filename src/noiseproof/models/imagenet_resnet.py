"""ResNet-50 for ImageNet at 224 x 224 (He et al. 2016), as torchvision builds it. Nothing is downloaded."""

import importlib
from typing import Any

import torch
from torch import nn

from noiseproof.errors import MissingExtraError
from noiseproof.models.normalise import IMAGENET, with_normalisation

__all__ = ["resnet50"]


def resnet50() -> nn.Module:
    """Build torchvision's ResNet-50 with random weights and 1000 classes; pixels in [0, 1], normalised by `IMAGENET`.

    Weights have torchvision's names, so its published files and others with these names can be loaded.

    Raises:
        MissingExtraError: torchvision is not installed, or was built for another version of torch.
    """
    network: nn.Module = _models().resnet50(weights=None)
    return with_normalisation(network, *IMAGENET)


def _models() -> Any:
    try:
        importlib.import_module("torchvision")
        return importlib.import_module("torchvision.models")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise _MismatchError(error) from error
        raise MissingExtraError("torchvision", extra="imagenet", needed_for="resnet50") from error
    except Exception as error:  # a build for another torch fails as RuntimeError, OSError, AttributeError, ...
        raise _MismatchError(error) from error


class _MismatchError(MissingExtraError):
    """Torchvision is installed, but was built for another version of torch."""

    def __init__(self, error: Exception) -> None:
        super(MissingExtraError, self).__init__(
            "torchvision",
            required=f"a build that matches torch {torch.__version__}",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="Install both from one index (CPU or the same CUDA): pip install --upgrade 'noiseproof[imagenet]'",
        )
