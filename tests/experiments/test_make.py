"""--make: the steps of what is missing, their times beforehand, and going on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tiny_figure
from command_line import invoke
from noiseproof.errors import RunError
from noiseproof.experiments import attack_figures, make
from noiseproof.experiments.attack_figures import TRADES
from noiseproof.experiments.figure import Figure, Result
from noiseproof.experiments.make import Estimate, estimate, planned, run_step
from noiseproof.experiments.networks import Network
from noiseproof.experiments.recipes import Missing, Reader, Step
from noiseproof.experiments.votes import FixedVotes, find_runs
from noiseproof.reports.tables import Table
from noiseproof.runs.records import Record
from noiseproof.training import CHECKPOINT, LOG
from processes import QUIET
from synthetic_records import verified_result, write_attack, write_decided, write_run

STN = Network("mnist", "stn", 0.7, (0, 1))


def step(name: str, *options: str, cost: tuple[float, str] | None = None, folder: str = "") -> Step:
    return Step(("noiseproof", name, *options), Path(folder or name), cost)


def test_steps_are_planned_once_in_order_and_not_where_another_record_lies() -> None:
    train, certify, decide = step("train"), step("certify"), step("certify", "--radius", "1")
    missing = [
        Missing("votes", "not there", (train, certify)),
        Missing("another", "with noise 0.5", (step("attack"),), blocked=True),
        Missing("sequential votes", "not there", (train, decide)),
        Missing("ImageNet", "no experiment"),
    ]
    assert planned(missing) == [train, certify, decide]


class _Growing(Figure[None]):
    """A figure that misses a second step only when the first is done."""

    name = "growing"

    def __init__(self, done: list[Step]) -> None:
        self.done = done

    def read(self, reader: Reader) -> None:
        first, second = step("first"), step("second")
        reader.miss(Missing("it", "not there", (first if first not in self.done else second,)))

    def numbers(self, found: Result[None]) -> None:
        return None

    def tables(self, content: None) -> list[Table]:
        return []


def test_every_step_runs_once_those_that_come_to_light_too(tmp_path: Path) -> None:
    done: list[Step] = []
    make.make(_Growing(done), tmp_path, done.append)
    assert done == [step("first"), step("second")], "though the second is still missing after it ran"


def test_a_step_that_fails_ends_it(tmp_path: Path) -> None:
    def fail(each: Step) -> None:
        ran.append(each)
        run_step(Step(("python", "-c", "raise SystemExit(4)"), tmp_path))

    ran: list[Step] = []
    with pytest.raises(RunError, match=r"raise SystemExit\(4\).* must be run to its end; got exit code 4"):
        make.make(_Growing([]), tmp_path, fail)
    assert ran == [step("first")]


def test_the_time_of_a_step_that_was_begun_is_that_of_what_is_left(tmp_path: Path) -> None:
    """Shards of 10, 11 and 12 s, of which the last is missing."""
    path = tmp_path / STN.folder(0)
    record = write_run(path, "stn", 0.7)
    (certify,) = FixedVotes(STN).steps(tmp_path)
    record.shard_path(2).unlink()
    found = estimate(certify, tmp_path)
    assert found.seconds == pytest.approx(10.5)
    assert found.basis == "by the 67 % that are done"
    train, _ = FixedVotes(STN, 1).steps(tmp_path)
    train.folder.mkdir()
    (train.folder / LOG).write_text("".join(json.dumps({"seconds": 20.0}) + "\n" for _ in range(3)))
    assert estimate(train, tmp_path) == Estimate(180.0, "by the 25 % that are done")


def test_the_time_of_a_record_that_the_repository_has_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "RECORDED", tmp_path / "kept")
    write_run(tmp_path / "kept" / STN.folder(0), "stn", 0.7)
    (run,) = find_runs(STN, Reader(tmp_path / "kept"))
    decided = write_decided(run, 2, 1, 0)
    decided.write_shard(0, decided.read(), {"seconds": 5.0, "written": "2026-11-26T10:00:00+00:00"})
    verified_result().write(tmp_path / "kept" / "mnist" / "kw-single")
    attacked = write_attack(tmp_path / "kept", TRADES, "margin", [1])
    for folder, seconds in (
        (STN.folder(0), 33.0),
        (f"{STN.folder(0)}/radius-1.58", 5.0),
        ("mnist/kw-single", 12.0),
        (str(attacked.path.relative_to(tmp_path / "kept")), 2.5),
    ):
        found = estimate(step("certify", folder=str(tmp_path / "mine" / folder)), tmp_path / "mine")
        assert found == Estimate(seconds, f"recorded in {tmp_path / 'kept' / folder}")


def test_other_times_are_stated_or_unknown(tmp_path: Path) -> None:
    assert estimate(step("certify", cost=(45.0, "an H100")), tmp_path) == Estimate(45.0, "stated, on an H100")
    assert estimate(step("certify"), tmp_path) == Estimate(None, "nobody measured it")
    (tmp_path / Record.configuration).write_text("{")
    damaged = Step(("noiseproof", "certify"), tmp_path, (45.0, "an H100"))
    assert estimate(damaged, tmp_path).basis == "stated, on an H100"


def test_the_plan_is_printed_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Step] = []
    monkeypatch.setattr(make, "run_step", ran.append)
    monkeypatch.chdir(tmp_path)  # where no records are kept
    out = tmp_path / "out"
    done = invoke("reproduce", "table1", "--make", "--records", tmp_path, "--out", out, code=3)  # nothing was made
    lines = [line for line in done.stderr.splitlines() if line.partition(".")[0].isdecimal()]
    assert len(lines) == len(ran) == len(set(ran)) > 10
    assert [line.partition("): ")[2] for line in lines] == [str(each) for each in ran]
    assert any("about 60 s (stated, on an H100)" in line for line in lines)
    assert any("unknown time (nobody measured it)" in line for line in lines)
    assert f"{len(ran)} steps, about" in done.stderr
    trained = [each for each in ran if each.arguments[1] == "train"]
    for each in trained:
        certified = [n for n, one in enumerate(ran) if one.folder.is_relative_to(each.folder) and one is not each]
        assert all(n > ran.index(each) for n in certified), "networks are trained before they are certified"


def test_the_records_of_the_repository_are_named_where_others_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `reproduce` without --records, with --json and before --make runs anything; not where none are kept."""
    monkeypatch.setattr(make, "run_step", lambda _: None)
    monkeypatch.chdir(tmp_path)

    def told(*options: str) -> list[str]:
        done = invoke("reproduce", "table1", *options, code=3 if "reproduction/records" not in options else 0)
        return [line for line in done.stderr.splitlines() if "--records reproduction/records" in line]

    assert told() == [], "there are none"
    write_run(make.RECORDED / STN.folder(0), "stn", 0.7)
    write_run(make.RECORDED / STN.folder(1), "stn", 0.7, 1)
    expected = "Recorded: --records reproduction/records reads 2 of the records that runs lacks."
    assert told() == told("--json") == [expected]
    assert told("--make") == [expected, expected], "before the steps, and again where they made nothing"
    assert told("--records", "reproduction/records") == [], "which says itself what it lacks"
    shutil.rmtree(make.RECORDED / STN.folder(1))
    assert told() == [expected.replace("2", "1")]


