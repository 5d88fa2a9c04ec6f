"""What a record tells of itself."""

from pathlib import Path

import numpy as np
import pytest

from noiseproof.data import ArrayDataset
from noiseproof.noises import Gaussian
from noiseproof.runs import CountVotes, SequentialVotes, Subject, execute
from noiseproof.runs.inspection import inspect_record, inspection_rows
from noiseproof.sequential import CertifyRadii

IMAGES = np.random.default_rng(0).random((6, 1, 4, 4), dtype=np.float32)
DATA = ArrayDataset("pixels", "test", IMAGES, np.zeros(6, dtype=np.int64), 4)


def by_place(batch: np.ndarray) -> np.ndarray:
    return batch[:, 0, 0] + 1e-7 * np.arange(len(batch), dtype=np.float32)[:, None]


def alone(batch: np.ndarray) -> np.ndarray:
    return batch[:, 0, 0]


@pytest.mark.parametrize("job", [CountVotes(100, 20), SequentialVotes(CertifyRadii(0.05))], ids=["fixed", "sequential"])
def test_whether_outputs_depend_on_the_place_in_a_batch(job: CountVotes | SequentialVotes, tmp_path: Path) -> None:
    said = {}
    for function in (alone, by_place):
        subject = Subject(function, {"name": "pixels", "digest": "0"}, Gaussian(0.25), DATA)
        record, _ = execute(job, tmp_path / function.__name__, subject)
        said[function.__name__] = dict(inspection_rows(inspect_record(type(record).open(record.path))))["rows"]
    assert said["alone"] == "the same to the last bit in other places of a batch (1024 tried)"
    assert "changed in other places of a batch, by 1e-04 at most; labels: " in said["by_place"]
