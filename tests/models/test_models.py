"""The networks: layer by layer those of their papers, under the names of published weights, and alike however they run."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import noiseproof as npf
from noiseproof import data, models
from noiseproof.models import (
    CIFAR10,
    IMAGENET,
    CIFARResNet,
    Normalise,
    load,
    load_checkpoint,
    model_digest,
    save_checkpoint,
    with_normalisation,
)
from noiseproof.noises import Gaussian

# name: shape of an image, parameters
NETWORKS = {
    "digits-cnn": ((1, 8, 8), 38_282),
    "paper-mnist": ((1, 28, 28), 3_382_346),
    "paper-cifar": ((3, 32, 32), 1_025_642),
    "small-cnn": ((1, 28, 28), 312_202),
    "lenet": ((1, 28, 28), 431_080),
    "lenet-wide": ((1, 28, 28), 582_026),
    "kw-mnist-small": ((1, 28, 28), 166_406),
    "kw-mnist-large": ((1, 28, 28), 1_974_762),
    "kw-cifar-small": ((3, 32, 32), 214_918),
    "kw-cifar-large": ((3, 32, 32), 2_466_858),
    "cifar-resnet20": ((3, 32, 32), 269_722),
    "cifar-resnet110": ((3, 32, 32), 1_727_962),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return models.build(name).eval()


def two_images(name: str) -> Tensor:
    return torch.rand(2, *NETWORKS[name][0], generator=torch.Generator().manual_seed(1))


def outputs(network: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(images)


def weighted(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """What a paper counts as layers."""
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The folder of networks that others released."""
    folder = os.environ.get("NOISEPROOF_WEIGHTS")
    if folder is None:
        pytest.skip("NOISEPROOF_WEIGHTS is not set: no released networks to test with")
    return Path(folder)


def accuracy(network: nn.Module, dataset: data.Dataset) -> float:
    """On the first 1000 images."""
    labels = outputs(network.eval(), torch.as_tensor(dataset.read(range(1000)))).argmax(1)
    return float(np.mean(labels.numpy() == np.asarray(dataset.labels)[:1000]))


def test_the_table_has_every_name() -> None:
    assert {*NETWORKS, "resnet50"} == set(models.names())


