"""No writer prints a radius, or a proven share, above its value."""

import csv
import io
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from rich.console import Console

from command_line import invoke
from counting import count, job, subject
from noiseproof.attacks import RandomSearch
from noiseproof.certified import Certified
from noiseproof.cli.attack import attack_table
from noiseproof.cli.console import console
from noiseproof.cli.sequential import show_sequential
from noiseproof.evaluation.certified_accuracy import certified_accuracy
from noiseproof.reports.analysis import analyse
from noiseproof.reports.attack_page import analyse_attacks, write_attack_report
from noiseproof.reports.bands import BoundCurve, BoundPanel, Spread, draw_bounds
from noiseproof.reports.curves import draw_curves
from noiseproof.reports.ladder import DRAWS, RESTARTS, STEPS, Ladder
from noiseproof.reports.page import write_report
from noiseproof.reports.plain import votes_as_csv
from noiseproof.reports.robustness import CertifiedCurve, Panel, RobustCurve, draw_robustness
from noiseproof.reports.sequential import analyse_sequential, write_sequential_report
from noiseproof.runs import AttackImages, AttackRecord, Record, Selection, SequentialVotes, execute
from noiseproof.runs.inspection import inspection_rows
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.sequential import CertifyRadii, EstimateRadius

RADIUS = 128 / 255
"""0.50196078...: with three or six digits the nearest number is above it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Votes, with an attack and two sequential certifications in folders within."""
    path: Path = tmp_path_factory.mktemp("runs") / "ink"
    count(path, job())
    chosen = Selection(every=3, limit=30)
    attack = AttackImages(RandomSearch(tries=2, eot_samples=4), [RADIUS], "l2", samples=100, seed=1, selection=chosen)
    execute(attack, path / "attack", subject())
    radii = CertifyRadii((RADIUS,), alpha=0.01, max_samples=500)
    estimate = EstimateRadius(0.3, alpha=0.01, max_samples=500)
    for name, rule in (("radius", radii), ("rtol", estimate)):
        execute(SequentialVotes(rule, selection=chosen), path / name, subject())
    return path


def no_picture(page: str) -> str:
    return re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)


