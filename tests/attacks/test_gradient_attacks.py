"""PGD, Auto-PGD and random search against classifiers whose nearest adversarial input is known."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.stats import beta, binomtest, kstest
from torch import Tensor, nn

from noiseproof import data
from noiseproof.attacks.auto_pgd import AutoLoss, AutoPGD, RandomisedAutoAttack, _Climb, checkpoints, logit_ratio
from noiseproof.attacks.base import Attack
from noiseproof.attacks.batch import Batch
from noiseproof.attacks.copies import NoisyCopies
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.expectation import Expectation, attack_loss, margin
from noiseproof.attacks.incumbents import Best, Problem
from noiseproof.attacks.pgd import PGD
from noiseproof.attacks.random_search import RandomSearch, _on_surface
from noiseproof.attacks.votes import Votes
from noiseproof.classifiers.runners import FunctionRunner
from noiseproof.errors import ClassifierError, InvalidInputError
from noiseproof.models import DigitsCNN
from noiseproof.noises import Gaussian
from noiseproof.perturbations.balls import distance
from noiseproof.perturbations.norms import Norm
from noiseproof.randomness import as_source

NORMS = [Norm.LINF, Norm.L2, Norm.L1]
DUAL: dict[Norm, float] = {"linf": 1, "l2": 2, "l1": np.inf}
SHAPE = (1, 3, 4)


class HalfSpace(nn.Module):
    """Scores (0, w x + b, -20): smoothed by any symmetric noise, its boundary is the plane w x + b = 0."""

    def __init__(self, weight: Tensor, bias: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), bias

    def value(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.to(images.dtype) + self.bias

    def forward(self, images: Tensor) -> Tensor:
        value = self.value(images)
        return torch.stack([torch.zeros_like(value), value, torch.full_like(value, -20.0)], dim=1)


class Hill(nn.Module):
    """Two classes, F_0(x) = exp(-|x - c|^2 / 2 - 1), or with a sign the reverse: every loss rises away from c, or to it."""

    def __init__(self, center: Tensor, *, towards: bool = False) -> None:
        super().__init__()
        self.center, self.towards = nn.Parameter(center), towards

    def forward(self, images: Tensor) -> Tensor:
        fallen = -0.5 * (images - self.center).flatten(1).square().sum(1) - 1.0
        scores = [fallen, torch.log(-torch.expm1(fallen))]
        return torch.stack(scores[::-1] if self.towards else scores, dim=1)


class Waves(nn.Module):
    """Scores with many hills: an ascent by long steps jumps over them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Linear(12, 24), nn.Linear(24, 4)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.second(torch.sin(8.0 * self.first(images.flatten(1))))
        return scores


def small_network(seed: int = 0, pixels: int = 12, classes: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 24), nn.Tanh(), nn.Linear(24, classes), nn.Tanh()).eval()


def pictures(number: int, seed: int = 0) -> Tensor:
    return torch.rand(number, *SHAPE, generator=torch.Generator().manual_seed(seed))


def batch_of(images: Tensor, labels: Tensor | None = None, indices: list[int] | None = None, seed: int = 0) -> Batch:
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    return Batch(images, labels, list(range(len(images))) if indices is None else indices, seed)


def attacked(attack: Attack, defence: Defence, batch: Batch, norm: Norm, size: float | Tensor) -> Tensor:
    sizes = torch.full((len(batch),), size, dtype=torch.float64) if isinstance(size, float) else size
    return attack.begin(defence, batch, norm)(sizes, list(range(len(batch))))


def smoothed_margin(network: nn.Module, points: Tensor, labels: Tensor) -> Tensor:
    """Of the classifier without noise."""
    return margin(network(points).log_softmax(1), labels).detach()


NOISY, NONE = Gaussian(0.3), None
HALF_SPACE_CASES: list[tuple[Attack, Norm, Gaussian | None, float]] = [
    # with 2.5 epsilons of way some starts are not turned round
    *[(PGD(eot_samples=2), norm, NOISY, 1.001) for norm in NORMS],
    *[(PGD(eot_samples=2, random_start=False, loss="mean"), norm, NOISY, 1.001) for norm in NORMS],
    *[(PGD(eot_samples=2, random_start=False, loss="margin", fixed=True), norm, NOISY, 1.001) for norm in NORMS],
    *[(AutoPGD(steps=25, loss=loss), norm, NONE, 1.001) for norm in NORMS[:2] for loss in get_args(AutoLoss)],
    # by luck a bad point seems the best
    *[(AutoPGD(eot_samples=4, steps=30), norm, NOISY, 1.06) for norm in NORMS[:2]],
    *[(RandomisedAutoAttack(steps=25), norm, NONE, 1.001) for norm in NORMS[:2]],
]


