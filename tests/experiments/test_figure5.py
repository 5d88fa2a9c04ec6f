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


def test_radii_of_a_counterexample_are_rounded_down() -> None:
    claim = figure5.Claim("Rényi is higher", 0.5, (0.2004, 0.0005, 0.6459, 1.0529))
    assert claim.fails_most_at == "p = (0.200, 0.001): 0.645 against 1.052"
    assert figure5.Claim("Rényi is higher", 1.0, None).fails_most_at == "nowhere"
