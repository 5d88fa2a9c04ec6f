"""The state from which an interrupted training resumes, and the files of a run folder."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from noiseproof.errors import RunError
from noiseproof.models.checkpoint import (
    CHECKPOINT,
    load_checkpoint,
    load_state,
    read_tensors,
    save_checkpoint,
    save_tensors,
)
from noiseproof.storage.files import remove_leftovers, write_atomically
from noiseproof.training.settings import with_defaults

__all__ = ["CHECKPOINT", "LAST_GOOD", "LOG", "Folder", "Position", "recorded_settings", "require_free"]

LAST_GOOD = "last-good.safetensors"
"""The network as it was last saved, written when training stops because it diverged."""

LOG = "training.jsonl"
"""One line of JSON per epoch."""

_LOCK = ".training.lock"

_STATE = "training-state.safetensors"
_PROVEN = "training-state.proven.safetensors"
"""The state before the last one, until a step from the last one has shown that it had not diverged yet."""


@dataclass
class Position:
    """The position of a training.

    Attributes:
        epoch: the one in progress, from 1.
        batch: steps of it that are done.
        loss_sum: sum of the losses of its images.
        correct: its images that were right.
        seconds: spent on it.
        untrained_loss: of the very first step.
        log: a line for every whole epoch.
    """

    epoch: int = 1
    batch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    untrained_loss: float | None = None
    log: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Folder:
    """A run folder and the training in it.

    Attributes:
        path: the folder.
        record: settings and data, as plain data.
    """

    path: Path
    record: dict[str, Any]

    def finished(self) -> nn.Module | None:
        """Return the trained network if it is finished.

        Raises:
            RunError: it is of another training.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        checkpoint = load_checkpoint(path)
        _require_same(path, {key: checkpoint.record.get(key) for key in (*self.record, "start")}, self.record)
        return checkpoint.model

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into this folder.

        Raises:
            RunError: another process holds the lock.
        """
        path = self.path / _LOCK
        try:
            with FileLock(path, timeout=0):
                yield
                path.unlink(missing_ok=True)
        except Timeout as error:
            raise RunError(
                str(self.path),
                required="trained into by one process",
                got="another process trains there",
                remedy="Wait for it, or choose another folder.",
            ) from error

    def save(
        self,
        modules: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        position: Position,
        *,
        proven: bool,
    ) -> None:
        """Write the whole state, atomically.

        Args:
            modules: by name: the network in training, and the average of its weights where there is one.
            optimiser: its moments.
            position: of the training.
            proven: whether training continued without divergence from the stored state; it is then kept until `prove`.
        """
        if proven:
            (self.path / _STATE).replace(self.path / _PROVEN)
        tensors = {f"{part}/{name}": value for part, net in modules.items() for name, value in net.state_dict().items()}
        for index, moments in optimiser.state_dict()["state"].items():
            kept = {name: value for name, value in moments.items() if value is not None}
            tensors |= {f"optimiser/{index}/{name}": torch.as_tensor(value) for name, value in kept.items()}
        save_tensors(self.path / _STATE, tensors, {"record": self.record, "position": asdict(position)})

    def restore(self, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer) -> Position:
        """Load the stored state, if any, and return its position.

        Raises:
            RunError: it is of another training, or damaged.
        """
        path = self.path / _STATE
        if not path.exists():  # killed between the two steps of a save; of several processes one is first
            with suppress(FileNotFoundError):
                (self.path / _PROVEN).replace(path)
        if not path.exists():
            return Position()
        tensors, about = read_tensors(path)
        if "position" not in about:
            raise RunError(
                str(path),
                required="the state of a training by this version",
                got="one of an older version",
                remedy="Finish it with that version, or remove the file to train anew.",
            )
        _require_same(path, about.get("record"), self.record)
        for part, net in modules.items():
            load_state(
                net, _under(f"{part}/", tensors), what=f"{path} ({part})", architecture=self.record["settings"]["model"]
            )
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _under("optimiser/", tensors).items():
            index, _, name = key.partition("/")
            moments.setdefault(int(index), {})[name] = _laid_out_like(parameters[int(index)], value)
        optimiser.load_state_dict(optimiser.state_dict() | {"state": moments})
        try:
            return Position(**about["position"])
        except TypeError as error:
            raise RunError(
                str(path), required="the state of a training by this version", got=error, remedy="Use that version."
            ) from error

    def prove(self) -> None:
        """Remove the state before the last: training continued without divergence from the last."""
        (self.path / _PROVEN).unlink(missing_ok=True)

    def write_log(self, log: list[dict[str, Any]]) -> None:
        """Write the log, atomically."""
        content = "".join(json.dumps(line, sort_keys=True) + "\n" for line in log)
        write_atomically(self.path / LOG, content.encode())

    def finish(self, network: nn.Module, made: dict[str, Any]) -> None:
        """Write the trained network, and remove the states and the remains of killed trainings."""
        save_checkpoint(self.path / CHECKPOINT, network, self.record["settings"]["model"], self.record | {"made": made})
        for name in (_STATE, _PROVEN):
            (self.path / name).unlink(missing_ok=True)
        for name in (_STATE, _PROVEN, CHECKPOINT, LOG):
            remove_leftovers(self.path / name)

    def keep_last_good(self, *, proven: bool) -> Path | None:
        """Write the network of a saved state as a checkpoint of its own; None where there is none.

        Args:
            proven: whether training continued without divergence from the last state; else the one before it is used.
        """
        path = self.path / (_STATE if proven else _PROVEN)
        if not path.exists():
            return None
        tensors, about = read_tensors(path)
        position = about["position"]
        record = self.record | {"stopped": {"epoch": position["epoch"], "batch": position["batch"], "why": "diverged"}}
        network = _under("average/module.", tensors) or _under("network/", tensors)
        save_tensors(self.path / LAST_GOOD, network, {"model": self.record["settings"]["model"], "record": record})
        return self.path / LAST_GOOD


def recorded_settings(folder: Path) -> dict[str, Any] | None:
    """Return the settings of the training in a folder, finished or not; None where there is none.

    Raises:
        RunError: its file is damaged.
    """
    for name in (CHECKPOINT, _STATE, _PROVEN):
        if (folder / name).exists():
            _, about = read_tensors(folder / name)
            return with_defaults((about.get("record") or {}).get("settings") or {})
    return None


def require_free(folder: Path) -> None:
    """Raise RunError if the folder holds a training, finished or not."""
    for name in (CHECKPOINT, _STATE, _PROVEN):
        if (folder / name).exists():
            raise RunError(
                str(folder),
                required="a folder without another training",
                got=name,
                remedy="Choose another folder for the new training, or remove this one.",
            )


def _laid_out_like(parameter: Tensor, moment: Tensor) -> Tensor:
    """Return a moment in the memory order of its parameter: fused optimisers traverse both together."""
    return torch.empty_like(parameter, dtype=moment.dtype).copy_(moment) if moment.ndim else moment


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _require_same(path: Path, found: object, record: dict[str, Any]) -> None:
    # Compared as JSON, since that is how it was written: tuples and lists, 1 and 1.0 are the same there.
    stored, requested = ({"start": None} | each for each in json.loads(json.dumps([found or {}, record])))
    before, now = with_defaults(stored.get("settings") or {}), requested["settings"]
    if stored | {"settings": before} == requested:
        return
    before, now = (
        {**settings, "part": (of.get("data") or {}).get("part"), "start": of["start"]}
        for settings, of in ((before, stored), (now, requested))
    )
    changes = [f"{key} {before.get(key)!r}" for key in now if before.get(key) != now[key]] or ["other data"]
    wanted = [f"{key} {now[key]!r}" for key in now if before.get(key) != now[key]] or ["the data given"]
    raise RunError(
        str(path),
        required=f"of a training with {', '.join(wanted)}",
        got=", ".join(changes),
        remedy="Choose another folder for the new training, or remove this one.",
    )
