"""Weights of Keras 2: against Keras's arithmetic in NumPy, in Keras's own layouts, and files that must be refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy import stats
from torch import Tensor, nn

import noiseproof as npf
from command_line import figures
from noiseproof import data, models
from noiseproof.models import load
from noiseproof.models.keras_weights import is_hdf5, read_keras_weights
from noiseproof.runs.records import Record

h5py = pytest.importorskip("h5py")

# Files as Keras 2 writes them: a layer is its name and its arrays, in the order of the model.

Layers = list[tuple[str, dict[str, np.ndarray]]]


def kernel_and_bias(rng: np.random.Generator, *shape: int) -> dict[str, np.ndarray]:
    """Values at which a signal neither dies nor explodes, and biases that are seen."""
    kernel = rng.normal(0.0, np.sqrt(2.0 / np.prod(shape[:-1])), shape).astype(np.float32)
    return {"kernel": kernel, "bias": rng.normal(0.0, 0.3, shape[-1:]).astype(np.float32)}


def write(path: Path, layers: Layers, *, config: object = None, whole: bool = True, **about: str) -> Path:
    """As `model.save` does, or `save_weights` (not whole)."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        root.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for key, value in ({"backend": "tensorflow", "keras_version": "2.2.4"} | about).items():
            root.attrs[key] = value.encode()
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
        for name, arrays in layers:
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in arrays]
            for key, value in arrays.items():
                group[f"{name}/{key}:0"] = value
    return path


# Keras's arithmetic: (batch, height, width, channel), 'same' with the odd row and column behind.