@pytest.mark.parametrize(("attack", "norm", "noise", "beyond"), HALF_SPACE_CASES, ids=lambda case: str(case)[:60])
def test_half_space_falls_just_beyond_its_distance(
    attack: Attack, norm: Norm, noise: Gaussian | None, beyond: float
) -> None:
    """Distance |w x + b| / |w| in the dual norm: none falls below it, all fall `beyond` times it."""
    rng = np.random.default_rng(3)
    w = torch.from_numpy(rng.normal(size=12))
    length = float(np.linalg.norm(w.numpy(), DUAL[norm]))
    network = HalfSpace(w, 0.15 * length - 0.5 * float(w.sum()))
    images = 0.5 + 0.1 * (pictures(8) - 0.5)  # no wall is near
    value = network.value(images.double()).detach()
    labels = (value > 0).long()
    away = value.abs() / length
    assert away.min() > 0.05
    assert away.max() < 0.35
    target = Defence(network, noise, 3)
    for factor, falls in ((0.999, False), (beyond, True)):
        points = attacked(attack, target, batch_of(images, labels), norm, factor * away)
        flipped = (network.value(points.double()) > 0).long() != labels
        assert bool(flipped.all() if falls else not flipped.any())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["log_mean", "mean", "margin"])
def test_a_step_goes_where_the_loss_of_closed_form_rises(norm: Norm, loss: Any) -> None:
    images, center = 0.5 + 0.2 * (pictures(6) - 0.5), 0.5 + 0.05 * torch.ones(SHAPE)
    attack = PGD(loss=loss, steps=1, step_size=1.0, random_start=False)
    sizes = torch.linspace(0.02, 0.1, 6, dtype=torch.float64)
    points = attacked(attack, Defence(Hill(center), None, 2), batch_of(images), norm, sizes)
    gradient = (images - center).flatten(1).double().numpy()
    if norm == "linf":
        direction = np.sign(gradient)
    elif norm == "l2":
        direction = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    else:  # one pixel of twelve
        direction = np.where(np.abs(gradient) == np.abs(gradient).max(1, keepdims=True), np.sign(gradient), 0.0)
    expected = images.flatten(1).numpy() + sizes.numpy()[:, None] * direction
    assert np.allclose(points.flatten(1), expected, rtol=0, atol=1e-6)


ALL: list[Attack] = [
    PGD(eot_samples=2, steps=2, restarts=2),
    PGD(eot_samples=2, steps=3, fixed=True, step_size=2.0),
    AutoPGD(eot_samples=2, steps=5),
    AutoPGD(eot_samples=2, steps=5, loss="dlr"),
    RandomisedAutoAttack(eot_samples=2, steps=3),
]