@pytest.mark.slow
def test_a_figure_is_made_step_by_step_and_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    records, run = tmp_path / "records", tmp_path / "records" / "digits" / "tiny"
    arguments = ["reproduce", "figure6", "--make", "--records", str(records), "--out", str(tmp_path / "out")]
    code = "import tiny_figure; tiny_figure.main()"
    first = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], start_new_session=True, env=QUIET, stderr=subprocess.PIPE
    )
    while not list(run.glob("votes/*.parquet")):
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    assert first.communicate()[1].decode().startswith("1. about 5 s (stated, on one core): noiseproof train")
    kept = {path: path.stat().st_mtime_ns for path in (run / CHECKPOINT, *run.glob("votes/*.parquet"))}
    assert Record.open(run).missing()[0], "it was killed in the middle"

    monkeypatch.setattr(attack_figures, "FIGURE6", tiny_figure.TinyFigure())
    done = invoke(*arguments)
    assert "noiseproof train" not in done.stderr, "the network is there"
    assert "that are done): noiseproof certify" in done.stderr, "by the time of the shards that are there"
    assert "1 steps" in done.stderr
    record = Record.open(run)
    assert record.missing() == ([], [])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing is made twice"

    again = invoke(*arguments)
    assert "noiseproof" not in again.stderr, "there is nothing left to do"
    options = ["--samples", str(tiny_figure.SAMPLES), "--precision", "fp32", "--no-compile"]
    invoke("certify", run, "--out", tmp_path / "whole", *options)
    np.testing.assert_array_equal(Record.open(tmp_path / "whole").read().votes, record.read().votes)
