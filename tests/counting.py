"""A small certification of the digits, run by tests in this process and, to be killed, in others.

python counting.py RUN_FOLDER                 counts, slowly
python counting.py RUN_FOLDER KILLS SEED      starts, and kills at random moments, so many processes; then counts
"""

import contextlib
import dataclasses
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from noiseproof import data
from noiseproof.noises import Gaussian
from noiseproof.runs.counts import count_into, plan
from noiseproof.runs.records import Record, RecordSettings, VoteTable
from noiseproof.smoothing import SmoothedClassifier

NOISE = Gaussian(0.5)
IMAGES, SHARD = 60, 5


def ink(batch: Float[np.ndarray, "batch 1 8 8"]) -> Int[np.ndarray, " batch"]:
    """A classifier without training: ten classes by the amount of ink."""
    return np.clip((batch.mean(axis=(1, 2, 3)) - 0.2) * 6 + 3, 0, 9).astype(np.int64)


def settings(samples: int = 200, selection_samples: int = 20, seed: int = 0) -> RecordSettings:
    dataset = data.load("digits", "test")
    planned = plan(
        dataset,
        SmoothedClassifier(ink, NOISE, 10),
        model={"name": "ink", "digest": "none"},
        samples=samples,
        selection_samples=selection_samples,
        seed=seed,
        every=3,
        limit=IMAGES,
    )
    return dataclasses.replace(planned, shard_size=SHARD)


def count(
    path: Path,
    planned: RecordSettings | None = None,
    on_shard: Callable[[int, VoteTable], None] = lambda _number, _table: None,
    batch_size: int | None = None,
) -> Record:
    record = Record.create(path, planned or settings(), {"command": ["test"]})
    count_into(
        record,
        SmoothedClassifier(ink, NOISE, 10, batch_size=batch_size),
        data.load("digits", "test"),
        on_shard=on_shard,
    )
    return record


def count_slowly(path: Path) -> None:
    """Slow enough that a kill finds it in the middle, fast enough that tests do not wait."""
    count(path, on_shard=lambda _number, _table: time.sleep(0.05))


def count_and_be_killed(path: Path, kills: int, seed: int) -> None:
    """Kill children with SIGKILL at random moments, into fresh folders when one is complete; checks what each left.

    Children are forked, so that a kill falls into counting and writing, not into the start of Python.
    """
    truth = count(path / "truth").read()
    chance, folder, completed = random.Random(seed), 0, 0
    for _ in range(kills):
        run = path / str(folder)
        before = {file: file.read_bytes() for file in run.glob("votes/*.parquet")}
        child = os.fork()
        if child == 0:
            count_slowly(run)
            os._exit(0)
        time.sleep(chance.expovariate(1 / 0.25))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert all(file.read_bytes() == content for file, content in before.items()), "a written shard changed"
        if (run / "record.json").exists():
            missing, faults = Record.open(run).missing()
            assert not faults, faults
            assert len(missing) <= IMAGES // SHARD - len(before), "votes were lost"
            if not missing:
                folder, completed = folder + 1, completed + 1
    for number in range(folder + 1):
        found = count(path / str(number)).read()
        assert np.array_equal(found.votes, truth.votes)
        assert not list((path / str(number)).rglob("*.part")), "leftovers of the killed"
    print(f"{kills} kills, {completed} folders were complete before the last")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        count_and_be_killed(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    else:
        count_slowly(Path(sys.argv[1]))
