"""Table 1: from synthetic records, every number against an independent computation."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mutation import mutated
from noiseproof.experiments import readings, table1
from noiseproof.experiments.figure import Result
from noiseproof.experiments.figure1 import FIGURE1, TABLE_RADII
from noiseproof.experiments.networks import Network
from noiseproof.experiments.recipes import Missing, Reader
from noiseproof.experiments.table1 import COLUMNS, TABLE1, WRITTEN, Cell
from noiseproof.experiments.votes import find_runs
from noiseproof.reports.accuracy_table import Row
from noiseproof.runs.records import Record
from noiseproof.runs.verification_records import Verified
from synthetic_records import (
    IMAGES,
    OBJECTIVES,
    SAMPLES,
    allowed,
    certified,
    expected,
    verified_result,
    write_decided,
    write_run,
)

STN = Network("mnist", "stn", 0.7, (0, 1))


def cell(table: Result[list[Row]], model: str, data: str, kind: str) -> Cell:
    (row,) = (row for row in table.content if row.model == model)
    return row.cells[data, kind]


def missing_of(network: Network, folder: Path) -> list[Missing]:
    reader = Reader(folder)
    find_runs(network, reader)
    return reader.missing


def check_table(table: Result[list[Row]], truth: dict[str, Any]) -> None:
    robust, natural = (cell(table, "STN", "mnist", kind) for kind in ("robust", "natural"))
    seeds = [truth[place] for place in ("stn-0.7", "stn-0.7-seed2")]
    by_paper = [0.95 * certified(found["papers"], votes.label, 1.58) for votes, found in seeds]
    by_us = [certified(found["ours"], votes.label, 1.58) for votes, found in seeds]
    at_zero = [certified(found["ours"], votes.label, 0.0) for votes, found in seeds]
    voted = [float(np.mean(votes.votes.argmax(1) == votes.label)) for votes, _ in seeds]
    assert robust.paper is not None
    assert robust.ours is not None
    assert natural.paper is not None
    assert natural.ours is not None
    np.testing.assert_allclose(robust.paper.shares, by_paper)
    np.testing.assert_allclose(robust.ours.shares, by_us)
    np.testing.assert_allclose(natural.paper.shares, voted)
    np.testing.assert_allclose(natural.ours.shares, at_zero)
    assert robust.ours.at_least == pytest.approx(np.mean(by_us) - allowed(IMAGES, 2))
    assert natural.ours.at_least == pytest.approx(np.mean(at_zero) - allowed(IMAGES, 2))
    assert robust.paper.at_least is None, "times 95 % is no bound, and none is claimed"
    assert natural.paper.at_least is None
    assert 0.0 < min(by_paper) < max(by_paper) < max(by_us) < 1.0
    assert all(less < more for less, more in zip(by_paper, by_us, strict=True)), "the example tells them apart"
    assert robust.ours.seeds == (0, 2)


def test_every_value_of_the_table(records: Path, truth: dict[str, Any]) -> None:
    table = TABLE1.compute(records)
    check_table(table, truth)
    printed = [[row.cells[column].printed for column in table1.COLUMNS] for row in table.content[:3]]
    assert printed == [[43.5, 88.2, 53.0, 61.2], [74.6, 81.4, 58.7, 68.8], [69.0, 98.9, 65.6, 80.5]]
    measured = {
        (row.model, column)
        for row in table.content
        for column, each in row.cells.items()
        if (each.paper, each.ours, each.verified) != (None, None, None)
    }
    assert measured == {("STN", ("mnist", "robust")), ("STN", ("mnist", "natural"))}, "nothing is invented"
    rows = {row.model: dict(row.lines(COLUMNS, WRITTEN)) for row in table.content}
    mine = cell(table, "STN", "mnist", "robust").ours
    assert mine is not None
    assert mine.at_least is not None
    text = rows["STN"]["ours"][0]
    mean, low, high = (math.floor(1000 * share) / 10 for share in (mine.mean, min(mine.shares), max(mine.shares)))
    assert (mean, low, high) != tuple(
        round(100 * share, 1) for share in (mine.mean, min(mine.shares), max(mine.shares))
    )
    assert text.startswith(f"1.58 ({mean} % [{low} to {high}])"), "what is certified is rounded down, like its bound"
    assert text.endswith(f"at least {math.floor(1000 * mine.at_least) / 10:.1f} %"), "rounded down"
    assert rows["STN"]["paper"][2:] == ["missing", "missing"]
    assert rows["STN"]["printed"] == ["1.58 (69.0 %)", "98.9 %", "36/255 (65.6 %)", "80.5 %"]
    assert rows["STN, released network"]["ours"] == ["–", "–", "missing", "missing"]
    assert ["missing"] * 4 in rows["[17] (Single)"].values()


def test_what_goes_beyond_the_paper_has_a_row_without_a_print(tmp_path: Path) -> None:
    name, column = "Beyond the paper", ("mnist", "robust")
    empty = TABLE1.compute(tmp_path)
    assert dict(next(row for row in empty.content if row.model == name).lines(COLUMNS, WRITTEN)) == {
        "printed": ["–"] * 4,
        "paper": ["missing", "missing", "–", "–"],
        "ours": ["missing", "missing", "–", "–"],
    }
    command, decided_by = (each.command for each in empty.missing if "smoothadv-0.6" in each.command)
    assert "--radius 1.58 --runner-up" in decided_by, "sequential votes are wanted here, and named beforehand"
    run = tmp_path / "mnist" / "smoothadv-0.6"
    assert command == f"noiseproof certify {run} --model zoo:mnist-smoothadv-0.6 --precision fp32 --every 10"

    record = write_run(run, "smoothadv", 0.6)
    votes, found = record.read(), expected(record)["ours"]
    made = cell(TABLE1.compute(tmp_path), name, *column)
    assert made.printed is None
    assert made.ours is not None
    np.testing.assert_allclose(made.ours.shares, [certified(found, votes.label, 1.58)])
    assert json.loads(TABLE1.files(TABLE1.compute(tmp_path))["table1.json"])["cells"][-2]["printed"] is None
    (command,) = (each.command for each in TABLE1.compute(tmp_path).missing if str(run) in each.command)
    stopping = f"noiseproof certify {run} --radius 1.58 --runner-up --samples 1000000 --model zoo:mnist-smoothadv-0.6 --every 10"
    assert command == stopping, "sequential votes are wanted here"
    write_decided(find_runs(Network("mnist", "smoothadv", 0.6), Reader(tmp_path))[0], 31, 6, 4)
    assert not [each for each in TABLE1.compute(tmp_path).missing if str(run) in each.command]


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        ({"objective": OBJECTIVES["smoothadv"] | {"consistency": 0.0}}, "with objective"),
        ({"objective": OBJECTIVES["smoothadv"] | {"epsilon": 0.5}}, "with objective"),
        ({"objective": OBJECTIVES["stn"]}, "with objective"),
        ({"epochs": 12}, "with epochs of training 18"),
    ],
)
def test_another_training_does_not_stand_for_what_goes_beyond(
    trained: dict[str, Any], said: str, tmp_path: Path
) -> None:
    write_run(tmp_path / "mnist" / "smoothadv-0.6", "smoothadv", 0.6, trained=trained)
    table = TABLE1.compute(tmp_path)
    assert cell(table, "Beyond the paper", "mnist", "robust").ours is None
    (missing,) = (each for each in table.missing if each.what == "SmoothAdv with consistency, sigma 0.6, mnist, seed 0")
    assert said in missing.why


def test_a_network_certified_at_another_noise_than_its_own(tmp_path: Path) -> None:
    """It has a folder, a title and a command that say so, and counts only if training and votes are both as they say."""
    row = "Beyond the paper, certified at less noise"
    network = Network("mnist", "smoothadv-long", 0.55, trained=0.6)
    folder = tmp_path / "mnist" / "smoothadv-long-0.6-at-0.55"
    missing, decided = (each for each in TABLE1.compute(tmp_path).missing if each.what.startswith(network.title))
    assert decided.steps[:-1] == missing.steps[:-1], "the training is one and the same step"
    assert network.title == "SmoothAdv with consistency, 50 epochs, sigma 0.55, trained at 0.6"
    train, certify = missing.command.split(" && ")
    assert "--sigma 0.6 " in train
    assert train.endswith(f"--epochs 50 --average 0.998 --out {folder}")
    assert certify == f"noiseproof certify {folder} --sigma 0.55 --precision fp32 --every 10"
    for sigma, trained in ((0.6, 0.6), (0.55, 0.55)):
        write_run(folder, "smoothadv-long", sigma, trained_sigma=trained)
        assert cell(TABLE1.compute(tmp_path), row, "mnist", "robust").ours is None
        shutil.rmtree(folder)
    write_run(folder, "smoothadv-long", 0.55, trained_sigma=0.6)
    assert cell(TABLE1.compute(tmp_path), row, "mnist", "robust").ours is not None
    (missing,) = (each for each in TABLE1.compute(tmp_path).missing if each.what.startswith(network.title))
    assert missing.command.endswith("--samples 1000000 --sigma 0.55 --every 10")


def members(changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Four trainings of SmoothAdv, of which the last has changes."""
    one = {"objective": OBJECTIVES["smoothadv"], "noise": {"name": "gaussian", "sigma": 0.6}, "epochs": 50}
    return [{"settings": one | {"seed": seed} | (changes if seed == 3 else {})} for seed in range(4)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"objective": OBJECTIVES["stn"]}, "member 3: objective"),
        ({"noise": {"name": "gaussian", "sigma": 0.5}}, "member 3: sigma of training"),
        ({"seed": 0}, "member 3: seed of training"),
        ({"epochs": 18}, "member 3: epochs of training 50"),
        ({"objective": OBJECTIVES["smoothadv"] | {"epsilon": 0.5}}, "member 3: objective"),
    ],
)
@pytest.mark.parametrize(
    ("network", "row", "settings"),
    [
        (Network("mnist", "ensemble", 0.6), "Beyond the paper, four networks as one", {}),
        (
            Network("mnist", "ensemble-early", 0.55, trained=0.6),
            "Beyond the paper, four as one, at less noise",
            {"early_exit": 1.5},
        ),
    ],
)
def test_an_ensemble_counts_if_each_of_its_members_does(
    changes: dict[str, Any], said: str, network: Network, row: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "mnist" / network.name
    write_run(path, network.kind, network.sigma)
    file = path / Record.configuration
    content = json.loads(file.read_text())
    made = {"objective": {"name": "Ensemble"} | settings}
    content["about"]["training"] = {"settings": made, "members": members(changes)}

    def missing() -> list[str]:
        file.write_text(json.dumps(content))
        wanted = TABLE1.compute(tmp_path).missing
        return [each.why for each in wanted if network.title in each.what and "sequential votes" not in each.what]

    why = missing()
    assert (cell(TABLE1.compute(tmp_path), row, "mnist", "robust").ours is None) is bool(said)
    assert [said in each for each in why] == ([True] if said else [])
    content["about"]["training"]["members"].pop()
    assert "with members 4" in missing()[0]
    made["objective"] = {"name": "Ensemble", "early_exit": 2.0}
    assert "objective early_exit" in missing()[0]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("ours", "(_OURS", "(_OURS, alpha=PAPERS_ALPHA"),
        ("papers", "(_TEXT", "(_TEXT, alpha=ALPHA"),
        ("papers", "(1.0 - PAPERS_ALPHA) * ", ""),
        ("ours", "np.stack", "0.95 * np.stack"),
        ("allowance", "CONFIDENCE) / seeds", "CONFIDENCE)"),
        ("allowance", "failure_allowance", "0.0 * failure_allowance"),
    ],
)
def test_the_table_is_checked_closely(
    records: Path, truth: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str
) -> None:
    monkeypatch.setattr(table1, name, mutated(getattr(readings, name), old, new))
    with pytest.raises(AssertionError):
        check_table(TABLE1.compute(records), truth)


