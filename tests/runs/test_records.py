"""Records: no interruption changes a vote, no damage goes unnoticed, no vote that is written is lost."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from counting import IMAGES, SHARD, count, ink, job, run, settings, subject
from noiseproof import models
from noiseproof.bounds import Bonferroni, TwoPhase
from noiseproof.certificates import NeymanPearson, Renyi
from noiseproof.errors import ClassifierError, InvalidInputError, OutOfMemoryError, RunError
from noiseproof.noises import Gaussian
from noiseproof.runs import CountVotes, Engine, Selection, Subject, execute
from noiseproof.runs import shards as running_shards
from noiseproof.runs.records import FORMAT, Record, VoteTable, default_shard_size
from noiseproof.runs.running import Running
from noiseproof.storage.files import write_atomically

SCRIPT = Path(__file__).parents[1] / "counting.py"


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
    assert len(list((whole.path / "votes").glob("*.parquet"))) == IMAGES // SHARD
    assert same(Record.open(whole.path).read(), table)
    columns = pq.read_table(whole.shard_path(0)).column_names
    assert set(columns) == {"index", "label", "votes", "selection_votes", "thumbnail"}


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_votes_do_not_depend_on_the_batch_size(whole: Record, batch_size: int, tmp_path: Path) -> None:
    assert same(count(tmp_path, batch_size=batch_size).read(), whole.read())


def test_shard_size_does_not_change_votes(whole: Record, tmp_path: Path) -> None:
    other = count(tmp_path, job(shard_size=17))
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


@pytest.mark.parametrize("batch_size", [7, 64])
def test_an_interruption_costs_no_votes(whole: Record, batch_size: int, tmp_path: Path) -> None:
    """In the middle of a shard, of an image and of a phase: it goes on there, and ends with the votes of one go."""
    per_image, stops, drawn = 220, (90, 1000, 230, 5 * 220 - 7), []
    for votes in stops:
        drawn.append(0)

        def stop_after(count: int, votes: int = votes) -> None:
            drawn[-1] += count
            if drawn[-1] >= votes:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(job(), tmp_path, subject(), batch_size, progress=stop_after)
    drawn.append(0)

    def add(count: int) -> None:
        drawn[-1] += count

    record = run(job(), tmp_path, subject(), batch_size, progress=add)[0]
    assert same(record.read(), whole.read())
    assert sum(drawn) == IMAGES * per_image, "no vote is drawn twice"
    assert not list(tmp_path.rglob("*.partial"))


def test_a_kill_costs_at_most_what_was_drawn_since_the_votes_were_kept(
    whole: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large the shard: the votes so far are on the disk every half minute, here always, of every job of votes."""
    assert running_shards.KEEP_EVERY <= 60.0
    monkeypatch.setattr(running_shards, "KEEP_EVERY", 0.0)
    one = job(shard_size=IMAGES)  # one shard: nothing is whole before the end
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        run(one, tmp_path, subject(), 64, progress=lambda _: os.write(write, b"."))
        os._exit(0)
    os.read(read, 1)
    while not list(tmp_path.rglob("*.partial")) and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    kept = sum(int(counts.sum()) for counts in Record.open(tmp_path).kept(0).values())
    drawn: list[int] = []
    record = run(one, tmp_path, subject(), 64, progress=drawn.append)[0]
    assert sum(drawn) == IMAGES * 220 - kept < IMAGES * 220
    assert np.array_equal(record.read().votes, whole.read().votes)


