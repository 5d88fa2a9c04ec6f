"""`certify --radius` and `--rtol`, and what reports, inspect and recertify make of them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binom

import noiseproof as npf
from command_line import figures as noiseproof
from command_line import invoke
from half_space import ink
from noiseproof.data import load
from noiseproof.errors import InvalidInputError, NoiseproofError, RunError
from noiseproof.reports import analyse_sequential, write_sequential_report
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.sequential import CERTIFIED, information_limit, level

INK = ["--model", "half_space:ink", "--data", "digits", "--sigma", 0.25, "--every", 10]
RADII = [0.02, 0.1]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Sixty digits, two radii, decided from the command line."""
    run = tmp_path_factory.mktemp("run") / "ink"
    figures = noiseproof("certify", run, *INK, "--radius", "0.02,0.1", "--samples", 3000, "--seed", 4)
    return run / "radius-0.02-0.1", figures


def test_the_command_decides_what_the_library_decides(stopped: tuple[Path, dict[str, Any]]) -> None:
    folder, figures = stopped
    dataset = load("digits", "test")
    chosen = range(0, len(dataset), 10)
    smoothed = npf.SmoothedClassifier(ink(), npf.Gaussian(0.25), 10)
    found = smoothed.certify(
        dataset.read(chosen), stop=npf.CertifyRadii(RADII, max_samples=3000), seed=4, indices=chosen
    )
    table = SequentialRecord.open(folder).read()
    assert (table.votes == found.votes).all()
    right = found.votes.argmax(-1) == dataset.labels[list(chosen)]
    for column, radius in enumerate(RADII):
        certified = found.outcome[:, column] == CERTIFIED
        assert figures["certified_accuracy"][f"{radius:g}"] == (certified & right).mean()
        assert figures["outcomes"][f"{radius:g}"]["certified_wrong"] == (certified & ~right).mean()
        assert sum(figures["outcomes"][f"{radius:g}"].values()) == pytest.approx(1.0)
    assert figures["votes"]["total"] == found.votes.sum()
    assert figures["counted"] == figures["planned"] == 60


