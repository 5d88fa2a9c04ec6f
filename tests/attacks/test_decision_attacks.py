"""Attacks on decisions: votes, the nearest adversarial input of a known problem, and points for every size."""

import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import norm as normal
from torch import Tensor, nn

from half_space import HalfSpace, images_at, smallest_distances
from noiseproof.attacks import Batch, Defence, hop_skip_jump
from noiseproof.attacks.boundary import BoundaryAttack
from noiseproof.attacks.copies import NoisyCopies
from noiseproof.attacks.foolbox_bridge import foolbox_attack, seeded
from noiseproof.attacks.hop_skip_jump import HopSkipJump
from noiseproof.attacks.nearest import NearestAttack
from noiseproof.attacks.votes import Votes
from noiseproof.classifiers.runners import FunctionRunner, Runner
from noiseproof.errors import ClassifierError, InvalidInputError, MissingExtraError
from noiseproof.noises import Gaussian, Noise
from noiseproof.perturbations.balls import distance
from noiseproof.perturbations.norms import Norm
from noiseproof.runs.running import Running

NOISE = Gaussian(0.25)
CPU = torch.device("cpu")

# Small budgets, and within which factor of the smallest distance they must come: starts are at 1.37 to 2.4 times it.
DECISIONS: list[tuple[NearestAttack, Norm, float]] = [
    (BoundaryAttack(steps=100, eot_samples=8), "l2", 1.2),
    (HopSkipJump(steps=4, queries=30, eot_samples=8), "l2", 1.15),
    (HopSkipJump(steps=4, queries=30, eot_samples=8), "linf", 1.3),
]
NAMES = ["boundary l2", "hop-skip-jump l2", "hop-skip-jump linf"]


# ------------------------------------------------------------------------------------------------ votes


def test_votes_are_shares_of_the_copies_that_each_class_gets() -> None:
    network = HalfSpace()
    images, _ = images_at([0.1, -0.2, 0.0], network)
    shares = Votes(network, NOISE, 2, eot_samples=12, seed=4, indices=[9, 2, 30])(images)
    noisy = NoisyCopies(NOISE, 12, CPU, seed=4, indices=[9, 2, 30])(images)
    counted = (network(noisy).argmax(1) == 0).view(3, 12).float().mean(1)
    assert torch.equal(shares[:, 0], counted)
    torch.testing.assert_close(shares.sum(1), torch.ones(3))
    assert shares.dtype == torch.float32


def test_votes_of_a_half_space_are_the_normal_distribution_function() -> None:
    network, eot_samples = HalfSpace(), 4000
    images, _ = images_at([0.1, -0.2, 0.3], network)
    shares = Votes(network, NOISE, 2, eot_samples=eot_samples)(images)[:, 0].double().numpy()
    expected = normal.cdf(np.array([0.1, -0.2, 0.3]) / 0.25)
    assert (np.abs(shares - expected) < 4.5 * np.sqrt(expected * (1 - expected) / eot_samples)).all()


def test_without_noise_votes_are_the_network() -> None:
    network = HalfSpace()
    images, labels = images_at([0.1, -0.2], network)
    votes = Votes(network, None, 2, eot_samples=32)
    assert torch.equal(votes(images), nn.functional.one_hot(labels, 2).float())
    assert votes.noisy.eot_samples == 1


def test_votes_depend_on_image_call_and_key_but_on_neither_parts_nor_companions() -> None:
    network = HalfSpace()
    images, _ = images_at([0.05] * 5, network)
    keys: dict[str, Any] = {"eot_samples": 9, "indices": [3, 1, 4, 15, 9]}
    whole = Votes(network, NOISE, 2, **keys)
    first, second = whole(images), whole(images)
    assert not torch.equal(first, second)
    for rows in (1, 4, 20):
        parts = Votes(network, NOISE, 2, batch_size=rows, **keys)
        assert torch.equal(parts(images), first)
        assert torch.equal(parts(images), second)
    assert torch.equal(Votes(network, NOISE, 2, **keys)(images[[4, 2]], [4, 2]), first[[4, 2]])
    fixed = Votes(network, NOISE, 2, fixed=True, batch_size=10, **keys)
    assert torch.equal(fixed(images), first)
    assert torch.equal(fixed(images), first)
    assert torch.equal(fixed(images[[1, 1]], [1, 1]), first[[1, 1]])
    with pytest.raises(InvalidInputError, match="one for each index"):
        fixed(images[:2])
    with pytest.raises(InvalidInputError, match="one for each index"):
        fixed(images[:2], [1])


