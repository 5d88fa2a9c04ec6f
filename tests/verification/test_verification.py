"""The dual bound against theorem 1 written out, brute force, linear programs, the authors' package, and itself."""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError
from noiseproof.models.kw_networks import kw_cifar_small
from noiseproof.models.normalise import Normalise, with_normalisation
from noiseproof.noises import Gaussian
from noiseproof.objectives.convex_outer import ConvexOuter
from noiseproof.perturbations.norms import Norm
from noiseproof.randomness import as_source
from noiseproof.verification import (
    Cascade,
    CascadeAnswer,
    certified_robust,
    convex_outer,
    dual_margins,
    layer_bounds,
    windows,
)

NORMS = [Norm.L2, Norm.LINF, Norm.L1]
DUAL_ORDER = {"linf": 1, "l2": 2, "l1": np.inf}
SIZES = [(2, 2, 2), (3, 4, 3), (4, 6, 5, 3), (2, 5, 5, 5, 2)]


def mlp(sizes: Iterable[int], seed: int = 0) -> nn.Sequential:
    """A network with weights large enough for ReLUs that are dead, that are active, and that cross."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    network = nn.Sequential(*layers[:-1]).double()
    with torch.no_grad():
        for layer in network[::2]:
            layer.weight.mul_(2.5)
            layer.bias.add_(0.2)
    return network


def conv(seed: int = 0) -> nn.Sequential:
    """Strides, kernels and padding that differ by axis, rows that no kernel reaches, windows over the edge."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0)),
        nn.ReLU(),
        nn.Conv2d(3, 5, 2, (1, 2), 1),
        nn.ReLU(),
        nn.Conv2d(5, 2, (2, 1), 1, (0, 1), bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * 4 * 6, 4),
        nn.ReLU(),
        nn.Linear(4, 3),
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    return network


def images_for(network: nn.Module, count: int, shape: tuple[int, ...], seed: int = 1) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    x = torch.rand(count, *shape, dtype=torch.float64)
    return x, network(x).argmax(1)


