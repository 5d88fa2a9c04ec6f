"""The size of batches follows the work at hand, where that is allowed, and votes do not depend on it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import noiseproof as npf
from noiseproof.classifiers import accelerate
from noiseproof.classifiers.base import BaseClassifier
from noiseproof.classifiers.runners import Runner
from noiseproof.noises import Gaussian
from noiseproof.sampling.counter import VoteCounter
from noiseproof.sequential import IdentifyTopClass


def sizes_of(smoothed_call: Callable[[npf.SmoothedClassifier], Any], **options: Any) -> tuple[list[int], Any]:
    """The sizes of all batches that a call runs, the first trials included, and what it returns."""
    sizes: list[int] = []

    def classify(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return (batch.mean(axis=(1, 2, 3)) > 0.5).astype(int)

    return sizes, smoothed_call(npf.SmoothedClassifier(classify, Gaussian(0.5), 2, **options))


def test_one_image_is_predicted_in_small_batches() -> None:
    """The default batch of such images has 1024 rows: a clear answer needs 11 votes."""
    image = np.full((1, 1, 28, 28), 0.8, dtype=np.float32)
    small, label = sizes_of(lambda smoothed: smoothed.predict(image))
    assert label == [1]
    assert set(small) == {32}
    assert sum(small) <= 8 * 32
    large, same = sizes_of(lambda smoothed: smoothed.predict(image), batch_size=1024)
    assert same == label
    assert set(large) == {1024}


def test_batches_grow_with_the_work_and_votes_do_not_change() -> None:
    near = np.full((1, 1, 28, 28), 0.5005, dtype=np.float32)  # mean noise has a standard deviation of 0.018
    rule = npf.IdentifyTopClass(max_samples=20_000)
    grown, found = sizes_of(lambda smoothed: smoothed.certify(near, stop=rule))
    assert grown[0] == 32
    assert max(grown) == 1024
    assert len(grown) < 100
    _, same = sizes_of(lambda smoothed: smoothed.certify(near, stop=rule), batch_size=1024)
    np.testing.assert_array_equal(found.votes, same.votes)
    few, counted = sizes_of(lambda smoothed: smoothed.count(near, samples=100))
    assert set(few) == {128}
    assert counted.sum() == 100
    many, counted = sizes_of(lambda smoothed: smoothed.count(near, samples=1100))
    assert many[-2:] == [1024, 128]
    assert counted.sum() == 1100


class Recording(Runner):
    """Keeps the sizes of its batches."""

    def __init__(self, *, one_shape: bool) -> None:
        self.one_shape = one_shape
        self.sizes: set[int] = set()

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.sizes.add(len(batch))
        return torch.zeros(len(batch), dtype=torch.int64)


def test_records_keep_one_shape() -> None:
    """Of a record that is continued, no vote may depend, by rounding, on how many were still to be counted."""
    runner = Recording(one_shape=False)
    counter = VoteCounter(BaseClassifier(runner, num_classes=2), Gaussian(0.5), 256)
    counter.count_until(np.zeros((1, 4), dtype=np.float32), IdentifyTopClass().under(Gaussian(0.5)).criterion)
    assert runner.sizes == {256}


@pytest.mark.parametrize(("one_shape", "sizes"), [(True, {1024}), (False, {32})])
def test_compiled_code_keeps_one_shape(one_shape: bool, sizes: set[int]) -> None:
    runner = Recording(one_shape=one_shape)
    npf.SmoothedClassifier(runner, Gaussian(0.5), 2).predict(torch.zeros(1, 4))
    assert runner.sizes == sizes
    assert accelerate(nn.Linear(4, 2), compiled=one_shape).one_shape is one_shape