class Five(Runner):
    """Labels, of five rows at once and no other number."""

    batch_size = 5

    def __call__(self, batch: Tensor) -> Tensor:
        assert len(batch) == 5
        return (batch.flatten(1).mean(1) > 0.5).long()


def test_votes_take_any_runner_and_no_gradient() -> None:
    images = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    shares = Votes(Five(), NOISE, 2, eot_samples=3)(images)
    assert not shares.requires_grad
    free = FunctionRunner(lambda batch: (batch.flatten(1).mean(1) > 0.5).long(), "torch")
    assert torch.equal(shares, Votes(free, NOISE, 2, eot_samples=3)(images))


def test_votes_leave_module_and_images_as_they_are() -> None:
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 2)).train()
    images = -torch.ones(2, 1, 4, 4)
    votes = Votes(network, None, 2)
    assert torch.equal(votes(images), votes(images))  # without dropout
    assert network.training
    assert (images == -1.0).all()


def test_votes_for_no_class_are_an_error() -> None:
    network = FunctionRunner(lambda batch: torch.full((len(batch),), 7), "torch")
    with pytest.raises(ClassifierError, match="6 of 6 without"):
        Votes(network, NOISE, 2, eot_samples=3)(torch.rand(2, 1, 4, 4))


# ------------------------------------------------------------------------------------- points for sizes


@dataclass(frozen=True)
class Given(NearestAttack):
    """Finds what it is told to."""

    found: Tensor
    searches: list[int] = field(default_factory=list)

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2, Norm.L1)
    follows_gradients: ClassVar[bool] = False

    @property
    def eot_samples(self) -> int:
        return 1

    def nearest(self, target: Defence, batch: Batch, norm: Norm) -> Tensor:
        self.searches.append(len(batch))
        return self.found


@pytest.mark.parametrize("noise", [None, NOISE])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_points_leave_neither_ball_nor_box(norm: Norm, noise: Noise | None) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(24, 1, 4, 4, generator=generator)
    images[::3] = images[::3].round()
    reach = torch.logspace(-4, 0, 24).view(-1, 1, 1, 1)
    found = (images + reach * torch.randn(images.shape, generator=generator)).clamp(0.0, 1.0)
    found[5] = images[5]
    batch = Batch(images, torch.arange(24) % 2, range(24))
    finder = Given(found).begin(Defence(HalfSpace(), noise, 2), batch, norm)
    lengths = distance(found, images, norm)
    rows = [int(row) for row in torch.randperm(24, generator=generator)][:20]
    for factor in (0.3, 0.999, 1.0, 1.07, 1.4, 40.0):
        sizes = factor * lengths[rows] * torch.linspace(0.9, 1.1, 20, dtype=torch.float64)
        points = finder(sizes, rows)
        assert points.dtype == images.dtype
        assert points.min() >= 0.0
        assert points.max() <= 1.0
        assert (distance(points, images[rows], norm) <= sizes * (1 + 1e-12) + 1e-14).all()
    assert finder(torch.ones(0, dtype=torch.float64), []).shape == (0, 1, 4, 4)
    assert torch.equal(finder(torch.ones(1, dtype=torch.float64), [5]), images[5:6])  # nothing was found for it


def test_the_search_is_once_for_all_and_only_when_asked() -> None:
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    attack = Given(images.flip(0))
    finder = attack.begin(
        Defence(HalfSpace(), None, 2), Batch(images, torch.zeros(3, dtype=torch.int64), range(3)), "l2"
    )
    assert attack.searches == []
    finder(torch.full((1,), 0.1, dtype=torch.float64), [2])
    finder(torch.full((2,), 0.2, dtype=torch.float64), [0, 1])
    assert attack.searches == [3]


def test_below_what_was_found_a_point_goes_the_whole_size() -> None:
    network = HalfSpace()
    images, labels = images_at([0.4, -0.3], network)
    found = images - torch.tensor([0.4, -0.3]).view(-1, 1, 1, 1) * network.normal
    finder = Given(found).begin(Defence(network, NOISE, 2), Batch(images, labels, [0, 1]), "l2")
    sizes = torch.tensor([0.1, 0.25], dtype=torch.float64)
    torch.testing.assert_close(distance(finder(sizes, [0, 1]), images, "l2"), sizes, rtol=1e-5, atol=0.0)


