"""Each objective against a per-example NumPy oracle, its gradient against finite differences, and its inner maximum."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from torch import Tensor, nn

from noiseproof import objectives
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Laplace, Uniform
from noiseproof.objectives import (
    MACER,
    TRADES,
    Adversarial,
    AdversarialLogitPairing,
    BatchLoss,
    Consistency,
    ConvexOuter,
    GaussianAugmentation,
    Natural,
    Objective,
    SmoothAdv,
    Stability,
)
from noiseproof.objectives.registry import OBJECTIVES
from noiseproof.perturbations.ascent import ascend
from noiseproof.perturbations.balls import distance
from noiseproof.randomness import RandomSource, as_source

NOISE = Gaussian(0.3)
Network = Callable[[np.ndarray], np.ndarray]

ADVERSARIAL: list[Objective] = [
    Adversarial(epsilon=0.2, steps=4),
    Adversarial(norm="l2", epsilon=0.4, steps=4, step_size=0.3),
    TRADES(epsilon=0.2, steps=4),
    TRADES(norm="l2", epsilon=0.4, steps=4, weight=6.0),
    AdversarialLogitPairing(epsilon=0.2, steps=4),
    AdversarialLogitPairing(norm="l2", epsilon=0.4, steps=4, weight=2.0),
    SmoothAdv(epsilon=0.4, steps=4, copies=1),
    SmoothAdv(epsilon=0.4, steps=4, copies=3, step_size=0.3),
    SmoothAdv(epsilon=0.4, steps=4, copies=3, consistency=1.5, entropy_weight=0.2),
]
NOISY: list[Objective] = [
    GaussianAugmentation(),
    Stability(),
    Stability(weight=2.5),
    Stability(form="released-first"),
    Stability(form="released-later"),
    Stability(weight=0.3, form="released-later"),
    Stability(weight=6.0, form="two-copies"),
    Consistency(),
    Consistency(weight=3.0, entropy_weight=0.2, copies=3),
    MACER(copies=3),
    MACER(weight=3.0, margin=1.5, inverse_temperature=2.0, copies=5),
]
ALL: list[Objective] = [Natural(), *NOISY, *ADVERSARIAL]
"""The law table of objectives. `ConvexOuter` has its own: it takes only networks that its bounds are computed for."""


def test_every_objective_of_the_registry_has_its_row() -> None:
    assert {type(objective) for objective in ALL} == set(OBJECTIVES.values()) - {ConvexOuter}


def copies_of(objective: Objective) -> int:
    """How many noises the objective draws for an image."""
    if isinstance(objective, Stability):
        return 2 if objective.form == "two-copies" else 1
    return getattr(objective, "copies", 1) if objective.noisy else 0


def log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.max()
    return shifted - np.log(np.exp(shifted).sum())


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)))


@dataclass(frozen=True)
class Example:
    """One image: itself, its noisy copies, the adversarial image found (itself where there is none), its label."""

    clean: np.ndarray
    noises: list[np.ndarray]
    found: np.ndarray
    label: int
    target: np.ndarray  # what "released-later" holds fixed


def example_loss(objective: Objective, f: Network, it: Example) -> float:
    """The objective's formula for one example, in the plainest terms."""
    copies = [it.found + d for d in it.noises]
    by_kind: dict[type[Objective], Callable[..., float]] = {
        Natural: lambda _: cross_entropy(f, it.clean, it.label),
        GaussianAugmentation: lambda _: cross_entropy(f, copies[0], it.label),
        Stability: lambda o: stability(o, f, it, copies),
        Consistency: lambda o: consistency(f, it, copies, o.weight, o.entropy_weight),
        Adversarial: lambda _: cross_entropy(f, it.found, it.label),
        TRADES: lambda o: (
            cross_entropy(f, it.clean, it.label) + o.weight * kl(softmax(f, it.clean), softmax(f, it.found))
        ),
        AdversarialLogitPairing: lambda o: (
            (cross_entropy(f, it.clean, it.label) + cross_entropy(f, it.found, it.label)) / 2
            + o.weight * sum((a - b) ** 2 for a, b in zip(f(it.clean), f(it.found), strict=True)) / len(f(it.clean))
        ),
        SmoothAdv: lambda o: consistency(f, it, copies, o.consistency, o.entropy_weight if o.consistency else 0.0),
        MACER: lambda o: macer(o, f, it, copies),
    }
    return float(by_kind[type(objective)](objective))


