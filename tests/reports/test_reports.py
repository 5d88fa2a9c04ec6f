"""Reports: from votes alone, self-contained, and never more than was proven."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from counting import IMAGES, count, job
from noiseproof.bounds import Bonferroni, SinglePhase, TwoPhase
from noiseproof.certificates import NeymanPearson, Renyi
from noiseproof.data import load
from noiseproof.data.subset import Subset
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian
from noiseproof.reports import Analysis, analyse, round_down, write_report
from noiseproof.reports.analysis import PAPER, TIGHT, largest_radius, named
from noiseproof.reports.curves import draw_curves
from noiseproof.reports.page import _grids
from noiseproof.reports.plain import votes_as_csv
from noiseproof.runs import CountVotes, Subject, execute
from noiseproof.runs.records import Record


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return [count(tmp_path_factory.mktemp("run"), job(seed=seed)) for seed in (0, 1)]


def other_record(
    record: Record, path: Path, *, about: dict[str, Any] | None = None, files: list[str] | None = None, **changes: Any
) -> Record:
    """A copy of a record with other settings, names of classes, or names of files."""
    made = Record.create(path, replace(record.settings, **changes), about or {})
    first = 0
    for shard in record.shards:
        table = record.read_shard(shard)
        own = None if files is None else files[first : first + len(table)]
        made.write_shard(shard, replace(table, files=own))
        first += len(table)
    return made


def test_page_is_self_contained_and_shows_the_figures(records: list[Record], tmp_path: Path) -> None:
    analyses = analyse(records, alpha=0.01, beside=[PAPER])
    files = write_report(analyses, tmp_path / "deep" / "report.html")
    page = files.page.read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page), "it must not load anything"
    assert "url(http" not in page
    shown = [analysis.curves[0].certified.prediction == analysis.votes.label for analysis in analyses]
    assert page.count("data:image/png;base64") == sum(
        min(12, side.sum()) for right in shown for side in (right, ~right)
    )
    for analysis in analyses:
        for curve in analysis.curves:
            assert curve.procedure.title in page
            assert f"{100 * curve.summary.natural_accuracy:.1f} %" in page
            for value in curve.summary.certified_accuracy:
                assert f"{100 * value:.1f} %" in page
    assert "α = 0.01" in page
    assert str(records[0].path) in page
    with Image.open(files.png) as picture:
        assert picture.size[0] > 1000
    assert ET.parse(files.svg).getroot().tag.endswith("svg")


def test_equal_votes_give_equal_pictures(records: list[Record], tmp_path: Path) -> None:
    first = write_report(analyse(records, alpha=0.01), tmp_path / "a.html")
    second = write_report(analyse(records, alpha=0.01), tmp_path / "b.html")
    assert first.page.read_text() == second.page.read_text()
    assert first.svg.read_text() == second.svg.read_text()


def test_curves_end_at_the_largest_radius(records: list[Record]) -> None:
    for analysis in analyse(records, alpha=0.01, beside=[PAPER]):
        assert [curve.procedure.title for curve in analysis.curves] == [TIGHT.title, PAPER.title]
        for curve in analysis.curves:
            assert curve.certified.radius.max() <= curve.largest_radius
            assert curve.accuracy[-1] == 0.0
            assert (np.diff(curve.accuracy) <= 0).all()
    assert largest_radius(records[0], TIGHT, 0.001) == pytest.approx(0.5 * 1.818, abs=0.01)


def test_incomplete_records_say_so(records: list[Record], tmp_path: Path) -> None:
    partial = Record.create(tmp_path / "partial", records[0].settings, {})
    partial.shard_path(2).parent.mkdir()
    for file in (records[0].shard_path(2), *records[0].path.glob("votes/answers*.json")):
        (partial.shard_path(2).parent / file.name).write_bytes(file.read_bytes())
    analyses = analyse([partial], alpha=0.01)
    assert not analyses[0].complete
    assert f"incomplete: 5 of {IMAGES} images" in write_report(analyses, tmp_path / "r.html").page.read_text()


def test_record_without_selection_votes_is_certified_by_a_bound_that_needs_none(tmp_path: Path) -> None:
    record = count(tmp_path / "run", job(selection_samples=0))
    (analysis,) = analyse([record], alpha=0.01)
    assert [curve.procedure for curve in analysis.curves] == [named(Bonferroni(), NeymanPearson())]
    write_report([analysis], tmp_path / "report.html")
    with pytest.raises(InvalidInputError, match="selection_votes"):
        analyse([record], alpha=0.01, bound=TwoPhase())


def test_the_paper_is_drawn_only_where_it_is_asked_for(records: list[Record], tmp_path: Path) -> None:
    usual = write_report(analyse(records, alpha=0.01), tmp_path / "usual.html")
    asked = write_report(analyse(records, alpha=0.01, beside=[PAPER]), tmp_path / "asked.html")
    assert PAPER.title not in usual.page.read_text()
    assert "The paper" not in usual.page.read_text()
    assert PAPER.title in asked.page.read_text()
    (analysis,) = analyse(records[:1], alpha=0.01, bound=SinglePhase(), certificate=Renyi())
    expected = records[0].certify(alpha=0.01, bound=SinglePhase(), certificate=Renyi())
    np.testing.assert_array_equal(analysis.curves[0].certified.radius, expected.radius)


@pytest.mark.parametrize("models", [1, 3, 8])
def test_no_legend_lies_on_the_curves(records: list[Record], models: int) -> None:
    names = [f"a model whose name is rather long, number {number}" for number in range(models)]
    figure = draw_curves(analyse(records[:1] * models, alpha=0.01, names=names, beside=[PAPER]))
    figure.canvas.draw()
    (axes,), (legend,) = figure.axes, figure.legends
    assert axes.get_legend() is None
    assert legend.get_window_extent().y1 <= axes.get_window_extent().y0
    assert legend.get_window_extent().y0 >= 0.0
    assert axes.get_window_extent().height > 250, "the plot keeps its height, whatever the legend holds"
    assert len(legend.get_texts()) == 2 * models
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.get_lines()}
    assert len(looks) == 2 * models, "curves are told apart"


def test_data_are_named_and_other_data_are_not_compared_in_silence(records: list[Record], tmp_path: Path) -> None:
    same = analyse(records, alpha=0.01)
    page = write_report(same, tmp_path / "same.html").page.read_text()
    assert re.search(r'<p class="lead">.*images of digits.*?</p>', page, re.DOTALL)
    assert "Not the same images" not in page
    assert draw_curves(same).legends[0].get_title().get_text() == "Data: digits"
    elsewhere = other_record(records[0], tmp_path / "other", data={"name": "mine.npz", "split": "test", "digest": "e"})
    mixed = analyse([records[0], elsewhere], alpha=0.01, names=["one", "two"])
    assert [each.name for each in mixed] == ["one, on digits", "two, on mine.npz"]
    assert "different data: digits, mine.npz" in write_report(mixed, tmp_path / "mixed.html").page.read_text()
    assert "different data" in draw_curves(mixed).legends[0].get_title().get_text().replace("\n", " ")
    twin = other_record(records[0], tmp_path / "twin", data={**records[0].settings.data, "digest": "f" * 64})
    assert len({each.data for each in analyse([records[0], twin], alpha=0.01)}) == 2


def _columns(analysis: Analysis) -> tuple[np.ndarray, ...]:
    return analysis.votes.index, analysis.votes.label, analysis.votes.votes


def test_hardest_are_wrong_or_abstained_and_safest_are_right(records: list[Record]) -> None:
    (analysis,) = analyse(records[:1], alpha=0.01)
    hardest, safest = (grid["tiles"] for grid in _grids(analysis))
    assert {tile["state"] for tile in hardest} <= {"wrong", "abstained"}
    assert {tile["state"] for tile in safest} == {"right"}
    votes = {index: row[label] for index, label, row in zip(*_columns(analysis), strict=True)}
    assert [votes[tile["index"]] for tile in hardest] == sorted(votes[tile["index"]] for tile in hardest)
    assert [tile["radius"] for tile in safest] == sorted((tile["radius"] for tile in safest), reverse=True)
    shown = [tile["index"] for tile in (*hardest, *safest)]
    assert len(set(shown)) == len(shown)


def test_names_of_classes_and_files_in_page_and_table(records: list[Record], tmp_path: Path) -> None:
    names = [f"class {letter}" for letter in "abcdefghij"]
    table = records[0].read()
    files = [f"{names[label]}/{index}.png" for index, label in zip(table.index, table.label, strict=True)]
    record = other_record(records[0], tmp_path / "run", about={"class_names": names}, files=files)
    assert record.read().files == files
    (analysis,) = analyse([record], alpha=0.01)
    page = write_report([analysis], tmp_path / "r.html").page.read_text()
    assert f"says {names[0]}" in page or any(f"says {name}" in page for name in names)
    assert any(file in page for file in files)
    rows = list(
        csv.DictReader(io.StringIO(votes_as_csv(record, analysis.votes, analysis.curves[0].certified).decode()))
    )
    assert [row["file"] for row in rows] == files
    assert [row["label_name"] for row in rows] == [names[label] for label in table.label]
    found = analysis.curves[0].certified.prediction
    assert [row["prediction_name"] for row in rows] == ["abstained" if one < 0 else names[one] for one in found]
    bare = next(csv.reader(io.StringIO(votes_as_csv(records[0], table, analysis.curves[0].certified).decode())))
    assert bare == ["index", "label", "prediction", "p1_lower", "p2_upper", "radius"]


def test_images_of_folders_are_recorded_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    dataset = load(str(tmp_path / "pets"), "test", image_size=8)
    subject = Subject.of(lambda batch: np.zeros(len(batch), dtype=np.int64), Gaussian(0.5), dataset, name="first")
    record, _ = execute(CountVotes(20, 5), tmp_path / "run", subject)
    again = Record.open(tmp_path / "run")
    assert again.class_names == ["cats", "dogs"]
    assert again.read().files == [f"{name}/{number}.png" for name in ("cats", "dogs") for number in range(3)]
    assert Subset(dataset, [1, 4], {}).file_names == ("cats/1.png", "dogs/1.png")
    assert record.read().files == again.read().files


def test_wide_tables_scroll(records: list[Record], tmp_path: Path) -> None:
    radii = [number / 50 for number in range(40)]
    page = write_report(analyse(records, alpha=0.01, radii=radii), tmp_path / "r.html").page.read_text()
    assert page.count("<table") == page.count('<div class="scroll"><table') == 2
    assert re.search(r"\.scroll \{[^}]*overflow-x: auto", page)


def test_markup_in_names_is_escaped(records: list[Record], tmp_path: Path) -> None:
    page = write_report(analyse(records[:1], alpha=0.01, names=["<script>x</script>"]), tmp_path / "r.html").page
    assert "<script>x" not in page.read_text()


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="at least one"):
        analyse([], alpha=0.01)
    with pytest.raises(InvalidInputError, match="at least one"):
        write_report([], tmp_path / "r.html")


def test_radii_are_rounded_down() -> None:
    assert round_down(1.2349999) == "1.234"
    assert round_down(0.6) == "0.600"
    assert round_down(0.0) == "0.000"
    values = np.random.default_rng(0).random(10_000) * 3
    assert all(float(round_down(value)) <= value for value in values)


def test_no_model_is_picked_for_the_headline_and_it_claims_the_lower_bound(
    records: list[Record], tmp_path: Path
) -> None:
    analyses = analyse(records, alpha=0.01, names=["first model", "second model"])
    lead = re.search(
        r'<p class="lead">.*?</p>', write_report(analyses, tmp_path / "r.html").page.read_text(), re.DOTALL
    )
    assert lead is not None
    for analysis in analyses:
        summary = analysis.curves[0].summary
        bound = summary.certified_accuracy[len(summary.radii) // 2] - summary.allowance
        shown = re.search(rf"{analysis.name}: at least <strong>([0-9.]+) %", lead.group())
        assert shown is not None
        assert bound - 0.001 <= float(shown.group(1)) / 100 <= max(bound, 0.0) + 1e-9


def test_alpha_that_the_votes_cannot_reach(records: list[Record]) -> None:
    with pytest.raises(InvalidInputError, match="samples must be at least"):
        analyse(records, alpha=1e-100)


def test_the_page_does_not_overwrite_its_own_pictures(records: list[Record], tmp_path: Path) -> None:
    for name in ("report.png", "report.svg", "report"):
        with pytest.raises(InvalidInputError, match=r"ending in .html"):
            write_report(analyse(records, alpha=0.01), tmp_path / name)
