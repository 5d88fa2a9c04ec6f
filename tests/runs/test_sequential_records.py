"""Records of votes that stopped by themselves: damage never goes unnoticed, and kinds and settings never mix."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import counting
from deciding_process import (
    ALPHA,
    BETA,
    CAP,
    IMAGES,
    NOISE,
    RADII,
    SHARD,
    decide,
    one_by_one,
    remembered,
    require_true,
    same,
    sequential,
    settings,
    standing,
)
from noiseproof.certificates import Renyi
from noiseproof.errors import RunError
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.records import Record, VoteTable
from noiseproof.runs.registry import NETWORK, RECORDS
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.runs.store import ShardedRecord
from noiseproof.runs.verification_records import VerificationRecord
from noiseproof.sequential import CertifyRadii, EstimateRadius, StoppingRule, fit_prior
from noiseproof.training import CHECKPOINT

CLASSES = 10


def votes_of(*pairs: tuple[int, int]) -> np.ndarray:
    """A row of votes: (class, count)."""
    row = np.zeros(CLASSES, dtype=np.int64)
    for label, count in pairs:
        row[label] = count
    return row


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SequentialRecord, "test", property(remembered))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SequentialRecord:
    return decide(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def copied(whole: SequentialRecord, tmp_path: Path) -> SequentialRecord:
    """A record to be damaged."""
    shutil.copytree(whole.path, tmp_path / "run")
    return SequentialRecord.open(tmp_path / "run")


@pytest.fixture
def half(whole: SequentialRecord, tmp_path: Path) -> SequentialRecord:
    """A record with shard 2 in the middle: an image undecided, one at its stop, and others not begun."""
    shutil.copytree(whole.path, tmp_path / "run")
    record, table = SequentialRecord.open(tmp_path / "run"), whole.read()
    record.shard_path(2).unlink()
    first = 2 * SHARD
    record.keep(2, {24: standing(24, 100), 27: standing(27, int(table.votes[first + 1].sum()))})
    assert require_true(record) == {24: 100, 27: table.votes[first + 1].sum()}
    return record


def part(table: VoteTable, rows: slice) -> VoteTable:
    """Some rows of a table."""
    assert table.certifying is not None
    columns = table.index[rows], table.label[rows], table.votes[rows].copy(), None, table.thumbnails[rows]
    return VoteTable(*columns, certifying=table.certifying[rows].copy())


def partial(record: SequentialRecord, shard: int) -> Path:
    return record.shard_path(shard).with_suffix(".partial")


# What is written


def test_what_is_written_is_read(whole: SequentialRecord) -> None:
    table = whole.read()
    assert table.votes.shape == (IMAGES, CLASSES)
    assert table.selection_votes is None
    assert same(SequentialRecord.open(whole.path).read(), table)
    assert set(pq.read_table(whole.shard_path(0)).column_names) == {
        *("index", "label", "votes", "thumbnail", "certifying_votes")
    }
    content = json.loads((whole.path / "sequential.json").read_text())
    assert content["settings"]["procedure"]["radii"] == list(RADII)
    assert whole.noise == NOISE
    assert not list(whole.path.rglob("*.partial"))


@pytest.mark.parametrize(
    "rule",
    [
        CertifyRadii(RADII, alpha=ALPHA, max_samples=CAP, certificate=Renyi()),
        CertifyRadii(
            0.1, alpha=ALPHA, max_samples=CAP, prior=fit_prior(np.array([60, 55, 40]), np.array([60, 60, 60]))
        ),
        EstimateRadius(0.8, alpha=ALPHA, max_samples=100),
    ],
    ids=["radii", "prior", "precision"],
)
def test_a_record_says_what_its_votes_prove(rule: StoppingRule, tmp_path: Path) -> None:
    """From the file alone: rule, noise and certificate come back as they were."""
    planned = settings(rule, images=2)
    SequentialRecord.create(tmp_path, planned, {})
    found = SequentialRecord.open(tmp_path)
    assert found.settings.plain() == json.loads(json.dumps(planned.plain()))
    assert found.rule == rule
    votes = np.array([votes_of((3, 90)), votes_of((3, 50), (4, 49)), votes_of((0, 80), (1, 2))])
    for name in ("prediction", "radius", "outcome"):
        expected = getattr(rule.under(NOISE).certify(votes), name)
        assert np.array_equal(getattr(found.test.certify(votes), name), expected), name


def test_a_record_without_votes(tmp_path: Path) -> None:
    record = SequentialRecord.create(tmp_path, settings(), {})
    with pytest.raises(RunError, match="Run certify to count votes"):
        record.read()
    with pytest.raises(RunError, match=r"a run folder with sequential\.json; got no such folder"):
        SequentialRecord.open(tmp_path / "nowhere")


def test_an_interrupted_record_gives_the_shards_that_are_whole(half: SequentialRecord) -> None:
    assert len(half.read()) == IMAGES - SHARD
    assert half.missing() == ([2], [])


# Damage


@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "emptied", "of another record", "of another shard"])
def test_a_damaged_shard_is_named(
    whole: SequentialRecord, copied: SequentialRecord, damage: str, tmp_path: Path
) -> None:
    path = copied.shard_path(3)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "bit flipped":
        votes = pq.ParquetFile(path).metadata.row_group(0).column(2)
        assert votes.path_in_schema.startswith("votes")
        content[votes.data_page_offset + votes.total_compressed_size // 2] ^= 4
    elif damage == "emptied":
        content = bytearray()
    elif damage == "of another shard":
        content = bytearray(copied.shard_path(1).read_bytes())
    else:
        other = SequentialRecord.create(tmp_path / "other", replace(settings(), seed=1), {})
        table = whole.read()
        rows = slice(3 * SHARD, 4 * SHARD)
        other.write_shard(3, part(table, rows))
        content = bytearray(other.shard_path(3).read_bytes())
    path.write_bytes(content)
    require_refused(copied, "")


def test_only_damaged_shards_are_decided_anew(whole: SequentialRecord, copied: SequentialRecord) -> None:
    before = {shard: copied.shard_path(shard).read_bytes() for shard in (0, 2, 4)}
    copied.shard_path(3).write_bytes(copied.shard_path(3).read_bytes()[:-1])
    copied.shard_path(1).write_bytes(b"")
    written: list[int] = []
    assert same(decide(copied.path, on_shard=lambda number, _: written.append(number)).read(), whole.read())
    assert sorted(written) == [1, 3]
    assert {shard: copied.shard_path(shard).read_bytes() for shard in before} == before


def require_refused(record: SequentialRecord, said: str) -> None:
    """Shard 3, and no other, is refused by name, wherever it is met."""
    with pytest.raises(RunError, match=rf"00003\.parquet must be a whole shard of this record.*{said}"):
        record.read()
    missing, faults = record.missing()
    assert missing == [3]
    assert len(faults) == 1
    assert "sequential.json keeps it" in str(faults[0])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (votes_of((3, CAP), (4, 1)), "votes that are no counts, or more than the cap"),
        (votes_of(), "votes that are no counts"),
        (votes_of((3, 60), (4, -1)), "votes that are no counts"),
        (votes_of((3, 8)), "votes that do not stop there"),
        (votes_of((3, 40), (4, 30)), "votes that do not stop there"),
    ],
    ids=["above the cap", "none", "negative", "too few", "undecided"],
)
def test_votes_that_contradict_the_settings_are_refused(
    whole: SequentialRecord, copied: SequentialRecord, row: np.ndarray, said: str
) -> None:
    """Whole and checksummed, and yet no votes of this record: of software that was wrong, or of hands."""
    table = part(whole.read(), slice(3 * SHARD, 4 * SHARD))
    assert table.certifying is not None
    table.votes[1], table.certifying[1] = row, 0
    copied.write_shard(3, table)
    require_refused(copied, said)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (votes_of((3, 10**6)), "certifying votes that are not among the votes"),
        (votes_of((3, -1)), "certifying votes that are not among the votes"),
        (votes_of((3, 1)), "certifying votes that do not certify"),
        (votes_of(), "certifying votes that do not certify, or less than the last ones"),
    ],
    ids=["too many", "negative", "too few", "none"],
)
def test_certifying_votes_that_contradict_the_votes_are_refused(
    whole: SequentialRecord, copied: SequentialRecord, row: np.ndarray, said: str
) -> None:
    table = part(whole.read(), slice(3 * SHARD, 4 * SHARD))
    assert table.certifying is not None
    sure = int((copied.test.criterion.reached(table.votes) > 0).argmax())
    table.certifying[sure] = np.roll(row, int(table.votes[sure].argmax()) - 3)
    copied.write_shard(3, table)
    require_refused(copied, said)


def test_a_record_of_an_earlier_version_reads_and_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    """Its specification has no key for certificates that last: outcomes are those of its last votes, to the end."""
    early, now = (CertifyRadii(RADII, alpha=ALPHA, beta=BETA, max_samples=CAP, lasting=kind) for kind in (False, True))
    before = decide(tmp_path / "before", sequential(early))
    assert "lasting" not in json.dumps(json.loads((before.path / "sequential.json").read_text()))
    assert "certifying_votes" not in pq.read_table(before.shard_path(0)).column_names
    shutil.copytree(before.path, tmp_path / "run")
    record = SequentialRecord.open(tmp_path / "run")
    record.shard_path(1).unlink()
    record.keep(1, {12: one_by_one(12)[7]})
    found = decide(record.path, sequential(now))
    assert found.rule == early
    assert same(found.read(), before.read())
    assert found.certify().to_dict() == before.rule.under(NOISE).certify(before.read().votes).to_dict()
    low = decide(tmp_path / "low", sequential(replace(early, max_samples=120)))
    raised = decide(low.path, sequential(now))
    assert raised.rule == early
    assert same(raised.read(), before.read())


def test_every_flipped_byte_of_a_shard_is_noticed_or_harmless(copied: SequentialRecord) -> None:
    truth, content = copied.read(), copied.shard_path(0).read_bytes()
    noticed = 0
    for position in range(0, len(content), 61):
        broken = bytearray(content)
        broken[position] ^= 1 << (position % 8)
        copied.shard_path(0).write_bytes(broken)
        try:
            found = copied.read()
        except RunError:
            noticed += 1
            continue
        assert same(found, truth), f"a flip at byte {position} changed votes unnoticed"
    assert noticed > 10


# Votes so far


def test_what_is_kept_is_given_back(half: SequentialRecord) -> None:
    votes = {24: votes_of((2, 7), (3, 1)), 33: votes_of((9, 30))}
    half.keep(2, votes)
    found = half.kept(2)
    assert found.keys() == votes.keys()
    assert all(np.array_equal(found[index], votes[index]) and found[index].dtype == np.int64 for index in votes)
    assert half.kept(1) == {}, "nothing is kept of it"


def test_every_flipped_byte_of_what_is_kept_is_noticed_or_harmless(half: SequentialRecord) -> None:
    truth, content = half.kept(2), partial(half, 2).read_bytes()
    assert len(truth) == 2
    for position in range(len(content)):
        broken = bytearray(content)
        broken[position] ^= 1 << (position % 8)
        partial(half, 2).write_bytes(broken)
        found = half.kept(2)
        assert not found or all(np.array_equal(found[index], truth[index]) for index in truth), position
        partial(half, 2).write_bytes(content[:position])
        assert half.kept(2) == {}, "torn"


_DAMAGE: Mapping[str, Callable[[SequentialRecord, int, Path], bytes]] = {
    "truncated": lambda record, shard, _: partial(record, shard).read_bytes()[:-20],
    "empty": lambda *_: b"",
    "no text": lambda *_: bytes(range(256)),
    "a list": lambda *_: b"[]",
    "a number": lambda *_: b"7",
    "nothing inside": lambda *_: b"{}",
    "no sum": lambda record, shard, _: partial(record, shard).read_bytes().replace(b'"sum"', b'"som"'),
    "numbers inside": lambda *_: b'{"votes": 3, "sum": 4}',
    "votes without a sum": lambda *_: json.dumps({"votes": {"24": [9] * CLASSES}, "sum": ""}).encode(),
    "of another seed": lambda record, shard, path: _kept_by(replace(record.settings, seed=1), shard, path),
    "of other radii": lambda record, shard, path: _kept_by(
        replace(record.settings, procedure=dict(record.settings.procedure) | {"radii": [0.3]}), shard, path
    ),
    "of another shard": lambda record, shard, path: _kept_by(record.settings, shard - 1, path),
}


def _kept_by(planned: SequentialSettings, shard: int, path: Path) -> bytes:
    """Votes that would decide images wrongly, kept by another record."""
    other = SequentialRecord.create(path, planned, {})
    other.keep(shard, {index: votes_of((1, 100)) for index in other.shard_indices(shard)})
    return partial(other, shard).read_bytes()


def _damage_what_is_kept(record: SequentialRecord, shard: int, damage: str, path: Path) -> None:
    record.keep(shard, {index: one_by_one(index)[10] for index in record.shard_indices(shard)})
    partial(record, shard).write_bytes(_DAMAGE[damage](record, shard, path))


@pytest.mark.parametrize("damage", _DAMAGE)
def test_what_is_kept_and_damaged_or_of_others_is_not_used(damage: str, tmp_path: Path) -> None:
    record = SequentialRecord.create(tmp_path / "run", settings(), {})
    _damage_what_is_kept(record, 2, damage, tmp_path / "other")
    assert not record.kept(2).keys() & set(record.shard_indices(2))


def test_the_result_is_the_same_whatever_was_kept(whole: SequentialRecord, tmp_path: Path) -> None:
    """A damaged file beside each shard: what they say is drawn again."""
    record = SequentialRecord.create(tmp_path / "run", settings(), {})
    for shard, damage in enumerate(("truncated", "no text", "of another seed", "of other radii", "of another shard")):
        _damage_what_is_kept(record, shard, damage, tmp_path / damage)
    assert len(list(record.path.rglob("*.partial"))) == len(record.shards)
    assert same(decide(record.path).read(), whole.read())
    assert not list(record.path.rglob("*.partial"))


def test_what_is_kept_of_a_damaged_shard_is_used(whole: SequentialRecord, half: SequentialRecord) -> None:
    """A kill after the shard was written and before what was kept is removed; then the disk fails."""
    half.shard_path(2).write_bytes(b"")
    drawn: list[int] = []
    assert same(decide(half.path, progress=drawn.append).read(), whole.read())
    half.shard_path(2).write_bytes(b"")
    anew: list[int] = []
    assert same(decide(half.path, progress=anew.append).read(), whole.read())
    assert sum(drawn) < sum(anew)


def test_leftovers_of_killed_processes_are_removed(whole: SequentialRecord, half: SequentialRecord) -> None:
    """Of shards, and of what was kept of them."""
    folder = half.path / "votes"
    left = [folder / ".00002.parquet.99999-abcd.part", folder / ".00002.partial.99999-abcd.part"]
    other = folder / ".00003.partial.99999-abcd.part"
    for file in (*left, other):
        file.write_bytes(b"half a file")
    assert same(decide(half.path).read(), whole.read())
    assert not any(file.exists() for file in left)
    assert not partial(half, 2).exists()
    assert other.exists(), "that of a shard which may be another process's is left alone"


# Settings and kinds


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 5}, "seed 5; got seed 0"),
        ({"noise": {"name": "gaussian", "sigma": 0.4}}, r"noise sigma 0\.4; got noise sigma 0\.25"),
        ({"model": {"name": "ink", "digest": "other"}}, "model digest other; got model digest none"),
        ({"data": {"name": "digits", "split": "test", "digest": "other"}}, "data digest other; got data digest 72f1"),
        ({"shard_size": 3}, "shard_size 3; got shard_size 4"),
        (
            {"procedure": CertifyRadii([0.1, 0.3], alpha=0.02, beta=BETA, max_samples=500).spec()},
            r"alpha 0\.02, procedure samples 500, procedure radii 0\.1, 0\.3; got procedure alpha 0\.01, procedure samples 450,",
        ),
        (
            {"procedure": CertifyRadii(RADII, alpha=ALPHA, beta=0.5, max_samples=CAP, certificate=Renyi()).spec()},
            r"procedure beta 0\.5, .*procedure certificate name Renyi; got procedure beta 0\.01, .*name NeymanPearson",
        ),
        (
            {"procedure": EstimateRadius(0.1, alpha=ALPHA, beta=BETA, max_samples=CAP).spec(), "stop": 12},
            r"procedure precision 0\.1, procedure radii nothing, stop 12; got .*procedure precision nothing",
        ),
    ],
    ids=["seed", "noise", "model", "data", "shards", "radii", "certificate", "kind"],
)
def test_other_settings_do_not_mix(whole: SequentialRecord, change: dict[str, Any], said: str) -> None:
    before = whole.read()
    with pytest.raises(RunError, match=said):
        SequentialRecord.create(whole.path, replace(whole.settings, **change), {})
    assert same(whole.read(), before)


def test_equal_settings_go_on(copied: SequentialRecord) -> None:
    again = SequentialRecord.create(copied.path, settings(), {"who": "second"})
    assert again.about == copied.about != {"who": "second"}, "it is the first one's"
    assert again.missing() == ([], [])


def test_every_kind_of_record_is_known_to_the_others() -> None:
    """So that a new kind is refused in the folders of others."""
    kinds = {Record, SequentialRecord, AttackRecord, VerificationRecord}
    assert kinds == set(ShardedRecord.__subclasses__())
    assert {name: RECORDS[name] for name in RECORDS} == {kind.configuration: kind for kind in kinds}
    assert NETWORK == CHECKPOINT


@pytest.mark.parametrize("with_votes", [True, False])
def test_a_folder_holds_one_kind_of_record(with_votes: bool, whole: SequentialRecord, tmp_path: Path) -> None:
    """Their shards have the same names: those of one kind would be damaged shards to the other, and counted anew."""
    fixed, stopped = tmp_path / "fixed", tmp_path / "stopped"
    if with_votes:
        record: ShardedRecord[Any, Any] = counting.count(fixed, counting.job(samples=20, selection_samples=0))
        shutil.copytree(whole.path, stopped)
    else:
        record = Record.create(fixed, counting.settings(), {})
        SequentialRecord.create(stopped, settings(), {})
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(
        RunError, match=r"fixed must be a folder for a record with sequential\.json; got one with record\.json"
    ):
        SequentialRecord.create(fixed, settings(), {})
    with pytest.raises(
        RunError, match=r"stopped must be a folder for a record with record\.json; got one with sequential\.json"
    ):
        Record.create(stopped, counting.settings(), {})
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    Record.create(fixed, record.settings, {})
    (stopped / "record.json").write_bytes((fixed / "record.json").read_bytes())
    for kind, planned in ((Record, record.settings), (SequentialRecord, settings())):
        with pytest.raises(RunError, match="Votes of different kinds must not mix"):
            kind.create(stopped, planned, {})  # type: ignore[arg-type]


def test_votes_without_their_configuration_are_not_overwritten(copied: SequentialRecord) -> None:
    before = copied.shard_path(0).read_bytes()
    (copied.path / "sequential.json").unlink()
    with pytest.raises(RunError, match="votes whose configuration is missing"):
        SequentialRecord.create(copied.path, settings(), {})
    assert copied.shard_path(0).read_bytes() == before


def test_folders_that_are_no_record(tmp_path: Path) -> None:
    file = tmp_path / "sequential.json"
    for broken in ("", "{", "[]", '{"format": 1}', '{"format": 1, "settings": {"seed": 1}, "about": {}}'):
        file.write_text(broken)
        with pytest.raises(RunError, match="the configuration of a record"):
            SequentialRecord.open(tmp_path)
    file.write_text(json.dumps({"format": SequentialRecord.version + 1, "settings": {"unknown": 1}, "about": {}}))
    with pytest.raises(RunError, match="Install a newer noiseproof"):
        SequentialRecord.open(tmp_path)


def test_settings_are_plain_data() -> None:
    planned = settings()
    assert SequentialSettings(**json.loads(json.dumps(planned.plain()))) == planned