def softmax(f: Network, x: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(f(x)))


def cross_entropy(f: Network, x: np.ndarray, label: int) -> float:
    return -log_softmax(f(x))[label]


def stability(objective: Stability, f: Network, it: Example, copies: list[np.ndarray]) -> float:
    if objective.form == "released-first":
        return (cross_entropy(f, it.clean, it.label) + cross_entropy(f, copies[0], it.label)) / 2
    if objective.form == "two-copies":
        apart = kl(softmax(f, copies[0]), softmax(f, copies[1]))
        return cross_entropy(f, copies[0], it.label) + objective.weight * apart
    target = softmax(f, it.clean) if objective.form == "paper" else it.target
    term = -sum(target[j] * log_softmax(f(copies[0]))[j] for j in range(len(target)))
    return cross_entropy(f, it.clean, it.label) + objective.weight * term


def consistency(f: Network, it: Example, copies: list[np.ndarray], weight: float, entropy_weight: float) -> float:
    mean = sum(softmax(f, x) for x in copies) / len(copies)
    supervised = sum(cross_entropy(f, x, it.label) for x in copies) / len(copies)
    apart = sum(kl(mean, softmax(f, x)) for x in copies) / len(copies)
    return supervised + weight * apart + entropy_weight * -sum(p * np.log(p) for p in mean)


def macer(objective: MACER, f: Network, it: Example, copies: list[np.ndarray]) -> float:
    supervised = -np.log(sum(softmax(f, x)[it.label] for x in copies) / len(copies))
    sharp = sum(np.exp(log_softmax(objective.inverse_temperature * f(x))) for x in copies) / len(copies)
    second, first = np.sort(sharp)[-2:]
    right = sharp.argmax() == it.label
    short = max(objective.margin - (ndtri(first) - ndtri(second)), 0.0) if right else 0.0
    return supervised + objective.weight * NOISE.sigma / 2 * short


def numpy_network(model: nn.Module) -> Network:
    """The same function in NumPy, with the parameters as they are when it is called."""

    def f(x: np.ndarray) -> np.ndarray:
        for layer in model.children():
            x = np.tanh(x) if isinstance(layer, nn.Tanh) else layer.weight.numpy() @ x + layer.bias.numpy()
        return x

    return f


def linear(pixels: int = 4, classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(pixels, classes, dtype=torch.float64))


def two_layers(pixels: int = 4, classes: int = 3) -> nn.Module:
    model = nn.Sequential(nn.Linear(pixels, 5), nn.Tanh(), nn.Linear(5, classes)).double()
    with torch.no_grad():
        model[0].weight *= 3.0
        model[2].weight *= 3.0
    return model


@contextmanager
def inputs_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """Every batch that the model sees."""
    seen: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    try:
        yield seen
    finally:
        handle.remove()


def run(objective: Objective, model: nn.Module, x: Tensor, y: Tensor, seed: int = 5) -> tuple[BatchLoss, Tensor]:
    """The objective's result and the images of its last forward pass."""
    with inputs_of(model) as seen:
        result = objective(model, x, y, NOISE, as_source(torch.Generator().manual_seed(seed)))
    return result, seen[-1]


def found_by(objective: Objective, trained_on: Tensor, noises: list[Tensor], x: Tensor) -> Tensor:
    """The adversarial images among those of the last forward pass."""
    if isinstance(objective, SmoothAdv):
        return trained_on[: len(x)] - noises[0]
    if isinstance(objective, TRADES | AdversarialLogitPairing):
        assert torch.equal(trained_on[: len(x)], x)
        return trained_on[len(x) :]
    return trained_on if isinstance(objective, Adversarial) else x


def examples(
    objective: Objective, model: nn.Module, x: Tensor, y: Tensor, trained_on: Tensor, seed: int = 5
) -> list[Example]:
    generator = torch.Generator().manual_seed(seed)
    noises = [NOISE.sample(x, generator) for _ in range(copies_of(objective))]
    found = found_by(objective, trained_on, noises, x)
    f = numpy_network(model)
    with torch.no_grad():
        return [
            Example(x[i].numpy(), [d[i].numpy() for d in noises], found[i].numpy(), int(y[i]), f(x[i].numpy()))
            for i in range(len(x))
        ]


