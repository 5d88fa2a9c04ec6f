"""Settings, schedules, augmentation and the picture of a training."""

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from noiseproof import data
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.noises import Gaussian
from noiseproof.objectives import TRADES, Natural, SmoothAdv, Stability
from noiseproof.randomness import RandomSource, as_source
from noiseproof.reports import write_training_curve
from noiseproof.training import TrainingSettings, require_fit_by_name, usual_model
from noiseproof.training.augmentation import deform, flip_and_crop
from noiseproof.training.parallel import Share, step_source
from noiseproof.training.settings import with_defaults
from tiny_training import tiny


def unchecked(**changes: Any) -> TrainingSettings:
    """Settings made without the checks of types that only tests have."""
    made = object.__new__(TrainingSettings)
    for name, value in (vars(tiny()) | changes).items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made


@pytest.mark.parametrize("name", ["learning_rate", "momentum", "weight_decay", "average", "clip", "warmup_epochs"])
@pytest.mark.parametrize("value", ["0.5", True, math.nan, math.inf, -1.0, [0.5], 1j])
def test_numbers(name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=f"^{name} must be"):
        unchecked(**{name: value})


@pytest.mark.parametrize(
    "change",
    [
        *({"learning_rate": value} for value in (0.0, None)),
        *({"momentum": value} for value in (1.0, None)),
        {"weight_decay": None},
        *({"average": value} for value in (0.0, 1.0)),
        {"clip": 0.0},
        {"warmup_epochs": 3.1},
        {"warmup_epochs": None},
        {"ramp_epochs": 3.1},
        *({name: value} for name in ("epochs", "batch_size") for value in (0, 1.0, "1", True, None)),
        *({"seed": value} for value in (-1, 2**64, 0.0, "0", False)),
        *(
            {name: value}
            for name in ("optimiser", "schedule", "precision", "augment")
            for value in ("adam", None, 1, [])
        ),
    ],
    ids=str,
)
def test_outside_the_domain(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(InvalidInputError, match=f"^{name} must be"):
        unchecked(**change)


def test_a_ramp_needs_a_regularisation() -> None:
    with pytest.raises(InvalidInputError, match="one with a regularisation"):
        tiny(objective=Natural(), ramp_epochs=1.0)


def test_plain_data_and_back() -> None:
    settings = unchecked(seed=np.int64(3), epochs=np.int32(4), learning_rate=np.float32(0.5), clip=1, average=0.9)
    spec = json.loads(json.dumps(settings.spec()))
    assert spec == settings.spec()
    again = TrainingSettings(**(spec | {"objective": settings.objective, "noise": settings.noise}))
    assert again == settings
    assert again.spec() == spec
    plain = tiny(precision="fp32").spec()
    newer = {field.name for field in fields(TrainingSettings)} - set(plain) | {
        "momentum",
        "clip",
        "augment",
        "precision",
    }
    assert with_defaults({key: value for key, value in plain.items() if key not in newer}) == plain
    assert with_defaults({"clip": 2.0})["clip"] == 2.0


def test_schedules() -> None:
    constant, cosine = tiny(epochs=8), tiny(epochs=8, schedule="cosine")
    step, warm = tiny(epochs=8, schedule="step"), tiny(epochs=8, schedule="cosine", warmup_epochs=2.0)
    for done in np.linspace(0, 8, 33):
        assert constant.learning_rate_at(done) == 1e-3
        expected = 1e-3 * (1 + math.cos(math.pi * done / 8)) / 2
        assert cosine.learning_rate_at(done) == pytest.approx(expected, abs=1e-18)
        assert warm.learning_rate_at(done) == pytest.approx(min(1.0, done / 2) * expected, abs=1e-18)
        assert step.learning_rate_at(done) == pytest.approx(1e-3 if done < 4 else 1e-4 if done < 6 else 1e-5)
    assert warm.learning_rate_at(0.0) == 0.0
    assert cosine.learning_rate_at(9.0) == pytest.approx(0.0, abs=1e-18)


@pytest.mark.parametrize(
    ("objective", "field"), [(Stability(weight=2.0), "weight"), (TRADES(), "weight"), (SmoothAdv(), "epsilon")]
)
def test_ramp(objective: Any, field: str) -> None:
    ramped = tiny(objective=objective, ramp_epochs=2.0)
    full = getattr(objective, field)
    for done in (0.0, 0.5, 1.0, 1.75):
        assert getattr(ramped.objective_at(done), field) == pytest.approx(full * done / 2)
    for done in (2.0, 3.0):
        assert ramped.objective_at(done) is objective
    assert tiny(objective=objective).objective_at(0.0) is objective


# ---- augmentation ----------------------------------------------------------------------------------------------------


def source(seed: int = 0) -> RandomSource:
    return as_source(torch.Generator().manual_seed(seed))


def cut_by_hand(image: np.ndarray, mirror: bool, top: int, left: int) -> np.ndarray:
    channels, height, width = image.shape
    cut = np.zeros_like(image)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                row, column = i + top - 4, j + left - 4
                if 0 <= row < height and 0 <= column < width:
                    cut[c, i, j] = image[c, row, width - 1 - column if mirror else column]
    return cut


def test_flip_and_crop_is_what_a_loop_does() -> None:
    images = torch.rand(30, 2, 5, 7)
    result = flip_and_crop(images, source(3))
    draws = source(3).uniform(torch.empty(30, 3)).double().numpy()
    for image, cut, (mirror, top, left) in zip(images.numpy(), result.numpy(), draws, strict=True):
        assert np.array_equal(cut, cut_by_hand(image, mirror < 0.5, int(9 * top), int(9 * left)))
    assert result.is_contiguous()


def test_every_shift_and_side_is_equally_likely() -> None:
    count = 40_000
    ramp = torch.arange(1.0, 401.0).reshape(1, 1, 20, 20).expand(count, 1, 20, 20)
    middle = flip_and_crop(ramp, source())[:, 0, 9, 4:6]  # two neighbours say where, and which way
    value, mirrored = middle[:, 0].long() - 1, middle[:, 1] < middle[:, 0]
    columns = torch.where(mirrored, 19 - value % 20, value % 20)
    cells = ((value // 20 - 5) * 9 + columns) * 2 + mirrored
    counts = torch.bincount(cells, minlength=162).double()
    assert len(counts) == 162
    chi_squared = ((counts - count / 162) ** 2 / (count / 162)).sum().item()
    assert chi_squared < 161 + 5 * math.sqrt(2 * 161)


class Fixed(RandomSource):
    """Draws that the test chooses."""

    def __init__(self, uniform: Tensor, normal: Tensor) -> None:
        self._uniform, self._normal = uniform, normal

    def uniform(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._uniform.expand(like.shape)

    def normal(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._normal.expand(like.shape)

    def exponential(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        raise AssertionError(like)


def test_deform_in_the_middle_of_all_draws_changes_nothing() -> None:
    images = torch.rand(3, 2, 8, 11)
    torch.testing.assert_close(deform(images, Fixed(torch.tensor(0.5), torch.tensor(0.0))), images)


def test_deform_without_bends_is_an_affine_map() -> None:
    images = torch.rand(12, 1, 28, 20)
    draws = torch.rand(12, 6, generator=torch.Generator().manual_seed(4))
    result = deform(images, Fixed(draws, torch.tensor(0.0)))
    middle = np.array([13.5, 9.5])
    for image, found, row in zip(
        images[:, 0].double().numpy(), result[:, 0], 2 * draws.double().numpy() - 1, strict=True
    ):
        angle, scale_x, scale_y, shear, shift_x, shift_y = row * [np.pi / 18, 0.1, 0.1, 0.1, 1.0, 1.0]
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # of (down, across)
        matrix = turn @ np.diag([1 + scale_y, 1 + scale_x]) @ np.array([[1.0, 0.0], [shear, 1.0]])
        offset = middle - matrix @ middle + [shift_y, shift_x]
        expected = ndimage.affine_transform(image, matrix, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_deform_bends_by_a_surface_through_its_knots() -> None:
    rows, columns = torch.meshgrid(torch.arange(29.0), torch.arange(29.0), indexing="ij")
    images = torch.stack([columns, rows])[:, None]  # every pixel says where it lies
    bends = 0.5 * torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(5))
    read = deform(images, Fixed(torch.tensor(0.5), bends))[:, 0]
    knots = read[:, 7:22:7, 7:22:7] - images[:, 0, 7:22:7, 7:22:7]  # those within; at the border black comes in
    torch.testing.assert_close(knots, 0.75 * bends[0, :, 1:4, 1:4], atol=1e-4, rtol=0.0)
    between = (read - images[:, 0])[:, 8:14, 7]
    assert bool((between.diff(dim=1).abs() < 0.5).all()), "smooth between them"


def test_deformed_images_are_images_of_their_own() -> None:
    images = torch.rand(40, 1, 28, 28)
    result = deform(images, source(6))
    assert result.shape == images.shape
    assert result.is_contiguous()
    assert float(result.min()) >= 0.0
    assert float(result.max()) <= 1.0 + 1e-6
    same = deform(images[:1].repeat(40, 1, 1, 1), source(6))
    assert len({tuple(each.flatten().tolist()) for each in same}) == 40
    assert torch.equal(result, deform(images, source(6)))


@pytest.mark.parametrize("total", [1, 2, 5, 12])
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_cut_and_draw_as_one(total: int, processes: int) -> None:
    images, cpu = torch.rand(total, 1, 8, 8), torch.device("cpu")

    def drawn(share: Share) -> list[Tensor]:
        source = step_source(5, 2, 7, share, cpu)
        mine = images[list(share.rows)]
        return [
            flip_and_crop(mine, source),
            deform(mine, source),
            source.normal(mine),
            source.exponential(mine),
            source.uniform(mine),
        ]

    whole = drawn(Share(np.arange(total)))
    shares = [Share(np.arange(total), rank, processes) for rank in range(processes)]
    assert sum(share.fraction for share in shares) == pytest.approx(1.0)
    assert sorted(row for share in shares if share.fraction for row in share.rows) == list(range(total))
    for share in shares:
        for all_rows, mine in zip(whole, drawn(share), strict=True):
            assert torch.equal(all_rows[list(share.rows)], mine)


# ---- the picture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 3])
def test_picture(epochs: int, tmp_path: Path) -> None:
    lines = [{"epoch": n, "loss": 2.0 / n, "accuracy": 1.0, "seconds": 1.0} for n in range(1, epochs + 1)]
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    picture = write_training_curve(tmp_path / "log", tmp_path / "curve.svg")
    assert ET.fromstring(picture.read_text()).tag.endswith("svg")
    assert "mean loss" in picture.read_text()


@pytest.mark.parametrize(
    "content", ["", "{", "[]\n", "3\n", '{"epoch": 1}\n', '{"epoch": 1, "loss": "x", "accuracy": 1}', None]
)
def test_damaged_log(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "log").write_text(content)
    with pytest.raises(RunError, match="a training log, a line of JSON per epoch"):
        write_training_curve(tmp_path / "log", tmp_path / "curve.svg")
    assert not (tmp_path / "curve.svg").exists()


def test_shapes_of_published_sets_are_those_of_their_files() -> None:
    """Of the digits, whose files are always here; each usual network takes its set by the table."""
    found = data.load("digits", "test")
    assert data.SHAPES["digits"] == (tuple(found.image_shape), found.num_classes)
    assert set(data.SHAPES) == set(data.names())
    before = torch.get_rng_state()
    for name in data.SHAPES:
        require_fit_by_name(usual_model(name), name)
    assert torch.equal(before, torch.get_rng_state())


def test_the_momentum_of_sgd_is_refused_with_adam() -> None:
    with pytest.raises(InvalidInputError, match=r'momentum must be left out with optimiser="Adam", .*; got 0\.5'):
        TrainingSettings("digits-cnn", Natural(), Gaussian(1.0), 1, momentum=0.5)
    assert TrainingSettings("digits-cnn", Natural(), Gaussian(1.0), 1, momentum=0.5, optimiser="SGD").momentum == 0.5
