"""Classifiers without gradients under attack, by name: an ONNX file, a scikit-learn estimator, a function."""

from pathlib import Path

import numpy as np
import pytest
import torch

from attack_table import TABLE
from command_line import figures as noiseproof
from noiseproof.attacks.registry import ATTACKS, gradient_free
from noiseproof.errors import InvalidInputError
from noiseproof.models import load_checkpoint

FEW = ["--data", "digits", "--every", 100, "--epsilons", "0.3,3.5", "--samples", 40]
SMALL = {
    "boundary": ["--set", "steps=40", "--set", "eot_samples=8"],
    "hop-skip-jump": ["--set", "steps=2", "--set", "queries=20", "--set", "eot_samples=8"],
    "random": ["--set", "tries=5", "--set", "eot_samples=8"],
}
CODE = """
import numpy as np
import noiseproof as npf
from sklearn.linear_model import LogisticRegression


def estimator():
    train = npf.data.load("digits", "train")
    return LogisticRegression(max_iter=2000).fit(train.read(range(400)).reshape(400, -1), train.labels[:400])


def function():
    fitted = estimator()
    return lambda images: fitted.predict(images.reshape(len(images), -1))
"""
MODELS = ["net.onnx", "fixed.onnx", "classifiers_of_mine:estimator", "classifiers_of_mine:function"]


@pytest.fixture(autouse=True)
def models(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trained network in ONNX, with any batch size and with one; and code that makes others."""
    onnx = pytest.importorskip("onnx")
    state = load_checkpoint(trained / "checkpoint.safetensors").model.state_dict()
    weights = {name: value.numpy() for name, value in state.items()}
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in weights))
    convolutions, dense = layers[:2], layers[2:]
    nodes, value = [], "images"

    def add(kind: str, *inputs: str, **attributes: object) -> str:
        nodes.append(onnx.helper.make_node(kind, list(inputs), [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    for name in convolutions:
        value = add("Relu", add("Conv", value, f"{name}.weight", f"{name}.bias", pads=[1, 1, 1, 1]))
    value = add("Flatten", add("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2]))
    value = add("Relu", add("Gemm", value, f"{dense[0]}.weight", f"{dense[0]}.bias", transB=1))
    value = add("Gemm", value, f"{dense[1]}.weight", f"{dense[1]}.bias", transB=1)
    initial = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    for file, batch in (("net.onnx", "n"), ("fixed.onnx", 16)):
        images = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [batch, 1, 8, 8])
        scores = onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, [batch, 10])
        graph = onnx.helper.make_graph(nodes, "net", [images], [scores], initial)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, tmp_path / file)
    (tmp_path / "classifiers_of_mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_onnx_file_is_the_trained_network(trained: Path) -> None:
    from noiseproof.models import load

    images = np.random.default_rng(0).random((16, 1, 8, 8), dtype=np.float32)
    network = load_checkpoint(trained / "checkpoint.safetensors").model
    with torch.no_grad():
        expected = network(torch.as_tensor(images)).numpy()
    for file in ("net.onnx", "fixed.onnx"):
        assert np.allclose(load(file).classifier(images), expected, atol=1e-4)


def test_the_names_are_those_of_the_registry() -> None:
    assert gradient_free() == [name for name, row in TABLE.items() if not row.gradients]
    assert set(SMALL) == set(gradient_free()), "one that is new belongs into the tests below"


@pytest.mark.parametrize("attack", SMALL)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sigma", [0.25, 0])
def test_attacks_without_gradients_work_by_name(model: str, attack: str, sigma: float) -> None:
    options = ["--model", model, "--sigma", sigma, "--attack", attack, *SMALL[attack]]
    found = noiseproof("attack", "runs/mine", *options, *FEW)
    assert found["images"] == 6
    robust = found["robust"]
    assert robust[0] >= 0.5, "before the attack most are right"
    assert robust[0] >= robust[1] >= robust[2]
    assert robust[2] < robust[0], "half of the image's length moves some of them"


@pytest.mark.parametrize("model", MODELS)
def test_points_of_a_network_with_gradients_are_tried_on_one_without(model: str, trained: Path) -> None:
    options = ["--model", model, "--sigma", 0.25, "--attack", "pgd", "--set", "steps=5", "--set", "eot_samples=4"]
    found = noiseproof("attack", "runs/mine", *options, "--source", trained, *FEW)
    assert found["attack"].endswith("transfer-pgd-l2")
    assert found["robust"][2] < found["robust"][0]


@pytest.mark.parametrize("model", ["net.onnx", "classifiers_of_mine:estimator"])
@pytest.mark.parametrize("attack", [name for name, row in TABLE.items() if row.gradients])
def test_attacks_that_follow_gradients_name_those_that_need_none(model: str, attack: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        noiseproof("attack", "runs/mine", "--model", model, "--sigma", 0.25, "--attack", attack, *FEW)
    assert "an attack that follows gradients; got" in str(caught.value)
    assert f"needs no gradients: {', '.join(gradient_free())}. " in str(caught.value)
    assert "source=" in str(caught.value)
    assert "transfer" not in str(caught.value).replace("attacks.Transfer", ""), "no attack has that name"
    assert all(name in ATTACKS for name in gradient_free())
    assert not Path("runs").exists(), "nothing is begun"
