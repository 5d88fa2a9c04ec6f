"""What a classifier does with the rows of a batch: bit by bit, on every engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import noiseproof as npf
from noiseproof.classifiers import accelerate, multiplies_bfloat16, quantise
from noiseproof.classifiers.autotune import has_compiler
from noiseproof.classifiers.base import BaseClassifier, RowsCheck
from noiseproof.classifiers.quantisation import can_quantise
from noiseproof.models import build

SIZE = 48
IMAGES = torch.from_numpy(np.random.default_rng(0).random((3 * SIZE, 1, 8, 8), dtype=np.float32))


def network() -> nn.Module:
    torch.manual_seed(0)
    return build("digits-cnn").eval()


def scikit_learn() -> Callable[[np.ndarray], np.ndarray]:
    pixels = IMAGES.flatten(1).numpy()
    fitted = LogisticRegression().fit(pixels, np.arange(len(pixels)) % 10)
    return lambda batch: fitted.predict_proba(batch.reshape(len(batch), -1)).astype(np.float32)


def onnx_file(folder: Path) -> Any:
    """A convolution and a linear layer, written node by node."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    drawn = np.random.default_rng(1)
    weights = {"kernel": (6, 1, 3, 3), "weight": (10, 6 * 36), "bias": (10,)}
    tensors = [
        onnx.numpy_helper.from_array(drawn.normal(0, 0.2, shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    nodes = [
        onnx.helper.make_node("Conv", ["images", "kernel"], ["hidden"]),
        onnx.helper.make_node("Relu", ["hidden"], ["active"]),
        onnx.helper.make_node("Flatten", ["active"], ["flat"]),
        onnx.helper.make_node("Gemm", ["flat", "weight", "bias"], ["scores"], transB=1),
    ]
    kind = onnx.TensorProto.FLOAT
    ends = (
        [onnx.helper.make_tensor_value_info(name, kind, ["n", *shape])]
        for name, shape in (("images", [1, 8, 8]), ("scores", [10]))
    )
    graph = onnx.helper.make_graph(nodes, "network", *ends, tensors)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9),
        folder / "net.onnx",
    )
    return npf.models.load(folder / "net.onnx").classifier


def exported(folder: Path) -> Any:
    torch.export.save(torch.export.export(network(), (IMAGES[:SIZE],)), folder / "net.pt2")
    return npf.models.load(folder / "net.pt2").classifier


def needs(met: bool, why: str) -> Any:
    return pytest.mark.skipif(not met, reason=why)


CPU = torch.device("cpu")
ENGINES: dict[str, tuple[Callable[[Path], Any], tuple[Any, ...]]] = {
    "module": (lambda _: network(), ()),
    "fp32": (lambda _: accelerate(network()), ()),
    "bf16": (lambda _: accelerate(network(), precision="bf16"), (needs(multiplies_bfloat16(CPU), "emulated here"),)),
    "function": (lambda _: lambda batch: batch.reshape(len(batch), -1) @ np.eye(64, 10, dtype=np.float32), ()),
    "scikit-learn": (lambda _: scikit_learn(), ()),
    "onnx": (onnx_file, ()),
    "pt2": (exported, ()),
    "compiled": (
        lambda _: accelerate(network(), compiled=True),
        (pytest.mark.slow, needs(has_compiler(CPU), "no compiler here")),
    ),
    "int8": (
        lambda _: quantise(network(), IMAGES, batch_size=SIZE),
        (pytest.mark.slow, needs(can_quantise(CPU), "no int8 here")),
    ),
}
every_engine = pytest.mark.parametrize(
    "make", [pytest.param(make, id=name, marks=marks) for name, (make, marks) in ENGINES.items()]
)


@every_engine
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_depends_on_its_image_and_at_most_on_its_place(
    make: Callable[[Path], Any], threads: int, tmp_path: Path
) -> None:
    """Companions change no bit; another place moves a score by rounding alone, and a label only at a near-tie."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        classifier = BaseClassifier(make(tmp_path), num_classes=10, kind="numpy")
        check = classifier.probe(IMAGES[:7], SIZE)
        batch, others = IMAGES[:SIZE], IMAGES[SIZE : 2 * SIZE]
        scores = classifier.scores(batch)
        assert torch.equal(classifier.scores(batch), scores)
        for first in range(3):
            stays = torch.arange(first, SIZE, 3)
            among = others.clone()
            among[stays] = batch[stays]
            assert torch.equal(classifier.scores(among)[stays], scores[stays])
        order = torch.randperm(SIZE, generator=torch.Generator().manual_seed(1))
        moved, spread = classifier.scores(batch[order]), float(scores.double().std())
        found = RowsCheck.of([(scores[order], moved)])
        best = scores.double().topk(2).values
        assert found.largest <= 1e-5 * spread
        assert found.labels <= int((best[:, 0] - best[:, 1] <= 2 * found.largest).sum())
        assert check.largest <= 1e-5 * max(spread, float(scores.abs().max()) * 10)
    finally:
        torch.set_num_threads(before)


def test_a_score_that_depends_on_the_place_in_its_last_bits_is_told() -> None:
    def placed(batch: np.ndarray) -> np.ndarray:
        return batch.reshape(len(batch), -1)[:, :10] + 1e-6 * np.arange(len(batch))[:, None]

    check = BaseClassifier(placed, num_classes=10, kind="numpy").probe(IMAGES[:7], SIZE)
    assert check.rows == SIZE
    assert check.changed > SIZE // 2
    assert 1e-6 < check.largest < 1e-4
    steady = BaseClassifier(lambda batch: batch.reshape(len(batch), -1)[:, :10], num_classes=10, kind="numpy")
    assert steady.probe(IMAGES[:7], SIZE) == RowsCheck(SIZE, 0, 0.0, 0)


def test_how_rows_are_compared() -> None:
    one = torch.tensor([[1.0, 2.0], [torch.nan, 1.0], [torch.inf, 0.0]])
    other = torch.tensor([[1.0, 0.5], [torch.nan, 1.0], [torch.inf, 0.0]])
    assert RowsCheck.of([(one, one)]) == RowsCheck(3, 0, 0.0, 0)
    assert RowsCheck.of([(one, other)]) == RowsCheck(3, 1, 1.5, 1)
    assert RowsCheck.of([(one[:1], one[:1]), (one, other)]) == RowsCheck(4, 1, 1.5, 1)
    assert RowsCheck.of([(torch.tensor([1, 2]), torch.tensor([1, 0]))]) == RowsCheck(2, 1, 0.0, 1)
