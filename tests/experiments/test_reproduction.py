"""Table 1, Figure 1 and the page: from synthetic records, every number against an independent computation."""

import json
import math
import os
import re
import shlex
import shutil
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binom, norm
from torch import nn
from typer.testing import CliRunner

from mutation import mutated
from noiseproof.attacks import PGD
from noiseproof.cli import app
from noiseproof.data import ArrayDataset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.experiments import (
    attack_figures,
    attacked,
    figure1,
    figure5,
    procedures,
    reproduction,
    runs,
    table1,
)
from noiseproof.experiments.released import sison_glaz
from noiseproof.experiments.sources import sources
from noiseproof.models import PaperCIFAR, build, model_digest
from noiseproof.models.keras_weights import read_keras_weights
from noiseproof.runs import verification as verified
from noiseproof.runs.attack_records import AttackRecord, AttackSettings, AttackTable
from noiseproof.runs.records import Record, RecordSettings, VoteTable
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.sequential import CertifyRadii
from noiseproof.sequential.looks import next_look
from noiseproof.verification import Cascade

IMAGES, SAMPLES, SELECTION, CLASSES = 41, 2000, 100, 10
OBJECTIVES = {
    "stn": {"name": "Stability", "form": "paper", "weight": 1.0},
    "gaussian": {"name": "GaussianAugmentation"},
    "smoothadv": {"name": "SmoothAdv", "consistency": 1.0, "epsilon": 1.0},
    "smoothadv-long": {"name": "SmoothAdv", "consistency": 1.0, "epsilon": 1.0},
}
RELEASED = "84486d01a1021329838e4b7048766249c363f7bd5721d68bc37785c5d356cc25"
Votes = np.ndarray


