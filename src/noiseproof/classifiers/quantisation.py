"""Static int8: weights and activations in 8 bits, with scales found on noisy images before any vote is counted."""

import copy
import hashlib
import importlib.util
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.classifiers.precision import (
    Precision,
    compiled_function,
    laid_channels_last,
    multiplies_bfloat16,
    quiet,
)
from noiseproof.classifiers.runners import Runner
from noiseproof.errors import ClassifierError, InvalidInputError, MissingExtraError

__all__ = ["Quantised", "can_quantise", "quantise"]


class Quantised(Runner):
    """A network in int8, compiled for one batch size; made by `quantise`.

    Attributes:
        between: the precision between the int8 layers. Where the processor has no bfloat16, integer layers that return
            it run in reference code, at minutes a batch.
    """

    precision = Precision.int8
    compiled = True

    def __init__(self, module: nn.Module, converted: Any, batch_size: int) -> None:
        self.module: nn.Module = module
        self.batch_size = batch_size
        self.channels_last = True
        self.digest = _scales_digest(converted)
        self.between = Precision.bf16 if multiplies_bfloat16(torch.device("cpu")) else Precision.fp32
        in_bfloat16 = self.between is Precision.bf16

        def forward(batch: Tensor) -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
                return converted(batch)

        self._function = compiled_function(forward)

    def __call__(self, batch: Float[Tensor, "batch *shape"]) -> Any:
        """Return what the network returns, scores in float32."""
        output = self._function(batch)
        return output.float() if isinstance(output, Tensor) and output.is_floating_point() else output

    def settings(self) -> dict[str, Any]:
        """Return what decides the function, as plain data for a record; the digest is that of scales and zero points."""
        made = {"device": "cpu", "precision": self.precision.value, "compile": True, "quantisation": self.digest}
        return made if self.between is Precision.bf16 else made | {"between": self.between.value}


def can_quantise(device: torch.device) -> bool:
    """Whether int8 is available: on a CPU, with the extra `int8` installed."""
    return device.type == "cpu" and importlib.util.find_spec("torchao") is not None


def quantise(module: nn.Module, noisy_images: Float[Tensor, "images *shape"], *, batch_size: int) -> Quantised:
    """Return a network as a backend in static int8: give it to `SmoothedClassifier` in place of the module.

    torch.export traces the network, torchao's X86 quantiser puts observers in, `noisy_images` set the scales (activations
    8 bits unsigned with one scale a tensor, weights 8 bits signed with one a channel), and the compiler fuses the
    integer kernels. Between integer layers it computes in bfloat16, or in float32 where the processor has no bfloat16;
    without VNNI instructions activations have 7 bits, so that sums of two products fit into 16. Scales are fixed from then
    on: a row's output does not depend on its batch.

    Args:
        module: the network, on the CPU.
        noisy_images: (images, *shape) float32, at least one batch: training images with the noise of the run added,
            never the noise of the votes.
        batch_size: the only batch size that the result accepts.

    Raises:
        InvalidInputError: the network is not on the CPU, or fewer images than a batch.
        MissingExtraError: the extra `int8` is not installed.
    """
    if importlib.util.find_spec("torchao") is None:
        raise MissingExtraError("torchao", extra="int8", needed_for="int8")
    if any(tensor.device.type != "cpu" for tensor in module.state_dict().values()):
        raise InvalidInputError(
            "the device of int8", required="cpu", got="another", remedy="On a GPU use bf16 or fp16 instead."
        )
    if len(noisy_images) < batch_size:
        raise InvalidInputError(
            "noisy_images", required=f"at least one batch of {batch_size}", got=len(noisy_images), remedy="Pass more."
        )
    with quiet(), torch.no_grad():
        from torchao.quantization.pt2e import move_exported_model_to_eval
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        network = laid_channels_last(copy.deepcopy(module)).eval()
        batches = [
            batch.contiguous(memory_format=torch.channels_last) if batch.ndim == 4 else batch
            for batch in torch.split(noisy_images, batch_size)
            if len(batch) == batch_size
        ]
        try:
            exported = torch.export.export(network, (batches[0],)).module()
        except Exception as error:
            raise ClassifierError(
                "the network",
                required="traceable by torch.export for int8",
                got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
                remedy="Run it in bf16, or rewrite what depends on the values of tensors.",
            ) from error
        quantiser = x86.X86InductorQuantizer()
        quantiser.set_global(x86.get_default_x86_inductor_quantization_config(reduce_range=not _has_vnni()))
        prepared = prepare_pt2e(exported, quantiser)
        for batch in batches:
            prepared(batch)
        converted = convert_pt2e(prepared)
        move_exported_model_to_eval(converted)
    return Quantised(network, converted, batch_size)


def _has_vnni() -> bool:
    """Whether products of 8 bits are summed in 32 at once; otherwise pairs of them are summed in 16, which may saturate."""
    return bool(torch.cpu._is_vnni_supported())  # noqa: SLF001 - torch 2.5 has no other name


def _scales_digest(converted: Any) -> str:
    """SHA-256 of every scale, zero point and range in the graph, and of the quantised weights."""
    parts = hashlib.sha256()
    for node in converted.graph.nodes:
        if "quantize" in str(node.target):
            constants = [argument for argument in node.args if isinstance(argument, int | float)]
            parts.update(f"{node.target} {constants!r}\n".encode())
    for name, tensor in sorted(converted.state_dict().items()):
        parts.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        parts.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return parts.hexdigest()
