"""The training loop: objective, data and optimiser give a checkpoint."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from noiseproof import models
from noiseproof.classifiers.precision import laid_channels_last
from noiseproof.data import Dataset
from noiseproof.errors import RunError
from noiseproof.models.checkpoint import load_state
from noiseproof.storage.files import require_writable
from noiseproof.storage.provenance import provenance
from noiseproof.training.augmentation import deform, flip_and_crop
from noiseproof.training.dead_channels import dead_share
from noiseproof.training.fit import require_fit
from noiseproof.training.parallel import Share, launch, step_source
from noiseproof.training.precision import usual_precision
from noiseproof.training.settings import TrainingSettings
from noiseproof.training.state import Folder, Position

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["BatchReport", "EpochReport", "train"]

_SAVE_EVERY = 60.0
"""Seconds between two saved states within an epoch: a kill loses a minute; writing one takes well under a second."""

_LOOKED_AT = 256
"""Images by which dead channels are found at the end of an epoch: a hundredth of a second's work for small networks."""

_WORSE = 10.0
"""A network whose mean loss is so many times that of the untrained one, or of the worst step of a ramp, has diverged."""


@dataclass(frozen=True)
class EpochReport:
    """One epoch, counted from 1.

    Attributes:
        epoch: its number.
        loss: mean over its images.
        accuracy: of the network in training, on the images as its objective presents them.
        seconds: its duration.
        learning_rate: at its end.
        dead: the largest share of a layer's channels that are 0 for every image (`dead_share`).
    """

    epoch: int
    loss: float
    accuracy: float
    seconds: float
    learning_rate: float
    dead: float


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
    start: nn.Module | None = None,
    device: torch.device | str = "cpu",
    on_batch: Callable[[BatchReport], None] = lambda _: None,
    on_epoch: Callable[[EpochReport], None] = lambda _: None,
) -> nn.Module:
    """Train a network and write it to `out`; an interrupted training in that folder is resumed.

    The randomness of a step depends on (seed, epoch, step) alone, and the state is saved after every epoch and every
    minute within one, so on the CPU a resumed training ends with the same weights, bit for bit, as one that was never
    interrupted. Under `torchrun` every process handles its rows of each batch. The noise of an image stays the same;
    dropout and the statistics of batch normalisation are local to each process.

    Writes `checkpoint.safetensors` (weights, settings, data, where it was made) and `training.jsonl` (a line an epoch).

    Args:
        settings: what to train, and how.
        dataset: the training split.
        out: the run folder, created if needed; one that all machines share, where torchrun starts several.
        start: a network of the same architecture whose weights are the initial ones; None uses the network's own
            initialisation. The record keeps the digest.
        device: where to train.
        on_batch: called after every step.
        on_epoch: called after every epoch, once its state is saved.

    Returns:
        The network, in evaluation mode on the CPU.

    Raises:
        InvalidInputError: the network does not accept the images, or has other classes.
        RunError: `start` is of another architecture. `out` holds a training with other settings, data or start, the disk is
            full, or another process trains into it. Or training diverged: the gradient became NaN or infinite, or the loss
            exceeded ten times that of the initial network; the network saved last is then kept as
            `last-good.safetensors`.
    """
    if settings.precision == "auto":
        settings = replace(settings, precision=usual_precision(settings.model, dataset, torch.device(device), out))
    about = {key: value for key, value in dataset.about().items() if key != "split"}
    begun = {} if start is None else {"start": {"digest": models.model_digest(start)}}
    folder = Folder(out, {"settings": settings.spec(), "data": about} | begun)
    finished = folder.finished()
    if finished is not None:
        return finished

    require_writable(out)
    fabric = launch(device, settings.precision)
    with folder.locked() if fabric.is_global_zero else nullcontext():
        finished = folder.finished()  # another process may have been at it
        return _train(settings, dataset, folder, fabric, start, on_batch, on_epoch) if finished is None else finished


def _train(
    settings: TrainingSettings,
    dataset: Dataset,
    folder: Folder,
    fabric: "Fabric",
    start: nn.Module | None,
    on_batch: Callable[[BatchReport], None],
    on_epoch: Callable[[EpochReport], None],
) -> nn.Module:
    with _own_randomness(fabric.device):
        torch.manual_seed(settings.seed % 2**63)
        network = models.build(settings.model)
    if start is not None:
        load_state(network, start.state_dict(), what="start", architecture=settings.model)
    require_fit(network, settings.model, dataset)
    with _channels_last(network), _own_randomness(fabric.device):
        run = _Run(settings, dataset, folder, fabric, network)
        while run.position.epoch <= settings.epochs:
            report = run.epoch(on_batch)
            on_epoch(report)
        trained = run.result()
    if fabric.is_global_zero:
        folder.write_log(run.position.log)
        folder.finish(trained, _made(dataset, fabric))
    fabric.barrier()
    return trained


