"""Classifiers of others: from code, from ONNX, from torch.export; and files that must not be trusted."""

import io
import json
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import noiseproof as npf
from noiseproof.models import load
from noiseproof.models.exported import _EXPRESSION, ExportedRunner
from noiseproof.models.weights import read_weights
from noiseproof.noises import Gaussian
from noiseproof.storage.provenance import same_model

IMAGES = np.random.default_rng(0).random((3, 1, 4, 4), dtype=np.float32)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def votes(classifier: object) -> np.ndarray:
    return npf.SmoothedClassifier(classifier, Gaussian(0.5), 3).count(IMAGES, samples=200)  # type: ignore[arg-type]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a package of models."""
    (tmp_path / "zoo_of_mine.py").write_text(
        textwrap.dedent("""
            import numpy as np, torch
            from sklearn.linear_model import LogisticRegression
            from torch import nn

            def network():
                return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))

            def estimator():
                rng = np.random.default_rng(0)
                return LogisticRegression().fit(rng.random((90, 16)), np.arange(90) % 3)

            def of_words():
                return LogisticRegression().fit(np.eye(2), ["cat", "dog"])

            def function():
                return lambda batch: (batch[:, 0, 0, 0] > 0.5).astype(int)

            def needs_arguments(depth):
                return depth

            def fails():
                raise ValueError("boom")

            ready = network()
            number = 3

            def gives_a_number():
                return 3
            """)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("zoo_of_mine", None)
    return tmp_path


def test_a_factory_with_weights(package: Path) -> None:
    state = network().state_dict()
    safetensors.torch.save_file(state, package / "mine.safetensors")
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, package / "mine.pt"
    )
    expected = votes(network())
    for file in ("mine.safetensors", "mine.pt"):
        loaded = load("zoo_of_mine:network", Path(file))
        np.testing.assert_array_equal(votes(loaded.classifier), expected)
        assert loaded.about["name"] == "zoo_of_mine:network"
        assert loaded.about["digest"] == npf.models.model_digest(network())
    assert load("zoo_of_mine:ready").about["digest"] != loaded.about["digest"]


def test_the_digest_sees_the_code(package: Path) -> None:
    before = load("zoo_of_mine:network").about
    file = package / "zoo_of_mine.py"
    file.write_text(file.read_text().replace("nn.ReLU()", "nn.Tanh()"))
    del sys.modules["zoo_of_mine"]
    assert load("zoo_of_mine:network").about["source"] != before["source"]


def test_a_network_of_the_package_is_told_by_its_weights(package: Path) -> None:
    about = load("noiseproof.models:DigitsCNN").about
    assert about["source"] is None
    old = {"name": about["name"], "source": "of a file of the package", "digest": about["digest"]}
    assert same_model(old, about)
    assert same_model(about, old)
    assert not same_model(old | {"digest": "other"}, about)
    assert not same_model(old | {"name": "noiseproof.models:LeNet"}, about), "equal weights in another network"
    mine = load("zoo_of_mine:network").about
    assert same_model(mine, dict(mine))
    assert not same_model(mine | {"source": "other"}, mine)
    assert not same_model(mine | {"name": "noiseproof_of_mine:network", "source": None}, mine)
    assert not same_model(
        {"name": "noiseproofs:net", "source": "a", "digest": "d"},
        {"name": "noiseproofs:net", "source": "b", "digest": "d"},
    )


def test_estimators_and_functions(package: Path) -> None:
    estimator = load("zoo_of_mine:estimator")
    assert votes(estimator.classifier).sum() == 600
    assert estimator.about["digest"] == load("zoo_of_mine:estimator").about["digest"]
    function = load("zoo_of_mine:function").classifier
    assert npf.SmoothedClassifier(function, Gaussian(0.1), 2).count(IMAGES, samples=20).sum() == 60
    assert package.exists()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("resnet50", "package.module:factory, or a file that ends in .safetensors"),
        ("no_such_module:network", "ModuleNotFoundError in no_such_module"),
        ("zoo_of_mine:nothing", "a name in zoo_of_mine; got 'nothing'. It has: np, torch"),
        ("zoo_of_mine:needs_arguments", "callable without arguments; got TypeError"),
        ("zoo_of_mine:fails", "able to build the classifier; got ValueError: boom. That is an error of its own code."),
        ("zoo_of_mine:number", "zoo_of_mine:number must be callable; got int"),
        ("zoo_of_mine:gives_a_number", "a function that returns a torch module"),
        ("zoo_of_mine:of_words", "the labels of the estimator must be the integers from 0 to k - 1"),
        ("missing.onnx", "missing.onnx must be a file; got nothing there"),
    ],
)
def test_what_is_no_model(package: Path, spec: str, said: str) -> None:
    with pytest.raises(npf.NoiseproofError) as caught:
        load(spec)
    assert said in str(caught.value)
    assert package.exists()


