"""Recipes of votes: folders, commands and checks follow from what is declared."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from noiseproof.attacks import PGD
from noiseproof.experiments.attacked import Attacked
from noiseproof.experiments.networks import CIFAR_SIGMA, Network
from noiseproof.experiments.recipes import Missing, Reader, Step
from noiseproof.experiments.votes import FixedVotes, Run, find_runs
from noiseproof.models import PaperCIFAR, model_digest
from noiseproof.models.keras_weights import read_keras_weights
from noiseproof.runs.records import RecordSettings
from noiseproof.training import CHECKPOINT
from synthetic_records import IMAGES, RELEASED, SAMPLES, SELECTION, drawn, write_run


def test_the_command_of_an_ensemble_that_is_not_shipped_trains_its_members(tmp_path: Path) -> None:
    *trainings, combined, certified_by = map(str, FixedVotes(Network("mnist", "ensemble", 0.65)).steps(tmp_path))
    run = tmp_path / "mnist" / "ensemble-0.65"
    assert [part.split(" --seed ")[1][0] for part in trainings] == ["0", "1", "2", "3"]
    assert combined == "noiseproof ensemble " + " ".join(f"{run}/member{i}" for i in range(4)) + f" --out {run}"
    assert certified_by == f"noiseproof certify {run} --precision fp32 --every 10"


def test_the_command_of_an_ensemble_of_other_habits_takes_the_members_that_are_shipped(tmp_path: Path) -> None:
    network = Network("mnist", "ensemble-early", 0.55, trained=0.6)
    combined, certified_by = map(str, FixedVotes(network).steps(tmp_path))
    run = tmp_path / "mnist" / "ensemble-early-0.6-at-0.55"
    assert combined == f"noiseproof ensemble zoo:mnist-ensemble-0.6 --early-exit 1.5 --out {run}"
    assert certified_by == f"noiseproof certify {run} --sigma 0.55 --precision fp32 --every 10"
    other = Network("mnist", "ensemble-early", 0.55, trained=0.65)
    *trainings, combined, _ = map(str, FixedVotes(other).steps(tmp_path))
    assert len(trainings) == 4
    assert all("--sigma 0.65 " in training for training in trainings)
    assert " --early-exit 1.5 --out " in combined


def test_a_network_of_the_zoo_is_not_trained_again(tmp_path: Path) -> None:
    network = Network("cifar10", "gaussian", CIFAR_SIGMA)
    (certified_by,) = map(str, FixedVotes(network).steps(tmp_path))
    run = tmp_path / "cifar10" / "gaussian-0.392"
    assert certified_by == f"noiseproof certify {run} --model zoo:cifar10-gaussian-0.39 --precision bf16 --every 10"


def test_the_command_of_a_transfer_attack_trains_the_networks_that_are_not_there(tmp_path: Path) -> None:
    other = Network("cifar10", "stn", 0.67)
    (*trainings, attack) = map(str, Attacked(other, PGD(), "l2", Network("mnist", "gaussian", 0.67)).steps(tmp_path))
    defence, source = tmp_path / "cifar10" / "stn-0.67", tmp_path / "mnist" / "gaussian-0.67"
    assert [training.partition(" --out ")[2] for training in trainings] == [str(defence), str(source)]
    assert f"--source {source} " in attack
    source.mkdir(parents=True)
    (source / CHECKPOINT).touch()
    assert len(Attacked(other, PGD(), "l2", Network("mnist", "gaussian", 0.67)).steps(tmp_path)) == 2, "it is there"


def test_a_command_is_written_from_its_options() -> None:
    step = Step.of(
        Path("out"), "attack", Path("runs"), sigma=0.7, every=20, set=["steps=2", "copies=2"], no_decisions=True
    )
    assert str(step) == "noiseproof attack runs --sigma 0.7 --every 20 --set steps=2 --set copies=2 --no-decisions"
    assert str(Step.of(Path("out"), "train", model=None, after=[])) == "noiseproof train", (
        "what is not there is left out"
    )


STN = Network("mnist", "stn", 0.7, (0, 1))


def read(records: Path) -> tuple[list[Run], list[Missing]]:
    reader = Reader(records)
    return find_runs(STN, reader), reader.missing


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("gaussian", {}, "objective"),
        ("stn", {"trained_sigma": 0.5}, "sigma of training 0.7"),
        ("stn", {"noise": {"name": "gaussian", "sigma": 0.5}}, "noise"),
        ("stn", {"trained_seed": 3}, "seed of training 1"),
        ("stn", {"model": {"name": "net", "digest": "stn-0.7-0"}}, "records of other seeds with the same weights"),
        ("stn", {"data": {"name": "digits", "split": "test", "digest": "d"}}, "data set mnist"),
        ("stn", {"data": {"name": "mnist", "split": "train", "digest": "d"}}, "split"),
        ("stn", {"data": {"name": "mnist", "split": "test", "digest": "other"}}, "stn-0.7 data"),
        ("stn", {"engine": {"precision": "int8"}}, "stn-0.7 precision"),
        ("stn", {"trained": {"epochs": 6}}, "stn-0.7 training"),
        ("stn", {"step": 5, "stop": 5 * IMAGES}, "stn-0.7 images"),
        ("stn", {"drawn": tuple(part[:20] for part in drawn(1))}, "stn-0.7 images"),
        ("released", {}, "objective"),
    ],
)
def test_what_is_not_what_its_folder_says_is_named_and_not_shown(
    tmp_path: Path, kind: str, changes: dict[str, Any], why: str
) -> None:
    write_run(tmp_path / "mnist" / "stn-0.7", "stn", 0.7)
    write_run(tmp_path / "mnist" / "stn-0.7-seed1", kind, 0.7, 1, **changes)
    found, missing = read(tmp_path)
    assert [run.seed for run in found] == [0]
    (one,) = missing
    assert why in one.why
    assert one.what == "STN, sigma 0.7, mnist, seed 1"
    same = f"--every 10 --samples {SAMPLES} --selection-samples {SELECTION}"
    assert one.command.endswith(f"noiseproof certify {tmp_path}/mnist/stn-0.7-seed1 {same}"), "as the first seed's"


def test_votes_without_a_selection_phase(tmp_path: Path) -> None:
    labels, votes, _ = drawn(0)
    path = tmp_path / "mnist" / "stn-0.7"
    record = write_run(path, "stn", 0.7, drawn=(labels, votes, votes))
    settings = RecordSettings(**(record.settings.plain() | {"selection_samples": 0}))
    content = json.loads((path / "record.json").read_text()) | {"settings": settings.plain()}
    (path / "record.json").write_text(json.dumps(content))
    found, (one, _) = read(tmp_path)
    assert not found
    assert "selection votes" in one.why


def test_unfinished_and_damaged_records_name_the_command_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "mnist" / "stn-0.7"
    record = write_run(path, "stn", 0.7)
    record.shard_path(1).unlink()
    found, (one, _) = read(tmp_path)
    assert not found
    assert one.command == f"noiseproof certify {path} --every 10", "the record's own"
    assert "1 of 3 shards are missing or damaged" in one.why
    record.shard_path(1).write_bytes(b"not parquet")
    _, (one, _) = read(tmp_path)
    assert "00001.parquet" in one.why
    (path / "record.json").write_text("{")
    _, (one, _) = read(tmp_path)
    assert "configuration of a record" in one.why
    assert one.command == f"noiseproof certify {path} --model zoo:mnist-stn-0.7 --precision bf16 --every 10"


@pytest.mark.skipif("NOISEPROOF_WEIGHTS" not in os.environ, reason="NOISEPROOF_WEIGHTS is not set: no released network")
def test_the_digest_of_the_released_network() -> None:
    pytest.importorskip("h5py")
    path = Path(os.environ["NOISEPROOF_WEIGHTS"]) / "stn-code" / "model_cifar10"
    network = PaperCIFAR()
    network.load_state_dict(read_keras_weights(path, network))
    assert model_digest(network) == RELEASED


def test_more_seeds_than_wanted_are_taken(tmp_path: Path) -> None:
    for seed in (0, 1, 12):
        write_run(tmp_path / Network("mnist", "stn", 0.7).folder(seed), "stn", 0.7, seed)
    (tmp_path / "mnist" / "stn-0.7-seedling").mkdir()
    found, missing = read(tmp_path)
    assert [run.seed for run in found] == [0, 1, 12]
    assert not missing
