"""The training loop: objective x data x optimiser -> checkpoint, interruptible after any epoch."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from noiseproof import models
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError, RunError, require_count
from noiseproof.files import require_writable, write_atomically
from noiseproof.models.checkpoint import load_checkpoint, load_state, read_tensors, save_checkpoint, save_tensors
from noiseproof.noises import Noise
from noiseproof.objectives import Objective
from noiseproof.provenance import provenance
from noiseproof.randomness import as_source, require_seed

__all__ = ["CHECKPOINT", "LOG", "BatchReport", "EpochReport", "TrainingSettings", "train"]

CHECKPOINT = "checkpoint.safetensors"
"""The trained network, written once training is complete."""

LOG = "training.jsonl"
"""One line of JSON per epoch."""

_STATE = "training-state.safetensors"


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the trained weights.

    Args:
        model: name of the network.
        objective: the loss.
        noise: the noise it trains with, and will be certified with.
        epochs: passes over the training split.
        batch_size: 64 is the paper's.
        learning_rate: of Adam; 1e-3 is the paper's.
        seed: of the initial weights, the order of the batches, the noise and dropout.

    Raises:
        InvalidInputError: epochs or batch_size < 1, or a learning rate that is not finite and > 0.
    """

    model: str
    objective: Objective
    noise: Noise
    epochs: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        require_count("epochs", self.epochs, 1, "Raise it.")
        require_count("batch_size", self.batch_size, 1, "64 is the paper's.")
        require_seed(self.seed)
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InvalidInputError(
                "learning_rate", required="finite and > 0", got=repr(self.learning_rate), remedy="Adam's usual is 1e-3."
            )

    def spec(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return {name: getattr(self, name) for name in ("model", "epochs", "batch_size", "learning_rate", "seed")} | {
            "objective": self.objective.spec(),
            "noise": self.noise.spec(),
            "optimiser": "Adam",
        }


@dataclass(frozen=True)
class EpochReport:
    """Mean loss and training accuracy of one epoch (counted from 1), and the seconds it took."""

    epoch: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class BatchReport:
    """Running mean loss and training accuracy within an epoch, for a progress bar."""

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float


def train(
    settings: TrainingSettings,
    dataset: Dataset,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    on_batch: Callable[[BatchReport], None] = lambda _: None,
    on_epoch: Callable[[EpochReport], None] = lambda _: None,
) -> nn.Module:
    """Train a network and write it to `out`; a folder left by an interrupted training is continued.

    The randomness of an epoch depends on (seed, epoch) alone, and the state is saved after each, so on the CPU a
    resumed training ends with the same weights, bit for bit, as one that was never interrupted.

    Writes `checkpoint.safetensors` (weights, settings, data, where it was made) and `training.jsonl` (a line an epoch).

    Args:
        settings: what to train, and how.
        dataset: the training split.
        out: the run folder, created if needed.
        device: where to train.
        on_batch: called after every step.
        on_epoch: called after every epoch, once its state is saved.

    Returns:
        The network, in evaluation mode on the CPU.

    Raises:
        RunError: `out` holds a training with other settings or data, the loss became NaN or infinite (the state of the
            last good epoch is kept), or the disk is full.
    """
    record = {"settings": settings.spec(), "data": {"name": dataset.name, "digest": dataset.digest()}}
    finished = _finished(out, record)
    if finished is not None:
        return finished

    require_writable(out)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed % 2**63)
        model = models.build(settings.model).to(device)
    _require_fit(model, settings.model, dataset)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    state = _State(out / _STATE, record)
    log = state.restore(model, optimiser, settings.model)
    for epoch in range(len(log) + 1, settings.epochs + 1):
        with torch.random.fork_rng(devices=[]):
            report = _epoch(model, optimiser, settings, dataset, epoch, torch.device(device), on_batch)
        log.append(asdict(report))
        state.save(model, optimiser, log)
        on_epoch(report)
    _write_log(out / LOG, log)
    save_checkpoint(out / CHECKPOINT, model, settings.model, record | {"made": provenance(device)})
    state.path.unlink(missing_ok=True)
    return model.to("cpu").eval()


