"""Bounds estimated by random projections: they near the exact ones, train, come out the same again, and prove nothing."""

import inspect
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noiseproof.errors import InvalidInputError
from noiseproof.models.normalise import Normalise
from noiseproof.noises import Gaussian
from noiseproof.objectives import ConvexOuter
from noiseproof.perturbations.norms import Norm
from noiseproof.plugins import changed
from noiseproof.randomness import RandomSource, as_source
from noiseproof.training.parallel import Share, step_source
from noiseproof.training.settings import with_defaults
from noiseproof.verification import (
    Cascade,
    certified_robust,
    convex_outer,
    dual_margins,
    estimated_margins,
    layer_bounds,
    projections,
)

NORMS = [Norm.L2, Norm.LINF]
CPU = torch.device("cpu")


def dense(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def conv() -> nn.Sequential:
    """A deviation for each channel, two convolutions, a layer behind both."""
    torch.manual_seed(0)
    return nn.Sequential(
        Normalise((0.3, 0.6), (0.2, 0.5)),
        nn.Conv2d(2, 3, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(3, 4, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 7),
        nn.ReLU(),
        nn.Linear(7, 3),
    ).double()


CASES = [(dense(4, 12, 9, 3), (4,)), (conv(), (2, 6, 6))]


def images_for(network: nn.Module, shape: tuple[int, ...], count: int = 2) -> tuple[Tensor, Tensor]:
    x = torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x, network(x).argmax(1)


def seeded(seed: int) -> RandomSource:
    return as_source(torch.Generator().manual_seed(seed))


class NoSource(RandomSource):
    def normal(self, like: Tensor) -> Tensor:
        raise AssertionError("drawn")

    exponential = uniform = normal


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("network", "shape"), CASES, ids=["dense", "conv"])
@torch.no_grad()
def test_many_projections_near_the_exact_radii(
    network: nn.Module, shape: tuple[int, ...], norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each layer by itself, behind the exact bounds of those before; 5 standard deviations of the worse estimate."""
    monkeypatch.setattr(projections, "_pays", lambda units, count: True)
    x, _ = images_for(network, shape)
    epsilon, count = torch.tensor([0.1, 0.3], dtype=torch.float64), 20_000
    found = convex_outer._enclose(network, x, norm, epsilon, rounding=False)
    for layers in range(2, len(found.network.maps)):
        exact = found.bounds[layers - 1]
        assert any((bound.lower * bound.upper < 0).any() for bound in found.bounds[: layers - 1]), "no gap is added"
        estimate = projections.EstimatedRadii(convex_outer._radius, count, seeded(layers), len(x))
        radius = estimate(found.network.maps[:layers], found.relaxations[: layers - 1], found.ball)
        truth = (exact.upper - exact.lower) / 2
        assert radius.shape == truth.shape
        assert not torch.equal(radius, truth)
        assert ((radius / truth - 1).abs() < 5 * math.pi / (2 * math.sqrt(count))).all()


@torch.no_grad()
def test_layer_after_layer_as_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The projections that one layer was estimated by are pushed on to the next, through what was found in between."""
    monkeypatch.setattr(projections, "_pays", lambda units, count: True)
    network, shape = CASES[1]
    x, _ = images_for(network, shape)
    radii = projections.EstimatedRadii(convex_outer._radius, 20_000, seeded(0), len(x))
    exact = layer_bounds(network, x, "l2", 0.1)
    found = convex_outer._enclose(network, x, "l2", 0.1, rounding=False, radii=radii).bounds
    assert [torch.equal(ours.lower, truth.lower) for ours, truth in zip(found, exact, strict=True)] == [
        True,
        False,
        False,
    ]
    for ours, truth in zip(found, exact, strict=True):
        assert ((ours.upper - ours.lower) / (truth.upper - truth.lower) - 1).abs().max() < 0.1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("network", "shape"), CASES, ids=["dense", "conv"])
def test_gradients_by_weights_and_images(network: nn.Sequential, shape: tuple[int, ...], norm: Norm) -> None:
    x, y = images_for(network, shape)
    kept = [name for name, _ in network.named_parameters()]

    def margins(images: Tensor, *values: Tensor) -> Tensor:
        for name, value in zip(kept, values, strict=True):
            layer, kind = name.split(".")
            network[int(layer)]._parameters[kind] = value
        return estimated_margins(network, images, y, norm, 0.1, 5, seeded(3))

    own = [dict(layer._parameters) for layer in network]
    try:
        values = [parameter.detach().requires_grad_() for parameter in network.parameters()]
        assert torch.autograd.gradcheck(margins, (x.requires_grad_(), *values), atol=1e-6, rtol=1e-4, fast_mode=True)
    finally:
        for layer, parameters in zip(network, own, strict=True):
            layer._parameters.update(parameters)


def test_units_that_nothing_moves_have_a_gradient() -> None:
    network = dense(4, 12, 9, 3)
    with torch.no_grad():
        network[0].bias.fill_(-100.0)  # all dead: every coefficient behind is 0
    x, y = images_for(network, (4,))
    estimated_margins(network, x, y, "l2", 0.1, 5, seeded(3)).sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in network.parameters())


