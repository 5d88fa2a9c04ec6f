"""Several networks as one classifier: the mean of their logits, in one checkpoint, like any other run folder."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from command_line import figures
from noiseproof.classifiers import accelerate, quantise
from noiseproof.classifiers.autotune import has_compiler
from noiseproof.errors import InvalidInputError, NoiseproofError, RunError
from noiseproof.models import (
    Checkpoint,
    DigitsCNN,
    Ensemble,
    build,
    ensemble,
    load_checkpoint,
    model_digest,
    names,
    save_checkpoint,
)
from noiseproof.noises import Gaussian, Laplace
from noiseproof.training import CHECKPOINT, combine

compiles = pytest.mark.skipif(
    not has_compiler(torch.device("cpu")), reason="no C++ compiler for torch.compile on this machine"
)

MADE = {"data": {"num_classes": 10, "image_shape": [1, 8, 8], "class_names": None, "location": "somewhere"}}


def record(**changes: Any) -> dict[str, Any]:
    usual = {
        "settings": {"noise": {"name": "gaussian", "sigma": 0.25}, "seed": 0, "objective": {"name": "Stability"}},
        "data": {"name": "digits", "digest": "d"},
        "made": MADE,
    }
    return usual | changes


def member(seed: int, **changes: Any) -> tuple[str, Checkpoint]:
    torch.manual_seed(seed)
    return f"net-{seed}", Checkpoint(build("digits-cnn").eval(), "digits-cnn", record(**changes))


def test_it_is_the_mean_of_the_logits() -> None:
    members = [member(seed)[1].model for seed in range(3)]
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    mean = np.mean([net(images).detach().numpy() for net in members], axis=0)
    found = Ensemble(members)(images)
    np.testing.assert_allclose(found.detach().numpy(), mean, rtol=0, atol=1e-6)
    geometric = np.exp(np.mean([net(images).log_softmax(1).detach().numpy() for net in members], axis=0))
    assert (geometric.argmax(1) == found.argmax(1).numpy()).all(), "its winner is that of the geometric mean"


def test_the_members_get_their_gradients() -> None:
    members = [nn.Linear(2, 3), nn.Linear(2, 3)]
    images = torch.ones(1, 2, requires_grad=True)
    Ensemble(members)(images)[0, 0].backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad[0], (members[0].weight[0] + members[1].weight[0]) / 2)


def test_members_of_other_classes_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"scores \(1, 3\).*got \(1, 1\)"):
        Ensemble([nn.Linear(2, 3), nn.Linear(2, 1)])(torch.ones(1, 2))  # these would broadcast
    with pytest.raises(InvalidInputError, match="at least 2"):
        Ensemble([nn.Linear(2, 3)])


class Told(nn.Module):
    """Gives the logits that its first channels hold, and keeps which images it was asked about."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.asked = number, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked.append(images[:, -1, 0].tolist())
        return images[:, self.number]


def told(rows: list[list[list[float]]]) -> torch.Tensor:
    """Images (rows, members + 1, classes): logits of every member, and the number of the image."""
    logits = torch.tensor(rows)
    numbers = torch.arange(len(rows)).float()[:, None, None].expand(-1, 1, logits.shape[2])
    return torch.cat([logits, numbers], 1)


CLEAR_AT_ONCE = [[3.0, 1.0], [-9.0, 9.0], [-9.0, 9.0]]
CLEAR_AFTER_TWO = [[2.0, 1.0], [4.0, 1.0], [-9.0, 9.0]]
NEVER_CLEAR = [[2.0, 1.0], [0.0, 1.5], [0.5, 1.0]]


@pytest.mark.parametrize("batch", [3, 1])
def test_nobody_is_asked_about_what_is_clear(batch: int) -> None:
    images = told([CLEAR_AFTER_TWO, CLEAR_AT_ONCE, NEVER_CLEAR])
    members = [Told(number) for number in range(3)]
    network = Ensemble(members, early_exit=2.0)
    found = torch.cat([network(part) for part in images.split(batch)])
    torch.testing.assert_close(found, torch.tensor([[3.0, 1.0], [3.0, 1.0], [2.5 / 3, 3.5 / 3]]))
    asked = [[number for part in member.asked for number in part] for member in members]
    assert asked == [[0.0, 1.0, 2.0], [0.0, 2.0], [2.0]]
    members[2].asked.clear()
    network(images[:2])
    assert members[2].asked == [], "nothing is left to ask about"


