"""Networks: pixels in [0, 1] in, logits out; any normalisation is the first layer."""

from typing import TYPE_CHECKING, Any

from noiseproof.models.registry import MODELS

if TYPE_CHECKING:
    from noiseproof.models.by_name import build as build
    from noiseproof.models.by_name import ensemble_name as ensemble_name
    from noiseproof.models.by_name import member_names as member_names
    from noiseproof.models.by_name import names as names
    from noiseproof.models.checkpoint import Checkpoint as Checkpoint
    from noiseproof.models.checkpoint import load_checkpoint as load_checkpoint
    from noiseproof.models.checkpoint import model_digest as model_digest
    from noiseproof.models.checkpoint import save_checkpoint as save_checkpoint
    from noiseproof.models.cifar_resnet import CIFARResNet as CIFARResNet
    from noiseproof.models.cifar_resnet import cifar_resnet20 as cifar_resnet20
    from noiseproof.models.cifar_resnet import cifar_resnet110 as cifar_resnet110
    from noiseproof.models.digits_cnn import DigitsCNN as DigitsCNN
    from noiseproof.models.ensemble import Ensemble as Ensemble
    from noiseproof.models.external import find_checkpoint as find_checkpoint
    from noiseproof.models.external import load as load
    from noiseproof.models.imagenet_resnet import resnet50 as resnet50
    from noiseproof.models.kw_networks import kw_cifar_large as kw_cifar_large
    from noiseproof.models.kw_networks import kw_cifar_small as kw_cifar_small
    from noiseproof.models.kw_networks import kw_mnist_large as kw_mnist_large
    from noiseproof.models.kw_networks import kw_mnist_small as kw_mnist_small
    from noiseproof.models.lenet import LeNet as LeNet
    from noiseproof.models.lenet import lenet_wide as lenet_wide
    from noiseproof.models.loaded import LoadedModel as LoadedModel
    from noiseproof.models.normalise import CIFAR10 as CIFAR10
    from noiseproof.models.normalise import IMAGENET as IMAGENET
    from noiseproof.models.normalise import Normalise as Normalise
    from noiseproof.models.normalise import with_normalisation as with_normalisation
    from noiseproof.models.paper_cifar import PaperCIFAR as PaperCIFAR
    from noiseproof.models.paper_mnist import PaperMNIST as PaperMNIST
    from noiseproof.models.small_cnn import SmallCNN as SmallCNN
    from noiseproof.models.zoo import fetch as fetch
    from noiseproof.models.zoo import shipped as shipped

__all__ = list(MODELS.exports)


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        return MODELS.export(name)


def __dir__() -> list[str]:
    return sorted(__all__)
