"""Backends: the input a classifier expects, its device, and the shape of its batches."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.errors import OutOfMemoryError

__all__ = [
    "FunctionRunner",
    "Kind",
    "ModuleRunner",
    "Runner",
    "device_of",
    "in_evaluation_mode",
    "memory_named",
    "tf32_flags",
]

Kind = Literal["torch", "numpy"]


class Runner(ABC):
    """The backend of a classifier: a function from a batch to scores or labels, with the input that it expects.

    Accelerated networks and classifiers read from files are backends.

    Attributes:
        device: where its batches are.
        kind: torch tensors or NumPy arrays.
        batch_size: the only batch size it accepts; None for any.
        one_shape: whether batches of another size cost a compilation.
        channels_last: whether batches of images should be stored channels-last.
        module: the torch module whose weights it has; None where there is none.
    """

    device: torch.device = torch.device("cpu")
    kind: Kind = "torch"
    batch_size: int | None = None
    one_shape: bool = False
    channels_last: bool = False
    module: nn.Module | None = None

    @abstractmethod
    def __call__(self, batch: Any) -> Any:
        """Return float scores (batch, classes) or integer labels (batch,)."""

    def settings(self) -> dict[str, Any]:
        """Return what decides the function beside the model itself, as plain data for a record."""
        return {"device": self.device.type, "precision": "as given", "compile": False} | tf32_flags(self.device)

    def __repr__(self) -> str:
        of = [] if self.module is None else [type(self.module).__name__]
        settings = [f"{name}={value!r}" for name, value in self.settings().items()]
        return f"{type(self).__name__}({', '.join(of + settings)}, batch_size={self.batch_size})"


class ModuleRunner(Runner):
    """A torch module with its own weights, in evaluation mode; the mode of the module given stays as it is."""

    def __init__(self, module: nn.Module, device: torch.device | None = None) -> None:
        self.module: nn.Module = in_evaluation_mode(module)
        self.device = device or device_of(module)

    def __call__(self, batch: Float[Tensor, "batch *shape"]) -> Any:
        """Run the module."""
        return self.module(batch)


class FunctionRunner(Runner):
    """Any other callable: a function, a scikit-learn estimator's `predict`."""

    def __init__(self, function: Callable[[Any], Any], kind: Kind, device: torch.device | None = None) -> None:
        self.function = function
        self.kind = kind
        self.device = torch.device("cpu") if device is None or kind == "numpy" else device

    def __call__(self, batch: Float[Tensor, "batch *shape"] | Float[np.ndarray, "batch *shape"]) -> Any:
        """Call the function."""
        return self.function(batch)


def tf32_flags(device: torch.device) -> dict[str, Any]:
    """What torch's switches make of float32 on a GPU: by default convolutions round to 10 bits of mantissa (TF32)."""
    if device.type != "cuda":
        return {}
    return {"tf32": torch.backends.cudnn.allow_tf32, "matmul": torch.get_float32_matmul_precision()}


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's first parameter or buffer, or the CPU."""
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def in_evaluation_mode(module: nn.Module) -> nn.Module:
    """Return a module in evaluation mode that shares all parameters and buffers with the one given, whose mode stays.

    Every submodule is a new object with the same attributes but its mode, as `torch.nn.DataParallel` makes replicas. So
    threads that certify, and a training that goes on between two certifications, never change each other's mode. New
    weights (`load_state_dict`, an optimiser's step) are seen. A submodule that is also reached in another way than by
    its name, such as a bound method kept as an attribute, keeps its own mode there: put such a network into evaluation
    mode yourself.
    """
    twins: dict[int, nn.Module] = {}

    def twin_of(part: nn.Module) -> nn.Module:
        if isinstance(part, torch.jit.ScriptModule):  # its submodules are not objects of Python: they cannot be shared
            return twins.setdefault(id(part), copy.deepcopy(part))
        if id(part) not in twins:
            twin = twins[id(part)] = object.__new__(type(part))  # a traced graph's own __new__ makes another class
            twin.__dict__ = part.__dict__.copy()
            children = part.__dict__["_modules"].items()
            twin.__dict__["_modules"] = {name: None if child is None else twin_of(child) for name, child in children}
        return twins[id(part)]

    twin = twin_of(module)
    with suppress(NotImplementedError):  # the graph of an exported program has no modes
        twin.eval()
    return twin


@contextmanager
def memory_named(what: str) -> Iterator[None]:
    """Raise `OutOfMemoryError` for whatever torch, NumPy or Python say when memory runs out.

    Raises:
        OutOfMemoryError: the device or the machine is out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _out_of_memory(error):
            raise
        raise OutOfMemoryError(
            what,
            required="small enough for the memory of its device",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'out of memory'}",
            remedy="Pass a smaller batch size, or run on a device with more memory.",
        ) from error


def _out_of_memory(error: RuntimeError) -> bool:
    said = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in said)
