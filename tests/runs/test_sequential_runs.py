"""Deciding into a record: the votes of `certify`, through any batches, shards, orders, kills and interruptions."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from counting import ink, planned, run
from deciding_process import (
    ALPHA,
    BATCH,
    BETA,
    CAP,
    IMAGES,
    NOISE,
    RADII,
    SHARD,
    decide,
    remembered,
    require_true,
    same,
    sequential,
    settings,
    stops,
    subject,
)
from noiseproof import data
from noiseproof.errors import ClassifierError, InvalidInputError, RunError
from noiseproof.models import build, model_digest
from noiseproof.noises import Gaussian
from noiseproof.runs import Selection, SequentialVotes, Subject
from noiseproof.runs import sequential as deciding
from noiseproof.runs import shards as running_shards
from noiseproof.runs.records import VoteTable
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.store import ShardedRecord
from noiseproof.sampling import FloatSampler, Rows
from noiseproof.sampling import scheduler as scheduling
from noiseproof.sampling.scheduler import Scheduler
from noiseproof.sequential import CertifyRadii, EstimateRadius, StoppingRule
from noiseproof.smoothing import SmoothedClassifier
from noiseproof.storage.stopwatch import Stopwatch

SCRIPT = Path(__file__).parents[1] / "deciding_process.py"


class StopHereError(Exception):
    pass


def digits() -> data.Dataset:
    return data.load("digits", "test")


def smoothing(classifier: Callable[[Any], Any] = ink, batch_size: int = BATCH) -> SmoothedClassifier:
    return SmoothedClassifier(classifier, NOISE, 10, batch_size=batch_size)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SequentialRecord, "test", property(remembered))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SequentialRecord:
    return decide(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Every span that is drawn: index, number of the first sample, how many."""
    drawn: list[tuple[int, int, int]] = []
    real = FloatSampler.fill

    def fill(self: FloatSampler, batch: Tensor, images: Tensor, rows: Rows) -> None:
        drawn.extend((span.index, span.first, span.count) for span in rows.spans)
        real(self, batch, images, rows)

    monkeypatch.setattr(FloatSampler, "fill", fill)
    return drawn


def keep_at_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_shards, "KEEP_EVERY", 0.0)


# What is decided


def test_votes_stop_at_the_first_look_that_ends_them(whole: SequentialRecord) -> None:
    """Against samples that are drawn and looked at one by one, by no scheduler."""
    assert require_true(whole) == {}
    table = whole.read()
    assert table.index.tolist() == list(range(0, 3 * IMAGES, 3))
    assert np.array_equal(table.label, digits().labels[table.index])
    assert all(png.startswith(b"\x89PNG") for png in table.thumbnails)
    votes = table.votes.sum(1)
    assert votes.min() < 50
    assert votes.max() > 400
    assert len(np.unique(votes)) > IMAGES // 3, "stops of many kinds"


