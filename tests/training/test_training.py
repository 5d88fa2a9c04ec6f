"""The training loop: it learns, resumes exactly, and refuses what does not fit."""

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from noiseproof import data, models, objectives
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import load_checkpoint, model_digest, save_checkpoint
from noiseproof.noises import Gaussian
from noiseproof.objectives import GaussianAugmentation, Natural, Objective, Stability
from noiseproof.training import CHECKPOINT, LOG, BatchReport, EpochReport, TrainingSettings, loop, train


class StopHereError(Exception):
    pass


def settings(
    epochs: int = 3, objective: Objective | None = None, seed: int = 0, learning_rate: float = 1e-3
) -> TrainingSettings:
    return TrainingSettings(
        "digits-cnn", objective or Stability(), Gaussian(0.25), epochs, seed=seed, learning_rate=learning_rate
    )


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits", "train")


LEARNERS = (
    Natural(),
    GaussianAugmentation(),
    Stability(),
    Stability(form="released-first"),
    Stability(form="two-copies", weight=6.0),
    objectives.Consistency(),
    objectives.MACER(copies=4, weight=1.0),
    objectives.SmoothAdv(epsilon=0.2, steps=2, copies=2),
    objectives.Adversarial(epsilon=0.05, steps=3),
    objectives.Adversarial(norm="l2", epsilon=0.3, steps=3),
    objectives.TRADES(epsilon=0.05, steps=3),
    objectives.AdversarialLogitPairing(epsilon=0.05, steps=3),
)


@pytest.mark.parametrize("objective", LEARNERS, ids=repr)
def test_every_objective_learns(objective: Objective, digits: data.Dataset, tmp_path: Path) -> None:
    reports: list[EpochReport] = []
    batches: list[BatchReport] = []
    train(
        settings(3, objective, learning_rate=3e-3), digits, tmp_path, on_epoch=reports.append, on_batch=batches.append
    )
    assert reports[-1].loss < 0.8 * reports[0].loss
    assert reports[-1].accuracy > 0.5
    assert len(batches) == 3 * 19
    assert [json.loads(line)["epoch"] for line in (tmp_path / LOG).read_text().splitlines()] == [1, 2, 3]


def test_interrupted_training_ends_with_the_same_weights(digits: data.Dataset, tmp_path: Path) -> None:
    whole = train(settings(), digits, tmp_path / "whole")

    def stop(report: BatchReport) -> None:
        if report.epoch == 3 and report.batch == 5:
            raise StopHereError

    with pytest.raises(StopHereError):
        train(settings(), digits, tmp_path / "halves", on_batch=stop)
    assert not (tmp_path / "halves" / CHECKPOINT).exists()
    resumed: list[EpochReport] = []
    halves = train(settings(), digits, tmp_path / "halves", on_epoch=resumed.append)
    assert [report.epoch for report in resumed] == [3]
    assert model_digest(halves) == model_digest(whole)
    assert model_digest(load_checkpoint(tmp_path / "halves" / CHECKPOINT).model) == model_digest(whole)


class Watched(data.ArrayDataset):
    """Data that remember which images were read."""

    seen: ClassVar[list[list[int]]] = []

    def read(self, indices: Sequence[int]) -> np.ndarray:
        self.seen.append(list(indices))
        return super().read(indices)


@pytest.mark.parametrize("interrupted", [False, True])
def test_every_epoch_reads_every_image_once_in_an_order_of_its_own(
    interrupted: bool, digits: data.Dataset, tmp_path: Path
) -> None:
    orders: list[list[int]] = []
    for seed in (0, 1):
        few = Watched("few", "train", digits.read(range(100)), digits.labels[:100], 10)
        few.seen.clear()
        chosen = replace(settings(4, Natural(), seed=seed), batch_size=32)

        def stop(report: EpochReport) -> None:
            if interrupted and report.epoch == 2:
                raise StopHereError

        with pytest.raises(StopHereError) if interrupted else nullcontext():
            train(chosen, few, tmp_path / str(seed), on_epoch=stop)
        train(chosen, few, tmp_path / str(seed))
        batches = [read for read in few.seen if len(read) in (32, 4)]  # others are looked at, not trained on
        assert len(batches) == 4 * 4
        for epoch in range(4):
            orders.append([index for batch in batches[4 * epoch : 4 * epoch + 4] for index in batch])
            assert sorted(orders[-1]) == list(range(100))
    for one, other in combinations([list(range(100)), *orders], 2):
        assert np.mean(np.equal(one, other)) < 0.1, "an order in common"