def drawn(seed: int, easy: float = 8.0) -> tuple[Votes, Votes, Votes]:
    """Labels, votes and selection votes of images from certain to hopeless; for some the winner is wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=IMAGES)
    hits = 1.0 / (1.0 + np.exp(-easy * (rng.random(IMAGES) - 0.2)))
    hits[:20] = 1.0 - 10.0 ** -np.linspace(1.5, 5.0, 20)
    chances = np.full((IMAGES, CLASSES), 1e-3)
    winner = np.where(rng.random(IMAGES) < 0.1, (labels + 1) % CLASSES, labels)
    chances[np.arange(IMAGES), (winner + 2) % CLASSES] = 0.6 * (1.0 - hits)
    chances[np.arange(IMAGES), winner] = hits
    chances[:20] = 0.0
    chances[np.arange(20), winner[:20]] = hits[:20]
    chances[np.arange(20), (winner[:20] + 1) % CLASSES] = 1.0 - hits[:20]
    chances /= chances.sum(1, keepdims=True)
    return labels, *(np.stack([rng.multinomial(n, chance) for chance in chances]) for n in (SAMPLES, SELECTION))


def write_run(path: Path, kind: str, sigma: float, seed: int = 0, **changes: Any) -> Record:
    """Write a record of votes by hand, in three shards."""
    labels, votes, selection = changes.pop("drawn", None) or drawn(seed + (100 if kind == "gaussian" else 0))
    trained = {
        "objective": OBJECTIVES.get(kind),
        "noise": {"name": "gaussian", "sigma": changes.pop("trained_sigma", sigma)},
        "seed": changes.pop("trained_seed", seed),
        "epochs": {"smoothadv": 18, "smoothadv-long": 50}.get(kind, 12),
        **changes.pop("trained", {}),
    }
    about = {
        "command": ["noiseproof", "certify", str(path), "--every", "10"],
        "created": "2026-01-02T03:04:05+00:00",
        "device": "cpu",
        "processor": "Test Processor 9",
        "threads": 2,
        "training": {"settings": trained, "made": {"command": ["noiseproof", "train", "--seed", str(seed)]}},
    }
    if kind == "released":
        del about["training"]
    planned = {
        "data": {"name": "mnist", "split": "test", "digest": "d", "image_shape": [1, 28, 28]},
        "model": {"name": "net", "digest": RELEASED if kind == "released" else f"{kind}-{sigma}-{seed}"},
        "noise": {"name": "gaussian", "sigma": sigma},
        "num_classes": CLASSES,
        "samples": int(votes[0].sum()),
        "selection_samples": int(selection[0].sum()),
        "seed": 7,
        "start": 0,
        "stop": 10 * len(labels),
        "step": 10,
        "shard_size": 17,
    } | changes
    record = Record.create(path, RecordSettings(**planned), about)
    for shard in record.shards:
        rows = slice(17 * shard, 17 * (shard + 1))
        table = VoteTable(
            np.asarray(record.shard_indices(shard)),
            labels[rows],
            votes[rows],
            selection[rows],
            [b""] * len(labels[rows]),
        )
        record.write_shard(shard, table, {"seconds": 10.0 + shard, "device": "Test Processor 9"})
    return record


# Independent computations: an image at a time, by the formulas as they are printed.


def low(count: int, n: int, alpha: float) -> float:
    return float(beta.ppf(alpha, count, n - count + 1)) if count else 0.0


def high(count: int, n: int, alpha: float) -> float:
    return float(beta.ppf(1 - alpha, count + 1, n - count)) if count < n else 1.0


def renyi_radius(p1: float, p2: float, sigma: float) -> float:
    p2 = min(p2, 1 - p1)
    if p1 <= p2:
        return 0.0

    def objective(a: float) -> float:
        def mean(p: float) -> float:
            return ((p1**p + p2**p) / 2) ** (1 / p)

        return math.log(1 - 2 * (p1 + p2) / 2 + 2 * mean(1 - a)) / a

    best = minimize_scalar(objective, bounds=(1.0 + 1e-6, 40.0), method="bounded", options={"xatol": 1e-10})
    return sigma * math.sqrt(-2.0 * float(best.fun))


def pixeldp_radius(p1: float, p2: float, sigma: float) -> float:
    p2 = min(p2, 1 - p1)
    if p1 <= p2:
        return 0.0
    largest = 0.0
    for e in np.linspace(1e-4, 1.0, 4001):
        delta = (p1 - math.exp(2 * e) * p2) / (1 + math.exp(e))
        if delta > 0:
            largest = max(largest, e / math.sqrt(2 * math.log(1.25 / delta)))
    return sigma * largest


def papers_radius(votes: Votes, sigma: float, radius: Callable[[float, float, float], float]) -> tuple[int, float]:
    n, (runner_up, winner) = int(votes.sum()), np.sort(votes)[-2:]
    level = 0.05 / (2 * len(votes))
    return int(votes.argmax()), radius(low(winner, n, level), high(runner_up, n, level), sigma)


def tight_radius(votes: Votes, selection: Votes, sigma: float, alpha: float = 0.001) -> tuple[int, float]:
    chosen = int(selection.argmax())
    p1 = low(int(votes[chosen]), int(votes.sum()), alpha)
    return chosen, sigma * float(norm.ppf(p1)) if p1 > 0.5 else 0.0


def certified(found: Sequence[tuple[int, float]], labels: Votes, radius: float) -> float:
    """Right and certified at a radius; at 0 an image that abstains (radius 0 exactly) does not count."""
    good = [
        predicted == label and length > 0 and length >= radius
        for (predicted, length), label in zip(found, labels, strict=True)
    ]
    return sum(good) / len(good)


def allowed(images: int, seeds: int) -> float:
    """The smallest count that no more failures exceed with probability .05 / seeds."""
    count = 0
    while binom.sf(count, images, 0.001) > 0.05 / seeds + 1e-15:
        count += 1
    return count / images


def expected(record: Record) -> dict[str, list[tuple[int, float]]]:
    table, sigma = record.read(), record.settings.noise["sigma"]
    assert table.selection_votes is not None
    return {
        "papers": [papers_radius(votes, sigma, renyi_radius) for votes in table.votes],
        "ours": [tight_radius(*pair, sigma) for pair in zip(table.votes, table.selection_votes, strict=True)],
        "pixeldp": [papers_radius(votes, sigma, pixeldp_radius) for votes in table.votes],
        "hundred": [papers_radius(votes, sigma, renyi_radius) for votes in table.selection_votes],
    }


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """STN of two seeds, Gaussian augmentation of one; the third and others are missing."""
    folder = tmp_path_factory.mktemp("records")
    write_run(folder / "mnist" / "stn-0.7", "stn", 0.7)
    write_run(folder / "mnist" / "stn-0.7-seed2", "stn", 0.7, 2)
    write_run(folder / "mnist" / "gaussian-0.7", "gaussian", 0.7)
    return folder


@pytest.fixture(scope="module")
def truth(records: Path) -> dict[str, Any]:
    places = ("stn-0.7", "stn-0.7-seed2", "gaussian-0.7")
    opened = {place: Record.open(records / "mnist" / place) for place in places}
    return {place: (record.read(), expected(record)) for place, record in opened.items()}


def cell(table: table1.Table1, model: str, data: str, kind: str) -> table1.Cell:
    (row,) = (row for row in table.rows if row.model == model)
    return row.cells[data, kind]


def check_table(table: table1.Table1, truth: dict[str, Any]) -> None:
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
    table = table1.compute(records)
    check_table(table, truth)
    printed = [[row.cells[column].printed for column in table1.COLUMNS] for row in table.rows[:3]]
    assert printed == [[43.5, 88.2, 53.0, 61.2], [74.6, 81.4, 58.7, 68.8], [69.0, 98.9, 65.6, 80.5]]
    measured = {
        (row.model, column)
        for row in table.rows
        for column, each in row.cells.items()
        if (each.paper, each.ours, each.verified) != (None, None, None)
    }
    assert measured == {("STN", ("mnist", "robust")), ("STN", ("mnist", "natural"))}, "nothing is invented"
    rows = {row.model: dict(table1.lines(row)) for row in table.rows}
    mine = cell(table, "STN", "mnist", "robust").ours
    assert mine is not None
    assert mine.at_least is not None
    text = rows["STN"]["ours"][0]
    assert text.startswith(
        f"1.58 ({100 * mine.mean:.1f} % [{100 * min(mine.shares):.1f} to {100 * max(mine.shares):.1f}])"
    )
    assert text.endswith(f"at least {math.floor(1000 * mine.at_least) / 10:.1f} %"), "rounded down"
    assert rows["STN"]["paper"][2:] == ["missing", "missing"]
    assert rows["STN"]["printed"] == ["1.58 (69.0 %)", "98.9 %", "36/255 (65.6 %)", "80.5 %"]
    assert rows["STN, released network"]["ours"] == ["–", "–", "missing", "missing"]
    assert ["missing"] * 4 in rows["[17] (Single)"].values()


def test_what_goes_beyond_the_paper_has_a_row_without_a_print(tmp_path: Path) -> None:
    name, column = "Beyond the paper", ("mnist", "robust")
    empty = table1.compute(tmp_path)
    assert dict(table1.lines(next(row for row in empty.rows if row.model == name))) == {
        "printed": ["–"] * 4,
        "paper": ["missing", "missing", "–", "–"],
        "ours": ["missing", "missing", "–", "–"],
    }
    (command,) = (each.command for each in empty.missing if "smoothadv-0.6" in each.command)
    run = tmp_path / "mnist" / "smoothadv-0.6"
    assert command == f"noiseproof certify {run} --model zoo:mnist-smoothadv-0.6 --precision fp32 --every 10"

    record = write_run(run, "smoothadv", 0.6)
    votes, found = record.read(), expected(record)["ours"]
    made = cell(table1.compute(tmp_path), name, *column)
    assert made.printed is None
    assert made.ours is not None
    np.testing.assert_allclose(made.ours.shares, [certified(found, votes.label, 1.58)])
    assert json.loads(table1.write(table1.compute(tmp_path), tmp_path)[0].read_text())["cells"][-2]["printed"] is None
    (command,) = (each.command for each in table1.compute(tmp_path).missing if str(run) in each.command)
    stopping = f"noiseproof certify {run} --radius 1.58 --runner-up --samples 1000000 --model zoo:mnist-smoothadv-0.6 --every 10"
    assert command == stopping, "votes that stop are wanted here"
    write_decided(runs.read_runs(runs.Network("mnist", "smoothadv", 0.6), tmp_path)[0][0], 31, 6, 4)
    assert not [each for each in table1.compute(tmp_path).missing if str(run) in each.command]


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
    table = table1.compute(tmp_path)
    assert cell(table, "Beyond the paper", "mnist", "robust").ours is None
    (missing,) = (each for each in table.missing if each.what.startswith("SmoothAdv with consistency, sigma"))
    assert said in missing.why


def test_a_network_certified_at_another_noise_than_its_own(tmp_path: Path) -> None:
    """It has a folder, a title and a command that say so, and counts only if training and votes are both as they say."""
    row = "Beyond the paper, certified at less noise"
    network = runs.Network("mnist", "smoothadv-long", 0.55, trained=0.6)
    folder = tmp_path / "mnist" / "smoothadv-long-0.6-at-0.55"
    (missing,) = (each for each in table1.compute(tmp_path).missing if each.what.startswith(network.title))
    assert network.title == "SmoothAdv with consistency, 50 epochs, sigma 0.55, trained at 0.6"
    train, certify = missing.command.split(" && ")
    assert "--sigma 0.6 " in train
    assert train.endswith(f"--epochs 50 --average 0.998 --out {folder}")
    assert certify == f"noiseproof certify {folder} --precision fp32 --every 10 --sigma 0.55"
    for sigma, trained in ((0.6, 0.6), (0.55, 0.55)):
        write_run(folder, "smoothadv-long", sigma, trained_sigma=trained)
        assert cell(table1.compute(tmp_path), row, "mnist", "robust").ours is None
        shutil.rmtree(folder)
    write_run(folder, "smoothadv-long", 0.55, trained_sigma=0.6)
    assert cell(table1.compute(tmp_path), row, "mnist", "robust").ours is not None
    (missing,) = (each for each in table1.compute(tmp_path).missing if each.what.startswith(network.title))
    assert missing.command.endswith("--samples 1000000 --every 10 --sigma 0.55")


def members(changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Four trainings of SmoothAdv, of which the last has changes."""
    one = {"objective": OBJECTIVES["smoothadv"], "noise": {"name": "gaussian", "sigma": 0.6}, "epochs": 50}
    return [{"settings": one | {"seed": seed} | (changes if seed == 3 else {})} for seed in range(4)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"objective": OBJECTIVES["stn"]}, "with objective"),
        ({"noise": {"name": "gaussian", "sigma": 0.5}}, "sigma of training"),
        ({"seed": 0}, "seed of training"),
        ({"epochs": 18}, "epochs of training 50"),
        ({"objective": OBJECTIVES["smoothadv"] | {"epsilon": 0.5}}, "with objective"),
    ],
)
@pytest.mark.parametrize(
    ("network", "row", "settings"),
    [
        (runs.Network("mnist", "ensemble", 0.6), "Beyond the paper, four networks as one", {}),
        (
            runs.Network("mnist", "ensemble-early", 0.55, trained=0.6),
            "Beyond the paper, four as one, at less noise",
            {"early_exit": 1.5},
        ),
    ],
)
def test_an_ensemble_counts_if_each_of_its_members_does(
    changes: dict[str, Any], said: str, network: runs.Network, row: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "mnist" / network.name
    write_run(path, network.kind, network.sigma)
    file = path / Record.configuration
    content = json.loads(file.read_text())
    made = {"objective": {"name": "Ensemble"} | settings}
    content["about"]["training"] = {"settings": made, "members": members(changes)}

    def missing() -> list[str]:
        file.write_text(json.dumps(content))
        wanted = table1.compute(tmp_path).missing
        return [each.why for each in wanted if network.title in each.what and "votes that stop" not in each.what]

    why = missing()
    assert (cell(table1.compute(tmp_path), row, "mnist", "robust").ours is None) is bool(said)
    assert [said in each for each in why] == ([True] if said else [])
    content["about"]["training"]["members"].pop()
    assert "with members 4" in missing()[0]
    made["objective"] = {"name": "Ensemble", "early_exit": 2.0}
    assert "with objective" in missing()[0]


def test_the_command_of_an_ensemble_that_is_not_shipped_trains_its_members(tmp_path: Path) -> None:
    *trainings, combined, certified_by = runs.Network("mnist", "ensemble", 0.65).command(tmp_path, 0).split(" && ")
    run = tmp_path / "mnist" / "ensemble-0.65"
    assert [part.split(" --seed ")[1][0] for part in trainings] == ["0", "1", "2", "3"]
    assert combined == "noiseproof ensemble " + " ".join(f"{run}/member{i}" for i in range(4)) + f" --out {run}"
    assert certified_by == f"noiseproof certify {run} --precision fp32 --every 10"


def test_the_command_of_an_ensemble_of_other_habits_takes_the_members_that_are_shipped(tmp_path: Path) -> None:
    network = runs.Network("mnist", "ensemble-early", 0.55, trained=0.6)
    combined, certified_by = network.command(tmp_path, 0).split(" && ")
    run = tmp_path / "mnist" / "ensemble-early-0.6-at-0.55"
    assert combined == f"noiseproof ensemble zoo:mnist-ensemble-0.6 --early-exit 1.5 --out {run}"
    assert certified_by == f"noiseproof certify {run} --precision fp32 --every 10 --sigma 0.55"
    other = runs.Network("mnist", "ensemble-early", 0.55, trained=0.65)
    *trainings, combined, _ = other.command(tmp_path, 0).split(" && ")
    assert len(trainings) == 4
    assert all("--sigma 0.65 " in training for training in trainings)
    assert " --early-exit 1.5 --out " in combined


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("ours", "ALPHA, TIGHT", "PAPERS_ALPHA, TIGHT"),
        ("papers", "PAPERS_ALPHA, PAPER.bound", "ALPHA, PAPER.bound"),
        ("papers", "(1.0 - PAPERS_ALPHA) * ", ""),
        ("ours", "np.stack", "0.95 * np.stack"),
        ("allowance", "CONFIDENCE) / seeds", "CONFIDENCE)"),
        ("allowance", "failure_allowance", "0.0 * failure_allowance"),
    ],
)
def test_the_table_is_checked_closely(
    records: Path, truth: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str
) -> None:
    monkeypatch.setattr(table1, name, mutated(getattr(procedures, name), old, new))
    with pytest.raises(AssertionError):
        check_table(table1.compute(records), truth)


