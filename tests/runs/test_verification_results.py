"""Networks verified on a data set, and the file that keeps the result."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from command_line import figures, invoke
from counting import die_at, run
from noiseproof.data import ArrayDataset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import build, model_digest
from noiseproof.runs import Selection, VerificationRecord, Verify
from noiseproof.runs.verification_records import VerificationTable, Verified
from noiseproof.storage.provenance import provenance
from noiseproof.verification import Cascade
from synthetic_records import verified_result

COLUMNS = ("index", "label", "prediction", "certified", "stage")


def two_linear_stages() -> list[tuple[str, nn.Module]]:
    torch.manual_seed(0)
    stages = []
    for number in range(2):
        first, last = nn.Linear(9, 4), nn.Linear(4, 3)
        with torch.no_grad():
            first.bias.copy_(
                -0.5 * first.weight.sum(1)
            )  # so that the middle of the pixels is the middle of the classes
            last.bias.zero_()
        stages.append((f"stage{number}", nn.Sequential(nn.Flatten(), first, nn.ReLU(), last).eval()))
    return stages


def small_images(count: int = 150) -> ArrayDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(count, 1, 3, 3)).astype(np.float32) / 255
    return ArrayDataset("small", "test", images, rng.integers(3, size=count), 3)


def job(shard_size: int = 16, **changes: Any) -> Verify:
    return Verify(**{"radius": 0.3, "selection": Selection(every=2, limit=70), "shard_size": shard_size} | changes)  # type: ignore[arg-type]


def verified(path: Path, what: Verify | None = None, **told: Any) -> VerificationRecord:
    return run(what or job(), path, Verify.subject(two_linear_stages(), small_images()), **told)[0]  # type: ignore[no-any-return]


def same(one: VerificationRecord, other: VerificationRecord) -> bool:
    left, right = one.read(), other.read()
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in COLUMNS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> VerificationRecord:
    return verified(tmp_path_factory.mktemp("whole"))


def test_verification_counts_as_the_cascade_does(whole: VerificationRecord) -> None:
    dataset, stages, found = small_images(), two_linear_stages(), whole.result()
    chosen = list(range(0, 140, 2))
    images, labels = torch.as_tensor(dataset.read(chosen)), torch.as_tensor(dataset.labels[chosen])
    answer = Cascade([network for _, network in stages], "l2", 0.3)(images)
    assert found.images == 70
    assert found.certified_error == pytest.approx(answer.certified_error(labels))
    assert found.clean_error == pytest.approx(answer.error(labels))
    assert 0.0 < found.clean_error < found.certified_error < 1.0
    assert [stage["answered"] for stage in found.stages] == [int((answer.stages == number).sum()) for number in (0, 1)]
    assert [stage["name"] for stage in found.stages] == ["stage0", "stage1"]
    assert [stage["digest"] for stage in found.stages] == [model_digest(network) for _, network in stages]
    assert set(found.about) == set(provenance("cpu")) | {"seconds", "image_shape"}
    assert found.about["seconds"] >= 0.0
    assert whole.read().index.tolist() == chosen
    with pytest.raises(InvalidInputError, match="stages"):
        Verify.subject([], dataset)


def test_what_cannot_be_verified_leaves_no_record(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 3), nn.Sigmoid()).eval()
    with pytest.raises(InvalidInputError, match="Sigmoid"):
        run(job(), tmp_path, Verify.subject([("odd", network)], small_images()))
    assert not list(tmp_path.iterdir())


def test_a_verification_goes_on_where_it_was_stopped(whole: VerificationRecord, tmp_path: Path) -> None:
    def stop(number: int, _: VerificationTable) -> None:
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verified(tmp_path, on_shard=stop)
    record = VerificationRecord.open(tmp_path)
    assert record.missing() == ([2, 3, 4], [])
    with pytest.raises(RunError, match="complete, to be summed up; got 32 of 70 images"):
        record.result()
    made: list[int] = []
    with record.claim(3):
        verified(tmp_path, on_shard=lambda number, _: made.append(number))
    assert made == [2, 4], "one is left to the process that holds it"
    told: list[int] = []
    assert same(verified(tmp_path, progress=told.append), whole)
    assert sum(told) == 16
    assert same(verified(tmp_path / "at once", job(shard_size=100)), whole)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (job(radius=0.2), "radius 0.2; got radius 0.3"),
        (job(norm="linf"), "norm linf; got norm l2"),
        (job(selection=Selection(every=2)), "stop 150; got stop 140"),
    ],
)
def test_other_settings_do_not_mix(what: Verify, said: str, whole: VerificationRecord) -> None:
    with pytest.raises(RunError, match=said):
        verified(whole.path, what)


def test_another_network_is_not_taken_for_it(whole: VerificationRecord) -> None:
    renamed = [(f"elsewhere/{name}", network) for name, network in two_linear_stages()]
    run(job(), whole.path, Verify.subject(renamed, small_images()))
    with torch.no_grad():
        renamed[1][1][1].weight[0, 0] += 1e-3  # type: ignore[index]
    with pytest.raises(RunError, match="a record with model digests"):
        run(job(), whole.path, Verify.subject(renamed, small_images()))


def test_damaged_decisions_are_named_and_made_anew(whole: VerificationRecord, tmp_path: Path) -> None:
    record = verified(tmp_path)
    content = bytearray(record.shard_path(2).read_bytes())
    for damage in (content[: len(content) // 2], b"", whole.shard_path(1).read_bytes()):
        record.shard_path(2).write_bytes(damage)
        with pytest.raises(RunError, match=r"00002\.parquet must be a whole shard of this record"):
            record.read()
        made: list[int] = []
        assert same(verified(tmp_path, on_shard=lambda number, _, made=made: made.append(number)), whole)  # type: ignore[misc]
        assert made == [2]


@pytest.mark.parametrize(
    "change", [{"prediction": 3}, {"label": -1}, {"stage": 2}, {"stage": 0, "certified": False}], ids=str
)
def test_decisions_that_contradict_the_settings_are_refused(
    change: dict[str, int], whole: VerificationRecord, tmp_path: Path
) -> None:
    record, table = VerificationRecord.create(tmp_path, whole.settings, whole.about), whole.read()
    rows = {name: getattr(table, name)[:16].copy() for name in COLUMNS}
    for name, value in change.items():
        rows[name][3] = value
    record.write_shard(0, VerificationTable(**rows))
    with pytest.raises(RunError, match="ValueError"):
        record.read()


@pytest.mark.slow
def test_kill_9_at_every_write(whole: VerificationRecord, tmp_path: Path) -> None:
    """A real SIGKILL before every flush and renaming: shards written stay, and the rest is verified again, the same."""
    two_linear_stages()  # before the fork
    for step in range(1, 1 + 2 * len(whole.shards)):  # the configuration is flushed first, and linked
        path = tmp_path / str(step)
        child = os.fork()
        if child == 0:
            die_at(step)
            verified(path)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert VerificationRecord.open(path).missing() == (list(whole.shards[(step - 1) // 2 :]), [])
        assert same(verified(path), whole)
        assert not list(path.rglob("*.part"))


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    path = verified_result().write(tmp_path)
    whole = json.loads(path.read_text())
    for content in ("{", "[]", json.dumps(whole | {"format": 99}), json.dumps({"format": 1})):
        path.write_text(content)
        with pytest.raises(RunError, match="result of a verification"):
            Verified.open(tmp_path)


def test_verification_from_the_command_line(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build("kw-mnist-small")
    torch.save(network.state_dict(), tmp_path / "stage.pth")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "ours.npz", images=rng.random((4, 1, 28, 28), dtype=np.float32), labels=np.arange(4))
    stage = f"kw-mnist-small={tmp_path / 'stage.pth'}"
    arguments = ("verify", tmp_path / "kw", "--data", tmp_path / "ours.npz", "--radius", 1e-4, "--stage", stage)
    shown = invoke(*arguments, "--limit", 2)
    found = Verified.open(tmp_path / "kw")
    assert found.images == 2
    assert found.stages[0]["name"] == stage
    assert "2 images" in shown.stderr
    told = figures(*arguments, "--limit", 2)
    assert (told["images"], told["norm"], told["certified"]) == (2, "l2", 1.0 - found.certified_error)
    assert "--data" in invoke("verify", tmp_path / "kw", "--radius", 1e-4, "--stage", stage, code=2).stderr