@pytest.mark.parametrize(
    ("rule", "images"),
    [
        (CertifyRadii(RADII, alpha=ALPHA, beta=BETA, max_samples=CAP), IMAGES),
        (EstimateRadius(0.8, alpha=ALPHA, beta=BETA, max_samples=100), 9),
    ],
)
def test_votes_and_outcomes_are_those_of_certify(rule: StoppingRule, images: int, tmp_path: Path) -> None:
    record = decide(tmp_path, sequential(rule, images=images))
    table, indices = record.read(), record.settings.indices
    expected = smoothing(batch_size=97).certify(digits().read(indices), stop=rule, indices=indices)
    found = record.certify(table)
    assert found.outcome is not None
    assert expected.outcome is not None
    for name in ("votes", "prediction", "radius", "p1_lower", "p2_upper", "outcome"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert len(np.unique(found.outcome)) > 1
    assert (SequentialRecord.open(tmp_path).certify(table).radius == expected.radius).all(), "from its settings alone"


def test_a_network_is_decided_as_it_is_certified(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    smoothed, indices = smoothing(network), range(20)  # type: ignore[arg-type]
    procedure = CertifyRadii(0.1, alpha=ALPHA, beta=BETA, max_samples=200)
    on = Subject(network, {"name": "linear", "digest": model_digest(network)}, NOISE, digits())
    record, left = run(SequentialVotes(procedure, 3, Selection(limit=20)), tmp_path, on)
    assert left == []
    expected = smoothed.certify(digits().read(indices), stop=procedure, seed=3, indices=indices)
    assert np.array_equal(record.read().votes, expected.votes)


@pytest.mark.parametrize(("batch_size", "shard_size"), [(13, 7), (None, 1)])
def test_neither_batches_nor_shards_change_votes(
    whole: SequentialRecord, batch_size: int | None, shard_size: int, tmp_path: Path
) -> None:
    other = decide(tmp_path, sequential(shard_size=shard_size), batch_size=batch_size)
    assert same(other.read(), whole.read())


def test_reversed_order_changes_nothing(whole: SequentialRecord, tmp_path: Path) -> None:
    written: list[int] = []
    record = decide(tmp_path, shards=reversed(range(5)), on_shard=lambda number, _: written.append(number))
    assert written[0] > 2
    assert same(record.read(), whole.read())


def test_batches_that_are_under_way_change_nothing(
    whole: SequentialRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where a batch is drawn before the one before it is looked at."""
    monkeypatch.setattr(Scheduler, "_depth", 1)
    keep_at_every_batch(monkeypatch)
    with pytest.raises(StopHereError):
        decide(tmp_path, progress=stop_after(40))
    kept = require_true(SequentialRecord.open(tmp_path))
    assert any(kept.values())
    assert same(decide(tmp_path).read(), whole.read())


def test_parts_merge_by_putting_their_files_into_one_folder(whole: SequentialRecord, tmp_path: Path) -> None:
    for part in range(2):
        record = decide(tmp_path / str(part), shards=iter(range(5)[part::2]))
        assert len(record.read()) == SHARD * len(range(5)[part::2])
    for file in (tmp_path / "1" / "votes").glob("*.parquet"):
        shutil.copy(file, tmp_path / "0" / "votes" / file.name)
    merged = SequentialRecord.open(tmp_path / "0")
    assert merged.missing() == ([], [])
    assert same(merged.read(), whole.read())
    assert decide(tmp_path / "0", progress=lambda _: pytest.fail("nothing is left to draw")).missing() == ([], [])


def test_no_shards_are_no_work(tmp_path: Path) -> None:
    record = SequentialRecord.create(tmp_path, settings(), {})
    assert run(sequential(), tmp_path, subject(), shards=[]) == (record, [])
    assert not (tmp_path / "votes").exists()


def test_a_shard_that_is_named_twice_is_decided_once(tmp_path: Path) -> None:
    written: list[int] = []
    _, left = run(sequential(), tmp_path, subject(), shards=[3, 3], on_shard=lambda number, _: written.append(number))
    assert (written, left) == ([3], []), "no other process holds it"


# Interruptions


def stop_after(batches: int, error: type[BaseException] = StopHereError) -> Callable[[int], None]:
    seen = 0

    def progress(_votes: int) -> None:
        nonlocal seen
        seen += 1
        if seen == batches:
            raise error

    return progress


def test_the_disk_at_any_moment_leads_to_the_same_votes(
    whole: SequentialRecord, spans: list[tuple[int, int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of the folder taken at moments are what kills would have left. Each goes on, drawing what is not kept."""
    keep_at_every_batch(monkeypatch)
    monkeypatch.setattr("os.fsync", lambda _: None)
    batches, moments = 0, []

    def copy(_votes: int) -> None:
        nonlocal batches
        batches += 1
        if batches % 16 == 3:
            moments.append(tmp_path / str(batches))
            shutil.copytree(tmp_path / "run", moments[-1])

    decide(tmp_path / "run", progress=copy)
    from_scratch, stop = sum(count for _, _, count in spans), stops(whole.settings)
    assert len(moments) >= 4
    resumed = 0
    for moment in moments:
        before = SequentialRecord.open(moment)
        kept, missing = require_true(before), before.missing()[0]
        resumed += sum(0 < n < stop[index] for index, n in kept.items())
        spans.clear()
        record = decide(moment)
        assert same(record.read(), whole.read())
        first: dict[int, int] = {}
        for index, start, _ in spans:
            first.setdefault(index, start)
        left = {index for shard in missing for index in record.shard_indices(shard)}
        assert set(first) == {index for index in left if kept.get(index, 0) < stop[index]}, "decided ones are not drawn"
        assert first == {index: kept.get(index, 0) for index in first}, "the first sample drawn is the first not kept"
        if sum(kept.values()) or len(missing) < len(record.shards):
            assert sum(count for _, _, count in spans) < from_scratch
        assert not list(moment.rglob("*.partial"))
    assert resumed >= 2 * len(moments), "in the middle of images"


@contextmanager
def interrupted_at_line(number: int) -> Iterator[list[int]]:
    """Raise KeyboardInterrupt before the number-th line that runs in the modules that decide, as Ctrl-C may anywhere."""
    lines, places = [0], {running_shards.__file__, deciding.__file__, scheduling.__file__}

    def on_line(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in places:
            return None
        if event == "line":
            lines[0] += 1
            if lines[0] == number:
                raise KeyboardInterrupt
        return on_line

    before = sys.gettrace()
    sys.settrace(on_line)
    try:
        yield lines
    finally:
        sys.settrace(before)


def test_interrupts_at_any_line_keep_only_votes_that_are_true(
    whole: SequentialRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, each time a little later: what is kept is checked every time."""
    keep_at_every_batch(monkeypatch)
    monkeypatch.setattr("os.fsync", lambda _: None)
    rng, before, interrupts = np.random.default_rng(0), 0, 0
    record = SequentialRecord.create(tmp_path, settings(images=10), {})
    while record.missing()[0]:
        with contextlib.suppress(KeyboardInterrupt), interrupted_at_line(int(rng.integers(100, 900))):
            decide(tmp_path, sequential(images=10))
            interrupts -= 1
        interrupts += 1
        kept = sum(require_true(record).values())
        written = sum(len(record.shard_indices(shard)) for shard in record.shards if record.holds(shard))
        now = kept + CAP * written
        assert now >= before, "votes were lost"
        assert not list(tmp_path.rglob("*.part"))
        before = now
    assert interrupts > 10
    assert np.array_equal(record.read().votes, whole.read().votes[:10])


def test_an_interruption_keeps_what_was_drawn(
    whole: SequentialRecord, spans: list[tuple[int, int, int]], tmp_path: Path
) -> None:
    """Before half a minute is over, too: whatever was looked at when it ended."""
    with pytest.raises(KeyboardInterrupt):
        decide(tmp_path, progress=stop_after(40, KeyboardInterrupt))
    drawn = sum(count for _, _, count in spans)
    record = SequentialRecord.open(tmp_path)
    kept = require_true(record)
    written = record.read().votes.sum() if any(tmp_path.rglob("*.parquet")) else 0
    assert sum(kept.values()) + written > 0.8 * drawn - BATCH, "all but what is drawn beyond stops, and the last batch"
    spans.clear()
    assert same(decide(tmp_path).read(), whole.read())
    assert sum(count for _, _, count in spans) < whole.read().votes.sum() - sum(kept.values()) - written + 0.2 * drawn


@pytest.mark.parametrize("fault", ["labels", "raises"])
def test_a_classifier_that_fails_in_the_middle_spoils_no_votes(
    whole: SequentialRecord, fault: str, tmp_path: Path
) -> None:
    """The batch that fails is half of images on hand: none of it may be kept."""
    calls = 0

    def spoiled(batch: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        labels = ink(batch)
        if calls == 60:
            if fault == "raises":
                raise ValueError("no more")
            labels[::2] = 10
        return labels

    record = SequentialRecord.create(tmp_path, settings(), {})
    with pytest.raises(ClassifierError):
        run(sequential(), tmp_path, subject(spoiled), BATCH)
    kept = require_true(record)
    assert any(kept.values())
    assert 0 < len(record.missing()[0]) < len(record.shards), "shards written before stay"
    assert same(decide(tmp_path).read(), whole.read())


def test_memory_that_runs_out_makes_batches_smaller_and_changes_nothing(
    whole: SequentialRecord, tmp_path: Path
) -> None:
    def forgets(batch: np.ndarray) -> np.ndarray:
        if len(batch) > 20:
            raise MemoryError
        return ink(batch)

    record, _ = run(sequential(), tmp_path, subject(forgets), 64)
    assert record.shard_about(0)["batch_size"] == 16
    assert same(record.read(), whole.read())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the script says, line by line, of its kills and of its two processes; the folder is the last line."""
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, SCRIPT, folder, "8", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [*done.stdout.splitlines(), str(folder)]


@pytest.mark.slow
def test_kill_9_at_8_random_moments(told: list[str]) -> None:
    """Real SIGKILLs of real processes; the script checks every folder after every kill, and the votes at the end."""
    kills, more = told[0].split(" kills, ")
    assert kills == "8"
    assert int(more.split()[0]) > 3, "after as many it goes on in the middle of images"


@pytest.mark.slow
def test_two_processes_share_one_record(whole: SequentialRecord, told: list[str]) -> None:
    one, other = json.loads(told[1])
    assert sorted(one["written"] + other["written"]) == list(whole.shards), "each by one of them, none twice"
    for mine, theirs in ((one, other), (other, one)):
        assert mine["written"]
        assert set(mine["left"]) <= set(theirs["written"])
    assert one["left"] + other["left"]
    assert same(SequentialRecord.open(Path(told[2], "two")).read(), whole.read())


def test_a_shard_that_another_process_holds_is_left_to_it(whole: SequentialRecord, tmp_path: Path) -> None:
    record = SequentialRecord.create(tmp_path, settings(), {})
    with record.claim(4) as claimed:
        assert claimed
        assert run(sequential(), tmp_path, subject(), BATCH)[1] == [4]
        assert record.missing()[0] == [4]
    assert run(sequential(), tmp_path, subject(), BATCH)[1] == []
    assert same(record.read(), whole.read())


def test_a_shard_that_another_process_wrote_since_is_not_decided_again(
    whole: SequentialRecord, spans: list[tuple[int, int, int]], tmp_path: Path
) -> None:
    def another(_number: int, _: VoteTable) -> None:
        shutil.copy(whole.shard_path(4), record.shard_path(4))

    record = SequentialRecord.create(tmp_path, settings(), {})
    assert run(sequential(), tmp_path, subject(), BATCH, on_shard=another)[1] == []
    drawn = {index for index, _, _ in spans}
    assert not drawn & set(record.shard_indices(4)), "it came while others were decided"
    assert len(drawn) == IMAGES - SHARD
    assert same(record.read(), whole.read())


def test_a_full_disk_keeps_what_is_written(
    whole: SequentialRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, writes = os.fsync, []

    def full_after_some(descriptor: int) -> None:
        writes.append(descriptor)
        if len(writes) > 4:  # the configuration, the answers, two shards
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", full_after_some)
    with pytest.raises(RunError, match=r"parquet must be writable.*No space left on device.*is kept") as caught:
        decide(tmp_path)
    assert "The votes so far were not kept" in caught.value.__notes__[0]
    monkeypatch.undo()
    assert len(SequentialRecord.open(tmp_path).read()) == 2 * SHARD
    assert not list(tmp_path.rglob("*.part"))
    assert same(decide(tmp_path).read(), whole.read())


def test_what_failed_first_is_what_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RunError("the disk", required="writable", got="full", remedy="Free some space.")

    monkeypatch.setattr(SequentialRecord, "keep", full)
    with pytest.raises(KeyboardInterrupt) as caught:
        decide(tmp_path, progress=stop_after(5, KeyboardInterrupt))
    assert caught.value.__notes__ == [
        "The votes so far were not kept: the disk must be writable; got full. Free some space."
    ]


# What is told


def test_what_is_told_while_deciding(spans: list[tuple[int, int, int]], tmp_path: Path) -> None:
    votes: list[int] = []
    images: list[int] = []
    shards: dict[int, VoteTable] = {}
    record, watch = SequentialRecord.create(tmp_path, settings(), {}), Stopwatch()

    def on_shard(number: int, table: VoteTable) -> None:
        assert record.holds(number), "called once it is written"
        shards[number] = table

    decide(tmp_path, progress=votes.append, on_image=images.append, on_shard=on_shard, stopwatch=watch)
    assert sum(votes) == sum(count for _, _, count in spans) >= sum(images)
    assert max(votes) <= BATCH
    table = record.read()
    assert sorted(images) == sorted(table.votes.sum(1).tolist())
    assert sorted(shards) == list(record.shards)
    assert np.array_equal(np.concatenate([shards[number].votes for number in record.shards]), table.votes)
    assert set(watch.seconds) == {"reading", "noise", "network", "counting", "writing"}
    about = record.shard_about(0)
    assert about["batch_size"] == BATCH
    assert about["seconds"] >= 0
    assert about["device"]
    assert about["written"].startswith("20")


# Memory


@pytest.fixture
def open_shards(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many shards are held now, and were at most."""
    count, real = {"now": 0, "most": 0}, ShardedRecord.claim

    @contextmanager
    def claim(self: SequentialRecord, shard: int) -> Iterator[bool]:
        with real(self, shard) as claimed:
            count["now"] += 1
            count["most"] = max(count["most"], count["now"])
            yield claimed
            count["now"] -= 1

    monkeypatch.setattr(ShardedRecord, "claim", claim)
    return count


def grey(hard: tuple[int, ...] = ()) -> data.ArrayDataset:
    """Images that are of one class under noise, but for some whose probability of it is just the one asked about."""
    pixels = np.full((200, 1, 8, 8), 0.45, dtype=np.float32)
    pixels[list(hard)] = 0.2 + 1 / 6 + 0.05 / 8  # Phi(0.05 / sigma) of the noise leave their mean in its class
    return data.ArrayDataset("grey", "test", pixels, np.zeros(200, dtype=np.int64), 10)


def into_shards_of_4(path: Path, dataset: data.Dataset, batch_size: int = BATCH) -> tuple[SequentialRecord, list[int]]:
    procedure = CertifyRadii(0.05, alpha=ALPHA, beta=BETA, max_samples=1000)
    written: list[int] = []
    what, on = SequentialVotes(procedure, shard_size=4), Subject(ink, {"name": "ink"}, NOISE, dataset)
    record, _ = run(what, path, on, batch_size, on_shard=lambda number, _: written.append(number))
    return record, written


def test_easy_images_stream_through_a_few_open_shards(open_shards: dict[str, int], tmp_path: Path) -> None:
    record, written = into_shards_of_4(tmp_path, grey())
    assert record.read().votes.sum(1).max() < BATCH
    assert open_shards["now"] == 0
    assert open_shards["most"] <= 4, "two batches' worth of images, and where they straddle"
    assert sorted(written) == list(range(50))


def test_images_that_need_all_votes_hold_up_no_other_shard(open_shards: dict[str, int], tmp_path: Path) -> None:
    hard = (0, 9)
    record, written = into_shards_of_4(tmp_path, grey(hard), batch_size=128)
    votes = record.read().votes.sum(1)
    assert votes[list(hard)].min() > 800
    assert min(written.index(0), written.index(2)) > 10, "those after them went ahead"
    assert open_shards["most"] <= 14


# What is refused


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (subject(noise=Gaussian(0.05)), r"a record with noise sigma 0\.05; got noise sigma 0\.25"),
        (subject(split="train"), "split train; got data digest .* data split test"),
    ],
)
def test_votes_are_never_recorded_as_something_they_are_not(other: Subject, said: str, tmp_path: Path) -> None:
    SequentialRecord.create(tmp_path, settings(), {})
    with pytest.raises(RunError, match=said):
        run(sequential(), tmp_path, other)
    assert not (tmp_path / "votes").exists()


def test_a_network_is_not_decided_under_the_digest_of_another(tmp_path: Path) -> None:
    on = Subject(build("digits-cnn"), {"name": "a", "digest": "of another"}, NOISE, digits())
    with pytest.raises(InvalidInputError, match="model digest must be that of the network"):
        run(sequential(), tmp_path, on)


def test_a_classifier_that_has_changed_unseen_is_refused(tmp_path: Path) -> None:
    record, other = decide(tmp_path, shards=[0]), subject(lambda batch: ink(batch * np.float32(1.15)))
    with pytest.raises(RunError, match="the classifier must be the one that the record was begun with"):
        run(sequential(), tmp_path, other)
    assert record.missing()[0] == [1, 2, 3, 4]
    assert not list(tmp_path.rglob("*.partial"))
    with pytest.raises(RunError, match="the classifier must be the one that the record was begun with"):
        run(sequential(), tmp_path, other, shards=[0])  # though nothing is left: it would be shown as the other's


def test_pixels_that_are_none_are_refused_wherever_they_are(tmp_path: Path) -> None:
    """Beyond the first images, on which the classifier is tried, too."""
    dataset = grey()
    dataset.images[151, 0, 3, 3] = np.nan
    with pytest.raises(InvalidInputError, match="NaN or infinity"):
        into_shards_of_4(tmp_path, dataset)
    missing = SequentialRecord.open(tmp_path).missing()[0]
    assert 0 not in missing, "shards before it stay"
    assert 151 // 4 in missing


@pytest.mark.parametrize(
    ("procedure", "change", "said"),
    [
        (CertifyRadii(0.1, alpha=0.01, max_samples=13), {}, "samples must be at least 14 at alpha = 0.01"),
        (CertifyRadii([0.5, 0.1], alpha=0.01, max_samples=13), {}, "samples must be at least"),
        (EstimateRadius(0.1, alpha=0.001, max_samples=9), {}, "samples must be at least"),
        (CertifyRadii(1.0, alpha=0.01, max_samples=1000), {}, "samples must be at least"),
        (CertifyRadii(3.0, alpha=0.01, max_samples=10**9), {}, "radius must be"),
        (CertifyRadii(0.1, alpha=0.01), {"seed": -1}, "seed"),
        (CertifyRadii(0.1, alpha=0.01), {"every": 0}, "every"),
        (CertifyRadii(0.1, alpha=0.01), {"limit": 0}, "limit"),
    ],
)
def test_plans_outside_their_domain(procedure: StoppingRule, change: dict[str, int], said: str) -> None:
    """A cap with which nothing could be certified, be it under the noise that votes are drawn with."""
    with pytest.raises(InvalidInputError, match=said):
        SequentialVotes(
            procedure,
            change.pop("seed", 0),
            Selection(**change),  # type: ignore[arg-type]
        ).plan(subject())


def test_a_plan_says_what_votes_follow_from() -> None:
    procedure = CertifyRadii([0.5, 0.1], alpha=0.01)
    found = planned(SequentialVotes(procedure, 4, Selection(7, 11)), subject())
    assert list(found.indices) == list(range(0, 77, 7))
    assert (found.seed, found.num_classes, found.noise) == (4, 10, NOISE.spec())
    assert found.data == digits().about()
    assert found.engine == smoothing().counter.settings()
    assert found.procedure == procedure.spec()
    assert found.procedure["radii"] == [0.1, 0.5]
    assert json.loads(json.dumps(found.plain())) == found.plain()
    assert found.shard_size == 256, "small images: a shard of many"


def test_few_shards_of_large_images_are_open(open_shards: dict[str, int], tmp_path: Path) -> None:
    """Every open one holds a file, of which a process may have some 1000: more than a batch of images takes in."""
    dataset = data.ArrayDataset("large", "test", np.zeros((1200, 1, 8, 8)), np.ones(1200, dtype=np.int64), 10)
    dataset.image_shape = (3, 224, 224)  # what shards are sized by
    what = SequentialVotes(EstimateRadius(0.5, alpha=ALPHA, max_samples=100))
    with pytest.raises(StopHereError):
        run(what, tmp_path, Subject(ink, {"name": "ink"}, NOISE, dataset), 512, progress=stop_after(1))
    assert 1 < open_shards["most"] <= 70