def check_figure(figure: figure1.Figure1, truth: dict[str, Any]) -> None:
    curves = {curve.name: curve for curve in figure.curves}
    assert set(curves) == {
        "STN, sigma 0.7",
        "PixelDP's certificate, votes of STN, sigma 0.7",
        "without stability training, sigma 0.7",
    }
    radii = figure1.TABLE_RADII["mnist"]
    for name, places in (
        ("STN, sigma 0.7", ("stn-0.7", "stn-0.7-seed2")),
        ("without stability training, sigma 0.7", ("gaussian-0.7",)),
    ):
        seeds = [truth[place] for place in places]
        by_paper = np.array([[0.95 * certified(f["papers"], v.label, r) for r in radii] for v, f in seeds])
        by_us = np.array([[certified(f["ours"], v.label, r) for r in radii] for v, f in seeds]) - allowed(
            IMAGES, len(seeds)
        )
        by_us = np.maximum(by_us, 0.0)
        for spread, values in ((curves[name].at_papers, by_paper), (curves[name].at_ours, by_us)):
            np.testing.assert_allclose(spread.values, values)
            np.testing.assert_allclose(spread.mean, values.mean(0))
            np.testing.assert_allclose(spread.least, values.min(0))
            np.testing.assert_allclose(spread.most, values.max(0))
    pixeldp, stn = curves["PixelDP's certificate, votes of STN, sigma 0.7"], curves["STN, sigma 0.7"]
    for row, place in enumerate(("stn-0.7", "stn-0.7-seed2")):
        votes, found = truth[place]
        inside = [0.05, 0.2, 0.3, 0.35, 0.39]
        shares = [0.95 * certified(found["pixeldp"], votes.label, radius) for radius in inside]
        places = np.searchsorted(pixeldp.radii, inside)
        between = [pixeldp.papers.values[row, [place - 1, place]] for place in places]
        assert all(
            after - 1e-9 <= share <= before + 1e-9 for share, (before, after) in zip(shares, between, strict=True)
        )
        assert 0.0 < shares[3] < shares[0]
    assert (pixeldp.papers.values <= stn.papers.values).all(), "dominated, on the same votes"
    for curve in figure.curves:
        for spread in (curve.papers, curve.ours):
            assert (np.diff(spread.values, axis=1) <= 0.0).all()
            assert (spread.values[:, -1] == 0.0).all()
        assert curve.images == IMAGES
        assert curve.votes == SAMPLES
    assert stn.seeds == (0, 2)


def test_every_number_of_the_figure(records: Path, truth: dict[str, Any]) -> None:
    figure = figure1.compute(records)
    check_figure(figure, truth)
    assert figure.attacked is None
    lines = {(key, name): texts for key, name, texts in figure1.lines(figure, "mnist")}
    assert lines["printed", "STN"] == ["", "", "", "51.0", "69.0"]
    curve = figure.curves[0]
    text = lines["papers", "STN, sigma 0.7, 2 seeds"][3]
    numbers = [
        np.floor(1000 * value[3] + 1e-9) / 10
        for value in (curve.at_papers.mean, curve.at_papers.least, curve.at_papers.most)
    ]
    assert text == "{:.1f} [{:.1f} to {:.1f}]".format(*numbers)
    for words in (table1.LINES, figure1.PROCEDURES):
        told = [name for name in words.values() if "× 95 %" in name]
        assert len(told) == 1
        assert told[0].startswith("the paper's procedure"), "times 95 % stands under the paper's name alone"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("ours", "ALPHA, TIGHT", "PAPERS_ALPHA, TIGHT"), ("papers", "PAPERS_ALPHA, PAPER", "0.95, PAPER")],
)
def test_the_figure_is_checked_closely(
    records: Path, truth: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str
) -> None:
    monkeypatch.setattr(figure1, name, mutated(getattr(procedures, name), old, new))
    with pytest.raises(AssertionError):
        check_figure(figure1.compute(records), truth)


