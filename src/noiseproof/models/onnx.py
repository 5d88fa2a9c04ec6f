"""ONNX files, run by onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from noiseproof.classifiers.runners import Runner
from noiseproof.errors import InvalidInputError, MissingExtraError, RunError

__all__ = ["OnnxRunner"]


class OnnxRunner(Runner):
    """A network in an ONNX file: one float32 input of images; the first output is scores or labels.

    It runs on the CPU with as many threads as torch uses. If its batch size is fixed, callers pad batches to it.

    Args:
        path: the file.

    Raises:
        MissingExtraError: the extra `onnx` is not installed.
        RunError: the file is damaged.
        InvalidInputError: the network does not have exactly one input, or it is not float32.
    """

    kind = "numpy"

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", extra="onnx", needed_for=str(path)) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        remedy = "Export it again; a newer onnxruntime may know more operators."
        with RunError.instead_of(Exception, str(path), required="a whole ONNX file", remedy=remedy):
            self._session: Any = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            raise InvalidInputError(
                f"the input of {path.name}",
                required="one float32 tensor of images",
                got=", ".join(f"{found.name}: {found.type}" for found in inputs),
                remedy="Export the network with its images alone, in float32.",
            )
        self._input = inputs[0].name
        self._output = self._session.get_outputs()[0].name
        first = inputs[0].shape[0]
        self.batch_size = first if isinstance(first, int) else None

    def __call__(self, batch: Float[np.ndarray, "batch *shape"]) -> np.ndarray:
        """Run the network on a batch and return its first output."""
        return np.asarray(self._session.run([self._output], {self._input: batch})[0])
