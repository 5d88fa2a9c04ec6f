"""The committed records from which `make reproduce-quick` makes the tables and figures, and the script that puts them there."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from noiseproof.experiments.networks import Network
from noiseproof.experiments.recipes import Reader
from noiseproof.experiments.votes import find_runs
from noiseproof.runs.attack_records import AttackRecord, AttackSettings, AttackTable
from noiseproof.runs.records import Record, RecordSettings, VoteTable
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.verification_records import Verified

ROOT = Path(__file__).parents[2] / "reproduction"
RECORDS = ROOT / "records"


def test_every_committed_record_is_whole_and_holds_no_images() -> None:
    kinds = (Record, SequentialRecord, AttackRecord)
    found = [kind.open(path.parent) for kind in kinds for path in RECORDS.rglob(kind.configuration)]
    assert found
    for record in found:
        assert record.missing() == ([], [])
        assert record.about["command"][0] == "noiseproof"
        if not isinstance(record, AttackRecord):
            assert not any(picture for table in record.tables() for picture in table.thumbnails)
    assert not list(RECORDS.rglob("points")), "the points of an attack are pictures of the data set"
    for path in RECORDS.rglob(Verified.configuration):
        Verified.open(path.parent)
    for path in RECORDS.rglob("*.json"):
        assert not any(word in path.read_text() for word in ('"location"', '"/')), "no place on a machine"


def test_they_are_what_their_folders_say() -> None:
    for kind, sigma, seeds in (
        ("stn", 0.7, 3), ("stn", 0.5, 1), ("stn", 1.0, 1), ("gaussian", 0.7, 3), ("gaussian", 0.5, 1),
        ("smoothadv", 0.6, 1), ("ensemble", 0.6, 1), ("smoothadv-long", 0.55, 1),
        ("ensemble-early", 0.55, 1),
    ):  # fmt: skip
        trained = 0.6 if kind in {"smoothadv-long", "ensemble-early"} else None
        reader = Reader(RECORDS)
        found = find_runs(Network("mnist", kind, sigma, tuple(range(seeds)), trained), reader)
        assert len(found) == seeds
        assert not reader.missing
        assert len(found[0].votes.index) == 1000


@pytest.fixture(name="collect")
def _collect() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collect", ROOT / "collect.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_collecting_leaves_out_pictures_places_and_what_is_not_finished(
    collect: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collect, "RECORDS", tmp_path / "records")
    settings = RecordSettings(
        data={"name": "mnist"}, model={"name": "net", "digest": "d"}, noise={"name": "gaussian", "sigma": 0.5}, num_classes=2,
        samples=5, selection_samples=0, seed=0, start=0, stop=4, step=1, shard_size=2,
    )  # fmt: skip
    about = {
        "command": ["noiseproof", "certify"],
        "training": {
            "made": {"data": {"location": "/home/me", "digest": "x"}, "command": ["noiseproof", "/home/me/run", "a/b"]},
            "members": [{"made": {"data": {"location": "/home/me", "digest": "y"}}}],
        },
    }
    for name, shards in (("whole", 2), ("half", 1)):
        record = Record.create(tmp_path / "runs" / "mnist" / name, settings, about)
        for shard in range(shards):
            votes = np.array([[5, 0], [3, 2]])
            table = VoteTable(
                np.array(record.shard_indices(shard)), np.zeros(2, dtype=np.int64), votes, None, [b"png"] * 2
            )
            record.write_shard(shard, table, {"seconds": 2.0})
    collect.collect(tmp_path / "runs")
    assert "half: 1 shards are missing" in capsys.readouterr().out
    assert [path.parent.name for path in tmp_path.glob("records/**/record.json")] == ["whole"]
    copy = Record.open(tmp_path / "records" / "mnist" / "whole")
    assert copy.missing() == ([], [])
    assert (copy.read().votes == Record.open(tmp_path / "runs" / "mnist" / "whole").read().votes).all()
    assert copy.read().thumbnails == [b""] * 4
    assert copy.shard_about(1) == {"seconds": 2.0}
    text = (copy.path / "record.json").read_text()
    assert "/home/me" not in text
    training = json.loads(text)["about"]["training"]
    assert training["made"] == {"data": {"digest": "x"}, "command": ["noiseproof", "run", "a/b"]}
    assert training["members"] == [{"made": {"data": {"digest": "y"}}}]
    collect.collect(tmp_path / "runs")  # again: the same
    assert (copy.path / "record.json").read_text() == text


def test_of_an_attack_the_votes_are_collected_and_its_points_are_not(
    collect: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "RECORDS", tmp_path / "records")
    settings = AttackSettings(
        data={"name": "mnist"}, model={"name": "net", "digest": "d"}, noise={"name": "gaussian", "sigma": 0.5}, num_classes=2,
        attack={"name": "PGD"}, norm="l2", sizes=[0.0, 1.0], samples=5, alpha=0.1, seed=0, start=0, stop=4, step=1, shard_size=2,
        engine={"device": "cpu"}, gradients="fp32",
    )  # fmt: skip
    record = AttackRecord.create(tmp_path / "runs" / "net" / "pgd-l2", settings, {"data": {"source": "/home/me"}})
    for shard in record.shards:
        table = AttackTable(
            np.array(record.shard_indices(shard)), np.zeros(2, dtype=np.int64), np.tile([0.0, 1.0], (2, 1)),
            np.array([[[5, 0], [3, 2]], [[4, 1], [shard, 5 - shard]]]), np.tile([0.0, 0.5], (2, 1)),
            np.zeros((2, 2, 1, 2, 2), dtype=np.float32),
        )  # fmt: skip
        record.write_shard(shard, table, {"seconds": 2.0})
    for _ in range(2):  # again: the same
        collect.collect(tmp_path / "runs")
        copy = AttackRecord.open(tmp_path / "records" / "net" / "pgd-l2")
        assert copy.missing() == ([], [])
        assert (copy.read().votes == record.read().votes).all()
        assert (copy.read_verdicts().verdicts == record.read_verdicts().verdicts).all()
        assert copy.shard_about(1) == {"seconds": 2.0}
        assert not (copy.path / "points").exists()
        assert "/home/me" not in (copy.path / "attack.json").read_text()