def windows(images: np.ndarray, size: int, stride: int, padding: str, fill: float) -> np.ndarray:
    """(batch, out height, out width, channel, size, size)."""
    if padding == "same":
        pads = [(0, 0)]
        for length in images.shape[1:3]:
            total = max((-(-length // stride) - 1) * stride + size - length, 0)
            pads.append((total // 2, total - total // 2))
        images = np.pad(images, [*pads, (0, 0)], constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))[:, ::stride, ::stride]


def conv(images: np.ndarray, layer: dict[str, np.ndarray], padding: str) -> np.ndarray:
    seen = windows(images, layer["kernel"].shape[0], 1, padding, 0.0)
    return np.tensordot(seen, layer["kernel"].astype(float), axes=((4, 5, 3), (0, 1, 2))) + layer["bias"]


def max_pool(images: np.ndarray, size: int, stride: int, padding: str) -> np.ndarray:
    return windows(images, size, stride, padding, -np.inf).max(axis=(4, 5))


def elu(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0.0, values, np.expm1(np.minimum(values, 0.0)))


def dense(values: np.ndarray, layer: dict[str, np.ndarray]) -> np.ndarray:
    return values @ layer["kernel"].astype(float) + layer["bias"]


def channels_last(images: Tensor) -> np.ndarray:
    return images.double().permute(0, 2, 3, 1).numpy()


def logits_of(network: nn.Module, images: Tensor) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(network.eval()(images))


def test_the_oracle_pads_as_tensorflow_does() -> None:
    """Of 8 columns pooled 3/2 the windows begin at 0, 2, 4 and 6, and the last one looks over the edge."""
    row = np.broadcast_to(np.arange(8.0)[:, None], (1, 8, 8, 1))
    assert max_pool(row, 3, 2, "same")[0, 0, :, 0].tolist() == [2.0, 4.0, 6.0, 7.0]
    assert max_pool(row, 3, 2, "valid")[0, 0, :, 0].tolist() == [2.0, 4.0, 6.0]
    odd = np.broadcast_to(np.arange(5.0)[:, None], (1, 5, 5, 1))
    assert max_pool(odd, 3, 2, "same")[0, 0, :, 0].tolist() == [1.0, 3.0, 4.0]


# What loads


def paper_cifar_layers() -> Layers:
    """Of the paper's CIFAR-10 network with random weights; layers without any are in the file too."""
    rng = np.random.default_rng(5)
    shapes = [(5, 5, 3, 96), (1, 1, 96, 96), (5, 5, 96, 192), (1, 1, 192, 192), (3, 3, 192, 256)]
    shapes += [(1, 1, 256, 256), (1, 1, 256, 10)]
    layers: Layers = []
    for number, shape in enumerate(shapes, 1):
        layers += [(f"conv2d_{number}", kernel_and_bias(rng, *shape)), (f"activation_{number}", {})]
        if number in {2, 4}:
            layers += [(f"max_pooling2d_{number // 2}", {}), (f"dropout_{number // 2}", {})]
    return [*layers[:-1], ("global_average_pooling2d_1", {})]


def test_the_papers_cifar_network_computes_what_keras_does(tmp_path: Path) -> None:
    layers = paper_cifar_layers()
    file = write(tmp_path / "model_cifar10", layers)  # no ending, as it was released
    loaded = load("noiseproof.models:PaperCIFAR", file)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    values = channels_last(images)
    for name, arrays in layers:
        if name.startswith("conv2d"):
            values = conv(values, arrays, "same")
        elif name.startswith("activation"):
            values = elu(values)
        elif name.startswith("max_pooling2d"):
            values = max_pool(values, 3, 2, "same")
    expected = values.mean(axis=(1, 2))
    np.testing.assert_allclose(logits_of(loaded.classifier, images), expected, rtol=1e-4, atol=1e-4)
    assert loaded.about["digest"] == models.model_digest(loaded.classifier)


class Flattening(nn.Sequential):
    """Two convolutions, unpadded, on pictures that are no squares; 24 inputs of 4 channels to a dense layer."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__(
            nn.Conv2d(2, 3, 3, bias=bias),
            nn.ELU(),
            nn.Conv2d(3, 4, 2),
            nn.Flatten(),
            nn.Linear(24, 5),
            nn.ELU(),
            nn.Linear(5, 3),
        )


def flattening_layers(*, bias: bool = True) -> Layers:
    rng = np.random.default_rng(6)
    layers = [
        ("conv2d_1", kernel_and_bias(rng, 3, 3, 2, 3)),
        ("conv2d_2", kernel_and_bias(rng, 2, 2, 3, 4)),
        ("flatten_1", {}),
        ("dense_1", kernel_and_bias(rng, 24, 5)),
        ("dense_2", kernel_and_bias(rng, 5, 3)),
    ]
    if not bias:
        del layers[0][1]["bias"]
    return layers


def by_hand(layers: Layers, images: Tensor, *, flat: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The same network in Keras's layouts; `flat` is its Flatten."""
    arrays = {name: {"bias": np.zeros(3), **found} for name, found in layers}
    hidden = conv(elu(conv(channels_last(images), arrays["conv2d_1"], "valid")), arrays["conv2d_2"], "valid")
    return dense(elu(dense(flat(hidden), arrays["dense_1"])), arrays["dense_2"])


def as_it_lies(hidden: np.ndarray) -> np.ndarray:
    return hidden.reshape(len(hidden), -1)


def channels_first(hidden: np.ndarray) -> np.ndarray:
    return hidden.transpose(0, 3, 1, 2).reshape(len(hidden), -1)


def configured(convolution: str, flatten: str | None, *, listed: bool = False) -> object:
    """A model's configuration; Keras before 2.2.3 wrote the layers as a list, and Flatten without a format at first."""
    told = {"name": "flatten_1"} if flatten is None else {"name": "flatten_1", "data_format": flatten}
    layers = [
        {"class_name": "Conv2D", "config": {"name": "conv2d_1", "data_format": convolution}},
        {"class_name": "Flatten", "config": told},
        {"class_name": "Dense", "config": {"name": "dense_1"}},
    ]
    return {"class_name": "Sequential", "config": layers if listed else {"name": "sequential_1", "layers": layers}}


@pytest.mark.parametrize(
    ("config", "flat"),
    [
        (None, as_it_lies),
        (configured("channels_last", "channels_last"), as_it_lies),
        (configured("channels_first", "channels_first"), as_it_lies),  # Flatten brings them last
        (configured("channels_last", None), as_it_lies),
        (configured("channels_first", "channels_last"), channels_first),
        (configured("channels_first", None, listed=True), channels_first),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_flattened_pictures(
    config: object, flat: Callable[[np.ndarray], np.ndarray], whole: bool, tmp_path: Path
) -> None:
    images = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(2))
    network = Flattening()
    file = write(tmp_path / "net.h5", flattening_layers(), config=config, whole=whole)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = read_keras_weights(file, network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert list(state) == list(network.state_dict())
    network.load_state_dict(state)
    expected = by_hand(flattening_layers(), images, flat=flat)
    np.testing.assert_allclose(logits_of(network, images), expected, rtol=1e-5, atol=1e-5)


def test_the_papers_mnist_network_computes_what_keras_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    shapes = {
        "conv2d_1": (5, 5, 1, 64),
        "conv2d_2": (5, 5, 64, 64),
        "dense_1": (64 * 20 * 20, 128),
        "dense_2": (128, 10),
    }
    layers: Layers = [(name, kernel_and_bias(rng, *shape)) for name, shape in shapes.items()]
    loaded = load("noiseproof.models:PaperMNIST", write(tmp_path / "net.hdf5", layers))
    images = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    values, arrays = channels_last(images), dict(layers)
    for name in ("conv2d_1", "conv2d_2"):
        values = np.maximum(conv(values, arrays[name], "valid"), 0.0)
    expected = dense(np.maximum(dense(as_it_lies(values), arrays["dense_1"]), 0.0), arrays["dense_2"])
    np.testing.assert_allclose(logits_of(loaded.classifier, images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["float16", ">f4", "float64"])
def test_other_floats_and_a_layer_without_bias(kind: str, tmp_path: Path) -> None:
    layers: Layers = [
        (name, {key: value.astype(kind) for key, value in arrays.items()})
        for name, arrays in flattening_layers(bias=False)
    ]
    network = Flattening(bias=False)
    network.load_state_dict(read_keras_weights(write(tmp_path / "net.h5", layers), network))
    images = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(2))
    expected = by_hand(layers, images, flat=as_it_lies)
    np.testing.assert_allclose(logits_of(network, images), expected, rtol=1e-5, atol=1e-5)


def test_names_as_text_and_without_numbers(tmp_path: Path) -> None:
    """As later versions write them: str for bytes, the model in the name, no `:0`."""
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["layer_names"] = ["dense"]
        file.create_group("dense").attrs["weight_names"] = ["sequential/dense/kernel", "sequential/dense/bias"]
        file["dense/sequential/dense/kernel"] = np.arange(6.0).reshape(2, 3)
        file["dense/sequential/dense/bias"] = np.ones(3)
    state = read_keras_weights(tmp_path / "net.h5", nn.Linear(2, 3))
    assert state["weight"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert state["bias"].tolist() == [1.0, 1.0, 1.0]


# What is refused


def without(layers: Layers, name: str) -> Layers:
    return [(layer, arrays) for layer, arrays in layers if layer != name]


def changed(layers: Layers, name: str, **arrays: np.ndarray | None) -> Layers:
    """With arrays of one layer replaced, added or left out (None)."""
    return [
        (layer, {k: v for k, v in (found | arrays).items() if v is not None} if layer == name else found)
        for layer, found in layers
    ]


GOOD = flattening_layers()
BATCH_NORM = {"gamma": np.ones(3), "beta": np.ones(3), "moving_mean": np.ones(3), "moving_variance": np.ones(3)}


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            changed(GOOD, "conv2d_2", kernel=np.zeros((3, 3, 3, 4))),
            "layer 2 has kernel (2, 2, 3, 4) and bias (4,); got conv2d_2 with kernel (3, 3, 3, 4) and bias (4,). The file",
        ),
        (
            changed(GOOD, "dense_2", kernel=np.zeros((3, 5))),
            "layer 4 has kernel (5, 3) and bias (3,); got dense_2 with kernel (3, 5)",
        ),
        (changed(GOOD, "dense_1", bias=np.zeros(6)), "got dense_1 with kernel (24, 5) and bias (6,)"),
        (
            changed(GOOD, "dense_1", bias=None),
            "layer 3 has kernel (24, 5) and bias (5,); got dense_1 with kernel (24, 5).",
        ),
        (changed(GOOD, "dense_1", bias=np.zeros(5, int)), "bias (5,) of no floats"),
        (changed(GOOD, "dense_1", kernel=np.zeros((24, 5), "S4")), "kernel (24, 5) of no floats"),
        (changed(GOOD, "conv2d_1", depthwise_kernel=np.zeros((3, 3, 2, 1))), "and depthwise_kernel (3, 3, 2, 1)"),
        ([GOOD[1], GOOD[0], *GOOD[2:]], "layer 1 has kernel (3, 3, 2, 3) and bias (3,); got conv2d_2 with"),
        (without(GOOD, "conv2d_2"), "layer 2 has kernel (2, 2, 3, 4) and bias (4,); got dense_1 with"),
        (without(GOOD, "dense_2"), "of 4 layers with weights, as the network is; got 3: conv2d_1, conv2d_2, dense_1"),
        ([*GOOD, ("dense_3", GOOD[-1][1])], "of 4 layers with weights, as the network is; got 5: conv2d_1, conv2d_2,"),
        ([GOOD[0], ("batch_normalization_1", BATCH_NORM), *GOOD[1:]], "got batch_normalization_1 with gamma (3,) and"),
        ([], "of 4 layers with weights, as the network is; got 0"),
    ],
)
def test_another_architecture(layers: Layers, said: str, tmp_path: Path) -> None:
    with pytest.raises(npf.RunError) as caught:
        read_keras_weights(write(tmp_path / "net.h5", layers), Flattening())
    assert said in str(caught.value)
    assert str(tmp_path / "net.h5") in str(caught.value)


def refused(path: Path, said: str) -> None:
    with pytest.raises(npf.RunError) as caught:
        read_keras_weights(path, Flattening())
    assert said in str(caught.value)


def test_files_that_are_broken_or_no_keras(tmp_path: Path) -> None:
    file = write(tmp_path / "net.h5", GOOD)
    whole = file.read_bytes()
    for left in (0, 8, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:left])
        refused(file, "net.h5 must be a whole HDF5 file of Keras 2; got OSError")
    file.write_bytes(b"<html>404</html>")
    refused(file, "truncated, damaged or of another program: save it again with model.save('net.h5')")
    refused(tmp_path / "none.h5", "none.h5 must be a file of weights; got nothing there. Check the path.")
    refused(tmp_path, "must be a file of weights")
    with h5py.File(file, "w") as other:
        other["layers/dense/vars/0"] = np.zeros((24, 5))  # as Keras 3 does
    refused(file, "laid out by Keras 2: with the names of its layers; got HDF5 with layers.")
    write(file, GOOD, backend="theano")
    refused(file, "a file of Theano, which flips the kernels")
    write(file, GOOD)
    with h5py.File(file, "a") as other:
        del other["model_weights/dense_1/dense_1/bias:0"]
    refused(file, "must be a whole HDF5 file of Keras 2; got KeyError")
    write(file, GOOD)
    with h5py.File(file, "a") as other:
        del other["model_weights/dense_1"].attrs["weight_names"]
    refused(file, "must be a whole HDF5 file of Keras 2; got KeyError")
    write(file, GOOD)
    with h5py.File(file, "a") as other:
        other.attrs["model_config"] = "{" * 9
    refused(file, "must be a whole HDF5 file of Keras 2; got JSONDecodeError")


@pytest.mark.parametrize("way", ["link", "storage", "virtual"])
def test_arrays_of_other_files_are_not_read(way: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as other:
        other["bias"] = np.ones(5, np.float32)
    file = write(tmp_path / "net.h5", GOOD)
    with h5py.File(file, "a") as changing:
        group = changing["model_weights/dense_1/dense_1"]
        del group["bias:0"]
        if way == "link":
            group["bias:0"] = h5py.ExternalLink(str(secret), "bias")
        elif way == "storage":
            group.create_dataset("bias:0", (5,), "f4", external=[(str(secret), 0, 20)])
        else:
            layout = h5py.VirtualLayout((5,), "f4")
            layout[:] = h5py.VirtualSource(str(secret), "bias", (5,), "f4")
            group.create_virtual_dataset("bias:0", layout)
    refused(file, "must be whole in itself; got dense_1 with arrays in another file")


def test_what_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    file = write(tmp_path / "net.h5", GOOD)
    with h5py.File(file, "a") as changing:
        group = changing["model_weights/dense_1/dense_1"]
        del group["kernel:0"]
        group.create_dataset("kernel:0", (2**40, 2**10), "f4", chunks=(2**10, 2**10))
    refused(file, "got dense_1 with kernel (1099511627776, 1024)")


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), "got 1.weight in the network"),
        (nn.Sequential(nn.ReLU()), "got a network without any"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(10, 2)), "1.weight of 10 inputs behind 4 channels in the network"),
    ],
)
def test_networks_with_other_weights(network: nn.Module, said: str, tmp_path: Path) -> None:
    with pytest.raises(npf.InvalidInputError, match="weights must be of torch for this network") as caught:
        read_keras_weights(write(tmp_path / "net.h5", GOOD), network)
    assert said in str(caught.value)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "net.h5", GOOD)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(npf.MissingExtraError, match=r"h5py must be installed for .*net\.h5.*noiseproof\[keras\]"):
        read_keras_weights(file, Flattening())


