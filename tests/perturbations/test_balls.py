"""Projections onto balls within the box, against their definitions."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from noiseproof.perturbations.balls import distance, per_image, project, steepest, unblocked, uniform
from noiseproof.perturbations.norms import Norm
from noiseproof.randomness import as_source

NORMS = [Norm.LINF, Norm.L2, Norm.L1]
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}


def pictures(seed: int, dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = (9, 2, 5, 5)) -> torch.Tensor:
    """Images of which every third is black or white in most pixels: centers on the border of the box."""
    images = torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    images[::3] = images[::3].round()
    images[1::3] = (images[1::3] * 255).round() / 255
    return images


@pytest.mark.parametrize("norm", NORMS)
@given(
    seed=st.integers(0, 2**31),
    epsilon=st.sampled_from([0.0, 1e-6, 1e-3, 0.031, 0.3, 1.0, 5.0]),
    reach=st.sampled_from([1e-3, 0.5, 30.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_projected_points_lie_in_ball_and_box(
    norm: Norm, seed: int, epsilon: float, reach: float, dtype: torch.dtype
) -> None:
    center = pictures(seed, dtype)
    away = center + reach * torch.randn(center.shape, dtype=dtype, generator=torch.Generator().manual_seed(seed + 1))
    found = project(away, center, norm, epsilon)
    assert found.dtype == dtype
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    lengths = np.linalg.norm((found.double() - center.double()).flatten(1).numpy(), ORDER[norm], axis=1)
    assert (lengths <= epsilon * (1 + 1e-12) + 1e-14).all()
    assert distance(found, center, norm).numpy() == pytest.approx(lengths, rel=1e-12, abs=0)
    assert torch.allclose(project(found, center, norm, epsilon), found, rtol=0, atol=1.2e-7)
    assert torch.equal(project(center, center, norm, epsilon), center)


@pytest.mark.parametrize("norm", NORMS)
@given(
    seed=st.integers(0, 2**31),
    reach=st.sampled_from([1e-3, 0.5, 30.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_each_image_may_have_a_ball_of_its_own(norm: Norm, seed: int, reach: float, dtype: torch.dtype) -> None:
    """As far as every radius alone; equal to a call for that image with its radius, bit for bit."""
    center, radii = pictures(seed, dtype), [0.0, 1e-6, 0.1, 1 / 3, 0.7, 5.0, 1e-300, 0.031, 60.0]
    epsilon = torch.tensor(radii, dtype=torch.float64)
    away = center + reach * torch.randn(center.shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    started = uniform(center, norm, epsilon, as_source(torch.Generator().manual_seed(seed)))
    for found in (project(away, center, norm, epsilon), started):
        assert found.dtype == dtype
        assert 0.0 <= found.min() <= found.max() <= 1.0
        lengths = np.linalg.norm((found.double() - center.double()).flatten(1).numpy(), ORDER[norm], axis=1)
        assert (lengths <= np.array(radii) * (1 + 1e-12) + 1e-14).all()
    for row, radius in enumerate(radii):
        alone = slice(row, row + 1)
        assert torch.equal(
            project(away[alone], center[alone], norm, radius), project(away, center, norm, epsilon)[alone]
        )
        everywhere = uniform(center, norm, radius, as_source(torch.Generator().manual_seed(seed)))
        assert torch.equal(everywhere[alone], started[alone])


def test_values_stand_beside_their_images() -> None:
    images, values = torch.rand(3, 2, 4), torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    assert torch.equal(per_image(values, images) * images, torch.stack([images[0], 2 * images[1], images[2] / 2]))
    assert torch.equal(per_image(0.5, images) * images, images / 2)
    assert per_image(values, images).dtype == per_image(0.5, images).dtype == torch.float32


@pytest.mark.parametrize("norm", NORMS)
def test_projection_is_the_nearest_point_of_the_ball(norm: Norm) -> None:
    """p is the projection of v onto a convex set if and only if <v - p, q - p> <= 0 for all q of the set."""
    rng, epsilon = np.random.default_rng(0), 0.2
    center = torch.full((200, 6), 0.5, dtype=torch.float64)
    away = center + torch.from_numpy(rng.normal(size=(200, 6)) * rng.choice([0.02, 0.1, 0.5], size=(200, 1)))
    p = project(away, center, norm, epsilon)
    inside = distance(away, center, norm) <= epsilon
    assert 10 < inside.sum() < 190
    assert torch.allclose(p[inside], away[inside], rtol=0, atol=1e-15)
    corners = [
        np.eye(6) if norm == "l1" else rng.choice([-1.0, 1.0], size=(64, 6)),
        rng.normal(size=(200, 6)),
    ]
    for direction in np.concatenate([*corners, -corners[0]]):
        q = 0.5 + epsilon * direction / np.linalg.norm(direction, ORDER[norm])
        assert (((away - p) * (torch.from_numpy(q) - p)).sum(1) <= 1e-12).all()


@pytest.mark.parametrize("norm", NORMS)
def test_uniform_points_fill_the_ball(norm: Norm) -> None:
    """|v| / epsilon to the power of d is uniform on [0, 1], whatever the norm; and every half has half of the points."""
    center = torch.full((4000, 3), 0.5, dtype=torch.float64)
    v = uniform(center, norm, 0.4, as_source(torch.Generator().manual_seed(0))) - 0.5
    radius = np.linalg.norm(v.numpy(), ORDER[norm], axis=1) / 0.4
    assert stats.kstest(radius**3, "uniform").pvalue > 0.01
    for direction in ([1, 0, 0], [0, 0, 1], [1, 1, 0], [1, -2, 3]):
        side = int(((v.numpy() @ np.array(direction)) > 0).sum())
        assert stats.binomtest(side, 4000).pvalue > 0.01
    assert np.abs(np.corrcoef(v.numpy().T) - np.eye(3)).max() < 0.06
    larger = int((v[:, 0].abs() > v[:, 1].abs()).sum())
    assert stats.binomtest(larger, 4000).pvalue > 0.01


@pytest.mark.parametrize("norm", NORMS)
def test_uniform_points_stay_in_the_box(norm: Norm) -> None:
    center = pictures(0)
    found = uniform(center, norm, 0.7, as_source(torch.Generator().manual_seed(1)))
    assert found.shape == center.shape
    assert 0.0 <= found.min() <= found.max() <= 1.0
    assert (distance(found, center, norm) <= 0.7 * (1 + 1e-12)).all()
    assert (distance(found, center, norm) > 0).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_steepest_direction(norm: Norm, scale: float) -> None:
    torch.manual_seed(0)
    gradient = scale * torch.randn(20, 2, 4)
    gradient[3] = 0.0
    v = steepest(gradient, norm)
    assert torch.equal(v[3], torch.zeros(2, 4))
    moved = torch.arange(20) != 3
    lengths = distance(v, torch.zeros_like(v), norm)
    assert torch.allclose(lengths[moved], torch.ones(19, dtype=torch.float64), rtol=1e-6)
    best = (v * (gradient / scale)).flatten(1).sum(1)
    for _ in range(50):
        other = torch.randn(20, 2, 4)
        other /= distance(other, torch.zeros_like(v), norm).float().view(-1, 1, 1)
        assert (best >= (other * (gradient / scale)).flatten(1).sum(1) - 1e-6).all()


@given(
    seed=st.integers(0, 2**31), share=st.sampled_from([0.0, 0.1, 0.4, 0.5, 1.0]), scale=st.sampled_from([1.0, 1e-30])
)
def test_sparse_steepest_direction(seed: int, share: float, scale: float) -> None:
    """Against every choice of so many pixels and signs; pixels without gradient stay, in images all 0 all of them."""
    gradient = torch.randn(4, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    gradient[1] = 0.0
    gradient[2, :, 1:] = 0.0
    v = steepest(scale * gradient, "l1", share)
    assert v.shape == gradient.shape
    for row, moved in enumerate([8, 0, 2, 8]):
        pixels = min(moved, max(1, int(share * 8)))
        flat, mine = gradient[row].flatten().numpy(), v[row].flatten().numpy()
        assert (mine != 0).sum() == pixels
        assert np.abs(mine).sum() == pytest.approx(float(pixels > 0), rel=1e-12)
        assert np.allclose(np.abs(mine[mine != 0]), 1 / max(1, pixels))
        best = max(
            float(flat[list(chosen)] @ np.array(signs)) / max(1, pixels)
            for chosen in combinations(range(8), pixels)
            for signs in product([-1, 1], repeat=pixels)
        )
        assert flat @ mine == pytest.approx(best, rel=1e-12)


@given(seed=st.integers(0, 2**31))
def test_only_pixels_that_can_move_keep_their_gradient(seed: int) -> None:
    """By moving them: a pixel is blocked if a small step up the gradient, clamped to the box, leaves it where it is."""
    points = pictures(seed, torch.float64)
    gradient = torch.randn(points.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    gradient[:, :, 0] = 0.0
    still = (points + 1e-6 * gradient.sign()).clamp(0, 1) == points
    assert still.any()
    assert not still.all()
    assert torch.equal(unblocked(gradient, points), torch.where(still, 0.0, gradient))


def nearest_by_bisection(away: np.ndarray, center: np.ndarray, norm: Norm, epsilon: float) -> np.ndarray:
    """One image: the multiplier of the ball's constraint, each pixel by its own condition."""
    low, high = 0.0, 1e15
    for _ in range(300):
        t = 0.5 * (low + high)
        found = np.clip(_with_multiplier(away, center, norm, t), 0, 1)
        low, high = (t, high) if np.linalg.norm(found - center, ORDER[norm]) > epsilon else (low, t)
    return _with_multiplier(away, center, norm, 0.0 if high < 1e-70 else high)


