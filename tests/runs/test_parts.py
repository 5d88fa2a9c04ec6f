"""What a kill costs: rows are kept while a shard is made, part by part, and do not depend on the parts.

python test_parts.py FOLDER    kills an attack and an audit as soon as a part is kept, and goes on
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from counting import run
from noiseproof import data
from noiseproof.attacks import PGD, Attack, AutoPGD, CarliniWagner, HopSkipJump, RandomSearch
from noiseproof.models import DigitsCNN
from noiseproof.noises import Gaussian
from noiseproof.runs import AttackImages, Audit, CountVotes, Job, Rejudge, Selection, Subject, Verify, shards
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.running import Running
from noiseproof.runs.shards import Shard, ShardWriter
from noiseproof.runs.tables import Table
from noiseproof.runs.verification_records import VerificationTable
from processes import QUIET

IMAGES, SIZES = 9, [0.2, 0.4]
CHOSEN = Selection(every=30, limit=IMAGES)


def subject() -> Subject:
    network = DigitsCNN().eval()
    weights = load_file(Path(__file__).parents[1] / "digits_cnn.safetensors")
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    return Subject.of(network, Gaussian(0.25), data.load("digits", "test"), name="digits")


def layers() -> Subject:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10)).eval()
    return Verify.subject([("layers", network)], data.load("digits", "test"))


def attack(by: Attack) -> AttackImages:
    return AttackImages(by, SIZES, samples=60, alpha=0.1, selection=CHOSEN)


def rows(record: Any) -> list[np.ndarray]:
    """All that a record holds."""
    assert record.missing() == ([], [])
    table = record.read()
    points = [record.read_points(shard) for shard in record.shards] if isinstance(record, AttackRecord) else []
    return [np.asarray(value) for value in vars(table).values() if value is not None] + points


def equal(left: Any, right: Any) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(rows(left), rows(right), strict=True))


def stopped(job: Job[Any], path: Path, on: Subject, at: int) -> list[int]:
    """Interrupt a job when it was told of so many images; returns what it was told of."""
    told: list[int] = []

    def stop(count: int) -> None:
        told.append(count)
        if sum(told) >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job, path, on, progress=stop)
    return told


ATTACKS = [
    PGD(eot_samples=32, steps=5),
    RandomSearch(tries=3, eot_samples=64),
    pytest.param(AutoPGD(eot_samples=64, steps=5), marks=pytest.mark.slow),
    pytest.param(CarliniWagner(eot_samples=64, steps=4, binary_search_steps=2), marks=pytest.mark.slow),
    pytest.param(HopSkipJump(steps=1, queries=10, eot_samples=64), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("by", ATTACKS, ids=["PGD", "RandomSearch", "AutoPGD", "CarliniWagner", "HopSkipJump"])
def test_an_attack_that_is_stopped_goes_on_within_its_shard_to_the_same_bits(by: Attack, tmp_path: Path) -> None:
    """Points are numbers of a network that rounds: not even their last bit depends on where it was stopped."""
    on, job = subject(), attack(by)
    whole = run(job, tmp_path / "whole", on)[0]
    assert len(whole.shards) == 1
    told = [stopped(job, tmp_path / "parts", on, at) for at in (14, 4, 5)]
    rest: list[int] = []
    record = run(job, tmp_path / "parts", on, progress=rest.append)[0]
    assert equal(record, whole)
    assert sum(map(sum, told)) + sum(rest) <= 3 * (IMAGES + 3 * 4), "but for the part in work nothing is attacked twice"
    assert sum(rest) < 3 * IMAGES
    assert not list(tmp_path.rglob("*.partial"))


def test_judging_and_verifying_go_on_within_a_shard(tmp_path: Path) -> None:
    on = subject()
    found = run(attack(RandomSearch(tries=3, eot_samples=64)), tmp_path / "found", on)[0]
    jobs: list[tuple[Job[Any], Subject]] = [
        (Rejudge(found, 100, alpha=0.1), on),
        (Verify(0.05, selection=CHOSEN), layers()),
    ]
    for number, (job, what) in enumerate(jobs):
        whole = run(job, tmp_path / f"whole{number}", what)[0]
        stopped(job, tmp_path / str(number), what, 4 * job.work[1])
        rest: list[int] = []
        record = run(job, tmp_path / str(number), what, progress=rest.append)[0]
        assert equal(record, whole)
        assert 0 < sum(rest) < IMAGES * job.work[1]


class Clock:
    """A clock that stands still but for the images of a verification, which take as long as it is told."""

    def __init__(self, seconds: Callable[[int], float], together: int | None) -> None:
        self.now, self.seconds, self.together, self.parts = 0.0, seconds, together, list[float]()

    def run(self, _running: Running, writer: ShardWriter) -> Iterator[tuple[Shard, Table]]:
        for shard in writer.shards():
            for part in shard.parts(self.together):
                self.parts.append(sum(map(self.seconds, shard.indices[part])))
                self.now += self.parts[-1]
                index = np.asarray(shard.indices[part])
                yes = np.ones(len(index), dtype=bool)
                yield shard, VerificationTable(index, shard.labels[part], 0 * index, yes, 0 * index)


@pytest.mark.parametrize("together", [None, 2])
@pytest.mark.parametrize(
    "seconds",
    [
        lambda _: 0.5,
        lambda _: 7.0,
        lambda _: 25.0,
        lambda index: 9.0 if index == 0 else 0.2,  # the first one warms up
        lambda index: 2.0 + index % 3,
        lambda index: 0.01 if index < 60 else 1.5,  # at first nothing is attacked
    ],
    ids=["fast", "slow", "slower", "warming up", "uneven", "late"],
)
def test_parts_are_sized_by_time_and_kept_within_a_minute(
    seconds: Callable[[int], float], together: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(seconds, together)
    monkeypatch.setattr(Verify, "run", lambda _job, running, writer: clock.run(running, writer))
    monkeypatch.setattr(shards, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    written = [0.0]
    for name in ("keep_rows", "write_shard"):
        real = getattr(Verify.record, name)

        def note(*arguments: Any, real: Callable[..., Any] = real, **more: Any) -> Any:
            written.append(clock.now)
            return real(*arguments, **more)

        monkeypatch.setattr(Verify.record, name, note)
    run(Verify(0.1, selection=Selection(limit=256), shard_size=256), tmp_path, layers())
    assert max(np.diff(written)) <= 60.0, "a kill costs a minute at most"
    assert max(clock.parts) <= 60.0
    if together is None and sum(clock.parts) > 120.0:
        assert len(written) <= 2 + sum(clock.parts) / 15.0, "and no more is written than that takes"


def be_killed(job: Job[Any], path: Path, on: Subject) -> None:
    """Kill a child when a part is kept, go on in another, and so on to the end; its rows are those of one go."""
    whole, folder, kills, told = run(job, path / "whole", on)[0], path / "killed", 0, 0
    read, write = os.pipe()
    while True:
        child = os.fork()
        if child == 0:
            shards.KEEP_EVERY = 0.0
            run(job, folder, on, progress=lambda count: os.write(write, bytes([count])))
            os._exit(0)
        before = {file: file.read_bytes() for file in folder.rglob("*.partial")}
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            now = {file: file.read_bytes() for file in folder.rglob("*.partial") if file.exists()}
            if any(now.get(file) != content for file, content in before.items()) or (now and not before):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                break
            time.sleep(0.001)
        else:
            assert ended[1] == 0
            break
    os.close(write)
    while heard := os.read(read, 1000):
        told += sum(heard)
    assert equal(job.record.open(folder), whole)
    most = IMAGES * job.work[1] + kills * 4 * job.work[1]
    print(f"{kills} kills, {told} images at a size, of {most} at most")
    assert kills >= 3
    assert told <= most


def main(path: Path) -> None:
    on = subject()
    be_killed(attack(PGD(eot_samples=64, steps=5)), path / "attack", on)
    certified = run(CountVotes(300, 50, selection=CHOSEN), path / "certified", on)[0]
    be_killed(Audit(certified, PGD(eot_samples=64, steps=5), samples=300), path / "audit", on)


@pytest.mark.slow
def test_a_killed_attack_and_a_killed_audit_lose_a_part(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, env=QUIET, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" kills, ") == 2


if __name__ == "__main__":
    main(Path(sys.argv[1]))
