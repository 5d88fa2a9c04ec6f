"""What is not finished states no confidence: whoever stops may have stopped at a share to their liking."""

import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from command_line import figures, invoke, one_line
from counting import IMAGES, count, run, subject
from noiseproof.attacks import RandomSearch
from noiseproof.cli import progress
from noiseproof.cli.progress import Shown
from noiseproof.evaluation.certified_accuracy import summarise
from noiseproof.reports import analyse, write_report
from noiseproof.reports.curves import draw_curves
from noiseproof.reports.naming import WITHHELD
from noiseproof.runs import AttackImages, AttackRecord, Record, Selection


def part(record: Record | AttackRecord, path: Path) -> Path:
    """A copy of a record of which only one shard is there yet."""
    made = type(record).create(path, record.settings, record.about)
    made.shard_path(1).parent.mkdir()
    for file in (record.shard_path(1), *record.path.glob("votes/answers*.json")):
        (made.shard_path(1).parent / file.name).write_bytes(file.read_bytes())
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return count(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def partial(whole: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return part(whole, tmp_path_factory.mktemp("runs") / "partial")


def test_a_page_withholds_confidence(whole: Record, partial: Path, tmp_path: Path) -> None:
    analyses = analyse([Record.open(partial)], alpha=0.01)
    page = write_report(analyses, tmp_path / "r.html").page.read_text()
    assert "confidence" not in page.replace(WITHHELD, "")
    assert page.count(WITHHELD) == 1
    assert f"no statement yet, 5 of {IMAGES} images" in page
    assert "at least <strong>" not in page
    assert f"withheld, 5 of {IMAGES}</td><td>–</td>" in page
    summary = analyses[0].curves[0].summary
    assert math.isnan(summary.allowance)
    assert summary.population is None
    axes = draw_curves(analyses).axes[0]
    assert "(incomplete)" in str(axes.get_lines()[0].get_label())
    assert not np.isfinite(axes.collections[0].get_datalim(axes.transData).extents).all(), "a band is a statement"


def test_nothing_is_said_of_a_file_before_all_images_are_counted(whole: Record) -> None:
    (analysis,) = analyse([whole], alpha=0.01)
    certified, labels = analysis.curves[0].certified, analysis.votes.label
    settings = {"alpha": 0.01, "of": 2 * len(labels)}
    found = [summarise(certified, labels, np.zeros(1), whole=all_of_it, **settings) for all_of_it in (True, False)]
    assert found[0].population is not None
    assert found[1].population is None


def test_beside_a_whole_record_only_the_other_is_withheld(whole: Record, partial: Path, tmp_path: Path) -> None:
    analyses = analyse([Record.open(partial), whole], alpha=0.01, names=["part", "all"])
    page = write_report(analyses, tmp_path / "r.html").page.read_text()
    lead = re.search(r'<p class="lead">.*?</p>', page, re.DOTALL)
    assert lead is not None
    assert f"part: no statement yet, 5 of {IMAGES}" in lead.group()
    assert re.search(r"all: at least <strong>[\d.]+ %</strong>", lead.group())
    assert "95 % confidence for each line that makes a statement" in page
    assert f"of the {IMAGES} of all." in page
    assert "certificates of part" not in page


def test_the_terminal_and_json_withhold_it(partial: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "r.html")
    for command in (("report", partial, *out), ("recertify", partial)):
        assert WITHHELD in one_line(invoke(*command, "--alpha", 0.01).stderr)
        told = figures(*command, "--alpha", 0.01)
        found = told["models"][0]["procedures"][0] if "models" in told else told
        assert found["allowance"] is found["confidence"] is found["population_lower_bound"] is None
        assert found["withheld"] == WITHHELD
        assert (found["images"], found["natural_accuracy"] > 0.0) == (5, True), "what is counted is shown"


def test_a_whole_record_states_it(whole: Record, tmp_path: Path) -> None:
    for command in (("report", whole.path, "--out", tmp_path / "r.html"), ("recertify", whole.path)):
        assert WITHHELD not in one_line(invoke(*command, "--alpha", 0.01).stderr)
    told = figures("recertify", whole.path, "--alpha", 0.01)
    assert (told["confidence"], "withheld" in told) == (0.95, False)
    assert told["allowance"] > 0.0


def test_attacks_withhold_their_intervals(tmp_path: Path) -> None:
    chosen = Selection(every=3, limit=20)
    attack = AttackImages(
        RandomSearch(tries=2, eot_samples=4), [0.3], "l2", samples=100, selection=chosen, shard_size=5
    )
    record, _ = run(attack, tmp_path / "attack", subject())
    assert None not in figures("report", record.path, "--out", tmp_path / "r.html")["models"][0]["low"]
    partial = part(record, tmp_path / "partial")
    (told,) = figures("report", partial, "--out", tmp_path / "r.html")["models"]
    assert told["images"] == 5
    assert told["low"] == told["high"] == [None, None]
    assert told["withheld"] == WITHHELD
    assert WITHHELD in (tmp_path / "r.html").read_text()
    assert "<td>95 % interval, from</td><td>–</td><td>–</td>" in (tmp_path / "r.html").read_text()
    shown = invoke("report", partial, "--out", tmp_path / "r.html")
    assert re.search(r"95 % interval.*\n.*\n +0 .* – ", shown.stdout)


def test_progress_does_not_pass_for_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "messages", Console(file=io.StringIO()))
    told = Shown("The votes so far are saved.", unit="votes", watched="certified at 0.25", judge=lambda _table: 2)
    early = KeyboardInterrupt()
    told.__exit__(KeyboardInterrupt, early, None)
    assert early.__notes__ == ["Nothing was counted this time; a record that was there before is unchanged."]
    told.begin(6, 10)
    told.shard(0, [0, 0, 0])
    assert str(told).endswith("66.6 % certified at 0.25 so far")
    stopped = KeyboardInterrupt()
    told.__exit__(KeyboardInterrupt, stopped, None)
    assert stopped.__notes__ == ["The votes so far are saved. Confidence is stated when all images are counted."]
    told.shard(1, [0, 0, 0])
    assert str(told).endswith("66.6 % certified at 0.25")