class Shell(nn.Module):
    """Class 1 where |x - 1/2|_2 is from 0.3 to 0.3 * width, else class 0."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def forward(self, images: Tensor) -> Tensor:
        length = (images - 0.5).flatten(1).norm(dim=1)
        inside = (length >= 0.3) & (length <= 0.3 * self.width)
        return nn.functional.one_hot(inside.long(), 2).float()


@pytest.mark.parametrize(("width", "size"), [(1.03, 0.5), (1.07, 0.5), (1.15, 0.9), (1.3, 1.2), (2.0, 0.7)])
def test_beyond_what_was_found_the_best_point_of_the_way_is_taken(width: float, size: float) -> None:
    """The found point misses the shell by 1 part in 100, as one on few draws' boundary does; the whole size, by more."""
    images = torch.full((1, 1, 4, 4), 0.5)
    way = torch.zeros_like(images)
    way[..., 0, 0] = 1.0
    network = Shell(width)
    finder = Given(images + 0.297 * way).begin(Defence(network, None, 2), Batch(images, torch.tensor([0]), [0]), "l2")
    sizes = torch.tensor([size], dtype=torch.float64)
    assert int(network(finder(sizes, [0])).argmax(1)) == 1
    inside = torch.tensor([0.2999], dtype=torch.float64)
    assert int(network(finder(inside, [0])).argmax(1)) == 0


@pytest.mark.parametrize("noise", [None, Gaussian(1e-3)])
def test_among_points_of_equal_margins_the_whole_size_is_taken(noise: Noise | None) -> None:
    """All that are across have margin 1: the nearest says little of another classifier."""
    network = HalfSpace()
    images, labels = images_at([0.2, -0.2], network)
    found = images - 1.05 * torch.tensor([0.2, -0.2]).view(-1, 1, 1, 1) * network.normal
    finder = Given(found).begin(Defence(network, noise, 2), Batch(images, labels, [0, 1]), "l2")
    for size in (0.22, 0.3, 0.5):
        sizes = torch.full((2,), size, dtype=torch.float64)
        torch.testing.assert_close(distance(finder(sizes, [0, 1]), images, "l2"), sizes, rtol=1e-5, atol=0.0)


def test_sizes_of_placed_points_are_checked() -> None:
    images = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    finder = Given(images).begin(Defence(HalfSpace(), None, 2), Batch(images, torch.tensor([0]), [0]), "l2")
    for size in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match=r"^epsilons must be finite"):
            finder(torch.tensor([size], dtype=torch.float64), [0])


def test_points_are_placed_by_other_draws_than_found_them() -> None:
    """A vote is for class 1 if the noise is one that a search with the batch's seed could have seen."""
    image = torch.full((1, 1, 4, 4), 0.5)
    seen: list[Tensor] = []

    def recorded(batch: Tensor) -> Tensor:
        seen.append(batch.clone())
        return torch.zeros(len(batch), dtype=torch.int64)

    batch = Batch(image, torch.tensor([0]), [6], 3)
    finder = Given(image + 1e-3).begin(Defence(FunctionRunner(recorded, "torch"), NOISE, 2), batch, "l2")
    finder(torch.ones(1, dtype=torch.float64), [0])
    search = NoisyCopies(NOISE, 2000, CPU, seed=3, indices=[6], fixed=True)(image)
    placed = torch.cat(seen)
    assert len(placed) == 7 * 64
    assert torch.cdist(placed.flatten(1), search.flatten(1)).min() > 0.1