def words(figure: Figure) -> str:
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def writers(run: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what every writer prints of the radius, by its name."""
    out = folder / "report.html"
    for name, *arguments in (
        ("votes", run, "--radii", f"0,{RADIUS!r}"),
        ("sequential", run / "radius"),
        ("estimated", run / "rtol", "--radii", f"0,{RADIUS!r}"),
        ("attack", run / "attack"),
    ):
        shown = invoke("report", *arguments, "--out", out)
        yield f"{name}: terminal", shown.stdout + shown.stderr
        yield f"{name}: page", no_picture(out.read_text())
        yield f"{name}: JSON", invoke("report", *arguments, "--out", out, "--json").stdout
    yield "recertify: terminal", invoke("recertify", run, "--radii", repr(RADIUS)).stdout
    yield "recertify: JSON", invoke("recertify", run, "--radii", repr(RADIUS), "--json").stdout
    for kind in ("radius", "attack"):
        yield f"inspect: {kind}", invoke("inspect", run / kind).stdout
    found = {"settings": {"radius": RADIUS, "norm": "l2", "model": {}, "data": {}, "start": 0, "stop": 1, "step": 1}}
    rows = inspection_rows(found | {"run": "", "about": {}, "counted": defaultdict(int)})
    yield "inspect: verification", "\n".join(map(" ".join, rows))
    names = [f"pgd-draws{d}-steps{s}" for d in DRAWS for s in STEPS] + [f"pgd-restarts{r}" for r in RESTARTS[1:]]
    ladder = Ladder({name: np.zeros(20, dtype=np.int64) for name in names}, RADIUS, "l2")
    yield "ladder: plot", words(ladder.draw())


def test_every_writer_rounds_a_radius_down(run: Path, tmp_path: Path) -> None:
    for name, text in writers(run, tmp_path):
        shown = [float(found) for found in re.findall(r"(?<![\d.])0\.50\d+", text)]
        near = [value for value in shown if abs(value - RADIUS) < 1e-3]
        assert near, f"{name} does not show it"
        assert max(near) <= RADIUS, f"{name} shows {max(near)!r}"


def test_radii_of_images_are_shown_rounded_down(run: Path, tmp_path: Path) -> None:
    (analysis,) = analyse([Record.open(run)], alpha=0.01)
    radius = dict(zip(analysis.votes.index.tolist(), analysis.curves[0].certified.radius.tolist(), strict=True))
    page = write_report([analysis], tmp_path / "r.html").page.read_text()
    tiles = re.findall(r"#(\d+)</span>.*?radius ([\d.]+|–)<", page, re.DOTALL)
    shown = [(index, text) for index, text in tiles if text != "–"]
    assert len(shown) > 5
    assert all(0.0 <= radius[int(index)] - float(text) < 1e-3 for index, text in shown)
    assert any(round(radius[int(index)], 3) > float(text) for index, text in shown), "to nearest would be the same"
    average = re.search(r"average certified radius\s+([\d.]+)", invoke("recertify", run).stdout)
    assert average is not None
    assert (
        0.0
        <= analyse([Record.open(run)], alpha=0.001)[0].curves[0].summary.average_certified_radius
        - float(average.group(1))
        < 1e-3
    )
    table = analysis.votes
    lines = csv.DictReader(io.StringIO(votes_as_csv(analysis.record, table, analysis.curves[0].certified).decode()))
    assert [float(line["radius"]) for line in lines] == list(radius.values()), "a table for programs has all digits"


def test_repr_rounds_radii_down() -> None:
    votes = np.array([[9, 1]])
    found = Certified(np.array([0]), np.array([0.45678]), np.array([0.6]), np.array([0.4]), votes, None)
    assert "radius 0.456 to 0.456" in repr(found)


def test_certified_shares_are_rounded_down_wherever_they_stand(run: Path, tmp_path: Path) -> None:
    radii = [number / 20 for number in range(14)]
    (analysis,) = analyse([Record.open(run)], alpha=0.001, radii=radii)
    summary = analysis.curves[0].summary
    title = analysis.curves[0].procedure.title
    page = no_picture(write_report([analysis], tmp_path / "r.html").page.read_text())
    rows = dict(re.findall(r"<tr><td>([^<]*)</td>(.*?)</tr>", page, re.DOTALL))
    cells = {name: [float(text) for text in re.findall(r">([\d.]+) %<", row)] for name, row in rows.items()}
    terminal = invoke("recertify", run, "--radii", ",".join(map(str, radii))).stdout
    proven = {
        "page": (summary.certified_accuracy, cells[title][2:]),
        "lower bound": (
            summary.certified_accuracy - summary.allowance,
            cells[f"on these {summary.images} images, at all radii at once"],
        ),
        "terminal": (
            summary.certified_accuracy,
            [float(text) for text in re.findall(r"certified at radius [\d.]+ +([\d.]+) %", terminal)],
        ),
    }
    for name, (shares, shown) in proven.items():
        assert len(shown) == len(radii), name
        lost = 100 * np.maximum(shares, 0.0) - shown
        assert ((lost > -1e-9) & (lost < 0.1)).all(), name
        assert (lost > 0.051).any(), f"{name}: to nearest would be the same"


def test_every_proven_number_of_a_page_is_rounded_down(run: Path, tmp_path: Path) -> None:
    (analysis,) = analyse([Record.open(run)], alpha=0.01)
    (curve,) = analysis.curves
    many = len(curve.summary.radii)
    shares = {"certified_accuracy": np.full(many, 0.76987), "population": np.full(many, 0.61698), "allowance": 0.1}
    summary = replace(curve.summary, average_certified_radius=0.45678, **shares)
    shown = replace(analysis, curves=(replace(curve, summary=summary, largest_radius=0.99978),))
    page = no_picture(write_report([shown], tmp_path / "r.html").page.read_text())
    assert "at least <strong>66.9 %</strong>" in page
    for text in ("76.9 %", "66.9 %", "61.6 %"):
        assert page.count(f"<td>{text}</td>") == many
    for radius in ("0.456", "0.999"):
        assert f"<td>{radius}</td>" in page


def test_what_a_sequential_certification_proves_is_rounded_down(run: Path, tmp_path: Path) -> None:
    (analysis,) = analyse_sequential([SequentialRecord.open(run / "rtol")])
    right = replace(analysis.certified, prediction=analysis.votes.label, radius=np.full(len(analysis.votes), 0.45678))
    shown = replace(analysis, certified=right, rows=(replace(analysis.rows[0], right=0.76987),))
    with console.capture() as captured:
        show_sequential([shown])
    page = no_picture(write_sequential_report([shown], tmp_path / "r.html").page.read_text())
    assert "76.9 %" in captured.get()
    assert "<td>76.9 %</td>" in page
    average = re.search(r"Average certified radius: .* ([\d.]+)\.<", page)
    assert average is not None
    assert average.group(1) == "0.456"
    assert "<div>radius 0.456</div>" in page


def test_ends_of_intervals_are_rounded_outwards(run: Path, tmp_path: Path) -> None:
    (analysis,) = analyse_attacks([AttackRecord.open(run / "attack")])
    low, high = np.full(2, 0.4218), np.full(2, 0.6132)
    summary = replace(analysis.summary, low=low, high=high)
    shown = replace(analysis, summary=summary, certified=np.array([0.3999, 0.2]))
    page = no_picture(write_attack_report([shown], tmp_path / "r.html").page.read_text())
    for text in ("42.1 %", "61.4 %", "39.9 %"):
        assert f"<td>{text}</td>" in page
    lines = Console(width=200)
    with lines.capture() as captured:
        lines.print(attack_table(shown.record, "", summary, shown.certified))
    assert "42.1-61.4 %" in captured.get()
    assert "39.9 %" in captured.get()


def heights(vertices: np.ndarray, x: float) -> tuple[float, float]:
    """The least and the largest height of a drawn path at x."""
    found = []
    for (x0, y0), (x1, y1) in itertools.pairwise(vertices):
        if min(x0, x1) <= x <= max(x0, x1):
            found += [y0, y1] if x0 == x1 else [y0 + (y1 - y0) * (x - x0) / (x1 - x0)]
    return min(found), max(found)


def steps_of(line: Line2D) -> np.ndarray:
    """The vertices of a line as it is drawn."""
    return np.array(STEP_LOOKUP_MAP[line.get_drawstyle()](*np.asarray(line.get_data(orig=False), dtype=float))).T


def test_a_curve_and_its_band_are_never_above_what_is_certified(run: Path) -> None:
    (analysis,) = analyse([Record.open(run)], alpha=0.01)
    curve, labels = analysis.curves[0], analysis.votes.label
    allowance = curve.summary.allowance
    assert allowance > 0.0
    axes = draw_curves([analysis]).axes[0]
    line, band = steps_of(axes.get_lines()[0]), axes.collections[0].get_paths()[0].vertices
    step = curve.radii[1] - curve.radii[0]
    steps = np.unique(curve.certified.radius[curve.certified.radius > 0.0])
    for radius in np.concatenate([steps + 0.1 * step, steps - 0.1 * step, np.random.default_rng(0).random(50)]):
        here, later = certified_accuracy(curve.certified, labels, np.array([radius, radius + step]))
        assert heights(line, radius)[1] <= 100 * here + 1e-9, "it steps down too late"
        assert heights(line, radius)[1] >= 100 * later - 1e-9, "it steps down by more than a point too early"
        least, most = heights(band, radius)
        assert most <= 100 * here + 1e-9
        assert least == pytest.approx(max(heights(line, radius)[0] - 100 * allowance, 0.0))


def test_other_curves_of_lower_bounds_step_early_too() -> None:
    radii, shares = np.array([0.0, 0.5, 1.0]), np.array([0.9, 0.6, 0.1])
    area = CertifiedCurve("one", radii, shares)
    empirical = RobustCurve("pgd", radii, shares, shares, shares)
    hatched = draw_robustness([Panel("digits", "l2", [empirical], [area])]).axes[0].collections[0]
    assert heights(hatched.get_paths()[0].vertices, 0.4)[1] == pytest.approx(60.0)
    values = np.array([shares, shares - 0.05])
    assert Spread(values).plain()["least"] == (shares - 0.05).tolist(), "JSON has all digits"
    assert RobustCurve("pgd", np.array([RADIUS]), *[np.array([2 / 3])] * 3).plain()["sizes"] == [RADIUS]
    curve = BoundCurve("one", "mnist", (0, 1), 10, 100, radii, radii[:0], {"ours": values, "papers": values}, 0, "-")
    axes = draw_bounds([BoundPanel("MNIST", [curve], None, [])], {"ours": "ours", "papers": "papers"}).axes[0]
    assert heights(steps_of(axes.get_lines()[0]), 0.4)[1] == pytest.approx(57.5)
    assert heights(axes.collections[0].get_paths()[0].vertices, 0.4) == pytest.approx((55.0, 60.0))


def test_the_failure_probability_is_printed_in_full(run: Path, tmp_path: Path) -> None:
    """In six digits 1 - alpha would be 1: a certificate without any failure."""
    alpha = 0.00012345678
    record = count(tmp_path / "run", job(samples=400, selection_samples=20))
    page = write_report(analyse([record], alpha=alpha), tmp_path / "r.html").page.read_text()
    assert f"at least 1 − α over the noise\n(α = {alpha!r})" in page
