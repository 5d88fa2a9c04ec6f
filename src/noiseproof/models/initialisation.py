"""First weights as the paper's framework, Keras, draws them; torch's own default is another."""

import math

from torch import nn

__all__ = ["glorot_uniform", "he_normal"]

_CUT = 0.87962566103423978
"""Standard deviation of a standard normal number cut off at -2 and 2."""


def glorot_uniform(network: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers uniformly, Keras' default; biases 0.

    W ~ U(-a, a),   a = sqrt(6 / (fan_in + fan_out))     (Glorot and Bengio 2010)

    torch's default is up to three times smaller in the paper's MNIST network, and its biases are not 0: with it, training
    under noise at the paper's learning rate kills nearly all channels of the second convolution (docs/lab-notes.md).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            _no_bias(module)


def he_normal(network: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers from a normal law cut off at two deviations; biases 0.

    W ~ N(0, s^2) cut off at 2 s, of variance 2 / fan_in     (He et al. 2015; Keras' `he_normal`)
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
