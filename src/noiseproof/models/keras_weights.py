"""Read weights that Keras 2 saved as HDF5 into torch's layout. Nothing in the file is executed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError, MissingExtraError, RunError

__all__ = ["is_hdf5", "read_keras_weights"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class _Layer:
    """A layer with weights of a torch network.

    Attributes:
        name: prefix of its tensors in the state_dict.
        module: the layer.
        channels: output channels of the convolution directly before a dense layer; otherwise 1.
    """

    name: str
    module: nn.Conv2d | nn.Linear
    channels: int


@dataclass(frozen=True)
class _Stored:
    """A layer with weights of a file: the names of its arrays ("kernel", "bias") and HDF5 data sets not yet read."""

    name: str
    arrays: list[tuple[str, Any]]


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, by its suffix or its first bytes, since Keras 2 also writes files without a suffix."""
    named = path.suffix in {".h5", ".hdf5"}
    if named or not path.is_file():
        return named
    try:
        with path.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:  # who reads it says what is wrong
        return False


def read_keras_weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """Read a file of Keras 2 (`model.save` or `save_weights`, HDF5) as the state of a network.

    The k-th layer with weights in the file is the k-th convolution or dense layer of the network, in the order of
    registration; kinds, shapes and biases must agree. Kernels are transposed from (height, width, in, out) to
    (out, in, height, width), those of dense layers from (in, out) to (out, in). The inputs of a dense layer after a
    convolution are reordered from Keras's (height, width, channel) to torch's (channel, height, width), unless by the
    configuration in the file Flatten had channels first.

    The file is not checked for what is between the layers: activations, scale of the pixels and padding must be those of
    the Keras model. With padding "same" Keras puts the odd row or column at the end: with a stride of 2 and an even size,
    `MaxPool2d(3, 2, ceil_mode=True)` is the same function as in Keras, and `MaxPool2d(3, 2, padding=1)` is not.

    Truncated files are detected. Other damage is detected in most cases; a wrong byte in the string heap of HDF5 can make
    its library loop forever.

    Args:
        path: the file.
        network: a network in which only convolutions and dense layers have weights.

    Returns:
        A state_dict for the network with the values of the file; the network itself is not changed.

    Raises:
        InvalidInputError: other layers of the network have weights, or the number of inputs of a dense layer is no
            multiple of the channels before it.
        RunError: the file is missing, damaged, not written by Keras 2, or of another architecture.
        MissingExtraError: the extra `keras` is not installed.
    """
    layers = _layers(network)
    if not path.is_file():
        raise RunError(str(path), required="a file of weights", got="nothing there", remedy="Check the path.")
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", extra="keras", needed_for=str(path)) from error
    required = "a whole HDF5 file of Keras 2"
    remedy = "It is truncated, damaged or of another program: save it again with model.save('net.h5')."
    with RunError.instead_of(Exception, str(path), required=required, remedy=remedy), h5py.File(path, "r") as file:
        found = _find(file, path)  # h5py raises errors of many kinds
        _require_same(found, layers, path)
        return _state(found, layers, reorder=not _is_flat_as_in_torch(file))


def _layers(network: nn.Module) -> list[_Layer]:
    layers: list[_Layer] = []
    channels = 1
    for name, module in network.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, nn.Conv2d):
            layers.append(_Layer(prefix, module, 1))
            channels = module.out_channels
        elif isinstance(module, nn.Linear):
            layers.append(_Layer(prefix, module, channels))
            channels = 1
    known = {f"{layer.name}{key}" for layer in layers for key in ("weight", "bias")}
    others = [name for name in network.state_dict() if name not in known]
    others += [
        f"{layer.name}weight of {layer.module.in_features} inputs behind {layer.channels} channels"
        for layer in layers
        if isinstance(layer.module, nn.Linear) and layer.module.in_features % layer.channels
    ]
    if others or not layers:
        raise InvalidInputError(
            "weights",
            required="of torch for this network: those of Keras load into convolutions and dense layers alone",
            got=f"{others[0]} in the network" if others else "a network without any",
            remedy="Convert them yourself and save safetensors.",
        )
    return layers


