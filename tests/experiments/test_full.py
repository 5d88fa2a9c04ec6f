"""`reproduction/full.py`: the long trainings, one after the other, stopped and gone on with."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from command_line import parsed
from import_script import import_script

SLEEP = "import time, pathlib, sys; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"


@pytest.fixture(name="full")
def _full() -> ModuleType:
    return import_script(Path(__file__).parents[2] / "reproduction" / "full.py")


def test_every_job_is_a_command_with_a_folder_of_its_own(full: ModuleType) -> None:
    jobs = full.jobs(Path("runs"), ["--data-dir", "data", "--allow-unverified"])
    trainings, certifications = jobs[::2], jobs[1::2]
    assert len(trainings) == len(certifications) == 6 + 2 + 4
    for training, certification in zip(trainings, certifications, strict=True):
        parsed(*training)
        parsed(*certification)
        assert training[-1] == certification[1], "certified where it was trained"
    assert len({training[-1] for training in trainings}) == len(trainings)


def test_jobs_run_in_order_until_the_time_is_up(
    full: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quick = [sys.executable, "-c", "import sys, pathlib; pathlib.Path(sys.argv[1]).touch()"]
    first, second, third = (str(tmp_path / name) for name in ("first", "second", "third"))
    long = [sys.executable, "-c", SLEEP, second]
    assert full.run([[*quick, first], long, [*quick, third]], 3.0) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}
    assert "The time is up" in capfd.readouterr().out
    assert full.run([[*quick, first], [*quick, third]], 60.0) == 0
    assert (tmp_path / "third").exists()


def test_a_job_that_fails_ends_the_list(full: ModuleType, tmp_path: Path) -> None:
    after = [sys.executable, "-c", SLEEP, str(tmp_path / "after")]
    assert full.run([[sys.executable, "-c", "raise SystemExit(5)"], after], 60.0) == 5
    assert not (tmp_path / "after").exists()
