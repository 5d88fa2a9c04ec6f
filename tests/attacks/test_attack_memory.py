"""Memory that runs out on the way back: attacks go on with half the rows and find what they would have found."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from noiseproof.attacks import PGD, Attack, AutoPGD, Batch, CarliniWagner, Defence, Expectation, RandomisedAutoAttack
from noiseproof.errors import ClassifierError, OutOfMemoryError
from noiseproof.noises import Gaussian

NOISE = Gaussian(0.3)
IMAGES, DRAWS = 5, 4


class Passage(torch.autograd.Function):
    """The identity, whose way back has room for so many rows."""

    @staticmethod
    def forward(context: Any, scores: Tensor, rows: int) -> Tensor:
        context.rows = rows
        return scores.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        Steep.back.append(len(gradients[0]))
        if len(gradients[0]) > context.rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradients[0], None


class Steep(nn.Module):
    """A network that fits on the way there, and so many rows on the way back."""

    back: ClassVar[list[int]] = []
    """Rows of every way back."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
        self.rows = rows

    def forward(self, batch: Tensor) -> Tensor:
        scores: Tensor = Passage.apply(self.inner(batch), self.rows)
        return scores


def found(attack: Attack, rows: int, noise: Gaussian | None = NOISE) -> tuple[Tensor, list[int]]:
    """What an attack finds at two sizes where so many rows have room, and the rows of every way back."""
    generator = torch.Generator().manual_seed(1)
    images, network = torch.rand(IMAGES, 1, 4, 4, generator=generator), Steep(rows)
    labels = network.inner(images).argmax(1)
    Steep.back.clear()
    find = attack.begin(Defence(network, noise, 3), Batch(images, labels, range(IMAGES)), "l2")
    points = [find(torch.full((IMAGES,), size, dtype=torch.float64), range(IMAGES)) for size in (0.3, 0.8)]
    return torch.stack(points), list(Steep.back)


ATTACKS: list[tuple[Attack, Gaussian | None]] = [
    (PGD(eot_samples=DRAWS, steps=6), NOISE),
    (PGD(eot_samples=DRAWS, steps=6, restarts=2, loss="margin"), NOISE),
    (PGD(eot_samples=DRAWS, steps=6, fixed=True), NOISE),
    (PGD(steps=6), None),
    (AutoPGD(eot_samples=DRAWS, steps=6), NOISE),
    (RandomisedAutoAttack(eot_samples=DRAWS, steps=6), NOISE),
    (CarliniWagner(eot_samples=DRAWS, steps=30, binary_search_steps=2, initial_constant=10.0), NOISE),
]


@pytest.mark.parametrize(("attack", "noise"), ATTACKS, ids=lambda part: str(part)[:40])
def test_half_the_rows_find_the_same(attack: Attack, noise: Gaussian | None) -> None:
    if isinstance(attack, CarliniWagner):
        pytest.importorskip("foolbox")
    whole, all_rows = found(attack, 1000, noise)
    parts, seen = found(attack, 3, noise)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
    other, _ = found(attack, 1000, Gaussian(0.31) if noise else Gaussian(0.01))
    assert not torch.allclose(other, whole, rtol=1e-4, atol=1e-5), "points that depend on their noise"
    most = max(all_rows)
    assert most == IMAGES * (DRAWS if noise else 1)
    assert max(seen) == most
    tried = [rows for rows in seen if rows > 3]
    assert tried == sorted(set(tried), reverse=True), "each number once: what fits is remembered"
    assert sum(seen) - sum(tried) >= sum(all_rows), "and every row goes back"


def test_noise_of_every_step_is_what_it_was() -> None:
    """A network whose way back fails once, in the midst of an ascent: the ascent begins anew with the noise it had."""
    whole, _ = found(PGD(eot_samples=DRAWS, steps=6), 1000)
    real, left = Passage.backward, [4]

    def fail_once(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        left[0] -= 1
        if left[0] == 0:
            raise torch.OutOfMemoryError
        return real(context, *gradients)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Passage, "backward", staticmethod(fail_once))
        again, _ = found(PGD(eot_samples=DRAWS, steps=6), 1000)
    assert left[0] < 0
    torch.testing.assert_close(again, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "attack", [PGD(eot_samples=DRAWS, steps=2), AutoPGD(eot_samples=DRAWS, steps=2)], ids=["pgd", "auto-pgd"]
)
def test_where_not_even_one_row_fits_it_is_named(attack: Attack) -> None:
    with pytest.raises(OutOfMemoryError, match=r"the gradients of 5 images.*CUDA out of memory"):
        found(attack, 0)
    assert (len(Steep.back), Steep.back[0], Steep.back[-1]) == (6, 20, 1), "20, 10, 5, 3, 2, 1 rows"


def test_other_failures_are_not_tried_again() -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        raise RuntimeError("shapes that do not match")

    smoothed = Expectation(Steep(1000), NOISE, eot_samples=DRAWS)
    smoothed(torch.rand(2, 1, 4, 4))
    with pytest.raises(RuntimeError, match="shapes") as error:
        smoothed.fitting(work, "a test")
    assert not isinstance(error.value, ClassifierError)
    assert calls == [1]