def _find(file: Any, path: Path) -> list[_Stored]:
    """Return the layers of the file that have weights, in the order of the model.

    Raises:
        RunError: the layout is not that of Keras 2, the kernels are flipped (Theano), or an array is in another file.
    """
    weights = file.get("model_weights", file)
    if "layer_names" not in weights.attrs:
        raise RunError(
            str(path),
            required="laid out by Keras 2: with the names of its layers",
            got=f"HDF5 with {', '.join(sorted(file)[:5]) or 'nothing in it'}",
            remedy="Save the model with model.save('net.h5').",
        )
    if _text(weights.attrs.get("backend", "")) == "theano":
        raise RunError(
            str(path),
            required="computed by TensorFlow or CNTK",
            got="a file of Theano, which flips the kernels of convolutions",
            remedy="Load and save it in Keras with another backend.",
        )
    layers = []
    for layer in map(_text, weights.attrs["layer_names"]):
        names = [_text(name) for name in weights[layer].attrs["weight_names"]]
        arrays = [(name.rpartition("/")[2].partition(":")[0], weights[layer][name]) for name in names]
        if any(array.file != file or array.external or array.is_virtual for _, array in arrays):
            raise RunError(
                str(path),
                required="whole in itself",
                got=f"{layer} with arrays in another file",
                remedy="If you trust it, copy them into one file.",
            )
        if arrays:
            layers.append(_Stored(layer, arrays))
    return layers


def _require_same(found: list[_Stored], layers: list[_Layer], path: Path) -> None:
    """Raise RunError unless the file's layers are those of the network; shapes are compared before any array is read."""
    remedy = "The file belongs to another architecture."
    for number, (layer, stored) in enumerate(zip(layers, found, strict=False), 1):
        axes = (2, 3, 1, 0) if isinstance(layer.module, nn.Conv2d) else (1, 0)
        expected = [("kernel", tuple(layer.module.weight.shape[axis] for axis in axes), "f")]
        if layer.module.bias is not None:
            expected.append(("bias", tuple(layer.module.bias.shape), "f"))
        got = [(name, array.shape, array.dtype.kind) for name, array in stored.arrays]
        if got != expected:
            raise RunError(
                str(path),
                required=f"the weights of this network: layer {number} has {_described(expected)}",
                got=f"{stored.name} with {_described(got)}",
                remedy=remedy,
            )
    if len(found) != len(layers):
        raise RunError(
            str(path),
            required=f"of {len(layers)} layers with weights, as the network is",
            got=f"{len(found)}: {', '.join(stored.name for stored in found)}",
            remedy=remedy,
        )


def _described(arrays: list[tuple[str, tuple[int, ...], str]]) -> str:
    return " and ".join(f"{name} {shape}{'' if kind == 'f' else ' of no floats'}" for name, shape, kind in arrays)


def _state(found: list[_Stored], layers: list[_Layer], *, reorder: bool) -> dict[str, Tensor]:
    """Return the arrays with the names and the layout of torch."""
    state: dict[str, Tensor] = {}
    for stored, layer in zip(found, layers, strict=True):
        for name, array in stored.arrays:
            value = np.asarray(array[()], dtype=np.float32)
            if value.ndim == 4:
                value = value.transpose(3, 2, 0, 1)
            elif value.ndim == 2:
                if reorder:  # (height * width, channel) to (channel, height * width)
                    value = value.reshape(-1, layer.channels, value.shape[1]).swapaxes(0, 1).reshape(value.shape)
                value = value.T
            key = layer.name + {"kernel": "weight", "bias": "bias"}[name]
            state[key] = torch.from_numpy(np.ascontiguousarray(value))
    return state


def _is_flat_as_in_torch(file: Any) -> bool:
    """Whether Flatten kept the order (channel, height, width): the convolutions are "channels_first", Flatten is not."""
    config = json.loads(_text(file.attrs.get("model_config", "{}"))).get("config", [])
    layers = config.get("layers", []) if isinstance(config, dict) else config
    formats = {layer["class_name"]: layer["config"].get("data_format") for layer in layers}
    return formats.get("Conv2D") == "channels_first" and formats.get("Flatten") != "channels_first"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
