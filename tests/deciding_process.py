"""A small decision of the digits, run by tests in this process and, to be killed, in others.

python deciding_process.py FOLDER KILLS SEED      starts, and kills at random moments, so many processes; then decides the
                                                  rest; then has two processes decide one record, and prints what each did
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from jaxtyping import Int

from counting import ink, planned, run
from noiseproof import data
from noiseproof.noises import Gaussian, Noise
from noiseproof.noises.registry import NOISES
from noiseproof.randomness import Phase
from noiseproof.runs import Selection, SequentialVotes, Subject
from noiseproof.runs import shards as running_shards
from noiseproof.runs.records import VoteTable
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.sampling import HostSampler, Rows, Span
from noiseproof.sequential import CertifyRadii, SequentialTest, StoppingRule, rule_from

NOISE = Gaussian(0.25)
IMAGES, SHARD, BATCH, CAP = 20, 4, 32, 450
RADII, ALPHA, BETA = (0.1, 0.2), 0.01, 0.01


def subject(classifier: Callable[[Any], Any] = ink, noise: Noise = NOISE, split: data.Split = "test") -> Subject:
    return Subject(classifier, {"name": "ink", "digest": "none"}, noise, data.load("digits", split))


def rule(cap: int = CAP) -> StoppingRule:
    return CertifyRadii(RADII, alpha=ALPHA, beta=BETA, max_samples=cap)


def sequential(
    stop: StoppingRule | None = None, *, images: int = IMAGES, shard_size: int = SHARD, seed: int = 0
) -> SequentialVotes:
    return SequentialVotes(stop or rule(), seed, Selection(every=3, limit=images), shard_size)


@cache
def settings(stop: StoppingRule | None = None, *, images: int = IMAGES, shard_size: int = SHARD) -> SequentialSettings:
    found: SequentialSettings = planned(sequential(stop, images=images, shard_size=shard_size), subject())
    return found


def decide(
    path: Path, what: SequentialVotes | None = None, *, batch_size: int | None = BATCH, **ways: Any
) -> SequentialRecord:
    record: SequentialRecord = run(what or sequential(), path, subject(), batch_size, **ways)[0]
    return record


@cache
def one_by_one(index: int) -> Int[np.ndarray, "samples classes"]:
    """The votes on an image after 0, 1, ... `CAP` samples, drawn with nothing but the sampler."""
    image = torch.as_tensor(data.load("digits", "test").read([index]))
    batch = torch.empty((CAP, *image.shape[1:]))
    rows = Rows([Span(0, index, Phase.CERTIFY, 0, CAP)], batch.device)
    HostSampler(NOISE, 0).fill(batch, image, rows)
    votes = np.zeros((CAP + 1, 10), dtype=np.int64)
    votes[np.arange(1, CAP + 1), ink(batch.numpy())] = 1
    return np.cumsum(votes, axis=0)


def remembered(record: SequentialRecord) -> SequentialTest:
    """`SequentialRecord.test`, whose tables take most of the time of a small record, once for all records with one."""
    return _remembered(json.dumps(record.settings.noise), json.dumps(record.settings.procedure))


@cache
def _remembered(noise: str, spec: str) -> SequentialTest:
    return rule_from(json.loads(spec)).under(NOISES.from_spec(json.loads(noise)))


def stops(settings: SequentialSettings) -> dict[int, int]:
    """The stopping time of each image."""
    return _stops(settings.indices, json.dumps(settings.procedure))


@cache
def _stops(indices: range, procedure: str) -> dict[int, int]:
    criterion, found = _remembered(json.dumps(NOISE.spec()), procedure).criterion, {}
    for index in indices:
        votes = one_by_one(index)[1:]
        reached = np.maximum.accumulate(criterion.reached(votes)) if criterion.lasting else None
        found[index] = 1 + int(criterion.ended(votes, reached).argmax())
    return found


def standing(index: int, n: int, stop: StoppingRule | None = None) -> Int[np.ndarray, "*moments classes"]:
    """What is kept of an image after n votes: these, and where certificates last those that certified most so far."""
    return _standing(index, n, json.dumps((stop or rule()).spec()))


@cache
def _standing(index: int, n: int, procedure: str) -> Int[np.ndarray, "*moments classes"]:
    criterion, votes = _remembered(json.dumps(NOISE.spec()), procedure).criterion, one_by_one(index)[: n + 1]
    if not criterion.lasting:
        return votes[n]
    return np.stack([votes[n], votes[criterion.reached(votes).argmax()]])


def require_true(record: SequentialRecord) -> dict[int, int]:
    """Check every vote that a record holds, of shards that are whole or not; returns how many are kept of each image."""
    stop, kept = stops(record.settings), {}
    missing, faults = record.missing()
    assert not faults, faults
    for shard in record.shards:
        if shard in missing:
            for index, votes in record.kept(shard).items():
                n = kept[index] = int(np.atleast_2d(votes)[0].sum())
                assert index in record.shard_indices(shard)
                assert np.array_equal(votes, standing(index, n, record.rule)), "votes that are not the first ones"
                assert n <= stop[index], "votes beyond the stop"
    if len(missing) < len(record.shards):
        table = record.read()
        assert table.votes.sum(1).tolist() == [stop[index] for index in table.index.tolist()]
        for row, index in enumerate(table.index.tolist()):
            expected = np.atleast_2d(standing(index, stop[index], record.rule))
            assert np.array_equal(table.votes[row], expected[0])
            assert table.certifying is None or np.array_equal(table.certifying[row], expected[1])
        assert (table.certifying is None) != record.test.criterion.lasting
    return kept


def same(left: VoteTable, right: VoteTable) -> bool:
    names = ("index", "label", "votes", "certifying")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


def in_a_child(work: Callable[[], object]) -> int:
    """Fork, so that a kill falls into deciding and writing, not into the start of Python."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with mock.patch.object(running_shards, "KEEP_EVERY", 0.0):
                work()
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    return child


