"""What every attack has in common, over one table of all that the registry lists."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attack_table import TABLE
from noiseproof.attacks import Attack, Batch, Defence
from noiseproof.attacks.expectation import margin
from noiseproof.attacks.registry import ATTACKS
from noiseproof.classifiers.runners import FunctionRunner
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Noise
from noiseproof.perturbations.balls import distance
from noiseproof.perturbations.norms import Norm

RECORDS = Path(__file__).parents[2] / "reproduction" / "records"
SHAPE, CLASSES, NOISE = (1, 3, 4), 4, Gaussian(0.2)
FORMS = [(name, attack) for name, row in TABLE.items() for attack in row.attacks]
ATTACKED = [(attack, norm) for name, row in TABLE.items() for attack in row.attacks for norm in row.norms]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, CLASSES), nn.Tanh()).eval()


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def batch_of(images: Tensor, model: nn.Module, indices: list[int], seed: int = 4) -> Batch:
    return Batch(images, model(images).argmax(1), indices, seed)


def test_the_table_has_every_attack() -> None:
    assert list(TABLE) == list(ATTACKS)
    for name, attack in FORMS:
        assert type(attack) is ATTACKS[name]


@pytest.mark.parametrize("name", TABLE)
def test_what_it_needs(name: str) -> None:
    row, model = TABLE[name], network()
    batch = batch_of(pictures(2), model, [0, 1])
    labels = FunctionRunner(lambda images: (images.mean((1, 2, 3)) > 0.5).astype(np.int64), "numpy")
    for attack in row.attacks:
        assert attack.norms == row.norms
        assert attack.follows_gradients == row.gradients
        for norm in {"linf", "l2", "l1"} - set(row.norms):
            with pytest.raises(InvalidInputError, match=f"{' or '.join(row.norms)} for {type(attack).__name__}"):
                attack.begin(Defence(model, NOISE, CLASSES), batch, norm)  # type: ignore[arg-type]
        if row.gradients:
            with pytest.raises(InvalidInputError, match=r"no gradients: boundary, hop-skip-jump, random\."):
                attack.begin(Defence(labels, NOISE, CLASSES), batch, row.norms[0])
        else:
            attack.begin(Defence(labels, NOISE, CLASSES), batch, row.norms[0])


@pytest.mark.parametrize(("name", "attack"), FORMS, ids=str)
def test_it_is_plain_data(name: str, attack: Attack) -> None:
    spec = json.loads(json.dumps(attack.spec()))
    assert spec["name"] == ATTACKS[name].__name__
    assert spec["draws"] == attack.eot_samples  # the key of records
    assert ATTACKS.from_spec(spec) == attack


def test_attacks_of_the_committed_records_are_read_back() -> None:
    """The keys on disk stay as they are, whatever Python calls the settings."""
    specs: list[dict[str, Any]] = [
        json.loads(path.read_text())["settings"]["attack"] for path in sorted(RECORDS.rglob("attack.json"))
    ]
    assert {"PGD", "RandomisedAutoAttack", "HopSkipJump", "Transfer"} <= {spec["name"] for spec in specs}
    for spec in specs:
        whole = spec["attack"] if spec["name"] == "Transfer" else spec  # the other network is no plain data
        assert ATTACKS.from_spec(whole).spec() == whole


@pytest.mark.parametrize("noise", [NOISE, None], ids=["noise", "none"])
@pytest.mark.parametrize(("attack", "norm"), ATTACKED, ids=str)
def test_points_stay_in_ball_and_box(attack: Attack, norm: Norm, noise: Noise | None) -> None:
    """At rising epsilons, and at smaller ones after them; every other image has its pixels at the walls."""
    images, model = pictures(6, 1), network(1)
    images[::2] = images[::2].round()
    find = attack.begin(Defence(model, noise, CLASSES), batch_of(images, model, list(range(6))), norm)
    epsilons = torch.tensor([0.0, 1e-7, 0.01, 0.3, 1.0, 50.0], dtype=torch.float64)
    moved = 0.0
    for factor in (1.0, 1.7, 0.1):
        points = find(factor * epsilons, list(range(6)))
        gone = distance(points, images, norm)
        assert points.dtype == torch.float32
        assert 0.0 <= points.min() <= points.max() <= 1.0
        assert (gone <= factor * epsilons * (1 + 1e-12) + 1e-14).all()
        assert torch.equal(points[0], images[0])
        moved = max(moved, float(gone.max()))
    assert moved > 0.1


@pytest.mark.parametrize(("attack", "norm"), ATTACKED, ids=str)
def test_an_image_is_attacked_as_if_it_were_alone(attack: Attack, norm: Norm) -> None:
    """Neither companions nor their epsilons change what is found, for each row's own history; seed and index do."""
    model, images, indices = network(), pictures(4), [7, 3, 900, 11]
    defence, epsilons = Defence(model, NOISE, CLASSES), torch.linspace(0.1, 0.6, 4, dtype=torch.float64)
    together = attack.begin(defence, batch_of(images, model, indices), norm)
    found: dict[int, list[tuple[float, Tensor]]] = {row: [] for row in range(4)}
    for factor, rows in ((1.0, [0, 1, 2, 3]), (1.5, [3, 0]), (2.0, [0, 2, 3])):
        for row, point in zip(rows, together(factor * epsilons[rows], rows), strict=True):
            found[row].append((factor, point))

    def alone(row: int, index: int, seed: int) -> list[Tensor]:
        find = attack.begin(defence, batch_of(images[[row]], model, [index], seed), norm)
        return [find(factor * epsilons[[row]], [0])[0] for factor, _ in found[row]]

    moved = 0.0
    for row in (2, 3):
        for point, (_, before) in zip(alone(row, indices[row], 4), found[row], strict=True):
            torch.testing.assert_close(point, before, rtol=0, atol=1e-4)
            moved = max(moved, float((point - images[row]).abs().max()))
    assert moved > 0.01
    for index, seed in ((12, 4), (11, 5)) if norm != "l1" else ():  # there all ascents may end in one corner
        others = zip(alone(3, index, seed), found[3], strict=True)
        assert max(float((point - before).abs().max()) for point, (_, before) in others) > 1e-3


@pytest.mark.parametrize(("attack", "norm"), ATTACKED, ids=str)
def test_a_larger_epsilon_is_never_weaker(attack: Attack, norm: Norm) -> None:
    """Where values are exact; steps as long as some of these lose what they had otherwise."""
    images, model = pictures(12), network(1)
    batch = batch_of(images, model, list(range(12)))
    find = attack.begin(Defence(model, None, CLASSES), batch, norm)
    exact = attack.follows_gradients and hasattr(attack, "loss")
    reached = []
    for epsilon in (0.0, 0.1, 0.3, 0.31, 0.7):
        points = find(torch.full((12,), epsilon, dtype=torch.float64), list(range(12)))
        value = margin(model(points).log_softmax(1), batch.labels).detach()
        reached.append(value if exact else value.sign())  # the others compare decisions, not scores
    for before, after in pairwise(reached):
        assert (after >= before - 1e-6).all()
    assert (reached[-1] > reached[0]).any()
