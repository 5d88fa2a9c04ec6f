"""A training stopped anywhere, by anything, ends with the weights of one that never stopped, bit for bit."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseproof import data
from noiseproof.errors import RunError
from noiseproof.models import load_checkpoint, model_digest, save_checkpoint
from noiseproof.models.checkpoint import read_tensors, save_tensors
from noiseproof.models.registry import MODELS
from noiseproof.objectives import TRADES, GaussianAugmentation, Natural
from noiseproof.training import CHECKPOINT, LOG, loop, train
from noiseproof.training.state import Folder
from processes import QUIET
from tiny_training import EVERYTHING, NETWORKS, StopHereError, images, stop_at, tiny

STATE = "training-state.safetensors"


@pytest.fixture(autouse=True)
def _networks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, build in NETWORKS.items():
        monkeypatch.setitem(MODELS._places, name, build)


@pytest.mark.parametrize("save_every", [0.0, 1e9], ids=["every step", "every epoch"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": "tiny-dropout", "average": 0.9},
        {"model": "tiny-normalised", "optimiser": "SGD", "learning_rate": 0.05, "schedule": "cosine"},
        {"optimiser": "SGD", "momentum": 0.0, "schedule": "step", "average": 0.5},
        EVERYTHING | {"schedule": "cosine"},
        EVERYTHING | {"precision": "bf16"},
        {"objective": TRADES(steps=2), "ramp_epochs": 1.5},
        {"batch_size": 100, "epochs": 4},
    ],
    ids=str,
)
def test_stopped_anywhere(
    changes: dict[str, Any], save_every: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, dataset = tiny(**changes), images()
    monkeypatch.setattr(loop, "_SAVE_EVERY", 1e9)
    whole = train(settings, dataset, tmp_path / "whole")
    monkeypatch.setattr(loop, "_SAVE_EVERY", save_every)
    last = -(-len(dataset) // settings.batch_size)
    for epoch, batch in dict.fromkeys([(1, 1), (2, min(2, last)), (2, last), (3, 1)]):
        with pytest.raises(StopHereError):
            train(settings, dataset, tmp_path / "parts", on_batch=stop_at(epoch, batch))
    parts = train(settings, dataset, tmp_path / "parts")
    assert model_digest(parts) == model_digest(whole)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [CHECKPOINT, LOG]
    logs = [(tmp_path / part / LOG).read_text().splitlines() for part in ("whole", "parts")]
    timeless = [[json.loads(line) | {"seconds": 0} for line in log] for log in logs]
    assert timeless[0] == timeless[1], "loss and accuracy are those of the whole epoch, not of the part after the stop"


def test_killed_between_the_last_step_of_an_epoch_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(tiny(), images(), tmp_path / "whole")
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    saved, save = [], Folder.save

    def save_and_stop(self: Folder, *arguments: Any, **named: Any) -> None:
        save(self, *arguments, **named)
        saved.append(arguments[-1].batch)
        if saved[-1] == 4:
            raise StopHereError

    monkeypatch.setattr(Folder, "save", save_and_stop)
    with pytest.raises(StopHereError):
        train(tiny(), images(), tmp_path / "parts")
    monkeypatch.setattr(Folder, "save", save)
    assert saved == [1, 2, 3, 4]
    assert model_digest(train(tiny(), images(), tmp_path / "parts")) == model_digest(whole)


def test_killed_between_the_two_steps_of_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(tiny(), images(), tmp_path / "whole")
    with pytest.raises(StopHereError):
        train(tiny(), images(), tmp_path / "parts", on_batch=stop_at(3, 2))
    (tmp_path / "parts" / STATE).rename(tmp_path / "parts" / "training-state.proven.safetensors")
    epochs: list[int] = []
    parts = train(tiny(), images(), tmp_path / "parts", on_epoch=lambda report: epochs.append(report.epoch))
    assert epochs == [3]
    assert model_digest(parts) == model_digest(whole)


@pytest.mark.parametrize("kills", [(3,), pytest.param((3, 2, 1), marks=pytest.mark.slow)], ids=["once", "often"])
def test_killed_by_the_system(kills: tuple[int, ...], tmp_path: Path) -> None:
    settings = tiny(**EVERYTHING)
    whole = train(settings, images(), tmp_path / "whole")
    script = (
        "import sys, torch; from pathlib import Path; import tiny_training as t; from noiseproof.training import loop\n"
        "t.register(); torch.set_num_threads(1); loop._SAVE_EVERY = 0.0\n"
        "say = lambda report: print(report.epoch, report.batch, flush=True)\n"
        "loop.train(t.tiny(**t.EVERYTHING), t.images(), Path(sys.argv[1]), on_batch=say)\n"
    )
    folder = tmp_path / "killed"
    for count in kills:
        command = [sys.executable, "-c", script, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=QUIET) as process:
            assert process.stdout is not None
            steps = [process.stdout.readline() for _ in range(count)]
            process.kill()
            assert process.wait(60) == -signal.SIGKILL
        assert all(steps), "it was killed while it trained"
    assert not (folder / CHECKPOINT).exists()
    for name in (STATE, LOG, CHECKPOINT):
        (folder / f".{name}.1-ab.part").write_bytes(b"half a file of a kill")
    assert model_digest(train(settings, images(), folder)) == model_digest(whole)
    assert sorted(path.name for path in folder.iterdir()) == [CHECKPOINT, LOG]


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a training that was stopped in its second epoch."""
    with pytest.raises(StopHereError):
        train(tiny(), images(), tmp_path, on_batch=stop_at(2, 2))
    return tmp_path


