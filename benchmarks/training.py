"""What each objective costs: `python benchmarks/training.py`, ten minutes; writes benchmarks/results/training-*.

Time of an epoch of 60 000 MNIST images on the paper's network, batch 128, against natural training in the same run: the
real training loop, on images of noise. Every objective runs with its published settings, next to natural training, in
alternation; medians.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from networks import write

from noiseproof import objectives as o
from noiseproof.classifiers import keep_large_blocks
from noiseproof.data import ArrayDataset
from noiseproof.noises import Gaussian
from noiseproof.objectives import Objective
from noiseproof.training import EpochReport, TrainingSettings, train

EPOCH = 60_000
BATCH = 128
OBJECTIVES: tuple[Objective, ...] = (
    o.Natural(),
    o.GaussianAugmentation(),
    o.Stability(),
    o.Consistency(),
    o.MACER(),
    o.Adversarial(step_size=0.01),
    o.TRADES(step_size=0.01),
    o.AdversarialLogitPairing(step_size=0.01),
    o.SmoothAdv(),
)


def seconds(objective: Objective, precision: str, images: int) -> float:
    """Train for two epochs and return the seconds of the second, for so many images."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.random((images, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, images)
    reports: list[EpochReport] = []
    settings = TrainingSettings(
        "paper-mnist", objective, Gaussian(0.5), epochs=2, batch_size=BATCH, precision=precision, learning_rate=1e-5
    )
    with tempfile.TemporaryDirectory() as out:
        train(settings, ArrayDataset("noise", "train", pixels, labels, 10), Path(out), on_epoch=reports.append)
    return reports[-1].seconds


def main() -> None:
    """Measure every objective in one precision and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    keep_large_blocks()
    rows: list[dict[str, Any]] = []
    for objective in OBJECTIVES:
        batches = max(1, round(16 / objective.passes))
        ratios, times = [], []
        for _ in range(chosen.rounds if objective.passes <= 2 else max(1, chosen.rounds // 2)):
            natural = seconds(o.Natural(), chosen.precision, 16 * BATCH) / 16
            own = seconds(objective, chosen.precision, batches * BATCH) / batches
            ratios.append(own / natural)
            times.append(own * EPOCH / BATCH)
        row = {
            "objective": objective.spec(),
            "passes": objective.passes,
            "epoch_seconds": statistics.median(times),
            "ratio": statistics.median(ratios),
            "ratios": ratios,
        }
        rows.append(row)
        print(f"{row['objective']['name']}: {row['ratio']:.2f} x", flush=True)
    table = ["| objective | passes | seconds an epoch | against natural |", "|---|---|---|---|"]
    table += [
        f"| {row['objective']['name']} | {row['passes']} | {row['epoch_seconds']:.0f} | {row['ratio']:.2f} x "
        f"({min(row['ratios']):.2f} to {max(row['ratios']):.2f}) |"
        for row in rows
    ]
    write(
        f"training-{chosen.precision}",
        f"Training: an epoch of MNIST on the paper's network, batch {BATCH}, {chosen.precision}",
        table,
        rows,
    )


if __name__ == "__main__":
    main()