@pytest.mark.parametrize("network", [linear, two_layers])
@pytest.mark.parametrize("objective", ALL, ids=repr)
@torch.no_grad()
def test_loss_and_gradient(objective: Objective, network: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    x, model = torch.rand(6, 4, dtype=torch.float64), network()
    y = model(x).argmax(1)
    y[4:] = (y[4:] + 1) % 3  # most right, some wrong
    with torch.enable_grad():
        result, trained_on = run(objective, model, x, y)
        result.loss.backward()
    its, f = examples(objective, model, x, y, trained_on), numpy_network(model)

    def oracle() -> float:
        return float(np.mean([example_loss(objective, f, it) for it in its]))

    assert result.loss.item() == pytest.approx(oracle(), rel=1e-10)
    assert result.logits.shape == (6, 3)
    for parameter in model.parameters():
        assert parameter.grad is not None
        flat, gradient = parameter.view(-1), parameter.grad.view(-1)
        for i in range(len(flat)):
            value = flat[i].item()
            flat[i] = value + 1e-6
            ahead = oracle()
            flat[i] = value - 1e-6
            behind = oracle()
            flat[i] = value
            assert gradient[i].item() == pytest.approx((ahead - behind) / 2e-6, rel=1e-6, abs=2e-8)


def test_macer_cases_of_the_oracle_are_both_sides_of_the_hinge() -> None:
    torch.manual_seed(0)
    x, model = torch.rand(6, 4, dtype=torch.float64), two_layers()
    y = model(x).argmax(1)
    low, high = (
        run(MACER(weight=1.0, margin=margin, inverse_temperature=2.0), model, x, y)[0].loss for margin in (1.5, 3.0)
    )
    rise = (high - low).item() / (NOISE.sigma / 2)
    assert 0.0 < rise < 1.5
    assert rise != pytest.approx(1.5, rel=1e-2), "every image is short of the margin: the hinge is not tested"


@dataclass(frozen=True)
class Maximum:
    """A linear model of two classes, logits (0, w x + b), whose inner maximum is known."""

    w: Tensor
    model: nn.Module
    x: Tensor
    y: Tensor

    @classmethod
    def make(cls, low: float, high: float) -> "Maximum":
        torch.manual_seed(1)
        x, y = low + (high - low) * torch.rand(8, 6, dtype=torch.float64), torch.arange(8) % 2
        model = linear(6, 2)
        with torch.no_grad():
            model[0].weight[0] = 0.0
        return cls(model[0].weight[1].detach().clone(), model, x, y)

    def towards_the_other_class(self) -> Tensor:
        return torch.where(self.y == 1, -1.0, 1.0).double().view(-1, 1) * self.w


def loss_at(objective: Objective, problem: Maximum, trained_on: Tensor, maximum: Tensor) -> float:
    f = numpy_network(problem.model)
    with torch.no_grad():
        its = examples(objective, problem.model, problem.x, problem.y, trained_on)
        return float(
            np.mean(
                [
                    example_loss(objective, f, replace(it, found=best.numpy()))
                    for it, best in zip(its, maximum, strict=True)
                ]
            )
        )


@pytest.mark.parametrize(
    "objective",
    [
        Adversarial(epsilon=0.3, steps=40, step_size=0.02),
        Adversarial(epsilon=0.3, steps=20),
        AdversarialLogitPairing(epsilon=0.3, steps=20),
        TRADES(epsilon=0.3, steps=40, step_size=0.01, weight=2.0),
    ],
    ids=repr,
)
def test_linf_maximum_of_a_linear_model(objective: Objective) -> None:
    """The margin falls by w x: the maximum is x + epsilon sign(w) towards the other class, cut off at the box.

    TRADES rises away from F(x) on whichever side it starts.
    """
    problem = Maximum.make(0.0, 1.0)
    result, trained_on = run(objective, problem.model, problem.x, problem.y)
    direction = problem.towards_the_other_class()
    if isinstance(objective, TRADES):
        start = torch.empty_like(problem.x).normal_(generator=torch.Generator().manual_seed(5))
        moved = (problem.x + 1e-3 * start).clamp(0.0, 1.0) - problem.x
        direction = (moved @ problem.w).sign().view(-1, 1) * problem.w
    maximum = (problem.x + 0.3 * direction.sign()).clamp(0.0, 1.0)
    assert ((maximum == 0.0) | (maximum == 1.0)).any()
    assert torch.allclose(found_by(objective, trained_on, [], problem.x), maximum, rtol=0, atol=1e-12)
    with torch.no_grad():
        assert result.loss.item() == pytest.approx(loss_at(objective, problem, trained_on, maximum), rel=1e-10)


@pytest.mark.parametrize(
    "objective",
    [
        Adversarial(norm="l2", epsilon=0.3, steps=60, step_size=0.3),
        AdversarialLogitPairing(norm="l2", epsilon=0.3, steps=60, step_size=0.3),
        TRADES(norm="l2", epsilon=0.3, steps=60, step_size=0.3),
        SmoothAdv(epsilon=0.3, steps=3, copies=3),
    ],
    ids=repr,
)
def test_l2_maximum_of_a_linear_model(objective: Objective) -> None:
    """With the box out of reach the maximum is x + epsilon w / |w| towards the other class."""
    problem = Maximum.make(0.4, 0.6)
    result, trained_on = run(objective, problem.model, problem.x, problem.y)
    direction = problem.towards_the_other_class()
    if isinstance(objective, TRADES):
        start = torch.empty_like(problem.x).normal_(generator=torch.Generator().manual_seed(5))
        direction = (start @ problem.w).sign().view(-1, 1) * problem.w
    maximum = problem.x + 0.3 * direction / problem.w.norm()
    noises = [NOISE.sample(problem.x, torch.Generator().manual_seed(5))]
    assert torch.allclose(found_by(objective, trained_on, noises, problem.x), maximum, rtol=0, atol=1e-9)
    with torch.no_grad():
        assert result.loss.item() == pytest.approx(loss_at(objective, problem, trained_on, maximum), rel=1e-8)


@pytest.mark.parametrize("steps", [5, 8])
@pytest.mark.parametrize(
    ("objective", "factor"),
    [
        (SmoothAdv(epsilon=0.3, copies=3), 2.0),
        (Adversarial(norm="l2", epsilon=0.3), 2.5),
        (AdversarialLogitPairing(norm="l2", epsilon=0.3), 2.5),
        (TRADES(norm="l2", epsilon=0.3), 2.5),
    ],
    ids=repr,
)
def test_steps_have_the_published_length_where_none_is_given(objective: Objective, factor: float, steps: int) -> None:
    """On a linear model each step goes straight ahead, until the ball ends; epsilon is the way, steps is its parts."""
    problem = Maximum.make(0.4, 0.6)
    with inputs_of(problem.model) as seen:
        tried = replace(objective, steps=steps)  # type: ignore[call-arg]
        tried(problem.model, problem.x, problem.y, NOISE, as_source(torch.Generator().manual_seed(5)))
    ascent = [batch[: len(problem.x)] for batch in seen][-steps - 1 : -1]
    assert len(ascent) == steps
    ways = torch.stack([distance(after, before, "l2") for before, after in pairwise(ascent)])
    assert (ways <= factor * 0.3 / steps * (1 + 1e-9)).all()
    whole = ways[0] if isinstance(objective, SmoothAdv | TRADES) else ways.amax(0)  # others start anywhere in the ball
    assert whole.max().item() == pytest.approx(factor * 0.3 / steps, rel=1e-6)


@torch.no_grad()
def test_smoothadv_climbs_the_loss_of_the_smoothed_classifier() -> None:
    """One step along the gradient of -log mean_i F_y, which is not that of mean_i -log F_y."""
    torch.manual_seed(0)
    x, y, model = 0.4 + 0.2 * torch.rand(6, 4, dtype=torch.float64), torch.arange(6) % 3, two_layers()
    with torch.enable_grad():
        _, trained_on = run(SmoothAdv(epsilon=0.3, steps=1, copies=3, step_size=0.1), model, x, y)
    generator, f = torch.Generator().manual_seed(5), numpy_network(model)
    noises = [NOISE.sample(x, generator).numpy() for _ in range(3)]
    found = trained_on[:6].numpy() - noises[0]
    for i in range(6):

        def loss(point: np.ndarray, i: int = i) -> float:
            return -np.log(np.mean([softmax(f, point + d[i])[y[i]] for d in noises]))

        point, steps = x[i].numpy(), 1e-6 * np.eye(4)
        gradient = np.array([(loss(point + step) - loss(point - step)) / 2e-6 for step in steps])
        assert found[i] == pytest.approx(point + 0.1 * gradient / np.linalg.norm(gradient), abs=1e-8)


@pytest.mark.parametrize("objective", ADVERSARIAL, ids=repr)
@given(
    seed=st.integers(0, 2**31),
    epsilon=st.sampled_from([0.0, 1e-3, 0.3, 3.0]),
    step_size=st.sampled_from([None, 1e-3, 100.0]),
    border=st.booleans(),
)
def test_the_maximisation_stays_in_ball_and_box(
    objective: Objective, seed: int, epsilon: float, step_size: float | None, border: bool
) -> None:
    torch.manual_seed(seed)
    x, y = torch.rand(4, 2, 3, 3), torch.randint(0, 3, (4,))
    x = x.round() if border else x
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 3))
    tried = replace(objective, epsilon=epsilon, step_size=step_size)  # type: ignore[call-arg]
    with inputs_of(model) as seen:
        result = tried(model, x, y, NOISE, as_source(torch.Generator().manual_seed(seed)))
    assert torch.isfinite(result.loss)
    norm = getattr(tried, "norm", "l2")
    if isinstance(tried, SmoothAdv):
        draws = NOISE.sample(x, torch.Generator().manual_seed(seed))
        for batch in seen:
            point = batch[:4] - draws  # up to the rounding of x' + d
            assert (distance(point, x, norm) <= epsilon + 1e-6).all()
            assert -1e-6 <= point.min() <= point.max() <= 1.0 + 1e-6
        return
    for batch in seen:
        assert 0.0 <= batch.min() <= batch.max() <= 1.0
        for part in batch.split(4):
            assert (distance(part, x, norm) <= epsilon * (1 + 1e-6)).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steps_increase_the_inner_loss(norm: str) -> None:
    torch.manual_seed(0)
    x, y, model = torch.rand(16, 4, dtype=torch.float64), torch.randint(0, 3, (16,)), two_layers()

    def loss(points: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(points), y, reduction="none")

    reached = [
        loss(ascend(loss, x.clone(), x, norm=norm, epsilon=0.3, steps=steps, step_size=0.02)).detach()
        for steps in (0, 1, 5, 20)
    ]
    for before, after in pairwise(reached):
        assert (after >= before - 1e-9).all()
        assert after.mean() > before.mean()
    samples = x + 0.3 * (2 * torch.rand(300, 16, 4, dtype=torch.float64) - 1)
    if norm == "linf":
        random = torch.stack([loss(points.clamp(0, 1)) for points in samples]).max(0).values
        assert (reached[-1] >= random - 0.02).all(), "random search found more"


