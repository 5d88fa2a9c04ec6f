"""Is time saved as votes are? `python benchmarks/stopping.py`; writes benchmarks/results/stopping.*. Needs MNIST.

Test images spread over the split are decided at two radii, and counted with a fixed number of votes, in turns: votes a second of
both, and what share of the saving in votes is left in time. What was drawn beyond a decision is not counted as a vote.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from networks import write

from noiseproof.classifiers import quantise
from noiseproof.data import load
from noiseproof.models import fetch, load_checkpoint
from noiseproof.noises import Gaussian
from noiseproof.sequential import CertifyRadii
from noiseproof.smoothing import SmoothedClassifier

NETWORK, SIGMA, ALPHA, FIXED = "mnist-stn-0.5", 0.5, 0.001, 100_000
RADII = (0.5, 1.0)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument(
        "--samples", type=int, default=500, help="votes of the fixed run: its speed does not depend on them"
    )
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    test = load("mnist", "test")
    indices = range(0, len(test), len(test) // chosen.images)[: chosen.images]
    images = test.read(indices)
    noisy = torch.from_numpy(load("mnist", "train").read(range(1024)))
    noisy += Gaussian(SIGMA).sample(noisy, torch.Generator().manual_seed(0))
    network = quantise(load_checkpoint(fetch(NETWORK)).model, noisy, batch_size=1024)
    smoothed = SmoothedClassifier(network, Gaussian(SIGMA), 10, batch_size=1024)
    smoothed.count(images[:2], samples=1024)  # first calls are slower
    fixed: list[float] = []
    found: dict[str, list[dict[str, float]]] = {f"{radius:g}": [] for radius in RADII}
    for seed in range(chosen.rounds):
        begun = time.perf_counter()
        smoothed.count(images, samples=chosen.samples, seed=seed, indices=indices)
        fixed.append(len(images) * chosen.samples / (time.perf_counter() - begun))
        for radius in RADII:
            drawn: list[int] = []
            begun = time.perf_counter()
            decided = smoothed.certify(
                images, stop=CertifyRadii(radius, alpha=ALPHA), seed=seed, indices=indices, progress=drawn.append
            )
            seconds = time.perf_counter() - begun
            used = int(decided.votes.sum())
            found[f"{radius:g}"].append(
                {
                    "votes": used / len(images),
                    "drawn": sum(drawn) / used,
                    "rate": used / seconds,
                    "of_fixed_rate": used / seconds / fixed[-1],
                    "fewer_votes": FIXED * len(images) / used,
                    "less_time": FIXED * len(images) / fixed[-1] / seconds,
                }
            )
    table = [
        f"Fixed number: {statistics.median(fixed):,.0f} votes/s.",
        "",
        f"| radius | votes an image | drawn for each | votes/s | fewer votes than {FIXED:,} | less time | time / votes saved |",
        "|---|---|---|---|---|---|---|",
    ]
    for radius, rounds in found.items():
        middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        table.append(
            f"| {radius} | {middle['votes']:,.0f} | {middle['drawn']:.3f} | {middle['rate']:,.0f} | "
            f"{middle['fewer_votes']:.0f} x | {middle['less_time']:.0f} x | {middle['of_fixed_rate']:.2f} |"
        )
    results: dict[str, Any] = {"fixed": fixed, "decided": found}
    title = f"Votes until it is known: {NETWORK}, int8, {chosen.images} test images, medians of {chosen.rounds}"
    write("stopping", title, table, results)


if __name__ == "__main__":
    main()