def test_a_picture_has_lines_and_bands(records: Path, tmp_path: Path) -> None:
    found = figure1.compute(records)
    left, right = figure1.draw(found).subfigs[0].axes
    for axes, key in ((left, "papers"), (right, "ours")):
        assert len(axes.lines) == len(found.curves) + len(figure1.PRINTED["mnist"])
        assert len(axes.collections) == 2, "bands of STN and PixelDP, which have two seeds"
        for line, curve in zip(axes.lines, found.curves, strict=False):
            drawn_values = np.asarray(line.get_ydata())
            np.testing.assert_allclose(drawn_values, 100 * getattr(curve, key).mean[: len(drawn_values)])
            assert drawn_values[-1] == 0.0
    paths = figure1.write(found, tmp_path)
    content = json.loads(paths[2].read_text())
    np.testing.assert_allclose(content["curves"][0]["ours"]["mean"], found.curves[0].at_ours.mean, atol=1e-6)
    assert content["band"] == "least to largest of the seeds"
    assert content["TRADES under PGD"] == "missing"


def test_ways_of_reading_the_same_votes(records: Path, truth: dict[str, Any]) -> None:
    (run, *_), _ = runs.read_runs(runs.Network("mnist", "stn", 0.7), records)
    votes, found = truth["stn-0.7"]
    radii = np.array([0.0, 0.5, 0.8, 1.4, 1.58])
    released, mended, hundred, text, tight, stricter, mine = procedures.ways(run, radii)
    for way, name in ((hundred, "hundred"), (text, "papers"), (mine, "ours")):
        np.testing.assert_allclose(way.accuracy, [certified(found[name], votes.label, radius) for radius in radii])
        assert way.proves
    assert [way.samples for way in (released, mended, hundred)] == [SELECTION] * 3
    assert [way.samples for way in (text, tight, stricter, mine)] == [SAMPLES] * 4
    assert votes.selection_votes is not None
    for way, passed in ((released, 0.95), (mended, 0.05)):
        assert not way.proves
        as_released = [(int(row.argmax()), released_radius(row, passed, 0.7)) for row in votes.selection_votes]
        np.testing.assert_allclose(way.accuracy, [certified(as_released, votes.label, radius) for radius in radii])
    assert released.accuracy[-2] > mended.accuracy[-2] == 0.0, "at 2 sigma it is the .95 that certifies"
    assert hundred.accuracy[-1] == 0.0, "which 100 votes cannot prove"
    for way, alpha in ((tight, 0.05), (stricter, 0.001)):
        one_change = [bonferroni_tight(row, 0.7, alpha) for row in votes.votes]
        np.testing.assert_allclose(way.accuracy, [certified(one_change, votes.label, radius) for radius in radii])
    level = 0.05 / 20
    reached = renyi_radius(level**0.01, 1 - level**0.01, 1.0)
    found_reach = procedures.reach(100)
    assert found_reach.papers == pytest.approx(reached, rel=1e-6)
    assert 0.7 * reached < 1.4
    unanimous = np.array([SELECTION, *[0] * (CLASSES - 1)])
    assert (
        found_reach.released == pytest.approx(released_radius(unanimous, 0.95, 1.0)) == pytest.approx(2.603, abs=1e-3)
    )
    assert found_reach.mended == pytest.approx(released_radius(unanimous, 0.05, 1.0)) == pytest.approx(1.758, abs=1e-3)


def released_radius(votes: Votes, passed: float, sigma: float) -> float:
    """The released code's formula at its hundred orders, one after the other."""
    found = sison_glaz(votes[None], alpha=passed)
    p1, p2 = float(found.p1_lower[0]), float(found.p2_upper[0])
    if p1 <= p2:
        return 0.0
    bounds = []
    for step in range(100):
        a = 1.01 + 0.01 * step
        mean = ((p1 ** (1 - a) + p2 ** (1 - a)) / 2) ** (1 / (1 - a))
        bounds.append(-math.log(1 - p1 - p2 + 2 * mean) / a)
    return sigma * math.sqrt(2 * max(bounds))


def bonferroni_tight(votes: Votes, sigma: float, alpha: float) -> tuple[int, float]:
    n, (runner_up, winner) = int(votes.sum()), np.sort(votes)[-2:]
    level = alpha / (2 * len(votes))
    p1 = low(int(winner), n, level)
    p2 = min(high(int(runner_up), n, level), 1 - p1)
    return int(votes.argmax()), sigma * float(norm.ppf(p1) - norm.ppf(p2)) / 2 if p1 > p2 else 0.0


def test_every_bound_with_every_certificate(records: Path, truth: dict[str, Any]) -> None:
    (run, *_), _ = runs.read_runs(runs.Network("mnist", "stn", 0.7), records)
    votes, found = truth["stn-0.7"]
    table = {
        (bound, type(each).__name__): share
        for bound, shares in procedures.crossed(run, 0.8)
        for each, share in zip(procedures.CERTIFICATES, shares, strict=True)
    }
    assert len(table) == 16
    assert table["TwoPhase", "NeymanPearson"] == pytest.approx(certified(found["ours"], votes.label, 0.8))
    by_bonferroni = [bonferroni_tight(row, 0.7, 0.001) for row in votes.votes]
    assert table["Bonferroni", "NeymanPearson"] == pytest.approx(certified(by_bonferroni, votes.label, 0.8))
    for bound in ("Bonferroni", "SinglePhase", "WinnerRunnerUp", "TwoPhase"):
        assert table[bound, "NeymanPearson"] >= max(share for (own, _), share in table.items() if own == bound)
        assert table[bound, "Renyi"] >= table[bound, "PixelDP"]


def test_nothing_is_there(tmp_path: Path) -> None:
    table, figure = table1.compute(tmp_path), figure1.compute(tmp_path)
    assert not table.measured
    assert not figure.curves
    for row in table.rows:
        for name, texts in table1.lines(row):
            assert name == "printed" or set(texts) <= {"missing", "–"}, "no cell is filled by copying"
    named = [each.what for each in table.missing]
    assert len(named) == 4 + 3 + 1 + 1 + 4, "[17] twice for each data set, three seeds, CIFAR-10, released, beyond"
    assert len(figure.missing) == 1 + 3 + 1 + 1 + 3 + 1 + 1 + 1 + 2
    assert all(each.why == "not there" and each.command for each in table.missing + figure.missing)


def test_commands_for_what_is_missing_parse(tmp_path: Path, quick: None) -> None:
    found = reproduction.compute(tmp_path).missing
    group = typer.main.get_command(app)
    parsed = 0
    for each in found:
        for command in each.command.split(" && "):
            program, *arguments = shlex.split(command) or [""]
            if program == "noiseproof":
                name, *options = arguments
                group.commands[name].make_context(name, options)  # type: ignore[attr-defined]
                parsed += 1
            elif program:
                assert arguments[:2] == ["-m", "noiseproof.runs.verification"]
                verified.parser().parse_args(arguments[2:])
                parsed += 1
    assert parsed > 50
    (cascade,) = (each.command for each in found if each.what == "Table 1: [17] (Cascade), mnist")
    single, later, verify = (shlex.split(command) for command in cascade.split(" && "))
    assert single[-2:] == ["--out", f"{tmp_path}/mnist/kw-single"]
    assert later[-4:] == ["--out", f"{tmp_path}/mnist/kw-cascade/stage2", "--after", f"{tmp_path}/mnist/kw-single"]
    assert [verify[place + 1] for place, part in enumerate(verify) if part == "--stage"] == [
        f"{tmp_path}/mnist/kw-single/checkpoint.safetensors",
        f"{tmp_path}/mnist/kw-cascade/stage2/checkpoint.safetensors",
    ]
    certify = f"noiseproof certify {tmp_path}/mnist/stn-0.7 --model zoo:mnist-stn-0.7 --precision bf16 --every 10"
    assert [each.what for each in found if each.command == certify] == [
        (
            "Table 1: STN, sigma 0.7, mnist, seed 0; Figure 1: STN, sigma 0.7, mnist, seed 0; Figure 3: what is certified; "
            "Figure 4: what is certified; Figure 6: what is certified"
        )
    ]


