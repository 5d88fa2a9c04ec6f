"""What is said of a certification that was interrupted: what is kept, what goes on with it, what was counted then."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from command_line import invoke, one_line
from counting import run, subject
from noiseproof.cli.progress import Shown
from noiseproof.errors import IncompleteError
from noiseproof.runs import CountVotes, Record, Selection, execute
from noiseproof.runs.inspection import inspect_record, inspection_rows

FIFTEEN = CountVotes(200, 20, selection=Selection(limit=15), shard_size=15)


def stopped_within_its_shard(path: Path) -> Record:
    """A record of one shard, of whose 15 images 4 and a half are counted."""
    left = [220 * 9 // 2]

    def stop(count: int) -> None:
        left[0] -= count
        if left[0] <= 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(FIFTEEN, path, subject(), 10, progress=stop)
    return Record.open(path)


def said_at_the_end(path: Path) -> str:
    heard = io.StringIO()
    with contextlib.redirect_stderr(heard), Shown(FIFTEEN.kept, unit="votes") as shown:
        execute(FIFTEEN, path, subject(), listener=shown)
    return one_line(heard.getvalue())


def test_a_count_that_goes_on_says_what_it_counted_and_what_the_record_holds(tmp_path: Path) -> None:
    stopped_within_its_shard(tmp_path)
    held = r"Counted 15/15 images, .* in \d+ s: 11 images now, the record holds 15 of 15\."
    assert re.search(held, said_at_the_end(tmp_path))
    assert re.search(r"Counted 15/15 images, .* in \d+ s\.", said_at_the_end(tmp_path / "anew"))


def test_votes_that_are_kept_are_told_of_by_every_reader(tmp_path: Path) -> None:
    record, kept = stopped_within_its_shard(tmp_path), "Votes of 5 images are kept, and noiseproof certify"
    with pytest.raises(IncompleteError, match=f"at least one shard; got none. {kept} {tmp_path} goes on"):
        record.read()
    for command in ("recertify", "report"):
        assert kept in one_line(invoke(command, tmp_path, code=3).stderr)
    assert kept in one_line(invoke("inspect", tmp_path).stdout)
    found = inspect_record(record)
    assert found["counted"]["kept"].startswith(kept)
    assert dict(inspection_rows(found))["kept"].startswith(kept)
    run(FIFTEEN, tmp_path, subject())
    assert not inspect_record(record)["counted"]["kept"]
