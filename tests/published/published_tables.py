"""Tables as others publish them, made from counts: valid ones, and ways to forge a line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import beta, norm

__all__ = ["FORMATS", "HEADER", "attained", "valid_rows", "write"]

HEADER = ("idx", "label", "predict", "radius", "correct", "time")
FORMATS = ("{:.3}", "{:.4f}", "{}")
"""As Cohen et al. print radii, as Salman et al. do, and in full."""


def attained(count: int, sigma: float, n: int, alpha: float) -> float:
    """The radius of CERTIFY, computed as statsmodels computes it."""
    return float(sigma * norm.ppf(beta.ppf(alpha, count, n - count + 1)))


def valid_rows(seed: int, images: int, sigma: float, n: int, alpha: float, shape: str) -> list[list[str]]:
    """Rows of a classifier that CERTIFY was run on, with independent noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for image in range(images):
        label, predicted = (int(each) for each in rng.integers(0, 10, 2))
        predicted = label if rng.random() < 0.8 else predicted
        count = int(rng.binomial(n, rng.beta(2.0, 0.3)))
        radius = attained(count, sigma, n, alpha) if count else -1.0
        predict, radius = (predicted, radius) if radius > 0.0 else (-1, 0.0)
        rows.append(
            [str(20 * image), str(label), str(predict), shape.format(radius), str(int(predict == label)), "0:01"]
        )
    return rows


def write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER, separator: str = "\t") -> Path:
    """Write a table."""
    path.write_text("".join(separator.join(row) + "\n" for row in (header, *rows)))
    return path
