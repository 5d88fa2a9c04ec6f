"""A training that diverges stops, says so, and keeps the last network from before."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from noiseproof.errors import RunError
from noiseproof.models import load_checkpoint
from noiseproof.models.registry import MODELS
from noiseproof.objectives import Natural
from noiseproof.objectives.base import BatchLoss
from noiseproof.training import CHECKPOINT, LAST_GOOD, LOG, loop, train
from tiny_training import NETWORKS, images, tiny


@pytest.fixture(autouse=True)
def _networks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, build in NETWORKS.items():
        monkeypatch.setitem(MODELS._places, name, build)


class Failing(loop._Run):
    """From a step on, the loss is as many times what it is; the weights after every step are kept."""

    first_bad, factor = 6, float("nan")
    weights: list[dict[str, torch.Tensor]]
    steps = 0

    def _step(self, *arguments: Any) -> bool:
        bad, factor = self.steps >= self.first_bad, self.factor

        def loss(self: Natural, *given: Any) -> BatchLoss:
            result = plain(self, *given)
            return BatchLoss(result.loss * factor, result.logits) if bad else result

        plain = Natural.__call__
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Natural, "__call__", loss)
            due = super()._step(*arguments)
        net: nn.Module = self.network if self.average is None else self.average.module
        type(self).weights.append({name: value.clone() for name, value in net.state_dict().items()})
        self.steps += 1
        return due


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (float("nan"), r"the gradient in epoch 2, batch 3 must be finite; got nan"),
        (float("inf"), r"the gradient in epoch 2, batch 3 must be finite; got (nan|inf)"),
        (1e3, r"the mean loss in epoch 2 must be below 1\d.*, 10 times that of the untrained network; got \d+"),
    ],
)
@pytest.mark.parametrize("average", [None, 0.5])
@pytest.mark.parametrize(("save_every", "good"), [(0.0, 5), (1e9, 3)])
def test_the_network_kept_is_from_before(
    factor: float,
    message: str,
    average: float | None,
    save_every: float,
    good: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The step that goes wrong starts from the state saved last, which is then not trusted either."""
    monkeypatch.setattr(loop, "_SAVE_EVERY", save_every)
    monkeypatch.setattr(loop, "_Run", Failing)
    Failing.weights, Failing.factor = [], factor
    settings = tiny(objective=Natural(), average=average)
    with pytest.raises(RunError, match=message + r".*Lower the learning rate.*is kept in .*last-good"):
        train(settings, images(), tmp_path)
    kept = load_checkpoint(tmp_path / LAST_GOOD)
    assert kept.model_name == "tiny"
    assert kept.record["stopped"]["why"] == "diverged"
    found = next(
        step
        for step, weights in enumerate(Failing.weights)
        if all(torch.equal(weights[name], value) for name, value in kept.model.state_dict().items())
    )
    assert found <= good, "it is from before the first bad step"
    assert found >= good - 1, "and no older than need be"
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_state_already_broken_is_not_called_good(tmp_path: Path) -> None:
    """One step an epoch: the state saved after the first has weights of 1e30."""
    with pytest.raises(
        RunError, match=r"the gradient in epoch 2, batch 1 must be finite.*nothing had been saved before"
    ):
        train(tiny(objective=Natural(), batch_size=100, learning_rate=1e30), images(), tmp_path)
    assert not (tmp_path / LAST_GOOD).exists()
    assert len((tmp_path / LOG).read_text().splitlines()) == 1
    with pytest.raises(RunError, match="the gradient in epoch 2, batch 1"):
        train(tiny(objective=Natural(), batch_size=100, learning_rate=1e30), images(), tmp_path)


def test_a_loss_that_is_no_number_is_noticed_though_its_gradient_is_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Natural.__call__

    def loss(self: Natural, *given: Any) -> BatchLoss:
        result = plain(self, *given)
        return BatchLoss(result.loss + float("nan"), result.logits)

    monkeypatch.setattr(Natural, "__call__", loss)
    with pytest.raises(RunError, match=r"the mean loss in epoch 1 must be below nan.*got nan"):
        train(tiny(objective=Natural()), images(), tmp_path)
