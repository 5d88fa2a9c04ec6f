"""`report` and `inspect` on attacks and audits, and on folders of them."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from command_line import figures, invoke, one_line
from counting import count, job, subject
from noiseproof.attacks import RandomSearch
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.evaluation.audit import AuditResult
from noiseproof.perturbations.norms import Norm
from noiseproof.reports.analysis import procedure_of
from noiseproof.reports.attack_page import analyse_attacks
from noiseproof.reports.robustness import CertifiedCurve, Panel, RobustCurve, draw_robustness
from noiseproof.runs import AttackImages, AttackRecord, Audit, Record, Selection, execute
from noiseproof.runs.audit import judge_record

ATTACK = RandomSearch(tries=2, eot_samples=4)
SIZES = [0.1, 0.3]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Votes, with two attacks and an audit in folders within."""
    path: Path = tmp_path_factory.mktemp("runs") / "ink"
    record = count(path, job())
    for name, seed in (("first", 1), ("second", 2)):
        chosen = Selection(every=3, limit=20)
        execute(
            AttackImages(ATTACK, SIZES, "l2", samples=100, seed=seed, selection=chosen),
            path / "attacks" / name,
            subject(),
        )
    execute(audit(record), path / "audit", subject())
    return path


def audit(record: Record) -> Audit:
    return Audit(record, ATTACK, samples=100, alpha=0.01, selection=Selection(every=4))


def test_a_folder_of_attacks_is_shown(run: Path, tmp_path: Path) -> None:
    told = figures("report", run / "attacks", "--out", tmp_path / "report.html")
    assert [each["name"] for each in told["models"]] == ["first", "second"]
    page = Path(told["page"]).read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page), "it must not load anything"
    for each, analysis in zip(
        told["models"],
        analyse_attacks([AttackRecord.open(run / "attacks" / name) for name in ("first", "second")]),
        strict=True,
    ):
        assert each["data"] == "digits"
        assert each["robust"] == analysis.summary.robust.tolist()
        assert each["certified"] is not None, "the run around the attack says what is certified"
        assert all(f"{100 * share:.1f} %" in page for share in each["robust"])
    shown = invoke("report", run / "attacks" / "first", "--out", tmp_path / "one.html")
    assert "still right" in shown.stdout
    assert "is given below" in page
    assert "Hatched" in page
    shutil.copytree(run / "attacks" / "first", tmp_path / "alone")
    alone = figures("report", tmp_path / "alone", "--out", tmp_path / "alone.html")
    assert alone["models"][0]["certified"] is None, "no record of votes lies around it"
    assert "certified" not in Path(alone["page"]).read_text().lower()
    assert not (run / "attacks" / "record.json").exists()


def test_an_audit_is_judged_as_when_it_was_made(run: Path, tmp_path: Path) -> None:
    told = figures("report", run / "audit", "--out", tmp_path / "report.html")
    made = AttackRecord.open(run / "audit")
    expected: AuditResult = audit(Record.open(run)).judge(made)
    assert judge_record(made) == expected
    (shown,) = told["models"]
    assert shown["passed"] == expected.passed
    assert {name: shown[name] for name in expected.plain()} == expected.plain()
    assert f">{expected.attacked}</td>" in Path(told["page"]).read_text()
    assert f"in {expected.attacked} certified images" in one_line(
        invoke("report", run / "audit", "--out", tmp_path / "again.html").stderr
    )


def test_an_audit_of_an_earlier_version_is_judged_too(run: Path) -> None:
    """Its record does not say whether the certificates prove a majority; those of the two-phase bound all do."""
    made = AttackRecord.open(run / "audit")
    older = AttackRecord(
        made.path, made.settings, {name: value for name, value in made.about.items() if name != "majority"}
    )
    assert made.about["majority"] is True
    assert judge_record(older) == judge_record(made)


def test_inspect_shows_attacks_and_audits(run: Path) -> None:
    found = figures("inspect", run / "audit")
    assert found["settings"]["limits"]["bound"] == "TwoPhase"
    assert found["counted"]["images"] == 15
    both = figures("inspect", run / "attacks")["records"]
    assert [Path(each["run"]).name for each in both] == ["first", "second"]
    shown = invoke("inspect", run / "attacks").stdout
    assert re.search(r"sizes +0, 0\.1, 0\.3 in l2", shown)
    assert re.search(
        r"audit of +certificates by bound two-phase, certificate neyman-pearson",
        invoke("inspect", run / "audit").stdout,
    )
    assert "{" not in shown


def test_kinds_do_not_mix(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"of one kind.*\(votes\).*\(audit\)"):
        figures("report", run, run / "audit", "--out", tmp_path / "report.html")
    with pytest.raises(InvalidInputError, match="left out for attack"):
        figures("report", run / "attacks", "--paper", "--out", tmp_path / "report.html")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="none there"):
        figures("inspect", tmp_path / "empty")
    with pytest.raises(RunError, match="noiseproof inspect") as told:
        Record.open(run / "audit")
    assert "Certify first" not in str(told.value)


def test_the_procedure_of_the_command_line_is_drawn(run: Path, tmp_path: Path) -> None:
    out = ("--alpha", 0.01, "--out", tmp_path / "report.html")
    chosen = figures("report", run, "--bound", "single-phase", "--certificate", "renyi", *out)
    assert [each["procedure"] for each in chosen["models"][0]["procedures"]] == ["single-phase, renyi"]
    asked = figures("report", run, "--paper", *out)
    titles = [each["procedure"] for each in asked["models"][0]["procedures"]]
    assert titles == [procedure_of(Record.open(run)).title, "paper: Bonferroni, Rényi"]


def test_interval_and_certified_area_look_different() -> None:
    sizes = np.array([0.0, 0.5, 1.0])
    curve = RobustCurve("pgd", sizes, np.array([0.9, 0.6, 0.2]), np.array([0.8, 0.5, 0.1]), np.array([1.0, 0.7, 0.3]))
    area = CertifiedCurve("pgd", sizes, np.array([0.9, 0.4, 0.0]))
    figure = draw_robustness([Panel("digits", Norm.L2, [curve], [area])])
    certified, interval = figure.axes[0].collections[:2]
    assert (certified.get_hatch(), interval.get_hatch()) == ("///", None)
    assert (len(certified.get_facecolor()), len(interval.get_facecolor())) == (0, 1)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "filled: 95 % interval" in labels
    assert "pgd: certified" in labels
