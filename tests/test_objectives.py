"""Each objective against a per-example NumPy oracle, and its gradient against finite differences."""

import numpy as np
import pytest
import torch
from torch import nn

from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian
from noiseproof.objectives import GaussianAugmentation, Natural, Objective, Stability
from noiseproof.randomness import as_source

NOISE = Gaussian(0.3)


def log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.max()
    return shifted - np.log(np.exp(shifted).sum())


def oracle(objective: Objective, W: np.ndarray, x: np.ndarray, noisy: np.ndarray, y: np.ndarray) -> float:
    """The objective's formula, example by example."""
    total = 0.0
    for clean, copy, label in zip(x, noisy, y, strict=True):
        at_clean, at_copy = log_softmax(W @ clean), log_softmax(W @ copy)
        if isinstance(objective, Natural):
            total += -at_clean[label]
        elif isinstance(objective, GaussianAugmentation):
            total += -at_copy[label]
        elif isinstance(objective, Stability):
            stability = -sum(np.exp(at_clean[j]) * at_copy[j] for j in range(len(at_clean)))
            total += -at_clean[label] + objective.weight * stability
    return total / len(x)


@pytest.mark.parametrize("objective", [Natural(), GaussianAugmentation(), Stability(), Stability(weight=2.5)], ids=repr)
def test_loss_and_gradient(objective: Objective) -> None:
    torch.manual_seed(0)
    x, y = torch.rand(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    model = nn.Linear(4, 3, bias=False, dtype=torch.float64)
    result = objective(model, x, y, NOISE, as_source(torch.Generator().manual_seed(5)))
    noisy = x + NOISE.sample(x, torch.Generator().manual_seed(5))
    W = model.weight.detach().numpy()

    assert result.loss.item() == pytest.approx(oracle(objective, W, x.numpy(), noisy.numpy(), y.numpy()), rel=1e-12)
    assert result.logits.shape == (6, 3)
    result.loss.backward()
    assert model.weight.grad is not None
    for i in range(3):
        for j in range(4):
            step = np.zeros_like(W)
            step[i, j] = 1e-6
            ahead, behind = (oracle(objective, W + s * step, x.numpy(), noisy.numpy(), y.numpy()) for s in (1, -1))
            assert model.weight.grad[i, j].item() == pytest.approx((ahead - behind) / 2e-6, abs=1e-8)


def test_noise_is_fresh_every_time() -> None:
    model, x, y = nn.Linear(4, 3), torch.rand(5, 4), torch.zeros(5, dtype=torch.long)
    source = as_source(torch.Generator().manual_seed(0))
    for objective in (GaussianAugmentation(), Stability()):
        assert objective(model, x, y, NOISE, source).loss != objective(model, x, y, NOISE, source).loss


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weight_outside_its_domain(weight: float) -> None:
    with pytest.raises(InvalidInputError, match="weight must be a finite number >= 0"):
        Stability(weight=weight)