def test_nothing_is_there(tmp_path: Path) -> None:
    table, figure = TABLE1.compute(tmp_path), FIGURE1.compute(tmp_path)
    assert not table.sources
    assert not figure.content
    for row in table.content:
        for name, texts in row.lines(COLUMNS, WRITTEN):
            assert name == "printed" or set(texts) <= {"missing", "–"}, "no cell is filled by copying"
    named = [each.what for each in table.missing]
    assert len(named) == 4 + 3 + 1 + 1 + 8, (
        "[17] twice for each data set, three seeds, CIFAR-10, released, beyond twice"
    )
    networks = (
        5 + 4 + 4 + 1 + 2
    )  # MNIST: STN, Gaussian; CIFAR-10: STN at three sigma and in less time, released, Gaussian
    assert len(figure.missing) == networks + 2 * 2, "TRADES under two losses on each data set"
    assert all(each.why == "not there" and each.command for each in table.missing + figure.missing)


def test_seeds_that_stopped_by_different_procedures_are_not_put_together(tmp_path: Path) -> None:
    for seed, cap in ((0, 5000), (1, 4500)):
        write_run(tmp_path / STN.folder(seed), "stn", 0.7, seed)
        write_decided(find_runs(STN, Reader(tmp_path))[-1], 31, 6, 4, procedure={"cap": cap})
    table = TABLE1.compute(tmp_path)
    robust = cell(table, "STN", "mnist", "robust").ours
    assert robust is not None
    assert not robust.sequential
    assert any("different rules" in each.why for each in table.missing)


