"""Reports: from votes alone, self-contained, and never more than was proven."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from counting import IMAGES, count, job
from noiseproof.errors import InvalidInputError
from noiseproof.reports import analyse, round_down, write_report
from noiseproof.reports.analysis import PAPER, TIGHT, largest_radius
from noiseproof.runs.records import Record


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return [count(tmp_path_factory.mktemp("run"), job(seed=seed)) for seed in (0, 1)]


def test_page_is_self_contained_and_shows_the_figures(records: list[Record], tmp_path: Path) -> None:
    analyses = analyse(records, alpha=0.01)
    files = write_report(analyses, tmp_path / "deep" / "report.html")
    page = files.page.read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page), "it must not load anything"
    assert "url(http" not in page
    assert page.count("data:image/png;base64") == 2 * 2 * 12
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
    for analysis in analyse(records, alpha=0.01):
        assert [curve.procedure for curve in analysis.curves] == [TIGHT, PAPER]
        for curve in analysis.curves:
            assert curve.certified.radius.max() <= curve.largest_radius
            assert curve.accuracy[-1] == 0.0
            assert (np.diff(curve.accuracy) <= 0).all()
    assert largest_radius(records[0], TIGHT, 0.001) == pytest.approx(0.5 * 1.818, abs=0.01)


def test_incomplete_records_say_so(records: list[Record], tmp_path: Path) -> None:
    partial = Record.create(tmp_path / "partial", records[0].settings, {})
    partial.shard_path(2).parent.mkdir()
    partial.shard_path(2).write_bytes(records[0].shard_path(2).read_bytes())
    analyses = analyse([partial], alpha=0.01)
    assert not analyses[0].complete
    assert f"incomplete: 5 of {IMAGES} images" in write_report(analyses, tmp_path / "r.html").page.read_text()


def test_record_without_selection_votes_shows_the_papers_procedure_alone(tmp_path: Path) -> None:
    record = count(tmp_path / "run", job(selection_samples=0))
    (analysis,) = analyse([record], alpha=0.01)
    assert [curve.procedure for curve in analysis.curves] == [PAPER]
    write_report([analysis], tmp_path / "report.html")


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
