"""Figure 1: every number of its curves against an independent computation, and the picture against the numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mutation import mutated
from noiseproof.experiments import figure1, readings, table1
from noiseproof.experiments.figure1 import FIGURE1, Panels
from noiseproof.experiments.networks import Network
from noiseproof.reports.bands import BoundCurve
from synthetic_records import IMAGES, SAMPLES, allowed, certified, write_run, write_trades


def curves_of(panels: Panels) -> list[BoundCurve]:
    return [curve for panel in panels.values() for curve in panel.curves]


def check_figure(panels: Panels, truth: dict[str, Any]) -> None:
    curves = {curve.name: curve for curve in curves_of(panels)}
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
        for spread, values in ((curves[name].table["papers"], by_paper), (curves[name].table["ours"], by_us)):
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
        between = [pixeldp.bounds["papers"].values[row, [place - 1, place]] for place in places]
        assert all(
            after - 1e-9 <= share <= before + 1e-9 for share, (before, after) in zip(shares, between, strict=True)
        )
        assert 0.0 < shares[3] < shares[0]
    assert (pixeldp.bounds["papers"].values <= stn.bounds["papers"].values).all(), "dominated, on the same votes"
    for curve in curves.values():
        for spread in curve.bounds.values():
            assert (np.diff(spread.values, axis=1) <= 0.0).all()
            assert (spread.values[:, -1] == 0.0).all()
        assert curve.images == IMAGES
        assert curve.votes == SAMPLES
    assert stn.seeds == (0, 2)


def test_every_number_of_the_figure(records: Path, truth: dict[str, Any]) -> None:
    panels = FIGURE1.compute(records).content
    check_figure(panels, truth)
    assert panels["mnist"].attacked is None
    by_paper, _, printed = FIGURE1.tables(panels)
    assert printed.rows == [["STN", "", "", "", "51.0", "69.0"]]
    curve = panels["mnist"].curves[0]
    lines = {name: texts for name, *texts in by_paper.rows}
    text = lines["STN, sigma 0.7, 2 seeds"][3]
    numbers = [
        np.floor(1000 * value[3] + 1e-9) / 10
        for value in (curve.table["papers"].mean, curve.table["papers"].least, curve.table["papers"].most)
    ]
    assert text == "{:.1f} [{:.1f} to {:.1f}]".format(*numbers)
    for words in (table1.LINES, figure1.PROCEDURES):
        told = [name for name in words.values() if "× 95 %" in name]
        assert len(told) == 1
        assert told[0].startswith("the paper's procedure"), "times 95 % stands under the paper's name alone"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("ours", "(_OURS", "(_OURS, alpha=PAPERS_ALPHA"), ("papers", "(_TEXT", "(_TEXT, alpha=0.95")],
)
def test_the_figure_is_checked_closely(
    records: Path, truth: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str
) -> None:
    monkeypatch.setattr(figure1, name, mutated(getattr(readings, name), old, new))
    with pytest.raises(AssertionError):
        check_figure(FIGURE1.compute(records).content, truth)


def test_a_picture_has_lines_and_bands(records: Path, tmp_path: Path) -> None:
    found = FIGURE1.compute(records)
    curves = curves_of(found.content)
    left, right = FIGURE1.draw(found.content).subfigs[0].axes
    for axes, key in ((left, "papers"), (right, "ours")):
        assert len(axes.lines) == len(curves) + len(figure1.PRINTED["mnist"])
        assert len(axes.collections) == 2, "bands of STN and PixelDP, which have two seeds"
        for line, curve in zip(axes.lines, curves, strict=False):
            drawn_values = np.asarray(line.get_ydata())
            np.testing.assert_allclose(drawn_values, 100 * curve.bounds[key].mean[: len(drawn_values)])
            assert drawn_values[-1] == 0.0
    paths = FIGURE1.write(found, tmp_path)
    content = json.loads(paths[2].read_text())
    np.testing.assert_allclose(content["curves"][0]["ours"]["mean"], curves[0].table["ours"].mean, atol=1e-6)
    assert content["band"] == "least to largest of the seeds"
    assert content["TRADES under PGD"] == "missing"


def test_a_record_of_stn_is_never_the_line_without_it(
    records: Path, truth: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, seed in (("stn-0.7", 0), ("stn-0.7-seed2", 2)):
        write_run(tmp_path / "mnist" / place, "stn", 0.7, seed)
    write_run(tmp_path / "mnist" / "gaussian-0.7", "stn", 0.7, 1, trained_seed=0)
    figure = FIGURE1.compute(tmp_path)
    assert [curve.name for curve in curves_of(figure.content)] == [
        "STN, sigma 0.7",
        "PixelDP's certificate, votes of STN, sigma 0.7",
    ]
    assert any("GaussianAugmentation" in each.why for each in figure.missing)
    monkeypatch.setattr(Network, "trained_as_said", lambda *_: ())
    with pytest.raises(AssertionError):
        check_figure(FIGURE1.compute(tmp_path).content, truth)


def test_trades_under_the_worst_of_two_losses(tmp_path: Path) -> None:
    first, second = [1, 7, 3, 7, 0], [2, 4, 3, 7, 7]
    write_trades(tmp_path, "log_mean", first)
    figure = FIGURE1.compute(tmp_path)
    assert not figure.content, "one of two losses is no curve"
    assert [each.what for each in figure.missing if "mnist/trades" in each.what] == ["mnist/trades-linf/pgd-margin-l2"]
    write_trades(tmp_path, "margin", second)
    figure = FIGURE1.compute(tmp_path)
    attacked = figure.content["mnist"].attacked
    assert attacked is not None
    expected_shares = [np.mean([min(pair) > size for pair in zip(first, second, strict=True)]) for size in range(7)]
    np.testing.assert_allclose(attacked.robust, expected_shares)
    assert not any("mnist/trades" in each.what for each in figure.missing)