def test_damaged_state(stopped: Path) -> None:
    whole = (stopped / STATE).read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"garbage"):
        (stopped / STATE).write_bytes(broken)
        with pytest.raises(RunError, match=r"training-state.* must be a whole safetensors file"):
            train(tiny(), images(), stopped)
    assert (stopped / STATE).read_bytes() == broken, "never overwritten"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"average": 0.9}, r"with average 0.9; got average None"),
        ({"optimiser": "SGD"}, r"with optimiser 'SGD'; got optimiser 'Adam'"),
        ({"objective": Natural()}, r"objective .*Natural"),
        ({"epochs": 4}, r"with epochs 4; got epochs 3"),
    ],
)
def test_state_of_another_training(stopped: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        train(tiny(**changes), images(), stopped)


def test_state_of_other_data_or_of_an_older_version(stopped: Path) -> None:
    with pytest.raises(RunError, match="of a training with the data given; got other data"):
        train(tiny(), images(41), stopped)
    tensors, about = read_tensors(stopped / STATE)
    save_tensors(stopped / STATE, tensors, {"record": about["record"], "epochs_done": 1})
    with pytest.raises(RunError, match=r"by this version; got one of an older version. Finish it with that version"):
        train(tiny(), images(), stopped)


NEWER = (
    *(
        "momentum",
        "weight_decay",
        "schedule",
        "warmup_epochs",
        "ramp_epochs",
        "average",
        "clip",
        "precision",
        "augment",
    ),
)


def test_a_checkpoint_of_the_version_before_counts(tmp_path: Path) -> None:
    settings = tiny(epochs=1, objective=GaussianAugmentation())
    train(settings, images(), tmp_path)
    found = load_checkpoint(tmp_path / CHECKPOINT)
    old = {key: value for key, value in found.record["settings"].items() if key not in NEWER}
    assert set(old) == {"model", "objective", "noise", "epochs", "batch_size", "learning_rate", "seed", "optimiser"}
    save_checkpoint(tmp_path / CHECKPOINT, found.model, "tiny", found.record | {"settings": old})
    again = train(settings, images(), tmp_path, on_batch=lambda _: pytest.fail("trained again"))
    assert model_digest(again) == model_digest(found.model)
    with pytest.raises(RunError, match=r"with clip 1.0; got clip None"):
        train(tiny(epochs=1, objective=GaussianAugmentation(), clip=1.0), images(), tmp_path)


def test_what_cannot_be_trained_leaves_the_modes_and_threads_of_the_caller(tmp_path: Path) -> None:
    class Unreadable(data.ArrayDataset):
        def read(self, indices: Any) -> np.ndarray:
            if len(indices) > 1 and 7 in indices:
                raise OSError(5, "Input/output error")
            return super().read(indices)

    whole = images()
    broken = Unreadable("columns", "train", whole.images, whole.labels, 3)
    state = torch.get_rng_state()
    with pytest.raises(OSError, match="Input/output error"):
        train(tiny(), broken, tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    assert model_digest(train(tiny(), whole, tmp_path)) == model_digest(train(tiny(), whole, tmp_path / "whole"))


def test_frozen_parameters_stay_and_the_average_is_of_all_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frozen() -> torch.nn.Module:
        network = NETWORKS["tiny-normalised"]()
        network[0].requires_grad_(False)
        return network

    monkeypatch.setitem(MODELS._places, "tiny-frozen", frozen)
    settings = tiny(model="tiny-frozen", average=0.75, epochs=2, batch_size=20)
    weights: list[dict[str, torch.Tensor]] = []

    class Watched(loop._Run):
        def _step(self, *arguments: Any) -> bool:
            due = super()._step(*arguments)
            weights.append({name: value.clone() for name, value in self.network.state_dict().items()})
            return due

    monkeypatch.setattr(loop, "_Run", Watched)
    trained = train(settings, images(), tmp_path).state_dict()
    assert len(weights) == 4
    for name, value in trained.items():
        expected = weights[0][name].double()
        for later in weights[1:]:
            expected = 0.75 * expected + 0.25 * later[name].double()
            expected = expected if value.is_floating_point() else expected.trunc()
        assert torch.allclose(value.double(), expected, rtol=1e-6, atol=1e-7), name
    assert torch.equal(trained["0.weight"], weights[0]["0.weight"])
    assert not torch.equal(trained["4.weight"], weights[-1]["4.weight"])


def test_a_training_that_begins_with_the_weights_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, settings = images(), tiny(seed=3)
    first = train(settings, dataset, tmp_path / "first")
    whole = train(settings, dataset, tmp_path / "whole", start=first)
    assert model_digest(whole) != model_digest(first)
    still = train(tiny(seed=3, learning_rate=1e-12, epochs=1), dataset, tmp_path / "still", start=first)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(still.state_dict()[name], value, atol=1e-6, rtol=0)
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    with pytest.raises(StopHereError):
        train(settings, dataset, tmp_path / "parts", start=first, on_batch=stop_at(2, 1))
    other = tiny(seed=4)
    another = train(other, dataset, tmp_path / "another")
    for start in (None, another):
        with pytest.raises(RunError, match="with start"):
            train(settings, dataset, tmp_path / "parts", start=start)
        with pytest.raises(RunError, match="with start"):
            train(settings, dataset, tmp_path / "whole", start=start)
    with pytest.raises(RunError, match="with start"):
        train(settings, dataset, tmp_path / "first", start=another)
    assert model_digest(train(settings, dataset, tmp_path / "parts", start=first)) == model_digest(whole)
    assert load_checkpoint(tmp_path / "whole" / CHECKPOINT).record["start"] == {"digest": model_digest(first)}
    with pytest.raises(RunError, match="start must be the weights of tiny-normalised"):
        train(tiny(model="tiny-normalised"), dataset, tmp_path / "no", start=first)
