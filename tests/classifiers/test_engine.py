"""Networks in other precisions, compiled or quantised: the same function up to rounding, and votes that stay votes."""

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import noiseproof as npf
from noiseproof import data
from noiseproof.classifiers import (
    Accelerated,
    Precision,
    Quantised,
    Throughput,
    accelerate,
    find_batch_size,
    images_per_second,
    keep_large_blocks,
    measure_throughput,
    multiplies_bfloat16,
    quantisation,
    quantise,
)
from noiseproof.classifiers import autotune as tuning
from noiseproof.classifiers.autotune import Autotuner, autotune, has_compiler
from noiseproof.classifiers.base import BaseClassifier
from noiseproof.models import model_digest
from noiseproof.noises import Gaussian
from noiseproof.storage.stopwatch import Stopwatch

CPU = torch.device("cpu")
compiles = pytest.mark.skipif(not has_compiler(CPU), reason="no C++ compiler for torch.compile on this machine")


def network() -> nn.Sequential:
    """Of torch's own modules, as torch.compile does not see through the checks of shapes in tests."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 36, 10)
    )


@pytest.fixture(scope="module")
def noisy() -> Tensor:
    images = torch.as_tensor(data.load("digits", "train").read(range(64)))
    return images + Gaussian(0.25).sample(images, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def int8(noisy: Tensor) -> Quantised:
    if not has_compiler(CPU):
        pytest.skip("no C++ compiler for torch.compile on this machine")
    return quantise(network(), noisy, batch_size=32)


def outputs(runner: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    with torch.inference_mode():
        return runner(batch)


@pytest.mark.parametrize(
    ("precision", "compiled", "tolerance"),
    [
        ("fp32", False, 1e-5),
        ("bf16", False, 0.02),
        pytest.param("fp32", True, 1e-5, marks=[compiles, pytest.mark.slow]),
        pytest.param("bf16", True, 0.02, marks=[compiles, pytest.mark.slow]),
    ],
)
def test_the_same_function_up_to_rounding(precision: str, compiled: bool, tolerance: float, noisy: Tensor) -> None:
    module = network()
    module.train()
    before = model_digest(module)
    runner = accelerate(module, precision=precision, compiled=compiled)
    expected = outputs(network().eval(), noisy)
    found = outputs(runner, noisy)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()
    assert module.training, "the module of the user stays as it is"
    assert model_digest(module) == before
    assert runner.settings() == {"device": "cpu", "precision": precision, "compile": compiled}
    # a row's output is that of its image, whatever stands beside it; the place of a row may move the last bit
    moved = outputs(runner, noisy.roll(5, 0)).roll(-5, 0)
    assert (moved - found).abs().max() <= (1e-6 if compiled else 0.0) * expected.abs().max()


@pytest.mark.slow
def test_int8_is_near_float32_and_fixed(int8: Quantised, noisy: Tensor) -> None:
    expected = outputs(network().eval(), noisy[:32])
    found = outputs(int8, noisy[:32])
    assert found.dtype == torch.float32
    assert 0.0 < (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert torch.equal(outputs(int8, noisy[:32].roll(5, 0)).roll(-5, 0), found), "scales are static"
    assert torch.equal(outputs(int8, noisy[:32] * 1.0), found)
    assert int8.settings()["quantisation"] == int8.digest
    assert quantise(network(), noisy, batch_size=32).digest == int8.digest, "quantising is deterministic"
    assert quantise(network(), noisy * 1.5, batch_size=32).digest != int8.digest, "the digest sees the scales"


@pytest.mark.slow
def test_int8_between_its_layers_is_what_the_processor_has(noisy: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_compiler(CPU):
        pytest.skip("no C++ compiler for torch.compile on this machine")
    apart = {}
    for native in (True, False):
        monkeypatch.setattr(quantisation, "multiplies_bfloat16", lambda _, native=native: native)
        asked: list[bool] = []
        monkeypatch.setattr(
            quantisation,
            "compiled_function",
            lambda f, asked=asked: lambda x: (asked.append(under_autocast(f, x)), f(x))[1],
        )
        runner = quantise(network(), noisy, batch_size=32)
        found = outputs(runner, noisy[:32])
        assert asked == [native]
        assert runner.settings().get("between") == (None if native else "fp32")  # records of before have no such key
        apart[native] = found
    assert 0.0 < (apart[True] - apart[False]).abs().max() < 0.05 * apart[False].abs().max()


def under_autocast(function: Callable[[Tensor], Tensor], batch: Tensor) -> bool:
    """Whether a function computes in bfloat16 what autocast lets it."""
    seen: list[bool] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, op: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = op(*args, **(kwargs or {}))
            seen.append(isinstance(result, Tensor) and result.dtype == torch.bfloat16)
            return result

    with Watch():
        function(batch)
    return any(seen)


@pytest.mark.slow
def test_two_products_fit_into_16_bits_without_vnni(noisy: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = {}
    for vnni in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda vnni=vnni: vnni)
        kept: list[Any] = []
        monkeypatch.setattr(quantisation, "_scales_digest", lambda converted, kept=kept: kept.append(converted) or "")
        quantise(network(), noisy, batch_size=32)
        activations = [node for node in kept[0].graph.nodes if "quantize_per_tensor.default" in str(node.target)]
        largest[vnni] = {node.args[4] for node in activations}  # (input, scale, zero point, least, largest, dtype)
    assert largest == {True: {255}, False: {127}}
    assert 2 * 127 * 128 < 2**15 < 2 * 255 * 128


@pytest.mark.slow
def test_int8_certifies(int8: Quantised) -> None:
    images = data.load("digits", "test").read(range(3))
    smoothed = npf.SmoothedClassifier(int8, Gaussian(0.25), 10)
    assert smoothed.counter.batch_size_for((1, 8, 8)) == 32
    votes = smoothed.count(images, samples=70)
    assert (votes.sum(1) == 70).all()
    apart = [smoothed.count(images[i : i + 1], samples=70, indices=[i])[0] for i in range(3)]
    np.testing.assert_array_equal(votes, apart)


def test_dynamic_quantisation_is_refused() -> None:
    """Its scale is taken from the batch: a row's output depends on its neighbours."""

    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            flat = x.flatten(1)
            scale = flat.abs().max() / 15
            return self.layer((flat / scale).round() * scale)

    with pytest.raises(npf.ClassifierError, match="dynamic quantisation"):
        npf.SmoothedClassifier(Dynamic(), Gaussian(0.25), 10).count(np.random.rand(4, 1, 8, 8).astype("f4"), samples=10)  # noqa: NPY002


