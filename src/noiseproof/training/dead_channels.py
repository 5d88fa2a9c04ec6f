"""Dead channels: a ReLU channel that is 0 for every image has no gradient, and remains 0."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.classifiers.runners import in_evaluation_mode

__all__ = ["dead_share"]


def dead_share(network: nn.Module, images: Float[Tensor, "images *shape"]) -> float:
    """Return the largest share, over all ReLU layers, of channels that are 0 everywhere on all of these images.

    Training under noise with too high a learning rate kills most channels of a layer within the first hundred steps; loss
    and accuracy then look like those of a hard problem. A few dead channels are common, and harmless.

    Args:
        network: any; only `nn.ReLU` modules are examined, and one that is used several times at its last use.
        images: a few hundred, as the objective presents them, on the device of the network.
    """
    shares: dict[nn.Module, float] = {}

    def look(module: nn.Module, _: Any, output: Tensor) -> None:
        alive = (output > 0.0).transpose(0, 1).flatten(1).any(1)
        shares[module] = 1.0 - float(alive.float().mean())

    layers = [module for module in network.modules() if isinstance(module, nn.ReLU)]
    handles = [layer.register_forward_hook(look) for layer in layers]
    try:
        with torch.inference_mode():
            in_evaluation_mode(network)(images)
    finally:
        for handle in handles:
            handle.remove()
    return max(shares.values(), default=0.0)
