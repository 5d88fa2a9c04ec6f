"""Classifiers of others, by name: a factory in Python code, an ONNX file, a torch.export program, a run folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from noiseproof.classifiers.runners import Runner
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models.checkpoint import load_state, model_digest
from noiseproof.models.estimator import EstimatorRunner
from noiseproof.models.exported import ExportedRunner
from noiseproof.models.factory import build_from, source_digest
from noiseproof.models.keras_weights import is_hdf5, read_keras_weights
from noiseproof.models.onnx import OnnxRunner
from noiseproof.models.weights import file_digest, read_weights

__all__ = ["LoadedModel", "load_model"]


@dataclass(frozen=True)
class LoadedModel:
    """A classifier and what a record says of it.

    Attributes:
        classifier: what `SmoothedClassifier` accepts: a torch module, a runner or a function.
        about: name and digests, as plain data; two classifiers with equal ones are the same.
    """

    classifier: Any
    about: dict[str, Any] = field(default_factory=dict)


def load_model(spec: str, weights: Path | None = None) -> LoadedModel:
    """Load the classifier that a text names.

    `package.module:name` imports that module (the working directory is searched first) and calls `name`, which returns
    a torch module, a scikit-learn estimator or a function; a module or estimator that stands there is taken as it is.
    This runs the code you name. `file.pt2` is a program saved by `torch.export.save`: trust it as you trust code.
    `file.onnx` is run by onnxruntime (extra `onnx`) and brings none.

    Args:
        spec: what to load.
        weights: for a torch module from a factory: .safetensors, a .pt / .pth that holds nothing but tensors, or HDF5
            of Keras 2 (extra `keras`).

    Raises:
        InvalidInputError: the text is none of these, the code does not give a classifier, or weights are given for
            something that brings its own.
        RunError: a file is missing, damaged or unsafe, or holds the weights of another architecture.
        MissingExtraError: onnxruntime or h5py is not installed.
    """
    readers: dict[str, Callable[[Path], Runner]] = {".onnx": OnnxRunner, ".pt2": ExportedRunner}
    path = Path(spec)
    if path.suffix in readers:
        if weights is not None:
            raise InvalidInputError(
                "--weights", required=f"left out: {path.name} holds its own", got=weights, remedy="Leave it out."
            )
        if not path.is_file():
            raise RunError(str(path), required="a file", got="nothing there", remedy="Check the path.")
        return LoadedModel(readers[path.suffix](path), {"name": path.name, "digest": file_digest(path)})
    if ":" not in spec:
        raise InvalidInputError(
            "--model",
            required="zoo:NAME, package.module:factory, or a file that ends in .safetensors, .onnx or .pt2",
            got=repr(spec),
            remedy="A factory is a function without arguments that returns the classifier.",
        )
    return _from_factory(spec, weights)


def _from_factory(spec: str, weights: Path | None) -> LoadedModel:
    found = build_from(spec)
    about = {"name": spec, "source": source_digest(spec)}
    if isinstance(found, nn.Module):
        if weights is not None:
            tensors = read_keras_weights(weights, found) if is_hdf5(weights) else read_weights(weights)
            load_state(found, tensors, what=str(weights), architecture=spec)
        return LoadedModel(found, about | {"digest": model_digest(found)})
    if weights is not None:
        raise InvalidInputError(
            "--weights",
            required="for a torch module",
            got=f"{spec} gives {type(found).__name__}",
            remedy="Leave it out.",
        )
    if hasattr(found, "predict"):
        runner = EstimatorRunner(found)
        return LoadedModel(runner, about | {"digest": runner.digest()})
    if not callable(found):
        raise InvalidInputError(
            spec,
            required="a function that returns a torch module, a scikit-learn estimator or a function of a batch",
            got=type(found).__name__,
            remedy="Return one of these.",
        )
    return LoadedModel(found, about | {"digest": None})