def test_weights_that_do_not_fit(package: Path) -> None:
    safetensors.torch.save_file({"1.weight": torch.zeros(8, 16), "x": torch.zeros(1)}, package / "other.safetensors")
    with pytest.raises(npf.RunError, match=r"the weights of zoo_of_mine:network; got 1\.bias missing"):
        load("zoo_of_mine:network", Path("other.safetensors"))
    with pytest.raises(npf.InvalidInputError, match=r"weights must be left out: .*, and they are for a torch module"):
        load("zoo_of_mine:estimator", Path("other.safetensors"))
    with pytest.raises(npf.RunError, match="nothing there"):
        read_weights(package / "none.pt")
    (package / "broken.safetensors").write_bytes(b"12345678garbage")
    (package / "broken.pt").write_bytes(b"garbage")
    for name in ("broken.safetensors", "broken.pt"):
        with pytest.raises(npf.RunError, match="whole, with nothing but tensors"):
            read_weights(package / name)


class Boom:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.touch, (Path("boom"),))


def test_pickled_weights_run_no_code(package: Path) -> None:
    torch.save({"state_dict": network().state_dict(), "args": Boom()}, package / "trap.pt")
    with pytest.raises(npf.RunError, match="nothing but tensors in it; got a pickle of more than tensors"):
        read_weights(package / "trap.pt")
    assert not (package / "boom").exists()


# ---- ONNX ------------------------------------------------------------------------------------------------------------


