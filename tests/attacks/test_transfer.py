"""Transfer: points that fool a source, tried on a target."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from half_space import HalfSpace, images_at
from noiseproof.attacks import Attack, Batch, Defence, Finder
from noiseproof.attacks.carlini_wagner import CarliniWagner
from noiseproof.attacks.hop_skip_jump import HopSkipJump
from noiseproof.attacks.transfer import Transfer
from noiseproof.attacks.votes import Votes
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian
from noiseproof.perturbations.balls import project
from noiseproof.perturbations.norms import Norm

NOISE = Gaussian(0.25)
INNER = CarliniWagner(eot_samples=8, steps=40, step_size=0.1)


@dataclass(frozen=True)
class Straight(Attack):
    """Against the normal of a `HalfSpace`, as far as the size goes."""

    sign: float = 1.0

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    follows_gradients: ClassVar[bool] = False

    @property
    def eot_samples(self) -> int:
        return 5

    def begin(self, target: Defence, batch: Batch, norm: Norm) -> Finder:
        self.require_norm(norm)
        network = target.network
        assert isinstance(network, HalfSpace)

        def find(sizes: Tensor, rows: Sequence[int]) -> Tensor:
            chosen = list(rows)
            ways = torch.where(batch.labels[chosen] == 0, -1.0, 1.0).view(-1, 1, 1, 1) * network.normal
            return project(batch.images[chosen] + 9.0 * ways, batch.images[chosen], norm, sizes)

        return find


class Untouchable(nn.Module):
    """A network that an attack on another has no business with."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError


def test_what_fools_the_source_fools_a_target_with_its_boundary() -> None:
    source, target = HalfSpace(scale=4.0), HalfSpace(scale=70.0)
    images, labels = images_at([0.5, -0.4, 0.3], source)
    batch, sizes = Batch(images, labels, [7, 3, 12]), torch.tensor([0.5, 0.4, 0.3], dtype=torch.float64)
    attack = Transfer(INNER, Defence(source, NOISE, 2), "half-space")
    finder = attack.begin(Defence(target, NOISE, 2), batch, "l2")
    judge = Votes(target, NOISE, 2, eot_samples=1000, seed=77)
    assert (judge(finder(0.9 * sizes, range(3))).argmax(1) == labels).all()
    assert (judge(finder(1.2 * sizes, range(3))).argmax(1) != labels).all()


def test_it_is_the_source_that_is_attacked() -> None:
    source = HalfSpace()
    images, labels = images_at([0.3, -0.2], source)
    batch, sizes = Batch(images, labels, [1, 2]), torch.tensor([0.36, 0.24], dtype=torch.float64)
    attack = Transfer(INNER, Defence(source, None, 2), "half-space")
    points = attack.begin(Defence(Untouchable(), NOISE, 2), batch, "l2")(sizes, [0, 1])
    assert (source(points).argmax(1) != labels).all()
    assert torch.equal(points, INNER.begin(Defence(source, None, 2), batch, "l2")(sizes, [0, 1]))
    other = HalfSpace(seed=11)
    moved = (other.heights(points) - other.heights(images)).abs()
    assert (moved < 0.5 * sizes).all()  # another boundary's distance shrinks by less


class Lowered(HalfSpace):
    """A half-space whose boundary is a bit further from what is above it."""

    def heights(self, images: Tensor) -> Tensor:
        return super().heights(images) + 0.15


@pytest.mark.parametrize(
    "inner", [INNER, HopSkipJump(steps=4, queries=30, eot_samples=1)], ids=["gradients", "decisions"]
)
def test_a_source_without_noise_fools_a_target_whose_boundary_is_further_away(inner: Attack) -> None:
    """Barely across the source's boundary would not do."""
    source, target = HalfSpace(), Lowered()
    images, labels = images_at([0.3, 0.2, 0.1], source)
    batch = Batch(images, labels, [7, 3, 12])
    finder = Transfer(inner, Defence(source, None, 2), "half-space").begin(Defence(target, None, 2), batch, "l2")
    sizes = torch.tensor([0.45, 0.35, 0.25], dtype=torch.float64)
    assert (target(finder(0.95 * sizes, range(3))).argmax(1) == labels).all()
    assert (target(finder(1.25 * sizes, range(3))).argmax(1) != labels).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_norms_are_those_of_the_attack_on_the_source(norm: Norm) -> None:
    network = HalfSpace()
    images, labels = images_at([0.1, -0.2], network)
    batch, sizes = Batch(images, labels, [1, 2]), torch.tensor([0.05, 0.3], dtype=torch.float64)
    attack = Transfer(Straight(), Defence(network, None, 2), "half-space")
    target = Defence(network, NOISE, 2)
    expected = Straight().begin(target, batch, norm)(sizes, [0, 1])
    assert torch.equal(attack.begin(target, batch, norm)(sizes, [0, 1]), expected)
    with pytest.raises(InvalidInputError, match="linf or l2 for Straight"):
        attack.begin(target, batch, "l1")


def test_records_name_the_source_and_hold_the_attack_on_it() -> None:
    source = Defence(HalfSpace(), NOISE, 2)
    attack = Transfer(Straight(sign=-1.0), source, "half-space 0a1b")
    assert attack.spec() == {
        "name": "Transfer",
        "attack": {"name": "Straight", "sign": -1.0},
        "source_name": "half-space 0a1b",
    }
    assert json.loads(json.dumps(attack.spec())) == attack.spec()
    assert attack == Transfer(Straight(sign=-1.0), Defence(HalfSpace(), None, 2), "half-space 0a1b")
    assert "HalfSpace" not in repr(attack)
    assert attack.eot_samples == 5
    assert Transfer(HopSkipJump(eot_samples=9), source, "other").eot_samples == 9


def test_sources_of_other_classes_or_no_name_are_refused() -> None:
    batch = Batch(torch.rand(1, 1, 4, 4), torch.tensor([0]), [0])
    with pytest.raises(InvalidInputError, match="the defence's 3 classes; got 2"):
        Transfer(Straight(), Defence(HalfSpace(), None, 2), "two").begin(Defence(Untouchable(), None, 3), batch, "l2")
    with pytest.raises(InvalidInputError, match="source_name"):
        Transfer(Straight(), Defence(HalfSpace(), None, 2), "")
