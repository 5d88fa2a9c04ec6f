"""A torch module in another precision, compiled or not."""

import copy
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.classifiers.runners import Runner, device_of, tf32_flags
from noiseproof.errors import InvalidInputError

__all__ = [
    "Accelerated",
    "Precision",
    "accelerate",
    "compiled_function",
    "laid_channels_last",
    "multiplies_bfloat16",
    "quiet",
]


class Precision(StrEnum):
    """The arithmetic of a network. The function that ran is what is certified, so each is legitimate."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    int8 = "int8"


_COMPILED_AT_MOST = 256
"""Networks and batch shapes in one process."""

_AUTOCAST = {Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}


class Accelerated(Runner):
    """A network in evaluation mode, in one precision, compiled or not; made by `accelerate`.

    Attributes:
        precision: of its arithmetic.
        compiled: whether `torch.compile` made its code, with the weights frozen in.
    """

    def __init__(self, module: nn.Module, precision: Precision, *, compiled: bool, device: torch.device) -> None:
        self.precision = precision
        self.compiled = self.one_shape = compiled
        self.device = device
        self.channels_last = True
        # a copy: layout and mode of the caller's module stay as they are, and a record's digest is of what runs
        self.module: nn.Module = laid_channels_last(copy.deepcopy(module).to(device)).eval()
        self.module.requires_grad_(requires_grad=False)
        self._function = compiled_function(self._forward) if compiled else self._forward

    def __call__(self, batch: Float[Tensor, "batch *shape"]) -> Any:
        """Return what the network returns, scores in float32."""
        output = self._function(batch)
        return output.float() if isinstance(output, Tensor) and output.is_floating_point() else output

    def settings(self) -> dict[str, Any]:
        """Return what decides the function, as plain data for a record."""
        made = {"device": self.device.type, "precision": self.precision.value, "compile": self.compiled}
        return made | tf32_flags(self.device)

    def _forward(self, batch: Tensor) -> Any:
        dtype = _AUTOCAST.get(self.precision)
        with torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            return self.module(batch)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has fast bfloat16 products: a CPU with the instructions oneDNN needs, a GPU from Ampere on.

    Where it does not, torch emulates bfloat16: the same function within rounding, several times slower than float32.
    """
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - what torch itself asks
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def accelerate(
    module: nn.Module,
    *,
    precision: Precision | str = Precision.fp32,
    compiled: bool = False,
    device: torch.device | str | None = None,
) -> Accelerated:
    """Return a network as a backend in a precision: give it to `SmoothedClassifier` in place of the module.

    fp32 computes in float32. bf16 and fp16 let torch's autocast choose, operation by operation, which run in 16 bits
    (convolutions and matrix products do). Weights are stored channels-last. Compiled code has the weights built in and
    needs a C++ compiler on a CPU, and 5 to 60 seconds when the first batch comes. For int8 see `quantise`.

    Raises:
        InvalidInputError: not a torch module, an unknown precision or one that the device lacks, or int8.
    """
    if not isinstance(module, nn.Module):
        raise InvalidInputError(
            "the network",
            required="a torch.nn.Module to be run in another precision",
            got=type(module).__name__,
            remedy="Other classifiers run as they are.",
        )
    where = device_of(module) if device is None else torch.device(device)
    known = [name.value for name in Precision if name is not Precision.int8]
    if precision not in known:
        raise InvalidInputError(
            "precision",
            required=f"one of {', '.join(known)}",
            got=repr(str(precision)),
            remedy="For int8 use noiseproof.classifiers.quantise, which needs images to find the ranges of activations.",
        )
    if precision == Precision.fp16 and where.type == "cpu":
        raise InvalidInputError(
            "precision", required="fp32, bf16 or int8 on a CPU", got="fp16", remedy="CPUs have no fast fp16: use bf16."
        )
    return Accelerated(module, Precision(precision), compiled=compiled, device=where)


def laid_channels_last(module: nn.Module) -> nn.Module:
    """Store every convolution's weights channels-last in memory, with equal values."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def compiled_function(function: Any) -> Any:
    """Compile a function of one batch, with the weights it refers to frozen into the code, per shape of the batch."""
    with quiet():
        compiled = torch.compile(function, dynamic=False)

    def call(batch: Tensor) -> Any:
        with quiet(), _frozen():
            return compiled(batch)  # type: ignore[no-untyped-call]

    return call


_ONE_THREAD = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the internal messages of the compiler and the quantiser.

    These are switches of the whole process: one thread at a time sets and restores them, the others wait.
    """
    with _ONE_THREAD, warnings.catch_warnings():
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)


@contextmanager
def _frozen() -> Iterator[None]:
    """Freezing is a setting of the process: it is on only while our code runs, in one thread, since a change compiles anew.

    All networks share the code that is compiled, so many are allowed for; past that many it is an error, where torch
    would quietly stop compiling.
    """
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    with (
        inductor.patch(freezing=True),
        dynamo.patch(recompile_limit=_COMPILED_AT_MOST, fail_on_recompile_limit_hit=True),
    ):
        yield
