"""Figure 5: its picture. What it computes is tested from the command line and by the laws of certificates."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseproof.experiments import figure5


def test_figure5_draws_no_memory_that_nobody_wrote(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """matplotlib pads polygons of unequal length with np.empty: by chance, what lay there overflowed."""
    result, empty = figure5.FIGURE5.compute(tmp_path).content, np.empty

    def full_of_large_numbers(*arguments: Any, **options: Any) -> np.ndarray:
        values = empty(*arguments, **options)
        if values.dtype.kind == "f":
            values.fill(np.finfo(values.dtype).max)
        return values

    monkeypatch.setattr(np, "empty", full_of_large_numbers)
    figure5.FIGURE5.draw(result)  # a warning is an error here