def random_logits(rows: int, members: int, classes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return told((2 * torch.randn(rows, members, classes, generator=generator)).tolist())


@pytest.mark.parametrize("margin", [0.25, 1.0, 2.5, 1e9])
def test_the_graph_of_it_is_the_same_function(margin: float, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_logits(400, 4, 5)
    network = Ensemble([Told(number) for number in range(4)], margin)
    expected, numbers = [], []
    for image in images[:, :4].numpy():  # by the definition
        means = image.cumsum(0) / np.arange(1, 5)[:, None]
        largest = np.sort(means, 1)
        clear = np.flatnonzero(largest[:, -1] - largest[:, -2] >= margin)
        numbers.append(clear[0] if len(clear) else 3)
        expected.append(means[numbers[-1]])
    assert set(numbers) == ({3} if margin == 1e9 else {0, 1, 2, 3}), "all cases"
    np.testing.assert_allclose(network(images), np.array(expected), rtol=0, atol=1e-5)
    for graph in ("torch.compiler.is_compiling", "torch.jit.is_tracing"):
        with monkeypatch.context() as patched:
            patched.setattr(graph, lambda: True)
            for told in network.members:
                told.asked.clear()
            np.testing.assert_allclose(network(images), np.array(expected), rtol=0, atol=1e-5)
            assert [len(told.asked[0]) for told in network.members] == [400] * 4, "all rows go through all of the graph"


@compiles
@pytest.mark.slow
def test_compiled_and_in_int8_it_is_the_same_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ensemble, "forward", inspect.unwrap(Ensemble.forward))  # the tests' check of shapes is no graph
    monkeypatch.setattr(ensemble, "_clear", inspect.unwrap(ensemble._clear))
    torch.manual_seed(0)
    layers = [(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)) for _ in range(3)]
    members = [nn.Sequential(*each).eval() for each in layers]
    images = torch.rand(64, 1, 8, 8) + 0.25 * torch.randn(64, 1, 8, 8)
    with torch.inference_mode():
        logits = torch.stack([net(images) for net in members]).cumsum(0) / torch.arange(1, 4)[:, None, None]
        largest = logits.topk(2, dim=2).values
        margins = largest[:, :, 0] - largest[:, :, 1]
        network = Ensemble(members, margins[0].median().item()).eval()
        assert network.early_exit is not None
        assert 25 < (margins[0] >= network.early_exit).sum() < 40, "half of them stop after one"
        found = accelerate(network, compiled=True)(images)
        torch.testing.assert_close(found, network(images), rtol=0, atol=1e-5)
    int8 = torch.as_tensor(quantise(network, images, batch_size=64)(images))
    wide = (margins[0] - network.early_exit).abs() > 0.05  # rounding may move the others across the margin
    assert (int8 - network(images))[wide].abs().max() < 0.1 * network(images).abs().max()


