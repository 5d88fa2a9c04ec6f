"""A small certification of the digits, run by tests in this process and, to be killed, in others.

python counting.py RUN_FOLDER
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from noiseproof import data
from noiseproof.certification import count_into, plan
from noiseproof.noises import Gaussian
from noiseproof.records import Record, RecordSettings, VoteTable
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
        NOISE,
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


if __name__ == "__main__":
    # Slow enough that a kill finds it in the middle, fast enough that tests do not wait.
    count(Path(sys.argv[1]), on_shard=lambda _number, _table: time.sleep(0.05))
