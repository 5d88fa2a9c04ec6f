"""Audits and rejudging, killed at every step of writing: what was written stays, and the rest becomes the same.

python test_killed_jobs.py FOLDER    makes records whose processes are killed at every write
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from counting import IMAGES, count, die_at, run, subject
from noiseproof.attacks import RandomSearch
from noiseproof.runs import AttackImages, Audit, Job, Record, Rejudge, Selection
from noiseproof.runs.attack_records import AttackRecord
from processes import QUIET

ATTACK = RandomSearch(tries=2, eot_samples=64)
FIRST, STEPS = 2, 4
"""The fingerprint reaches the disk and gets its name; then of every shard the points do, and the votes."""


def audit(certified: Record) -> Audit:
    return Audit(certified, ATTACK, samples=300)


def rejudging(found: AttackRecord) -> Rejudge:
    return Rejudge(found, samples=400)


def same(left: AttackRecord, right: AttackRecord) -> bool:
    assert left.missing() == right.missing() == ([], [])
    one, other = left.read(), right.read()
    columns = ("index", "label", "sizes", "votes", "distances")
    points = (np.array_equal(left.read_points(shard), right.read_points(shard)) for shard in left.shards)
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns) and all(points)


def be_killed_everywhere(path: Path, job: Callable[[], Job[AttackRecord]]) -> AttackRecord:
    """Kill a child before its n-th step of writing shards, for every n, and go on; checks what each left."""
    truth: AttackRecord = run(job(), path / "truth", subject())[0]
    shards, kills = len(truth.shards), 0
    for step in range(FIRST + STEPS * shards):
        folder = path / str(step)
        run(job(), folder, subject(), shards=[])  # the record, without a shard
        child = os.fork()
        if child == 0:
            die_at(step)
            run(job(), folder, subject())
            os._exit(0)
        kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        left, faults = AttackRecord.open(folder).missing()
        assert faults == []
        assert len(left) == shards - max(0, step - FIRST) // STEPS, (
            "written shards stay, and no other seems to be there"
        )
        assert same(run(job(), folder, subject())[0], truth)
        assert not list(folder.rglob("*.part")), "leftovers of the killed"
    print(f"{kills} kills of {FIRST + STEPS * shards}")
    assert kills == FIRST + STEPS * shards
    assert shards >= 3
    return truth


def main(path: Path) -> None:
    certified = count(path / "certified")
    audited = be_killed_everywhere(path / "audits", lambda: audit(certified))
    assert audit(certified).judge(audited).attacked > 0
    attack = AttackImages(ATTACK, [0.2], samples=300, selection=Selection(every=3, limit=IMAGES))
    found: AttackRecord = run(attack, path / "attack", subject())[0]
    again = be_killed_everywhere(path / "again", lambda: rejudging(found))
    assert (again.read().votes.sum(-1) == 400).all()


@pytest.mark.slow
def test_audits_and_rejudging_outlive_a_kill_at_every_write(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, env=QUIET, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kills of") == 2


if __name__ == "__main__":
    main(Path(sys.argv[1]))