def test_votes_that_stopped_decide_what_ours_certifies(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / STN.folder(seed), "stn", 0.7, seed)
    first, second = find_runs(STN, Reader(tmp_path))
    fixed = cell(TABLE1.compute(tmp_path), "STN", "mnist", "robust")
    write_decided(first, 31, 6, 4)
    assert cell(TABLE1.compute(tmp_path), "STN", "mnist", "robust") == fixed, "one seed alone is not mixed in"
    write_decided(second, 21, 10, 10)
    table = TABLE1.compute(tmp_path)
    robust, natural = (cell(table, "STN", "mnist", kind) for kind in ("robust", "natural"))
    assert robust.paper == fixed.paper
    assert robust.ours is not None
    assert natural.ours is not None
    assert robust.ours.shares == (31 / 41, 21 / 41)
    assert robust.ours.at_least == pytest.approx(26 / 41 - allowed(41, 2))
    assert robust.ours.votes == 5000
    assert robust.ours.sequential
    assert not natural.ours.sequential
    assert natural.ours.votes == SAMPLES, "at radius 0 the others still speak"


def test_winner_and_runner_up_go_before_the_winner_alone(tmp_path: Path) -> None:
    write_run(tmp_path / STN.folder(0), "stn", 0.7, 0)
    (run,) = find_runs(STN, Reader(tmp_path))
    write_decided(run, 21, 10, 10)
    robust = cell(TABLE1.compute(tmp_path), "STN", "mnist", "robust").ours
    assert robust is not None
    assert (robust.shares, robust.runner_up) == ((21 / 41,), False)
    write_decided(run, 31, 6, 4, runner_up=True)
    table = TABLE1.compute(tmp_path)
    robust = cell(table, "STN", "mnist", "robust").ours
    assert robust is not None
    assert (robust.shares, robust.runner_up) == ((31 / 41,), True)
    assert any("runner-up" in name for name in table.sources)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": {"name": "net", "digest": "other"}}, "network"),
        ({"noise": {"name": "gaussian", "sigma": 0.5}}, "noise"),
        ({"data": {"name": "digits", "split": "test", "digest": "d"}}, "data"),
        ({"procedure": {"alpha": 0.05}}, "alpha 0.001"),
        ({"right": 34}, "images"),
    ],
)
def test_votes_that_stopped_on_something_else_are_named(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    write_run(tmp_path / STN.folder(0), "stn", 0.7)
    (run,) = find_runs(STN, Reader(tmp_path))
    fixed = cell(TABLE1.compute(tmp_path), "STN", "mnist", "robust")
    write_decided(run, **({"right": 35, "undecided": 3, "wrong": 3} | changes))
    table = TABLE1.compute(tmp_path)
    assert cell(table, "STN", "mnist", "robust") == fixed
    (named,) = (each for each in table.missing if each.what == f"{STN.title}, sequential votes at 1.58")
    assert why in named.why


def test_reference_17_is_read_from_its_result(tmp_path: Path) -> None:
    path = verified_result().write(tmp_path / "mnist" / "kw-single")
    assert Verified.open(path.parent) == verified_result()
    table = TABLE1.compute(tmp_path)
    robust, natural = (cell(table, "[17] (Single)", "mnist", kind).verified for kind in ("robust", "natural"))
    assert robust is not None
    assert natural is not None
    assert robust.mean == pytest.approx(0.44)
    assert natural.mean == pytest.approx(0.885)
    assert robust.at_least is None
    assert cell(table, "[17] (Cascade)", "mnist", "robust").verified is None
    (row,) = (row for row in table.content if row.model == "[17] (Single)")
    assert list(row.lines(COLUMNS, WRITTEN))[1][1] == ["1.58 (44.0 %)", "88.5 %", "missing", "missing"]


@pytest.mark.parametrize(
    "changes",
    [
        {"radius": 1.5},
        {"norm": "linf"},
        {"data": {"name": "mnist", "split": "train"}},
        {"data": {"name": "cifar10", "split": "test"}},
        {"stages": [{"name": "a", "answered": 150}, {"name": "b", "answered": 50}]},
        {"stages": [{"name": "a", "answered": 150}]},
        {"certified_error": 0.1},
        {"certified_error": 0.561},
        {"clean_error": -0.115},
        {"images": 100},
    ],
)
def test_a_result_of_something_else_is_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    verified_result(**changes).write(tmp_path / "mnist" / "kw-single")
    table = TABLE1.compute(tmp_path)
    assert cell(table, "[17] (Single)", "mnist", "robust").verified is None
    assert re.search(r"kw-single(/verified.json)? must be", table.missing[0].why)


def test_the_network_that_the_authors_released(tmp_path: Path) -> None:
    sigma = 100 / 255
    data = {"name": "cifar10", "split": "test", "digest": "c"}
    record = write_run(tmp_path / "cifar10" / "stn-released", "released", sigma, data=data)
    votes, found = record.read(), expected(record)
    table = TABLE1.compute(tmp_path)
    robust = cell(table, "STN, released network", "cifar10", "robust")
    assert robust.paper is not None
    assert robust.ours is not None
    assert robust.paper.mean == pytest.approx(0.95 * certified(found["papers"], votes.label, 36 / 255))
    assert robust.ours.mean == pytest.approx(certified(found["ours"], votes.label, 36 / 255))
    assert cell(table, "STN", "cifar10", "robust").ours is None, "which is not the one trained here"
    curves = FIGURE1.compute(tmp_path).content["cifar10"].curves
    assert [curve.name for curve in curves] == ["STN, released by the authors, sigma 100/255"]
    np.testing.assert_allclose(
        curves[0].table["papers"].values[0],
        [0.95 * certified(found["papers"], votes.label, radius) for radius in TABLE_RADII["cifar10"]],
    )
    write_run(tmp_path / "cifar10" / "stn-0.392", "released", sigma, data=data)
    (one,) = missing_of(Network("cifar10", "stn", sigma), tmp_path)
    assert "objective" in one.why
    other = tmp_path / "another"
    write_run(other / "cifar10" / "stn-released", "released", sigma, data=data, model={"name": "net", "digest": "mine"})
    (one,) = missing_of(Network("cifar10", "released", sigma), other)
    assert "the weights that the authors released" in one.why
    assert robust.ours.seeds == (), "an unpublished seed"