def test_the_objective_draws_from_its_source_and_comes_out_the_same_again() -> None:
    network, shape = CASES[0]
    x, y = images_for(network, shape, 3)

    def loss(objective: ConvexOuter, source: RandomSource) -> float:
        return objective(network, x, y, Gaussian(0.3), source).loss.item()

    few = ConvexOuter("l2", 0.1, projections=5)
    assert loss(few, seeded(1)) == loss(few, seeded(1)) != loss(few, seeded(2))
    exact = F.cross_entropy(-dual_margins(network, x, y, "l2", 0.1), y).item()
    assert loss(few, seeded(1)) != exact
    assert loss(ConvexOuter("l2", 0.1), NoSource()) == exact, "by default nothing is estimated"
    assert loss(ConvexOuter("l2", 0.1, projections=12), NoSource()) == exact, "nor are layers of no more units"
    assert few.ramped(0.5) == ConvexOuter("l2", 0.05, projections=5)


@torch.no_grad()
def test_an_image_meets_the_same_projections_whatever_the_number_of_processes() -> None:
    network, shape = CASES[1]
    x, y = images_for(network, shape, 5)
    chosen = torch.arange(5).numpy()
    whole = estimated_margins(network, x, y, "l2", 0.1, 5, step_source(1, 2, 3, Share(chosen), CPU))
    for rank in range(2):
        share = Share(chosen, rank, 2)
        rows = list(share.rows)
        part = estimated_margins(network, x[rows], y[rows], "l2", 0.1, 5, step_source(1, 2, 3, share, CPU))
        assert torch.allclose(part, whole[rows], rtol=0, atol=1e-12)


def test_no_proof_can_rest_on_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("estimated")

    monkeypatch.setattr(projections, "_pays", lambda units, count: True)
    monkeypatch.setattr(projections.EstimatedRadii, "__call__", refuse)
    network, shape = CASES[1]
    x, y = images_for(network, shape)
    with pytest.raises(AssertionError, match="estimated"):
        estimated_margins(network, x, y, "l2", 0.1, 5, seeded(1))
    certified_robust(network, x, y, "l2", 0.1)
    layer_bounds(network, x, "l2", 0.1)
    dual_margins(network, x, y, "l2", 0.1)
    Cascade((network,), "l2", 0.1)(x)
    for proof in (certified_robust, layer_bounds, dual_margins, Cascade):
        assert set(inspect.signature(proof).parameters) <= {
            *("network", "stages", "images", "labels", "norm", "epsilon", "rounding")
        }


def unchecked(projections: object) -> ConvexOuter:
    """An objective made without the checks of types that only tests have."""
    made = object.__new__(ConvexOuter)
    for name, value in (vars(ConvexOuter()) | {"projections": projections}).items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made


def test_settings() -> None:
    read = changed(ConvexOuter(), ["projections=50"])  # as the command line reads it
    assert read == ConvexOuter(projections=50)
    assert type(read.spec()["projections"]) is int
    for wrong in (0, -1, 1.5, 50.0, math.nan, math.inf, True, "50"):
        with pytest.raises(InvalidInputError, match="projections must be an integer >= 1"):
            unchecked(wrong)
    with pytest.raises(InvalidInputError, match="projections must be None in l1"):
        ConvexOuter("l1", projections=50)
    network, shape = CASES[0]
    x, y = images_for(network, shape)
    with pytest.raises(InvalidInputError, match="norm must be 'l2' or 'linf' with random projections"):
        estimated_margins(network, x, y, "l1", 0.1, 5, seeded(1))
    with pytest.raises(InvalidInputError, match="projections must be an integer >= 1"):
        estimated_margins(network, x, y, "l2", 0.1, 0, seeded(1))


def test_trainings_of_the_version_before_go_on() -> None:
    before = {"name": "ConvexOuter", "norm": "l2", "epsilon": 1.58}
    assert with_defaults({"objective": before})["objective"] == ConvexOuter().spec()
    assert with_defaults({"objective": {"name": "Natural"}})["objective"] == {"name": "Natural"}