def test_an_image_without_gradient_stays_where_it_is() -> None:
    class Flat(nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images * (images[:, :1] > 0.5))  # no gradient for half of the images

    model, x = Flat(4, 3), torch.rand(6, 4)
    x[:, 0] = torch.tensor([0.1, 0.9] * 3)
    for objective in (SmoothAdv(epsilon=0.05, steps=3, copies=1), TRADES(norm="l2", epsilon=0.05, steps=3)):
        with inputs_of(model) as seen:
            result = objective(model, x, torch.zeros(6, dtype=torch.long), Gaussian(1e-6), as_source(None))
        result.loss.backward()
        moved = distance(seen[-1][-6:], x, "l2")
        assert (moved[::2] < 0.005).all()
        assert (moved[1::2] > 0.04).all()


@pytest.mark.parametrize("objective", [*NOISY, *ADVERSARIAL], ids=repr)
def test_randomness_is_fresh_in_every_call_and_every_copy(objective: Objective) -> None:
    torch.manual_seed(0)
    model, x, y = linear(), torch.rand(5, 4, dtype=torch.float64), torch.zeros(5, dtype=torch.long)
    source = as_source(torch.Generator().manual_seed(0))
    if objective in ADVERSARIAL:
        objective = replace(objective, steps=1, step_size=1e-3)  # the start is still to be seen
    with inputs_of(model) as seen:
        assert objective(model, x, y, NOISE, source).loss != objective(model, x, y, NOISE, source).loss
    if objective.noisy:
        drawn = seen[-1].split(5)
        drawn = drawn[1:] if isinstance(objective, Stability) and objective.form != "two-copies" else drawn
        assert len(drawn) == copies_of(objective)
        for i, first in enumerate(drawn):
            for second in drawn[i + 1 :]:
                assert (first != second).all()
        residues = torch.cat([copy - drawn[0].mean() for copy in drawn])
        assert len(residues.unique()) == residues.numel()