class _Run:
    """A training in progress: network, optimiser, average, position."""

    def __init__(
        self, settings: TrainingSettings, dataset: Dataset, folder: Folder, fabric: "Fabric", network: nn.Module
    ) -> None:
        self.settings, self.dataset, self.folder, self.fabric, self.network = settings, dataset, folder, fabric, network
        optimiser = _optimiser(settings, network)
        self.model, self.optimiser = fabric.setup(network, optimiser)
        self.average = None if settings.average is None else _average(network, settings.average)
        self.modules: dict[str, nn.Module] = {"network": network}
        if self.average is not None:
            self.modules["average"] = self.average
        self.position = folder.restore(self.modules, optimiser)
        self.batches = math.ceil(len(dataset) / settings.batch_size)
        self.saved = time.perf_counter()
        self.stored = self.position.epoch > 1 or self.position.batch > 0
        self.proven = False  # whether a step from the stored state went well: it is from before a divergence then

    def epoch(self, on_batch: Callable[[BatchReport], None]) -> EpochReport:
        """Train to the end of the epoch in progress, and save."""
        position, settings = self.position, self.settings
        self.model.train()
        before, started = position.seconds, time.perf_counter()
        seen = min(position.batch * settings.batch_size, len(self.dataset))
        for share, images, labels in self._data():
            due = self._step(share, images, labels)
            seen += len(share.chosen)
            position.seconds = before + time.perf_counter() - started
            on_batch(
                BatchReport(
                    position.epoch, position.batch, self.batches, position.loss_sum / seen, position.correct / seen
                )
            )
            if due:
                self._require_progress(seen)
                self._save()
        self._require_progress(seen)
        report = EpochReport(
            position.epoch,
            position.loss_sum / seen,
            position.correct / seen,
            round(position.seconds, 3),
            settings.learning_rate_at(float(position.epoch)),
            round(dead_share(self.network, self._looked_at()), 4),
        )
        self.position = Position(
            epoch=position.epoch + 1, untrained_loss=position.untrained_loss, log=[*position.log, asdict(report)]
        )
        self._save()
        return report

    def result(self) -> nn.Module:
        """Return the trained network, averaged if the settings say so, in evaluation mode on the CPU."""
        weights = self.network if self.average is None else self.average.module
        trained = models.build(self.settings.model)
        trained.load_state_dict(weights.state_dict())
        return trained.eval()

    def _looked_at(self) -> Tensor:
        """Some images spread over the data, as the objective presents them, under noise that no step uses."""
        every = max(1, len(self.dataset) // _LOOKED_AT)
        images = torch.from_numpy(self.dataset.read(range(len(self.dataset))[::every][:_LOOKED_AT]))
        if self.settings.objective.noisy:
            images = images + self.settings.noise.sample(images, np.random.default_rng(self.settings.seed))
        return self.fabric.to_device(images)

    def _data(self) -> Iterator[tuple[Share, Tensor, Tensor]]:
        """Yield the remaining batches of the epoch; the next one is read during the step on the current one."""
        epoch, size, fabric = self.position.epoch, self.settings.batch_size, self.fabric
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(len(self.dataset))
        shares = [
            Share(order[start : start + size], fabric.global_rank, fabric.world_size)
            for start in range(self.position.batch * size, len(order), size)
        ]
        if not shares:  # the epoch was interrupted between its last step and its end
            return
        with ThreadPoolExecutor(1) as pool:
            upcoming = pool.submit(self.dataset.read, shares[0].indices)
            for number, share in enumerate(shares):
                images = torch.from_numpy(upcoming.result())
                if number + 1 < len(shares):
                    upcoming = pool.submit(self.dataset.read, shares[number + 1].indices)
                labels = torch.from_numpy(self.dataset.labels[share.indices])
                yield share, fabric.to_device(images), fabric.to_device(labels)

    def _step(self, share: Share, images: Tensor, labels: Tensor) -> bool:
        """Train on a batch; return whether it is time to save."""
        settings, position, fabric = self.settings, self.position, self.fabric
        done = position.epoch - 1 + position.batch / self.batches
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate_at(done)
        source = step_source(settings.seed, position.epoch, position.batch, share, fabric.device)
        if settings.augment == "flip-crop":
            images = flip_and_crop(images, source)
        elif settings.augment == "deform":
            images = deform(images, source)
        with fabric.autocast():  # for an objective's steps on the network itself; its losses are in float32
            result = settings.objective_at(done)(self.model, images, labels, settings.noise, source)
        self.optimiser.zero_grad(set_to_none=True)
        # Processes average their gradients; each weighs its rows so that the average is that of the whole batch.
        fabric.backward(result.loss * (share.fraction * share.processes))
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip or math.inf)
        if not math.isfinite(norm.item()):
            self._diverged(f"the gradient in epoch {position.epoch}, batch {position.batch + 1}", "finite", norm.item())
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return self._count(share, result.loss.detach(), result.logits.detach().argmax(1) == labels)

    def _count(self, share: Share, loss: Tensor, right: Tensor) -> bool:
        position = self.position
        due = self.fabric.is_global_zero and time.perf_counter() - self.saved >= _SAVE_EVERY  # the clock of one decides
        sums: Any = torch.stack([loss.double(), right.double().mean()]) * share.fraction
        sums = torch.cat([sums, sums.new_tensor([float(due)])])
        if share.processes > 1:
            sums = self.fabric.all_reduce(sums, reduce_op="sum")
        mean_loss, accuracy, saves = sums.tolist()
        position.loss_sum += mean_loss * len(share.chosen)
        position.correct += round(accuracy * len(share.chosen))
        done = position.epoch - 1 + position.batch / self.batches
        position.batch += 1
        if position.untrained_loss is None or done <= self.settings.ramp_epochs:
            position.untrained_loss = max(mean_loss, position.untrained_loss or 0.0)
        if self.stored and not self.proven and mean_loss <= _WORSE * position.untrained_loss:
            self.proven = True
            if self.fabric.is_global_zero:
                self.folder.prove()
        return bool(saves > 0.0)

    def _require_progress(self, seen: int) -> None:
        position = self.position
        loss, untrained = position.loss_sum / seen, position.untrained_loss or 0.0
        if not loss <= _WORSE * untrained:  # NaN too
            self._diverged(
                f"the mean loss in epoch {position.epoch}",
                f"below {_WORSE * untrained:.3g}, {_WORSE:g} times that of the untrained network",
                f"{loss:.3g}",
            )

    def _diverged(self, what: str, required: str, got: object) -> None:
        kept = self.folder.keep_last_good(proven=self.proven) if self.fabric.is_global_zero else None
        self.fabric.barrier()  # torchrun ends all processes once one has failed
        where = "nothing had been saved before." if kept is None else f"the network saved before is kept in {kept}."
        raise RunError(
            what,
            required=required,
            got=got,
            remedy=f"Lower the learning rate or the objective's weight, clip gradients, or warm up; {where}",
        )

    def _save(self) -> None:
        if self.fabric.is_global_zero:
            self.folder.save(self.modules, self.optimiser.optimizer, self.position, proven=self.proven)
            self.folder.write_log(self.position.log)
        self.saved, self.stored, self.proven = time.perf_counter(), True, False
        self.fabric.barrier()