@every_network
def test_size_and_logits(name: str) -> None:
    network = built(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == NETWORKS[name][1]
    logits = outputs(network, two_images(name))
    assert logits.shape == (2, 10)
    assert logits.dtype == torch.float32
    assert bool(logits.isfinite().all())
    assert not torch.equal(logits[0], logits[1])


@every_network
def test_the_layout_of_memory_and_bfloat16_change_rounding_only(name: str) -> None:
    network, images = built(name), two_images(name)
    expected = outputs(network, images)
    laid = copy.deepcopy(network).to(memory_format=torch.channels_last)
    lying = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(outputs(laid, lying), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    with torch.autocast("cpu", torch.bfloat16):
        half = outputs(laid, lying)
    assert half.dtype == torch.bfloat16
    # 110 layers, each rounded to 8 bits
    assert float((half.float() - expected).abs().max()) < 0.1 * float(expected.abs().max())


@every_network
def test_a_checkpoint_brings_it_back(name: str, tmp_path: Path) -> None:
    network, images = built(name).train(), two_images(name)
    network(images)  # moves the statistics of batch normalisation
    save_checkpoint(tmp_path / "net.safetensors", network.eval(), name, {})
    loaded = load_checkpoint(tmp_path / "net.safetensors").model
    assert torch.equal(outputs(loaded, images), outputs(network, images))
    assert model_digest(loaded) == model_digest(network) != model_digest(models.build(name))


@every_network
def test_every_weight_learns(name: str) -> None:
    network = built(name).train()
    nn.functional.cross_entropy(network(two_images(name)), torch.tensor([3, 7])).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert bool(parameter.grad.isfinite().all()), parameter_name
        assert parameter.ndim == 1 or bool((parameter.grad != 0.0).any()), parameter_name


@every_network
def test_names_are_the_same_everywhere(name: str) -> None:
    network = built(name)
    constants = {"normalise_mean", "normalise_std"}
    there = {named for named, _ in (*network.named_parameters(), *network.named_buffers())}
    assert set(network.state_dict()) == there - constants


# Normalisation


def test_normalise_is_its_formula() -> None:
    images = torch.rand(2, 3, 4, 5)
    layer = Normalise(*IMAGENET)
    for channel, (mean, std) in enumerate(zip(*IMAGENET, strict=True)):
        torch.testing.assert_close(layer(images)[:, channel], (images[:, channel] - mean) / std)
    assert layer.state_dict() == {}
    assert layer.double().mean.dtype == torch.float64


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((), ()),
        ((0.5,), (0.5, 0.5)),
        ((0.5,), (0.0,)),
        ((0.5,), (-1.0,)),
        ((float("nan"),), (1.0,)),
        ((0.5,), (np.inf,)),
    ],
)
def test_statistics_that_are_none(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(npf.InvalidInputError, match="mean and std must be one finite number a channel"):
        Normalise(mean, std)
    with pytest.raises(npf.InvalidInputError, match="mean and std must be one finite number a channel"):
        with_normalisation(nn.Flatten(), mean, std)


def test_channels_are_not_spread() -> None:
    wrapped = with_normalisation(nn.Flatten(), *CIFAR10)
    said = r"images must be of shape \(batch, 3, height, width\); got \("
    for layer, shape in ((wrapped, (2, 1, 8, 8)), (wrapped, (3, 8, 8)), (Normalise(*CIFAR10), (2, 1, 8, 8))):
        with pytest.raises(npf.InvalidInputError, match=said):
            layer(torch.rand(shape))


def small() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)).eval()


def test_with_normalisation_keeps_the_names() -> None:
    images = torch.rand(2, 3, 8, 8)
    network = with_normalisation(small(), *CIFAR10)
    stacked = nn.Sequential(Normalise(*CIFAR10), small()).eval()
    assert torch.equal(outputs(network, images), outputs(stacked, images))
    assert not torch.allclose(outputs(network, images), outputs(small(), images), atol=1e-2)
    assert list(network.state_dict()) == list(small().state_dict())
    assert list(stacked.state_dict()) == [f"1.{name}" for name in small().state_dict()]
    network.load_state_dict(small().state_dict())
    assert isinstance(network, nn.Sequential)
    assert len(network) == 5
    assert type(small()).__name__ == "Sequential"
    with pytest.raises(npf.InvalidInputError, match="network must be without a normalisation of its own"):
        with_normalisation(network, *CIFAR10)


def test_what_others_make_of_the_network_normalises_too(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 8, 8)
    network = with_normalisation(small(), *CIFAR10)
    expected = outputs(network, images)
    assert torch.equal(outputs(copy.deepcopy(network), images), expected)
    state = network.state_dict()
    assert torch.equal(torch.func.functional_call(network, state, (images,)).detach(), expected)
    torch.export.save(torch.export.export(network, (images,)), tmp_path / "net.pt2")
    exported = load(str(tmp_path / "net.pt2")).classifier
    torch.testing.assert_close(outputs(exported, images), expected)


