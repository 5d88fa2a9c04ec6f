"""The same votes read in several ways, each against an independent computation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseproof.experiments import readings
from noiseproof.experiments.networks import Network
from noiseproof.experiments.recipes import Reader
from noiseproof.experiments.votes import find_runs
from synthetic_records import CLASSES, SAMPLES, SELECTION, bonferroni_tight, certified, released_radius, renyi_radius


def test_ways_of_reading_the_same_votes(records: Path, truth: dict[str, Any]) -> None:
    run, *_ = find_runs(Network("mnist", "stn", 0.7), Reader(records))
    votes, found = truth["stn-0.7"]
    radii = np.array([0.0, 0.5, 0.8, 1.4, 1.58])
    read = {way: way.certified(run, radii) for way in readings.WAYS}
    released, mended, hundred, text, tight, stricter, mine = readings.WAYS
    for way, name in ((hundred, "hundred"), (text, "papers"), (mine, "ours")):
        np.testing.assert_allclose(read[way], [certified(found[name], votes.label, radius) for radius in radii])
        assert way.bound is not None
    assert [way.samples(run) for way in (released, mended, hundred)] == [SELECTION] * 3
    assert [way.samples(run) for way in (text, tight, stricter, mine)] == [SAMPLES] * 4
    assert votes.selection_votes is not None
    for way, passed in ((released, 0.95), (mended, 0.05)):
        assert way.bound is None, "it proves nothing"
        as_released = [(int(row.argmax()), released_radius(row, passed, 0.7)) for row in votes.selection_votes]
        np.testing.assert_allclose(read[way], [certified(as_released, votes.label, radius) for radius in radii])
    assert read[released][-2] > read[mended][-2] == 0.0, "at 2 sigma it is the .95 that certifies"
    assert read[hundred][-1] == 0.0, "which 100 votes cannot prove"
    for way, alpha in ((tight, 0.05), (stricter, 0.001)):
        one_change = [bonferroni_tight(row, 0.7, alpha) for row in votes.votes]
        np.testing.assert_allclose(read[way], [certified(one_change, votes.label, radius) for radius in radii])
    level = 0.05 / 20
    reached = renyi_radius(level**0.01, 1 - level**0.01, 1.0)
    assert hundred.reach(100) == pytest.approx(reached, rel=1e-6)
    assert 0.7 * reached < 1.4
    unanimous = np.array([SELECTION, *[0] * (CLASSES - 1)])
    assert released.reach(100) == pytest.approx(released_radius(unanimous, 0.95, 1.0)) == pytest.approx(2.603, abs=1e-3)
    assert mended.reach(100) == pytest.approx(released_radius(unanimous, 0.05, 1.0)) == pytest.approx(1.758, abs=1e-3)


def test_every_bound_with_every_certificate(records: Path, truth: dict[str, Any]) -> None:
    run, *_ = find_runs(Network("mnist", "stn", 0.7), Reader(records))
    votes, found = truth["stn-0.7"]
    table = {
        (bound, type(each).__name__): share
        for bound, shares in readings.crossed(run, 0.8)
        for each, share in zip(readings.CERTIFICATES, shares, strict=True)
    }
    assert len(table) == 16
    assert table["TwoPhase", "NeymanPearson"] == pytest.approx(certified(found["ours"], votes.label, 0.8))
    by_bonferroni = [bonferroni_tight(row, 0.7, 0.001) for row in votes.votes]
    assert table["Bonferroni", "NeymanPearson"] == pytest.approx(certified(by_bonferroni, votes.label, 0.8))
    for bound in ("Bonferroni", "SinglePhase", "WinnerRunnerUp", "TwoPhase"):
        assert table[bound, "NeymanPearson"] >= max(share for (own, _), share in table.items() if own == bound)
        assert table[bound, "Renyi"] >= table[bound, "PixelDP"]