def test_invalid_votes_are_not_gone_on_with(whole: Record, tmp_path: Path) -> None:
    """A classifier that answers nonsense is refused; mended, it starts anew."""

    def spoiled(batch: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.where(np.arange(len(batch)) == 50, 10, ink(batch)) if calls == 40 else ink(batch)

    calls = 0
    with pytest.raises(ClassifierError, match="1 of 1100 without, first at image"):
        run(job(), tmp_path, subject(spoiled), 64)
    assert same(run(job(), tmp_path, subject(), 64)[0].read(), whole.read())


@pytest.mark.slow
def test_kill_9_at_24_random_moments(tmp_path: Path) -> None:
    """Real SIGKILLs of real processes; the script checks every folder after every kill, and the votes at the end."""
    command = [sys.executable, SCRIPT, tmp_path, "24", "0"]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "24 kills" in done.stdout


@pytest.mark.slow
def test_two_processes_share_one_record(whole: Record, tmp_path: Path) -> None:
    """Each takes the shards that the other does not hold; none is counted twice."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, SCRIPT, tmp_path], env=environment) for _ in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert same(Record.open(tmp_path).read(), whole.read())


def test_a_shard_that_another_process_holds_is_left_to_it(whole: Record, tmp_path: Path) -> None:
    record = Record.create(tmp_path, settings(), {})
    with record.claim(4) as claimed:
        assert claimed
        with record.claim(4) as again:
            assert not again
        assert run(job(), tmp_path, subject())[1] == [4]
        assert record.missing()[0] == [4]
    assert run(job(), tmp_path, subject())[1] == []
    assert same(record.read(), whole.read())


def test_what_another_process_finishes_meanwhile_is_not_left_to_it(whole: Record, tmp_path: Path) -> None:
    record = Record.create(tmp_path, settings(), {})

    def finish_the_other(*_: object) -> None:
        shutil.copy(whole.shard_path(4), record.shard_path(4))

    with record.claim(4):
        assert run(job(), tmp_path, subject(), on_shard=finish_the_other)[1] == []
    assert record.missing() == ([], [])


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    record = Record.create(tmp_path, settings(), {})
    (tmp_path / "votes").mkdir()
    left = tmp_path / "votes" / ".00002.parquet.99999.part"
    left.write_bytes(b"half a shard")
    count(tmp_path)
    assert not left.exists()
    assert record.missing() == ([], [])


def test_parts_merge_by_putting_their_files_into_one_folder(whole: Record, tmp_path: Path) -> None:
    """Three machines that share nothing: each counts its part; copying the files together makes the whole record."""
    for part in range(3):
        what = dataclasses.replace(job(), selection=Selection(3, IMAGES, part=(part + 1, 3)))
        record, _ = run(what, tmp_path / str(part), subject())
        assert len(record.read()) == IMAGES // 3
    for part in (1, 2):
        for file in (tmp_path / str(part) / "votes").glob("*.parquet"):
            shutil.copy(file, tmp_path / "0" / "votes" / file.name)
    merged = Record.open(tmp_path / "0")
    assert merged.missing() == ([], [])
    assert same(merged.read(), whole.read())
    other, _ = run(job(seed=1), tmp_path / "other", subject(), shards=iter([0]))
    shutil.copy(other.shard_path(0), merged.shard_path(0))
    missing, faults = merged.missing()
    assert missing == [0], "a part with other settings does not merge"
    assert "votes of a record with other settings" in str(faults[0])


def test_reversed_order_changes_nothing(whole: Record, tmp_path: Path) -> None:
    record = Record.create(tmp_path, settings(), {})
    for shard in reversed(record.shards):
        run(job(), tmp_path, subject(), shards=[shard])
    assert same(record.read(), whole.read())


def test_shards_say_how_they_were_counted(tmp_path: Path) -> None:
    record = count(tmp_path, batch_size=64)
    about = record.shard_about(0)
    assert about["batch_size"] == 64
    assert about["seconds"] >= 0
    assert about["device"]
    assert about["written"].startswith("20")


def test_a_network_without_memory_loses_nothing(tmp_path: Path) -> None:
    """Memory that runs out in the middle: what was written stays, and a smaller batch goes on with the same votes."""
    calls = 0

    def forgets(batch: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls > 50:  # 8 try it, 29 are its fingerprint
            raise MemoryError
        return ink(batch)

    with pytest.raises(OutOfMemoryError, match="Pass a smaller batch size"):
        run(job(), tmp_path, subject(forgets), 256)
    before = len(Record.open(tmp_path).read())
    assert 0 < before < IMAGES
    assert len(count(tmp_path).read()) == IMAGES


def brighter(batch: np.ndarray) -> np.ndarray:
    return ink(batch * np.float32(1.15))


def test_a_classifier_that_has_changed_unseen_is_refused(tmp_path: Path) -> None:
    """A function has no digest: its fingerprint tells."""
    record, _ = run(job(), tmp_path, subject(), shards=[0, 1])
    with pytest.raises(
        RunError, match="the classifier must be the one that the record was begun with; got other labels"
    ):
        run(job(), tmp_path, subject(brighter))
    with pytest.raises(RunError, match="the one that the record was begun with"):
        run(job(), tmp_path, subject(brighter), shards=[0])  # though nothing is left to count of it
    assert record.missing()[0] == list(range(2, IMAGES // SHARD))
    count(tmp_path)
    (kept,) = (tmp_path / "votes").glob("answers-*.json")
    kept.write_text("{")
    with pytest.raises(RunError, match=r"answers-.*json must be the fingerprint"):
        run(job(), tmp_path, subject(brighter))  # though it is whole: the votes would be shown as the other's
    record.shard_path(0).unlink()
    with pytest.raises(RunError, match=r"answers-.*json must be the fingerprint"):
        count(tmp_path)


def test_a_whole_record_is_not_shown_as_another_classifiers(tmp_path: Path) -> None:
    count(tmp_path)
    with pytest.raises(RunError, match="the one that the record was begun with"):
        run(job(), tmp_path, subject(brighter))


def test_the_fingerprint_of_labels_alone_has_many_noisy_copies(tmp_path: Path) -> None:
    """A model that is trained a little differently agrees on most of 64 images."""
    run(job(), tmp_path, subject(), shards=[0])

    def little_different(batch: np.ndarray) -> np.ndarray:
        labels = ink(batch)
        changed = np.abs(np.float32(1e4) * batch.reshape(len(batch), -1).sum(1)) % 1.0 < 0.02  # by the image alone
        return np.where(changed, (labels + 1) % 10, labels)

    with pytest.raises(RunError, match="the one that the record was begun with"):
        run(job(), tmp_path, subject(little_different))


def test_scores_that_have_moved_are_refused(tmp_path: Path) -> None:
    def scores(gain: float) -> Subject:
        return subject(lambda batch: batch.reshape(len(batch), -1)[:, 10:20] * np.float32(gain))

    run(job(), tmp_path, scores(1.0), shards=[0])
    run(job(), tmp_path, scores(1.0 + 1e-6), shards=[1])
    with pytest.raises(RunError, match=r"other labels for 0\.0% of 360 noisy images, scores moved by"):
        run(job(), tmp_path, scores(1.1))


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(RunError, match="Choose a place that can be written"):
        Record.create(tmp_path / "file" / "run", settings(), {})
    for replace in (True, False):
        with pytest.raises(RunError, match="Choose a place that can be written"):
            write_atomically(tmp_path / "file" / "x.csv", b"content", replace=replace)


def test_two_first_processes_make_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find no record; the second to write must join the first, or refuse if it meant something else."""
    first = settings()
    real = Record.create

    def slow_check(self: Path) -> bool:
        monkeypatch.undo()
        real(tmp_path, first, {"who": "first"})
        return False

    monkeypatch.setattr(Path, "exists", slow_check)
    assert real(tmp_path, first, {"who": "second"}).about == {"who": "first"}
    (tmp_path / "record.json").unlink()
    monkeypatch.setattr(Path, "exists", slow_check)
    with pytest.raises(RunError, match="seed 7; got seed 0"):
        real(tmp_path, settings(seed=7), {})


def test_records_of_format_1_are_read_and_not_continued(whole: Record, tmp_path: Path) -> None:
    """Before engines were recorded the settings had none; certificates on such votes are still checked."""
    old = dataclasses.replace(whole.settings, engine=None)
    record = Record.create(tmp_path, old, {})
    content = json.loads((tmp_path / "record.json").read_text())
    assert "engine" not in content["settings"]
    (tmp_path / "record.json").write_text(json.dumps(content | {"format": 1}))
    for shard in record.shards:
        table = whole.read()
        part = slice(shard * SHARD, (shard + 1) * SHARD)
        record.write_shard(
            shard,
            VoteTable(
                table.index[part],
                table.label[part],
                table.votes[part],
                table.selection_votes[part],  # type: ignore[index]
                table.thumbnails[part],
            ),
        )
    assert same(Record.open(tmp_path).read(), whole.read())
    with pytest.raises(RunError, match="engine recorded; got engine nothing"):
        count(tmp_path)


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
        other = count(tmp_path / "other", job(seed=1))
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
        if len(writes) > 5:  # the configuration, the answers, three shards
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
        ({"data": {"name": "digits", "split": "test", "digest": "other"}}, "data digest other; got data digest 72f1"),
        (
            {
                "engine": {
                    "device": "cpu",
                    "precision": "bf16",
                    "compile": False,
                    "sampler": "philox4x64-box-muller-cpu",
                }
            },
            "engine precision bf16; got engine precision as given",
        ),
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


def test_certificates_need_votes_alone(whole: Record) -> None:
    table = whole.read()
    radii = {}
    for bound in (TwoPhase(), Bonferroni()):
        for certificate in (NeymanPearson(), Renyi()):
            found = whole.certify(alpha=0.01, bound=bound, certificate=certificate, table=table)
            radii[type(bound), type(certificate)] = found.radius.mean()
    assert radii[TwoPhase, NeymanPearson] > radii[TwoPhase, Renyi] > 0
    assert radii[Bonferroni, NeymanPearson] > radii[Bonferroni, Renyi] > 0
    loose = whole.certify(alpha=0.3)
    assert loose.radius.mean() > radii[TwoPhase, NeymanPearson]


def test_record_without_selection_phase(tmp_path: Path) -> None:
    record = count(tmp_path, job(selection_samples=0))
    assert record.read().selection_votes is None
    found = record.certify(alpha=0.05)
    assert (found.radius == record.certify(alpha=0.05, bound=Bonferroni()).radius).all()
    with pytest.raises(InvalidInputError, match="selection_votes must be given"):
        record.certify(alpha=0.05, bound=TwoPhase())


def test_a_shard_is_minutes_of_work() -> None:
    assert [default_shard_size(n, (1, 28, 28)) for n in (10, 1000, 10_000, 10**6)] == [256, 255, 25, 1]
    assert [default_shard_size(n, (3, 224, 224)) for n in (10, 1000, 10_000)] == [132, 1, 1]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (subject(noise=Gaussian(0.05)), r"a record with noise sigma 0\.05; got noise sigma 0\.5"),
        (subject(split="train"), "split train; got data digest .* data split test"),
        (subject(digest="other"), "a record with model digest other; got model digest none"),
    ],
)
def test_votes_are_never_recorded_as_something_they_are_not(other: Subject, said: str, tmp_path: Path) -> None:
    """Votes under sigma 0.05 in a record of sigma 0.5 would certify ten times too far."""
    Record.create(tmp_path, settings(), {})
    with pytest.raises(RunError, match=said):
        run(job(), tmp_path, other)
    assert not (tmp_path / "votes").exists()