def test_unlike_runs_are_not_compared(tmp_path: Path, quick: None) -> None:
    write_run(tmp_path / "mnist" / "stn-0.7", "stn", 0.7)
    write_run(tmp_path / "mnist" / "gaussian-0.7", "gaussian", 0.7, trained={"epochs": 6})
    told = {each.where: each.found for each in reproduction.compute(tmp_path).differences}
    assert told["Figure 1: stability training against none"].endswith("gaussian-0.7 differ in training")


def test_any_seed_is_read_in_several_ways(tmp_path: Path, quick: None) -> None:
    write_run(tmp_path / "mnist" / "stn-0.7-seed1", "stn", 0.7, 1)
    assert [each.run.seed for each in reproduction.compute(tmp_path).readings.values()] == [1]


STN = runs.Network("mnist", "stn", 0.7, (0, 1))


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("gaussian", {}, "objective"),
        ("stn", {"trained_sigma": 0.5}, "sigma of training 0.7"),
        ("stn", {"noise": {"name": "gaussian", "sigma": 0.5}}, "noise"),
        ("stn", {"trained_seed": 3}, "seed of training 1"),
        ("stn", {"model": {"name": "net", "digest": "stn-0.7-0"}}, "the weights of"),
        ("stn", {"data": {"name": "digits", "split": "test", "digest": "d"}}, "data set mnist"),
        ("stn", {"data": {"name": "mnist", "split": "train", "digest": "d"}}, "split"),
        ("stn", {"data": {"name": "mnist", "split": "test", "digest": "other"}}, "other data"),
        ("stn", {"engine": {"precision": "int8"}}, "other precision"),
        ("stn", {"trained": {"epochs": 6}}, "other training"),
        ("stn", {"step": 5, "stop": 5 * IMAGES}, "other images"),
        ("stn", {"drawn": tuple(part[:20] for part in drawn(1))}, "other images"),
        ("released", {}, "objective"),
    ],
)
def test_what_is_not_what_its_folder_says_is_named_and_not_shown(
    tmp_path: Path, kind: str, changes: dict[str, Any], why: str
) -> None:
    write_run(tmp_path / "mnist" / "stn-0.7", "stn", 0.7)
    write_run(tmp_path / "mnist" / "stn-0.7-seed1", kind, 0.7, 1, **changes)
    found, missing = runs.read_runs(STN, tmp_path)
    assert [run.seed for run in found] == [0]
    (one,) = missing
    assert why in one.why
    assert one.what == "STN, sigma 0.7, mnist, seed 1"
    same = f"--every 10 --samples {SAMPLES} --selection-samples {SELECTION}"
    assert one.command.endswith(f"noiseproof certify {tmp_path}/mnist/stn-0.7-seed1 {same}"), "as the first seed's"