@dataclass(frozen=True)
class Rows(RandomSource):
    """Some rows of the draws for a whole batch, as a data-parallel process gets them."""

    source: RandomSource
    rows: list[int]
    total: int

    def normal(self, like: Tensor) -> Tensor:
        return self._own(self.source.normal, like)

    def exponential(self, like: Tensor) -> Tensor:
        return self._own(self.source.exponential, like)

    def uniform(self, like: Tensor) -> Tensor:
        return self._own(self.source.uniform, like)

    def _own(self, draw: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
        assert len(like) == len(self.rows)
        return draw(like.new_empty((self.total, *like.shape[1:])))[self.rows]


@pytest.mark.parametrize("objective", ALL, ids=repr)
def test_processes_that_share_a_batch_average_to_its_loss_and_gradient(objective: Objective) -> None:
    torch.manual_seed(0)
    model, x, y = two_layers(), torch.rand(6, 4, dtype=torch.float64), torch.arange(6) % 3
    whole = objective(model, x, y, NOISE, as_source(torch.Generator().manual_seed(3)))
    whole.loss.backward()
    gradient = model[0].weight.grad.clone()
    model.zero_grad()
    losses = []
    for rows in ([0, 2, 4], [1, 3, 5]):
        source = Rows(as_source(torch.Generator().manual_seed(3)), rows, 6)
        part = objective(model, x[rows], y[rows], NOISE, source)
        (part.loss / 2).backward()
        losses.append(part.loss.item())
        assert torch.allclose(part.logits, whole.logits[rows], rtol=1e-9)
    assert np.mean(losses) == pytest.approx(whole.loss.item(), rel=1e-9)
    assert torch.allclose(model[0].weight.grad, gradient, rtol=1e-7, atol=1e-12)


def moody() -> nn.Module:
    """Dropout, batch normalisation in training and, frozen, in evaluation mode."""
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3)
    )
    model.train()
    model[4].eval()
    return model