class Stairs(nn.Module):
    """A network behind a rounding: its gradients are 0 everywhere, and it has them."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.network = small_network(seed)

    def forward(self, images: Tensor) -> Tensor:
        return self.network((8.0 * images).round() / 8.0)


@pytest.mark.parametrize("noise", [None, Gaussian(0.05)])
@pytest.mark.parametrize(
    "attack",
    [
        PGD(eot_samples=3, steps=3, restarts=2),
        AutoPGD(eot_samples=3, steps=3),
        RandomisedAutoAttack(eot_samples=3, steps=3),
    ],
    ids=str,
)
def test_without_any_gradient_the_image_is_returned_where_nothing_fools(attack: Attack, noise: Gaussian | None) -> None:
    """A random start that is kept by chance would pass for an attack that was made."""
    network, images = Stairs(), pictures(40)
    labels = network(images).argmax(1)
    points = attacked(attack, Defence(network, noise, 4), batch_of(images, labels), "l2", 0.3)
    fooled = network(points).argmax(1) != labels
    still = (points == images).flatten(1).all(1)
    assert still.sum() > 20
    if noise is None:
        assert torch.equal(still, ~fooled)
    seen = attacked(attack, Defence(network.network, noise, 4), batch_of(images, labels), "l2", 0.3)
    assert (seen != images).flatten(1).any(1).sum() > 35, (
        "with gradients the best point is kept, whether it fools or not"
    )


@contextmanager
def inputs_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int, bool, Tensor]]]:
    """(images, call, whether a gradient is wanted, images) of every time that noise is drawn."""
    seen: list[tuple[int, int, bool, Tensor]] = []
    draw = NoisyCopies.__call__

    def recorded(self: NoisyCopies, images: Tensor, rows: Any = None) -> Tensor:
        seen.append((len(images), self.calls, images.requires_grad, images.detach().clone()))
        return draw(self, images, rows)

    with monkeypatch.context() as patch:
        patch.setattr(NoisyCopies, "__call__", recorded)
        yield seen


def overshot(steps: int) -> tuple[Hill, Tensor, list[Tensor], list[float]]:
    """The iterates of an ascent to a near hilltop with steps of mean length 0.1 in l_2: it goes to and fro."""
    top = torch.full(SHAPE, 0.5)
    hill, point = Hill(top, towards=True), torch.full(SHAPE, 0.5)
    point[0, 0, 0] = 0.63
    iterates = [point]
    for length in np.linspace(0.2, 0.0, 2 * steps + 1)[1::2].tolist():
        towards = top - iterates[-1]
        iterates.append(iterates[-1] + length * towards / torch.linalg.vector_norm(towards))
    margins = smoothed_margin(hill, torch.stack(iterates), torch.zeros(steps + 1, dtype=torch.int64))
    return hill, point[None], iterates, margins.tolist()


def test_the_best_iterate_is_kept_where_values_are_exact() -> None:
    hill, image, iterates, margins = overshot(4)
    best = int(np.argmax(margins))
    assert best not in {0, 4}
    attack = PGD(steps=4, step_size=0.2, random_start=False)
    points = attacked(attack, Defence(hill, None, 2), batch_of(image), "l2", 0.5)
    torch.testing.assert_close(points[0], iterates[best], rtol=0, atol=1e-5)


def test_the_last_iterate_is_kept_where_noise_is_fresh() -> None:
    hill, image, iterates, margins = overshot(4)
    assert margins[0] < margins[4] < max(margins)
    attack = PGD(steps=4, step_size=0.2, random_start=False, eot_samples=3)
    points = attacked(attack, Defence(hill, Gaussian(1e-5), 2), batch_of(image), "l2", 0.5)
    torch.testing.assert_close(points[0], iterates[4], rtol=0, atol=1e-3)


@pytest.mark.parametrize("attack", ALL[:1] + ALL[2:5], ids=str)
def test_points_are_compared_by_draws_that_found_none_of_them(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    target, images = Defence(small_network(), Gaussian(0.3), 4), pictures(3)
    finder = attack.begin(target, batch_of(images, torch.tensor([0, 1, 2])), "l2")
    judged, climbed = [], []
    for size in (0.01, 0.02):
        with inputs_of(monkeypatch) as seen:
            finder(torch.full((3,), size, dtype=torch.float64), [0, 1, 2])
        judged.append({call for _, call, wanted, _ in seen if not wanted})
        climbed.append([call for _, call, wanted, _ in seen if wanted])
    assert len(judged[0]) == len(judged[1]) == 1, "every candidate sees the same draws"
    assert judged[0] != judged[1]
    every = [*climbed[0], *climbed[1], *judged[0], *judged[1]]
    assert len(set(every)) == len(every), "a draw is used once"


@pytest.mark.parametrize(
    ("attack", "passes"),
    [(PGD(eot_samples=2, steps=3, restarts=2), 3), (RandomisedAutoAttack(eot_samples=2, steps=3), 4)],
    ids=str,
)
def test_every_ascent_starts_somewhere_else(attack: Attack, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = small_network(), 0.5 + 0.1 * (pictures(2) - 0.5)
    finder = attack.begin(Defence(network, Gaussian(0.1), 4), batch_of(images, network(images).argmax(1)), "linf")
    with inputs_of(monkeypatch) as seen:
        for _ in range(2):
            finder(torch.tensor([1e-4, 2e-4], dtype=torch.float64), [0, 1])
    climbs = [images for _, _, wanted, images in seen if wanted]
    starts = torch.cat([(start - images) / torch.tensor([1e-4, 2e-4]).view(2, 1, 1, 1) for start in climbs[::passes]])
    assert len(starts) == 8
    assert float(starts.flatten(1).std(1).min()) > 0.3
    between = torch.corrcoef(starts.flatten(1)).fill_diagonal_(0.0)
    assert float(between.abs().max()) < 0.95


def test_a_step_is_one_pass_and_little_else_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    parameters = [parameter.clone() for parameter in network.parameters()]
    with inputs_of(monkeypatch) as seen:
        attacked(PGD(eot_samples=5, steps=7), Defence(network, Gaussian(0.3), 4), batch_of(pictures(3)), "l2", 0.2)
        assert [wanted for _, _, wanted, _ in seen] == [False, *[True] * 7, False]
        seen.clear()
        attacked(AutoPGD(eot_samples=5, steps=7), Defence(network, Gaussian(0.3), 4), batch_of(pictures(3)), "l2", 0.2)
        assert [wanted for _, _, wanted, _ in seen] == [False, *[True] * 8, False, False]
    for parameter, before in zip(network.parameters(), parameters, strict=True):
        assert parameter.requires_grad
        assert parameter.grad is None
        assert torch.equal(parameter, before)


@pytest.mark.parametrize(
    ("norm", "attacks"),
    [
        *[
            (norm, [PGD(loss="margin", fixed=True, eot_samples=8, steps=steps) for steps in (1, 5, 40)])
            for norm in NORMS
        ],
        *[(norm, [AutoPGD(steps=steps) for steps in (1, 6, 50)]) for norm in NORMS[:2]],
    ],
)
def test_more_steps_find_more(norm: Norm, attacks: list[Attack]) -> None:
    network, images, labels = small_network(5), pictures(16), torch.arange(16) % 4
    noise = Gaussian(0.2) if isinstance(attacks[0], PGD) else None
    smoothed = Expectation(network, noise, eot_samples=8, fixed=True, indices=range(16))
    reached = []
    for attack in attacks:
        points = attacked(attack, Defence(network, noise, 4), batch_of(images, labels), norm, 0.5)
        reached.append(float(attack_loss(smoothed.log_probabilities(points), labels, "margin").mean()))
    assert reached[0] + 0.001 < reached[1] < reached[2] + 1e-6


@cache
def digits_network() -> nn.Module:
    """Trained on noisy digits for a second."""
    torch.manual_seed(0)
    train, network = data.load("digits", "train"), DigitsCNN()
    x, y = torch.from_numpy(train.read(range(len(train.labels)))), torch.from_numpy(train.labels)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for chosen in [part for _ in range(4) for part in torch.randperm(len(x)).split(100)]:
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x[chosen] + 0.25 * torch.randn_like(x[chosen])), y[chosen]).backward()
        optimiser.step()
    return network


@pytest.mark.parametrize("norm", NORMS)
def test_random_search_finds_no_more_than_gradients(norm: Norm) -> None:
    """By votes of their own."""
    test, rows, network = data.load("digits", "test"), list(range(25)), digits_network()
    images, labels = torch.from_numpy(test.read(rows)), torch.from_numpy(test.labels[rows])
    target, judge = Defence(network, Gaussian(0.25), 10), Votes(network, Gaussian(0.25), 10, eot_samples=200, seed=99)
    size = {"linf": 0.12, "l2": 0.7, "l1": 2.5}[norm]
    margins = [
        margin(judge(attacked(attack, target, batch_of(images, labels), norm, size)), labels)
        for attack in (RandomSearch(tries=30), PGD(steps=20, eot_samples=8))
    ]
    assert margins[0].mean() > margin(judge(images), labels).mean()
    assert margins[1].mean() > margins[0].mean() + 0.2
    assert (margins[1] >= margins[0].clamp(max=0.5) - 0.1).all()
    assert (margins[1] > 0).sum() > (margins[0] > 0).sum()


@pytest.mark.parametrize("norm", NORMS)
def test_random_search_returns_the_best_of_points_on_the_surface(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = small_network(2), 0.5 + 0.1 * (pictures(4) - 0.5)
    labels = network(images).argmax(1)
    with inputs_of(monkeypatch) as seen:
        attack = RandomSearch(tries=40, eot_samples=25)
        points = attacked(attack, Defence(network, Gaussian(0.3), 4), batch_of(images, labels), norm, 0.3)
    tried = torch.stack([images for _, _, _, images in seen])[1:]
    assert len(tried) == 40
    lengths = distance(tried.flatten(0, 1), images.repeat(40, 1, 1, 1), norm)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.3), rtol=1e-5, atol=0)
    if norm == "linf":
        assert torch.allclose((tried - images).abs(), torch.tensor(0.3), rtol=1e-5)
    ahead = (tried - images).flatten(2).sign()  # 40 tries of 4 images
    pixels = ahead.shape[-1]
    assert float(ahead.mean((0, 1)).abs().max()) < 5 / math.sqrt(160), "every pixel to both sides"
    pairs = torch.einsum("tip,tiq->pq", ahead, ahead) / 160 - torch.eye(pixels)
    assert float(pairs.abs().max()) < 5 / math.sqrt(160), "and each by itself: in all orthants"
    votes = Votes(network, Gaussian(0.3), 4, eot_samples=25, fixed=True, indices=range(4))
    best = torch.stack([margin(votes(candidates), labels) for candidates in tried]).amax(0)
    torch.testing.assert_close(margin(votes(points), labels), torch.maximum(best, margin(votes(images), labels)))


@pytest.mark.parametrize(("norm", "law"), [(Norm.L2, beta(0.5, 5.5)), (Norm.L1, beta(1.0, 11.0))])
def test_random_points_are_uniform_on_the_surface(norm: Norm, law: Any) -> None:
    """Of 12 pixels on the unit sphere of l_2 a squared one is Beta(1/2, 11/2); of l_1 one is Beta(1, 11) in size."""
    images = torch.full((4000, *SHAPE), 0.5)
    source = as_source(torch.Generator().manual_seed(7))
    points = _on_surface(images, norm, torch.full((4000,), 0.3, dtype=torch.float64), source)
    offsets = ((points - images) / 0.3).flatten(1).double().numpy()
    for pixel in (0, 5, 11):
        sizes = np.abs(offsets[:, pixel]) ** (2 if norm == "l2" else 1)
        assert kstest(sizes, law.cdf).pvalue > 1e-4
        assert binomtest(int((offsets[:, pixel] > 0).sum()), 4000).pvalue > 1e-4


@pytest.mark.parametrize("steps", [1, 7, 20, 50, 100, 1000])
def test_checkpoints_are_the_papers(steps: int) -> None:
    p, expected = [Fraction(0), Fraction(22, 100)], []
    while p[-1] <= 1:
        expected.append(math.ceil(p[-1] * steps))
        p.append(p[-1] + max(p[-1] - p[-2] - Fraction(3, 100), Fraction(6, 100)))
    assert checkpoints(steps) == expected
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def algorithm_1(
    f: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, center: np.ndarray, size: float, steps: int
) -> tuple[list[np.ndarray], list[int]]:
    """Auto-PGD in l_inf for one point, straight from the paper; every iterate, and the steps after which e was halved."""

    def project(z: np.ndarray) -> np.ndarray:
        return np.clip(np.clip(z, center - size, center + size), 0, 1)

    x, e, halvings, records = [start], 2 * size, [], [f(start)[0]]
    raised, changed, last = 0, False, 0
    best = start
    for k in range(steps):
        z = project(x[k] + e * np.sign(f(x[k])[1]))
        x.append(z if k == 0 else project(x[k] + 0.75 * (z - x[k]) + 0.25 * (x[k] - x[k - 1])))
        raised += f(x[k + 1])[0] > f(x[k])[0]
        best = x[k + 1] if f(x[k + 1])[0] > f(best)[0] else best
        if k + 1 in checkpoints(steps):
            halve = raised < 0.75 * (k + 1 - last) or (not changed and f(best)[0] == records[-1])
            records.append(f(best)[0])
            raised, changed, last = 0, halve, k + 1
            if halve:
                e, x[k + 1] = e / 2, best
                halvings.append(k + 1)
    return x, halvings


@pytest.mark.parametrize("seed", range(4))
def test_auto_pgd_is_algorithm_1(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point at which it asks for a gradient, on a network without noise, in l_inf."""
    network, image = Waves(seed).double(), pictures(1, seed).double()
    label = network(image).argmax(1)
    with inputs_of(monkeypatch) as seen:
        attacked(AutoPGD(steps=60), Defence(network, None, 4), batch_of(image, label), "linf", 0.4)
    visited = [images.numpy() for _, _, wanted, images in seen if wanted]
    assert len(visited) == 61

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(x).requires_grad_()
        value = nn.functional.cross_entropy(network(point), label)
        return value.item(), torch.autograd.grad(value, point)[0].numpy()

    iterates, halvings = algorithm_1(f, visited[0], image.numpy(), 0.4, 60)
    assert len(halvings) >= 6
    assert len({iterate.tobytes() for iterate in iterates}) > 50
    for step, (mine, papers) in enumerate(zip(visited, iterates, strict=True)):
        if step not in halvings:  # there the paper's next point replaces one that was visited
            assert np.allclose(mine, papers, rtol=0, atol=1e-7), f"step {step}, halved after {halvings}"


