"""Networks: pixels in [0, 1] in, logits out; any normalisation is the first layer."""

from noiseproof.models.checkpoint import Checkpoint, load_checkpoint, model_digest, save_checkpoint
from noiseproof.models.cifar_resnet import CIFARResNet, cifar_resnet20, cifar_resnet110
from noiseproof.models.digits_cnn import DigitsCNN
from noiseproof.models.ensemble import Ensemble
from noiseproof.models.external import LoadedModel, load_model
from noiseproof.models.imagenet_resnet import resnet50
from noiseproof.models.kw_networks import kw_cifar_large, kw_cifar_small, kw_mnist_large, kw_mnist_small
from noiseproof.models.lenet import LeNet, lenet_wide
from noiseproof.models.normalise import CIFAR10, IMAGENET, Normalise, with_normalisation
from noiseproof.models.paper_cifar import PaperCIFAR
from noiseproof.models.paper_mnist import PaperMNIST
from noiseproof.models.registry import build, ensemble_name, member_names, names
from noiseproof.models.small_cnn import SmallCNN
from noiseproof.models.zoo import fetch, shipped

__all__ = [
    "CIFAR10",
    "IMAGENET",
    "CIFARResNet",
    "Checkpoint",
    "DigitsCNN",
    "Ensemble",
    "LeNet",
    "LoadedModel",
    "Normalise",
    "PaperCIFAR",
    "PaperMNIST",
    "SmallCNN",
    "build",
    "cifar_resnet20",
    "cifar_resnet110",
    "ensemble_name",
    "fetch",
    "kw_cifar_large",
    "kw_cifar_small",
    "kw_mnist_large",
    "kw_mnist_small",
    "lenet_wide",
    "load_checkpoint",
    "load_model",
    "member_names",
    "model_digest",
    "names",
    "resnet50",
    "save_checkpoint",
    "shipped",
    "with_normalisation",
]