def test_a_record_of_stn_is_never_the_line_without_it(
    records: Path, truth: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, seed in (("stn-0.7", 0), ("stn-0.7-seed2", 2)):
        write_run(tmp_path / "mnist" / place, "stn", 0.7, seed)
    write_run(tmp_path / "mnist" / "gaussian-0.7", "stn", 0.7, 1, trained_seed=0)
    figure = figure1.compute(tmp_path)
    assert [curve.name for curve in figure.curves] == [
        "STN, sigma 0.7",
        "PixelDP's certificate, votes of STN, sigma 0.7",
    ]
    assert any("GaussianAugmentation" in each.why for each in figure.missing)
    monkeypatch.setattr(runs, "_require_training", lambda *_: None)
    with pytest.raises(AssertionError):
        check_figure(figure1.compute(tmp_path), truth)


def test_votes_without_a_selection_phase(tmp_path: Path) -> None:
    labels, votes, _ = drawn(0)
    path = tmp_path / "mnist" / "stn-0.7"
    record = write_run(path, "stn", 0.7, drawn=(labels, votes, votes))
    settings = RecordSettings(**(record.settings.plain() | {"selection_samples": 0}))
    content = json.loads((path / "record.json").read_text()) | {"settings": settings.plain()}
    (path / "record.json").write_text(json.dumps(content))
    found, (one, _) = runs.read_runs(STN, tmp_path)
    assert not found
    assert "selection votes" in one.why


def test_unfinished_and_damaged_records_name_the_command_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "mnist" / "stn-0.7"
    record = write_run(path, "stn", 0.7)
    record.shard_path(1).unlink()
    found, (one, _) = runs.read_runs(STN, tmp_path)
    assert not found
    assert one.command == f"noiseproof certify {path} --every 10", "the record's own"
    assert "1 that are missing or damaged" in one.why
    record.shard_path(1).write_bytes(b"not parquet")
    _, (one, _) = runs.read_runs(STN, tmp_path)
    assert "00001.parquet" in one.why
    (path / "record.json").write_text("{")
    _, (one, _) = runs.read_runs(STN, tmp_path)
    assert "configuration of a record" in one.why
    assert one.command == f"noiseproof certify {path} --model zoo:mnist-stn-0.7 --precision bf16 --every 10"


def test_the_network_that_the_authors_released(tmp_path: Path) -> None:
    sigma = 100 / 255
    data = {"name": "cifar10", "split": "test", "digest": "c"}
    record = write_run(tmp_path / "cifar10" / "stn-released", "released", sigma, data=data)
    votes, found = record.read(), expected(record)
    table = table1.compute(tmp_path)
    robust = cell(table, "STN, released network", "cifar10", "robust")
    assert robust.paper is not None
    assert robust.ours is not None
    assert robust.paper.mean == pytest.approx(0.95 * certified(found["papers"], votes.label, 36 / 255))
    assert robust.ours.mean == pytest.approx(certified(found["ours"], votes.label, 36 / 255))
    assert cell(table, "STN", "cifar10", "robust").ours is None, "which is not the one trained here"
    figure = figure1.compute(tmp_path)
    assert [curve.name for curve in figure.curves] == ["STN, released by the authors, sigma 100/255"]
    np.testing.assert_allclose(
        figure.curves[0].at_papers.values[0],
        [0.95 * certified(found["papers"], votes.label, radius) for radius in figure1.TABLE_RADII["cifar10"]],
    )
    write_run(tmp_path / "cifar10" / "stn-0.392", "released", sigma, data=data)
    _, (one,) = runs.read_runs(runs.Network("cifar10", "stn", sigma), tmp_path)
    assert "objective" in one.why
    other = tmp_path / "another"
    write_run(other / "cifar10" / "stn-released", "released", sigma, data=data, model={"name": "net", "digest": "mine"})
    _, (one,) = runs.read_runs(runs.Network("cifar10", "released", sigma), other)
    assert "the weights that the authors released" in one.why
    assert robust.ours.seeds == (), "which nobody told"


@pytest.mark.skipif("NOISEPROOF_WEIGHTS" not in os.environ, reason="NOISEPROOF_WEIGHTS is not set: no released network")
def test_the_digest_of_the_released_network() -> None:
    pytest.importorskip("h5py")
    path = Path(os.environ["NOISEPROOF_WEIGHTS"]) / "stn-code" / "model_cifar10"
    network = PaperCIFAR()
    network.load_state_dict(read_keras_weights(path, network))
    assert model_digest(network) == RELEASED


def test_more_seeds_than_wanted_are_taken(tmp_path: Path) -> None:
    for seed in (0, 1, 12):
        write_run(runs.Network("mnist", "stn", 0.7).folder(tmp_path, seed), "stn", 0.7, seed)
    (tmp_path / "mnist" / "stn-0.7-seedling").mkdir()
    found, missing = runs.read_runs(STN, tmp_path)
    assert [run.seed for run in found] == [0, 1, 12]
    assert not missing


def write_decided(
    run: runs.Run, right: int, undecided: int, wrong: int, *, runner_up: bool = False, **changes: Any
) -> SequentialRecord:
    """Votes that stopped: unanimous for the true class, tossed, and unanimous for another."""
    own = run.record.settings
    asked = CertifyRadii([1.58], max_samples=5000, runner_up=runner_up)
    procedure = asked.spec() | changes.pop("procedure", {})
    count = right + undecided + wrong
    settings: dict[str, Any] = {
        "data": own.data,
        "model": own.model,
        "noise": own.noise,
        "num_classes": CLASSES,
        "procedure": procedure,
        "seed": 0,
        "start": 0,
        "stop": 10 * count,
        "step": 10,
        "shard_size": count,
        "engine": {},
    }
    path = run.record.path / ("radius-1.58-runner-up" if runner_up else "radius-1.58")
    record = SequentialRecord.create(
        path, SequentialSettings(**(settings | changes)), {"command": ["noiseproof", "certify"]}
    )
    votes = np.zeros((count, CLASSES), dtype=np.int64)
    many, tossed = (int(next_look(np.array([n]))[0]) if runner_up else n for n in (4000, 2000))
    votes[: right + undecided, 3] = many
    votes[right : right + undecided] = 0
    votes[right : right + undecided, 3:5] = tossed // 2, tossed - tossed // 2
    votes[right + undecided :, 4] = many
    table = VoteTable(np.arange(0, 10 * count, 10), np.full(count, 3), votes, None, [b""] * count)
    record.write_shard(0, table, {"seconds": 5.0})
    return record


def test_times_of_shards_that_overlap_are_not_added(tmp_path: Path) -> None:
    write_run(STN.folder(tmp_path, 0), "stn", 0.7, 0)
    record = write_decided(runs.read_runs(STN, tmp_path)[0][0], 2, 1, 0, shard_size=1)
    votes = np.eye(CLASSES, dtype=np.int64)[:1] * 4000
    for shard, (seconds, minute) in enumerate(
        [(60.0, "10:01"), (150.0, "10:03"), (30.0, "10:10")]
    ):  # from 10:00, 10:00:30
        table = VoteTable(np.array([10 * shard]), np.array([0]), votes, None, [b""])
        record.write_shard(shard, table, {"seconds": seconds, "written": f"2026-11-26T{minute}:00+00:00"})
    (source,) = sources({"stopped": record})
    assert source.seconds == 180.0 + 30.0
    record.write_shard(0, VoteTable(np.array([0]), np.array([0]), votes, None, [b""]), {"seconds": 60.0})
    assert sources({"stopped": record})[0].seconds is None, "of an earlier version, which wrote no time of day"


def test_seeds_that_stopped_by_different_procedures_are_not_put_together(tmp_path: Path) -> None:
    for seed, cap in ((0, 5000), (1, 4500)):
        write_run(STN.folder(tmp_path, seed), "stn", 0.7, seed)
        write_decided(runs.read_runs(STN, tmp_path)[0][-1], 31, 6, 4, procedure={"cap": cap})
    table = table1.compute(tmp_path)
    robust = cell(table, "STN", "mnist", "robust").ours
    assert robust is not None
    assert not robust.stopped
    assert any("different procedures" in each.why for each in table.missing)


def test_votes_that_stopped_decide_what_ours_certifies(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(STN.folder(tmp_path, seed), "stn", 0.7, seed)
    (first, second), _ = runs.read_runs(STN, tmp_path)
    fixed = cell(table1.compute(tmp_path), "STN", "mnist", "robust")
    write_decided(first, 31, 6, 4)
    assert cell(table1.compute(tmp_path), "STN", "mnist", "robust") == fixed, "one seed alone is not mixed in"
    write_decided(second, 21, 10, 10)
    table = table1.compute(tmp_path)
    robust, natural = (cell(table, "STN", "mnist", kind) for kind in ("robust", "natural"))
    assert robust.paper == fixed.paper
    assert robust.ours is not None
    assert natural.ours is not None
    assert robust.ours.shares == (31 / 41, 21 / 41)
    assert robust.ours.at_least == pytest.approx(26 / 41 - allowed(41, 2))
    assert robust.ours.votes == 5000
    assert robust.ours.stopped
    assert not natural.ours.stopped
    assert natural.ours.votes == SAMPLES, "at radius 0 the others still speak"


def test_winner_and_runner_up_go_before_the_winner_alone(tmp_path: Path) -> None:
    write_run(STN.folder(tmp_path, 0), "stn", 0.7, 0)
    ((run,), _) = runs.read_runs(STN, tmp_path)
    write_decided(run, 21, 10, 10)
    robust = cell(table1.compute(tmp_path), "STN", "mnist", "robust").ours
    assert robust is not None
    assert (robust.shares, robust.runner_up) == ((21 / 41,), False)
    write_decided(run, 31, 6, 4, runner_up=True)
    table = table1.compute(tmp_path)
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
    write_run(STN.folder(tmp_path, 0), "stn", 0.7)
    (run,), _ = runs.read_runs(STN, tmp_path)
    fixed = cell(table1.compute(tmp_path), "STN", "mnist", "robust")
    write_decided(run, **({"right": 35, "undecided": 3, "wrong": 3} | changes))
    table = table1.compute(tmp_path)
    assert cell(table, "STN", "mnist", "robust") == fixed
    (named,) = (each for each in table.missing if "votes that stop" in each.what)
    assert why in named.why


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


def test_verification_counts_as_the_cascade_does() -> None:
    dataset, stages = small_images(), two_linear_stages()
    found = verified.verify(stages, dataset, norm="l2", radius=0.3, every=2, limit=70)
    chosen = list(range(0, 140, 2))
    images, labels = torch.as_tensor(dataset.read(chosen)), torch.as_tensor(dataset.labels[chosen])
    answer = Cascade([network for _, network in stages], "l2", 0.3)(images)
    assert found.images == 70
    assert found.certified_error == pytest.approx(answer.certified_error(labels))
    assert found.clean_error == pytest.approx(answer.error(labels))
    assert 0.0 < found.clean_error < found.certified_error < 1.0
    assert [stage["answered"] for stage in found.stages] == [int((answer.stages == number).sum()) for number in (0, 1)]
    assert "command" in found.about
    assert found.about["seconds"] >= 0.0
    with pytest.raises(InvalidInputError, match="stages"):
        verified.verify([], dataset, norm="l2", radius=0.3)
    with pytest.raises(InvalidInputError, match="every"):
        verified.verify(stages, dataset, norm="l2", radius=0.3, every=0)


def result(**changes: Any) -> verified.Verified:
    plain: dict[str, Any] = {
        "data": {"name": "mnist", "split": "test", "digest": "d"},
        "images": 200,
        "start": 0,
        "stop": 2000,
        "step": 10,
        "norm": "l2",
        "radius": 1.58,
        "clean_error": 0.115,
        "certified_error": 0.56,
        "stages": [{"name": "kw-mnist-small", "digest": "a", "answered": 200}],
        "about": {"command": ["python", "-m", "noiseproof.runs.verification"], "seconds": 12.0, "created": "2026"},
    }
    return verified.Verified(**(plain | changes))


def test_reference_17_is_read_from_its_result(tmp_path: Path) -> None:
    path = result().write(tmp_path / "mnist" / "kw-single")
    assert verified.Verified.read(path.parent) == result()
    table = table1.compute(tmp_path)
    robust, natural = (cell(table, "[17] (Single)", "mnist", kind).verified for kind in ("robust", "natural"))
    assert robust is not None
    assert natural is not None
    assert robust.mean == pytest.approx(0.44)
    assert natural.mean == pytest.approx(0.885)
    assert robust.at_least is None
    assert cell(table, "[17] (Cascade)", "mnist", "robust").verified is None
    (row,) = (row for row in table.rows if row.model == "[17] (Single)")
    assert list(table1.lines(row))[1][1] == ["1.58 (44.0 %)", "88.5 %", "missing", "missing"]


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
    result(**changes).write(tmp_path / "mnist" / "kw-single")
    table = table1.compute(tmp_path)
    assert cell(table, "[17] (Single)", "mnist", "robust").verified is None
    assert "verified.json must be" in table.missing[0].why


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    path = result().write(tmp_path)
    whole = json.loads(path.read_text())
    for content in ("{", "[]", json.dumps(whole | {"format": 99}), json.dumps({"format": 1})):
        path.write_text(content)
        with pytest.raises(RunError, match="result of a verification"):
            verified.Verified.read(tmp_path)


def test_verification_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = build("kw-mnist-small")
    torch.save(network.state_dict(), tmp_path / "stage.pth")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "ours.npz", images=rng.random((4, 1, 28, 28), dtype=np.float32), labels=np.arange(4))
    stage = f"kw-mnist-small={tmp_path / 'stage.pth'}"
    arguments = [str(tmp_path / "kw"), "--data", str(tmp_path / "ours.npz"), "--radius", "1e-4", "--stage", stage]
    verified.main([*arguments, "--limit", "2"])
    found = verified.Verified.read(tmp_path / "kw")
    assert found.images == 2
    assert found.stages[0]["name"] == stage
    assert found.about["command"][:5] == ["python", "-m", "noiseproof.runs.verification", *arguments[:2]]
    assert "2 images" in capsys.readouterr().out


def write_trades(records: Path, loss: str, wrong_from: Sequence[int]) -> AttackRecord:
    """An attack on the network of TRADES: of every len(wrong_from) images, i is wrong from size number wrong_from[i] on."""
    return write_attack(records, attacked.TRADES, loss, wrong_from, PGD(loss=loss, steps=100, restarts=5))  # type: ignore[arg-type]


def write_attack(
    records: Path, network: attacked.Defender, loss: str, wrong_from: Sequence[int], attack: PGD, digest: str = "t"
) -> AttackRecord:
    (found,) = (each for each in attacked.white_box(network, "l2") if f"loss={loss}" in each.changes)
    sizes = [0.0, *(float(size) for size in found.wanted_sizes.split(","))]
    count, samples = network.images // found.every, 1 if network.sigma is None else found.votes
    settings = AttackSettings(
        data={"name": network.data, "split": "test", "digest": "d", "image_shape": [1, 28, 28]},
        model={"name": network.model, "digest": digest},
        num_classes=CLASSES,
        attack=attack.spec(),
        noise=None if network.sigma is None else {"name": "gaussian", "sigma": network.sigma},
        norm="l2",
        sizes=sizes,
        samples=samples,
        alpha=0.001,
        seed=0,
        start=0,
        stop=found.every * count,
        step=found.every,
        shard_size=count,
        engine={} if network.precision == "auto" else {"precision": network.precision},
        gradients="fp32",
    )
    record = AttackRecord.create(records / found.folder, settings, {"command": ["noiseproof", "attack", loss]})
    votes = np.zeros((count, len(sizes), CLASSES), dtype=np.int64)
    for image, first in enumerate(list(wrong_from) * (count // len(wrong_from))):
        votes[image, :first, 0] = samples
        votes[image, first:, 1] = samples
    table = AttackTable(
        np.arange(0, found.every * count, found.every),
        np.zeros(count, dtype=np.int64),
        np.repeat(np.array([sizes]), count, 0),
        votes,
        np.zeros((count, len(sizes))),
    )
    record.write_shard(0, table, np.zeros((count, len(sizes), 1, 1, 1), dtype=np.float32), {"seconds": 2.5})
    return record


def test_the_released_network_under_attack_is_a_panel_of_its_own(tmp_path: Path) -> None:
    attack = PGD(loss="margin", draws=8, steps=20)
    write_attack(tmp_path, attacked.RELEASED, "margin", [1, 2, 3, 4, 4], attack, digest=RELEASED)
    write_trades(tmp_path, "margin", [1, 2])
    panels, missing = attack_figures.compute(attack_figures.FIGURES["figure3"], tmp_path)
    assert [panel.title for panel in panels] == ["MNIST (ℓ2)", "CIFAR-10 (ℓ2)"]
    (curve,) = panels[1].curves
    assert curve.name == "released STN, sigma 100/255, white-box (50, 1 of 2 attacks)"
    np.testing.assert_allclose(curve.robust, [1.0, 0.8, 0.6, 0.4])
    assert not panels[0].certified
    (wanted,) = (each for each in missing if each.what == "cifar10/stn-released/pgd-log_mean-l2")
    options = "--weights model_cifar10 --data cifar10 --sigma 0.39215686274509803 --precision fp32"
    assert options in wanted.command
    assert any(f"noiseproof certify {tmp_path}/cifar10/stn-released" in each.command for each in missing)
    shutil.rmtree(tmp_path / "cifar10")
    write_attack(tmp_path, attacked.RELEASED, "margin", [1, 2, 3, 4, 4], attack, digest="another")
    _, missing = attack_figures.compute(attack_figures.FIGURES["figure3"], tmp_path)
    (wrong,) = (each for each in missing if each.what == "cifar10/stn-released/pgd-margin-l2")
    assert f"with weights {RELEASED}" in wrong.why


def test_trades_under_the_worst_of_two_losses(tmp_path: Path) -> None:
    first, second = [1, 7, 3, 7, 0], [2, 4, 3, 7, 7]
    write_trades(tmp_path, "log_mean", first)
    figure = figure1.compute(tmp_path)
    assert figure.attacked is None
    assert [each.what for each in figure.missing if "TRADES" in each.what] == ["TRADES (ℓ∞ 0.3) under PGD, mnist"]
    write_trades(tmp_path, "margin", second)
    figure = figure1.compute(tmp_path)
    assert figure.attacked is not None
    expected_shares = [np.mean([min(pair) > size for pair in zip(first, second, strict=True)]) for size in range(7)]
    np.testing.assert_allclose(figure.attacked.robust, expected_shares)
    assert not any("TRADES" in each.what for each in figure.missing)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 5 on a coarse grid: its own numbers are tested elsewhere."""
    monkeypatch.setattr(figure5, "compute", partial(figure5.compute, 12))


def test_figure5_draws_no_memory_that_nobody_wrote(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """matplotlib pads polygons of unequal length with np.empty: by chance, what lay there overflowed."""
    result, empty = figure5.compute(), np.empty

    def full_of_large_numbers(*arguments: Any, **options: Any) -> np.ndarray:
        values = empty(*arguments, **options)
        if values.dtype.kind == "f":
            values.fill(np.finfo(values.dtype).max)
        return values

    monkeypatch.setattr(np, "empty", full_of_large_numbers)
    figure5.draw(result)  # a warning is an error here


@pytest.mark.slow
def test_the_page_shows_all_there_is_and_names_the_rest(
    records: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = reproduction.compute(records)
    page, *others = reproduction.write(found, tmp_path / "one")
    text = page.read_text().replace("\u00a0", " ")
    assert page.name == "reproduction.html"
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", text), "it must not load anything"
    assert "url(http" not in text
    assert "<script" not in text
    for row in found.table.rows:
        for name, texts in table1.lines(row):
            assert table1.LINES[name] in text.replace("&#39;", "'")
            assert all(each in text for each in texts)
    for _, curve_name, texts in figure1.lines(found.bounds, "mnist"):
        assert curve_name in text.replace("&#39;", "'")
        assert all(f"<td>{each}</td>" in text for each in texts)
    for each in found.missing:
        assert each.command in text.replace("&amp;", "&")
        assert each.what in text.replace("&#39;", "'")
    assert "Figure 2, ImageNet" in text
    for told in ("Test Processor 9", "noise 7, training 2", "noiseproof train --seed 2", "33"):
        assert told in text, "commands, seeds, machine and seconds (10 + 11 + 12) are the record's own"
    assert {source.folder for source in found.sources} == {str(path.parent) for path in records.rglob("record.json")}
    assert text.count("data:image/svg+xml;base64") == 2, "Figures 1 and 5; the others have no records"
    assert {path.name for path in others} == {
        *("missing.json", "table1.json", "figure1.png", "figure1.svg", "figure1.json"),
        *("figure5.png", "figure5.svg", "figure5.json"),
    }
    again, *_ = reproduction.write(reproduction.compute(records), tmp_path / "two")
    assert again.read_text() == page.read_text(), "equal records, equal page"


def test_differences_name_their_experiments_and_what_they_found(
    records: Path, truth: dict[str, Any], quick: None
) -> None:
    found = reproduction.compute(records)
    assert all(each.where and each.printed and each.why and each.experiment for each in found.differences)
    by_place = {each.where: each for each in found.differences}
    votes, certificates = truth["stn-0.7"]
    interval = by_place["Figure 1 and Table 1, STN: what is certified"].found
    assert "100 votes" in interval
    by_text = 100 * certified(certificates["hundred"], votes.label, 1.4)
    assert f"{by_text:.1f} % by the text" in interval
    stability = by_place["Figure 1: stability training against none"].found
    assert "1 seed:" in stability, "seed 2 has nothing beside it"
    for radius in figure1.TABLE_RADII["mnist"]:
        one, two = (
            certified(truth[place][1]["ours"], truth[place][0].label, radius) for place in ("stn-0.7", "gaussian-0.7")
        )
        assert re.search(rf"{re.escape(f'{100 * (one - two):+.1f}')} \[[^]]*\] at {radius:g}", stability)
    empty = reproduction.compute(records / "nothing")
    told = {each.where: each.found for each in empty.differences}
    assert told["Figure 1: stability training against none"] == "nothing on it in these records"
    assert told["Table 1, reference [17]"] == "nothing on it in these records"
    assert "sigma" in told["Figure 1 and Table 1, STN: how far votes reach"], "which needs no record"


def figure_of(curves: list[attack_figures.Curve]) -> attack_figures.AttackFigure:
    return attack_figures.AttackFigure("figure4", [attack_figures.Plot("mnist", "l2", curves)], [])


def test_figures_of_attacks_stand_on_the_page(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = tuple(each for each in attacked.white_box(attacked.TRADES, "l2") if each.attack == "pgd")
    small = figure_of([("TRADES alone", cells, 0, False)])
    monkeypatch.setitem(attack_figures.FIGURES, "figure4", small)
    records = tmp_path / "records"
    for loss in ("log_mean", "margin"):
        write_trades(records, loss, [1, 3, 7, 7, 3])
    found = reproduction.compute(records)
    page, *_ = reproduction.write(found, tmp_path / "out")
    text = page.read_text()
    assert text.count("data:image/svg+xml;base64") == 4, "Figures 1, 3, 4 and 5"
    assert "TRADES (ℓ∞ 0.3), white-box (500, 2 of 4 attacks)" in text
    row = "<tr><td>TRADES alone (500)</td><td>100.0</td><td>80.0</td><td>80.0</td><td>40.0</td>"
    assert row in text
    assert {source.kind for source in found.sources} == {"attack"}
    assert "noiseproof attack margin" in text
    assert not any(each.what.startswith("Figure 4") and each.command for each in found.missing)


def test_one_damaged_record_spoils_nothing_else(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (each for each in attacked.white_box(attacked.TRADES, "l2") if each.attack == "pgd")
    curves = [("one", (one,), 0, False), ("other", (other,), 1, False), ("both", (one, other), 2, False)]
    monkeypatch.setitem(attack_figures.FIGURES, "figure4", figure_of(curves))
    write_run(tmp_path / "mnist" / "stn-0.7", "stn", 0.7)
    for loss in ("log_mean", "margin"):
        write_trades(tmp_path, loss, [1, 2])
    (tmp_path / other.folder / "attack.json").write_text("{")
    found = reproduction.compute(tmp_path)
    assert [curve.name for curve in found.bounds.curves] == [
        "STN, sigma 0.7",
        "PixelDP's certificate, votes of STN, sigma 0.7",
    ]
    (panel,) = found.attacked["figure4"]
    assert [curve.name for curve in panel.curves] == ["one (500)", "both (500, 1 of 2 attacks)"]
    (damaged,) = (each for each in found.missing if "configuration of a record" in each.why)
    assert all(f"Figure {number}: " in damaged.what for number in (1, 3, 4)), "all that it is missing from"
    assert str(tmp_path / other.folder) in damaged.command
    page, *_ = reproduction.write(found, tmp_path / "out")
    assert "configuration of a record" in page.read_text()


def noiseproof(*arguments: object, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    trace = "".join(traceback.format_exception(*done.exc_info)) if done.exc_info else ""
    assert done.exit_code == code, done.output + trace
    return done


@pytest.mark.parametrize("name", ["table1", "figure1"])
def test_commands_print_what_they_made_and_what_is_missing(records: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    done = noiseproof("reproduce", name, "--records", records, "--out", out)
    assert "Missing: noiseproof train --data mnist --objective stability --sigma 0.7 --seed 1" in done.stderr
    assert f"{name}.json" in done.stderr.replace("\n", "")
    assert "missing" in done.stdout or name == "figure1"
    told = json.loads(noiseproof("reproduce", name, "--records", records, "--out", out, "--json").stdout)
    assert told["figure"] == name
    assert len(told["missing"]) == len([each for each in told["why"] if each["command"]]) > 0
    assert all(Path(path).is_file() for path in told["files"])
    empty = noiseproof("reproduce", name, "--records", tmp_path, "--out", tmp_path / "no", code=1)
    assert "Missing: noiseproof certify" in empty.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_everything_from_one_command(records: Path, tmp_path: Path, quick: None) -> None:
    done = noiseproof("reproduce", "all", "--records", records, "--out", tmp_path)
    assert "Figure 2, ImageNet" in done.stderr
    assert done.stderr.count("Missing: noiseproof certify") > 1
    told = json.loads(noiseproof("reproduce", "all", "--records", records, "--out", tmp_path, "--json").stdout)
    assert told["files"][0].endswith("reproduction.html")
    assert len(told["missing"]) == len(set(told["missing"])) > 40
