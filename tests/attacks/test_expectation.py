"""Expectation over noise: are its draws independent, its gradients those of the smoothed classifier, and its limits kept?"""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm as normal
from torch import Tensor, nn

from noiseproof.attacks import Expectation, attack_loss
from noiseproof.attacks.copies import NoisyCopies
from noiseproof.attacks.expectation import margin
from noiseproof.classifiers import accelerate
from noiseproof.classifiers.runners import FunctionRunner
from noiseproof.errors import ClassifierError, InvalidInputError, OutOfMemoryError
from noiseproof.noises import Gaussian, Laplace, Noise
from noiseproof.randomness import Phase
from noiseproof.sampling import HostSampler, Rows, Span

SIGMA = 0.5


class Bell(nn.Module):
    """Two classes, F_0(x) = exp(-|x|^2 / 2 - 1): under Gaussian noise all its expectations have closed forms."""

    def forward(self, images: Tensor) -> Tensor:
        first = -0.5 * images.flatten(1).square().sum(1) - 1.0
        return torch.stack([first, torch.log(-torch.expm1(first))], dim=1)


def bell_gradients(points: Tensor) -> dict[str, Tensor]:
    """The gradients of E[-log F_0(x + z)] = |x|^2 / 2 + .. and -log E[F_0(x + z)] = |x|^2 / (2 (1 + sigma^2)) + .."""
    return {"mean": points, "log_mean": points / (1.0 + SIGMA**2)}


@pytest.mark.parametrize("loss", ["mean", "log_mean"])
def test_the_gradient_is_that_of_the_expectation(loss: str) -> None:
    points = torch.tensor([[0.3, -0.2, 0.5], [0.0, 0.8, 0.1]], requires_grad=True)
    eot_samples = 200_000
    smoothed = Expectation(Bell(), Gaussian(SIGMA), eot_samples=eot_samples, batch_size=10**6)
    value = attack_loss(smoothed.log_probabilities(points), torch.zeros(2, dtype=torch.int64), loss)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(value.sum(), points)
    expected = bell_gradients(points.detach())[loss]
    torch.testing.assert_close(gradient, expected, atol=6.0 * 1.5 * SIGMA / math.sqrt(eot_samples), rtol=0.0)
    # and the two differ by far more than that, so that the test tells them apart
    assert (
        float((expected - bell_gradients(points.detach())[{"mean": "log_mean"}.get(loss, "mean")]).abs().max()) > 0.05
    )


@pytest.mark.parametrize("noise", [Gaussian(SIGMA), Laplace(SIGMA)])
def test_draws_are_independent_of_one_another_of_images_and_of_calls(noise: Noise) -> None:
    """Eight images, two calls, 64 draws of 400 pixels: no two copies are correlated beyond chance, none are equal."""
    copies = NoisyCopies(noise, 64, torch.device("cpu"), seed=5, indices=range(8))
    images = torch.zeros(8, 400)
    drawn = torch.cat([copies(images), copies(images)]).double()
    assert drawn.shape == (2 * 8 * 64, 400)
    scale = math.sqrt(2.0) * SIGMA if isinstance(noise, Laplace) else SIGMA
    assert float(drawn.std()) == pytest.approx(scale, rel=0.01)
    correlation = (drawn @ drawn.T) / 400 / scale**2
    between = correlation[torch.triu_indices(len(drawn), len(drawn), 1).unbind()]
    assert float(between.abs().max()) < 7.0 / math.sqrt(400)  # 6e5 pairs reach 5.0 by chance
    assert float(between.square().mean()) == pytest.approx(1 / 400, rel=0.05)


def test_noise_is_keyed_by_image_and_call_and_apart_from_other_phases() -> None:
    images = torch.rand(3, 1, 4, 4)
    together = NoisyCopies(Gaussian(SIGMA), 4, torch.device("cpu"), seed=1, indices=[10, 20, 30])
    alone = NoisyCopies(Gaussian(SIGMA), 4, torch.device("cpu"), seed=1, indices=[20])
    for _ in range(2):
        torch.testing.assert_close(together(images)[4:8], alone(images[1:2]), rtol=0, atol=0)
    some = NoisyCopies(Gaussian(SIGMA), 4, torch.device("cpu"), seed=1, indices=[10, 20, 30])
    again = NoisyCopies(Gaussian(SIGMA), 4, torch.device("cpu"), seed=1, indices=[10, 20, 30])
    torch.testing.assert_close(some(images[[2, 0]], rows=[2, 0])[:4], again(images)[8:], rtol=0, atol=0)
    for phase in (Phase.CERTIFY, Phase.SELECT, Phase.JUDGE, Phase.START):
        batch = torch.empty(4, 1, 4, 4)
        HostSampler(Gaussian(SIGMA), 1).fill(batch, images[1:2], Rows([Span(0, 20, phase, 0, 4)], batch.device))
        attacked = NoisyCopies(Gaussian(SIGMA), 4, torch.device("cpu"), seed=1, indices=[20])(images[1:2])
        assert not bool((batch == attacked).any())


