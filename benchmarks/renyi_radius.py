"""Time a million Rényi radii on one core: `python benchmarks/renyi_radius.py`."""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import statistics
import time

import numpy as np

from noiseproof.certificates import NeymanPearson, Renyi
from noiseproof.noises import Gaussian

PAIRS, REPEATS = 1_000_000, 5


def main() -> None:
    """Print the median of five runs over the whole simplex of (p1, p2, rest), uniformly."""
    points = np.sort(np.random.default_rng(0).dirichlet(np.ones(3), PAIRS), axis=1)
    p1, p2 = np.ascontiguousarray(points[:, 2]), np.ascontiguousarray(points[:, 1])
    for certificate in (Renyi(), NeymanPearson()):
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            certificate.radius(Gaussian(sigma=1.0), p1, p2)
            seconds.append(time.perf_counter() - start)
        print(f"{type(certificate).__name__}: {PAIRS:,} pairs, {statistics.median(seconds):.2f} s, median of {REPEATS}")


if __name__ == "__main__":
    main()
