"""Load classifiers by name: the zoo, checkpoints, run folders, ONNX files, torch.export programs, Python code."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from noiseproof.classifiers.runners import Runner
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models.checkpoint import CHECKPOINT, load_checkpoint, load_state, model_digest
from noiseproof.models.estimator import EstimatorRunner
from noiseproof.models.exported import ExportedRunner
from noiseproof.models.factory import build_from, source_digest
from noiseproof.models.keras_weights import is_hdf5, read_keras_weights
from noiseproof.models.loaded import LoadedModel
from noiseproof.models.onnx import OnnxRunner
from noiseproof.models.registry import MODELS
from noiseproof.models.weights import file_digest, read_weights
from noiseproof.models.zoo import fetch
from noiseproof.noises import Noise
from noiseproof.noises.registry import NOISES

__all__ = ["find_checkpoint", "load"]

_ZOO = "zoo:"


def load(name: str | PathLike[str], weights: Path | None = None, *, folder: Path | None = None) -> LoadedModel:
    """Load a classifier by name, as the option `--model` of the command line does.

    `zoo:NAME` is a network of the zoo; `file.safetensors` or a run folder is one that noiseproof trained. Their files
    state the noise and the number of classes. `file.onnx` is run by onnxruntime (extra `onnx`) and contains no code.
    `file.pt2` is a program saved by `torch.export.save`: trust it as you trust code. `package.module:name` imports the
    module (the working directory is searched first) and calls `name`, which returns a torch module, a scikit-learn
    estimator or a function; if `name` is a torch module or an estimator itself, it is used. This executes the module.

    Args:
        name: one of these forms.
        weights: file for a torch module from a factory: .safetensors, a .pt / .pth that contains tensors only, or HDF5
            of Keras 2 (extra `keras`).
        folder: the folder that is searched first for the module of a factory; None: the working directory.

    Raises:
        InvalidInputError: the name has none of these forms, the code does not return a classifier, or weights are given
            for a classifier that has its own.
        RunError: a file is missing, damaged or unsafe, or contains the weights of another architecture.
        MissingExtraError: onnxruntime or h5py is not installed.

    Example:
        >>> load("noiseproof.models:DigitsCNN")
        LoadedModel('noiseproof.models:DigitsCNN', DigitsCNN)
    """
    readers: dict[str, Callable[[Path], Runner]] = {".onnx": OnnxRunner, ".pt2": ExportedRunner}
    spec, path = str(name), Path(name)
    checkpoint = find_checkpoint(name)
    if weights is not None and (checkpoint or path.suffix in readers):
        raise InvalidInputError(
            "weights", required=f"left out: {spec} holds its own", got=weights, remedy="Leave it out."
        )
    if checkpoint is not None:
        return _from_checkpoint(checkpoint, spec if spec.startswith(_ZOO) else None)
    if path.suffix in readers:
        if not path.is_file():
            raise RunError(str(path), required="a file", got="nothing there", remedy="Check the path.")
        return LoadedModel(readers[path.suffix](path), {"name": path.name, "digest": file_digest(path)})
    if ":" not in spec:
        raise InvalidInputError(
            "model",
            required="zoo:NAME, a run folder, package.module:factory, or a file that ends in .safetensors, .onnx or .pt2",
            got=repr(spec),
            remedy=_what_to_name(spec),
        )
    return _from_factory(spec, weights, folder)


def _what_to_name(spec: str) -> str:
    """Return the remedy for a name that is no model."""
    if spec not in MODELS:
        return "A factory is a function without arguments that returns the classifier."
    factory = MODELS[spec].__name__
    return f'This is an architecture without weights: model="noiseproof.models:{factory}", and weights= of a file.'


def find_checkpoint(name: str | PathLike[str]) -> Path | None:
    """Return the checkpoint file for zoo:NAME, a run folder or a .safetensors file; None for names of other forms.

    Raises:
        InvalidInputError: there is no such network in the zoo.
        RunError: the file of the zoo cannot be found or downloaded, or is damaged.
    """
    if isinstance(name, str) and name.startswith(_ZOO):
        return fetch(name.removeprefix(_ZOO))
    path = Path(name)
    if path.is_dir():
        return path / CHECKPOINT
    return path if path.suffix == ".safetensors" else None


def _from_checkpoint(path: Path, name: str | None) -> LoadedModel:
    found = load_checkpoint(path)
    about = {"name": name or found.model_name, "digest": model_digest(found.model)}
    classes = _inside(found.record, "made", "data", "num_classes")
    return LoadedModel(
        found.model, about, _noise(found.record), classes if isinstance(classes, int) else None, found.record
    )


def _noise(record: Mapping[str, Any]) -> Noise | None:
    """Return the noise in the record of a checkpoint; None if there is none or, in foreign files, no valid one."""
    spec = _inside(record, "settings", "noise")
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        return None
    scales = [value for key, value in spec.items() if key != "name"]
    described = len(scales) == 1 and isinstance(scales[0], int | float)
    return NOISES.from_spec(spec) if described else None


def _inside(record: Mapping[str, Any], *keys: str) -> Any:
    found: Any = record
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _from_factory(spec: str, weights: Path | None, folder: Path | None) -> LoadedModel:
    found = build_from(spec, folder)
    about = {"name": spec, "source": source_digest(spec)}
    if isinstance(found, nn.Module):
        if weights is not None:
            tensors = read_keras_weights(weights, found) if is_hdf5(weights) else read_weights(weights)
            load_state(found, tensors, what=str(weights), architecture=spec)
        return LoadedModel(found, about | {"digest": model_digest(found)})
    if weights is not None:
        raise InvalidInputError(
            "weights",
            required=f"left out: {spec} gives {type(found).__name__}, and they are for a torch module",
            got=weights,
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