def matrices(network: nn.Sequential, x: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every affine layer as W and b, read off by what it does to 0 and to unit vectors."""
    found, z = [], x[:1]
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                basis = torch.eye(z.numel(), dtype=z.dtype).view(-1, *z.shape[1:])
                bias = layer(torch.zeros_like(z))
                found.append(((layer(basis) - bias).flatten(1).T.numpy(), bias.flatten().numpy()))
            z = layer(z)
    return found


def theorem_1(
    maps: list[tuple[np.ndarray, np.ndarray]],
    x: np.ndarray,
    c: np.ndarray,
    bounds: list[tuple[np.ndarray, np.ndarray]],
    norm: Norm,
    epsilon: float,
) -> float:
    """J(x, nu) of Wong & Kolter, equation by equation and unit by unit, for the output c^T z of the last of `maps`."""
    nu = -c
    value = 0.0
    for i in range(len(maps) - 1, -1, -1):
        weight, bias = maps[i]
        value -= nu @ bias
        nu_hat = weight.T @ nu
        if i == 0:
            return float(value - x @ nu_hat - epsilon * np.linalg.norm(nu_hat, DUAL_ORDER[norm]))
        nu = np.zeros_like(nu_hat)
        for j, (lower, upper) in enumerate(zip(*bounds[i - 1], strict=True)):
            if upper <= 0:
                continue
            if lower >= 0:
                nu[j] = nu_hat[j]
                continue
            slope = upper / (upper - lower)
            nu[j] = slope * max(nu_hat[j], 0) - slope * max(-nu_hat[j], 0)
            value += lower * max(nu[j], 0)
    raise AssertionError


def naive(
    maps: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray, label: int, norm: Norm, epsilon: float
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    bounds: list[tuple[np.ndarray, np.ndarray]] = []
    for i in range(1, len(maps)):
        units = np.eye(len(maps[i - 1][1]))
        lower = np.array([theorem_1(maps[:i], x, e, bounds, norm, epsilon) for e in units])
        upper = np.array([-theorem_1(maps[:i], x, -e, bounds, norm, epsilon) for e in units])
        bounds.append((lower, upper))
    classes = np.eye(len(maps[-1][1]))
    return bounds, np.array([theorem_1(maps, x, classes[label] - e, bounds, norm, epsilon) for e in classes])


CASES = [(mlp(sizes), (sizes[0],)) for sizes in SIZES] + [(conv(), (2, 8, 7))]
IDS = ["-".join(map(str, sizes)) for sizes in SIZES] + ["conv"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("network", "shape"), CASES, ids=IDS)
@torch.no_grad()
def test_equals_theorem_1_unit_by_unit(network: nn.Sequential, shape: tuple[int, ...], norm: Norm) -> None:
    x, y = images_for(network, 4, shape)
    maps, epsilon, kinds = matrices(network, x), 0.3, set()
    margins, bounds = dual_margins(network, x, y, norm, epsilon), layer_bounds(network, x, norm, epsilon)
    for i in range(len(x)):
        expected_bounds, expected = naive(maps, x[i].flatten().numpy(), int(y[i]), norm, epsilon)
        for found, (lower, upper) in zip(bounds, expected_bounds, strict=True):
            assert found.lower[i].flatten().numpy() == pytest.approx(lower, rel=1e-11, abs=1e-12)
            assert found.upper[i].flatten().numpy() == pytest.approx(upper, rel=1e-11, abs=1e-12)
            kinds |= {(a < 0) + (b > 0) * 2 for a, b in zip(lower, upper, strict=True)}
        assert margins[i].numpy() == pytest.approx(expected, rel=1e-11, abs=1e-12)
        assert margins[i, y[i]] == 0.0
    assert 3 in kinds, "no unit crosses 0: nothing is tested"


def exact_minimum(maps: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray, c: np.ndarray, epsilon: float) -> float:
    """min c^T f over the l_inf ball, for one hidden layer: a linear program for each pattern of active units."""
    (w1, b1), (w2, b2) = maps
    best = math.inf
    for pattern in product([0.0, 1.0], repeat=len(b1)):
        sign = 1.0 - 2.0 * np.array(pattern)  # active: -z <= 0, dead: z <= 0
        row = c @ w2 * np.array(pattern)
        found = linprog(
            row @ w1, A_ub=sign[:, None] * w1, b_ub=-sign * b1, bounds=[(v - epsilon, v + epsilon) for v in x]
        )
        if found.status == 0:
            best = min(best, found.fun + row @ b1 + c @ b2)
    return float(best)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [(2, 2, 2), (3, 4, 3)], ids=str)
@torch.no_grad()
def test_below_the_exact_minimum_and_near_it_for_small_balls(sizes: tuple[int, ...], seed: int) -> None:
    network = mlp(sizes, seed)
    x, y = images_for(network, 2, sizes[:1], seed)
    maps, classes = matrices(network, x), np.eye(sizes[-1])
    for epsilon in (1e-6, 0.05, 0.3, 1.0):
        margins = dual_margins(network, x, y, "linf", epsilon).numpy()
        for i in range(len(x)):
            for j in set(range(sizes[-1])) - {int(y[i])}:
                truth = exact_minimum(maps, x[i].numpy(), classes[y[i]] - classes[j], epsilon)
                assert margins[i, j] <= truth + 1e-9
                crossing = any(
                    ((bound.lower[i] < 0) & (bound.upper[i] > 0)).any()
                    for bound in layer_bounds(network, x, "linf", epsilon)
                )
                if not crossing:  # then the network is linear on the ball
                    assert margins[i, j] == pytest.approx(truth, abs=1e-9)


def points_in(x: Tensor, norm: Norm, epsilon: float, count: int, seed: int) -> Tensor:
    """Points of the ball around one image, and many of its surface."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(count, x.numel(), generator=generator, dtype=x.dtype)
    v[::3] = v[::3] * (torch.rand(v[::3].shape, generator=generator) < 0.5)  # few pixels
    order = {"l2": 2.0, "linf": math.inf, "l1": 1.0}[norm]
    if norm == "linf":
        v[1::2] = v[1::2].sign()
    length = torch.linalg.vector_norm(v, order, dim=1, keepdim=True).clamp(min=1e-9)
    size = (2.0 * torch.rand(count, 1, generator=generator, dtype=x.dtype)).clamp(max=1.0)
    return x + (epsilon * size * v / length).view(count, *x.shape)


@given(
    sizes=st.sampled_from(SIZES),
    norm=st.sampled_from(NORMS),
    seed=st.integers(0, 1000),
    epsilon=st.floats(0.001, 2.0),
)
@torch.no_grad()
def test_no_point_of_the_ball_is_below(sizes: tuple[int, ...], norm: Norm, seed: int, epsilon: float) -> None:
    network = mlp(sizes, seed)
    x, y = images_for(network, 1, sizes[:1], seed)
    points = points_in(x[0], norm, epsilon, 2000, seed)
    margins, bounds = dual_margins(network, x, y, norm, epsilon), layer_bounds(network, x, norm, epsilon)
    z = points
    for number, layer in enumerate(network):
        z = layer(z)
        if number % 2 == 0 and number // 2 < len(bounds):
            assert (z >= bounds[number // 2].lower - 1e-12).all()
            assert (z <= bounds[number // 2].upper + 1e-12).all()
    assert (z[:, y] - z >= margins - 1e-12).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_projected_gradient_descent_on_the_margin_stays_above(norm: Norm, seed: int) -> None:
    network, epsilon = mlp((3, 4, 3), seed), 0.4
    x, y = images_for(network, 4, (3,), seed)
    margins = dual_margins(network, x, y, norm, epsilon).detach()
    for j in range(3):
        point = x.clone()
        for _ in range(100):
            point.requires_grad_()
            logits = network(point)
            margin = logits.gather(1, y[:, None])[:, 0] - logits[:, j]
            assert (margin.detach() >= margins[:, j] - 1e-12).all()
            (gradient,) = torch.autograd.grad(margin.sum(), point)
            step = gradient.sign() if norm == "linf" else nn.functional.normalize(gradient)
            offset = point.detach() - 0.05 * step - x
            if norm == "linf":
                offset = offset.clamp(-epsilon, epsilon)
            else:
                offset *= (epsilon / offset.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
            point = x + offset


@pytest.mark.parametrize("norm", NORMS)
@torch.no_grad()
def test_a_linear_network_is_bounded_exactly(norm: Norm) -> None:
    network = mlp((4, 3))
    x, y = images_for(network, 5, (4,))
    weight, logits = network[0].weight, network(x)
    for j in range(3):
        slope = torch.linalg.vector_norm(weight[y] - weight[j], DUAL_ORDER[norm], dim=1)
        expected = logits.gather(1, y[:, None])[:, 0] - logits[:, j] - 0.7 * slope
        assert dual_margins(network, x, y, norm, 0.7)[:, j] == pytest.approx(expected.where(y != j, 0.0), abs=1e-13)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("network", "shape"), CASES, ids=IDS)
@torch.no_grad()
def test_a_ball_that_shrinks_leaves_the_margin_of_the_image(
    network: nn.Module, shape: tuple[int, ...], norm: Norm
) -> None:
    x, y = images_for(network, 3, shape)
    logits = network(x)
    clean = logits.gather(1, y[:, None]) - logits
    assert torch.allclose(dual_margins(network, x, y, norm, 0.0), clean, rtol=0, atol=1e-13)
    gaps = [float((clean - dual_margins(network, x, y, norm, epsilon)).max()) for epsilon in (1e-3, 1e-5, 1e-7)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-3 * gaps[0] < 1e-2


@given(seed=st.integers(0, 1000), norm=st.sampled_from(NORMS))
@torch.no_grad()
def test_margins_of_random_networks_fall_with_the_radius(seed: int, norm: Norm) -> None:
    network = mlp((3, 6, 6, 3), seed)
    x, y = images_for(network, 3, (3,), seed)
    margins = torch.stack([dual_margins(network, x, y, norm, epsilon) for epsilon in (0.0, 0.01, 0.1, 0.4, 1.6)])
    assert (margins.diff(dim=0) <= 1e-12).all()


@torch.no_grad()
def test_margins_may_rise_with_the_radius_since_the_lower_line_turns() -> None:
    """f_0 - f_1 = relu(z) - .9 z: the line d z below relu(z) is best where d = .9, at z = 1 -+ 1.25."""
    network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    for layer, weight, bias in ((0, [[1.0], [1.0]], [0.0, 10.0]), (2, [[1.0, 0.0], [0.0, 0.9]], [0.0, -9.0])):
        network[layer].weight[:] = torch.tensor(weight, dtype=torch.float64)
        network[layer].bias[:] = torch.tensor(bias, dtype=torch.float64)
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    found = [dual_margins(network, x, y, "linf", epsilon)[0, 1].item() for epsilon in (1.0, 1.1, 1.25)]
    assert found == pytest.approx([0.0, -0.1 * (2.1 / 2.2 - 0.9), 0.0], abs=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@torch.no_grad()
def test_convolutions_equal_the_same_network_of_matrices(norm: Norm) -> None:
    network = conv(3)
    x, y = images_for(network, 3, (2, 8, 7))
    layers: list[nn.Module] = []
    for weight, bias in matrices(network, x):
        layer = nn.Linear(weight.shape[1], len(weight)).double()
        layer.weight[:], layer.bias[:] = torch.from_numpy(weight), torch.from_numpy(bias)
        layers += [layer, nn.ReLU()]
    dense = nn.Sequential(nn.Flatten(), *layers[:-1])
    assert torch.allclose(dense(x), network(x), rtol=0, atol=1e-12)
    ours, theirs = (layer_bounds(net, x, norm, 0.1) for net in (network, dense))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one.lower.flatten(1), other.lower, rtol=1e-11, atol=1e-12)
        assert torch.allclose(one.upper.flatten(1), other.upper, rtol=1e-11, atol=1e-12)
    one, other = (dual_margins(net, x, y, norm, 0.1) for net in (network, dense))
    assert torch.allclose(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("few_channels", [0, 10])
@pytest.mark.parametrize("memory", [1, 1000, 2**20])
@pytest.mark.parametrize("in_windows", [True, False])
@torch.no_grad()
def test_the_way_and_the_chunks_change_nothing(
    monkeypatch: pytest.MonkeyPatch, in_windows: bool, memory: int, few_channels: int
) -> None:
    network = conv()
    x, y = images_for(network, 3, (2, 8, 7))
    expected = dual_margins(network, x, y, "l2", 0.1)
    ways = []

    def way(maps: list[object]) -> bool:
        ways.append(len(maps))
        return in_windows and len(maps) <= 3

    monkeypatch.setattr(convex_outer, "sees_windows", way)
    monkeypatch.setattr(convex_outer, "_MEMORY", memory)
    monkeypatch.setattr(windows, "_FEW_CHANNELS", few_channels)
    assert torch.allclose(dual_margins(network, x, y, "l2", 0.1), expected, rtol=1e-12, atol=1e-12)
    assert ways == [1, 2, 3, 4]


def test_windows_are_taken_while_they_are_smaller_than_the_image() -> None:
    network = convex_outer.read_network(kw_cifar_small(), torch.Size([3, 32, 32]), torch.float32, torch.device("cpu"))
    assert [windows.sees_windows(network.maps[:i]) for i in (1, 2, 3, 4)] == [True, True, False, False]
    network = convex_outer.read_network(conv(), torch.Size([2, 8, 7]), torch.float64, torch.device("cpu"))
    assert [windows.sees_windows(network.maps[:i]) for i in (1, 2, 3, 4)] == [True, True, True, False]
    for side, fits in ((5, True), (4, False)):  # the second convolution sees 5 rows
        maps = (replace(network.maps[0], inputs=torch.Size([2, side, 7])), network.maps[1])
        assert windows.sees_windows(maps) is fits


@pytest.mark.parametrize("memory", [1, 2**20])
@pytest.mark.parametrize(("network", "shape"), CASES, ids=IDS)
@torch.no_grad()
def test_an_image_is_bounded_the_same_in_any_company(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module, shape: tuple[int, ...], memory: int
) -> None:
    monkeypatch.setattr(convex_outer, "_MEMORY", memory)
    x, y = images_for(network, 5, shape)
    radii = torch.tensor([0.0, 0.05, 0.1, 0.2, 0.4], dtype=torch.float64)
    together = dual_margins(network, x, y, "l2", radii)
    for i in range(5):
        alone = dual_margins(network, x[i : i + 1], y[i : i + 1], "l2", float(radii[i]))
        assert torch.allclose(together[i], alone[0], rtol=0, atol=1e-12)


@torch.no_grad()
def test_interval_bounds_order_where_theory_orders_them() -> None:
    """The first layer is exact in both; behind it the dual is tighter where no unit crosses 0, else neither always."""
    network = mlp((4, 6, 5, 3), 2)
    x, _ = images_for(network, 8, (4,))
    tighter = 0
    for epsilon in (1e-4, 0.1):
        bounds = layer_bounds(network, x, "linf", epsilon)
        lower, upper = x - epsilon, x + epsilon
        for number, bound in enumerate(bounds):
            weight, bias = network[2 * number].weight, network[2 * number].bias
            middle, half = (lower + upper) / 2 @ weight.T + bias, (upper - lower) / 2 @ weight.abs().T
            if number == 0:
                assert torch.allclose(bound.lower, middle - half, rtol=0, atol=1e-12)
                assert torch.allclose(bound.upper, middle + half, rtol=0, atol=1e-12)
                calm = ~((bound.lower < 0) & (bound.upper > 0)).any(dim=1)
            else:
                assert (bound.lower[calm] >= (middle - half)[calm] - 1e-12).all()
                assert (bound.upper[calm] <= (middle + half)[calm] + 1e-12).all()
                tighter += int((bound.upper[calm] < (middle + half)[calm] - 1e-9).sum())
            lower, upper = (middle - half).relu(), (middle + half).relu()
    assert tighter > 0


def waves(layer: nn.Conv2d | nn.Linear, number: int) -> None:
    """Weights that any machine makes alike, of the size that training starts from."""
    for parameter, shift in ((layer.weight, 0.0), (layer.bias, 2.0)):
        count = torch.arange(parameter.numel(), dtype=torch.float64)
        fan_in = layer.weight[0].numel()
        parameter.copy_((torch.sin(12.9898 * count + number + shift) * math.sqrt(3.0 / fan_in)).view(parameter.shape))


AUTHORS = {
    ("l2", 0.05): [[0.0, 2.7906593549821297, 0.23636124924189872], [-0.07121945265148877, 2.4406395277328996, 0.0]],
    ("l2", 0.2): [[0.0, 1.512860159984163, 0.036698675634921685], [-0.21911505519814872, 1.391256636310159, 0.0]],
    ("linf", 0.05): [
        [0.0, -0.11698296765210864, -0.3012972612144942],
        [-0.5302391530856391, -0.05683778579148041, 0.0],
    ],
    ("linf", 0.2): [[0.0, -9.329181806020651, -3.7470340593860127], [-3.3133094543021056, -8.71459721527732, 0.0]],
}


@pytest.mark.parametrize("epsilon", [0.05, 0.2])
@pytest.mark.parametrize("norm", ["l2", "linf"])
@torch.no_grad()
def test_equals_the_authors_own_package(norm: Norm, epsilon: float) -> None:
    """Values of convex_adversarial 0.4.4: -RobustBounds(network, epsilon, norm_type="l2" or "l1")(x, y), exact, float64."""
    network, x, y = authors_case()
    expected = torch.tensor(AUTHORS[norm, epsilon], dtype=torch.float64)
    assert torch.allclose(dual_margins(network, x, y, norm, epsilon), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def authors_case() -> tuple[nn.Sequential, Tensor, Tensor]:
    network = nn.Sequential(
        nn.Conv2d(2, 3, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(3, 4, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 7),
        nn.ReLU(),
        nn.Linear(7, 3),
    ).double()
    for number, layer in enumerate(network):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            waves(layer, number)
    x = (0.5 + 0.5 * torch.sin(78.233 * torch.arange(2 * 2 * 8 * 8, dtype=torch.float64))).view(2, 2, 8, 8)
    return network, x, torch.tensor([0, 2])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("std", [(0.225, 0.225), (0.2, 0.5)])
@torch.no_grad()
def test_a_normalisation_is_a_layer_and_the_ball_stays_in_pixels(norm: Norm, std: tuple[float, float]) -> None:
    def inner() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3)).double()

    mean, folded = (0.3, 0.6), inner()
    x = torch.rand(3, 2, 5, 5, dtype=torch.float64)
    y = torch.tensor([0, 1, 2])
    first = folded[0]
    first.weight /= torch.tensor(std).double().view(1, 2, 1, 1)
    first.bias -= (first.weight * torch.tensor(mean).double().view(1, 2, 1, 1)).sum(dim=(1, 2, 3))
    expected = dual_margins(folded, x, y, norm, 0.05)
    for network in (
        nn.Sequential(Normalise(mean, std), inner()),
        nn.Sequential(nn.Identity(), nn.Sequential(Normalise(mean, std)), *inner()),
        with_normalisation(inner(), mean, std),
    ):
        assert torch.allclose(dual_margins(network.double(), x, y, norm, 0.05), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("network", "shape"), CASES, ids=IDS)
@torch.no_grad()
def test_rounding_is_allowed_for(network: nn.Sequential, shape: tuple[int, ...]) -> None:
    """In float32 it can be seen: what is widened never exceeds the exact bound, what is not does."""
    x, _ = images_for(network, 64, shape)
    network, x = copy.deepcopy(network).float(), x.float()
    y = network(x).argmax(1)
    single = [dual_margins(network, x, y, "l2", 0.1, rounding=rounding) for rounding in (False, True)]
    network, x = network.double(), x.double()
    plain, widened = (dual_margins(network, x, y, "l2", 0.1, rounding=rounding) for rounding in (False, True))
    off = y[:, None] != torch.arange(single[0].shape[1])
    assert (single[0].double() > plain)[off].any()
    assert (single[1].double() < plain)[off].all()
    assert (widened < plain)[off].all()
    assert torch.allclose(widened, plain, rtol=0, atol=1e-9)


@torch.no_grad()
def test_margins_are_widened_by_8_roundings_of_every_number_of_both_classes() -> None:
    """Two-sided, in float32: 8 u N (S_y + S_j), N = 40 pixels and 10 classes, S = |W| (|x| + epsilon) + |b|."""
    torch.manual_seed(0)
    network, x, y = nn.Sequential(nn.Linear(40, 10)), torch.rand(6, 40), torch.arange(6)
    network[0].weight.mul_(torch.logspace(-1, 1, 10)[:, None])  # classes of different sizes
    plain, widened = (dual_margins(network, x, y, "l2", 0.1, rounding=rounding) for rounding in (False, True))
    weight, bias = network[0].weight.double(), network[0].bias.double()
    size = (x.double() + 0.1) @ weight.abs().T + bias.abs()
    expected = 8 * 2.0**-24 * 50 * (size + size.gather(1, y[:, None]))
    off = y[:, None] != torch.arange(10)
    torch.testing.assert_close((plain - widened).double()[off], expected[off], rtol=0.05, atol=0.0)


@torch.no_grad()
def test_the_bounds_of_every_layer_allow_for_rounding() -> None:
    """In float32, against float64: not the margins alone are widened, but what they rest on."""
    network, shape = mlp(SIZES[-1]), SIZES[-1][:1]
    x, _ = images_for(network, 64, shape)
    network, x = copy.deepcopy(network).float(), x.float()
    enclose = convex_outer._enclose
    plain, widened = (enclose(network, x, "l2", 0.1, rounding=rounding).bounds for rounding in (False, True))
    exact = enclose(network.double(), x.double(), "l2", 0.1, rounding=False).bounds
    for narrow, wide, true in zip(plain, widened, exact, strict=True):
        assert (narrow.lower.double() > true.lower).any()
        assert (wide.lower.double() < true.lower).all()
        assert (wide.upper.double() > true.upper).all()


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_a_margin_of_rounding_alone_is_no_certificate(bias: bool) -> None:
    network = mlp((8, 2))
    network[0].bias.mul_(float(bias))
    x, y = images_for(network, 70, (8,))
    logits, slope = network(x), (network[0].weight[0] - network[0].weight[1]).norm()
    radii = (logits.gather(1, y[:, None]) - logits.gather(1, 1 - y[:, None]))[:, 0] / slope
    assert not certified_robust(network, x, y, "l2", radii).any()
    assert not certified_robust(network, x, y, "l2", radii * (1 - 1e-16)).any()
    assert certified_robust(network, x, y, "l2", radii * (1 - 1e-9)).all()
    assert not certified_robust(network, x, 1 - y, "l2", 0.0).any()
    assert certified_robust(network.float(), x.float(), y, "l2", float(radii.min()) * 0.99).all()
    for parameter in network.parameters():
        parameter.zero_()
    assert not certified_robust(network, x, y, "l2", 0.1).any(), (
        "a margin of 0 is a tie: the class is not above the others"
    )


@torch.no_grad()
def test_certified_means_every_other_class() -> None:
    network = mlp((3, 6, 6, 3), 4)
    x, y = images_for(network, 130, (3,))
    margins = dual_margins(network, x, y, "l2", 0.05)
    expected = [all(margins[i, j] > 0 for j in range(3) if j != y[i]) for i in range(len(x))]
    assert certified_robust(network, x, y, "l2", 0.05).tolist() == expected
    assert 0 < sum(expected) < len(x)
    assert (margins > 0).any(dim=1).sum() > sum(expected)
    assert certified_robust(network, x[:0], y[:0], "l2", 0.05).shape == (0,)
    x[0, 0] = math.nan
    assert certified_robust(network, x, y, "l2", 0.05).tolist() == [False, *expected[1:]]


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(("network", "shape"), [CASES[1], CASES[2], CASES[4]], ids=["3-4-3", "4-6-5-3", "conv"])
def test_gradients_by_weights_and_images(network: nn.Sequential, shape: tuple[int, ...], norm: Norm) -> None:
    x, y = images_for(network, 2, shape)
    parameters = [parameter.detach().requires_grad_() for parameter in network.parameters()]
    names = [name for name, _ in network.named_parameters()]

    def margins(images: Tensor, *values: Tensor) -> Tensor:
        for name, value in zip(names, values, strict=True):
            layer, kind = name.split(".")
            kept = network[int(layer)]._parameters
            kept[kind] = value  # a leaf that gradcheck moves, in place of the module's own
        return dual_margins(network, images, y, norm, 0.1)

    own = [dict(layer._parameters) for layer in network]
    try:
        assert torch.autograd.gradcheck(
            margins, (x.requires_grad_(), *parameters), atol=1e-6, rtol=1e-4, fast_mode=True
        )
    finally:
        for layer, kept in zip(network, own, strict=True):
            layer._parameters.update(kept)


@dataclass(frozen=True)
class Answering:
    """A stage for one pixel x: class 1 where x > threshold, certified where |x - threshold| > epsilon."""

    threshold: float

    def build(self) -> nn.Sequential:
        network = nn.Sequential(nn.Linear(1, 2)).double()
        with torch.no_grad():
            network[0].weight[:] = torch.tensor([[0.0], [1.0]])
            network[0].bias[:] = torch.tensor([0.0, -self.threshold])
        return network


def test_a_cascade_answers_by_the_first_stage_that_certifies_itself() -> None:
    cascade = Cascade((Answering(0.5).build(), Answering(0.3).build()), "l2", 0.15)
    x = torch.tensor([[0.1], [0.36], [0.4], [0.55], [0.64], [0.9]], dtype=torch.float64)
    answer = cascade(x)
    assert answer.stages.tolist() == [0, 1, 1, 1, 1, 0]
    assert answer.labels.tolist() == [0, 1, 1, 1, 1, 1]
    assert answer.certified.tolist() == [True, False, False, True, True, True]
    truth = torch.tensor([0, 1, 0, 1, 0, 0])
    assert answer.error(truth) == pytest.approx(3 / 6)
    assert answer.certified_error(truth) == pytest.approx(4 / 6)  # right and certified: the first and the fourth
    assert cascade(x[:0]).labels.shape == (0,)


def test_a_cascade_of_one_stage_counts_as_the_stage() -> None:
    network = mlp((3, 6, 6, 3), 4)
    x, predicted = images_for(network, 100, (3,))
    labels = predicted.where(torch.arange(100) % 3 > 0, (predicted + 1) % 3)
    answer = Cascade((network,), "l2", 0.05)(x)
    assert isinstance(answer, CascadeAnswer)
    assert torch.equal(answer.labels, predicted)
    robust = certified_robust(network, x, labels, "l2", 0.05)
    assert answer.certified_error(labels) == pytest.approx(1.0 - robust.double().mean().item())
    assert 0 < robust.sum() < (predicted == labels).sum()


@pytest.mark.parametrize(
    ("objective", "network", "shape"),
    [
        (ConvexOuter("linf", 0.05), *CASES[1]),
        (ConvexOuter("l2", 0.2), *CASES[2]),
        (ConvexOuter("l1", 0.2), *CASES[2]),
    ],
    ids=repr,
)
@torch.no_grad()
def test_the_robust_loss_and_its_gradient(
    objective: ConvexOuter, network: nn.Sequential, shape: tuple[int, ...]
) -> None:
    x, y = images_for(network, 3, shape)
    y[2] = (y[2] + 1) % 3

    def oracle() -> float:
        losses = []
        for image, label in zip(x, y, strict=True):
            worst = -naive(matrices(network, x), image.numpy(), int(label), objective.norm, objective.epsilon)[1]
            losses.append(np.log(np.exp(worst).sum()) - worst[label])
        return float(np.mean(losses))

    with torch.enable_grad():
        result = objective(network, x, y, Gaussian(0.3), as_source(None))
        result.loss.backward()
    assert result.loss.item() == pytest.approx(oracle(), rel=1e-10)
    assert torch.equal(result.logits, network(x))
    for parameter in network.parameters():
        flat, gradient = parameter.view(-1), parameter.grad.view(-1)
        for i in range(0, len(flat), 3):
            value = flat[i].item()
            flat[i] = value + 1e-6
            ahead = oracle()
            flat[i] = value - 1e-6
            behind = oracle()
            flat[i] = value
            assert gradient[i].item() == pytest.approx((ahead - behind) / 2e-6, rel=1e-5, abs=1e-7)
    network.zero_grad()


def test_the_objective_is_an_upper_bound_that_ramps_to_the_natural_loss() -> None:
    network = mlp((3, 6, 6, 3), 4)
    x, y = images_for(network, 10, (3,))
    objective = ConvexOuter("l2", 0.2)
    losses = [
        objective.ramped(part)(network, x, y, Gaussian(0.3), as_source(None)).loss.item() for part in (0.0, 0.5, 1.0)
    ]
    assert losses[0] == pytest.approx(nn.functional.cross_entropy(network(x), y).item(), rel=1e-12)
    assert losses[0] < losses[1] < losses[2]
    for seed in range(20):
        moved = torch.cat([points_in(image, "l2", 0.2, 1, seed) for image in x])
        assert nn.functional.cross_entropy(network(moved), y).item() <= losses[2]
    assert objective.spec() == {"name": "ConvexOuter", "norm": "l2", "epsilon": 0.2, "projections": None}
    assert not objective.noisy


@pytest.mark.parametrize("epsilon", [-0.1, math.nan, math.inf])
def test_radii_outside_their_domain(epsilon: float) -> None:
    network = mlp((2, 2))
    with pytest.raises(InvalidInputError, match="epsilon must be finite and >= 0"):
        dual_margins(network, torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0]), "l2", epsilon)
    with pytest.raises(InvalidInputError, match="epsilon must be a finite number >= 0"):
        ConvexOuter("l2", epsilon)


def test_radii_for_other_images() -> None:
    radii = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    with pytest.raises(InvalidInputError, match="epsilon must be one, or one for each of 2 images; got 3"):
        convex_outer._checked(radii, torch.zeros(2, 2))  # in tests the shapes of arguments are checked before


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_that_are_no_class(label: int) -> None:
    with pytest.raises(InvalidInputError, match="labels must be from 0 to 1"):
        dual_margins(mlp((2, 2)), torch.zeros(1, 2, dtype=torch.float64), torch.tensor([label]), "l2", 0.1)


def test_a_cascade_needs_a_stage() -> None:
    with pytest.raises(InvalidInputError, match="stages must be at least one network"):
        Cascade((), "l2", 0.1)


class Doubling(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * super().forward(x)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), "ReLU; got Tanh"),
        (Doubling(nn.Linear(4, 2)), "ReLU; got Doubling"),
        (nn.Sequential(nn.Dropout(), nn.Linear(4, 2)), "ReLU; got Dropout"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(4, 2)), "ReLU; got Flatten"),
        (nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), "affine; got ReLU"),
        (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), "affine; got Linear"),
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.ReLU(), nn.Linear(3, 2)), "affine; got ReLU"),
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "ends with nn.Linear"),
        (nn.Sequential(), "ends with nn.Linear"),
        (nn.Sequential(nn.Linear(5, 3)), "given 5 values"),
    ],
)
def test_networks_it_cannot_read(network: nn.Sequential, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        dual_margins(network, torch.zeros(1, 4), torch.tensor([0]), "l2", 0.1)


def test_a_layer_that_is_used_twice_counts_twice() -> None:
    """relu(4 x - 1.2) twice is 0 below .375: at .38 the other class wins."""
    step, last = nn.Linear(1, 1), nn.Linear(1, 2)
    with torch.no_grad():
        step.weight.fill_(4.0)
        step.bias.fill_(-1.2)
        last.weight.copy_(torch.tensor([[1.0], [0.0]]))
        last.bias.copy_(torch.tensor([0.0, 0.3]))
    network, image = nn.Sequential(step, nn.ReLU(), step, nn.ReLU(), last), torch.tensor([[0.42]])
    assert network(image).argmax().item() == 0
    assert network(image - 0.04).argmax().item() == 1
    assert not certified_robust(network, image, torch.tensor([0]), "l2", 0.04).any()
    torch.manual_seed(3)
    block, images = nn.Linear(6, 6), torch.rand(200, 6)
    for _ in range(5):
        nn.init.normal_(block.weight)
        tied = nn.Sequential(block, nn.ReLU(), block, nn.ReLU(), nn.Linear(6, 3))
        labels = tied(images).argmax(1)
        proven = certified_robust(tied, images, labels, "l2", 0.05)
        assert proven.any()
        moved = images + 0.05 * nn.functional.normalize(torch.randn(500, 200, 6), dim=2)
        assert (tied(moved).argmax(2) == labels)[:, proven].all()


def test_what_changes_a_layer_from_outside_is_refused() -> None:
    def network() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

    hooked, before, patched = network(), network(), network()
    hooked[0].register_forward_hook(lambda _layer, _given, output: 10.0 * output)
    before.register_forward_pre_hook(lambda _layer, given: (-given[0],))
    patched[2].forward = lambda given: -nn.functional.linear(given, patched[2].weight)
    for each in (hooked, before, patched):
        with pytest.raises(InvalidInputError, match="of layers without hooks"):
            certified_robust(each, torch.zeros(1, 4), torch.tensor([0]), "l2", 0.1)
    twice = nn.Sequential(Normalise((0.0,), (0.05,)), Normalise((0.5,), (1.0,)), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(InvalidInputError, match="one normalisation, only before the first layer"):
        certified_robust(twice, torch.zeros(1, 1, 2, 2), torch.tensor([0]), "l2", 0.1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(2, 2, 3, groups=2), "without groups or dilation"),
        (nn.Conv2d(2, 2, 3, dilation=2), "without groups or dilation"),
        (nn.Conv2d(2, 2, 3, padding="same"), "without groups or dilation"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), "without groups or dilation"),
        (nn.Conv2d(1, 2, 3), "given 1 channels"),
        (nn.Linear(6, 2), "given 6 values, flattened"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), Normalise((0.0, 0.0), (1.0, 1.0))), "only before the first"),
        (nn.Sequential(nn.Conv2d(2, 2, 6)), "ends with nn.Linear"),
    ],
)
def test_layers_it_cannot_read(layer: nn.Module, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        dual_margins(nn.Sequential(layer), torch.zeros(1, 2, 6, 6), torch.tensor([0]), "l2", 0.1)
