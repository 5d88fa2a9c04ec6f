"""Networks: pixels in [0, 1] in, logits out; any normalisation is the first layer."""

from noiseproof.models.checkpoint import Checkpoint, load_checkpoint, model_digest, save_checkpoint
from noiseproof.models.digits_cnn import DigitsCNN
from noiseproof.models.paper_mnist import PaperMNIST
from noiseproof.models.registry import build, names

__all__ = [
    "Checkpoint",
    "DigitsCNN",
    "PaperMNIST",
    "build",
    "load_checkpoint",
    "model_digest",
    "names",
    "save_checkpoint",
]
