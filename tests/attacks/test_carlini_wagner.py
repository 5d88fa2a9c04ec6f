"""Carlini & Wagner's attack on the smoothed classifier, where the smallest distance is known."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from half_space import HalfSpace, images_at
from noiseproof.attacks import Batch, Defence, Expectation
from noiseproof.attacks.carlini_wagner import CarliniWagner
from noiseproof.attacks.expectation import margin
from noiseproof.attacks.votes import Votes
from noiseproof.classifiers.runners import FunctionRunner
from noiseproof.errors import ClassifierError, InvalidInputError, MissingExtraError
from noiseproof.noises import Gaussian, Noise
from noiseproof.perturbations.balls import distance

NOISE = Gaussian(0.25)
SMALL = CarliniWagner(eot_samples=8, steps=40, binary_search_steps=5, step_size=0.1)
SHORT = replace(SMALL, steps=15, binary_search_steps=2)


def margins(batch: Batch, network: nn.Module, noise: Noise | None, points: Tensor) -> Tensor:
    """Of log mean softmax of the draws that the attack has."""
    seen = Expectation(
        network, noise, eot_samples=SMALL.eot_samples, fixed=True, seed=batch.seed, indices=batch.indices
    )
    return margin(seen(points), batch.labels)


def smallest(batch: Batch, network: HalfSpace, noise: Noise | None, confidence: float) -> Tensor:
    """By bisection along the normal: all draws of a half-space depend on an image by its height alone."""
    toward = torch.where(batch.labels == 0, -1.0, 1.0).view(-1, 1, 1, 1) * network.normal
    low, high = torch.zeros(len(batch)), torch.full((len(batch),), 2.0)
    for _ in range(25):
        middle = 0.5 * (low + high)
        reached = margins(batch, network, noise, batch.images + middle.view(-1, 1, 1, 1) * toward) > confidence
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return high.double()


@pytest.mark.parametrize("confidence", [0.0, 0.25, 2.0])
@pytest.mark.parametrize("noise", [None, NOISE])
def test_the_smallest_distance_of_a_half_space(noise: Noise | None, confidence: float) -> None:
    network = HalfSpace()
    images, labels = images_at([0.5, -0.4, 0.15, -0.02], network)
    batch = Batch(images, labels, [7, 3, 12, 4], 5)
    attack = CarliniWagner(eot_samples=8, steps=60, binary_search_steps=6, step_size=0.05, confidence=confidence)
    found = attack.nearest(Defence(network, noise, 2), batch, "l2")
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    assert (margins(batch, network, noise, found) >= confidence - 1e-4).all()
    lengths, least = distance(found, images, "l2"), smallest(batch, network, noise, confidence)
    assert (lengths >= least * (1 - 1e-3)).all()
    assert (lengths <= least * 1.02 + 0.002).all()


def test_fresh_votes_flip_somewhat_beyond_the_smallest_distance_and_none_below() -> None:
    network = HalfSpace()
    images, labels = images_at([0.5, -0.4, 0.3], network)
    finder = SMALL.begin(Defence(network, NOISE, 2), Batch(images, labels, [7, 3, 12]), "l2")
    judge, true = (
        Votes(network, NOISE, 2, eot_samples=1000, seed=77),
        torch.tensor([0.5, 0.4, 0.3], dtype=torch.float64),
    )
    assert (judge(finder(0.9 * true, range(3))).argmax(1) == labels).all()
    assert (judge(finder(1.15 * true, range(3))).argmax(1) != labels).all()


def test_pixels_at_the_walls_of_the_box_move() -> None:
    """Against the smallest distance within the box, of clamp(x - u w) for the least u that reaches the hyperplane."""
    network = HalfSpace()
    images = (torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    heights, labels = network.heights(images), network(images).argmax(1)
    found = replace(SMALL, confidence=0.0).nearest(Defence(network, None, 2), Batch(images, labels, range(6)), "l2")
    assert (network(found).argmax(1) != labels).all()
    low, high = torch.zeros(6), torch.full((6,), 20.0)
    for _ in range(40):
        middle = 0.5 * (low + high)
        nearest = (images - (heights.sign() * middle).view(-1, 1, 1, 1) * network.normal).clamp(0.0, 1.0)
        across = network.heights(nearest) * heights < 0.0
        low, high = torch.where(across, low, middle), torch.where(across, middle, high)
    least, lengths = distance(nearest, images, "l2"), distance(found, images, "l2")
    assert (least > 1.2 * heights.abs()).any()  # the box is in the way
    assert (lengths >= least * (1 - 1e-3)).all()
    assert (lengths <= least * 1.05 + 0.002).all()


def test_an_image_s_point_depends_on_its_own_key_alone_and_no_generator_is_touched() -> None:
    network = HalfSpace()
    images, labels = images_at([0.5, -0.4, 0.2], network)
    target, before = Defence(network, NOISE, 2), torch.random.get_rng_state()
    whole = SHORT.nearest(target, Batch(images, labels, [7, 3, 12]), "l2")
    turned = SHORT.nearest(target, Batch(images[[2, 0]], labels[[2, 0]], [12, 7]), "l2")
    torch.testing.assert_close(turned, whole[[2, 0]], rtol=0.0, atol=1e-5)
    other = SHORT.nearest(target, Batch(images, labels, [7, 3, 13]), "l2")
    torch.testing.assert_close(other[:2], whole[:2], rtol=0.0, atol=1e-5)
    assert (other[2] - whole[2]).abs().max() > 1e-3
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_image_that_its_draws_call_wrong_has_more_of_them() -> None:
    """Else its nearest point is itself, and the way there is none."""
    network, noise = HalfSpace(scale=50.0), Gaussian(0.5)
    every, labels = images_at([0.1] * 40, network)
    few = Votes(network, noise, 2, eot_samples=8, fixed=True, seed=5)(every)
    unlucky = (margin(few, labels) > 0.2).nonzero()[:3, 0].tolist()
    assert len(unlucky) == 3
    images, right = every[unlucky], labels[unlucky]
    batch = Batch(torch.cat([images, 1.0 - images[:1]]), torch.zeros(4, dtype=torch.int64), [*unlucky, 99], 5)
    found = replace(SMALL, eot_samples=8).nearest(Defence(network, noise, 2), batch, "l2")
    ways = (found - batch.images)[:3]
    along = -network.heights(ways + 0.5) / ways.flatten(1).norm(dim=1)
    assert (along > 0.5).all()
    judge = Votes(network, noise, 2, eot_samples=1000, seed=77)
    assert (judge(images).argmax(1) == right).all()
    finder = replace(SMALL, eot_samples=8).begin(Defence(network, noise, 2), batch, "l2")
    assert (judge(finder(torch.full((3,), 0.4, dtype=torch.float64), [0, 1, 2])).argmax(1) != right).all()


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    class Kinked(HalfSpace):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + (images - images).flatten(1).abs().sum(1, keepdim=True).sqrt()

    images, labels = images_at([0.3], HalfSpace())
    with pytest.raises(ClassifierError, match="gradient of the classifier must be finite"):
        SHORT.nearest(Defence(Kinked(), NOISE, 2), Batch(images, labels, [0]), "l2")


class Fortress(nn.Module):
    """Class 0 by a long way, whatever comes."""

    def forward(self, images: Tensor) -> Tensor:
        score = 1e-3 * images.flatten(1).sum(1)
        return torch.stack([score + 50.0, -score], 1)


def test_where_nothing_is_found_the_image_stays() -> None:
    images = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.zeros(2, dtype=torch.int64), range(2))
    assert torch.equal(SHORT.nearest(Defence(Fortress(), NOISE, 2), batch, "l2"), images)
    finder = SHORT.begin(Defence(Fortress(), NOISE, 2), batch, "l2")
    assert torch.equal(finder(torch.ones(2, dtype=torch.float64), range(2)), images)


def test_what_it_cannot_attack_is_refused_at_once() -> None:
    batch = Batch(torch.rand(1, 1, 4, 4), torch.tensor([0]), [0])
    labels = FunctionRunner(lambda images: torch.zeros(len(images), dtype=torch.int64), "torch")
    with pytest.raises(InvalidInputError, match="a torch module, for an attack that follows gradients"):
        SMALL.begin(Defence(labels, NOISE, 2), batch, "l2")
    with pytest.raises(InvalidInputError, match="l2 for CarliniWagner"):
        SMALL.begin(Defence(HalfSpace(), NOISE, 2), batch, "linf")
    for setting, value in [("eot_samples", 0), ("steps", 0), ("binary_search_steps", 0), ("step_size", 0.0)]:
        with pytest.raises(InvalidInputError, match=setting):
            CarliniWagner(**{setting: value})
    for setting in ("confidence", "initial_constant", "step_size"):
        with pytest.raises(InvalidInputError, match=setting):
            CarliniWagner(**{setting: -0.1})
        with pytest.raises(InvalidInputError, match=setting):
            CarliniWagner(**{setting: float("nan")})


def test_without_foolbox_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "foolbox"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "foolbox", None)
    batch = Batch(torch.rand(1, 1, 4, 4), torch.tensor([0]), [0])
    with pytest.raises(MissingExtraError, match=r"noiseproof\[attacks\]"):
        SMALL.nearest(Defence(HalfSpace(), NOISE, 2), batch, "l2")
