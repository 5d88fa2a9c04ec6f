"""Records of attacks: no kill and no damage changes a point or a vote unnoticed, and votes outlive their points.

python test_attack_records.py RUN kill     makes records whose processes are killed at every write
python test_attack_records.py RUN share    takes the shards that no other process holds
"""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from counting import Told, die_at, subject
from noiseproof.attacks import PGD
from noiseproof.certified import ABSTAIN
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.evaluation.robust_accuracy import verdicts
from noiseproof.runs import AttackImages
from noiseproof.runs.attack_records import FORMAT, AttackRecord, AttackSettings, AttackTable
from noiseproof.runs.job import _fill
from noiseproof.runs.records import Record
from noiseproof.runs.running import Running
from noiseproof.runs.shards import Shard, ShardWriter
from noiseproof.storage.stopwatch import Stopwatch
from processes import QUIET

IMAGES, SHARD, CLASSES, SAMPLES = 11, 3, 4, 20
SHAPE = (1, 2, 3)
SIZES = [0.0, 0.1, 0.25]
SHARDS = -(-IMAGES // SHARD)
Points = np.ndarray
COLUMNS = ("index", "label", "sizes", "votes", "distances")


class StopHereError(Exception):
    pass


def settings(**changes: Any) -> AttackSettings:
    planned = AttackSettings(
        data={"name": "digits", "split": "test", "digest": "72f1"},
        model={"name": "net", "digest": "a5"},
        noise={"name": "gaussian", "sigma": 0.5},
        num_classes=CLASSES,
        attack={"name": "PGD", "steps": 20},
        norm="linf",
        sizes=SIZES,
        samples=SAMPLES,
        alpha=0.001,
        seed=0,
        start=0,
        stop=3 * IMAGES,
        step=3,
        shard_size=SHARD,
        engine={"device": "cpu", "precision": "fp32"},
        gradients="fp32",
    )
    return dataclasses.replace(planned, **changes)


def audit() -> AttackSettings:
    limits = {"record": "digest", "bound": "TwoPhase", "certificate": "NeymanPearson", "alpha": 0.001}
    return settings(sizes=[0.0, 1.0], limits=limits)


def found(record: AttackRecord, shard: int) -> AttackTable:
    """What an attack would find: a function of the settings and the image."""
    planned, indices = record.settings, np.asarray(record.shard_indices(shard))
    count = len(planned.sizes)
    draws = [np.random.default_rng([planned.seed, int(index)]) for index in indices]
    sizes, label = np.repeat(np.array(planned.sizes)[None], len(indices), axis=0), indices % planned.num_classes
    if planned.limits is not None:
        sizes *= np.array([[draw.random()] for draw in draws])
        sizes[0], label[0] = -1.0, ABSTAIN  # nothing is certified, nothing attacked
    points = np.stack([draw.random((count, *SHAPE), dtype=np.float32) for draw in draws])
    chances = np.full(planned.num_classes, 1.0 / planned.num_classes)
    votes = np.stack([draw.multinomial(planned.samples, chances, count) for draw in draws])
    return AttackTable(indices, label, sizes, votes, 0.5 * sizes.clip(min=0.0), points)


def attack(
    path: Path,
    planned: AttackSettings | None = None,
    on_shard: Callable[[int], None] = lambda _: None,
) -> AttackRecord:
    """Fill a record by the loop that all jobs share."""
    record = AttackRecord.create(path, planned or settings(), {"command": ["test"]})
    running = Running.simply(subject(noise=None), None, torch.device("cpu"))
    told = Told(on_shard=lambda number, _: on_shard(number))
    _fill(Imagined(PGD(), [0.1]), record, running, record.missing()[0], told, Stopwatch())
    return record


class Imagined(AttackImages):
    """An attack that finds what `found` says."""

    def run(self, running: Running, writer: ShardWriter) -> Iterator[tuple[Shard, AttackTable]]:
        for shard in writer.shards():
            yield shard, found(writer.record, shard.number)


def same(left: AttackTable, right: AttackTable) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in COLUMNS)


