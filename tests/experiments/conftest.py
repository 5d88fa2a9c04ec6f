"""Synthetic records that the tests of several figures read, written once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noiseproof.experiments import figure5
from noiseproof.runs.records import Record
from synthetic_records import expected, write_run


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """STN of two seeds, Gaussian augmentation of one; the third and others are missing."""
    folder = tmp_path_factory.mktemp("records")
    write_run(folder / "mnist" / "stn-0.7", "stn", 0.7)
    write_run(folder / "mnist" / "stn-0.7-seed2", "stn", 0.7, 2)
    write_run(folder / "mnist" / "gaussian-0.7", "gaussian", 0.7)
    return folder


@pytest.fixture(scope="session")
def truth(records: Path) -> dict[str, Any]:
    places = ("stn-0.7", "stn-0.7-seed2", "gaussian-0.7")
    opened = {place: Record.open(records / "mnist" / place) for place in places}
    return {place: (record.read(), expected(record)) for place, record in opened.items()}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 5 on a coarse grid: its own numbers are tested elsewhere."""
    monkeypatch.setattr(figure5, "FIGURE5", replace(figure5.FIGURE5, steps=12))