@pytest.mark.parametrize("put", [with_normalisation, lambda net, *constants: nn.Sequential(Normalise(*constants), net)])
def test_the_digest_sees_mean_and_deviation(put: Callable[..., nn.Module]) -> None:
    mean, std = CIFAR10
    digests = [
        model_digest(put(small(), *constants))
        for constants in ((mean, std), (mean, std), (mean[::-1], std), (mean, std[::-1]), (std, mean))
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
    assert model_digest(small()) not in digests


# SmallCNN and the networks of reference [17]

SMALL_CNN = {
    "feature_extractor.conv1": (32, 1, 3, 3),
    "feature_extractor.conv2": (32, 32, 3, 3),
    "feature_extractor.conv3": (64, 32, 3, 3),
    "feature_extractor.conv4": (64, 64, 3, 3),
    "classifier.fc1": (200, 1024),
    "classifier.fc2": (200, 200),
    "classifier.fc3": (10, 200),
}


def test_small_cnn_has_the_names_of_the_released_file() -> None:
    shapes = {name: tuple(value.shape) for name, value in built("small-cnn").state_dict().items()}
    assert shapes == {f"{name}.weight": shape for name, shape in SMALL_CNN.items()} | {
        f"{name}.bias": shape[:1] for name, shape in SMALL_CNN.items()
    }


def test_small_cnn_drops_out_after_the_first_of_its_fully_connected_layers() -> None:
    network = models.SmallCNN()
    drops = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    assert [module.p for module in drops] == [0.5]
    dropped: list[Tensor] = []
    drops[0].register_forward_hook(lambda _, inputs, output: dropped.extend((inputs[0], output)))
    expected: list[Tensor] = []
    network.classifier.fc1.register_forward_hook(lambda _, inputs, output: expected.append(output.relu()))  # type: ignore[union-attr]
    network(two_images("small-cnn"))
    assert torch.equal(dropped[0], expected[0])
    assert not torch.equal(dropped[1], dropped[0])


def test_small_cnn_is_the_released_one(data_dir: Path, weights_dir: Path) -> None:
    loaded = load("noiseproof.models:SmallCNN", weights_dir / "trades" / "model_mnist_smallcnn.pt")
    assert 0.993 <= accuracy(loaded.classifier, data.load("mnist", "test", data_dir=data_dir)) <= 0.995
    with pytest.raises(npf.RunError, match=r"the weights of noiseproof\.models:kw_mnist_small; got 0\.weight missing"):
        load("noiseproof.models:kw_mnist_small", weights_dir / "trades" / "model_mnist_smallcnn.pt")


@pytest.mark.parametrize(
    ("name", "units", "layers"),
    [
        ("kw-mnist-small", 4_804, [(4, 2, 16), (4, 2, 32), 100, 10]),
        ("kw-cifar-small", 6_244, [(4, 2, 16), (4, 2, 32), 100, 10]),
        ("kw-mnist-large", 48_064, [(3, 1, 32), (4, 2, 32), (3, 1, 64), (4, 2, 64), 512, 512, 10]),
        ("kw-cifar-large", 62_464, [(3, 1, 32), (4, 2, 32), (3, 1, 64), (4, 2, 64), 512, 512, 10]),
    ],
)
def test_the_networks_of_wong_et_al(name: str, units: int, layers: list[object]) -> None:
    network = built(name)
    found = [
        (layer.kernel_size[0], layer.stride[0], layer.out_channels)
        if isinstance(layer, nn.Conv2d)
        else layer.out_features
        for layer in weighted(network)
    ]
    assert found == layers
    counted: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _, __, output: counted.append(output[0].numel()))
    outputs(network, two_images(name))
    assert sum(counted) == units


def test_kw_cifar_small_is_the_released_one(data_dir: Path, weights_dir: Path, tmp_path: Path) -> None:
    released = weights_dir / "convex_adversarial" / "cifar_small_36px.pth"
    with pytest.raises(npf.RunError, match=r"the weights of noiseproof\.models:kw_cifar_small; got 0\.weight missing"):
        load("noiseproof.models:kw_cifar_small", released)  # a list of stages
    stage = torch.load(released, map_location="cpu", weights_only=True)["state_dict"][0]
    torch.save(stage, tmp_path / "stage.pth")
    loaded = load("noiseproof.models:kw_cifar_small", tmp_path / "stage.pth")
    script = data_dir / "unpack_cifar10"
    if script.is_file():  # kept packed
        subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
        data_dir = tmp_path
    dataset = data.load("cifar10", "test", data_dir=data_dir, allow_unverified=True)
    assert 0.550 <= accuracy(loaded.classifier, dataset) <= 0.556