def test_every_step_has_noise_and_a_learning_rate_of_its_own(
    digits: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: set[tuple[float, ...]] = set()
    rates: list[float] = []
    source_of, step = loop.step_source, torch.optim.Adam.step

    def watched_source(*arguments: Any) -> Any:
        drawn.add(tuple(source_of(*arguments).normal(torch.zeros(50, 1)).flatten().tolist()))
        return source_of(*arguments)

    def watched_step(self: Any, *arguments: Any, **more: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **more)

    monkeypatch.setattr(loop, "step_source", watched_source)
    monkeypatch.setattr(torch.optim.Adam, "step", watched_step)
    few = data.ArrayDataset("few", "train", digits.read(range(200)), digits.labels[:200], 10)
    train(replace(settings(3, GaussianAugmentation()), batch_size=50, schedule="cosine"), few, tmp_path)
    assert len(drawn) == 3 * 4
    assert rates == pytest.approx([1e-3 * (1.0 + math.cos(math.pi * number / 12)) / 2 for number in range(12)])


def test_two_trainings_do_not_share_a_folder(digits: data.Dataset, tmp_path: Path) -> None:
    def meanwhile(_: BatchReport) -> None:
        with pytest.raises(RunError, match=r"must be trained into by one process; got another process trains there"):
            train(settings(2), digits, tmp_path)
        raise StopHereError

    with pytest.raises(StopHereError):
        train(settings(2), digits, tmp_path, on_batch=meanwhile)
    train(settings(2), digits, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, LOG}


def test_nothing_to_train_on(digits: data.Dataset, tmp_path: Path) -> None:
    none = data.ArrayDataset("none", "train", digits.read([]), digits.labels[:0], 10)
    with pytest.raises(InvalidInputError, match="images to train on; got none"):
        train(settings(1), none, tmp_path)


def test_a_ramp_may_raise_the_loss(digits: data.Dataset, tmp_path: Path) -> None:
    steep = TrainingSettings(
        "digits-cnn", Stability(weight=200.0), Gaussian(0.25), 3, learning_rate=1e-6, ramp_epochs=1.0
    )
    reports: list[EpochReport] = []
    train(steep, digits, tmp_path, on_epoch=reports.append)
    assert reports[1].loss > 100 * 2.3, "far above ten times the loss of the first step, where the weight was 0"


def test_a_finished_training_is_not_repeated(digits: data.Dataset, tmp_path: Path) -> None:
    first = train(settings(1), digits, tmp_path)
    again = train(settings(1), digits, tmp_path, on_batch=lambda _: pytest.fail("trained again"))
    assert model_digest(first) == model_digest(again)


def test_other_settings_do_not_overwrite(digits: data.Dataset, tmp_path: Path) -> None:
    train(settings(1), digits, tmp_path)
    with pytest.raises(RunError, match=r"training with seed 1; got seed 0. Choose another folder"):
        train(settings(1, seed=1), digits, tmp_path)
    with pytest.raises(RunError, match="other data"):
        train(settings(1), data.load("digits", "test"), tmp_path)


def test_seed_decides_the_weights_and_the_global_generator_does_not(digits: data.Dataset, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = train(settings(1), digits, tmp_path / "a")
    state = torch.get_rng_state()
    second = train(settings(1), digits, tmp_path / "b")
    assert torch.equal(state, torch.get_rng_state()), "training must not touch the user's randomness"
    assert model_digest(first) == model_digest(second)
    assert model_digest(first) != model_digest(train(settings(1, seed=1), digits, tmp_path / "c"))


def test_divergence_keeps_the_last_good_epoch(digits: data.Dataset, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the gradient in epoch .* must be finite; got"):
        train(settings(50, learning_rate=1e30), digits, tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


def test_full_disk(digits: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"No space left on device. Free some space and run the same command again"):
        train(settings(1), digits, tmp_path)
    assert list(tmp_path.iterdir()) == [], "no part of a file is left behind"


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"seed": -1}]
)
def test_settings_outside_their_domain(change: dict[str, float]) -> None:
    good = {"model": "digits-cnn", "objective": Stability(), "noise": Gaussian(0.25), "epochs": 1}
    with pytest.raises(InvalidInputError, match=next(iter(change))):
        TrainingSettings(**(good | change))


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def test_checkpoint_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, models.build("digits-cnn"), "paper-mnist", {})
    with pytest.raises(RunError, match=r"weights of paper-mnist; got .*missing.*belongs to another architecture"):
        load_checkpoint(path)
    save_checkpoint(path, nn.Linear(2, 2), "resnet-9000", {})
    with pytest.raises(RunError, match="a network that this version knows; got 'resnet-9000'"):
        load_checkpoint(path)


def test_damaged_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(RunError, match="nothing there"):
        load_checkpoint(path)
    save_checkpoint(path, models.build("digits-cnn"), "digits-cnn", {})
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"\x80\x04pickle", whole[:8] + b"x" + whole[9:]):
        path.write_bytes(broken)
        with pytest.raises(RunError, match="a whole safetensors file written by noiseproof"):
            load_checkpoint(path)


def test_paper_mnist_network_is_the_papers() -> None:
    net = models.build("paper-mnist")
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert shapes == [(64, 1, 5, 5), (64, 64, 5, 5), (128, 25600), (10, 128)]
