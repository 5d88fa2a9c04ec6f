"""Points of 8-bit images: they lie in the ball, on the levels, and as far out as rounding permits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noiseproof.perturbations.balls import distance, project
from noiseproof.perturbations.levels import LEVELS, off_levels, on_levels, round_within


def eight_bit(count: int, size: int, seed: int) -> torch.Tensor:
    return (
        torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 1, size, size)).astype(np.float32))
        / LEVELS
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from(["l1", "l2", "linf"]), st.floats(1e-4, 3.0))
def test_points_are_8_bit_images_within_the_ball(seed: int, norm: str, epsilon: float) -> None:
    images = eight_bit(3, 5, seed)
    moved = (images + torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)) * epsilon).clamp(0, 1)
    epsilons = torch.tensor([epsilon, epsilon / 2, 0.0], dtype=torch.float64)
    rounded = round_within(project(moved, images, norm, epsilons), images, norm, epsilons)
    assert not off_levels(rounded).any()
    assert ((rounded >= 0) & (rounded <= 1)).all()
    assert (distance(on_levels(rounded), on_levels(images), norm) <= epsilons * (1 + 1e-12)).all()
    assert torch.equal(rounded[2], images[2]), "within 0 there is the image alone"


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_what_8_bits_cost_an_attack(norm: str) -> None:
    """A point that is on the levels stays; one on the sphere keeps 95 % of its distance, where pixels move by levels."""
    images = eight_bit(4, 28, 0)
    epsilons = torch.tensor([0.1 if norm == "linf" else 2.0] * 4, dtype=torch.float64)
    there = eight_bit(4, 28, 1)
    assert torch.equal(round_within(there, images, norm, torch.full((4,), 100.0, dtype=torch.float64)), there)
    step = torch.where(there > 0.5, 1.0, -1.0) * (0.1 if norm == "linf" else 2.0 / 28)
    found = round_within((images + step).clamp(0, 1), images, norm, epsilons)
    kept = distance(found, images, norm) / distance((images + step).clamp(0, 1), images, norm)
    assert (kept > 0.95).all()


def test_a_level_exactly_at_epsilon_is_reached() -> None:
    images = eight_bit(1, 6, 0).clamp(0, 200 / LEVELS)
    found = round_within(images + 5 / LEVELS, images, "linf", torch.tensor([5 / LEVELS], dtype=torch.float64))
    assert torch.equal((found * LEVELS).round(), (images * LEVELS).round() + 5)


def test_what_is_off_the_levels() -> None:
    images = torch.tensor([[0.0, 1 / 255, 0.5, 1.0, 254 / 255, 0.3001, 77 / 255 + 1e-6]])
    assert off_levels(images).tolist() == [[False, False, True, False, False, True, True]]
    levels = torch.arange(256)
    for way in (levels / 255, levels * torch.tensor(1 / 255), (levels.double() / 255).float()):
        assert not off_levels(way[None]).any(), "however float32 rounds k / 255"
