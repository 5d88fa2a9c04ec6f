"""The paper's networks begin as Keras would begin them."""

import math

import pytest
import torch
from torch import nn

from noiseproof import models
from noiseproof.models.layers import glorot_uniform, he_normal


def test_glorot_uniform() -> None:
    network = nn.Sequential(nn.Conv2d(3, 40, 5), nn.ReLU(), nn.Linear(700, 300), nn.Linear(4, 2, bias=False))
    torch.manual_seed(0)
    glorot_uniform(network)
    for layer, fans in ((network[0], (3 + 40) * 25), (network[2], 1000)):
        bound = math.sqrt(6.0 / fans)
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() > 0.99 * bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3.0), rel=0.03)
        assert (layer.bias == 0.0).all()


def test_he_normal() -> None:
    network = nn.Sequential(nn.Conv2d(3, 200, 5), nn.ReLU(), nn.Linear(700, 300))
    torch.manual_seed(0)
    he_normal(network)
    for layer, inputs in ((network[0], 75), (network[2], 700)):
        deviation = math.sqrt(2.0 / inputs)
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.02)
        assert layer.weight.abs().max().item() == pytest.approx(2.0 * deviation / 0.8796, rel=0.01)
        assert (layer.bias == 0.0).all()


@pytest.mark.parametrize(("name", "largest"), [("paper-mnist", 6.0 / (64 * 25 * 2)), ("paper-cifar", None)])
def test_the_papers_networks_use_them(name: str, largest: float | None) -> None:
    torch.manual_seed(0)
    network = models.build(name)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert all((layer.bias == 0.0).all() for layer in layers)
    if largest is not None:
        assert layers[1].weight.abs().max().item() == pytest.approx(math.sqrt(largest), rel=0.01)
    else:
        assert layers[0].weight.std().item() == pytest.approx(math.sqrt(2.0 / 75), rel=0.05)
    torch.manual_seed(0)
    again = models.build(name)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