def _made(dataset: Dataset, fabric: "Fabric") -> dict[str, Any]:
    """The provenance that a checkpoint holds, beside the settings that decided its weights."""
    found = {
        "source": dataset.source,
        "location": None if dataset.location is None else str(Path(dataset.location).resolve()),
        "image_shape": list(dataset.image_shape),
        "num_classes": dataset.num_classes,
        "class_names": dataset.class_names,
    }
    return provenance(fabric.device) | {"processes": fabric.world_size, "data": found}


def _average(network: nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]


def _optimiser(settings: TrainingSettings, network: nn.Module) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimiser == "Adam":
        return torch.optim.Adam(network.parameters(), **common)
    return torch.optim.SGD(network.parameters(), momentum=settings.momentum, **common)


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Restore the caller's generators: seeding torch also seeds those of all GPUs, once they are in use."""
    seeded = device.type == "cuda" or torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if seeded else []):
        yield


@contextmanager
def _channels_last(network: nn.Module) -> Iterator[None]:
    """Run an image network channels-last, in which convolutions are up to twice as fast; noise is drawn as before."""
    laid_channels_last(network)
    handle = network.register_forward_pre_hook(_as_channels_last)
    try:
        yield
    finally:
        handle.remove()


def _as_channels_last(_: nn.Module, inputs: tuple[Float[Tensor, "batch *shape"]]) -> tuple[Tensor]:
    (images,) = inputs
    return (images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images,)
