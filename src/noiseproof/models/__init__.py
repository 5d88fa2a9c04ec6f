"""Networks: pixels in [0, 1] in, logits out; any normalisation is the first layer."""

from noiseproof.models.checkpoint import Checkpoint, load_checkpoint, model_digest, save_checkpoint
from noiseproof.models.digits_cnn import DigitsCNN
from noiseproof.models.external import LoadedModel, load_model
from noiseproof.models.paper_cifar import PaperCIFAR
from noiseproof.models.paper_mnist import PaperMNIST
from noiseproof.models.registry import build, names

__all__ = [
    "Checkpoint",
    "DigitsCNN",
    "LoadedModel",
    "PaperCIFAR",
    "PaperMNIST",
    "build",
    "load_checkpoint",
    "load_model",
    "model_digest",
    "names",
    "save_checkpoint",
]
