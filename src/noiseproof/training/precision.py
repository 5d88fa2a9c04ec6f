"""The precision of a training for which none is named."""

from pathlib import Path
from typing import cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from noiseproof import models
from noiseproof.classifiers import multiplies_bfloat16
from noiseproof.data import Dataset
from noiseproof.training.fit import require_fit
from noiseproof.training.settings import Precision
from noiseproof.training.state import recorded_settings

__all__ = ["usual_precision"]

_LEAST = 20_000_000
"""Products of a forward pass of one image from which bfloat16 pays (docs/training.md); below, other work prevails."""


def usual_precision(model: str, dataset: Dataset, device: torch.device, out: Path) -> Precision:
    """Return the precision in which a network is trained where none is named.

    That of the training in `out`, if there is one. Otherwise bf16 if the device multiplies bfloat16 (AMX or AVX-512 with
    bfloat16 on a CPU, a GPU from Ampere on) and a forward pass of one image has at least twenty million products, else fp32.
    Nothing is timed: the same command on the same kind of machine trains the same network.

    Args:
        model: name of the network.
        dataset: the images, whose size decides the number of products.
        device: where it is trained.
        out: the run folder.

    Raises:
        InvalidInputError: the network does not accept the images, or has other classes.
        RunError: `out` holds a damaged training.
    """
    if (begun := recorded_settings(out)) is not None:
        return cast("Precision", begun["precision"])
    if not multiplies_bfloat16(device):
        return "fp32"
    with torch.random.fork_rng(devices=[]):
        network = models.build(model).eval()
    require_fit(network, model, dataset)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *dataset.image_shape))
    return "bf16" if counter.get_total_flops() >= 2 * _LEAST else "fp32"