@pytest.mark.parametrize("phase", ["votes", "selection_votes"])
@pytest.mark.parametrize("change", [(0, 1), (0, -1), (-500, 500)])
def test_counts_that_are_none_are_refused_however_well_they_are_written(
    phase: str, change: tuple[int, int], tmp_path: Path
) -> None:
    """A shard with right checksums whose votes do not add up, or have counts below 0, would certify anything."""
    record = count(tmp_path)
    table = record.read_shard(0)
    votes = getattr(table, phase).copy()
    votes[2, :2] += change
    record.write_shard(0, dataclasses.replace(table, **{phase: votes}), record.shard_about(0))
    for reading in (record.read, record.certify):
        with pytest.raises(
            RunError, match=r"00000\.parquet must be a whole shard .*votes that do not add up to \d+ per"
        ):
            reading()
    assert record.missing()[0] == [0]


def test_votes_in_one_precision_are_not_continued_in_another(tmp_path: Path) -> None:
    network = models.build("digits-cnn")
    other = subject(network, digest=models.model_digest(network))
    found = job().plan(other).under(Running.simply(other, {"precision": "bf16"}, torch.device("cpu")).engine())
    Record.create(tmp_path, found, {})
    with pytest.raises(RunError, match="engine precision fp32; got engine precision bf16"):
        execute(job(), tmp_path, other, engine=Engine("cpu", "fp32"))
    assert not (tmp_path / "votes").exists()


def test_a_network_is_not_counted_under_the_digest_of_another(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="model digest must be that of the network"):
        run(job(), tmp_path, subject(models.build("digits-cnn"), digest="of another"))
    assert not list(tmp_path.iterdir())


def test_votes_without_their_configuration_are_not_overwritten(tmp_path: Path) -> None:
    record = count(tmp_path)
    before = record.shard_path(0).read_bytes()
    (tmp_path / "record.json").unlink()
    with pytest.raises(RunError, match="votes whose configuration is missing"):
        count(tmp_path, job(seed=9))
    assert record.shard_path(0).read_bytes() == before


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"samples": 0}, {"every": 0}, {"limit": 0}, {"selection_samples": -1}]
)
def test_plans_outside_their_domain(change: dict[str, int]) -> None:
    selection = {name: change.pop(name) for name in ("every", "limit") if name in change}
    with pytest.raises(InvalidInputError, match=next(iter({**change, **selection}))):
        CountVotes(**{"samples": 100, "selection_samples": 10, **change}, selection=Selection(**selection)).plan(
            subject()
        )  # type: ignore[arg-type]
