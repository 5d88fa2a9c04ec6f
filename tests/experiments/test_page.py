"""The page with everything, and the command that makes it."""

import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from command_line import invoke, parsed
from noiseproof.experiments import attack_figures, figure1, table1
from noiseproof.experiments.figure import Figure
from noiseproof.experiments.page import PAGE
from noiseproof.reports.sources import sources
from synthetic_records import certified, write_run, write_trades


def test_unlike_runs_are_not_compared(tmp_path: Path, quick: None) -> None:
    write_run(tmp_path / "mnist" / "stn-0.7", "stn", 0.7)
    write_run(tmp_path / "mnist" / "gaussian-0.7", "gaussian", 0.7, trained={"epochs": 6})
    told = {each["where"]: each["found"] for each in PAGE.compute(tmp_path).content.differences}
    assert told["Figure 1: stability training against none"].endswith("gaussian-0.7 differ in training epochs")


def test_any_seed_is_read_in_several_ways(tmp_path: Path, quick: None) -> None:
    write_run(tmp_path / "mnist" / "stn-0.7-seed1", "stn", 0.7, 1)
    assert [each.run.seed for each in PAGE.compute(tmp_path).content.readings.values()] == [1]


@pytest.mark.slow
def test_the_page_shows_all_there_is_and_names_the_rest(
    records: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = PAGE.compute(records)
    page, *others = PAGE.write(found, tmp_path / "one")
    text = page.read_text().replace("\u00a0", " ")
    assert page.name == "reproduction.html"
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", text), "it must not load anything"
    assert "url(http" not in text
    assert "<script" not in text
    for row in found.content.results["table1"].content:
        for name, texts in row.lines(table1.COLUMNS, table1.WRITTEN):
            assert table1.LINES[name] in text.replace("&#39;", "'")
            assert all(each in text for each in texts)
    for table in figure1.FIGURE1.tables(found.content.results["figure1"].content):
        for curve_name, *texts in table.rows:
            assert curve_name in text.replace("&#39;", "'")
            assert all(f"<td>{each}</td>" in text for each in texts)
    for each in found.missing:
        assert each.command in text.replace("&amp;", "&")
        assert each.what in text.replace("&#39;", "'")
    assert "Figure 2, ImageNet" in text
    for told in ("Test Processor 9", "noise 7, training 2", "noiseproof train --seed 2", "33"):
        assert told in text, "commands, seeds, machine and seconds (10 + 11 + 12) are the record's own"
    assert {source.folder for source in sources(found.sources)} == {
        str(path.parent) for path in records.rglob("record.json")
    }
    assert text.count("data:image/svg+xml;base64") == 2, "Figures 1 and 5; the others have no records"
    assert {path.name for path in others} == {
        *("missing.json", "table1.json", "figure1.png", "figure1.svg", "figure1.json"),
        *("figure5.png", "figure5.svg", "figure5.json"),
    }
    again, *_ = PAGE.write(PAGE.compute(records), tmp_path / "two")
    assert again.read_text() == page.read_text(), "equal records, equal page"


def test_differences_name_their_experiments_and_what_they_found(
    records: Path, truth: dict[str, Any], quick: None
) -> None:
    found = PAGE.compute(records)
    assert all(each[key] for each in found.content.differences for key in ("where", "printed", "why", "experiment"))
    by_place = {each["where"]: each for each in found.content.differences}
    votes, certificates = truth["stn-0.7"]
    interval = by_place["Figure 1 and Table 1, STN: what is certified"]["found"]
    assert "100 votes" in interval
    by_text = 100 * certified(certificates["hundred"], votes.label, 1.4)
    assert f"{by_text:.1f} % by the text" in interval
    stability = by_place["Figure 1: stability training against none"]["found"]
    assert "1 seed, intervals of 95 % over images:" in stability, "seed 2 has nothing beside it"
    for radius in figure1.TABLE_RADII["mnist"]:
        one, two = (
            certified(truth[place][1]["ours"], truth[place][0].label, radius) for place in ("stn-0.7", "gaussian-0.7")
        )
        assert re.search(rf"{re.escape(f'{100 * (one - two):+.1f}')} \[[^]]*\] at {radius:g}", stability)
    empty = PAGE.compute(records / "nothing")
    told = {each["where"]: each["found"] for each in empty.content.differences}
    assert told["Figure 1: stability training against none"] == "nothing on it in these records"
    assert told["Table 1, reference [17]"] == "nothing on it in these records"
    assert "sigma" in told["Figure 1 and Table 1, STN: how far votes reach"], "which needs no record"


def figure_of(curves: list[attack_figures.Curve]) -> Figure[Any]:
    return replace(attack_figures.FIGURE4, planned={"mnist": lambda norm: curves if norm == "l2" else []}, certified=[])


def test_figures_of_attacks_stand_on_the_page(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = tuple(each for each in attack_figures.white_box(attack_figures.TRADES, "l2") if each.name == "pgd")
    small = figure_of([("TRADES alone", cells, 0, False)])
    monkeypatch.setattr(attack_figures, "FIGURE4", small)
    records = tmp_path / "records"
    for loss in ("log_mean", "margin"):
        write_trades(records, loss, [1, 3, 7, 7, 3])
    found = PAGE.compute(records)
    page, *_ = PAGE.write(found, tmp_path / "out")
    text = page.read_text()
    assert text.count("data:image/svg+xml;base64") == 4, "Figures 1, 3, 4 and 5"
    assert "TRADES (ℓ∞ 0.3), white-box (500, 2 of 4 attacks)" in text
    row = "<tr><td>TRADES alone (500)</td><td>100.0</td><td>80.0</td><td>80.0</td><td>40.0</td>"
    assert row in text
    assert {source.kind for source in sources(found.sources)} == {"attack"}
    assert "noiseproof attack margin" in text
    assert not any(each.what.startswith("Figure 4") and each.command for each in found.missing)


def test_one_damaged_record_spoils_nothing_else(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (each for each in attack_figures.white_box(attack_figures.TRADES, "l2") if each.name == "pgd")
    curves = [("one", (one,), 0, False), ("other", (other,), 1, False), ("both", (one, other), 2, False)]
    monkeypatch.setattr(attack_figures, "FIGURE4", figure_of(curves))
    write_run(tmp_path / "mnist" / "stn-0.7", "stn", 0.7)
    for loss in ("log_mean", "margin"):
        write_trades(tmp_path, loss, [1, 2])
    (tmp_path / other.folder / "attack.json").write_text("{")
    found = PAGE.compute(tmp_path)
    assert [curve.name for curve in found.content.results["figure1"].content["mnist"].curves] == [
        "STN, sigma 0.7",
        "PixelDP's certificate, votes of STN, sigma 0.7",
    ]
    (panel,) = found.content.results["figure4"].content
    assert [curve.name for curve in panel.curves] == ["one (500)", "both (500, 1 of 2 attacks)"]
    (damaged,) = (each for each in found.missing if "configuration of a record" in each.why)
    assert all(f"Figure {number}: " in damaged.what for number in (1, 3, 4)), "all that it is missing from"
    assert str(tmp_path / other.folder) in damaged.command
    page, *_ = PAGE.write(found, tmp_path / "out")
    assert "configuration of a record" in page.read_text()


@pytest.mark.parametrize("name", ["table1", "figure1"])
def test_commands_print_what_they_made_and_what_is_missing(records: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    done = invoke("reproduce", name, "--records", records, "--out", out)
    assert "Missing: noiseproof train --data mnist --objective stability --sigma 0.7 --seed 1" in done.stderr
    assert f"{name}.json" in done.stderr.replace("\n", "")
    assert "missing" in done.stdout or name == "figure1"
    told = json.loads(invoke("reproduce", name, "--records", records, "--out", out, "--json").stdout)
    assert told["figure"] == name
    assert len(told["missing"]) == len([each for each in told["why"] if each["command"]]) > 0
    assert all(Path(path).is_file() for path in told["files"])
    empty = invoke("reproduce", name, "--records", tmp_path, "--out", tmp_path / "no", code=3)
    assert "Missing: noiseproof certify" in empty.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_everything_from_one_command(records: Path, tmp_path: Path, quick: None) -> None:
    done = invoke("reproduce", "all", "--records", records, "--out", tmp_path)
    assert "Figure 2, ImageNet" in done.stderr
    assert done.stderr.count("Missing: noiseproof certify") > 1
    told = json.loads(invoke("reproduce", "all", "--records", records, "--out", tmp_path, "--json").stdout)
    assert told["files"][0].endswith("reproduction.html")
    assert len(told["missing"]) == len(set(told["missing"])) > 40


def test_a_page_without_any_record_is_no_success(tmp_path: Path, quick: None) -> None:
    """It is written, and names all that is missing, but figure 5 alone, which needs no record, does not make it whole."""
    done = invoke("reproduce", "all", "--records", tmp_path / "wrong", "--out", tmp_path / "out", code=3)
    assert done.stderr.count("Missing: noiseproof certify") > 1
    assert (tmp_path / "out" / "reproduction.html").is_file()
    assert invoke("reproduce", "figure5", "--records", tmp_path / "wrong", "--out", tmp_path / "out").stdout


def test_shares_of_the_same_votes_are_rounded_down(tmp_path: Path, quick: None) -> None:
    write_run(tmp_path / "mnist" / "stn-0.7", "stn", 0.7)
    found = PAGE.compute(tmp_path).content
    (reading,) = found.readings.values()
    (*_, shares), (*_, row) = reading.certified, next(reading.tables("STN")).rows
    assert row[2:] == [f"{math.floor(1000 * share) / 10:.1f}" for share in shares]
    assert row[2:] != [f"{100 * share:.1f}" for share in shares], "the example tells them apart"


def test_commands_for_what_is_missing_parse(tmp_path: Path, quick: None) -> None:
    found = PAGE.compute(tmp_path).missing
    count = 0
    for each in found:
        for command in each.command.split(" && "):
            program, *arguments = shlex.split(command) or [""]
            assert program in {"", "noiseproof"}
            if program:
                assert parsed(*arguments)
                count += 1
    assert count > 50
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