def same_records(left: AttackRecord, right: AttackRecord) -> bool:
    assert left.missing() == ([], [])
    points = [np.array_equal(left.read_points(shard), right.read_points(shard)) for shard in right.shards]
    return same(left.read(), right.read()) and all(points)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> AttackRecord:
    return attack(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    "planned",
    [
        settings(),
        audit(),
        settings(noise=None, samples=1),
        settings(norm="l1", sizes=[0.0], shard_size=100, num_classes=2),
    ],
    ids=["listed sizes", "audit", "no noise", "one shard"],
)
def test_what_is_written_is_read(planned: AttackSettings, tmp_path: Path) -> None:
    attack(tmp_path, planned)
    record = AttackRecord.open(tmp_path)
    assert record.settings == planned
    assert record.about == {"command": ["test"]}
    table = record.read()
    assert table.index.tolist() == list(planned.indices)
    assert table.votes.shape == (IMAGES, len(planned.sizes), planned.num_classes)
    assert len(table) == IMAGES
    for shard in record.shards:
        truth = found(record, shard)
        assert same(table[shard * planned.shard_size : (shard + 1) * planned.shard_size], truth)
        assert np.array_equal(record.read_points(shard), truth.points)
        assert record.read_points(shard).dtype == np.float32
        about = record.shard_about(shard)
        assert about["seconds"] >= 0.0
        assert about["device"]
        assert about["written"].startswith("20")


def test_files_are_those_that_the_format_names(whole: AttackRecord) -> None:
    assert json.loads((whole.path / "attack.json").read_text())["format"] == FORMAT
    names = sorted(str(file.relative_to(whole.path)) for file in whole.path.rglob("*") if file.is_file())
    expected = [f"points/{shard:05d}.safetensors" for shard in range(SHARDS)]
    expected += [f"votes/{shard:05d}.parquet" for shard in range(SHARDS)]
    assert [name for name in names if not Path(name).name.startswith(".")] == ["attack.json", *expected]
    assert set(pq.read_table(whole.shard_path(0)).column_names) == set(COLUMNS)


def test_points_are_judged_again_with_more_votes(whole: AttackRecord, tmp_path: Path) -> None:
    planned = settings(samples=3 * SAMPLES)
    again = AttackRecord.create(tmp_path, planned, {"points": str(whole.path)})
    table = whole.read()
    for shard in whole.shards:
        rows = table[shard * SHARD : (shard + 1) * SHARD]
        points = whole.read_points(shard)
        again.write_shard(shard, dataclasses.replace(rows, votes=3 * rows.votes, points=points))
    assert again.missing() == ([], [])
    assert (again.read().votes.sum(-1) == 3 * SAMPLES).all()
    assert np.array_equal(again.read_points(1), whole.read_points(1))


@pytest.mark.parametrize("planned", [settings(alpha=0.9), audit(), settings(noise=None, samples=1)])
def test_verdicts_are_read_as_they_follow_from_all_votes(planned: AttackSettings, tmp_path: Path) -> None:
    record = attack(tmp_path, planned)
    table, found_so = record.read(), record.read_verdicts()
    votes, noisy = table.votes.transpose(1, 0, 2), planned.noise is not None
    expected = verdicts(votes, table.label, planned.alpha, noisy=noisy)
    assert len(found_so) == IMAGES
    np.testing.assert_array_equal(found_so.verdicts, expected)
    assert len(np.unique(expected)) > 1, "a test that could pass by one constant"
    for name in ("index", "label", "sizes", "distances"):
        np.testing.assert_array_equal(getattr(found_so, name), getattr(table, name))


