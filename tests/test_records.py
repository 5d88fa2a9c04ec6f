"""Records: no interruption changes a vote, no damage goes unnoticed, no vote that is written is lost."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from counting import IMAGES, NOISE, SHARD, count, ink, settings
from noiseproof import data, models
from noiseproof.bounds import Bonferroni, TwoPhase
from noiseproof.certificates import NeymanPearson, Renyi
from noiseproof.certification import count_into, plan
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.noises import Gaussian
from noiseproof.records import FORMAT, Record, VoteTable, default_shard_size, recertify
from noiseproof.smoothing import SmoothedClassifier

SCRIPT = Path(__file__).with_name("counting.py")


class StopHereError(Exception):
    pass


def same(left: VoteTable, right: VoteTable) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("index", "label", "votes", "selection_votes")
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return count(tmp_path_factory.mktemp("whole"))


def test_what_is_written_is_read(whole: Record) -> None:
    table = whole.read()
    assert table.index.tolist() == list(range(0, 3 * IMAGES, 3))
    assert table.votes.shape == (IMAGES, 10)
    assert (table.votes.sum(1) == 200).all()
    assert table.selection_votes is not None
    assert (table.selection_votes.sum(1) == 20).all()
    assert all(png.startswith(b"\x89PNG") for png in table.thumbnails)
    assert len(list((whole.path / "votes").iterdir())) == IMAGES // SHARD
    assert same(Record.open(whole.path).read(), table)
    columns = pq.read_table(whole.shard_path(0)).column_names
    assert set(columns) == {"index", "label", "votes", "selection_votes", "thumbnail"}


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_votes_do_not_depend_on_the_batch_size(whole: Record, batch_size: int, tmp_path: Path) -> None:
    assert same(count(tmp_path, batch_size=batch_size).read(), whole.read())


def test_shard_size_does_not_change_votes(whole: Record, tmp_path: Path) -> None:
    other = count(tmp_path, dataclasses.replace(settings(), shard_size=17))
    assert same(other.read(), whole.read())


def test_stopped_between_shards(whole: Record, tmp_path: Path) -> None:
    def stop(number: int, _: VoteTable) -> None:
        if number == 4:
            raise StopHereError

    with pytest.raises(StopHereError):
        count(tmp_path, on_shard=stop)
    partial = Record.open(tmp_path)
    assert len(partial.read()) == 5 * SHARD
    counted: list[int] = []
    assert same(count(tmp_path, on_shard=lambda number, _: counted.append(number)).read(), whole.read())
    assert counted == list(range(5, 12)), "nothing is counted twice"


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.03, 0.11, 0.17, 0.29])
def test_kill_9_in_the_middle(whole: Record, delay: float, tmp_path: Path) -> None:
    """A real SIGKILL of a real process, some time after its first shard; then a second start."""
    process = subprocess.Popen([sys.executable, SCRIPT, tmp_path], env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("votes/*.parquet")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = {path: path.read_bytes() for path in tmp_path.glob("votes/*.parquet")}
    assert 0 < len(before) < IMAGES // SHARD
    assert len(Record.open(tmp_path).read()) == SHARD * len(before), "what is there is whole"
    assert same(count(tmp_path).read(), whole.read())
    assert all(path.read_bytes() == content for path, content in before.items()), "nothing was counted again"


@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "emptied", "of another record"])
def test_damaged_shard_is_named_and_only_it_is_counted_anew(whole: Record, damage: str, tmp_path: Path) -> None:
    record = count(tmp_path)
    path = record.shard_path(3)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "bit flipped":
        votes = pq.ParquetFile(path).metadata.row_group(0).column(2)
        assert votes.path_in_schema.startswith("votes")
        content[votes.data_page_offset + votes.total_compressed_size // 2] ^= 4
    elif damage == "emptied":
        content = bytearray()
    else:
        other = count(tmp_path / "other", settings(seed=1))
        content = bytearray(other.shard_path(3).read_bytes())
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"00003.parquet must be a whole shard of this record"):
        record.read()
    missing, faults = record.missing()
    assert missing == [3]
    assert len(faults) == 1
    counted: list[int] = []
    again = count(tmp_path, on_shard=lambda number, _: counted.append(number))
    assert counted == [3]
    assert same(again.read(), whole.read())


def test_every_flipped_byte_of_a_shard_is_noticed_or_harmless(whole: Record, tmp_path: Path) -> None:
    """Flip bits all over a shard: either it is refused, or what is read is exactly what was written."""
    record = count(tmp_path)
    truth, content = record.read(), record.shard_path(0).read_bytes()
    for position in range(0, len(content), 37):
        broken = bytearray(content)
        broken[position] ^= 1 << (position % 8)
        record.shard_path(0).write_bytes(broken)
        try:
            found = record.read()
        except RunError:
            continue
        assert same(found, truth), f"a flip at byte {position} changed votes unnoticed"


def test_full_disk_keeps_what_is_written(whole: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, writes = os.fsync, []

    def full_after_some(descriptor: int) -> None:
        writes.append(descriptor)
        if len(writes) > 4:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", full_after_some)
    with pytest.raises(RunError, match=r"No space left on device.*everything written before is kept"):
        count(tmp_path)
    monkeypatch.undo()
    assert len(Record.open(tmp_path).read()) == 3 * SHARD
    assert not list(tmp_path.rglob("*.part"))
    assert same(count(tmp_path).read(), whole.read())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 300}, "samples 300; got samples 200"),
        ({"seed": 5}, "seed 5; got seed 0"),
        ({"noise": {"name": "gaussian", "sigma": 0.4}}, "sigma"),
        ({"model": {"name": "ink", "digest": "other"}}, "digest"),
        ({"data": {"name": "digits", "split": "test", "digest": "other"}}, "digest"),
    ],
)
def test_other_settings_do_not_mix(whole: Record, change: dict[str, object], said: str) -> None:
    with pytest.raises(RunError, match=said):
        Record.create(whole.path, dataclasses.replace(whole.settings, **change), {})


def test_folders_that_are_no_record(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        Record.open(tmp_path / "nowhere")
    with pytest.raises(RunError, match="Certify first"):
        Record.open(tmp_path)
    file = tmp_path / "record.json"
    for broken in ("", "{", "[]", '{"format": 1}', '{"format": 1, "settings": {"seed": 1}, "about": {}}'):
        file.write_text(broken)
        with pytest.raises(RunError, match="the configuration of a record"):
            Record.open(tmp_path)
    file.write_text(json.dumps({"format": FORMAT + 1, "settings": {"unknown": 1}, "about": {}}))
    with pytest.raises(RunError, match="Install a newer noiseproof"):
        Record.open(tmp_path)


def test_a_record_without_votes(tmp_path: Path) -> None:
    record = Record.create(tmp_path, settings(), {})
    with pytest.raises(RunError, match="Run certify to count votes"):
        record.read()


def test_recertify_needs_votes_alone(whole: Record) -> None:
    table = whole.read()
    radii = {}
    for bound in (TwoPhase(), Bonferroni()):
        for certificate in (NeymanPearson(), Renyi()):
            found = recertify(table, whole.noise, alpha=0.01, bound=bound, certificate=certificate)
            radii[type(bound), type(certificate)] = found.radius.mean()
    assert radii[TwoPhase, NeymanPearson] > radii[TwoPhase, Renyi] > 0
    assert radii[Bonferroni, NeymanPearson] > radii[Bonferroni, Renyi] > 0
    loose = recertify(table, NOISE, alpha=0.3)
    assert loose.radius.mean() > radii[TwoPhase, NeymanPearson]


def test_record_without_selection_phase(tmp_path: Path) -> None:
    record = count(tmp_path, settings(selection_samples=0))
    table = record.read()
    assert table.selection_votes is None
    recertify(table, NOISE, alpha=0.05, bound=Bonferroni())
    with pytest.raises(InvalidInputError, match="selection_votes must be given"):
        recertify(table, NOISE, alpha=0.05)


def test_shards_hold_a_quarter_million_votes() -> None:
    assert [default_shard_size(n) for n in (10, 1000, 10_000, 10**6)] == [256, 250, 25, 1]


@pytest.mark.parametrize(
    ("smoothed", "split", "said"),
    [
        (SmoothedClassifier(ink, Gaussian(0.05), 10), "test", "the noise to be counted must be the record's"),
        (SmoothedClassifier(ink, NOISE, 12), "test", "the num_classes to be counted must be the record's, 10; got 12"),
        (SmoothedClassifier(ink, NOISE, 10), "train", "the data to be counted"),
        (SmoothedClassifier(models.build("digits-cnn"), NOISE, 10), "test", "the model digest to be counted"),
    ],
)
def test_votes_are_never_recorded_as_something_they_are_not(
    smoothed: SmoothedClassifier, split: data.Split, said: str, tmp_path: Path
) -> None:
    """Votes under sigma 0.05 in a record of sigma 0.5 would certify ten times too far."""
    record = Record.create(tmp_path, settings(), {})
    with pytest.raises(RunError, match=said):
        count_into(record, smoothed, data.load("digits", split))
    assert not (tmp_path / "votes").exists()


def test_votes_without_their_configuration_are_not_overwritten(tmp_path: Path) -> None:
    record = count(tmp_path)
    before = record.shard_path(0).read_bytes()
    (tmp_path / "record.json").unlink()
    with pytest.raises(RunError, match="votes whose configuration is missing"):
        count(tmp_path, settings(seed=9))
    assert record.shard_path(0).read_bytes() == before


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"samples": 0}, {"every": 0}, {"limit": 0}, {"selection_samples": -1}]
)
def test_plans_outside_their_domain(change: dict[str, int]) -> None:
    good = {"model": {"name": "ink", "digest": "none"}, "samples": 100, "selection_samples": 10}
    with pytest.raises(InvalidInputError, match=next(iter(change))):
        plan(data.load("digits", "test"), NOISE, **(good | change))