def onnx_file(path: Path, batch: int | str, dtype: str = "FLOAT") -> Path:
    """The network above, written node by node."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    state = {name: value.numpy() for name, value in network().state_dict().items()}
    kind = getattr(onnx.TensorProto, dtype)
    nodes = [
        onnx.helper.make_node("Flatten", ["images"], ["flat"]),
        onnx.helper.make_node("Gemm", ["flat", "1.weight", "1.bias"], ["hidden"], transB=1),
        onnx.helper.make_node("Relu", ["hidden"], ["active"]),
        onnx.helper.make_node("Gemm", ["active", "3.weight", "3.bias"], ["scores"], transB=1),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "network",
        [onnx.helper.make_tensor_value_info("images", kind, [batch, 1, 4, 4])],
        [onnx.helper.make_tensor_value_info("scores", kind, [batch, 3])],
        [onnx.numpy_helper.from_array(value, name) for name, value in state.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("batch", ["n", 16])
def test_onnx_votes_as_torch_does(batch: int | str, tmp_path: Path) -> None:
    loaded = load(str(onnx_file(tmp_path / "net.onnx", batch)))
    assert loaded.about["name"] == "net.onnx"
    assert loaded.classifier.batch_size == (None if batch == "n" else 16)
    assert np.abs(votes(loaded.classifier) - votes(network())).sum() <= 2, "rounding may flip a near-tie"


def test_external_data_of_any_name_belong_to_the_digest(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(onnx_file(tmp_path / "net.onnx", "n"))
    path, beside = tmp_path / "apart.onnx", tmp_path / "my weights.bin"
    onnx.save(proto, path, save_as_external_data=True, location=beside.name, size_threshold=0)
    assert beside.stat().st_size > 100
    first = load(str(path)).about["digest"]
    (tmp_path / "stranger.bin").write_bytes(b"not named in it")
    assert load(str(path)).about["digest"] == first
    content = bytearray(beside.read_bytes())
    content[3] ^= 0x80  # the sign of the first weight
    beside.write_bytes(content)
    assert load(str(path)).about["digest"] != first


def test_broken_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "net.onnx").write_bytes(b"garbage")
    with pytest.raises(npf.RunError, match="a whole ONNX file"):
        load(str(tmp_path / "net.onnx"))
    with pytest.raises(npf.InvalidInputError, match="weights must be left out"):
        load(str(tmp_path / "net.onnx"), tmp_path / "w.safetensors")


def test_onnx_of_another_image_shape(tmp_path: Path) -> None:
    loaded = load(str(onnx_file(tmp_path / "net.onnx", "n")))
    smoothed = npf.SmoothedClassifier(loaded.classifier, Gaussian(0.5), 3)
    with pytest.raises(npf.ClassifierError, match=r"able to take a float32 numpy batch of shape \(\d+, 1, 5, 5\)"):
        smoothed.count(np.zeros((1, 1, 5, 5), dtype=np.float32), samples=20)


def test_onnx_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(b"garbage")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(npf.MissingExtraError, match=r"pip install 'noiseproof\[onnx\]'"):
        load(str(tmp_path / "net.onnx"))


# ---- torch.export ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    program = torch.export.export(network(), (torch.rand(16, 1, 4, 4),), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, path)
    return path


def test_exported_program_votes_as_the_module_does(exported: Path, tmp_path: Path) -> None:
    loaded = load(str(exported))
    assert loaded.classifier.batch_size is None
    assert np.abs(votes(loaded.classifier) - votes(network())).sum() <= 2
    torch.export.save(torch.export.export(network(), (torch.rand(16, 1, 4, 4),)), tmp_path / "static.pt2")
    static = load(str(tmp_path / "static.pt2"))
    assert static.classifier.batch_size == 16
    assert np.abs(votes(static.classifier) - votes(network())).sum() <= 2


def rewritten(exported: Path, path: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(exported) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
        for name, content in extra.items():
            target.writestr(name, content)
    return path


def _pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("trap", ["expression", "pickled weight", "sample input", "library"])
def test_programs_that_bring_code_are_refused_before_torch_sees_them(
    trap: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.export.load", lambda _: pytest.fail("it was loaded"))

    def change(name: str, content: bytes) -> bytes:
        if trap == "expression" and name.endswith("models/model.json"):
            code = "__import__('pathlib').Path('boom').touch()"
            return content.replace(b"Symbol('s", f"{code} or Symbol('s".encode(), 1).replace(b'"as_expr"', b'"as_expr"')
        if trap == "pickled weight" and name.endswith("model_weights_config.json"):
            config = json.loads(content)
            next(iter(config["config"].values()))["use_pickle"] = True
            return json.dumps(config).encode()
        if trap == "sample input" and name.endswith("model.pt"):
            return _pickled(Boom())
        return content

    extra = {"net/data/aotinductor/model/code.so": b"\x7fELF"} if trap == "library" else {}
    path = rewritten(exported, tmp_path / "trap.pt2", change, extra)
    with pytest.raises(npf.RunError, match="with nothing pickled in it"):
        ExportedRunner(path)
    assert not (tmp_path / "boom").exists()


def test_guards_of_a_program_are_dropped_not_run(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch writes them into Python source and runs that when the program is called."""
    monkeypatch.chdir(tmp_path)
    planted = 0

    def change(name: str, content: bytes) -> bytes:
        nonlocal planted
        if not name.endswith("models/model.json"):
            return content
        model = json.loads(content)
        model["guards_code"] = ["__import__('pathlib').Path('boom').touch() is None"]
        planted += 1
        return json.dumps(model).encode()

    runner = ExportedRunner(rewritten(exported, tmp_path / "trap.pt2", change, {}))
    with torch.inference_mode():
        assert runner(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    assert planted == 1
    assert not (tmp_path / "boom").exists()


def test_long_expressions_are_judged_at_once() -> None:
    assert _EXPRESSION.fullmatch("Max(1, Symbol('s31', positive=True, integer=True) + 2)")
    assert not _EXPRESSION.fullmatch("1" * 5000 + "!")
    assert not _EXPRESSION.fullmatch("s1 " * 5000 + "exec")


def test_damaged_program(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(exported.read_bytes()[:5000])
    with pytest.raises(npf.RunError, match=r"a whole program written by torch\.export\.save"):
        load(str(tmp_path / "net.pt2"))


def test_a_network_of_three_channels_and_a_thousand_classes() -> None:
    """The interface of an ImageNet network: any module of that shape goes the same way."""

    class StandIn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.layer = nn.AdaptiveAvgPool2d(4), nn.Linear(48, 1000)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.pool(x).flatten(1))

    images = np.random.default_rng(0).random((2, 3, 224, 224), dtype=np.float32)
    certified = npf.SmoothedClassifier(
        npf.classifiers.accelerate(StandIn(), precision="bf16"), Gaussian(0.25), 1000
    ).certify(images, samples=40)
    assert certified.votes.shape == (2, 1000)
