"""Checkpoints: a network and its configuration in one safetensors file. Loading one never executes code."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models.by_name import build
from noiseproof.storage.files import write_atomically

__all__ = [
    "CHECKPOINT",
    "Checkpoint",
    "load_checkpoint",
    "load_state",
    "model_digest",
    "read_tensors",
    "save_checkpoint",
    "save_tensors",
]

CHECKPOINT = "checkpoint.safetensors"
"""Name of the file of the trained network in a run folder; it is written when training is complete."""

_KEY = "noiseproof"


@dataclass(frozen=True)
class Checkpoint:
    """A network with the plain data that is stored with its weights.

    Attributes:
        model: in evaluation mode, on the CPU.
        model_name: its name, see `build`.
        record: the settings and results of its training, as `training.train` stored them.
    """

    model: nn.Module
    model_name: str
    record: dict[str, Any]


def save_checkpoint(path: Path, model: nn.Module, model_name: str, record: Mapping[str, Any]) -> None:
    """Write weights, the name of the architecture and a JSON-compatible record to one file, atomically.

    Args:
        path: the file, replaced if it exists.
        model: the network.
        model_name: the name for which `build` makes a network with these weights.
        record: see `Checkpoint`.
    """
    save_tensors(path, model.state_dict(), {"model": model_name, "record": dict(record)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and build its network.

    Raises:
        RunError: the file is missing, damaged, not written by noiseproof, or its weights do not fit the architecture.
    """
    tensors, about = read_tensors(path)
    if not isinstance(about.get("model"), str) or not isinstance(about.get("record"), dict):
        raise RunError(
            str(path), required="a noiseproof checkpoint", got=f"keys {sorted(about)}", remedy="Name another file."
        )
    try:
        model = build(about["model"])
    except InvalidInputError as error:
        raise RunError(
            str(path),
            required="a checkpoint of a network that this version knows",
            got=repr(about["model"]),
            remedy="A newer noiseproof may have written it.",
        ) from error
    load_state(model, tensors, what=str(path), architecture=about["model"])
    return Checkpoint(model.eval(), about["model"], about["record"])


def load_state(model: nn.Module, tensors: Mapping[str, Tensor], *, what: str, architecture: str) -> None:
    """Load weights into a network, which must have exactly these tensors.

    Args:
        model: the network, which is changed.
        tensors: the weights by name.
        what: description of their source, for the error message.
        architecture: name of the architecture, for the error message.

    Raises:
        RunError: tensors are missing, unexpected, of another shape, or not floating point where the network is; lists three.
    """
    expected = model.state_dict()
    differences = [f"{name} missing" for name in expected if name not in tensors]
    differences += [f"{name} unexpected" for name in tensors if name not in expected]
    differences += [
        f"{name} {tensors[name].dtype} instead of floating point"
        for name, value in expected.items()
        if name in tensors and value.is_floating_point() != tensors[name].is_floating_point()
    ]
    differences += [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if differences:
        raise RunError(
            what,
            required=f"the weights of {architecture}",
            got="; ".join(differences[:3]) + (f" and {len(differences) - 3} more" if len(differences) > 3 else ""),
            remedy="The file belongs to another architecture.",
        )
    model.load_state_dict(dict(tensors))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and JSON-compatible data to a safetensors file, atomically."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {_KEY: json.dumps(dict(about), sort_keys=True)}
    write_atomically(path, safetensors.torch.save(contiguous, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the data that `save_tensors` wrote.

    Raises:
        RunError: the file is missing, truncated, or not a safetensors file written by noiseproof.
    """
    if not path.is_file():
        made = f"noiseproof train --out {path.parent if path.name == CHECKPOINT else 'FOLDER'}"
        raise RunError(
            str(path),
            required="a file",
            got="nothing there",
            remedy=f"Train first: {made}. Or name a network that is there: a run folder, a checkpoint, zoo:NAME.",
        )
    damage = (safetensors.SafetensorError, KeyError, ValueError, RecursionError)
    whole = "a whole safetensors file written by noiseproof"
    remedy = "It is truncated, damaged or not ours; restore it or train again into another folder."
    try:
        path.open("rb").close()
        with (
            RunError.instead_of(damage, str(path), required=whole, remedy=remedy),
            safetensors.safe_open(path, framework="pt") as file,
        ):
            about = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except OSError as error:
        raise RunError(
            str(path), required="readable", got=error.strerror or error, remedy="Check its permissions."
        ) from error
    if not isinstance(about, dict):
        raise RunError(
            str(path), required="described by names and values", got=type(about).__name__, remedy="Name another file."
        )
    return tensors, about


def model_digest(model: nn.Module) -> str:
    """Return the SHA-256 of names, types, shapes and values of all parameters and buffers, including non-persistent ones."""
    parts = hashlib.sha256()
    saved = model.state_dict()
    state: dict[str, Any] = {**saved, **{name: value for name, value in model.named_buffers() if name not in saved}}
    for name, value in sorted(state.items()):
        _add(parts, name, value)
    return parts.hexdigest()


def _add(parts: Any, name: str, value: Any) -> None:
    if isinstance(value, tuple | list):
        for number, inner in enumerate(value):
            _add(parts, f"{name}.{number}", inner)
    elif isinstance(value, Tensor):
        raw = value.detach().cpu()
        scales = repr(raw)[-200:] if raw.is_quantized else ""
        raw = (raw.int_repr() if raw.is_quantized else raw).contiguous()
        parts.update(f"{name} {value.dtype} {tuple(value.shape)}{scales}\n".encode())
        parts.update(raw.reshape(-1).view(torch.uint8).numpy().tobytes())
    else:
        parts.update(f"{name} {value!r}\n".encode())
