"""Noise is a pure function of (seed, image, phase, sample)."""

import numpy as np
import pytest
import torch

from noiseproof.errors import InvalidInputError
from noiseproof.randomness import KeyedStream, Phase, as_source

SHAPE = (1, 8, 8)


def draw(stream: KeyedStream, image: int, samples: int, phase: Phase = Phase.CERTIFY) -> np.ndarray:
    parts = [g.standard_normal((rows, *SHAPE), dtype=np.float32) for g, rows in stream.blocks(image, phase, samples)]
    return np.concatenate(parts)


def test_a_shorter_request_is_a_prefix() -> None:
    long = draw(KeyedStream(7), 3, 300)
    for samples in (1, 63, 64, 65, 200):
        np.testing.assert_array_equal(draw(KeyedStream(7), 3, samples), long[:samples])


def test_everything_in_the_key_matters() -> None:
    """Seeds that differ by 2**32 give equal draws from torch's CPU generator; not here."""
    keys = [
        (0, 0, Phase.CERTIFY, 0),
        (1, 0, Phase.CERTIFY, 0),
        (2**32, 0, Phase.CERTIFY, 0),
        (0, 1, Phase.CERTIFY, 0),
        (0, 2**32, Phase.CERTIFY, 0),
        (0, 0, Phase.SELECT, 0),
        (0, 0, Phase.CERTIFY, 1),
        (2**64 - 1, 0, Phase.CERTIFY, 0),
    ]
    draws = [KeyedStream(seed).generator(image, phase, block).random(4) for seed, image, phase, block in keys]
    assert len({tuple(values) for values in draws}) == len(keys)


def test_blocks_do_not_overlap() -> None:
    """Block b + 1 must not continue inside block b: look for its first words in a long run of block b."""
    stream = KeyedStream(0)
    words = stream.generator(5, Phase.CERTIFY, 0).bit_generator.random_raw(1_000_000)
    start = stream.generator(5, Phase.CERTIFY, 1).bit_generator.random_raw(4)
    assert not np.isin(start, words).any()


def test_draws_are_standard_normal_and_uncorrelated() -> None:
    noise = np.stack([draw(KeyedStream(0), image, 640).reshape(640, -1) for image in range(4)]).astype(np.float64)
    size = noise.size
    assert abs(noise.mean()) < 5 / np.sqrt(size)
    assert abs((noise**2).mean() - 1) < 5 * np.sqrt(2 / size)
    assert abs((noise**4).mean() - 3) < 5 * np.sqrt(96 / size)
    between_images = (noise[0] * noise[1]).mean()
    between_samples = (noise[:, :-1] * noise[:, 1:]).mean()
    between_blocks = (noise[:, :64] * noise[:, 64:128]).mean()
    for product, count in ((between_images, size / 4), (between_samples, size), (between_blocks, size / 10)):
        assert abs(product) < 5 / np.sqrt(count)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sources_follow_the_tensor_they_are_given(dtype: torch.dtype) -> None:
    like = torch.empty(2, 3, dtype=dtype)
    for generator in (None, torch.Generator().manual_seed(0), np.random.default_rng(0)):
        source = as_source(generator)
        assert source.normal(like).shape == source.uniform(like).shape == (2, 3)
        assert source.normal(like).dtype == dtype
        uniform = source.uniform(torch.empty(10_000, dtype=dtype))
        assert uniform.min() >= 0
        assert uniform.max() < 1


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_outside_its_range(seed: int) -> None:
    with pytest.raises(InvalidInputError, match="seed must be an integer from 0"):
        KeyedStream(seed)