def test_what_is_hdf5(tmp_path: Path) -> None:
    assert is_hdf5(write(tmp_path / "model", GOOD))
    (tmp_path / "net.pt").write_bytes(b"PK\x03\x04")
    os.mkfifo(tmp_path / "pipe")
    for name in ("net.pt", "none", ".", "pipe"):
        assert not is_hdf5(tmp_path / name)
    assert is_hdf5(tmp_path / "none.h5")


# What a user does


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_keras.py").write_text(
        "from torch import nn\n\n\ndef network():\n    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))\n"
    )
    rng = np.random.default_rng(9)
    images = rng.random((30, 1, 4, 4), dtype=np.float32)
    layer = kernel_and_bias(rng, 16, 3)
    labels = dense(images.reshape(30, 16), layer).argmax(1)
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    write(tmp_path / "net.h5", [("dense_1", layer)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    converted = {"1.weight": torch.tensor(layer["kernel"]).T.contiguous(), "1.bias": torch.tensor(layer["bias"])}
    safetensors.torch.save_file(converted, tmp_path / "net.safetensors")
    common = [
        "--model",
        "of_keras:network",
        "--data",
        "mine.npz",
        "--classes",
        "3",
        "--sigma",
        "0.05",
        "--samples",
        "200",
    ]
    for weights in ("net.h5", "net.safetensors"):
        figures("certify", weights.partition(".")[2], "--weights", weights, *common)
    of_keras, of_torch = (Record.open(tmp_path / name) for name in ("h5", "safetensors"))
    np.testing.assert_array_equal(of_keras.read().votes, of_torch.read().votes)
    assert np.mean(of_keras.read().votes.argmax(1) == labels) > 0.9


# The network that the paper's authors released: 81.6 % of the first 4000 test images


@pytest.mark.slow
def test_the_released_network(data_dir: Path, tmp_path: Path) -> None:
    folder = os.environ.get("NOISEPROOF_WEIGHTS")
    if folder is None or not (file := Path(folder) / "stn-code" / "model_cifar10").is_file():
        pytest.skip("no stn-code/model_cifar10 in NOISEPROOF_WEIGHTS")
    script = data_dir / "unpack_cifar10"
    if script.is_file():  # kept packed
        subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
        data_dir = tmp_path
    dataset = data.load("cifar10", "test", data_dir=data_dir, allow_unverified=True)
    network = load("noiseproof.models:PaperCIFAR", file).classifier
    images = torch.as_tensor(dataset.read(range(512)))
    found = np.concatenate([logits_of(network, part).argmax(1) for part in images.split(64)])
    right = int(np.sum(found == np.asarray(dataset.labels)[:512]))
    least, most = stats.binom.interval(0.999, 512, 0.816)
    assert least <= right <= most