def decide_and_be_killed(path: Path, kills: int, seed: int) -> None:
    """Kill children with SIGKILL at random moments, into fresh folders when one is complete; checks what each left."""
    require_true(decide(path / "whole"))  # what children inherit: modules, and the data set read
    chance, folder, resumed = random.Random(seed), 0, 0
    written: dict[Path, bytes] = {}
    kept: dict[int, int] = {}
    for _ in range(kills):
        where = path / str(folder)
        ear, mouth = os.pipe()
        child = in_a_child(lambda run=where, mouth=mouth: decide(run, progress=lambda _: os.write(mouth, b".")))  # type: ignore[misc]
        os.close(mouth)
        for _ in range(chance.randrange(25)):  # batches, however fast the machine is
            os.read(ear, 1)
        time.sleep(chance.uniform(0.0, 0.03))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] in {0, signal.SIGKILL}
        os.close(ear)
        assert all(file.read_bytes() == content for file, content in written.items()), "a written shard changed"
        if not (where / "sequential.json").exists():
            continue
        record = SequentialRecord.open(where)
        now, missing = require_true(record), record.missing()[0]
        left = {index for shard in missing for index in record.shard_indices(shard)}
        assert all(now.get(index, 0) >= n for index, n in kept.items() if index in left), "kept votes were lost"
        resumed += any(n > kept.get(index, 0) for index, n in now.items())
        kept, written = now, {file: file.read_bytes() for file in where.glob("votes/*.parquet")}
        if not missing:
            folder, kept, written = folder + 1, {}, {}
    for number in range(folder + 1):
        require_true(record := decide(path / str(number)))
        assert record.missing() == ([], [])
        assert not list((path / str(number)).glob("votes/.0*.part")), "leftovers of the killed"
    print(f"{kills} kills, {resumed} after which images had more votes, {folder} folders were complete before the last")


def decide_and_tell(folder: Path, told: Path, other: Path) -> None:
    written: list[int] = []

    def together(_votes: int) -> None:
        told.with_suffix(".begun").touch()
        while not other.with_suffix(".begun").exists():
            time.sleep(0.01)

    def note(number: int, _table: VoteTable) -> None:
        written.append(number)

    left = run(sequential(), folder, subject(), BATCH, progress=together, on_shard=note)[1]
    told.write_text(json.dumps({"written": written, "left": left}))


def decide_in_two_processes(path: Path) -> None:
    one, other = path / "one.json", path / "other.json"
    children = [
        in_a_child(lambda: decide_and_tell(path / "two", one, other)),
        in_a_child(lambda: decide_and_tell(path / "two", other, one)),
    ]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    print(json.dumps([json.loads(file.read_text()) for file in (one, other)]))


if __name__ == "__main__":
    torch.set_num_threads(1)  # so that there are no threads to be lost by a fork
    decide_and_be_killed(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    decide_in_two_processes(Path(sys.argv[1]))
