"""A small certification of the digits, run by tests in this process and, to be killed, in others.

python counting.py RUN_FOLDER                 counts, slowly
python counting.py RUN_FOLDER KILLS SEED      starts, and kills at random moments, so many processes; then counts
"""

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from noiseproof import data
from noiseproof.noises import Gaussian, Noise
from noiseproof.runs import CountVotes, Engine, Job, Listener, Record, Selection, Subject, execute
from noiseproof.runs.records import RecordSettings, VoteTable
from noiseproof.runs.running import Running

NOISE = Gaussian(0.5)
IMAGES, SHARD = 60, 5


def ink(batch: Float[np.ndarray, "batch 1 8 8"]) -> Int[np.ndarray, " batch"]:
    """A classifier without training: ten classes by the amount of ink."""
    return np.clip((batch.mean(axis=(1, 2, 3)) - 0.2) * 6 + 3, 0, 9).astype(np.int64)


class Told(Listener):
    """A listener of functions."""

    def __init__(
        self,
        on_shard: Callable[[int, Any], None] = lambda _number, _table: None,
        progress: Callable[[int], None] = lambda _: None,
        on_image: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.shard, self.progress, self.image = on_shard, progress, on_image  # type: ignore[method-assign]
        self.said: list[str] = []

    def say(self, text: str, heading: str = "") -> None:
        self.said.append(f"{heading}: {text}" if heading else text)


def subject(
    classifier: Callable[[Any], Any] = ink,
    noise: Noise | None = NOISE,
    split: data.Split = "test",
    digest: str = "none",
) -> Subject:
    return Subject(classifier, {"name": "ink", "digest": digest}, noise, data.load("digits", split))


def planned(job: Job[Any], on: Subject) -> Any:
    """The settings of a job's record, in the engine of a classifier that runs as it is."""
    return job.plan(on).under(Running(on, on.classifier, None, torch.device("cpu")).engine())


def job(samples: int = 200, selection_samples: int = 20, seed: int = 0, shard_size: int = SHARD) -> CountVotes:
    return CountVotes(samples, selection_samples, seed, Selection(every=3, limit=IMAGES), shard_size)


def settings(samples: int = 200, selection_samples: int = 20, seed: int = 0) -> RecordSettings:
    found: RecordSettings = planned(job(samples, selection_samples, seed), subject())
    return found


def run(
    what: Job[Any], path: Path, on: Subject, batch_size: int | None = None, shards: Any = None, **told: Any
) -> tuple[Any, list[int]]:
    """Run a job as it is given, telling functions."""
    stopwatch = told.pop("stopwatch", None)
    return execute(
        what, path, on, engine=Engine(batch_size=batch_size), shards=shards, listener=Told(**told), stopwatch=stopwatch
    )


def count(
    path: Path,
    what: CountVotes | None = None,
    on_shard: Callable[[int, VoteTable], None] = lambda _number, _table: None,
    batch_size: int | None = None,
) -> Record:
    record: Record = run(what or job(), path, subject(), batch_size, on_shard=on_shard)[0]
    return record


def die_at(step: int) -> None:
    """Let this process be killed before its `step`-th flush or renaming."""
    left = [step]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(*arguments)

        return call

    os.fsync = counted(os.fsync)
    Path.replace = counted(Path.replace)  # type: ignore[method-assign]


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