# ------------------------------------------------------------------------------------- attacks on votes


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("noise", [None, NOISE])
def test_queries_queried_at_once_find_what_they_find_one_by_one(
    noise: Noise | None, norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, calls = HalfSpace(), []

    def counted(batch: Tensor) -> Tensor:
        calls.append(len(batch))
        return network(batch)

    images, labels = images_at([0.3, -0.2], network)
    target, batch = Defence(FunctionRunner(counted, "torch"), noise, 2), Batch(images, labels, [4, 5])
    attack = HopSkipJump(steps=3, queries=40, eot_samples=4)
    before = torch.random.get_rng_state()
    found = attack.nearest(target, batch, norm)
    assert torch.equal(torch.random.get_rng_state(), before)
    together, rows = len(calls), sum(calls)
    calls.clear()
    monkeypatch.setattr(hop_skip_jump, "queried_at_once", lambda estimate, _: estimate)
    assert torch.equal(attack.nearest(target, batch, norm), found)
    assert sum(calls) == rows
    assert together < len(calls) - 2 * 3 * 40, "a call for each estimate, not for each query"


@pytest.mark.parametrize("noise", [None, NOISE])
@pytest.mark.parametrize(("attack", "norm", "factor"), DECISIONS, ids=NAMES)
def test_the_nearest_point_of_a_half_space(
    attack: NearestAttack, norm: Norm, factor: float, noise: Noise | None
) -> None:
    """Against the exact smallest distance of the majority of these very draws: it bounds what an attack may claim."""
    network = HalfSpace()
    images, labels = images_at([0.5, -0.4], network)
    batch = Batch(images, labels, [7, 3], 5)
    found = attack.nearest(Defence(network, noise, 2), batch, norm)
    lengths, least = distance(found, images, norm), smallest_distances(network, batch, noise, 8, norm)
    assert (lengths >= least * (1 - 1e-4)).all()
    assert (lengths <= least * factor).all()
    votes = Votes(network, noise, 2, eot_samples=8, fixed=True, seed=5, indices=[7, 3])
    assert (votes(found).argmax(1) != labels).all()


@pytest.mark.parametrize(("attack", "norm", "factor"), DECISIONS, ids=NAMES)
def test_an_attack_flips_fresh_votes_somewhat_beyond_the_smallest_distance_and_none_below(
    attack: NearestAttack, norm: Norm, factor: float
) -> None:
    network = HalfSpace()
    images, labels = images_at([0.5, -0.4], network)
    finder = attack.begin(Defence(network, NOISE, 2), Batch(images, labels, [7, 3]), norm)
    judge = Votes(network, NOISE, 2, eot_samples=1000, seed=77)
    least = smallest_distances(network, Batch(images, labels, [7, 3]), None, 8, norm)
    assert (judge(finder(0.9 * least, [0, 1])).argmax(1) == labels).all()
    assert (judge(finder(1.5 * least, [0, 1])).argmax(1) != labels).all()


@pytest.mark.parametrize(("attack", "norm", "factor"), DECISIONS, ids=NAMES)
def test_an_image_s_point_depends_on_its_own_key_alone_and_no_generator_is_touched(
    attack: NearestAttack, norm: Norm, factor: float
) -> None:
    network = HalfSpace()
    images, labels = images_at([0.5, -0.4, 0.2], network)
    target = Defence(network, NOISE, 2)
    attack = replace(attack, steps=2)  # type: ignore[call-arg]
    before = torch.random.get_rng_state()
    whole = attack.nearest(target, Batch(images, labels, [7, 3, 12]), norm)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)
    alone = attack.nearest(target, Batch(images[2:], labels[2:], [12]), norm)
    turned = attack.nearest(target, Batch(images[[2, 0]], labels[[2, 0]], [12, 7]), norm)
    assert torch.equal(alone[0], whole[2])
    assert torch.equal(turned, whole[[2, 0]])
    other = attack.nearest(target, Batch(images[2:], labels[2:], [13]), norm)
    assert not torch.equal(other[0], whole[2])
    torch.random.set_rng_state(before)


class Island(nn.Module):
    """Class 0 within 0.5 of a centre, else class 1."""

    def __init__(self, centre: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", centre)

    def forward(self, images: Tensor) -> Tensor:
        near = (images - self.centre).flatten(1).norm(dim=1) < 0.5
        return nn.functional.one_hot(1 - near.long(), 2).float()


@pytest.mark.parametrize(("attack", "norm", "factor"), DECISIONS, ids=NAMES)
def test_an_image_without_a_start_or_wrong_already_is_left_alone(
    attack: NearestAttack, norm: Norm, factor: float
) -> None:
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    network, rows = Island(images[0]), []
    network.register_forward_hook(lambda module, batch, scores: rows.append(len(scores)))
    target = Defence(network, None, 2)
    found = attack.nearest(target, Batch(images, torch.tensor([0, 1, 0]), range(3)), norm)
    assert not torch.equal(found[0], images[0])
    assert torch.equal(found[1], images[1])  # nothing within reach of a start is of class 0
    assert torch.equal(found[2], images[2])  # it is no 0
    assert rows[-1] == 1
    assert rows[-3:-1] == [1, 32]  # one query says that an image is wrong already, two that there is no start


@pytest.mark.parametrize(("attack", "norm", "factor"), DECISIONS, ids=NAMES)
def test_an_image_that_few_draws_call_wrong_has_more_of_them(attack: NearestAttack, norm: Norm, factor: float) -> None:
    """And is left alone only if 1024 call it wrong too."""
    network, noise, height = HalfSpace(), Gaussian(0.5), 0.1
    every, labels = images_at([height] * 40, network)
    few = Votes(network, noise, 2, eot_samples=8, fixed=True, seed=5)(every).argmax(1)
    unlucky = (few != labels).nonzero()[:2, 0].tolist()
    assert len(unlucky) == 2
    wrong, _ = images_at([-0.5], network)  # of the other class
    images, keys = torch.cat([every[unlucky], wrong]), [*unlucky, 77]
    batch = Batch(images, torch.zeros(3, dtype=torch.int64), keys, 5)
    finder = attack.begin(Defence(network, noise, 2), batch, norm)
    least = smallest_distances(network, Batch(images[:2], labels[:2], [0, 1]), None, 8, norm)
    points = finder(torch.cat([5.0 * least, torch.ones(1, dtype=torch.float64)]), [0, 1, 2])
    judge = Votes(network, noise, 2, eot_samples=2000, seed=77)
    assert (judge(images[:2]).argmax(1) == 0).all()
    assert (judge(points[:2]).argmax(1) == 1).all()
    assert torch.equal(points[2], images[2])


@pytest.mark.parametrize(("attack", "norm", "factor"), DECISIONS, ids=NAMES)
@pytest.mark.parametrize("calls", [13, 14, 16])
def test_what_foolbox_says_of_a_network_that_is_no_function_is_passed_on(
    attack: NearestAttack, norm: Norm, factor: float, calls: int
) -> None:
    """Right, then wrong for so many calls, then right for ever: starts are gone when Foolbox looks at them."""
    made = 0

    def fickle(batch: Tensor) -> Tensor:
        nonlocal made
        made += 1
        return torch.full((len(batch),), int(1 < made <= calls))

    images = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    target = Defence(FunctionRunner(fickle, "torch"), None, 2)
    if isinstance(attack, BoundaryAttack) and calls > 13:  # after its start it believes what it sees
        attack.nearest(target, Batch(images, torch.tensor([0]), [0]), norm)
        return
    with pytest.raises(ClassifierError, match=r"starting_points are not adversarial|assert ep\.all"):
        attack.nearest(target, Batch(images, torch.tensor([0]), [0]), norm)


def test_a_network_s_own_error_is_not_foolbox_s() -> None:
    made = 0

    def failing(batch: Tensor) -> Tensor:
        nonlocal made
        made += 1
        return torch.full((len(batch),), int(made > 1) if made < 20 else 9)

    batch = Batch(torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0]), [0])
    with pytest.raises(ClassifierError, match="1 of 1 without") as caught:
        HopSkipJump().nearest(Defence(FunctionRunner(failing, "torch"), None, 2), batch, "l2")
    assert "Foolbox" not in str(caught.value)