def test_votes_of_all_shards_are_never_in_memory_together(whole: AttackRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    real, alive, most = AttackRecord.read_shard, weakref.WeakSet[AttackTable](), []

    class Watched(AttackTable):
        __hash__ = object.__hash__

    def read(self: AttackRecord, shard: int) -> AttackTable:
        most.append(len(alive))
        table = real(self, shard)
        watched = Watched(*(np.copy(getattr(table, name)) for name in COLUMNS))
        alive.add(watched)
        return watched

    monkeypatch.setattr(AttackRecord, "read_shard", read)
    whole.read_verdicts()
    assert most == [0, 0, 0, 0], "one at a time"
    alive.clear()
    most.clear()
    whole.read()
    assert most == [0, 1, 2, 3], "which this test would see"


def test_an_empty_or_damaged_record_has_no_verdicts(tmp_path: Path) -> None:
    record = AttackRecord.create(tmp_path, settings(), {})
    with pytest.raises(RunError, match="Run attack to count votes"):
        record.read_verdicts()
    attack(tmp_path)
    record.shard_path(2).write_bytes(b"half")
    with pytest.raises(RunError, match=r"00002\.parquet must be a whole shard"):
        record.read_verdicts()
    record.shard_path(2).unlink()
    assert len(record.read_verdicts()) == IMAGES - SHARD


def test_settings_of_another_judgement() -> None:
    """All as it was but votes, seed, engine and where the points are from, which a third judgement keeps."""
    first = settings()
    second = first.again({"device": "cuda"}, samples=300)
    assert (second.samples, second.seed, second.alpha) == (300, 1, 0.001)
    assert second.points is not None
    assert second.points["seed"] == 0
    kept = {"engine": first.engine, "points": None}
    assert dataclasses.replace(second, samples=SAMPLES, seed=0, **kept) == first
    third = second.again(first.engine, samples=500, seed=7, alpha=0.01)
    assert (third.samples, third.seed, third.alpha, third.points) == (500, 7, 0.01, second.points)
    assert settings(seed=3).again(first.engine, samples=300).points != second.points
    assert "points" not in first.plain(), "records of before have the fingerprint they had"


@pytest.mark.parametrize(
    ("planned", "change", "said"),
    [
        (settings(), {"seed": 0}, r"seed must be another than 0; got 0"),
        (settings().again({}, samples=300), {"seed": 0}, r"seed must be another than 0, 1; got 0"),
        (settings().again({}, samples=300), {"seed": 1}, r"seed must be another than 0, 1; got 1"),
        (settings(), {"seed": -1}, "seed must be an integer from 0"),
        (settings(), {"samples": 0}, "samples must be an integer >= 1"),
        (settings(), {"samples": 5}, "samples must be"),
        (settings(), {"alpha": 1.5}, "alpha"),
        (audit(), {}, "got an audit. Audit again"),
        (settings(noise=None, samples=1), {}, "got one without noise"),
    ],
)
def test_what_cannot_be_judged_again(planned: AttackSettings, change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        planned.again({}, **{"samples": 300, **change})


def test_stopped_between_shards(whole: AttackRecord, tmp_path: Path) -> None:
    def stop(shard: int) -> None:
        if shard == 1:
            raise StopHereError

    with pytest.raises(StopHereError):
        attack(tmp_path, on_shard=stop)
    assert len(AttackRecord.open(tmp_path).read()) == 2 * SHARD
    done: list[int] = []
    assert same_records(attack(tmp_path, on_shard=done.append), whole)
    assert done == [2, 3], "nothing is attacked twice"


def test_points_without_their_votes_are_not_done(
    whole: AttackRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between the two writes, and at the second: the shard is missing, and nothing of it is read."""
    real, renames = Path.replace, []

    def stop(self: Path, target: Path) -> Path:
        renames.append(target)
        if len(renames) == 4:  # points, votes, points, here
            raise StopHereError
        return real(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(StopHereError):
        attack(tmp_path)
    monkeypatch.undo()
    record = AttackRecord.open(tmp_path)
    assert record.points_path(1).exists(), "points come first"
    assert not record.shard_path(1).exists()
    assert record.missing() == ([1, 2, 3], [])
    assert len(record.read()) == SHARD
    with pytest.raises(RunError, match=r"00001\.safetensors must be the points that the attack found"):
        record.read_points(1)
    done: list[int] = []
    assert same_records(attack(tmp_path, on_shard=done.append), whole)
    assert done == [1, 2, 3]


@pytest.mark.slow
def test_kill_9_at_every_write(tmp_path: Path) -> None:
    """Real SIGKILLs of real processes, before, between and after the two files of every shard."""
    command = [sys.executable, __file__, str(tmp_path), "kill"]
    done = subprocess.run(command, env=QUIET, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"{4 * SHARDS} kills" in done.stdout


@pytest.mark.slow
def test_two_processes_share_one_record(whole: AttackRecord, tmp_path: Path) -> None:
    """Each takes the shards that the other does not hold; none is attacked twice."""
    command = [sys.executable, __file__, str(tmp_path), "share"]
    processes = [subprocess.Popen(command, env=QUIET, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(outputs[0] + outputs[1]) == [str(shard) for shard in range(SHARDS)]
    assert same_records(AttackRecord.open(tmp_path), whole)


def test_a_shard_that_another_process_holds_is_left_to_it(whole: AttackRecord, tmp_path: Path) -> None:
    record = AttackRecord.create(tmp_path, settings(), {})
    with record.claim(2) as claimed:
        assert claimed
        attack(tmp_path)
        assert record.missing() == ([2], [])
    assert same_records(attack(tmp_path), whole)


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    record = AttackRecord.create(tmp_path, settings(), {})
    left = [
        path.with_name(f".{path.name}.99999-ab.part")
        for path in (record.shard_path(1), record.points_path(1), record.points_path(2))
    ]
    for part in left:
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(b"half")
    attack(tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def damaged(record: AttackRecord, part: str, damage: str, elsewhere: Path) -> bytes:
    """Return the content of a file of shard 2 after an accident."""

    def read(of: AttackRecord, shard: int) -> bytearray:
        return bytearray((of.shard_path(shard) if part == "votes" else of.points_path(shard)).read_bytes())

    content = read(record, 2)
    if damage == "truncated":
        return content[: len(content) // 2]
    if damage == "of another shard":
        return read(record, 1)
    if damage == "of another record":
        return read(attack(elsewhere, settings(seed=1)), 2)
    where = -3  # a bit of a pixel
    if part == "votes":
        column = pq.ParquetFile(record.shard_path(2)).metadata.row_group(0).column(3)
        assert column.path_in_schema.startswith("votes")
        where = column.data_page_offset + column.total_compressed_size // 2
    content[where] ^= 4
    return content


DAMAGES = ["truncated", "bit flipped", "of another shard", "of another record"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_votes_are_named_and_only_their_shard_attacked_anew(
    whole: AttackRecord, damage: str, tmp_path: Path
) -> None:
    record = attack(tmp_path)
    record.shard_path(2).write_bytes(damaged(record, "votes", damage, tmp_path / "other"))
    with pytest.raises(RunError, match=r"00002\.parquet must be a whole shard.*attack\.json keeps it"):
        record.read()
    missing, faults = record.missing()
    assert missing == [2]
    assert len(faults) == 1
    done: list[int] = []
    assert same_records(attack(tmp_path, on_shard=done.append), whole)
    assert done == [2]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_points_are_not_read_and_votes_are(whole: AttackRecord, damage: str, tmp_path: Path) -> None:
    record = attack(tmp_path)
    record.points_path(2).write_bytes(damaged(record, "points", damage, tmp_path / "other"))
    with pytest.raises(RunError, match=r"00002\.safetensors must be the points that the attack found"):
        record.read_points(2)
    assert same(record.read(), whole.read())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_shard_whose_points_are_damaged_is_attacked_anew(whole: AttackRecord, damage: str, tmp_path: Path) -> None:
    """Also if it was so attacked, came out otherwise, and was killed before the votes: those are on points that are gone."""
    record = attack(tmp_path)
    record.points_path(2).write_bytes(damaged(record, "points", damage, tmp_path / "other"))
    missing, faults = record.missing()
    assert missing == [2]
    assert len(faults) == 1
    assert not record.holds(2)
    done: list[int] = []
    assert same_records(attack(tmp_path, on_shard=done.append), whole)
    assert done == [2]


def flips(path: Path) -> list[tuple[int, int]]:
    """Bits all over a file; and in a shard the low ones of all labels, which only checksums tell from other labels."""
    found = [(position, position % 8) for position in range(0, path.stat().st_size, 29)]
    if path.suffix == ".parquet":
        labels = pq.ParquetFile(path).metadata.row_group(0).column(1)
        assert labels.path_in_schema == "label"
        first = labels.dictionary_page_offset or labels.data_page_offset
        found += [(position, bit) for position in range(first, first + labels.total_compressed_size) for bit in (0, 1)]
    return found


@pytest.mark.parametrize("part", ["votes", "points"])
def test_every_flipped_byte_is_noticed_or_harmless(part: str, tmp_path: Path) -> None:
    record = attack(tmp_path)
    path = record.shard_path(0) if part == "votes" else record.points_path(0)
    truth, content = record.read(), path.read_bytes()
    for position, bit in flips(path):
        broken = bytearray(content)
        broken[position] ^= 1 << bit
        path.write_bytes(broken)
        try:
            record.read_points(0)
            now = record.read()
        except RunError:
            continue
        assert part == "votes", f"a flip at byte {position} of the points went unnoticed"
        assert same(now, truth), f"a flip at byte {position} changed votes unnoticed"


def test_votes_are_read_where_points_were_left_out(whole: AttackRecord, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole.path, copy, ignore=shutil.ignore_patterns("points"))
    record = AttackRecord.open(copy)
    assert same(record.read(), whole.read())
    assert record.missing() == ([], []), "the shards are done, though their points are elsewhere"
    with pytest.raises(RunError, match=r"00003\.safetensors must be the points.*No such file"):
        record.read_points(3)
    record.shard_path(3).unlink()  # then they are found again
    done: list[int] = []
    attack(copy, on_shard=done.append)
    assert done == [3]
    assert np.array_equal(record.read_points(3), whole.read_points(3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 300}, "samples 300; got samples 20"),
        ({"seed": 5}, "seed 5; got seed 0"),
        ({"alpha": 0.01}, "alpha 0.01; got alpha 0.001"),
        ({"norm": "l2"}, "norm l2; got norm linf"),
        ({"sizes": [0.0, 0.1]}, r"sizes 0\.0, 0\.1; got sizes 0\.0, 0\.1, 0\.25"),
        ({"points": {"seed": 1}}, "points seed 1; got points nothing"),
        ({"limits": {"record": "d"}}, r"limits record d; got limits nothing"),
        ({"gradients": "bf16"}, "gradients bf16; got gradients fp32"),
        ({"attack": {"name": "PGD", "steps": 100}}, "attack steps 100; got attack steps 20"),
        ({"noise": {"name": "gaussian", "sigma": 0.4}}, "noise sigma 0.4; got noise sigma 0.5"),
        ({"noise": None, "samples": 1}, "noise nothing, samples 1"),
        ({"model": {"name": "net", "digest": "other"}}, "model digest other; got model digest a5"),
        ({"engine": {"device": "cpu", "precision": "bf16"}}, "engine precision bf16"),
    ],
)
def test_other_settings_do_not_mix(whole: AttackRecord, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=rf"a record with .*{said}.*Votes of different settings must not mix"):
        AttackRecord.create(whole.path, settings(**change), {})


def test_folders_that_are_no_record_of_attacks(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"run folder with attack\.json; got none there\. Attack first: noiseproof attack"
    ):
        AttackRecord.open(tmp_path)
    file = tmp_path / "attack.json"
    broken: list[Any] = [[], {"format": 1}, {"format": 1, "settings": {"sizes": [0.0]}, "about": {}}]
    broken += [{"format": 1, "settings": [], "about": {}}]
    for content in broken:
        file.write_text(json.dumps(content))
        with pytest.raises(RunError, match=r"(?s)the configuration of a record.*or attack again into another folder"):
            AttackRecord.open(tmp_path)
    file.write_text(json.dumps({"format": FORMAT + 1, "settings": {}, "about": {}}))
    with pytest.raises(RunError, match="Install a newer noiseproof"):
        AttackRecord.open(tmp_path)
    with pytest.raises(RunError, match="Run attack to count votes"):
        AttackRecord.create(tmp_path / "new", settings(), {}).read()


def test_attacks_and_certifications_do_not_share_a_folder(whole: AttackRecord, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path, dirs_exist_ok=True)
    (tmp_path / "attack.json").unlink()
    with pytest.raises(RunError, match=r"beside its attack\.json; got votes whose configuration is missing"):
        AttackRecord.create(tmp_path, settings(), {})
    with pytest.raises(RunError, match=r"run folder with record\.json"):
        Record.open(tmp_path)


def wrong(table: AttackTable, name: str) -> AttackTable:
    """A table with one mistake."""
    votes, sizes, label = (np.copy(part) for part in (table.votes, table.sizes, table.label))
    if name == "a size missing":
        return AttackTable(table.index, label, sizes[:, :2], votes[:, :2], table.distances[:, :2])
    if name == "a class missing":
        fewer = np.concatenate([votes[..., :2], votes[..., 2:].sum(-1, keepdims=True)], axis=-1)
        return AttackTable(table.index, label, sizes, fewer, table.distances)
    if name == "a point too far":
        return dataclasses.replace(table, distances=table.distances + 0.2)
    if name == "negative":
        votes[0, 0, :2] += np.array([-100, 100])
        return AttackTable(table.index, label, sizes, votes, table.distances)
    changes: dict[str, tuple[np.ndarray, tuple[int, ...], float]] = {
        "a vote lost": (votes, (1, 0, int(votes[1, 0].argmax())), votes[1, 0].max() - 1),
        "a vote too many": (votes, (0, 0, 0), votes[0, 0, 0] + 1),
        "another size": (sizes, (0, 1), 0.2),
        "not a number": (sizes, (0, 1), np.nan),
        "a label too high": (label, (0,), CLASSES),
    }
    array, where, value = changes[name]
    array[where] = value
    return AttackTable(table.index, label, sizes, votes, table.distances)


@pytest.mark.parametrize(
    "name",
    [
        "a vote lost",
        "a vote too many",
        "negative",
        "a size missing",
        "a class missing",
        "another size",
        "not a number",
        "a label too high",
        "a point too far",
    ],
)
def test_numbers_that_contradict_the_settings_are_not_read(name: str, tmp_path: Path) -> None:
    record = AttackRecord.create(tmp_path, settings(), {})
    table, points = wrong(truth := found(record, 0), name), truth.points
    assert points is not None
    record.write_shard(0, dataclasses.replace(table, points=points[:, : table.sizes.shape[1]]))
    with pytest.raises(RunError, match="must be a whole shard of this record"):
        record.read()
    assert record.missing()[0] == list(record.shards)


def test_other_images_are_not_read(tmp_path: Path) -> None:
    record = AttackRecord.create(tmp_path, settings(), {})
    record.write_shard(0, found(record, 1))
    with pytest.raises(RunError, match="images other than those of this shard"):
        record.read()


def be_killed_everywhere(path: Path) -> None:
    """Kill a child at its n-th step of writing, for every n, and go on where it was killed; checks what each left.

    A shard has four steps: its points reach the disk, get their name, and so its votes.
    """
    truth = attack(path / "truth")
    kills = 0
    for n in range(4 * SHARDS):
        run = path / str(n)
        AttackRecord.create(run, settings(), {})
        child = os.fork()
        if child == 0:
            die_at(n)
            attack(run)
            os._exit(0)
        kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        record = AttackRecord.open(run)
        whole_shards = n // 4
        assert record.missing() == (list(range(whole_shards, SHARDS)), [])
        assert record.points_path(whole_shards).exists() == (n % 4 >= 2), "points first, then votes"
        assert same_records(attack(run), truth)
        assert not list(run.rglob("*.part")), "leftovers of the killed"
    print(f"{kills} kills")


def share(path: Path) -> None:
    """Wait at every shard, so that both processes have a part."""
    done: list[int] = []

    def pause(shard: int) -> None:
        done.append(shard)
        time.sleep(0.3)

    attack(path, on_shard=pause)
    print(*done)


if __name__ == "__main__":
    {"kill": be_killed_everywhere, "share": share}[sys.argv[2]](Path(sys.argv[1]))