# Residual networks


@pytest.mark.parametrize(
    ("depth", "parameters"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.73")]
)
def test_residual_networks_are_the_papers(depth: int, parameters: str) -> None:
    network = CIFARResNet(depth)
    assert len(weighted(network)) == depth  # option A: shortcuts have no weights
    assert f"{sum(value.numel() for value in network.parameters()) / 1e6:.2f}" == parameters
    sizes = [tuple(stage.shape[1:]) for stage in stages(network, torch.rand(1, 3, 32, 32))]
    assert sizes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def stages(network: CIFARResNet, images: Tensor) -> list[Tensor]:
    found: list[Tensor] = []
    for stage in (network.layer1, network.layer2, network.layer3):
        stage.register_forward_hook(lambda _, __, output: found.append(output))
    outputs(network.eval(), images)
    return found


def test_shortcuts_pass_every_second_pixel_and_zeros() -> None:
    network = CIFARResNet(20)
    for name, parameter in network.named_parameters():
        if "bn2" in name:
            nn.init.zeros_(parameter)  # nothing but the shortcuts is left
    first, second, third = stages(network, torch.rand(2, 3, 32, 32))
    assert torch.equal(second[:, :16], first[:, :, ::2, ::2])
    assert torch.equal(third[:, :32], second[:, :, ::2, ::2])
    assert not second[:, 16:].any()
    assert not third[:, 32:].any()
    assert bool(third.any())


def test_convolutions_start_as_he_et_al_2015_say() -> None:
    for layer in weighted(CIFARResNet(110)):
        if isinstance(layer, nn.Conv2d) and layer.in_channels > 3:
            assert float(layer.weight.detach().std()) == pytest.approx((2.0 / (9 * layer.out_channels)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("depth", [-4, 2, 18, 51, 111])
def test_depths_there_are_none_of(depth: int) -> None:
    with pytest.raises(npf.InvalidInputError, match=r"depth must be 6n \+ 2 for an n >= 1"):
        CIFARResNet(depth)


def test_released_smoothing_networks_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and contents of a checkpoint of Cohen et al.: a normalisation without a state, then a projecting ResNet-110."""
    state = {f"1.{name}": value for name, value in CIFARResNet(110, projection=True).state_dict().items()}
    assert {"1.conv1.weight", "1.bn1.running_var", "1.layer1.17.conv2.weight", "1.fc.bias"} <= set(state)
    assert state["1.layer3.0.downsample.0.weight"].shape == (64, 32, 1, 1)
    assert state["1.layer2.0.downsample.1.running_mean"].shape == (32,)
    learned = {name: value for name, value in state.items() if "running" not in name and "num_batches" not in name}
    assert sum(value.numel() for value in learned.values()) == 1_730_714
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).state_dict()
    torch.save(
        {"arch": "cifar_resnet110", "epoch": 90, "state_dict": state, "optimizer": optimiser}, tmp_path / "net.pth.tar"
    )
    (tmp_path / "networks_of_cohen.py").write_text(
        "from torch import nn\n"
        "from noiseproof.models import CIFAR10, CIFARResNet, Normalise\n"
        "def cifar_resnet110():\n"
        "    return nn.Sequential(Normalise(*CIFAR10), CIFARResNet(110, projection=True))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    loaded = load("networks_of_cohen:cifar_resnet110", tmp_path / "net.pth.tar")
    for name, value in loaded.classifier.state_dict().items():
        assert torch.equal(value, state[name])
    with pytest.raises(
        npf.RunError, match=r"the weights of noiseproof\.models:cifar_resnet110; got conv1\.weight missing"
    ):
        load("noiseproof.models:cifar_resnet110", tmp_path / "net.pth.tar")


# ResNet-50, from a package that may not be there


class StandIn(nn.Module):
    """The interface of torchvision's network at a thousandth of its cost: the mean of each channel decides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 7, stride=32, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 1000)
        self.given: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.given.append(images)
        return self.fc(self.bn1(self.conv1(images)).mean((2, 3)))


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchvision with a network that costs nothing."""

    def resnet50(*, weights: object) -> StandIn:
        assert weights is None, "nothing is downloaded"
        return StandIn()

    for name in ("torchvision", "torchvision.models"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    monkeypatch.setattr(sys.modules["torchvision.models"], "resnet50", resnet50, raising=False)


@pytest.mark.usefixtures("torchvision")
def test_resnet50_with_published_weights_is_certified(tmp_path: Path) -> None:
    torch.manual_seed(3)
    published = StandIn()
    nn.init.constant_(published.fc.bias[7:8], 9.0)
    torch.save(published.state_dict(), tmp_path / "resnet50.pth")
    loaded = load("noiseproof.models:resnet50", tmp_path / "resnet50.pth")
    assert loaded.about["digest"] != model_digest(published)
    assert loaded.about["digest"] != load("noiseproof.models:resnet50").about["digest"]
    images = torch.rand(2, 3, 224, 224)
    smoothed = npf.SmoothedClassifier(loaded.classifier, Gaussian(0.25), 1000, batch_size=4)
    certified = smoothed.certify(images, samples=64)
    assert certified.votes.shape == (2, 1000)
    assert certified.votes.sum() == 128
    assert certified.prediction.tolist() == [7, 7]
    assert bool((certified.radius > 0.0).all())
    loaded.classifier.given.clear()
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in IMAGENET)
    torch.testing.assert_close(
        outputs(loaded.classifier.eval(), images), outputs(published.eval(), (images - mean) / std)
    )
    torch.testing.assert_close(loaded.classifier.given[0], (images - mean) / std)


@pytest.mark.usefixtures("torchvision")
def test_a_checkpoint_of_resnet50(tmp_path: Path) -> None:
    network = models.build("resnet50").eval()
    save_checkpoint(tmp_path / "net.safetensors", network, "resnet50", {})
    assert model_digest(load_checkpoint(tmp_path / "net.safetensors").model) == model_digest(network)


@pytest.fixture
def bare() -> Iterator[None]:
    """No torchvision is imported, before or after."""

    def taken() -> dict[str, Any]:
        return {name: sys.modules.pop(name) for name in [*sys.modules] if name.split(".")[0] == "torchvision"}

    before = taken()
    yield
    taken()
    sys.modules.update(before)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("build", [models.resnet50, lambda: models.build("resnet50")])
def test_resnet50_without_torchvision(build: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(
        npf.MissingExtraError, match=r"torchvision must be installed for resnet50.*noiseproof\[imagenet\]"
    ):
        build()
    with pytest.raises(npf.NoiseproofError, match="torchvision must be installed for resnet50"):
        load("noiseproof.models:resnet50")


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('operator torchvision::nms does not exist')", "RuntimeError: operator torchvision::nms"),
        ("raise OSError('libcudart.so.13: cannot open shared object file')", "OSError: libcudart"),
        ("import a_part_that_is_gone", "ModuleNotFoundError: No module named 'a_part_that_is_gone'"),
        ("", "ModuleNotFoundError: No module named 'torchvision.models'"),
    ],
)
def test_resnet50_with_a_torchvision_for_another_torch(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):  # the second time parts of it may have been imported already
        with pytest.raises(npf.MissingExtraError) as caught:
            models.resnet50()
        assert f"torchvision must be a build that matches torch {torch.__version__}; got {said}" in str(caught.value)
        assert "noiseproof[imagenet]" in str(caught.value)


def test_resnet50_of_torchvision_itself() -> None:
    try:
        network = models.resnet50()
    except npf.MissingExtraError as error:
        pytest.skip(str(error))
    assert sum(parameter.numel() for parameter in network.parameters()) == 25_557_032
    assert outputs(network.eval(), torch.rand(1, 3, 224, 224)).shape == (1, 1000)
    assert {"conv1.weight", "layer4.2.bn3.bias", "fc.weight"} <= set(network.state_dict())