def _require_fit(model: nn.Module, name: str, dataset: Dataset) -> None:
    """Raise InvalidInputError unless the network takes the images of the data set and knows its classes."""
    image = torch.from_numpy(dataset.read([0])).to(next(model.parameters()).device)
    try:
        with torch.inference_mode():
            classes = model.eval()(image).shape[1]
    except RuntimeError as error:
        classes = f"{error}"
    if classes != dataset.num_classes:
        raise InvalidInputError(
            "model",
            required=f"a network for images {tuple(image.shape[1:])} of {dataset.num_classes} classes ({dataset.name})",
            got=f"{name}: {classes}",
            remedy="Choose another network or data set.",
        )


def _epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    settings: TrainingSettings,
    dataset: Dataset,
    epoch: int,
    device: torch.device,
    on_batch: Callable[[BatchReport], None],
) -> EpochReport:
    order_seed, noise_seed, dropout_seed = np.random.SeedSequence([settings.seed, epoch]).generate_state(3)
    source = as_source(torch.Generator(device).manual_seed(int(noise_seed)))
    torch.manual_seed(int(dropout_seed))
    model.train()
    started, loss_sum, correct, seen = time.perf_counter(), 0.0, 0, 0
    batches = math.ceil(len(dataset) / settings.batch_size)
    for number, (images, labels) in enumerate(_batches(dataset, settings.batch_size, int(order_seed)), start=1):
        images, labels = images.to(device), labels.to(device)  # noqa: PLW2901
        result = settings.objective(model, images, labels, settings.noise, source)
        loss = result.loss.item()
        if not math.isfinite(loss):
            raise RunError(
                f"the loss in epoch {epoch}, batch {number}",
                required="finite",
                got=loss,
                remedy="Lower the learning rate or the objective's weight; the run folder keeps the last whole epoch.",
            )
        optimiser.zero_grad(set_to_none=True)
        result.loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        seen += len(labels)
        loss_sum += loss * len(labels)
        correct += int((result.logits.argmax(1) == labels).sum())
        on_batch(BatchReport(epoch, number, batches, loss_sum / seen, correct / seen))
    return EpochReport(epoch, loss_sum / seen, correct / seen, time.perf_counter() - started)


def _batches(
    dataset: Dataset, batch_size: int, seed: int
) -> Iterator[tuple[Float[Tensor, "batch *shape"], Int[Tensor, " batch"]]]:
    order = np.random.default_rng(seed).permutation(len(dataset))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield torch.from_numpy(dataset.read(chosen.tolist())), torch.from_numpy(dataset.labels[chosen])


@dataclass(frozen=True)
class _State:
    """What an interrupted training needs to go on: weights, Adam's moments, the log, and what it belongs to."""

    path: Path
    record: dict[str, Any]

    def save(self, model: nn.Module, optimiser: torch.optim.Optimizer, log: list[dict[str, Any]]) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        save_tensors(self.path, tensors, {"record": self.record, "log": log})

    def restore(self, model: nn.Module, optimiser: torch.optim.Optimizer, name: str) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        tensors, about = read_tensors(self.path)
        _require_same(self.path, about.get("record"), self.record)
        weights = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
        load_state(model, weights, what=str(self.path), architecture=name)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, index, part = key.split(".")
                moments.setdefault(int(index), {})[part] = value
        optimiser.load_state_dict(optimiser.state_dict() | {"state": moments})
        log: list[dict[str, Any]] = about["log"]
        return log


def _finished(out: Path, record: dict[str, Any]) -> nn.Module | None:
    path = out / CHECKPOINT
    if not path.exists():
        return None
    checkpoint = load_checkpoint(path)
    _require_same(path, {key: checkpoint.record.get(key) for key in record}, record)
    return checkpoint.model


def _require_same(path: Path, found: object, record: dict[str, Any]) -> None:
    # Compared as JSON, since that is how it was written: tuples and lists, 1 and 1.0 are the same there.
    stored, asked = json.loads(json.dumps([found, record]))
    if stored == asked:
        return
    before, now = (stored or {}).get("settings", {}), asked["settings"]
    changes = [f"{key} {before.get(key)!r}" for key in now if before.get(key) != now[key]] or ["other data"]
    wanted = [f"{key} {now[key]!r}" for key in now if before.get(key) != now[key]] or ["the data given"]
    raise RunError(
        str(path),
        required=f"of a training with {', '.join(wanted)}",
        got=", ".join(changes),
        remedy="Choose another folder for the new training, or remove this one.",
    )


def _write_log(path: Path, log: list[dict[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in log).encode())