def _with_multiplier(away: np.ndarray, center: np.ndarray, norm: Norm, t: float) -> np.ndarray:
    """Before the clip to the box."""
    offset = away - center
    return center + (offset / (1 + t) if norm == "l2" else np.sign(offset) * np.maximum(np.abs(offset) - t, 0))


@pytest.mark.parametrize("norm", ["l2", "l1"])
@given(
    seed=st.integers(0, 2**31),
    reach=st.sampled_from([1e-3, 0.5, 30.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_the_exact_projection_is_the_nearest_point_of_ball_and_box(
    norm: Norm, seed: int, reach: float, dtype: torch.dtype
) -> None:
    """Against bisection, for radii of each image's own; equal to a call for it alone; and it moves no point of both."""
    center, radii = pictures(seed, dtype), [0.0, 1e-6, 0.1, 1 / 3, 0.7, 5.0, 1e-300, 0.031, 60.0]
    epsilon = torch.tensor(radii, dtype=torch.float64)
    away = center + reach * torch.randn(center.shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    found = project(away, center, norm, epsilon, exact=True)
    assert found.dtype == dtype
    assert 0.0 <= found.min() <= found.max() <= 1.0
    assert (distance(found, center, norm).numpy() <= np.array(radii) * (1 + 1e-12) + 1e-14).all()
    for row, radius in enumerate(radii):
        y, x = (images[row].flatten().double().numpy() for images in (away, center))
        free, mine = nearest_by_bisection(y, x, norm, radius), found[row].flatten().numpy()
        assert np.allclose(mine, np.clip(free, 0, 1), rtol=0, atol=1e-12 if dtype == torch.float64 else 1.2e-7)
        at_wall = (free > 1 + 1e-6) | (free < -1e-6)
        assert (mine[at_wall] == np.clip(free[at_wall], 0, 1)).all(), "rounding takes no pixel from its wall"
        alone = slice(row, row + 1)
        assert torch.equal(project(away[alone], center[alone], norm, radius, exact=True), found[alone])
    again = project(found, center, norm, epsilon, exact=True)
    assert torch.allclose(again, found, rtol=0, atol=1.2e-7)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_no_solver_finds_a_nearer_point_and_the_cheap_projection_does_not_either(norm: Norm) -> None:
    rng, cheaper = np.random.default_rng(1), 0
    for _ in range(15):
        x = np.where(rng.random(6) < 0.5, rng.integers(0, 2, 6), rng.random(6))
        y, epsilon = x + 0.6 * rng.normal(size=6), float(rng.choice([0.2, 0.5]))
        own, cheap = (
            project(torch.from_numpy(y)[None], torch.from_numpy(x)[None], norm, epsilon, exact=exact)[0].numpy()
            for exact in (True, False)
        )
        # x + up - down with up, down >= 0 makes both norms smooth
        halves = [*((0.0, 1.0 - value) for value in x), *((0.0, value) for value in x)]
        length = (lambda v: v.sum()) if norm == "l1" else (lambda v: np.sqrt(((v[:6] - v[6:]) ** 2).sum() + 1e-30))
        solved = optimize.minimize(
            lambda v, x=x, y=y: float(((x + v[:6] - v[6:] - y) ** 2).sum()),
            np.full(12, 0.01),
            bounds=halves,
            constraints=[{"type": "ineq", "fun": lambda v, e=epsilon, length=length: e - length(v)}],
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert ((own - y) ** 2).sum() <= solved.fun + 1e-6
        assert ((own - y) ** 2).sum() <= ((cheap - y) ** 2).sum() + 1e-12
        cheaper += ((own - y) ** 2).sum() < ((cheap - y) ** 2).sum() - 1e-3
    assert cheaper >= 5, "the two differ where walls are near"


def test_in_linf_the_projection_is_exact_in_any_case() -> None:
    center = pictures(4)
    away = center + torch.randn(center.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(project(away, center, "linf", 0.3, exact=True), project(away, center, "linf", 0.3))