def test_it_is_exported_for_batches_of_any_size() -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 6)
    for margin in (None, 0.3):
        network = Ensemble([nn.Linear(6, 5) for _ in range(3)], margin).eval()
        exported = torch.export.export(network, (images[:8],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.testing.assert_close(exported.module()(images), network(images))


def test_members_of_unlike_types_are_promoted() -> None:
    images = random_logits(50, 2, 5)
    members = [Told(0), Told(1)]
    narrow = Ensemble([nn.Sequential(members[0], Cast(torch.bfloat16)), members[1]], 1.0)(images)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, Ensemble(members, 1.0)(images), rtol=0.02, atol=0.02)


class Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.to(self.dtype)


def test_gradients_go_through_those_that_were_asked() -> None:
    images = told([CLEAR_AFTER_TWO, CLEAR_AT_ONCE, NEVER_CLEAR]).requires_grad_()
    Ensemble([Told(number) for number in range(3)], 2.0)(images)[:, 0].sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(
        images.grad[:, :3, 0], torch.tensor([[1 / 2, 1 / 2, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    )


def test_the_margin_is_of_the_function() -> None:
    members = [member(seed)[1].model for seed in range(2)]
    digests = {model_digest(Ensemble(members, margin)) for margin in (None, 1.0, 1.5)}
    assert len(digests) == 3
    assert Ensemble(members, 1.0).state_dict().keys() == Ensemble(members).state_dict().keys(), "the name tells it"


@pytest.mark.parametrize("margin", [0.0, -1.0, 1e-50, 1e39, float("inf"), float("nan")])
def test_margins_that_are_none(margin: float, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="a margin above 0"):
        Ensemble([DigitsCNN(), DigitsCNN()], margin)
    with pytest.raises(InvalidInputError, match="a margin above 0"):
        combine([member(0), member(1)], tmp_path / "two", early_exit=margin)
    assert not (tmp_path / "two").exists()


def test_members_of_other_classes_are_refused_where_they_are_asked() -> None:
    with pytest.raises(InvalidInputError, match=r"scores \(1, 3\).*got \(1, 1\)"):
        Ensemble([nn.Linear(2, 3), nn.Linear(2, 1)], 1e9)(torch.ones(1, 2))


@pytest.mark.parametrize(
    "name",
    [
        "ensemble:digits-cnn",
        "ensemble:",
        "ensemble:digits-cnn,ensemble:digits-cnn,digits-cnn",
        "ensemble:digits-cnn,digits-cnn;early-exit=",
        "ensemble:digits-cnn,digits-cnn;early-exit=-1",
        "ensemble:digits-cnn,digits-cnn;early-exit=1_5",
        "ensemble:digits-cnn,digits-cnn;early-exit=nan",
        "ensemble:digits-cnn,digits-cnn;early-exit=1;early-exit=1",
        "digits-cnn;early-exit=1",
    ],
)
def test_names_that_are_no_ensembles(name: str) -> None:
    with pytest.raises(InvalidInputError):
        build(name)


def test_a_name_cannot_fill_the_memory() -> None:
    with pytest.raises(InvalidInputError, match="at most 50"):
        build("ensemble:" + ",".join(["digits-cnn"] * 51))
    assert not any(name.startswith("ensemble") for name in names())


def test_a_checkpoint_holds_all_of_them(tmp_path: Path) -> None:
    members = [member(seed) for seed in range(3)]
    path = combine(members, tmp_path / "three")
    found = load_checkpoint(path)
    assert isinstance(found.model, Ensemble)
    assert found.model_name == "ensemble:digits-cnn,digits-cnn,digits-cnn"
    assert not found.model.training
    images = torch.rand(4, 1, 8, 8)
    mean = sum(each.model(images) for _, each in members) / 3
    torch.testing.assert_close(found.model(images), mean, rtol=0, atol=1e-6)
    assert found.record["settings"]["noise"] == Gaussian(0.25).spec()
    assert found.record["settings"]["objective"] == {"name": "Ensemble"}
    assert found.record["data"] == {"name": "digits", "digest": "d"}
    assert found.record["made"]["data"] == MADE["data"]
    digests = [model_digest(each.model) for _, each in members]
    assert [each["digest"] for each in found.record["members"]] == digests
    assert [each["settings"]["objective"] for each in found.record["members"]] == [{"name": "Stability"}] * 3
    with pytest.raises(RunError, match="without another training"):
        combine(members[:2], tmp_path / "three")
    assert load_checkpoint(path).record == found.record


def test_one_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="at most 50 networks; got 51"):
        combine([member(seed) for seed in range(51)], tmp_path / "many")
    assert not (tmp_path / "many").exists()


def test_a_checkpoint_keeps_the_margin(tmp_path: Path) -> None:
    members = [member(seed) for seed in range(3)]
    found = load_checkpoint(combine(members, tmp_path / "three", early_exit=0.1))
    assert found.model_name == "ensemble:digits-cnn,digits-cnn,digits-cnn;early-exit=0.1"
    assert found.record["settings"]["objective"] == {"name": "Ensemble", "early_exit": 0.1}
    expected = Ensemble([each.model for _, each in members], 0.1)
    assert model_digest(found.model) == model_digest(expected)
    images = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(found.model(images), expected(images), rtol=0, atol=0)


def test_an_ensemble_counts_as_its_members(tmp_path: Path) -> None:
    members = [member(seed) for seed in range(3)]
    inner = load_checkpoint(combine(members[:2], tmp_path / "two", early_exit=0.1))
    inner.record["members"][0]["digest"] = "of another"
    found = load_checkpoint(combine([("two", inner), members[2]], tmp_path / "three"))
    flat = load_checkpoint(combine(members, tmp_path / "flat"))
    assert found.model_name == flat.model_name
    assert model_digest(found.model) == model_digest(flat.model)
    assert found.record["members"] == flat.record["members"]
    with pytest.raises(InvalidInputError, match="two, member 0"):
        combine([members[0], ("two", inner)], tmp_path / "twice")


def test_an_ensemble_gives_its_noise(tmp_path: Path) -> None:
    inner = load_checkpoint(combine([member(0), member(1)], tmp_path / "two", Gaussian(0.5)))
    found = load_checkpoint(combine([("two", inner)], tmp_path / "early", early_exit=1.0))
    assert found.record["settings"]["noise"] == Gaussian(0.5).spec()
    with pytest.raises(InvalidInputError, match="the noise of net-2"):
        combine([("two", inner), member(2)], tmp_path / "three")


@pytest.mark.parametrize("told", [None, 3, [1, 2], ["ab", "cd"], [{}], {"a": {}, "b": {}}])
def test_an_ensemble_that_does_not_tell_of_its_members(told: Any, tmp_path: Path) -> None:
    inner = load_checkpoint(combine([member(0), member(1)], tmp_path / "two"))
    inner.record["members"] = told
    with pytest.raises(InvalidInputError, match="whose record describes each of its members"):
        combine([("two", inner)], tmp_path / "again")


OTHER_NOISE = {"settings": {"noise": {"name": "gaussian", "sigma": 0.5}}}
OTHER_CLASSES = {"made": {"data": MADE["data"] | {"class_names": ["a"] * 10}}}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (lambda: member(0), "another network than those before.*got that of net-0"),
        (
            lambda: member(1, data={"name": "digits", "digest": "e"}),
            "the training data of net-1 must be that of the first",
        ),
        (lambda: member(1, **OTHER_CLASSES), "the training data of net-1 must be that of the first"),
        (
            lambda: member(1, **OTHER_NOISE),
            "the noise of net-1 must be that of the first, name gaussian, sigma 0.25.*sigma=",
        ),
        (lambda: ("bare", Checkpoint(DigitsCNN(), "digits-cnn", {})), "none of its data, settings"),
        (lambda: member(1, made=[]), "none of its made"),
        (
            lambda: ("two", Checkpoint(Ensemble([DigitsCNN(), DigitsCNN()]), "digits-cnn", record())),
            "2 members, 0 names",
        ),
    ],
)
def test_what_cannot_be_put_together(second: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=said):
        combine([member(0), second()], tmp_path / "two")
    assert not (tmp_path / "two").exists(), "nothing is written"


def test_where_it_lay_and_other_noise_do_not_matter_where_noise_is_named(tmp_path: Path) -> None:
    elsewhere = {"made": {"data": MADE["data"] | {"location": "elsewhere"}}}
    path = combine([member(0), member(1, **OTHER_NOISE, **elsewhere)], tmp_path / "two", Laplace(0.3))
    assert load_checkpoint(path).record["settings"]["noise"] == Laplace(0.3).spec()


@compiles
@pytest.mark.slow
def test_int8_is_near_float32() -> None:
    network = Ensemble([member(seed)[1].model for seed in range(2)]).eval()
    noisy = torch.rand(64, 1, 8, 8) + 0.25 * torch.randn(64, 1, 8, 8)
    found = torch.as_tensor(quantise(network, noisy, batch_size=64)(noisy))
    assert (found - network(noisy)).abs().max() < 0.1 * network(noisy).abs().max()


def test_from_the_command_line(tmp_path: Path) -> None:
    for seed in range(2):
        name, network = member(seed)
        digits = record(data={"name": "digits"}, made={"data": {"num_classes": 10, "image_shape": [1, 8, 8]}})
        save_checkpoint(tmp_path / name / CHECKPOINT, network.model, network.model_name, digits)
    places = [str(tmp_path / "net-0"), str(tmp_path / "net-1" / CHECKPOINT)]
    out = tmp_path / "two"
    assert figures("ensemble", *places, "--out", out)["members"] == places
    assert figures("certify", out, "--samples", 50, "--every", 100)["counted"] == 6
    recorded = json.loads((out / "record.json").read_text())
    assert recorded["settings"]["model"]["name"] == "ensemble:digits-cnn,digits-cnn"
    assert recorded["settings"]["noise"] == Gaussian(0.25).spec()
    with pytest.raises(NoiseproofError):
        figures("ensemble", *places, "--out", out)
    figures("ensemble", *places, "--early-exit", 0.5, "--out", tmp_path / "early")
    assert load_checkpoint(tmp_path / "early" / CHECKPOINT).model_name.endswith(";early-exit=0.5")
    with pytest.raises(InvalidInputError):
        figures("ensemble", places[0], "--out", tmp_path / "one")
