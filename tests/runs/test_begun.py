"""A certification that was begun goes on by itself: what `certify` on its folder alone takes from the record, and says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import figures as noiseproof
from command_line import invoke, one_line
from counting import job, run, subject
from noiseproof.bounds import Bonferroni, TwoPhase, WinnerRunnerUp
from noiseproof.certificates import Renyi
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.reports.analysis import departure, named
from noiseproof.reports.by_kind import open_report
from noiseproof.runs import CountVotes, Record, SequentialRecord
from noiseproof.runs.begun import begun_certification

INK = ("--model", "half_space:ink", "--data", "digits", "--sigma", 0.25)
PLAN = (
    *("--every", 20, "--limit", 25, "--samples", 150, "--selection-samples", 30, "--seed", 3),
    *("--alpha", 0.01, "--certificate", "renyi"),
)


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A certification of which a part is missing."""
    run = tmp_path / "ink"
    noiseproof("certify", run, *INK, *PLAN)
    Record.open(run).shard_path(0).unlink()
    return run


def test_a_run_alone_is_gone_on_with(begun: Path) -> None:
    before = Record.open(begun).settings
    said = one_line(invoke("certify", begun).stderr)
    record = Record.open(begun)
    assert record.settings == before
    assert record.missing() == ([], [])
    assert "model half_space:ink, data digits, images of 1 x 8 x 8, 10 classes, Gaussian(sigma=0.25)." in said
    plan = (
        "samples 150, selection-samples 30, alpha 0.01, bound two-phase, certificate renyi, every 20, limit 25, seed 3."
    )
    assert f"From {begun}: {plan}" in said
    found = noiseproof("certify", begun)
    assert (found["alpha"], found["images"]) == (0.01, 25)
    assert found == noiseproof("certify", begun, *INK, *PLAN), "what is named is what is taken"


def test_what_is_named_takes_the_place_of_what_was_begun(begun: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="samples 200"):
        noiseproof("certify", begun, "--samples", 200)
    with pytest.raises(RunError, match="seed 4"):
        noiseproof("certify", begun, "--seed", 4)
    with pytest.raises(RunError, match="step 30"):
        noiseproof("certify", begun, "--every", 30)
    said = one_line(invoke("certify", begun, "--alpha", 0.02, "--bound", "bonferroni").stderr)
    assert "alpha 0.01, " not in said.split("Another procedure:")[0]
    assert "bound two-phase" not in said
    elsewhere = noiseproof("certify", begun, "--out", tmp_path / "other", "--every", 60, "--samples", 50)
    assert (elsewhere["alpha"], elsewhere["images"]) == (0.001, 10), "a new record in another folder begins anew"


def test_a_sequential_certification_goes_on_too(tmp_path: Path) -> None:
    run = tmp_path / "ink"
    asked = ("--radius", "0.02,0.1", "--samples", 3000, "--every", 60, "--alpha", 0.01, "--beta", 0.02)
    figures = noiseproof("certify", run, *INK, *asked)
    record = SequentialRecord.open(run / "radius-0.02-0.1")
    record.shard_path(0).unlink()
    said = one_line(invoke("certify", run).stderr)
    plan = "radius 0.02, 0.1, samples 3000, alpha 0.01, beta 0.02, certificate neyman-pearson, every 60"
    assert f"From {record.path}: {plan}, seed 0." in said
    assert SequentialRecord.open(record.path).settings == record.settings
    assert noiseproof("certify", record.path) == noiseproof("certify", run) == figures
    with pytest.raises(InvalidInputError, match=r"left out with radius=.*got two-phase"):
        noiseproof("certify", record.path, "--bound", "two-phase")
    noiseproof("certify", run, "--rtol", 0.5, "--every", 60, "--samples", 500)
    with pytest.raises(InvalidInputError, match=r"one certification.*got radius-0\.02-0\.1, rtol-0\.5"):
        noiseproof("certify", run)


def test_a_cap_alone_is_raised(tmp_path: Path) -> None:
    run = tmp_path / "ink"
    noiseproof("certify", run, *INK, "--radius", 0.1, "--samples", 200, "--every", 60)
    noiseproof("certify", run / "radius-0.1", "--samples", 2000)
    assert SequentialRecord.open(run / "radius-0.1").settings.procedure["cap"] == 2000


def test_the_procedure_is_recorded_before_the_first_vote(begun: Path, tmp_path: Path) -> None:
    made_for = Record.open(begun).procedure
    assert (made_for.alpha, made_for.bound, made_for.certificate) == (0.01, TwoPhase(30), Renyi())
    assert json.loads((begun / "record.json").read_text())["about"]["procedure"]["alpha"] == 0.01
    assert "made for alpha 0.01, bound" in one_line(invoke("inspect", begun).stdout)
    job = begun_certification(begun)[1]
    assert isinstance(job, CountVotes)
    assert job.procedure == made_for
    assert begun_certification(tmp_path / "nothing")[1] is None


def test_what_another_procedure_says_is_told_apart(begun: Path, tmp_path: Path) -> None:
    """Reports, recertification and certification by another bound, certificate or alpha than the votes were counted for."""
    invoke("certify", begun)
    for command, page in (("recertify", ()), ("report", ("--out", tmp_path / "report.html"))):
        assert "Another procedure" not in invoke(command, begun, "--bound", "two-phase", *page).stderr
        for other in (("--alpha", 0.05), ("--bound", "bonferroni"), ("--certificate", "neyman-pearson")):
            said = one_line(invoke(command, begun, *other, *page).stderr)
            made_for = "two-phase (selection_samples 30), renyi, alpha 0.01"
            assert f"Another procedure: {begun} was counted for {made_for}." in said, (command, other)
    open_report([begun]).write(tmp_path / "page.html")
    assert "Another procedure" not in (tmp_path / "page.html").read_text()
    found = open_report([begun], alpha=0.05)
    assert found.analyses[0].departure is not None
    found.write(tmp_path / "other.html")
    assert "Another procedure:" in (tmp_path / "other.html").read_text()


def test_another_share_of_alpha_is_another_procedure(tmp_path: Path) -> None:
    """Records name the share, and what earlier ones mean without it is a half."""
    half = WinnerRunnerUp(runner_up_share=0.5)
    record = run(replace(job(), bound=half), tmp_path, subject())[0]
    assert Record.open(tmp_path).procedure.bound == half
    assert departure(record, named(half, record.procedure.certificate), 0.001) is None
    said = departure(record, named(WinnerRunnerUp(), record.procedure.certificate), 0.001)
    assert said is not None
    assert "was counted for winner-runner-up (eta 0.02, runner_up_share 0.5), neyman-pearson" in said
    file = tmp_path / "record.json"
    content = json.loads(file.read_text())
    assert content["about"]["procedure"]["bound"].pop("runner_up_share") == 0.5
    file.write_text(json.dumps(content))
    assert Record.open(tmp_path).procedure.bound == half


def test_earlier_records_are_read_by_what_is_usual(begun: Path) -> None:
    file = begun / "record.json"
    content = json.loads(file.read_text())
    del content["about"]["procedure"]
    file.write_text(json.dumps(content))
    invoke("certify", begun)
    record = Record.open(begun)
    assert record.procedure.alpha == 0.001
    assert record.procedure.bound == TwoPhase(30)
    assert "Another procedure" not in invoke("recertify", begun, "--alpha", 0.05).stderr
    without = CountVotes(samples=100, selection_samples=0)
    assert without.procedure.bound == Bonferroni()
