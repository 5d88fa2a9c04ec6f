"""Weight files that other programs wrote."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from noiseproof.errors import RunError

__all__ = ["file_digest", "read_weights"]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a .safetensors file, or from a torch file that contains tensors only.

    In a torch file the tensors may be under the key "state_dict" or "model". A prefix "module." of all names, as
    `nn.DataParallel` adds it, is removed.

    Raises:
        RunError: the file is missing or damaged, or a torch file with pickled objects, which are never executed.
    """
    if not path.is_file():
        raise RunError(str(path), required="a file of weights", got="nothing there", remedy="Check the path.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict", "model"):
            if isinstance(content.get(key), dict):
                content = content[key]
    except Exception as error:  # torch raises pickle's errors, which are of many kinds
        raise _unusable(path, error) from error
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file and its external data: `FILE.data`, and the files that an ONNX file refers to.

    If external data exist, it is the SHA-256 of the digests of all files. ONNX gives paths relative to its folder.
    """
    beside = [path.with_name(path.name + ".data")]
    if path.suffix == ".onnx":
        named = {path.parent / name for name in _named_by(path.read_bytes())}
        beside += sorted(named - {path, *beside})
    digests = [_sha256(each) for each in (path, *beside) if each.is_file()]
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _named_by(onnx: bytes) -> Iterator[str]:
    """Yield the paths of external data: in the protocol buffer, entries with field 1, the key, equal to "location"."""
    for entry in onnx.split(b"\n\x08location\x12")[1:]:
        length, digits = 0, 0
        for digits, byte in enumerate(entry[:5]):  # a number of seven bits a byte, the lowest first
            length |= (byte & 127) << (7 * digits)
            if byte < 128:
                break
        yield entry[digits + 1 : digits + 1 + length].decode(errors="replace")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unusable(path: Path, error: Exception) -> RunError:
    told = next(iter(str(error).splitlines()), "")
    return RunError(
        str(path),
        required="whole, with nothing but tensors in it",
        got="a pickle of more than tensors"
        if isinstance(error, UnpicklingError)
        else f"{type(error).__name__}: {told}",
        remedy="Save the network's state_dict as safetensors: safetensors.torch.save_file(model.state_dict(), ...).",
    )
