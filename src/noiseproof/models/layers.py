"""Layers and initialisations of several networks: fast dropout on the CPU, and the initial weights of Keras."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError

__all__ = ["Dropout", "glorot_uniform", "he_normal"]

_CUT = 0.87962566103423978
"""Standard deviation of a standard normal variable truncated to [-2, 2]."""

_BYTE = 256


class Dropout(nn.Dropout):
    """`nn.Dropout` for a p that is a multiple of 1/256; faster on the CPU, with another random stream.

    On the CPU torch draws masks element by element on one thread, which takes an eighth of a training step of the paper's
    MNIST network. Here each random 64-bit word gives the masks of eight elements, one byte each: an element is dropped if
    its byte is below 256 p, which has probability exactly p.

    Raises:
        InvalidInputError: 256 p is no integer, or p is 1.
        ValueError: p is not in [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)
        if not float(_BYTE * p).is_integer() or p == 1.0:
            raise InvalidInputError(
                "p", required="a whole number of 256ths, below 1", got=p, remedy="Take nn.Dropout for others."
            )

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """In training mode, set elements to 0 with probability p and scale the others by 1 / (1 - p)."""
        if not self.training or values.device.type != "cpu":
            return super().forward(values)
        words = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        order = torch.empty_like(values, device="meta").stride()
        draws = words.view(torch.uint8).as_strided(values.shape, order)
        return values * (draws >= round(_BYTE * self.p)).to(values.dtype).mul_(1.0 / (1.0 - self.p))


def glorot_uniform(network: nn.Module) -> None:
    """Initialise convolutions and linear layers in place with uniform weights, the default of Keras; biases are 0.

    W ~ U(-a, a),   a = sqrt(6 / (fan_in + fan_out))     (Glorot and Bengio 2010)

    torch's default weights are up to three times smaller in the paper's MNIST network, and its biases are not 0. With them,
    training under noise at the paper's learning rate leaves nearly all channels of the second convolution at 0
    (docs/lab-notes.md).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            _no_bias(module)


def he_normal(network: nn.Module) -> None:
    """Initialise convolutions and linear layers in place with truncated normal weights; biases are 0.

    W ~ N(0, s^2) truncated to [-2 s, 2 s], with s such that Var W = 2 / fan_in     (He et al. 2015; Keras' `he_normal`)
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            inputs = module.weight[0].numel()
            deviation = math.sqrt(2.0 / inputs) / _CUT
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2.0 * deviation, b=2.0 * deviation)
            _no_bias(module)


def _no_bias(module: nn.Conv2d | nn.Linear) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)