@pytest.mark.parametrize(
    ("windows", "halvings"),
    [
        ([[1, 2, 3, 4]], [False]),
        ([[1, 2, 3, 2]], [False]),  # three of four
        ([[1, 2, 1, 0]], [True]),
        ([[1, 2, 3, 9], [4, 5, 6, 7]], [False, True]),  # three rises, but none beyond 9
        ([[1, 2, 3, 9], [4, 5, 6, 10]], [False, False]),
        ([[1, 2, 1, 0], [1, 3, 1, 2]], [True, True]),  # begins again at 2: two of four rise
        ([[1, 9, 1, 0], [1, 2, 3, 4]], [True, False]),  # none beyond 9, but halved just before
        ([[1, 9, 1, 0], [1, 2, 3, 4], [5, 6, 7, 8]], [True, False, True]),
    ],
)
def test_when_steps_are_halved(windows: list[list[float]], halvings: list[bool]) -> None:
    """By losses as they might come, from 0, checkpoint by checkpoint; beside an image that rises for ever."""
    images, sizes = pictures(2), torch.tensor([0.1, 0.3], dtype=torch.float64)
    problem = Problem(images, torch.zeros(2, dtype=torch.int64), sizes, [0, 1], 0, Best(images))
    climb, height = _Climb(images, torch.zeros(2), images, problem, "linf"), 0.0
    for window, halves in zip(windows, halvings, strict=True):
        before = climb.step
        for value in window:
            height += 1.0
            climb.arrive(images, torch.tensor([value, height]), images)
        climb.adapt()
        assert (climb.step / before).tolist() == [0.5 if halves else 1.0, 1.0]