def test_fixed_draws_make_a_deterministic_function_and_fresh_ones_do_not() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    images = torch.rand(2, 1, 4, 4)
    fixed, fresh = (Expectation(network, Gaussian(SIGMA), eot_samples=4, fixed=value) for value in (True, False))
    assert torch.equal(fixed(images), fixed(images))
    assert not torch.equal(fresh(images), fresh(images))


def test_views_are_what_they_say_and_log_mean_is_a_distribution() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
    images, labels = torch.rand(3, 1, 4, 4), torch.tensor([0, 4, 2])
    views = {
        view: Expectation(network, Gaussian(SIGMA), eot_samples=7, view=view, fixed=True)
        for view in ("log_mean", "mean")
    }  # type: ignore[arg-type]
    log_p = views["mean"].log_probabilities(images)
    # by hand, draw by draw
    noisy = NoisyCopies(Gaussian(SIGMA), 7, torch.device("cpu"), fixed=True)(images)
    each = network(noisy).softmax(1).detach().numpy().astype(np.float64).reshape(3, 7, 5)
    np.testing.assert_allclose(log_p.exp().detach(), each, rtol=1e-5)
    np.testing.assert_allclose(views["log_mean"](images).detach(), np.log(each.mean(1)), rtol=1e-5)
    np.testing.assert_allclose(views["mean"](images).detach(), np.log(each).mean(1), rtol=1e-5)
    cross_entropy = nn.functional.cross_entropy(views["log_mean"](images), labels, reduction="none")
    torch.testing.assert_close(cross_entropy, attack_loss(log_p, labels, "log_mean"))
    own = each[np.arange(3), :, labels.numpy()]
    np.testing.assert_allclose(attack_loss(log_p, labels, "mean").detach(), -np.log(own).mean(1), rtol=1e-5)
    mean = np.log(each.mean(1))
    others = [max(np.delete(row, label)) - row[label] for row, label in zip(mean, labels, strict=True)]
    np.testing.assert_allclose(attack_loss(log_p, labels, "margin").detach(), others, rtol=1e-4, atol=1e-6)


def test_without_noise_it_is_the_network() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
    images = torch.rand(3, 1, 4, 4)
    plain = Expectation(network, None, eot_samples=16)
    assert plain.log_probabilities(images).shape == (3, 1, 5)
    torch.testing.assert_close(plain(images), network(images).log_softmax(1))


def test_smoothed_probabilities_of_a_half_space() -> None:
    """F is nearly a step: the averaged softmax is Phi(margin / sigma), and its margin has its sign."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[0.0, 0.0], [1e4, 0.0]]))
        network[1].bias.copy_(torch.tensor([0.0, -0.3e4]))
    images = torch.tensor([[[0.1, 0.0]], [[0.5, 0.0]]])
    scores = Expectation(network, Gaussian(SIGMA), eot_samples=100_000, batch_size=10**6)(images).double()
    expected = normal.cdf((images[:, 0, 0].numpy() - 0.3) / SIGMA)
    np.testing.assert_allclose(scores.exp()[:, 1].detach(), expected, atol=4 * 0.5 / math.sqrt(100_000))
    assert torch.equal(margin(scores, torch.tensor([0, 0])) > 0, torch.tensor([False, True]))


def test_parts_give_the_same_gradient_as_the_whole() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
    images, labels = torch.rand(5, 1, 4, 4, requires_grad=True), torch.tensor([0, 1, 2, 0, 1])
    gradients = []
    for batch_size in (1000, 7):
        smoothed = Expectation(network, Gaussian(SIGMA), eot_samples=4, batch_size=batch_size)
        loss = attack_loss(smoothed.log_probabilities(images), labels, "log_mean").sum()
        gradients.append(torch.autograd.grad(loss, images)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_weights_keep_no_gradient_and_the_network_its_mode() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3)).train()
    images = torch.rand(2, 1, 4, 4, requires_grad=True)
    smoothed = Expectation(network, Gaussian(SIGMA), eot_samples=4)
    smoothed(images).sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    assert all(parameter.grad is None for parameter in (*network.parameters(), *smoothed.parameters()))
    assert network.training
    smoothed.train()  # what a library may call: dropout stays off
    fixed = Expectation(network, None)
    fixed.train()
    assert torch.equal(fixed(images), fixed(images))


def test_a_library_may_call_it_with_parts_of_a_batch_if_it_has_no_indices() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    assert Expectation(network, Gaussian(SIGMA))(torch.rand(1, 1, 4, 4)).shape == (1, 3)
    keyed = Expectation(network, Gaussian(SIGMA), indices=[3, 4])
    with pytest.raises(InvalidInputError, match="one for each index"):
        keyed(torch.rand(1, 1, 4, 4))
    with pytest.raises(InvalidInputError, match="distinct"):
        Expectation(network, Gaussian(SIGMA), indices=[3, 3])


def test_what_has_no_gradient_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidInputError, match="hop-skip-jump"):
        Expectation(FunctionRunner(lambda batch: batch, "torch"), Gaussian(SIGMA))
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    images = torch.rand(1, 1, 4, 4, requires_grad=True)

    class Rounded(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            return network(batch).detach()

    class Labels(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            return network(batch).argmax(1)

    with pytest.raises(ClassifierError, match="without a gradient"):
        Expectation(Rounded(), Gaussian(SIGMA))(images)
    with pytest.raises(ClassifierError, match="float scores"):
        Expectation(Labels(), Gaussian(SIGMA))(images)
    with pytest.raises(InvalidInputError, match="view"):
        Expectation(network, Gaussian(SIGMA), view="logits")
    with pytest.raises(InvalidInputError, match="eot_samples"):
        Expectation(network, Gaussian(SIGMA), eot_samples=0)


def test_it_takes_a_network_in_another_precision() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    images = torch.rand(2, 1, 4, 4, requires_grad=True)
    exact, rounded = (
        Expectation(chosen, Gaussian(SIGMA), fixed=True) for chosen in (network, accelerate(network, precision="bf16"))
    )
    torch.testing.assert_close(exact(images), rounded(images), atol=0.02, rtol=0.02)
    assert torch.autograd.grad(rounded(images).sum(), images)[0].isfinite().all()


def test_errors_of_the_network_name_what_it_was_given() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    for size in (None, 2):
        smoothed = Expectation(network, Gaussian(SIGMA), eot_samples=4, batch_size=size)
        with pytest.raises(ClassifierError, match=r"the network must be able to take .* got RuntimeError"):
            smoothed(torch.rand(2, 1, 5, 5, requires_grad=True))

    class Pooled(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            return network(batch).mean(0, keepdim=True)

    with pytest.raises(ClassifierError, match=r"float scores \(8, classes\)"):
        Expectation(Pooled(), Gaussian(SIGMA), eot_samples=4)(torch.rand(2, 1, 4, 4))


class Narrow(nn.Module):
    """A network on a device with room for so many rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.rows = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)), rows
        self.seen: list[int] = []

    def forward(self, batch: Tensor) -> Tensor:
        self.seen.append(len(batch))
        if len(batch) > self.rows:
            raise torch.OutOfMemoryError
        scores: Tensor = self.inner(batch)
        return scores