def test_the_digest_is_that_of_the_weights_that_run() -> None:
    """A network trained on after it was accelerated is another one; the record must name what ran."""
    module = network()
    runner = accelerate(module)
    before = model_digest(runner.module)
    with torch.no_grad():
        module[0].weight.add_(1.0)
    assert model_digest(runner.module) == before != model_digest(module)


def test_digests_see_buffers_that_are_not_saved_and_packed_parameters() -> None:
    one, other = network(), network()
    for module, value in ((one, 0.0), (other, 0.5)):
        module.register_buffer("mean", torch.tensor(value), persistent=False)
    assert model_digest(one) != model_digest(other)

    class Packed(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def state_dict(self, *_: object, **__: object) -> dict[str, object]:  # type: ignore[override]
            weight = torch.quantize_per_tensor(torch.tensor([self.value, 1.0]), 0.1, 0, torch.qint8)
            return {"packed": (weight, None), "kind": "qint8"}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to give these types up; networks that have them still come
        assert model_digest(Packed(0.2)) == model_digest(Packed(0.2)) != model_digest(Packed(0.5))


def test_surroundings_do_not_change_the_precision(noisy: Tensor) -> None:
    runner = accelerate(network())
    with torch.autocast("cpu", torch.bfloat16):
        inside = outputs(runner, noisy)
    assert torch.equal(inside, outputs(runner, noisy))


@compiles
@pytest.mark.slow
def test_many_networks_are_all_compiled() -> None:
    """Torch stops compiling after eight forms of one function, and runs the rest as they are without a word."""
    from torch._dynamo.utils import counters

    for number in range(10):
        torch.manual_seed(number)
        runner = accelerate(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), compiled=True)
        before = counters["stats"]["unique_graphs"]
        outputs(runner, torch.zeros(3, 1, 2, 2))
        assert counters["stats"]["unique_graphs"] == before + 1, f"network {number} ran uncompiled"


def test_what_cannot_be_traced_says_so() -> None:
    pytest.importorskip("torchao")

    class Branches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] if float(x.sum()) > 0 else x.flatten(1)[:, 1:4]

    with pytest.raises(npf.ClassifierError, match=r"traceable by torch\.export for int8"):
        quantise(Branches(), torch.zeros(4, 1, 2, 2), batch_size=4)