def test_logit_ratio() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, -5.0], [0.0, 4.0, 1.0, 2.0], [1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    expected = torch.tensor([-(3 - 2) / (3 - 1), -(0 - 4) / (4 - 1), 0.0], dtype=torch.float64)
    torch.testing.assert_close(logit_ratio(scores, labels), expected)
    torch.testing.assert_close(logit_ratio(1e3 * scores - 7.0, labels), expected)
    torch.testing.assert_close(logit_ratio(scores.log_softmax(1), labels), expected)
    assert logit_ratio(torch.zeros(1, 3), torch.tensor([2])).isfinite().all()
    ordered = torch.randn(200, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).sort(
        1, descending=True
    )
    by_rank = [logit_ratio(ordered.values, torch.full((200,), rank)) for rank in range(5)]
    assert all(
        low <= by_rank[rank].min() and by_rank[rank].max() <= high for rank, low, high in ((0, -1, 0), (1, 0, 1))
    )
    assert by_rank[3].min() > 1.0  # it has no upper limit


def test_auto_attack_attacks_again_what_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images 0 and 2 are wrong before; what log_mean alone finds is never lost."""
    network, images = small_network(3), pictures(4)
    right = network(images).argmax(1)
    labels = torch.where(torch.arange(4) % 2 == 0, (right + 1) % 4, right)
    target = Defence(network, None, 4)
    with inputs_of(monkeypatch) as seen:
        points = attacked(RandomisedAutoAttack(steps=5), target, batch_of(images, labels), "linf", 0.02)
    climbs = [count for count, _, wanted, _ in seen if wanted]
    standing = int((smoothed_margin(network, images, labels) <= 0).sum())
    assert standing == 2
    assert climbs == [4] * 6 + [2] * 6
    alone = attacked(AutoPGD(steps=5), target, batch_of(images, labels), "linf", 0.02)
    both, one = (smoothed_margin(network, p, labels) for p in (points, alone))
    assert (both >= one - 1e-6).all()
    assert torch.equal(points[::2], alone[::2])


def test_pixels_at_the_wall_cost_the_attack_in_l1_nothing() -> None:
    """The gradient is largest at two pixels that cannot move up; the third, which can, is what the attack takes."""
    w = torch.tensor([5.0, 4.0, 3.0, *[0.1] * 9], dtype=torch.float64)
    images = torch.full((1, *SHAPE), 0.5)
    images.view(1, -1)[:, :2] = 1.0
    network = HalfSpace(w, -float(images.double().flatten() @ w) - 0.6)  # 0.6 / 3 = 0.2 away
    attack = PGD(eot_samples=2, random_start=False)
    for size, falls in ((0.199, False), (0.201, True)):
        points = attacked(attack, Defence(network, Gaussian(0.1), 3), batch_of(images), "l1", size)
        assert bool(network.value(points.double()) > 0) == falls


def test_random_search_takes_any_classifier() -> None:
    runner = FunctionRunner(lambda images: (images.mean((1, 2, 3)) > 0.5).astype(np.int64), "numpy")
    attack, images = RandomSearch(tries=60, eot_samples=4), torch.full((2, *SHAPE), 0.45)
    points = attacked(attack, Defence(runner, None, 2), batch_of(images), "linf", 0.3)
    assert (points.mean((1, 2, 3)) > 0.5).all()
    assert not attack.follows_gradients


@pytest.mark.parametrize(
    ("attack", "changes", "name"),
    [
        (PGD, {"loss": "dlr"}, "loss"),
        (PGD, {"eot_samples": 0}, "eot_samples"),
        (PGD, {"steps": 0}, "steps"),
        (PGD, {"steps": 2.5}, "steps"),
        (PGD, {"restarts": 0}, "restarts"),
        (PGD, {"restarts": 2, "random_start": False}, "restarts"),
        *[(PGD, {"step_size": value}, "step_size") for value in (0.0, -1.0, math.inf, math.nan, True, "1")],
        (AutoPGD, {"loss": "mean"}, "loss"),
        (AutoPGD, {"eot_samples": 0}, "eot_samples"),
        (AutoPGD, {"steps": 0}, "steps"),
        (RandomisedAutoAttack, {"eot_samples": 0}, "eot_samples"),
        (RandomisedAutoAttack, {"steps": True}, "steps"),
        (RandomSearch, {"tries": 0}, "tries"),
        (RandomSearch, {"eot_samples": 0}, "eot_samples"),
    ],
)
def test_settings_are_checked(attack: Callable[[], Any], changes: dict[str, Any], name: str) -> None:
    changed = attack()
    for field, value in changes.items():
        object.__setattr__(changed, field, value)  # in tests the constructor's types are checked before
    with pytest.raises(InvalidInputError, match=f"^{name} must be"):
        changed.__post_init__()


def test_two_classes_have_no_logit_ratio() -> None:
    for attack in (AutoPGD(loss="dlr"), RandomisedAutoAttack()):
        with pytest.raises(InvalidInputError, match="number of classes must be >= 3"):
            attack.begin(Defence(small_network(classes=2), None, 2), batch_of(pictures(2)), "l2")


class Sparse(nn.Module):
    """Scores (t, -t) of a linear t on pictures of 12 x 12 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(144, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: Tensor) -> Tensor:
        value = 0.1 * images.flatten(1) @ self.weight
        return torch.stack([value, -value], 1)


def largest_fall(weight: np.ndarray, image: np.ndarray, size: float, norm: Norm) -> float:
    """Of <w, x> within ball and box: greedily in l_1, largest slopes first; by bisection of the multiplier in l_2."""
    slopes, room = np.abs(weight), np.where(weight < 0, 1 - image, image)
    if norm == "l1":
        order = np.argsort(-slopes)
        moved = np.clip(size - np.cumsum(room[order]) + room[order], 0, room[order])
        return float(moved @ slopes[order])
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = 0.5 * (low + high)
        shorter = np.linalg.norm(np.minimum(middle * slopes, room)) < size
        low, high = (middle, high) if shorter else (low, middle)
    return float(np.minimum(low * slopes, room) @ slopes)


@pytest.mark.parametrize(("norm", "size", "share"), [("l1", 1.0, 0.99), ("l1", 6.0, 0.99), ("l2", 1.5, 0.999)])
@pytest.mark.parametrize("noise", [NONE, NOISY])
def test_images_of_which_most_pixels_are_black_fall_as_far_as_they_can(
    norm: Norm, size: float, share: float, noise: Gaussian | None
) -> None:
    """With the clamp after the ball, and blocked pixels in the direction, l_2 ends at 0.97 and l_1 of size 6 at 0.84."""
    generator, network = torch.Generator().manual_seed(1), Sparse()
    images = torch.rand(6, 1, 12, 12, generator=generator) * (torch.rand(6, 1, 12, 12, generator=generator) < 0.2)
    batch = batch_of(images)
    weight = network.weight.detach()
    best = [largest_fall(weight.double().numpy(), image.flatten().double().numpy(), size, norm) for image in images]
    attacks: list[Attack] = [
        PGD(eot_samples=2),
        *([AutoPGD(eot_samples=2, steps=40)] if norm == "l2" and noise is None else []),
    ]
    for attack in attacks:
        points = attacked(attack, Defence(network, noise, 2), batch, norm, size)
        fallen = ((images - points).flatten(1) @ weight).double().numpy()
        assert (fallen <= np.array(best) * (1 + 1e-5)).all()
        assert (fallen >= share * np.array(best)).all()


class TwoSides(HalfSpace):
    """A half-space and its other side, no third class."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, :2]


SURE: list[Attack] = [
    *[
        PGD(eot_samples=8, loss=loss, random_start=start)
        for loss in ("log_mean", "mean", "margin")
        for start in (True, False)
    ],
    AutoPGD(eot_samples=8, steps=30),
]


@pytest.mark.parametrize("noise", [NONE, NOISY])
@pytest.mark.parametrize("scale", [300.0, 3e3, 1e5])
@pytest.mark.parametrize("attack", SURE, ids=str)
def test_a_network_that_is_sure_of_itself_is_not_robust(attack: Attack, scale: float, noise: Gaussian | None) -> None:
    """Where F is 0 or 1 up to rounding, -log F has no slope: the boundary is where it was."""
    w = torch.from_numpy(np.random.default_rng(3).normal(size=12))
    network = TwoSides(scale * w / w.norm(), -scale * float(0.5 * (w / w.norm()).sum()))
    heights = torch.tensor([0.05, 0.1, 0.2, -0.05, -0.1, -0.2])
    images = 0.5 + heights.view(-1, 1, 1, 1) * (w / w.norm()).view(1, *SHAPE).float()
    labels = (heights > 0).long()
    # under noise so far that 8 hard votes tell the point from the image
    sizes = 1.1 * heights.abs().double() + (0.0 if noise is None else 0.5)
    points = attacked(attack, Defence(network, noise, 2), batch_of(images, labels), "l2", sizes)
    assert ((network.value(points) > 0).long() != labels).all()


class Kinked(nn.Module):
    """A network with a term that is 0 for every image, and has no gradient there."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.network(images)
        return scores + (images - images).flatten(1).abs().sum(1, keepdim=True).sqrt()


@pytest.mark.parametrize("attack", ALL, ids=str)
def test_gradients_that_are_not_finite_are_an_error_and_no_robustness(attack: Attack) -> None:
    target = Defence(Kinked(small_network()), Gaussian(0.2), 4)
    with pytest.raises(
        ClassifierError, match=r"gradient of the classifier must be finite .* NaN or infinity for 6 of 6"
    ):
        attacked(attack, target, batch_of(pictures(3)), "l2", 0.3)


def test_no_value_is_less_than_any() -> None:
    first, second = pictures(2), pictures(2, 1)
    best = Best(first, torch.tensor([math.nan, 2.0]))
    best.offer(second, torch.tensor([-5.0, math.nan]))
    assert torch.equal(best.points, torch.stack([second[0], first[1]]))
    assert best.values.tolist() == [-5.0, 2.0]


@pytest.mark.parametrize("steps", [5, 9])
def test_auto_pgd_yields_its_last_iterate(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the point whose noise was luckiest, to which the checkpoint at the end would return."""
    assert checkpoints(steps)[-1] == steps
    network, images = small_network(), pictures(6)
    batch = batch_of(images, network(images).argmax(1))
    finder = AutoPGD(eot_samples=2, steps=steps).begin(Defence(network, Gaussian(1.0), 4), batch, "l2")
    problem = Problem(images, batch.labels, torch.full((6,), 0.4, dtype=torch.float64), range(6), 0, Best(images))
    with inputs_of(monkeypatch) as seen:
        last, best = finder.candidates(problem)  # type: ignore[attr-defined]
    visited = [points for _, _, wanted, points in seen if wanted]
    assert torch.equal(last, visited[-1])
    assert not torch.equal(best, last)


def test_scores_of_other_classes_than_the_target_s_are_an_error() -> None:
    with pytest.raises(ClassifierError, match="the defence's 3 classes; got 4 a row"):
        attacked(PGD(eot_samples=2, steps=2), Defence(small_network(), None, 3), batch_of(pictures(2)), "l2", 0.3)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"images": torch.full((2, *SHAPE), 1.5)}, "images"),
        ({"images": torch.full((2, *SHAPE), -0.1)}, "images"),
        ({"images": torch.full((2, *SHAPE), math.nan)}, "images"),
        ({"labels": torch.tensor([0])}, "labels"),
        ({"labels": torch.tensor([0, -1])}, "labels"),
        ({"labels": torch.tensor([0, 1], dtype=torch.int32)}, "labels"),
        ({"indices": [3]}, "indices"),
        ({"indices": [3, 3]}, "indices"),
        ({"seed": -1}, "seed"),
    ],
)
def test_batches_are_checked(changes: dict[str, Any], name: str) -> None:
    good: dict[str, Any] = {"images": pictures(2), "labels": torch.tensor([0, 1]), "indices": [4, 5], "seed": 0}
    batch = Batch(**good)
    for field, value in changes.items():
        object.__setattr__(batch, field, value)  # in tests the constructor's types are checked before
    with pytest.raises(InvalidInputError, match=f"^{name} must be"):
        batch.__post_init__()


@pytest.mark.parametrize("attack", [PGD(steps=2), AutoPGD(steps=2), RandomSearch(tries=2)], ids=str)
@pytest.mark.parametrize("sizes", [[0.1, -0.1], [0.1, math.nan], [math.inf, 0.1], [0.1]])
def test_sizes_are_checked(attack: Attack, sizes: list[float]) -> None:
    finder = attack.begin(Defence(small_network(), None, 4), batch_of(pictures(2)), "l2")
    with pytest.raises(InvalidInputError, match=r"^epsilons must be finite numbers >= 0, one for each of the 2 rows"):
        finder(torch.tensor(sizes, dtype=torch.float64), [0, 1])