def test_rows_that_do_not_fit_are_halved_and_nothing_else_changes() -> None:
    images, labels = torch.rand(5, 1, 4, 4, requires_grad=True), torch.tensor([0, 1, 2, 0, 1])
    gradients = []
    for rows in (1000, 6):
        smoothed = Expectation(Narrow(rows), Gaussian(SIGMA), eot_samples=4, fixed=True)
        loss = attack_loss(smoothed.log_probabilities(images), labels, "log_mean").sum()
        gradients.append(torch.autograd.grad(loss, images)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    seen = smoothed.module.seen  # type: ignore[union-attr]
    assert seen[:3] == [20, 10, 5]
    seen.clear()  # type: ignore[operator, union-attr]
    smoothed(images.detach())
    assert seen == [5] * 4, "what fits is remembered"
    with pytest.raises(OutOfMemoryError, match="a batch of 1 images"):
        Expectation(Narrow(0), Gaussian(SIGMA), eot_samples=4)(images)


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    class Overflowing(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            return torch.stack([batch.flatten(1).sum(1).square() * 1e38, batch.flatten(1).sum(1)], 1)

    smoothed, images = (
        Expectation(Overflowing(), Gaussian(SIGMA), eot_samples=4),
        torch.ones(2, 1, 4, 4, requires_grad=True),
    )
    with pytest.raises(ClassifierError, match="gradient of the classifier"):
        torch.autograd.grad(smoothed(images).sum(), images)


def test_a_network_that_changes_its_input_changes_no_image() -> None:
    images = -torch.ones(2, 1, 4, 4)
    Expectation(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 2)), None)(images)
    assert (images == -1.0).all()


@pytest.mark.parametrize("loss", ["log_mean", "mean", "margin"])
def test_losses_have_a_slope_where_probabilities_are_0_or_1(loss: str) -> None:
    """Margins of +-200: every draw held; half of them lost. And a class that is ruled out by -inf does no harm."""
    for signs in ([1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0]):
        scores = torch.tensor([[[200.0 * sign, 0.0, -math.inf] for sign in signs]], requires_grad=True)
        value = attack_loss(scores.log_softmax(2), torch.tensor([0]), loss)  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(value.sum(), scores)
        assert gradient.isfinite().all()
        assert float(gradient[0, :, 0].sum()) < -0.4
        assert float(gradient[0, :, 1].sum()) > 0.4


def test_saturated_losses_keep_their_order() -> None:
    heights = torch.tensor([-400.0, -100.0, -30.0, -14.5, -13.0, -5.0, 0.0, 5.0, 400.0])
    log_p = torch.stack([torch.zeros(9), heights], 1).log_softmax(1)[:, None]
    for loss in ("log_mean", "mean", "margin"):
        values = attack_loss(log_p, torch.zeros(9, dtype=torch.int64), loss)  # type: ignore[arg-type]
        assert (values.diff() > 0).all()
    exact = attack_loss(log_p, torch.zeros(9, dtype=torch.int64), "log_mean")[4:]
    np.testing.assert_allclose(exact, np.logaddexp(0, heights[4:].numpy()), rtol=1e-2)