def test_settings_that_make_no_sense_are_refused() -> None:
    for attack in (BoundaryAttack, HopSkipJump):
        for setting in ("steps", "eot_samples"):
            with pytest.raises(InvalidInputError, match=setting):
                attack(**{setting: 0})
    with pytest.raises(InvalidInputError, match="queries"):
        HopSkipJump(queries=0)


@pytest.mark.parametrize("fixed", [None, 64])
def test_calls_of_a_few_rows_do_not_fill_up_whole_batches(fixed: int | None) -> None:
    voter = FunctionRunner(HalfSpace(), "torch")
    voter.batch_size = fixed
    subject = SimpleNamespace(classifier=HalfSpace(), noise=NOISE, dataset=SimpleNamespace(num_classes=2))
    running = object.__new__(Running)  # with as little of a subject as it needs
    for name, value in {"subject": subject, "classifier": voter, "batch_size": None, "device": CPU}.items():
        object.__setattr__(running, name, value)
    defence = running.defence(HopSkipJump())
    assert defence.voter is voter, "which judges"
    assert (defence.network is voter) == (fixed is None)
    assert defence.network.batch_size is None  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------- the bridge


def test_a_seeded_generator_is_keyed_and_given_back() -> None:
    before = torch.random.get_rng_state()
    drawn = {}
    for seed, index in [(0, 1), (1, 1), (0, 2), (0, 1), (2**64 - 1, 5)]:
        with seeded(seed, index, CPU):
            again = drawn.get((seed, index))
            drawn[seed, index] = torch.rand(3)
            assert again is None or torch.equal(again, drawn[seed, index])
    assert len({tuple(values.tolist()) for values in drawn.values()}) == 4
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_foolbox_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "foolbox"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "foolbox", None)
    batch = Batch(torch.rand(1, 1, 4, 4), torch.tensor([0]), [0])
    for attack in (BoundaryAttack(), HopSkipJump()):
        finder = attack.begin(Defence(HalfSpace(), None, 2), batch, "l2")
        with pytest.raises(MissingExtraError, match=r"noiseproof\[attacks\]"):
            finder(torch.ones(1, dtype=torch.float64), [0])


def test_a_foolbox_that_cannot_be_imported_is_no_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    foolbox_attack("BoundaryAttack")
    for name in [name for name in sys.modules if name.split(".")[0] == "foolbox"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "eagerpy", None)
    with pytest.raises(MissingExtraError, match="can be imported beside the other packages; got ModuleNotFoundError"):
        foolbox_attack("BoundaryAttack")