def test_autotuning_finds_the_training_images_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "there").mkdir()
    test, train = rng.random((30, 1, 8, 8)), np.ones((5, 1, 8, 8))
    labels = np.arange(30) % 10
    monkeypatch.chdir(tmp_path)
    for arrays, split, path in (
        ({"train_images": train, "train_labels": labels[:5]}, "train", "there/mine.npz"),
        ({}, "test", "there/other.npz"),
    ):
        np.savez(tmp_path / path, images=test, labels=labels, **arrays)  # type: ignore[arg-type]
        dataset = data.load(path, "test")
        found = Autotuner(network(), dataset, Gaussian(0.01), seed=0, device=CPU, batch_size=16)
        assert found.split == split
        assert (float(found.noisy.mean()) > 0.9) == (split == "train")


def test_bad_requests() -> None:
    with pytest.raises(npf.InvalidInputError, match=r"precision must be one of fp32, bf16, fp16; got 'int8'.*quantise"):
        accelerate(network(), precision="int8")
    with pytest.raises(npf.InvalidInputError, match="CPUs have no fast fp16"):
        accelerate(network(), precision="fp16")
    with pytest.raises(npf.InvalidInputError, match="the network must be a torch"):
        inspect.unwrap(accelerate)(len)
    pytest.importorskip("torchao")
    with pytest.raises(npf.InvalidInputError, match="noisy_images must be at least one batch of 8; got 4"):
        quantise(network(), torch.zeros(4, 1, 8, 8), batch_size=8)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(npf.MissingExtraError, match=r"pip install 'noiseproof\[int8\]'"):
        quantise(network(), torch.zeros(4, 1, 8, 8), batch_size=4)


def test_measuring(noisy: Tensor) -> None:
    classifier = BaseClassifier(accelerate(network()), num_classes=10)
    truth = classifier(noisy)
    first, reference = measure_throughput("fp32", classifier, noisy, truth, batch_size=16)
    assert (first.noisy_accuracy, first.agreement, first.images) == (1.0, 1.0, 64)
    assert first.images_per_second > 0
    other = BaseClassifier(lambda x: (classifier(x) + 1) % 10, num_classes=10)
    second, _ = measure_throughput("other", other, noisy, truth, 16, reference)
    assert (second.noisy_accuracy, second.agreement) == (0.0, 0.0)


def test_batch_size_doubles_while_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {8: 100.0, 16: 150.0, 32: 160.0, 64: 161.0}
    asked: list[int] = []

    def speed(_: object, batch: Tensor) -> float:
        asked.append(len(batch))
        return speeds[len(batch)]

    monkeypatch.setattr("noiseproof.classifiers.throughput.images_per_second", speed)
    assert find_batch_size(lambda x: x, (1, 8, 8), CPU, start=8) == 32
    assert asked == [8, 16, 32, 64]


def test_batch_size_stops_where_memory_ends() -> None:
    def classify(batch: Tensor) -> Tensor:
        if len(batch) > 16:
            raise npf.OutOfMemoryError("a batch", required="smaller", got="a big one", remedy="None.")
        return torch.zeros(len(batch))

    assert find_batch_size(classify, (1, 2, 2), CPU, start=8) in {8, 16}
    assert images_per_second(classify, torch.zeros(4, 1, 2, 2), seconds=0.0) > 0


# ---- choosing --------------------------------------------------------------------------------------------------------


def chosen(**changes: object) -> tuning.Choice:
    options = {
        "precision": "auto",
        "compiled": None,
        "batch_size": None,
        "recorded": None,
        "votes": 1000,
        "seed": 0,
        "device": CPU,
    }
    return autotune(network(), data.load("digits", "test"), Gaussian(0.25), **(options | changes))  # type: ignore[arg-type]


def forms(choice: tuning.Choice) -> tuple[str, bool]:
    settings = choice.classifier.settings()
    return settings["precision"], settings["compile"]


def test_a_short_run_is_float32_as_it_is() -> None:
    choice = chosen()
    assert forms(choice) == ("fp32", False)
    assert choice.measured == []


def test_what_is_asked_for_is_taken() -> None:
    assert forms(chosen(precision="bf16", votes=10**12)) == ("bf16", False)
    assert chosen(precision="fp32", batch_size=77).batch_size == 77


def test_a_record_is_continued_in_its_own_precision() -> None:
    assert forms(chosen(recorded={"precision": "bf16", "compile": False}, votes=10**12)) == ("bf16", False)


@compiles
def test_compiling_left_open_is_as_the_record_has_it() -> None:
    recorded = {"precision": "bf16", "compile": True}
    for precision in ("auto", "bf16"):
        assert forms(chosen(precision=precision, recorded=recorded)) == ("bf16", True)
    assert forms(chosen(precision="fp32", recorded=recorded)) == ("fp32", False)