@pytest.mark.parametrize("objective", ALL, ids=repr)
def test_the_model_is_left_as_it_was(objective: Objective) -> None:
    torch.manual_seed(0)
    model, x, y = moody(), torch.rand(8, 4), torch.arange(8) % 3
    modes = [module.training for module in model.modules()]
    result = objective(model, x, y, NOISE, as_source(torch.Generator().manual_seed(0)))
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model[1].num_batches_tracked == 1, "one forward pass in training mode, whatever the ascent needs"
    assert model[4].num_batches_tracked == 0
    result.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())

    class Broken(nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            if not self.training:
                raise RuntimeError("broken")
            return super().forward(images)

    broken = Broken(4, 3)
    if objective in ADVERSARIAL:
        with pytest.raises(RuntimeError, match="broken"):
            objective(broken, x, y, NOISE, as_source(None))
    assert broken.training


@pytest.mark.parametrize("objective", ALL, ids=repr)
def test_passes_are_those_counted(objective: Objective) -> None:
    counted = 0

    class Counting(nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            logits.register_hook(count)
            return logits

    def count(gradient: Tensor) -> None:
        nonlocal counted
        counted += len(gradient)

    result = objective(Counting(4, 3), torch.rand(5, 4), torch.zeros(5, dtype=torch.long), NOISE, as_source(None))
    result.loss.backward()
    assert counted == 5 * objective.passes


def test_costs_of_the_published_settings() -> None:
    costs = {type(o).__name__: o.passes for o in (Natural(), GaussianAugmentation(), Stability(), Consistency())}
    assert costs == {"Natural": 1, "GaussianAugmentation": 1, "Stability": 2, "Consistency": 2}
    assert [o.passes for o in (MACER(), SmoothAdv(), Adversarial(), TRADES())] == [16, 44, 41, 42]


@pytest.mark.parametrize("objective", ALL, ids=repr)
def test_bfloat16_keeps_losses_in_float32_and_gradients_whole(objective: Objective) -> None:
    """Older torch keeps weights that autocast cast under no_grad, and their gradient is lost: the ascent must not use it."""
    torch.manual_seed(0)
    model, x, y = two_layers().float(), torch.rand(32, 4), torch.arange(32) % 3
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            result = objective(model, x, y, NOISE, as_source(torch.Generator().manual_seed(0)))
        assert result.loss.dtype == result.logits.dtype == torch.float32
        result.loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    exact, half = gradients
    assert (half - exact).norm() < 0.15 * exact.norm()


@pytest.mark.parametrize("objective", ADVERSARIAL, ids=repr)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_adversarial_objectives_take_a_model_set_up_by_fabric(objective: Objective, precision: str) -> None:
    Fabric = pytest.importorskip("lightning_fabric").Fabric
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    model, _ = fabric.setup(network, torch.optim.SGD(network.parameters()))
    model.train()
    result = objective(model, torch.rand(6, 4), torch.arange(6) % 3, NOISE, as_source(None))
    fabric.backward(result.loss)
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_macer_is_finite_at_extreme_logits(size: float) -> None:
    x = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    for y in (torch.tensor([0, 1, 0, 2]), torch.tensor([1, 2, 2, 0])):
        model = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            model.weight.copy_(size * torch.eye(3))
        loss = MACER()(model, x, y, Gaussian(1e-3), as_source(torch.Generator().manual_seed(0))).loss
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(model.weight.grad).all()


def test_macer_counts_a_certain_prediction_as_past_the_margin() -> None:
    model, x, y = nn.Linear(3, 3, bias=False), torch.eye(3), torch.arange(3)
    with torch.no_grad():
        model.weight.copy_(1e4 * torch.eye(3))
    source = as_source(torch.Generator().manual_seed(0))
    assert MACER()(model, x, y, Gaussian(1e-3), source).loss == 0.0
    wrong = MACER(weight=0.0)(model, x, (y + 1) % 3, Gaussian(1e-6), source).loss
    assert wrong.item() == pytest.approx(1e4, rel=1e-3)


@pytest.mark.parametrize("noise", [Laplace(0.3), Uniform(0.3)], ids=repr)
def test_macer_is_for_gaussian_noise(noise: Laplace | Uniform) -> None:
    with pytest.raises(InvalidInputError, match="noise must be Gaussian for MACER"):
        MACER()(nn.Linear(4, 3), torch.rand(2, 4), torch.zeros(2, dtype=torch.long), noise, as_source(None))


@pytest.mark.parametrize("noise", [Laplace(0.3), Uniform(0.3)], ids=repr)
@pytest.mark.parametrize("objective", [o for o in [*NOISY, *ADVERSARIAL] if not isinstance(o, MACER)], ids=repr)
def test_other_objectives_take_every_noise(objective: Objective, noise: Laplace | Uniform) -> None:
    result = objective(nn.Linear(4, 3), torch.rand(2, 4), torch.zeros(2, dtype=torch.long), noise, as_source(None))
    assert torch.isfinite(result.loss)


@pytest.mark.parametrize("objective", ALL, ids=repr)
def test_noisy_says_whether_the_noise_is_used(objective: Objective) -> None:
    class Loud(Gaussian):
        def draw(self, like: Tensor, source: RandomSource) -> Tensor:
            raise AssertionError("noise was drawn")

    arguments = (nn.Linear(4, 3), torch.rand(2, 4), torch.zeros(2, dtype=torch.long), Loud(0.3), as_source(None))
    if objective.noisy:
        with pytest.raises(AssertionError, match="noise was drawn"):
            objective(*arguments)
    else:
        objective(*arguments)


@pytest.mark.parametrize("objective", ALL, ids=repr)
def test_spec_rebuilds_the_objective(objective: Objective) -> None:
    spec = json.loads(json.dumps(objective.spec()))
    name = spec.pop("name")
    assert getattr(objectives, name)(**spec) == objective


@pytest.mark.parametrize("objective", [o for o in ALL if o.ramps is not None], ids=repr)
def test_ramped(objective: Objective) -> None:
    assert objective.ramps == ("epsilon" if isinstance(objective, Adversarial | SmoothAdv) else "weight")
    assert objective.ramped(1.0) == objective
    full = getattr(objective, objective.ramps)
    for fraction in (0.0, 0.25, 1.0):
        part = objective.ramped(fraction)
        assert getattr(part, objective.ramps) == fraction * full
        assert replace(part, **{objective.ramps: full}) == objective
        torch.manual_seed(0)
        assert torch.isfinite(run(part, two_layers(), torch.rand(4, 4).double(), torch.arange(4) % 3)[0].loss)
    for fraction in (-0.1, 1.1, math.nan):
        with pytest.raises(InvalidInputError, match=r"fraction must be in \[0, 1\]"):
            objective.ramped(fraction)


def test_ramped_to_nothing_is_the_objective_without_regularisation() -> None:
    torch.manual_seed(0)
    x, y, model = torch.rand(6, 4).double(), torch.arange(6) % 3, two_layers()
    natural = run(Natural(), model, x, y)[0].loss.item()
    for objective in (Stability(), TRADES(steps=2), Adversarial(steps=2), Adversarial(norm="l2", steps=2)):
        assert run(objective.ramped(0.0), model, x, y)[0].loss.item() == pytest.approx(natural, rel=1e-12)
    noisy = run(GaussianAugmentation(), model, x, y)[0].loss.item()
    assert run(SmoothAdv(copies=1).ramped(0.0), model, x, y)[0].loss.item() == pytest.approx(noisy, rel=1e-12)


@pytest.mark.parametrize("objective", [Natural(), GaussianAugmentation(), Stability(form="released-first")], ids=repr)
def test_what_has_no_regularisation_has_nothing_to_warm_up(objective: Objective) -> None:
    with pytest.raises(InvalidInputError, match="which has nothing to warm up"):
        objective.ramped(0.5)


@pytest.mark.parametrize("kind", [Stability, Consistency, TRADES, AdversarialLogitPairing, MACER])
@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weight_outside_its_domain(kind: type[Objective], weight: float) -> None:
    with pytest.raises(InvalidInputError, match="weight must be a finite number >= 0"):
        kind(weight=weight)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stability(weight=2.0, form="released-first"), "weight must be 1 for the form 'released-first'"),
        (lambda: Consistency(copies=1), "copies must be an integer >= 2"),
        (lambda: Consistency(entropy_weight=-0.5), "entropy_weight must be a finite number >= 0"),
        (lambda: Adversarial(epsilon=-0.1), "epsilon must be a finite number >= 0"),
        (lambda: TRADES(epsilon=math.inf), "epsilon must be a finite number >= 0"),
        (lambda: TRADES(steps=0), "steps must be an integer >= 1"),
        (lambda: AdversarialLogitPairing(steps=-1), "steps must be an integer >= 1"),
        (lambda: Adversarial(step_size=math.nan), "step_size must be a finite number >= 0"),
        (lambda: SmoothAdv(epsilon=-1.0), "epsilon must be a finite number >= 0"),
        (lambda: SmoothAdv(steps=0), "steps must be an integer >= 1"),
        (lambda: SmoothAdv(copies=0), "copies must be an integer >= 1"),
        (lambda: SmoothAdv(step_size=-1.0), "step_size must be a finite number >= 0"),
        (lambda: SmoothAdv(consistency=-1.0), "consistency must be a finite number >= 0"),
        (lambda: SmoothAdv(entropy_weight=math.nan), "entropy_weight must be a finite number >= 0"),
        (lambda: SmoothAdv(copies=1, consistency=1.0), "copies must be an integer >= 2"),
        (lambda: MACER(margin=-1.0), "margin must be a finite number >= 0"),
        (lambda: MACER(inverse_temperature=math.inf), "inverse_temperature must be a finite number >= 0"),
        (lambda: MACER(copies=0), "copies must be an integer >= 1"),
    ],
)
def test_settings_outside_their_domain(make: Callable[[], Objective], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()


@pytest.mark.parametrize(
    ("objective", "field", "message"),
    [
        (Stability(), "form", "form must be one of paper, released-first, released-later, two-copies; got 'l1'"),
        (TRADES(), "norm", "norm must be 'linf' or 'l2'; got 'l1'"),
    ],
)
def test_other_names_are_refused(objective: Objective, field: str, message: str) -> None:
    object.__setattr__(objective, field, "l1")  # in tests the constructor's types are checked before
    with pytest.raises(InvalidInputError, match=message):
        objective.__post_init__()
