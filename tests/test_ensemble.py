"""Several networks as one classifier: the mean of their logits, in one checkpoint, like any other run folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from noiseproof import cli
from noiseproof.calibration import has_compiler
from noiseproof.engine import quantise
from noiseproof.errors import InvalidInputError, NoiseproofError, RunError
from noiseproof.models import (
    Checkpoint,
    DigitsCNN,
    Ensemble,
    build,
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


@pytest.mark.parametrize(
    "name", ["ensemble:digits-cnn", "ensemble:", "ensemble:digits-cnn,ensemble:digits-cnn,digits-cnn"]
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
        (lambda: member(1, **OTHER_NOISE), "the noise of net-1 must be that of the first.*--sigma"),
        (lambda: ("bare", Checkpoint(DigitsCNN(), "digits-cnn", {})), "none of its data, settings"),
        (lambda: member(1, made=[]), "none of its made"),
        (lambda: ("two", Checkpoint(Ensemble([DigitsCNN(), DigitsCNN()]), "digits-cnn", record())), "got an ensemble"),
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
    runner = CliRunner()
    for seed in range(2):
        name, network = member(seed)
        digits = record(data={"name": "digits"}, made={"data": {"num_classes": 10, "image_shape": [1, 8, 8]}})
        save_checkpoint(tmp_path / name / CHECKPOINT, network.model, network.model_name, digits)
    places = [str(tmp_path / "net-0"), str(tmp_path / "net-1" / CHECKPOINT)]
    out = tmp_path / "two"
    made = runner.invoke(cli.app, ["ensemble", *places, "--out", str(out), "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["members"] == places
    certified = runner.invoke(cli.app, ["certify", str(out), "--samples", "50", "--every", "100", "--json"])
    assert certified.exit_code == 0, certified.output
    assert json.loads(certified.stdout)["counted"] == 6
    recorded = json.loads((out / "record.json").read_text())
    assert recorded["settings"]["model"]["name"] == "ensemble:digits-cnn,digits-cnn"
    assert recorded["settings"]["noise"] == Gaussian(0.25).spec()
    again = runner.invoke(cli.app, ["ensemble", *places, "--out", str(out)])
    assert isinstance(again.exception, NoiseproofError)
    alone = runner.invoke(cli.app, ["ensemble", places[0], "--out", str(tmp_path / "one")])
    assert isinstance(alone.exception, InvalidInputError)