@pytest.mark.parametrize(
    ("speed", "agreement", "expected"),
    [(2.0, 1.0, "bf16"), (1.4, 1.0, "fp32"), (2.0, 0.98, "fp32")],
)
def test_long_runs_take_16_bits_where_they_are_fast_and_true(
    speed: float, agreement: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(name: str, *_: object) -> tuple[Throughput, Tensor]:
        sixteen = name == "bf16"
        return Throughput(name, 100.0 * (speed if sixteen else 1), 0.9, agreement if sixteen else 1.0, 64), torch.zeros(
            1
        )

    monkeypatch.setattr(tuning, "multiplies_bfloat16", lambda _: True)
    monkeypatch.setattr(tuning, "measure_throughput", measured)
    choice = chosen(votes=10**9, compiled=False, batch_size=16)
    assert forms(choice) == (expected, False)
    assert [row.name for row in choice.measured] == ["fp32", "bf16"]


def test_emulated_bfloat16_is_not_even_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "multiplies_bfloat16", lambda _: False)
    choice = chosen(votes=10**9, compiled=False, batch_size=16)
    assert forms(choice) == ("fp32", False)
    assert [row.name for row in choice.measured] == ["fp32"]


def test_a_device_says_whether_it_multiplies_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    assert multiplies_bfloat16(CPU) in {True, False}
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert multiplies_bfloat16(torch.device("cuda")) is native


@compiles
@pytest.mark.slow
def test_very_long_runs_are_compiled_if_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    for factor, expected in ((1.2, True), (1.01, False)):

        def measured(name: str, *_: object, factor: float = factor) -> tuple[Throughput, Tensor]:
            return Throughput(name, 100.0 * (factor if "compiled" in name else 1), 0.9, 1.0, 64), torch.zeros(1)

        monkeypatch.setattr(tuning, "measure_throughput", measured)
        assert forms(chosen(votes=10**9, batch_size=16)) == ("fp32", expected)


@pytest.mark.slow
def test_int8_is_measured_beside_float32(int8: Quantised) -> None:
    choice = chosen(precision="int8", batch_size=64)
    assert isinstance(choice.classifier, Quantised)
    assert [row.name for row in choice.measured] == ["fp32", "int8"]
    assert choice.measured[1].agreement > 0.9
    assert int8.batch_size == 32


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    for request in ({"compiled": True}, {"precision": "int8"}):
        with pytest.raises(npf.InvalidInputError, match=r"Install g\+\+"):
            chosen(**request)
    assert forms(chosen(votes=10**12, precision="bf16")) == ("bf16", False)


def test_autotuning_never_uses_the_noise_of_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noiseproof.sampling.HostSampler.fill", None)
    first = Autotuner(network(), data.load("digits", "test"), Gaussian(0.25), seed=0, device=CPU, batch_size=16)
    again = Autotuner(network(), data.load("digits", "test"), Gaussian(0.25), seed=0, device=CPU, batch_size=16)
    assert torch.equal(first.noisy, again.noisy), "the same seed quantises alike"
    assert len(first.noisy) == 1024
    train = data.load("digits", "train")
    assert first.labels.tolist() == train.labels[np.linspace(0, len(train) - 1, 1024).astype(int)].tolist()


# ---- small parts -----------------------------------------------------------------------------------------------------


def test_stopwatch() -> None:
    waited = []
    watch = Stopwatch(lambda: waited.append(1))
    with watch.stage("noise"):
        pass
    with pytest.raises(ZeroDivisionError), watch.stage("network"):
        1 / 0  # noqa: B018
    assert list(watch.shares()) == ["noise", "network", "rest"]
    assert sum(watch.shares().values()) == pytest.approx(1.0)
    assert len(waited) == 2
    watch.restart()
    assert list(watch.shares()) == ["rest"]


def test_keeping_blocks_changes_no_result() -> None:
    assert keep_large_blocks() in {True, False}


def test_precisions_are_named_as_on_the_command_line() -> None:
    from noiseproof.cli.options import EngineOptions

    named = get_args(get_type_hints(EngineOptions)["precision"])
    assert set(named) == {"auto", *(name.value for name in Precision)}


def test_a_checkpoint_and_its_accelerated_form_have_one_digest(tmp_path: Path) -> None:
    module = network()
    runner = accelerate(module)
    assert isinstance(runner, Accelerated)
    assert model_digest(runner.module) == model_digest(module)
    assert tmp_path.exists()
