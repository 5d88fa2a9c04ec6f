"""Processes started by torchrun train what one process trains; only the first of them speaks and writes."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from noiseproof.errors import RunError
from noiseproof.models import load_checkpoint
from noiseproof.models.registry import MODELS
from noiseproof.noises import Gaussian
from noiseproof.objectives import (
    MACER,
    TRADES,
    Adversarial,
    AdversarialLogitPairing,
    Consistency,
    GaussianAugmentation,
    Natural,
    Objective,
    SmoothAdv,
    Stability,
)
from noiseproof.training import CHECKPOINT, LOG, leave, loop, train
from noiseproof.training.parallel import Share, step_source
from noiseproof.training.state import Folder
from processes import QUIET
from tiny_training import NETWORKS, StopHereError, images, register, stop_at, tiny

SGD: dict[str, Any] = {"optimiser": "SGD", "learning_rate": 0.1}  # Adam would hide a wrong scale, and magnify rounding
CASES: dict[str, dict[str, Any]] = {
    "natural": SGD
    | {"objective": Natural(), "batch_size": 13, "average": 0.8, "augment": "deform"},  # the last batch has one row
    "stability": SGD | {"batch_size": 15, "clip": 0.3, "augment": "flip-crop"},
    "trades": SGD
    | {"objective": TRADES(steps=2, norm="l2"), "batch_size": 11, "ramp_epochs": 1.0, "schedule": "cosine"},
}


@pytest.mark.parametrize(
    "objective",
    [
        *(Natural(), GaussianAugmentation(), Stability(), Consistency(), MACER(copies=3), TRADES(steps=2)),
        *(Adversarial(steps=2), AdversarialLogitPairing(steps=2), SmoothAdv(steps=2)),
    ],
    ids=lambda objective: type(objective).__name__,
)
@pytest.mark.parametrize("total", [1, 5])
def test_the_losses_of_the_shares_add_up(objective: Objective, total: int) -> None:
    """To the loss of the whole batch, and so do their gradients."""
    torch.manual_seed(0)
    network, dataset = NETWORKS["tiny"](), images()
    x, y = torch.from_numpy(dataset.read(range(total))), torch.from_numpy(dataset.labels[:total])

    def gradient(share: Share) -> torch.Tensor:
        rows, source = list(share.rows), step_source(1, 1, 0, share, torch.device("cpu"))
        loss = share.fraction * objective(network, x[rows], y[rows], Gaussian(0.25), source).loss
        return torch.cat([loss[None], *(g.flatten() for g in torch.autograd.grad(loss, network.parameters()))])

    order = images().labels[:total]
    parts = sum(gradient(Share(order, rank, 2)) for rank in range(2))
    assert torch.allclose(torch.as_tensor(parts), gradient(Share(order)), rtol=1e-4, atol=1e-5)


def work(out: Path) -> None:
    """What each process does; those after the first must write nothing."""
    import torch.distributed as dist

    register()
    torch.set_num_threads(1)
    loop._SAVE_EVERY = 1e9
    for name, changes in CASES.items():
        train(tiny(**changes, epochs=2), images(), out / name)
    rank = dist.get_rank()
    if rank:
        for method in ("save", "write_log", "finish", "keep_last_good", "prove"):
            setattr(Folder, method, lambda *_, **__: pytest.fail("written by another process than the first"))
    loop._SAVE_EVERY = 1e9 if rank else 0.0  # the first one's clock decides, or they wait for each other forever
    for stop in (stop_at(1, 2), stop_at(2, 1), lambda _: None):
        with suppress(StopHereError):
            train(tiny(**CASES["stability"], epochs=2), images(), out / "parts", on_batch=stop)
    loop._SAVE_EVERY = 1e9
    with pytest.raises(RunError, match="the gradient in epoch"):
        train(tiny(objective=Natural(), learning_rate=1e30), images(), out / "diverged")
    leave()
    if rank == 0:
        print("done")


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env=QUIET,
        timeout=120,
    )


def test_two_processes_train_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = torchrun(__file__, tmp_path / "two")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "done\n"
    assert "warn" not in ran.stderr.lower(), ran.stderr
    for name, build in NETWORKS.items():
        monkeypatch.setitem(MODELS._places, name, build)
    for name, changes in {**CASES, "parts": CASES["stability"]}.items():
        alone = train(tiny(**changes, epochs=2), images(), tmp_path / "one" / name).state_dict()
        two = load_checkpoint(tmp_path / "two" / name / CHECKPOINT)
        assert two.record["made"]["processes"] == 2
        for key, value in two.model.state_dict().items():
            assert torch.allclose(value, alone[key], rtol=1e-4, atol=1e-6), (name, key)
        assert sorted(path.name for path in (tmp_path / "two" / name).iterdir()) == [CHECKPOINT, LOG]


@pytest.mark.slow
def test_one_of_the_processes_speaks(tmp_path: Path) -> None:
    ran = torchrun("-m", "noiseproof", "train", "--out", tmp_path / "run", "--epochs", 1, "--device", "cpu")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("Trained:") == 1
    assert ran.stderr.count("Next: noiseproof certify") == 1
    assert "warn" not in ran.stderr.lower(), ran.stderr
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [CHECKPOINT, LOG, "training.svg"]


if __name__ == "__main__":
    work(Path(sys.argv[1]))
