"""Dead channels are counted, and said."""

import json
from pathlib import Path

import torch
from torch import nn

from noiseproof.training.dead_channels import dead_share


def network(dead: int) -> nn.Sequential:
    """Eight channels, so many of which answer to nothing; then four units, one of which does not."""
    convolution, linear = nn.Conv2d(1, 8, 3), nn.Linear(8 * 36, 4)
    with torch.no_grad():
        convolution.weight.abs_()
        convolution.bias.fill_(0.1)
        convolution.bias[:dead] = -100.0
        linear.weight.abs_()
        linear.bias.fill_(0.1)
        linear.bias[0] = -1e6
    return nn.Sequential(convolution, nn.ReLU(), nn.Dropout(0.9), nn.Flatten(), linear, nn.ReLU())


def test_the_worst_layer_counts() -> None:
    images = torch.rand(20, 1, 8, 8)
    assert dead_share(network(dead=2), images) == 0.25
    assert dead_share(network(dead=7), images) == 0.875
    assert dead_share(network(dead=0), images) == 0.25  # of the four units
    assert dead_share(nn.Linear(3, 2), torch.rand(4, 3)) == 0.0


def test_one_image_that_it_answers_to_keeps_a_channel_alive() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.fill_(-0.5)
    images = torch.zeros(10, 1, 4, 4)
    assert dead_share(net, images) == 1.0
    images[7, 0, 2, 3] = 0.6
    assert dead_share(net, images) == 0.0


def test_the_network_is_left_as_it_was() -> None:
    net = network(dead=1)
    net.train()
    dead_share(net, torch.rand(3, 1, 8, 8))
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())


def test_it_is_in_the_log(tmp_path: Path) -> None:
    from noiseproof import data
    from noiseproof.noises import Gaussian
    from noiseproof.objectives import GaussianAugmentation
    from noiseproof.training import LOG, TrainingSettings, train

    common = {"model": "digits-cnn", "objective": GaussianAugmentation(), "noise": Gaussian(0.5), "epochs": 1}
    train(TrainingSettings(**common), data.load("digits", "train"), tmp_path / "good")
    train(TrainingSettings(**common, learning_rate=0.05), data.load("digits", "train"), tmp_path / "dying")
    good, dying = (
        json.loads((tmp_path / name / LOG).read_text().splitlines()[-1])["dead"] for name in ("good", "dying")
    )
    assert good < 0.5 < dying
