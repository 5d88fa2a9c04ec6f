"""Sources of standard draws for training and for users' own generators."""

import numpy as np
import pytest
import torch

from noiseproof.randomness import as_source


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