def test_run_again_it_counts_nothing(stopped: tuple[Path, dict[str, Any]]) -> None:
    folder, figures = stopped
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert noiseproof("certify", folder.parent, *INK, "--radius", "0.02,0.1", "--samples", 3000, "--seed", 4) == figures
    assert written == {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_other_questions_are_other_records(stopped: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = stopped
    with pytest.raises(RunError, match="procedure alpha"):
        noiseproof(
            *("certify", folder.parent, *INK, "--radius", "0.02,0.1", "--samples", 3000, "--seed", 4, "--alpha", 0.01)
        )


def test_within_a_precision(tmp_path: Path) -> None:
    figures = noiseproof(
        "certify", tmp_path / "ink", *INK, "--rtol", 0.3, "--samples", 1500, "--limit", 12, "--radii", "0,0.05"
    )
    record = SequentialRecord.open(tmp_path / "ink" / "rtol-0.3")
    found = record.certify(record.read())
    right = found.prediction == record.read().label
    assert figures["average_certified_radius"] == pytest.approx(np.where(right, found.radius, 0.0).mean())
    assert list(figures["certified_accuracy"]) == ["0", "0.05"]
    assert figures["votes"]["over_information_limit"] is None
    page = write_sequential_report(analyse_sequential([record]), tmp_path / "report.html").page.read_text()
    assert "Average certified radius" in page


def test_by_winner_and_runner_up(stopped: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A record of its own beside the other, the same as the library's; both in one report, which says which is which."""
    asked = ("--radius", "0.02,0.1", "--samples", 3000, "--seed", 4, "--runner-up")
    figures = noiseproof("certify", tmp_path / "ink", *INK, *asked)
    record = SequentialRecord.open(tmp_path / "ink" / "radius-0.02-0.1-runner-up")
    dataset = load("digits", "test")
    chosen = range(0, len(dataset), 10)
    smoothed = npf.SmoothedClassifier(ink(), npf.Gaussian(0.25), 10)
    found = smoothed.certify(
        dataset.read(chosen), stop=npf.CertifyRadii(RADII, max_samples=3000, runner_up=True), seed=4, indices=chosen
    )
    np.testing.assert_array_equal(record.read().votes, found.votes)
    right = found.votes.argmax(-1) == dataset.labels[list(chosen)]
    assert figures["certified_accuracy"]["0.02"] == ((found.outcome[:, 0] == CERTIFIED) & right).mean()
    assert (figures["runner_up"], stopped[1]["runner_up"]) == (True, False)
    assert figures["certified_accuracy"]["0.1"] >= stopped[1]["certified_accuracy"]["0.1"]
    assert figures["votes"]["fixed_number_for_the_same"] is None
    assert figures["votes"]["over_information_limit"] > 0.9
    told = noiseproof("report", record.path, stopped[0], "--out", tmp_path / "report.html")
    page = Path(told["page"]).read_text()
    assert "Decided by winner and runner-up" in page
    assert "the others by the winner alone" in page
    alone = noiseproof("report", stopped[0], "--out", tmp_path / "alone.html")
    assert "runner-up" not in Path(alone["page"]).read_text()
    assert "Decided by winner and runner-up." in invoke("certify", tmp_path / "ink", *INK, *asked).stderr


def test_the_report_shows_outcomes_and_votes(stopped: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, figures = stopped
    told = noiseproof("report", folder, "--out", tmp_path / "report.html")
    assert told["models"][0]["certified_accuracy"] == figures["certified_accuracy"]
    page = Path(told["page"]).read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page), "it must not load anything"
    assert page.count("data:image/png;base64") == 12
    for row in figures["outcomes"].values():
        assert all(f"{100 * share:.1f} %" in page for share in row.values())
    assert f"{figures['votes']['total']:,}" in page
    assert f"{figures['votes']['largest']:,}" in page
    assert "radii 0.02, 0.1" in page
    with Image.open(told["png"]) as picture:
        assert picture.size[0] > 1000


def test_votes_are_compared_with_no_more_than_the_limit_of_the_run(
    stopped: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """At most 3000 votes were allowed, so nothing is said of 100,000."""
    analysis = analyse_sequential([SequentialRecord.open(stopped[0])])[0]
    assert analysis.fixed == 3000
    again = invoke("report", stopped[0], "--out", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "times fewer than 3,000 for each" in page
    assert "fewer than 100,000" not in page + again.stdout + again.stderr


def test_votes_against_the_information_limit(stopped: tuple[Path, dict[str, Any]]) -> None:
    analysis = analyse_sequential([SequentialRecord.open(stopped[0])])[0]
    votes, outcome = analysis.votes.votes, analysis.certified.outcome
    assert outcome is not None
    limits = []
    for row, decided in zip(votes, outcome, strict=True):
        p = row.max() / row.sum()
        both = [float(information_limit(p, level.p0, 0.001)) for level in analysis.record.test.levels]
        limits.append(min(max(both), 3000) if (decided != 0).all() else 0.0)
    used = votes.sum(-1)[np.array(limits) > 0].sum()
    assert analysis.usage.over_limit == pytest.approx(used / sum(limits))
    assert 1.0 < analysis.usage.over_limit < 2.0


def test_a_fixed_number_for_the_same_certificates(stopped: tuple[Path, dict[str, Any]]) -> None:
    analysis = analyse_sequential([SequentialRecord.open(stopped[0])])[0]
    found = analysis.certified
    needed = []
    for row, radius in zip(analysis.votes.votes, found.radius, strict=True):
        if radius == 0.0:
            continue
        top, used, p0 = int(row.max()), int(row.sum()), level(npf.Gaussian(0.25), float(radius)).p0
        n = used  # the tail itself, one n after the other, downwards while all is enough
        while n > 1 and binom.sf(top * (n - 1) // used - 1, n - 1, p0) < 0.001:
            n -= 1
        needed.append(n)
    assert analysis.usage.fixed is not None
    assert 0.9 * max(needed) <= analysis.usage.fixed <= max(needed)


def test_inspect_says_until_when(stopped: tuple[Path, dict[str, Any]]) -> None:
    found = noiseproof("inspect", stopped[0])
    assert found["settings"]["procedure"]["radii"] == RADII
    assert found["counted"]["votes"] == stopped[1]["votes"]["total"]
    assert re.search(r"until +radius 0\.02, 0\.1, samples 3000", invoke("inspect", stopped[0]).stdout)


def test_bounds_for_fixed_numbers_are_refused(stopped: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(InvalidInputError, match="votes whose number was fixed beforehand"):
        noiseproof("recertify", stopped[0])


def test_both_kinds_of_runs_do_not_mix_in_a_report(stopped: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    noiseproof("certify", tmp_path / "ink", *INK, "--samples", 50, "--limit", 3)
    with pytest.raises(InvalidInputError, match="of one kind"):
        noiseproof("report", stopped[0], tmp_path / "ink", "--out", tmp_path / "report.html")
    noiseproof("certify", tmp_path / "ink", *INK, "--rtol", 0.9, "--samples", 60, "--limit", 3)
    with pytest.raises(InvalidInputError, match="both kinds"):
        noiseproof("report", stopped[0], tmp_path / "ink" / "rtol-0.9", "--out", tmp_path / "report.html")
    with pytest.raises(InvalidInputError, match="radii of their own"):
        noiseproof("report", stopped[0], "--radii", "0.1", "--out", tmp_path / "report.html")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--radius", "0.1,x"], "--radius must be numbers"),
        (["--radius", "0.1,0.1"], "each named once"),
        (["--radius", "99"], "less than"),
        (
            ["--radius", "0.1", "--bound", "bonferroni"],
            "bound must be left out with radius=; got bonferroni. It belongs to samples=.",
        ),
        (["--radius", "0.1", "--selection-samples", 50], "selection_samples must be left out with radius=; got 50"),
        (
            ["--radius", "0.1", "--radii", "0.1"],
            "radii must be left out with radius=; got 0.1. It belongs to samples= and rtol=.",
        ),
        (
            ["--beta", 0.01],
            "beta must be left out with a fixed number of votes; got 0.01. It belongs to radius= and rtol=.",
        ),
        (["--radius", "0.1", "--beta", 1.5], "beta must be a probability"),
        (["--radius", "0.1", "--samples", 5], "samples must be at least"),
        (["--rtol", 1.5], "rtol must be in"),
        (
            ["--rtol", 0.1, "--runner-up"],
            "runner_up must be left out with rtol=; got the option. It belongs to radius=.",
        ),
        (["--runner-up"], "runner_up must be left out with a fixed number of votes"),
        (
            ["--radius", "0.1", "--rtol", 0.1],
            "radius must be left out with rtol=; got 0.1. radius= decides radii, rtol= estimates",
        ),
        (["--radius", "0.1", "--runner-up", "--certificate", "renyi"], "certificate must be NeymanPearson()"),
        (["--rtol", 0.1, "--samples", 0], "max_samples must be"),
        (["--certificate", "theorem3"], "got Theorem3, which holds for Laplace noise"),
        (["--radius", "0.1", "--certificate", "theorem3"], "got Theorem3, which holds for Laplace noise"),
        (["--rtol", 0.1, "--certificate", "theorem3"], "got Theorem3, which holds for Laplace noise"),
        (["--noise", "laplace", "--certificate", "pixeldp"], "got PixelDP, which holds for Gaussian noise"),
        (["--noise", "laplace", "--radius", "0.1", "--runner-up"], "noise must be Gaussian noise, with runner_up"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options: list[object], said: str, tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match=re.escape(said)):
        noiseproof("certify", tmp_path / "ink", *INK, *options)
    assert not list(tmp_path.rglob("*.json"))
