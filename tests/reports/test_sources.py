"""What records say of themselves, in words."""

from pathlib import Path

import numpy as np

from noiseproof.experiments.networks import Network
from noiseproof.experiments.recipes import Reader
from noiseproof.experiments.votes import find_runs
from noiseproof.reports.sources import sources
from noiseproof.runs.records import VoteTable
from synthetic_records import CLASSES, write_decided, write_run

STN = Network("mnist", "stn", 0.7, (0, 1))


def test_times_of_shards_that_overlap_are_not_added(tmp_path: Path) -> None:
    write_run(tmp_path / STN.folder(0), "stn", 0.7, 0)
    record = write_decided(find_runs(STN, Reader(tmp_path))[0], 2, 1, 0, shard_size=1)
    votes = np.eye(CLASSES, dtype=np.int64)[:1] * 4000
    for shard, (seconds, minute) in enumerate(
        [(60.0, "10:01"), (150.0, "10:03"), (30.0, "10:10")]
    ):  # from 10:00, 10:00:30
        table = VoteTable(np.array([10 * shard]), np.array([0]), votes, None, [b""])
        record.write_shard(shard, table, {"seconds": seconds, "written": f"2026-11-26T{minute}:00+00:00"})
    (source,) = sources({"stopped": record})
    assert source.seconds == 180.0 + 30.0
    record.write_shard(0, VoteTable(np.array([0]), np.array([0]), votes, None, [b""]), {"seconds": 60.0})
    assert sources({"stopped": record})[0].seconds is None, "of an earlier version, which wrote no time of day"
